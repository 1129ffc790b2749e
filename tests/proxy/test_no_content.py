"""An answer to HEAD has no content, whoever gives it: a client would take that for its next answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

import rawclient
from gateways import InnerGateway
from proxy.conftest import inner_gateway_in_thread

HOST = "api.openai.com"
PATH = "/v1/models"
CALL = [(":scheme", "https"), (":authority", HOST), ("authorization", "Bearer sk-test-EXAMPLE")]


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[InnerGateway]:
    with inner_gateway_in_thread(folder) as running:
        yield running


def test_a_refusal_of_head_has_no_content_over_http_1(gateway: InnerGateway) -> None:
    head = f"HEAD {PATH} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer sk-test-EXAMPLE\r\n\r\n".encode()
    with rawclient.tls(gateway.connect(HOST), HOST, gateway.confdir / "ca-cert.pem") as sock:
        sock.sendall(head)
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        assert data.startswith(b"HTTP/1.1 403 ")
        assert b"content-length: 0" not in data.lower(), "it says how long the answer to GET is"
        sock.sendall(head.replace(b"HEAD", b"GET"))
        answer = rawclient.read_answer(sock)
    assert data.endswith(b"\r\n\r\n")
    assert answer.status == 200
    assert "data" in json.loads(answer.body)


def test_a_refusal_of_head_has_no_content_over_http_2(gateway: InnerGateway) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    with rawclient.tls(gateway.connect(HOST), HOST, gateway.confdir / "ca-cert.pem", ["h2"]) as sock:
        sock.settimeout(10)
        client.send_headers(1, [(":method", "HEAD"), (":path", PATH), *CALL], end_stream=True)
        client.send_headers(3, [(":method", "GET"), (":path", PATH), *CALL], end_stream=True)
        sock.sendall(client.data_to_send())
        statuses, contents, ended = {}, {1: b"", 3: b""}, set()
        while len(ended) < 2:
            for event in client.receive_data(sock.recv(65536)):
                match event:
                    case h2.events.ResponseReceived():
                        statuses[event.stream_id] = dict(event.headers)[":status"]
                    case h2.events.DataReceived():
                        contents[event.stream_id] += event.data
                    case h2.events.StreamEnded():
                        ended.add(event.stream_id)
                    case _:
                        pass
    assert statuses == {1: "403", 3: "200"}
    assert contents[1] == b""
    assert contents[3]

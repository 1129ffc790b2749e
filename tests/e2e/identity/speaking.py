"""A client that says of itself what a test wants, over HTTP/1.1 or HTTP/2, many times on one connection."""

import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events

import rawclient
from e2e.traffic import CHAT, OPENAI, chat
from gateways import GatewayProcess

type Lines = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Said:
    """What the gateway answered. reason: the id of its refusal, "" where it gave none."""

    status: int
    reason: str
    body: bytes


def reason_in(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


class Speaker:
    """Keeps one HTTP/1.1 connection as long as the gateway does."""

    def __init__(self, gateway: GatewayProcess, host: str = OPENAI) -> None:
        self._gateway, self._host = gateway, host
        self._sock: ssl.SSLSocket | None = None

    def say(
        self,
        model: str,
        *lines: tuple[str, str],
        path: str = CHAT,
        credential: str | None = "sk-test-EXAMPLE",
    ) -> Said:
        """Ask once with these header lines; characters beyond Latin-1 go as UTF-8."""
        body = chat(model)
        own = [("Authorization", f"Bearer {credential}")] if credential else []
        head = [f"POST {path} HTTP/1.1".encode(), f"Host: {self._host}".encode()]
        fixed = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        for name, value in (*own, *fixed, *lines):
            head.append(name.encode() + b": " + encoded(value))
        data = b"\r\n".join([*head, b"", b""]) + body
        for fresh in (False, True):
            sock = self._open(fresh)
            try:
                sock.sendall(data)
                talk = rawclient.read_answer(sock, timeout=20)
            except OSError:
                continue
            if talk.status:
                if b"connection: close" in talk.head.lower():
                    self.close()
                return Said(talk.status, reason_in(talk.body), talk.body)
        return Said(0, "", b"")

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _open(self, fresh: bool) -> ssl.SSLSocket:
        if fresh:
            self.close()
        if self._sock is None:
            raw = rawclient.tunnel(self._gateway.port, self._host, timeout=20)
            self._sock = rawclient.tls(raw, self._host, self._gateway.confdir / "ca-cert.pem")
        return self._sock


def encoded(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def say_h2(gateway: GatewayProcess, model: str, *lines: tuple[str, str]) -> Said:
    """Ask once over HTTP/2, header lines as they are, repeated ones in lines of their own."""
    raw = rawclient.tunnel(gateway.port, OPENAI, timeout=20)
    with rawclient.tls(raw, OPENAI, gateway.confdir / "ca-cert.pem", alpn=["h2"]) as sock:
        assert sock.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        conn = h2.connection.H2Connection(config)
        conn.initiate_connection()
        body = chat(model)
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", OPENAI.encode()),
            (b":path", CHAT.encode()),
            (b"authorization", b"Bearer sk-test-EXAMPLE"),
            (b"content-type", b"application/json"),
            *((name.encode(), encoded(value)) for name, value in lines),
        ]
        conn.send_headers(1, fields)
        conn.send_data(1, body, end_stream=True)
        sock.sendall(conn.data_to_send())
        status, answer = 0, bytearray()
        while True:
            data = sock.recv(65536)
            if not data:
                return Said(status, reason_in(bytes(answer)), bytes(answer))
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    answer += event.data
                    conn.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(
                    event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated
                ):
                    return Said(status, reason_in(bytes(answer)), bytes(answer))
            sock.sendall(conn.data_to_send())

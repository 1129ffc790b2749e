"""A provider answers before it has read a request, or reads none: its answer is heard, and nobody else waits for it."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from e2e.http2client import Http2Client
from e2e.traffic import OPENAI, ask, by_model, eventually, recorded, running
from gateways import OPEN_POLICY, GatewayProcess
from listening import serve_each
from sallyport.audit.events import EventKind
from sallyport.lab.authority import LabCa

LONG = "word " * 1_400_000
"""More than the buffers on the way hold."""

POLICY = OPEN_POLICY + "mode: observe\n"
TOO_LARGE = b'{"error": {"message": "too large", "code": "too_large"}}'


class Hasty:
    """Reads the head of a request and no more. Where it is long, it does as it is told; short ones are answered.

    goes_on: until when a long one is held. early: answers it at once, and closes later; else it says nothing.
    """

    def __init__(self, ca: LabCa) -> None:
        self.early = True
        self.goes_on, self.holds = threading.Event(), threading.Event()
        self._context = ca.server_context(OPENAI)
        self._context.set_alpn_protocols(["http/1.1"])
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = int(self._listener.getsockname()[1])
        serve_each(self._listener, self._serve)

    def _serve(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError), self._context.wrap_socket(raw, server_side=True) as sock:
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(100)
            length = next(
                int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"
            )
            status = b"413 Too Large" if length > len(LONG) else b"200 OK"
            if length > len(LONG):
                self.holds.set()
            if self.early or length < len(LONG):
                kind = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(TOO_LARGE)
                sock.sendall(b"HTTP/1.1 " + status + b"\r\n" + kind + TOO_LARGE)
            self.goes_on.wait(20)

    def close(self) -> None:
        self.goes_on.set()
        self._listener.close()


@pytest.fixture
def upstream(ca: LabCa) -> Iterator[Hasty]:
    provider = Hasty(ca)
    yield provider
    provider.close()


@pytest.fixture
def gateway(ca: LabCa, upstream: Hasty, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: upstream.port}
    with running(tmp_path_factory.mktemp("early"), None, policy=POLICY, extra=extra, to=to) as up:
        yield up


def test_an_answer_that_comes_before_the_request_is_read_arrives(gateway: GatewayProcess) -> None:
    answer = ask(gateway, "too-large", LONG, timeout=15)
    assert (answer.status, answer.body) == (413, TOO_LARGE)
    eventually(lambda: len(by_model(recorded(gateway.confdir), "too-large")) == 2, 5, "it has ended")
    assert by_model(recorded(gateway.confdir), "too-large") == [EventKind.ADMITTED, EventKind.COMPLETED]


def test_a_provider_that_reads_nothing_holds_up_no_other_answer(
    gateway: GatewayProcess, upstream: Hasty
) -> None:
    upstream.early = False
    client = Http2Client(gateway)
    client.sock.settimeout(15)
    client.ask("stuck", LONG)
    assert upstream.holds.wait(20)
    status, body = client.whole(client.ask("short"))
    assert (status, json.loads(body)["error"]["code"]) == (200, "too_large")

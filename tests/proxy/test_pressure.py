"""Clients that take much and give nothing: what they may hold is bounded, and their exchanges end all the same."""

import contextlib
import errno
import io
import json
import logging
import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from mitmproxy.proxy.layer import CommandGenerator

import rawclient
from gateways import OPEN_POLICY, InnerGateway
from proxy.conftest import inner_gateway_in_thread
from proxy.door import AI, CHAT
from rawclient import Talk, post, read_answer, tunnel
from sallyport.audit.events import Event, EventKind
from sallyport.policy.load import parse_policy
from sallyport.proxy import addon, http2, stream
from sallyport.proxy.logs import PatientHandler, WireDataFilter

DUE_S = 30.0


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[InnerGateway]:
    with inner_gateway_in_thread(folder) as running:
        yield running


@contextlib.contextmanager
def under(gateway: InnerGateway, policy: str) -> Iterator[None]:
    kernel = gateway.master.gateway
    before = kernel.live
    kernel.live = replace(before, policy=parse_policy(OPEN_POLICY + policy))
    try:
        yield
    finally:
        kernel.live = before


def said(model: str, text: str = "hello") -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()


def opened(gateway: InnerGateway, alpn: list[str] | None = None) -> ssl.SSLSocket:
    return rawclient.tls(tunnel(gateway.port, AI), AI, gateway.confdir / "ca-cert.pem", alpn)


def call(gateway: InnerGateway, model: str, text: str = "hello") -> Talk:
    with opened(gateway) as sock:
        sock.sendall(post(CHAT, said(model, text), AI))
        return read_answer(sock)


def of_model(gateway: InnerGateway, model: str) -> list[Event]:
    return [e for e in gateway.audit.events if e.model == model]


def eventually(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DUE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class H2:
    """An HTTP/2 client that keeps no rule it does not want to keep."""

    def __init__(self, gateway: InnerGateway) -> None:
        self.sock = opened(gateway, ["h2"])
        config = h2.config.H2Configuration(client_side=True, header_encoding=False)
        self.conn = h2.connection.H2Connection(config)
        self.conn.initiate_connection()
        self.flush()
        self.events: list[h2.events.Event] = []
        self.read(lambda e: isinstance(e, h2.events.RemoteSettingsChanged))

    def flush(self) -> None:
        self.sock.sendall(self.conn.data_to_send())

    def head(self) -> int:
        number = self.conn.get_next_available_stream_id()
        fields = [(":method", "POST"), (":scheme", "https"), (":authority", AI), (":path", CHAT)]
        fields += [("content-type", "application/json"), ("authorization", "Bearer sk-test-EXAMPLE")]
        self.conn.send_headers(number, fields)
        return number

    def ask(self, body: bytes) -> int:
        number = self.head()
        for at in range(0, len(body), 65536):
            self.conn.send_data(number, body[at : at + 65536], end_stream=at + 65536 >= len(body))
        self.flush()
        return number

    def read(self, until: Callable[[h2.events.Event], bool], within_s: float = DUE_S) -> bool:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            self.sock.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except (TimeoutError, OSError):
                return False
            if not data:
                return False
            found = self.conn.receive_data(data)
            self.events += found
            with contextlib.suppress(OSError):
                self.flush()
            if any(until(e) for e in found):
                return True
        return False


def test_a_client_that_resets_its_streams_at_once_leaves_an_end_for_each(gateway: InnerGateway) -> None:
    client = H2(gateway)
    with contextlib.suppress(OSError):
        for number in range(150):
            client.conn.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
            client.conn.remote_settings.acknowledge()
            stream_id = client.head()
            client.conn.send_data(stream_id, said("reset-at-once"), end_stream=True)
            client.conn.reset_stream(stream_id)
            if number % 25 == 24:
                client.flush()
    client.read(lambda e: False, within_s=0.5)
    client.sock.close()

    def all_ended() -> bool:
        kinds = Counter(e.kind for e in of_model(gateway, "reset-at-once"))
        ends = kinds[EventKind.BROKEN] + kinds[EventKind.COMPLETED]
        return kinds[EventKind.ADMITTED] == ends > 0

    eventually(all_ended, "every admitted exchange has an end")


def test_who_waits_for_a_server_connection_and_leaves_has_an_end(gateway: InnerGateway) -> None:
    """A provider that takes connections and says nothing; more streams than connections to it may open."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as mute:
        target = gateway.master.gateway.connect_to
        before = target[AI, 443]
        target[AI, 443] = ("127.0.0.1", mute.getsockname()[1])
        try:
            client = H2(gateway)
            for _ in range(90):
                client.ask(said("left-waiting"))
            eventually(lambda: len(of_model(gateway, "left-waiting")) == 90, "all are admitted")
            client.sock.close()
            eventually(lambda: len(of_model(gateway, "left-waiting")) == 180, "all have an end")
        finally:
            target[AI, 443] = before
    kinds = Counter(e.kind for e in of_model(gateway, "left-waiting"))
    assert kinds == {EventKind.ADMITTED: 90, EventKind.BROKEN: 90}


def test_a_provider_that_never_finishes_tls_is_given_up_in_time(gateway: InnerGateway) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        under(gateway, "transport: {connect_timeout_s: 0.5}\n"),
    ):
        target = gateway.master.gateway.connect_to
        before = target[AI, 443]
        target[AI, 443] = ("127.0.0.1", mute.getsockname()[1])
        try:
            assert call(gateway, "mute-provider").status == 502
        finally:
            target[AI, 443] = before
    assert [e.detail for e in of_model(gateway, "mute-provider")] == ["", "upstream.unreachable"]


def test_a_later_stream_does_not_end_the_time_limit_of_an_earlier_body(
    gateway: InnerGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addon, "BODY_TIMEOUT_S", 0.7)
    client = H2(gateway)
    client.head()
    client.flush()
    since = len(gateway.audit.events)
    number = client.ask(said("beside-a-slow-body"))
    assert client.read(lambda e: isinstance(e, h2.events.StreamEnded) and e.stream_id == number)
    eventually(lambda: any(e.detail == "too_slow" for e in gateway.audit.events[since:]), "cut")


def test_bodies_of_all_clients_together_are_bounded(
    gateway: InnerGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream.settings, "max_request_bytes", 300_000)
    monkeypatch.setattr(stream.settings, "max_held_bytes", 600_000)
    held = [opened(gateway) for _ in range(3)]
    for sock in held:
        sock.sendall(post(CHAT, said("held", "x" * 250_000), AI)[:-10])
    time.sleep(0.3)
    since = len(gateway.audit.events)
    assert call(gateway, "small-beside").status == 200
    answer = call(gateway, "one-too-many", "x" * 250_000)
    assert answer.status == 503
    assert [e.reason for e in gateway.audit.events[since:] if e.kind is EventKind.REFUSED] == [
        "transport.busy"
    ]
    for sock in held:
        sock.close()
    eventually(lambda: call(gateway, "room-again", "x" * 250_000).status == 200, "there is room again")


def test_answers_that_a_client_does_not_read_are_bounded(
    gateway: InnerGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "MAX_UNREAD_BYTES", 200_000)
    monkeypatch.setattr(http2, "_MEASURE_BYTES", 1000)
    client = H2(gateway)
    client.conn.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    client.flush()
    since = len(gateway.audit.events)
    client.ask(said("unread", "word " * 60_000))
    assert client.read(lambda e: isinstance(e, h2.events.ConnectionTerminated))
    assert any(e.detail == "framing_http2_unread" for e in gateway.audit.events[since:])
    eventually(lambda: len(of_model(gateway, "unread")) == 2, "it has an end")


def test_an_upload_that_breaks_off_leaves_one_event(gateway: InnerGateway) -> None:
    since = len(gateway.audit.events)
    sock = opened(gateway)
    sock.sendall(post(CHAT, said("never-whole", "x" * 1000), AI)[:-500])
    time.sleep(0.1)
    sock.close()
    eventually(lambda: gateway.audit.events[since:], "there is one")
    time.sleep(0.1)
    assert [(e.kind, e.detail) for e in gateway.audit.events[since:]] == [(EventKind.REFUSED, "not_whole")]


def test_a_body_in_broken_chunks_leaves_one_event_that_says_so(gateway: InnerGateway) -> None:
    since = len(gateway.audit.events)
    with opened(gateway) as sock:
        lines = f"POST {CHAT} HTTP/1.1\r\nHost: {AI}\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(lines.encode() + b"5\r\nhello!\r\n0\r\n\r\n")
        assert read_answer(sock).status == 400
    time.sleep(0.1)
    assert [(e.kind, e.detail) for e in gateway.audit.events[since:]] == [(EventKind.REFUSED, "framing_body")]


LINES = {"chunk-extension": b"0;x=", "chunk-size": b"1", "trailer": b"0\r\nX-A: "}


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_a_chunked_body_is_bounded(gateway: InnerGateway, name: str) -> None:
    since = len(gateway.audit.events)
    head = post(CHAT, b"", AI, "Transfer-Encoding: chunked")
    with opened(gateway) as sock, contextlib.suppress(OSError):
        sock.sendall(head + LINES[name])
        for _ in range(4):
            sock.sendall(b"0" * stream.settings.max_header_bytes)
        assert sock.recv(100).startswith(b"HTTP/1.1 400")
    eventually(lambda: len(gateway.audit.events) > since, "its end is there")
    assert [e.detail for e in gateway.audit.events[since:]] == ["framing_body"]


def test_a_draining_gateway_tells_http2_clients_to_open_no_more_streams(
    gateway: InnerGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = H2(gateway)
    number = client.ask(said("before-the-drain"))
    assert client.read(lambda e: isinstance(e, h2.events.StreamEnded) and e.stream_id == number)
    monkeypatch.setattr(stream.settings, "draining", True)
    number = client.ask(said("during-the-drain"))
    assert client.read(lambda e: isinstance(e, h2.events.ConnectionTerminated))
    ended = [e for e in client.events if isinstance(e, h2.events.StreamEnded)]
    goodbye = [e for e in client.events if isinstance(e, h2.events.ConnectionTerminated)]
    assert ended[-1].stream_id == number
    assert [e.error_code for e in goodbye] == [0]


def test_a_crash_in_the_core_cuts_the_client_and_leaves_an_end(
    gateway: InnerGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stream.GuardedStream.check_invalid

    def crash(self: stream.GuardedStream, request: bool) -> CommandGenerator[bool]:
        if not request:
            raise RuntimeError("here")
        return (yield from real(self, request))

    with monkeypatch.context() as broken:
        broken.setattr(stream.GuardedStream, "check_invalid", crash)
        answer = call(gateway, "crashes")
    assert answer.status == 0
    assert answer.error != "TimeoutError", "the client waits until its own patience ends"
    eventually(lambda: len(of_model(gateway, "crashes")) == 2, "it has an end")
    assert call(gateway, "after-the-crash").status == 200


def test_a_budget_gives_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = http2.Budget(3, 2)
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
    now[0] = 1.0
    assert [budget.spend() for _ in range(2)] == [True, False]


def test_a_log_that_nobody_reads_stops_nobody() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        handler = PatientHandler(pipe)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger = logging.Logger("patient")
        logger.addHandler(handler)
        done = threading.Event()

        def speak() -> None:
            for number in range(3000):
                logger.warning("%04d %s", number, "x" * 1000)
            done.set()

        threading.Thread(target=speak, daemon=True).start()
        assert done.wait(DUE_S), "the logger waits for a reader"
        heard = b""
        while b"messages were dropped" not in heard and len(heard) < 5_000_000:
            if not heard:
                threading.Timer(0.5, logger.warning, ("one more",)).start()
            heard += os.read(reading, 65536)
    assert heard.startswith(b"0000 x")
    assert b"messages were dropped" in heard


def test_a_line_that_comes_again_and_again_is_told_with_a_count() -> None:
    out = io.StringIO()
    handler = PatientHandler(out, repeat_s=0.3)
    logger = logging.Logger("again")
    logger.addHandler(handler)
    for number in range(500):
        logger.warning("the same")
        logger.warning("another %d", number % 2)
    eventually(lambda: out.getvalue().count("again") == 3, "counts are told when the time is over")
    logger.warning("the same")
    logger.warning("the same")
    logger.warning("last")
    handler.flush()
    lines = out.getvalue().splitlines()
    assert lines[:3] == ["the same", "another 0", "another 1"]
    assert lines.count("last") == 1
    again = [
        int(line.split("again ")[1].split(" ")[0].replace("once", "1")) for line in lines if "again" in line
    ]
    said = len([line for line in lines if "again" not in line])
    assert sum(again) + said == 1003


RAISED: dict[str, tuple[BaseException, str, bool]] = {
    "no-descriptors": (OSError(errno.EMFILE, "CANARY"), "OSError EMFILE", True),
    "no-descriptors-anywhere": (OSError(errno.ENFILE, "CANARY"), "OSError ENFILE", True),
    "reset": (ConnectionResetError(errno.ECONNRESET, "CANARY"), "ConnectionResetError ECONNRESET", False),
    "text": (OSError("CANARY"), "OSError", False),
    "no-number": (OSError("CANARY", "CANARY"), "OSError", False),
    "no-system-error": (OSError(999_999, "CANARY"), "OSError", False),
    "tls": (ssl.SSLError(errno.EMFILE, "CANARY"), "SSLError", False),
    "other": (ValueError("CANARY"), "ValueError", False),
}


@pytest.mark.parametrize("name", RAISED)
def test_of_an_exception_the_log_has_the_type_and_the_system_error_and_no_message(name: str) -> None:
    error, shown, hint = RAISED[name]
    raised = (type(error), error, None)
    record = logging.LogRecord("mitmproxy", logging.ERROR, "master.py", 120, "CANARY %s", ("CANARY",), raised)
    assert WireDataFilter().filter(record)
    said = logging.Formatter("%(message)s").format(record)
    assert f"master:120 {shown} (" in said
    assert "CANARY" not in said
    assert ("LimitNOFILE" in said) is hint


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_an_upload_that_never_ends_is_cut_and_recorded_as_what_the_gateway_refused(
    gateway: InnerGateway, monkeypatch: pytest.MonkeyPatch, framing: str
) -> None:
    """It was recorded as left by the client, who read nothing but a reset."""
    monkeypatch.setattr(stream.settings, "max_request_bytes", 30_000)
    before = len(gateway.audit.events)
    length = b"Content-Length: 1000000" if framing == "length" else b"Transfer-Encoding: chunked"
    head = f"POST {CHAT} HTTP/1.1\r\nHost: {AI}\r\nContent-Type: application/json\r\n".encode()
    with opened(gateway) as sock:
        sock.sendall(head + length + b"\r\n\r\n")
        for piece in (*[b" " * 10_000] * 12, b" "):
            sock.sendall(piece if framing == "length" else b"%x\r\n%s\r\n" % (len(piece), piece))
        talk = read_answer(sock)
    assert talk.status == 413
    assert json.loads(talk.body)["error"]["code"] == "transport.body_too_large"
    assert b"connection: close" in talk.head.lower()
    eventually(lambda: gateway.audit.events[before:], "it is recorded")
    (event,) = gateway.audit.events[before:]
    assert (event.kind, event.reason) == (EventKind.REFUSED, "transport.body_too_large")

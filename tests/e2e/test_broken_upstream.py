"""Providers that fail in every way: the client gets an error of its own dialect, and the audit its one end."""

import gzip
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anthropic
import h2.config
import h2.connection
import h2.events
import openai
import pytest

import rawclient
from e2e.traffic import (
    ANTHROPIC,
    CANARY,
    CHAT,
    GEMINI,
    OPENAI,
    Deed,
    Villain,
    Wire,
    ask,
    assert_clean,
    assert_sound,
    by_model,
    chat,
    cut,
    eventually,
    hang,
    recorded,
    running,
    say,
    settled,
    the_end,
    villain,
)
from gateways import OPEN_POLICY, GatewayProcess
from ports import free_port
from rawclient import chunks, post
from sallyport.audit.events import EventKind
from sallyport.lab.authority import Fault, LabCa
from sallyport.lab.server import Lab

NO_RETRY = {"api_key": "sk-test-EXAMPLE", "max_retries": 0, "timeout": 10}


def head(kind: str, *more: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", *more]
    lines += [] if length is None else [f"content-length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def delta(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    event = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


SSE = head("text/event-stream", "transfer-encoding: chunked")
EVENTS = [delta(f"{word} ") for word in f"one two {CANARY} three".split()]
STREAM = SSE + b"".join(chunks(*EVENTS, b"data: [DONE]\n\n")) + b"0\r\n\r\n"
JSON = json.dumps({"id": CANARY, "choices": [{"index": 0, "message": {"content": "x"}}]}).encode()
SECRET_GARBAGE = f"{CANARY} user@example.com sk-live-{CANARY}\r\n".encode()


@pytest.fixture(scope="module")
def upstream(ca: LabCa) -> Iterator[Villain]:
    with villain(ca, {}) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    ca: LabCa, upstream: Villain, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """OpenAI, Anthropic and Gemini are the villain; the lab is reached under another name."""
    to = {OPENAI: upstream.port, ANTHROPIC: upstream.port, GEMINI: upstream.port}
    extra = ["--upstream-ca", str(ca.certificate)]
    policy = OPEN_POLICY + "transport:\n  idle_timeout_s: 1\n  max_response_bytes: 100000\n"
    with running(tmp_path_factory.mktemp("broken"), None, policy=policy, extra=extra, to=to) as up:
        yield up
    assert_sound(recorded(up.confdir))
    assert_clean(up, "sk-live")


@pytest.fixture
def environment(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in gateway.env.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)


# -- no connection at all ------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["expired", "wrong-name", "self-signed", "refused"])
def test_a_provider_that_cannot_be_trusted_or_reached_gets_nothing(
    tmp_path: Path, ca: LabCa, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Lab(folder=ca.certificate.parent, fault=None if fault == "refused" else fault)
    with bad.in_thread():
        port = free_port() if fault == "refused" else bad.port
        extra = ["--upstream-ca", str(ca.certificate)]
        to = dict.fromkeys((OPENAI, ANTHROPIC, GEMINI), port)
        with running(tmp_path, None, extra=extra, to=to) as gateway:
            for name, value in gateway.env.items():
                monkeypatch.setenv(name, value)
            for stream in (False, True):
                with pytest.raises(openai.InternalServerError) as raised:
                    openai.OpenAI(**NO_RETRY).chat.completions.create(  # type: ignore[call-overload]
                        model="unreached", messages=[{"role": "user", "content": CANARY}], stream=stream
                    )
                assert raised.value.status_code == 502
                assert raised.value.code == "upstream.unreachable"
                assert ("takes a connection" if fault == "refused" else "certificate") in raised.value.message
            with pytest.raises(anthropic.InternalServerError) as other:
                anthropic.Anthropic(**NO_RETRY).messages.create(
                    model="unreached", max_tokens=9, messages=[{"role": "user", "content": CANARY}]
                )
            assert other.value.status_code == 502
            path = "/v1beta/models/unreached:generateContent"
            body = json.dumps({"contents": [{"parts": [{"text": CANARY}]}]}).encode()
            wire = Wire.open(gateway, GEMINI)
            wire.send(post(path, body, GEMINI))
            wire.read_all()
            assert wire.status == 502
            assert json.loads(bytes(wire.data).partition(b"\r\n\r\n")[2])["error"]["code"] == 502
            events = settled(gateway.confdir)
            assert_clean(gateway)
        cause = "refused" if fault == "refused" else "tls"
        assert {e.detail for e in events if e.kind is EventKind.BROKEN} == {f"upstream.unreachable.{cause}"}
        assert_sound(events)
        kinds = [e.kind for e in events if e.exchange]
        assert kinds.count(EventKind.ADMITTED) == kinds.count(EventKind.BROKEN) == 4
        assert bad.bytes_received == 0


# -- answers that are no answers -----------------------------------------------------------------------

WHOLE_FAILURES: dict[str, tuple[Deed, str]] = {
    "reset-before-answer": (cut(), "upstream.protocol"),
    "closed-before-answer": (say(), "upstream.protocol"),
    "garbage": (say(SECRET_GARBAGE * 3), "upstream.protocol"),
    "zeros": (say(bytes(5000)), "upstream.protocol"),
    "tls-in-tls": (say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9), "upstream.protocol"),
    "half-head": (cut(head("application/json")[:-4]), "upstream.protocol"),
    "bad-header": (say(head("application/json", f"{CANARY} : x") + b"{}"), "upstream.framing"),
    "control-in-header": (
        say(head("application/json", f"x-note: a\rset-cookie: {CANARY}", length=2) + b"{}"), "upstream.framing"),
    "two-lengths": (
        say(head("application/json", "content-length: 3", length=2) + b"{}x"), "upstream.protocol"),
    "short-body": (cut(head("application/json", length=999) + JSON), "upstream.protocol"),
    "bad-chunk": (
        say(head("application/json", "transfer-encoding: chunked") + SECRET_GARBAGE), "upstream.protocol"),
    "endless-head": (say(b"HTTP/1.1 200 OK\r\n" + b"x: " + CANARY.encode() * 9000), "upstream.protocol"),
    "chunk-line-without-end": (
        say(SSE.replace(b"text/event-stream", b"application/json") + b"1;x=" + b"y" * 200_000),
        "upstream.protocol",
    ),
    "huge-answer": (say(head("application/json", length=200_000) + b" " * 200_000), "upstream.too_large"),
    "huge-chunked": (
        say(head("application/json", "transfer-encoding: chunked") + b"".join(chunks(*[b" " * 9999] * 20))),
        "upstream.too_large"),
    "interim-heads-without-end": (
        say(b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + head("application/json", length=len(JSON)) + JSON),
        "upstream.protocol"),
    "switching": (say(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE_FAILURES)
def test_an_answer_that_is_none_becomes_the_dialects_error(
    gateway: GatewayProcess, upstream: Villain, name: str
) -> None:
    upstream.deeds[name], reason = WHOLE_FAILURES[name]
    talk = ask(gateway, name)
    end = the_end(gateway, name)
    assert CANARY.encode() not in talk.head + talk.body
    assert talk.status == 502
    error = json.loads(talk.body)["error"]
    assert error["code"].startswith("upstream.")
    assert not reason or error["code"] == reason
    assert end.exchange in error["message"]
    assert end.detail


WITHHELD: dict[str, tuple[bytes, int]] = {
    "nothing": (head("application/json", length=0), 200),
    "no-content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    "half": (head("application/json", length=9) + b'{"id": "x', 200),
    "redirect": (head("text/html", "location: /v1/responses", status="302 Found", length=6) + b"<html>", 302),
}
"""Answers that cannot be searched for what may not come in, or hold what has to be put back; their status."""


@pytest.mark.parametrize("name", WITHHELD)
def test_an_answer_that_is_withheld_is_recorded_as_broken_with_the_reason_and_charged(
    gateway: GatewayProcess, upstream: Villain, name: str
) -> None:
    model = f"withheld-{name}"
    said, status = WITHHELD[name]
    upstream.deeds[model] = say(said)
    talk = ask(gateway, model, "Write to ann.smith@example.com.")
    assert (talk.status, json.loads(talk.body)["error"]["code"]) == (502, "upstream.unreadable")
    end = the_end(gateway, model)
    assert (end.kind, end.status, end.unread) == (EventKind.BROKEN, status, "answer.unread")
    assert end.detail.startswith("wire.json.")
    assert end.usage_source == "estimated"


LEADING_AWAY = (
    "https://collector.example/v1",
    "//collector.example/v1",
    "/\\collector.example/v1",
    "\\\\collector.example/v1",
    "https:collector.example",
    "http://api.openai.com/v1",
    "https://api.openai.com:444/v1",
    "https://api.openai.com@collector.example/v1",
    "https://api.openai.com\\@collector.example/v1",
    "https://api.openai.com.collector.example/",
    "https://api.openai.com#@collector.example/",
    "HTTPS://collector.example/",
    "collector",
    "/v1/unread",
    "https://api.openai.com/v1/unread",
    "https://api.openai.com/v1/models",
)


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
def test_a_redirect_that_takes_masked_texts_to_where_nobody_reads_them_is_withheld(
    gateway: GatewayProcess, upstream: Villain, status: str
) -> None:
    """Whoever follows it sends the request as its client wrote it, originals and all."""
    for number, place in enumerate(LEADING_AWAY if status == "307" else LEADING_AWAY[:1]):
        model = f"leads-away-{status}-{number}"
        upstream.deeds[model] = say(
            head("application/json", f"location: {place}", status=f"{status} Moved", length=2) + b"{}"
        )
        talk = ask(gateway, model, "Write to ann.smith@example.com.")
        assert (talk.status, json.loads(talk.body)["error"]["code"]) == (502, "upstream.redirected"), place
        assert b"collector" not in talk.head + talk.body
        end = the_end(gateway, model)
        assert (end.kind, end.status, end.detail) == (EventKind.BROKEN, int(status), "wire.redirect")
        # What 307 and 308 are about is done, and charged, where the request is sent next.
        assert end.usage_source == ("" if status in ("307", "308") else "estimated")


def test_a_redirect_of_a_websocket_to_where_nobody_reads_it_is_withheld(
    gateway: GatewayProcess, upstream: Villain
) -> None:
    place = "location: wss://collector.example/v1/responses"
    upstream.deeds["responses"] = say(head("text/html", place, status="302 Found", length=0))
    upgrade = (
        f"GET /v1/responses HTTP/1.1\r\nHost: {OPENAI}\r\nAuthorization: Bearer sk-test-EXAMPLE\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    talk = rawclient.ask(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, upgrade.encode(), timeout=10)
    assert talk.status == 502
    assert b"upstream.redirected" in talk.body
    assert b"collector" not in talk.head


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("Write to ann.smith@example.com.", "/v1/responses"),
        ("Write to ann.smith@example.com.", "https://api.mistral.ai/v1/chat/completions"),
        ("Good morning.", "https://collector.example/v1"),
    ],
    ids=["same host", "read again", "nothing masked"],
)
def test_a_redirect_by_which_nothing_leaves_that_may_not_reaches_the_client(
    gateway: GatewayProcess, upstream: Villain, text: str, place: str
) -> None:
    for kind, page in (("application/json", b"{}"), ("text/html", b"<p>Moved.</p>"), ("text/html", b"")):
        model = f"leads-on-{len(place)}-{len(text)}-{len(page)}"
        there = head(kind, f"location: {place}", status="307 Temporary Redirect", length=len(page))
        upstream.deeds[model] = say(there + page)
        talk = ask(gateway, model, text)
        assert (talk.status, talk.body) == (307, page)
        assert f"location: {place}\r\n".encode() in talk.head + b"\r\n"
        end = the_end(gateway, model, EventKind.COMPLETED)
        assert (end.usage_source, end.cost_micro_usd) == ("", 0)


INTERIM = {
    "early-hints": b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "several": b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
}


@pytest.mark.parametrize("split", [False, True], ids=["at-once", "in-pieces"])
@pytest.mark.parametrize("name", INTERIM)
def test_what_a_provider_says_before_its_answer_is_not_taken_for_it(
    gateway: GatewayProcess, upstream: Villain, name: str, split: bool
) -> None:
    model = f"{name}-{split}".lower()
    said = INTERIM[name] + head("application/json", length=len(JSON)) + JSON
    pieces = [said[at : at + 7] for at in range(0, len(said), 7)] if split else [said]
    upstream.deeds[model] = say(*pieces, delay_s=0.002)
    talk = ask(gateway, model)
    assert (talk.status, talk.body) == (200, JSON)
    eventually(lambda: len(by_model(recorded(gateway.confdir), model)) == 2, 5, "it has ended")
    assert by_model(recorded(gateway.confdir), model) == [EventKind.ADMITTED, EventKind.COMPLETED]


def test_trailers_of_an_answer_are_left_out_and_hurt_nobody(
    gateway: GatewayProcess, upstream: Villain
) -> None:
    late = b"0\r\nx-checksum: abc\r\n\r\n"
    said = head("application/json", "trailer: x-checksum", "transfer-encoding: chunked")
    upstream.deeds["trailers"] = say(said + b"".join(chunks(JSON)) + late)
    upstream.deeds["trailers-stream"] = say(STREAM.removesuffix(b"0\r\n\r\n") + late)
    talk = ask(gateway, "trailers")
    assert (talk.status, talk.body) == (200, b"".join(chunks(JSON)) + b"0\r\n\r\n")
    talk = ask(gateway, "trailers-stream", stream=True)
    assert talk.status == 200
    assert talk.body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    for model in ("trailers", "trailers-stream"):
        eventually(lambda m=model: len(by_model(recorded(gateway.confdir), m)) == 2, 5, "it has ended")
        assert by_model(recorded(gateway.confdir), model) == [EventKind.ADMITTED, EventKind.COMPLETED]


def with_trailers(sock: ssl.SSLSocket) -> None:
    """Answer every request over HTTP/2, with trailers behind the body."""
    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    conn.initiate_connection()
    sock.sendall(conn.data_to_send())
    while data := sock.recv(65536):
        for event in conn.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                number = event.stream_id
                length = ("content-length", str(len(JSON)))
                conn.send_headers(number, [(":status", "200"), ("content-type", "application/json"), length])
                conn.send_data(number, JSON)
                conn.send_headers(number, [("x-checksum", "abc")], end_stream=True)
        sock.sendall(conn.data_to_send())


def test_trailers_of_http2_do_not_end_the_connection_of_an_http1_client(tmp_path: Path, ca: LabCa) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            context = ca.server_context(OPENAI)
            context.set_alpn_protocols(["h2"])
            with suppress(OSError), context.wrap_socket(listener.accept()[0], server_side=True) as sock:
                with_trailers(sock)

        threading.Thread(target=serve, daemon=True).start()
        extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: listener.getsockname()[1]}
        with running(tmp_path, None, extra=extra, to=to) as gateway:
            raw = rawclient.tunnel(gateway.port, OPENAI)
            # It would take either; the gateway offers the provider what the client offers.
            wire = Wire(rawclient.tls(raw, OPENAI, gateway.confdir / "ca-cert.pem", ["http/1.1", "h2"]))
            assert wire.sock.selected_alpn_protocol() == "http/1.1"
            for _ in range(2):
                wire.data.clear()
                wire.send(post(CHAT, chat("late"), OPENAI))
                wire.read_all()
                assert (wire.status, bytes(wire.data).partition(b"\r\n\r\n")[2]) == (200, JSON)
            assert "AssertionError" not in gateway.log.read_text()


def test_a_stream_of_http_1_0_is_sent_in_chunks_by_1_1_alone(
    gateway: GatewayProcess, upstream: Villain
) -> None:
    old = head("text/event-stream").replace(b"HTTP/1.1", b"HTTP/1.0")
    upstream.deeds["old"] = say(old + b"".join(EVENTS) + b"data: [DONE]\n\n")
    talk = ask(gateway, "old", stream=True)
    assert talk.head.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding: chunked" in talk.head
    assert talk.body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_a_providers_answer_that_is_not_what_it_says_passes_as_it_is(
    gateway: GatewayProcess, upstream: Villain
) -> None:
    page = b"<html>502 Bad Gateway</html>"
    upstream.deeds["html"] = say(head("text/html", status="502 Bad Gateway", length=len(page)) + page)
    talk = ask(gateway, "html")
    assert (talk.status, talk.body) == (502, page)


def test_a_failure_of_the_provider_is_over_when_it_is_over(
    tmp_path: Path, ca: LabCa, upstream: Villain
) -> None:
    """A client asks again on the connection it has; stock mitmproxy answers with the first failure for ever."""
    upstream.deeds["well-again"] = say(head("application/json", length=len(JSON)) + JSON)
    with (
        socket.create_server(("127.0.0.1", 0)) as front,
        running(
            tmp_path, None, extra=["--upstream-ca", str(ca.certificate)], to={OPENAI: front.getsockname()[1]}
        ) as gateway,
    ):

        def serve() -> None:
            front.accept()[0].close()  # before TLS is there
            while True:
                try:
                    theirs, _ = front.accept()
                except OSError:
                    return
                ours = socket.create_connection(("127.0.0.1", upstream.port))
                for a, b in ((theirs, ours), (ours, theirs)):
                    threading.Thread(target=pass_on, args=(a, b), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        wire = Wire.open(gateway)
        statuses = []
        for _ in range(3):
            wire.data.clear()
            wire.send(post(CHAT, chat("well-again"), OPENAI))
            wire.read_all()
            statuses.append(wire.status)
        assert statuses == [502, 200, 200]
        front.shutdown(socket.SHUT_RDWR)


def pass_on(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            to.sendall(piece)
        to.shutdown(socket.SHUT_WR)


SDK_FAILURES = ["reset-before-answer", "garbage", "short-body", "huge-answer"]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", SDK_FAILURES)
def test_the_official_sdks_raise_their_own_errors(upstream: Villain, name: str, stream: bool) -> None:
    model = f"sdk-{name}"
    upstream.deeds[model] = WHOLE_FAILURES[name][0]
    messages: Any = [{"role": "user", "content": "Hello"}]
    with pytest.raises(openai.InternalServerError):
        openai.OpenAI(**NO_RETRY).chat.completions.create(model=model, messages=messages, stream=stream)  # type: ignore[call-overload]
    with pytest.raises(anthropic.InternalServerError):
        anthropic.Anthropic(**NO_RETRY).messages.create(  # type: ignore[call-overload]
            model=model, messages=messages, max_tokens=9, stream=stream
        )


# -- streams -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("where", [len(SSE), len(SSE) + 1, len(SSE) + 60, len(STREAM) // 2, len(STREAM) - 6])
@pytest.mark.parametrize("end", [cut, say, hang], ids=["reset", "close", "silence"])
def test_a_stream_that_stops_anywhere_ends_in_an_error_that_the_sdk_raises(
    gateway: GatewayProcess, upstream: Villain, where: int, end: Callable[..., Deed]
) -> None:
    model = f"stopped-{end.__name__}-{'abcdefghij'[where % 10]}-{'abcdefghij'[where // 100]}"
    upstream.deeds[model] = end(STREAM[:where])
    pieces = []
    with pytest.raises(openai.APIError):  # noqa: PT012
        for piece in openai.OpenAI(**NO_RETRY).chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], stream=True
        ):
            pieces.append(piece.choices[0].delta.content)
        # All text was there and only the farewell is missing: then a client may not notice.
        if b"[DONE]" in STREAM[:where]:
            raise openai.APIError("as good as whole", request=None, body=None)  # type: ignore[arg-type]
    assert [*pieces] == [f"{word} " for word in f"one two {CANARY} three".split()][: len(pieces)]
    assert the_end(gateway, model).kind is EventKind.BROKEN


GZIPPED = gzip.compress(b"".join(EVENTS) + b"data: [DONE]\n\n")
STREAM_FAILURES: dict[str, Deed] = {
    "gzip": say(head("text/event-stream", "content-encoding: gzip", length=len(GZIPPED)) + GZIPPED),
    "gzip-endless": hang(
        head("text/event-stream", "content-encoding: gzip", "transfer-encoding: chunked")
        + b"".join(chunks(GZIPPED))
    ),
    "no-json": say(SSE + b"".join(chunks(EVENTS[0], b"data: {" + SECRET_GARBAGE + b"\n\n"))),
    "no-utf8": say(SSE + b"".join(chunks(EVENTS[0], b"data: \xff\xfe" + SECRET_GARBAGE + b"\n\n"))),
    "huge-event": say(SSE + b"".join(chunks(EVENTS[0], b"data: " + b"x" * 3_000_000 + b"\n\n"))),
    "repeated-keys": say(SSE + b"".join(chunks(EVENTS[0], b'data: {"a": 1, "a": 2}\n\n'))),
}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("name", STREAM_FAILURES)
def test_a_stream_that_cannot_be_read_is_ended_in_the_dialect_and_the_provider_cut(
    gateway: GatewayProcess, upstream: Villain, name: str
) -> None:
    model = f"unreadable-{name}"
    upstream.deeds[model] = STREAM_FAILURES[name]
    wire = Wire.open(gateway)
    wire.send(post(CHAT, chat(model, stream=True), OPENAI))
    wire.read_all()
    assert wire.whole, "the connection was cut instead of an answer"
    assert b'"error"' in wire.data
    assert CANARY.encode() not in wire.data
    assert the_end(gateway, model).detail
    eventually(lambda: model in upstream.gone, 3, "the provider was cut off")
    with pytest.raises(openai.APIError) as raised:
        for _ in openai.OpenAI(**NO_RETRY).chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], stream=True
        ):
            pass
    assert not isinstance(raised.value, openai.APIConnectionError)


def test_a_provider_that_never_answers_is_given_up_after_the_idle_time(
    gateway: GatewayProcess, upstream: Villain
) -> None:
    upstream.deeds["mute"] = hang()
    began = time.monotonic()
    wire = Wire.open(gateway)
    wire.send(post(CHAT, chat("mute"), OPENAI))
    wire.read_all()
    assert 0.8 < time.monotonic() - began < 30
    assert the_end(gateway, "mute").kind is EventKind.BROKEN
    eventually(lambda: "mute" in upstream.gone, 3, "the provider was cut off")

"""A provider that speaks HTTP/2 ends connections, refuses streams and limits them: what it still answers arrives."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.settings
import httpx
import openai
import pytest
from hyperframe.frame import RstStreamFrame

import rawclient
from e2e.http2client import CALL, Http2Client
from e2e.identity.commanding import sallyport
from e2e.traffic import (
    CHAT,
    OPENAI,
    assert_clean,
    assert_sound,
    by_model,
    chat,
    eventually,
    recorded,
    running,
)
from gateways import OPEN_POLICY, GatewayProcess
from http2provider import LAST_OF_ALL, Asked, Http2Provider, http2_provider
from sallyport.audit.events import Event, EventKind
from sallyport.lab.authority import LabCa

WHOLE = [EventKind.ADMITTED, EventKind.COMPLETED]
BROKEN = [EventKind.ADMITTED, EventKind.BROKEN]
INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 2, 7, 8
ONE_AT_ONCE = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}


@pytest.fixture(scope="module")
def upstream(ca: LabCa) -> Iterator[Http2Provider]:
    with http2_provider(ca, OPENAI) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    ca: LabCa, upstream: Http2Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    extra = ["--upstream-ca", str(ca.certificate)]
    policy = OPEN_POLICY + "transport:\n  idle_timeout_s: 20\n"
    with running(
        tmp_path_factory.mktemp("h2"), None, policy=policy, extra=extra, to={OPENAI: upstream.port}
    ) as up:
        yield up
    assert_sound(recorded(up.confdir))
    assert_clean(up)
    assert "crashed" not in up.log.read_text()


@pytest.fixture
def client(gateway: GatewayProcess) -> Http2Client:
    return Http2Client(gateway)


def said(body: str) -> str:
    events = [line.removeprefix("data: ") for line in body.split("\n\n") if line.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event).get("choices", [])]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def ended(gateway: GatewayProcess, model: str, kinds: list[EventKind]) -> Event:
    eventually(lambda: len(by_model(recorded(gateway.confdir), model)) == 2, 5, f"{model} has ended")
    events = [e for e in recorded(gateway.confdir) if e.model == model]
    assert [e.kind for e in events] == kinds
    return events[1]


def assert_booked(gateway: GatewayProcess, model: str) -> None:
    """Check that an exchange came to its end, with the usage that the provider reported."""
    end = ended(gateway, model, WHOLE)
    assert end.usage is not None
    assert (end.usage.input, end.usage.output, end.usage_source) == (7, 5, "provider")


def asked_for(upstream: Http2Provider, model: str) -> list[Asked]:
    return [asked for asked in upstream.asked if asked.model == model]


class Held:
    """A deed that begins an answer, and goes on with it when it is told to."""

    def __init__(self, then: Callable[[Asked], None] | None = None) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.asked: Asked | None = None
        self._then = then

    def __call__(self, asked: Asked) -> None:
        self.asked = asked
        asked.headers()
        asked.say("one ")
        self.begun.set()
        assert self.go_on.wait(20)
        if self._then is not None:
            self._then(asked)
            return
        asked.say("two ")
        asked.say("three")
        asked.end()

    def wait(self) -> Asked:
        assert self.begun.wait(20)
        assert self.asked is not None
        return self.asked


# -- GOAWAY --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, INTERNAL_ERROR], ids=["no-error", "with-an-error"])
@pytest.mark.parametrize("frames", ["one", "highest-first", "twice"])
def test_an_answer_in_flight_goes_on_behind_a_goaway_and_the_next_request_takes_another_way(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client, frames: str, code: int
) -> None:
    flying, next_one = f"flying-{frames}-{code}", f"next-{frames}-{code}"
    held = upstream.deeds[flying] = Held()
    flight = client.ask(flying, stream=True)
    asked = held.wait()
    if frames == "highest-first":
        asked.line.goaway(LAST_OF_ALL)
    asked.line.goaway(asked.stream, code)
    if frames == "twice":
        asked.line.goaway(asked.stream, code)
    asked.say("still ")
    client.heard(flight, "still")
    assert client.status(next_one) == 200
    assert asked_for(upstream, next_one)[0].line is not asked.line
    held.go_on.set()
    status, body = client.whole(flight)
    assert (status, said(body)) == (200, "one still two three")
    assert body.endswith("data: [DONE]\n\n")
    assert_booked(gateway, flying)
    assert_booked(gateway, next_one)
    assert asked.line.goodbye.wait(10), "the old connection is ended once nothing goes on there"


def test_a_body_under_way_goes_on_behind_a_goaway(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client
) -> None:
    """The provider has taken the head and opens the window for the rest of the body only later."""
    text, lines = "word " * 60_000, len(upstream.lines)
    upstream.open_window.clear()
    flight = client.ask("long-body", text)
    eventually(
        lambda: len(upstream.lines) > lines and any(upstream.lines[-1].bodies.values()), 5, "it begins"
    )
    line = upstream.lines[-1]
    line.goaway(1)
    upstream.open_window.set()
    line.read_on()
    assert client.whole(flight)[0] == 200
    assert_booked(gateway, "long-body")
    assert json.loads(asked_for(upstream, "long-body")[0].body)["messages"][0]["content"] == text


def test_a_request_that_was_not_looked_at_goes_again_and_nobody_notices(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client
) -> None:
    held = upstream.deeds["stays"] = Held()
    upstream.deeds["moved"] = lambda asked: asked.line.goaway(1) if asked.number == first else asked.answer()
    flight = client.ask("stays", stream=True)
    first = held.wait().number
    status, body = client.whole(client.ask("moved"))
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "hello")
    tries = asked_for(upstream, "moved")
    assert len(tries) == 2
    assert tries[0].line is not tries[1].line
    assert (tries[0].body, tries[0].head) == (tries[1].body, tries[1].head)
    held.go_on.set()
    assert said(client.whole(flight)[1]) == "one two three"
    assert_booked(gateway, "stays")
    assert_booked(gateway, "moved")


def test_a_method_leaves_spelt_as_it_was_judged(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client
) -> None:
    fields = [(name, "post" if name == ":method" else value) for name, value in CALL]
    assert client.whole(client.send(fields, b'{"model": "small", "messages": []}'))[0] == 200
    (asked,) = asked_for(upstream, "small")
    assert asked.head[":method"] == "POST"


def test_what_no_connection_looks_at_is_refused_so_that_a_client_asks_again_later(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client
) -> None:
    upstream.deeds["nowhere"] = lambda asked: asked.line.goaway(0)
    number = client.ask("nowhere")
    status, body = client.whole(number)
    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream.protocol")
    assert client.heads[number].get("x-should-retry") != "false"
    assert len(asked_for(upstream, "nowhere")) == 4
    assert ended(gateway, "nowhere", BROKEN).cost_micro_usd in (0, None)


def test_a_provider_that_closes_behind_its_goaway_breaks_what_it_had_promised(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client
) -> None:
    def fail(asked: Asked) -> None:
        asked.line.goaway(asked.stream, INTERNAL_ERROR)
        asked.line.hang_up()

    held = upstream.deeds["promised"] = Held(fail)
    flight = client.ask("promised", stream=True)
    held.wait()
    held.go_on.set()
    _, body = client.whole(flight)
    assert said(body) == "one "
    assert '"code":"upstream.' in body
    assert ended(gateway, "promised", BROKEN).detail.startswith("upstream.")
    assert len(asked_for(upstream, "promised")) == 1, "it was looked at, so that it is not sent again"
    assert client.status("after-promised") == 200


def test_a_client_that_gives_up_behind_a_goaway_ends_the_answer_at_the_provider(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client
) -> None:
    held = upstream.deeds["given-up"] = Held()
    number = client.ask("given-up", stream=True)
    asked = held.wait()
    asked.line.goaway(asked.stream)
    asked.say("still")
    client.heard(number, "still")
    client.give_up(number)
    assert asked.line.goodbye.wait(20)
    assert asked.stream in asked.line.reset
    assert ended(gateway, "given-up", BROKEN).usage_source in ("counted", "estimated")
    held.go_on.set()
    assert client.status("after-given-up") == 200
    assert_booked(gateway, "after-given-up")


def test_an_idle_connection_that_is_told_goaway_hurts_nobody(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client
) -> None:
    assert client.status("idle-1") == 200
    line = asked_for(upstream, "idle-1")[0].line
    line.goaway(1)
    assert line.goodbye.wait(10)
    assert client.status("idle-2") == 200
    assert asked_for(upstream, "idle-2")[0].line is not line


@pytest.mark.parametrize("when", ["at-once", "later"])
def test_a_request_that_is_stopped_on_its_way_to_another_connection_does_not_leave(
    tmp_path: Path, ca: LabCa, when: str
) -> None:
    """And of its client nothing else ends, neither at once nor when others that are stopped have been waited for."""

    def move(asked: Asked) -> None:
        upstream.open_door.clear()
        asked.line.goaway(1)

    extra = ["--upstream-ca", str(ca.certificate)]
    with (
        http2_provider(ca, OPENAI) as upstream,
        running(tmp_path, None, extra=extra, to={OPENAI: upstream.port}) as gateway,
    ):
        held, silent = Held(), Held()
        upstream.deeds |= {"stays": held, "moved": move, "moved-too": silent, "beside": silent}
        client, other = Http2Client(gateway), Http2Client(gateway)
        flight = client.ask("stays", stream=True)
        held.wait()
        witness = other.ask("moved-too", stream=True)
        other.heard(witness, "one")
        if when == "later":
            other.heard(other.ask("beside", stream=True), "one")
        moved = client.ask("moved")
        eventually(lambda: upstream.knocked == 3, 5, "it goes another way")
        sallyport("stop", "model", "moved*", "--reason", "test", "--confdir", str(gateway.confdir))
        ended(gateway, "moved-too", BROKEN)  # by which time the other is stopped as well
        upstream.open_door.set()
        status, body = client.whole(moved)
        assert (status, json.loads(body)["error"]["code"]) == (403, "access.stopped")
        assert ended(gateway, "moved", BROKEN).detail == "access.stopped"
        silent.go_on.set()
        held.go_on.set()
        assert said(client.whole(flight)[1]) == "one two three"
        assert client.status("after") == 200
        assert len(asked_for(upstream, "moved")) == 1


class Http2Alone(ssl.SSLContext):
    """Offers HTTP/2 and nothing else; httpx puts HTTP/1.1 before it."""

    def set_alpn_protocols(self, protocols: object) -> None:
        super().set_alpn_protocols(["h2"])


def test_an_sdk_reads_a_stream_whole_whose_connection_is_being_ended(
    gateway: GatewayProcess, upstream: Http2Provider
) -> None:
    held = upstream.deeds["sdk"] = Held()
    trust = Http2Alone(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(str(gateway.confdir / "ca-cert.pem"))
    proxy = f"http://127.0.0.1:{gateway.port}"
    with httpx.Client(http2=True, verify=trust, proxy=proxy, trust_env=False, timeout=20) as http:
        sdk = openai.OpenAI(api_key="sk-test-EXAMPLE", http_client=http, max_retries=0)
        text = ""
        stream = sdk.chat.completions.create(
            model="sdk",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        for chunk in stream:
            if not text:
                asked = held.wait()
                asked.line.goaway(asked.stream)
                held.go_on.set()
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert text == "one two three"
    assert_booked(gateway, "sdk")


# -- streams that the provider gives up ----------------------------------------------------------------


def test_a_stream_that_the_provider_refuses_goes_to_another_connection(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client
) -> None:
    """A refused stream was not processed (RFC 9113, 8.7); what else the connection carries goes on."""
    held = upstream.deeds["kept"] = Held()
    upstream.deeds["full"] = lambda asked: (
        asked.reset(REFUSED_STREAM) if asked.line is first else asked.answer()
    )
    flight = client.ask("kept", stream=True)
    first = held.wait().line
    assert client.status("full") == 200
    assert len(asked_for(upstream, "full")) == 2
    held.go_on.set()
    assert said(client.whole(flight)[1]) == "one two three"
    assert_booked(gateway, "kept")
    assert_booked(gateway, "full")
    assert first.goodbye.wait(10)


@pytest.mark.parametrize("code", [0, INTERNAL_ERROR, REFUSED_STREAM, CANCEL], ids=lambda code: f"code-{code}")
@pytest.mark.parametrize("when", ["before", "within", "behind"])
def test_a_stream_that_the_provider_gives_up_ends_in_the_words_of_the_dialect(
    gateway: GatewayProcess, upstream: Http2Provider, client: Http2Client, when: str, code: int
) -> None:
    def give_up(asked: Asked) -> None:
        if when != "before":
            asked.headers()
            asked.say("one ")
        if when == "behind":
            asked.end()
            asked.line.frame(RstStreamFrame(asked.stream, error_code=code))
        else:
            asked.reset(code)

    model = f"given-{when}-{code}"
    upstream.deeds[model] = give_up
    status, body = client.whole(client.ask(model, stream=True))
    if when == "behind":
        assert (status, said(body)) == (200, "one ")
        assert_booked(gateway, model)
        return
    assert status == (502 if when == "before" else 200)
    assert '"code":"upstream.' in body
    end = ended(gateway, model, BROKEN)
    assert end.detail == "upstream.protocol"
    if when == "before":
        assert (end.usage, end.cost_micro_usd) == (None, 0), "nothing was answered"
        assert len(asked_for(upstream, model)) == (4 if code == REFUSED_STREAM else 1)
    assert client.status(f"next-{model}") == 200


UNSOUND = {"204": "protocol", "304": "protocol", "0": "framing", "99": "framing", "000": "framing"}
"""Statuses of answers with content; the first two have none, and the others are no statuses of answers."""


@pytest.mark.parametrize("status", UNSOUND)
@pytest.mark.parametrize("offered", ["h2", "http/1.1"])
def test_an_answer_that_http_1_would_cut_in_two_does_not_go_to_the_client(
    gateway: GatewayProcess, upstream: Http2Provider, status: str, offered: str
) -> None:
    """Frames say where an answer ends. HTTP/1 says it by the status, and what follows would be another answer."""

    def answer(asked: Asked) -> None:
        asked.headers(status=status, kind="application/json")
        asked.data(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", end=False)
        asked.data(b"EVIL!", end=True)

    model = f"unsound-{status}-{offered[:2]}"
    upstream.deeds[model] = answer
    if offered == "h2":
        client = Http2Client(gateway)
        got, body = client.whole(client.ask(model))
        assert client.status(f"next-{model}") == 200
    else:
        raw = rawclient.tunnel(gateway.port, OPENAI, timeout=20)
        sock = rawclient.tls(raw, OPENAI, gateway.confdir / "ca-cert.pem", ["http/1.1", "h2"])
        sock.sendall(rawclient.post(CHAT, chat(model), OPENAI))
        talk = rawclient.read_answer(sock)
        got, body = talk.status, talk.body.decode()
        sock.sendall(rawclient.post(CHAT, chat(f"next-{model}"), OPENAI))
        assert rawclient.read_answer(sock).status == 200
    assert (got, json.loads(body)["error"]["code"]) == (502, f"upstream.{UNSOUND[status]}")
    assert ended(gateway, model, BROKEN).detail == f"upstream.{UNSOUND[status]}"


# -- streams that wait for their turn ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["goaway", "hang-up"])
def test_requests_that_wait_for_their_turn_go_on_when_the_connection_ends(
    tmp_path: Path, ca: LabCa, how: str
) -> None:
    def end(asked: Asked) -> None:
        asked.line.goaway(asked.stream) if how == "goaway" else asked.line.hang_up()

    with http2_provider(ca, OPENAI, ONE_AT_ONCE) as upstream:
        held = upstream.deeds["first"] = Held(end)
        extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: upstream.port}
        with running(tmp_path, None, extra=extra, to=to) as gateway:
            client = Http2Client(gateway)
            flight = client.ask("first", stream=True)
            asked = held.wait()
            client.heard(flight, "one")
            waiting = [client.ask(f"waits-{n}") for n in range(3)]
            eventually(
                lambda: sum(e.kind is EventKind.ADMITTED for e in recorded(gateway.confdir)) == 4,
                5,
                "all wait",
            )
            assert len(upstream.asked) == 1
            upstream.settings = None
            held.go_on.set()
            assert [client.whole(number)[0] for number in waiting] == [200] * 3
            if how == "goaway":
                asked.say("two")
                asked.end()
                assert said(client.whole(flight)[1]) == "one two"
            for n in range(3):
                assert_booked(gateway, f"waits-{n}")
                assert len(asked_for(upstream, f"waits-{n}")) == 1


def test_a_request_that_its_client_gave_up_while_it_waited_never_leaves(tmp_path: Path, ca: LabCa) -> None:
    with http2_provider(ca, OPENAI, ONE_AT_ONCE) as upstream:
        held = upstream.deeds["first"] = Held()
        extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: upstream.port}
        with running(tmp_path, None, extra=extra, to=to) as gateway:
            client = Http2Client(gateway)
            first = client.ask("first", stream=True)
            held.wait()
            client.heard(first, "one")
            waits = client.ask("impatient")
            eventually(lambda: by_model(recorded(gateway.confdir), "impatient"), 5, "it is admitted")
            client.give_up(waits)
            ended(gateway, "impatient", BROKEN)
            held.go_on.set()
            client.whole(first)
            assert client.status("last") == 200
            assert not asked_for(upstream, "impatient")


def test_a_request_that_is_stopped_while_it_waits_for_its_turn_never_leaves(
    tmp_path: Path, ca: LabCa
) -> None:
    """The turn comes at once, before its connection is cut."""

    def make_room_when_stopped(asked: Asked) -> None:
        asked.headers()
        asked.say("one")
        assert asked.line.gone.wait(20)
        held.go_on.set()

    with http2_provider(ca, OPENAI, ONE_AT_ONCE) as upstream:
        held = upstream.deeds["first"] = Held()
        extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: upstream.port}
        with running(tmp_path, None, extra=extra, to=to) as gateway:
            upstream.deeds["stopped-too"] = make_room_when_stopped
            other, client = Http2Client(gateway), Http2Client(gateway)
            other.heard(other.ask("stopped-too", stream=True), "one")
            first = client.ask("first", stream=True)
            held.wait()
            client.heard(first, "one")
            waits = client.ask("stopped")
            eventually(lambda: by_model(recorded(gateway.confdir), "stopped"), 5, "it is admitted")
            sallyport("stop", "model", "stopped*", "--reason", "test", "--confdir", str(gateway.confdir))
            status, body = client.whole(waits)
            assert (status, json.loads(body)["error"]["code"]) == (403, "access.stopped")
            assert ended(gateway, "stopped", BROKEN).detail == "access.stopped"
            assert not asked_for(upstream, "stopped")

"""What a policy says of WebSockets, limits, kill switches and the end of the gateway, on sessions that are open."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from gateways import OPEN_POLICY, InnerGateway
from proxy.conftest import inner_gateway_in_thread
from sallyport.audit.events import EventKind
from sallyport.cli.assembly import make_detector
from sallyport.policy.load import parse_policy
from sallyport.proxy import stream, websocket
from sallyport.stages.directory import NOBODY, NoDirectory, Stop, StopKind
from socketclient import CREATE, REALTIME, RESPONSES, Closed, SocketClient, item, text_of, told

PERSON = "marta.quill@example.com"
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
SOUND = {"type": "input_audio_buffer.append", "audio": "AAAA"}


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[InnerGateway]:
    detector = make_detector(parse_policy(OPEN_POLICY))
    with inner_gateway_in_thread(folder, policy=OPEN_POLICY, detector=detector) as running:
        yield running


CLIENTS: list[SocketClient] = []


@pytest.fixture(autouse=True)
def _calm(gateway: InnerGateway) -> Iterator[None]:
    gateway.lab.forget()
    gateway.audit.events.clear()
    yield
    while CLIENTS:
        CLIENTS.pop().sock.close()
    eventually(lambda: gateway.master.addon.in_flight == 0, "all sessions have ended")


@contextmanager
def under(gateway: InnerGateway, policy: str) -> Iterator[None]:
    """Put another policy in force, as a reload does."""
    before = gateway.master.gateway.live
    live = replace(before, policy=parse_policy(OPEN_POLICY + policy))
    put(gateway, live)
    try:
        yield
    finally:
        put(gateway, before)


def put(gateway: InnerGateway, live: Any) -> None:
    gateway.master.gateway.live = live
    gateway.master.gateway.metering.configure(live.policy.limits)
    websocket.apply_settings(live)


def opened(gateway: InnerGateway, path: str = REALTIME, *headers: str) -> SocketClient:
    CLIENTS.append(SocketClient.open(gateway.port, gateway.confdir, path, *headers))
    return CLIENTS[-1]


def ready(gateway: InnerGateway, path: str = REALTIME) -> SocketClient:
    client = opened(gateway, path)
    assert client.status == 101, client.head
    assert client.hear()["type"] == "session.created"
    return client


def eventually(holds: Any, what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


# -- which sockets -------------------------------------------------------------------------------------


def test_an_endpoint_that_the_policy_refuses_is_answered_with_426(gateway: InnerGateway) -> None:
    with under(gateway, "websocket: {refuse: ['openai WS /v1/responses']}\n"):
        assert opened(gateway, RESPONSES).status == 426
        assert opened(gateway).status == 101
    with under(gateway, "websocket: {inspect: []}\n"):
        assert opened(gateway).status == 426
    assert [e.reason for e in gateway.audit.of(EventKind.REFUSED)] == ["transport.upgrade_refused"] * 2


def test_a_session_ends_when_a_new_policy_no_longer_reads_it(gateway: InnerGateway) -> None:
    client = ready(gateway)
    with under(gateway, "websocket: {refuse: ['openai *']}\n"):
        client.say(item("Hello"))
        assert client.hear() == Closed(1008)
    assert not any("Hello" in m for m in told(gateway.lab))


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        ("websocket: {opaque: [openai]}\naccess: {unknown_endpoint: opaque}\n", 101),
        ("websocket: {opaque: [openai]}\n", 403),
        ("access: {unknown_endpoint: opaque}\n", 426),
    ],
    ids=["both", "access-refuses", "websocket-refuses"],
)
def test_an_unknown_socket_passes_unread_only_where_two_sections_say_so(
    gateway: InnerGateway, policy: str, status: int
) -> None:
    with under(gateway, policy):
        client = opened(gateway, "/v1/realtime?call_id=rtc_1")
        assert client.status == status
        if status != 101:
            return
        client.hear()
        client.say(b"\x00\x01")
        client.say("no json")
        assert client.hear()["type"] == "error"
        assert told(gateway.lab) == ["\x00\x01", "no json"]
    client.say("more")  # the policy is another one now
    assert client.hear() == Closed(1008)
    eventually(lambda: gateway.audit.of(EventKind.COMPLETED), "its end is recorded")
    (admitted,) = gateway.audit.of(EventKind.ADMITTED)
    assert admitted.operation == "opaque"


def test_an_unread_session_ends_with_the_policy_that_let_it_pass_whether_or_not_it_says_anything(
    gateway: InnerGateway,
) -> None:
    with under(gateway, "websocket: {opaque: [openai]}\naccess: {unknown_endpoint: opaque}\n"):
        unread, read = opened(gateway, "/v1/realtime?call_id=rtc_1"), ready(gateway)
        unread.hear()
    gateway.master.event_loop.call_soon_threadsafe(
        gateway.master.addon.sockets.close_forbidden
    )  # a reload does
    assert isinstance(unread.hear(), Closed)
    read.say(item("Hello"))
    assert read.hear()["type"] == "conversation.item.added"
    eventually(lambda: gateway.audit.of(EventKind.BROKEN), "its end is recorded")
    (ended,) = gateway.audit.of(EventKind.BROKEN)
    assert ended.detail == "websocket.upgrade"


# -- which events --------------------------------------------------------------------------------------


def test_a_refusal_may_close_the_session(gateway: InnerGateway) -> None:
    with under(gateway, "websocket: {on_refusal: close}\n"):
        client = ready(gateway)
        client.say("{}")
        assert client.hear()["type"] == "error"
        assert client.hear() == Closed(1008)


def test_unknown_events_may_pass_once_every_string_is_read(gateway: InnerGateway) -> None:
    with under(gateway, "websocket: {unknown_events: read}\n"):
        client = ready(gateway)
        client.say({"type": "something.new", PERSON: [{"deep": f"for {PERSON}"}]})
        assert client.hear()["error"]["message"] == "Unknown event."
    (sent,) = told(gateway.lab)
    assert PERSON not in sent
    assert sent.count("<EMAIL_ADDRESS_") == 2


@pytest.mark.parametrize("audio", ["refuse", "answers", "allow"])
def test_sound_goes_where_the_policy_lets_it(gateway: InnerGateway, audio: str) -> None:
    with under(gateway, f"websocket: {{audio: {audio}}}\n"):
        client = ready(gateway, "/v1/realtime?model=loud")
        client.say(SOUND)
        client.say(item("Hello"))
        client.say(CREATE)
        heard = client.until("response.done")
        client.close()
        client.hear()
        eventually(lambda: gateway.master.addon.in_flight == 0, "it has ended")
    kinds = [e["type"] for e in heard]
    assert ("error" in kinds) is (audio != "allow")
    assert ("response.output_audio.delta" in kinds) is (audio != "refuse")
    (finished,) = [e for e in heard if e["type"] == "response.output_item.done"]
    assert (finished["item"]["content"][0]["audio"] == "AAAA") is (audio != "refuse")
    assert finished["item"]["content"][0]["transcript"] == "You wrote: Hello"
    assert any("AAAA" in m for m in told(gateway.lab)) is (audio == "allow")
    (ended,) = [e for e in gateway.audit.of(EventKind.COMPLETED) if e.detail == "close.1000"]
    assert bool(ended.unread)


def test_sound_in_a_message_is_content_that_access_judges(gateway: InnerGateway) -> None:
    part = {"type": "input_audio", "audio": "AAAA"}
    event = {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [part]},
    }
    client = ready(gateway)
    client.say(event)
    assert client.hear()["error"]["code"] == "access.attachment"
    with under(gateway, "websocket: {audio: allow}\n"):
        client.say(event)
        assert client.hear()["type"] == "conversation.item.added"


def test_binary_messages_may_pass(gateway: InnerGateway) -> None:
    with under(gateway, "websocket: {binary: allow}\n"):
        client = ready(gateway, "/v1/realtime?model=binary")
        client.say(b"\x00\x01")
        client.say(CREATE)
        assert b"You wrote: " in client.until("response.done")
    assert "\x00\x01" in told(gateway.lab)


def test_observing_passes_everything_and_records_what_would_have_been(gateway: InnerGateway) -> None:
    with under(gateway, "mode: observe\n"):
        client = ready(gateway)
        given = ['{"type":"something.new"}', "no json", str(SOUND).replace("'", '"')]
        for event in (*given, item(f"Write to {PERSON}")):
            client.say(event)
        client.say(CREATE)
        assert text_of(client.until("response.done")) == f"You wrote: Write to {PERSON}"
    assert told(gateway.lab)[:3] == given
    reasons = {e.reason for e in gateway.audit.of(EventKind.ADMITTED)}
    assert {"websocket.unknown_event", "wire.json.syntax", "websocket.audio", "masking.masked"} <= reasons
    assert gateway.audit.of(EventKind.REFUSED) == []


@pytest.mark.parametrize("model", ["binary", "garbage"])
def test_what_cannot_be_read_does_not_pass_by_an_output_section_in_force(
    gateway: InnerGateway, model: str
) -> None:
    with under(gateway, "mode: observe\noutput: {mode: enforce, pii: mask}\n"):
        client = ready(gateway, f"/v1/realtime?model={model}")
        client.say(item("Hello"))
        client.say(CREATE)
        *_, last, end = client.until("never")
    assert last["error"]["code"] == "upstream.unreadable"
    assert end == Closed(1011)


def test_a_refusal_may_be_an_answer_of_the_assistant(gateway: InnerGateway) -> None:
    with under(gateway, "secrets: {blocked: refuse}\n"):
        client = ready(gateway)
        client.say(item(f"Use {SECRET}"))
        assert client.hear()["error"]["code"].startswith("secrets.")
        client.say(CREATE)
        heard = client.until("response.done")
        assert "was refused" in text_of(heard)
        assert heard[-1]["response"]["status"] == "completed"
        client.say(item("Then without"))
        client.say(CREATE)
        assert text_of(client.until("response.done")) == "You wrote: Then without"
        lanes = opened(gateway, RESPONSES)
        lanes.say({"type": "response.create", "model": "gpt-lab", "input": f"Use {SECRET}", "stream_id": "a"})
        spoken = lanes.until("response.completed")
        assert {e["stream_id"] for e in spoken} == {"a"}
        assert "did not reach the model" in text_of(spoken)
        assert told(gateway.lab) == []
    for event in heard:
        TypeAdapter(RealtimeServerEvent).validate_python(event)


def test_a_text_may_be_excised_from_an_event(gateway: InnerGateway) -> None:
    with under(gateway, "secrets: {blocked: excise}\n"):
        client = ready(gateway)
        client.say(item(f"Use {SECRET}"))
        client.say(CREATE)
        assert "[Removed by the gateway: " in text_of(client.until("response.done"))
    assert not any(SECRET in text for text in told(gateway.lab))


# -- limits --------------------------------------------------------------------------------------------


def test_an_answer_is_settled_by_what_the_provider_reports_and_the_next_is_refused(
    gateway: InnerGateway,
) -> None:
    limits = "{assumed_output_tokens: 1, rules: [{id: words, measure: output_tokens, limit: 5, per: month}]}"
    with under(gateway, f"limits: {limits}\n"):
        client = ready(gateway)
        client.say(item("a text of more than twenty tokens, " * 4))
        client.say(CREATE)
        usage = client.until("response.done")[-1]["response"]["usage"]
        assert usage["output_tokens"] > 20
        client.say(CREATE)
        refused = client.hear()
        assert refused["error"]["code"] == "limits.words"
        client.say(item("what adds to the conversation is not counted"))
        assert client.hear()["type"] == "conversation.item.added"


def test_an_open_session_takes_no_place_and_each_answer_takes_one(gateway: InnerGateway) -> None:
    with under(gateway, "limits: {rules: [{id: one, measure: concurrent, limit: 1}]}\n"):
        ready(gateway)
        client = ready(gateway, "/v1/realtime?model=silent")
        client.say(CREATE)
        assert client.hear()["type"] == "response.created"
        client.say(CREATE)
        assert client.hear()["error"]["code"] == "limits.one"


def test_an_answer_that_nobody_asked_for_and_limits_refuse_ends_the_session(gateway: InnerGateway) -> None:
    limits = "{rules: [{id: calls, limit: 2, per: month, by: [model]}]}"
    with under(gateway, f"limits: {limits}\n"):
        client = ready(gateway, "/v1/realtime?model=twice-only")  # the upgrade is a call too
        client.say({"type": "input_audio_buffer.commit"})
        assert client.until("response.done")[-1]["type"] == "response.done"
        client.say({"type": "input_audio_buffer.commit"})
        heard = client.until("never")
        assert heard[-2]["error"]["code"] == "limits.calls"
        assert heard[-1] == Closed(1008)
        assert not any(e["type"] == "response.created" for e in heard[:-1])


# -- the end -------------------------------------------------------------------------------------------


class Pulled(NoDirectory):
    def stops(self) -> tuple[Stop, ...]:
        return (Stop("stop-1", StopKind.PROVIDER, "openai"),)


@pytest.fixture
def looking(gateway: InnerGateway) -> Iterator[None]:
    """Have kill switches looked at, as a gateway that serves has; put back who is who."""
    loop = gateway.master.event_loop
    loop.call_soon_threadsafe(gateway.master.addon.stopping.start)
    yield
    gateway.master.gateway.directory = lambda: NOBODY
    loop.call_soon_threadsafe(gateway.master.addon.stopping.close)


@pytest.mark.usefixtures("looking")
def test_a_kill_switch_ends_a_session_within_a_moment(gateway: InnerGateway) -> None:
    client = ready(gateway, "/v1/realtime?model=silent")
    client.say(CREATE)
    client.until("response.created")
    gateway.master.gateway.directory = Pulled
    last, end = client.hear(), client.hear()
    assert last["error"]["code"] == "access.stopped"
    assert end == Closed(1008)
    eventually(lambda: len(gateway.audit.of(EventKind.BROKEN)) == 2, "both ends are recorded")
    assert {e.detail for e in gateway.audit.of(EventKind.BROKEN)} == {"access.stopped"}
    assert opened(gateway).status == 403


def test_a_gateway_that_stops_ends_idle_sessions_and_lets_answers_finish(gateway: InnerGateway) -> None:
    idle, busy = ready(gateway), ready(gateway, "/v1/realtime?model=slow-80")
    busy.say(item("Hello"))
    busy.say(CREATE)
    busy.until("response.created")
    stream.settings.draining = True
    try:
        gateway.master.event_loop.call_soon_threadsafe(gateway.master.addon.sockets.close_idle)
        assert [type(e) for e in idle.until("never")][-1] is Closed
        assert text_of(busy.until("response.done")) == "You wrote: Hello"
        assert busy.hear() == Closed(1012)
    finally:
        stream.settings.draining = False

"""What the events of a WebSocket are there for, and Responses read event by event."""

import json

import pytest

from sallyport.decision import Edit, Refusal
from sallyport.exchange import Surface
from sallyport.policy.providers import SOCKET_DIALECTS
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError
from sallyport.wire.sockets import MANNERS, Asked, Purpose, Told
from wire.samples import CASSETTES, call

CLIENT = [
    json.loads(line)
    for line in (CASSETTES / "openai_realtime" / "client_events.jsonl").read_text().splitlines()
]
SERVER = [
    json.loads(line)
    for line in (CASSETTES / "openai_realtime" / "server_events.jsonl").read_text().splitlines()
]
responses = DIALECTS["openai_responses_socket"]
NO = Refusal("secrets.found", "No.", "d-1", status=400)


def test_every_dialect_of_a_socket_has_its_manners() -> None:
    assert set(MANNERS) == set(SOCKET_DIALECTS)
    assert set(SOCKET_DIALECTS) <= set(DIALECTS)


@pytest.mark.parametrize("event", CLIENT, ids=lambda e: e["type"])
def test_a_clients_realtime_event_has_a_purpose(event: dict[str, object]) -> None:
    asked = MANNERS["openai_realtime"].asked(event)  # type: ignore[arg-type]
    assert asked.purpose is not Purpose.UNKNOWN
    assert asked.type == event["type"]


def test_a_realtime_answer_has_a_beginning_events_that_name_it_and_an_end() -> None:
    told = [MANNERS["openai_realtime"].told(event) for event in SERVER]
    (begun,) = [t for t in told if t.begins]
    (ended,) = [t for t in told if t.ends]
    assert begun.response == ended.response == "resp_rt1"
    between = told[told.index(begun) : told.index(ended) + 1]
    assert all(t.response == "resp_rt1" for t in between if not t.alone)
    assert sum(t.failed for t in told) == 1


@pytest.mark.parametrize(
    ("dialect", "event", "asked"),
    [
        ("openai_realtime", {"type": "made.up"}, Asked(Purpose.UNKNOWN, "unknown")),
        ("openai_realtime", {"type": 5, "event_id": 7}, Asked(Purpose.UNKNOWN, "unknown")),
        ("openai_realtime", {"type": "response.cancel", "event_id": "e1"}, Asked(Purpose.CONTROL, "response.cancel", id="e1")),
        ("openai_realtime", {"type": "response.create", "event_id": "e" * 500}, Asked(Purpose.TURN, "response.create")),
        ("openai_responses_socket", {"type": "response.create", "stream_id": "a"}, Asked(Purpose.TURN, "response.create", "a")),
        ("openai_responses_socket", {"type": "response.steer"}, Asked(Purpose.CONTEXT, "response.steer")),
        ("openai_responses_socket", {"type": "session.update"}, Asked(Purpose.UNKNOWN, "unknown")),
    ],
    ids=["made-up", "no-text", "control", "long-id", "lane", "steer", "of-the-other"],
)  # fmt: skip
def test_what_a_client_asks(dialect: str, event: dict[str, object], asked: Asked) -> None:
    assert MANNERS[dialect].asked(event) == asked  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            {"type": "response.created", "response": {"id": "r1"}, "stream_id": "a"},
            Told("a", "r1", begins=True),
        ),
        ({"type": "response.output_text.delta", "delta": "x"}, Told()),
        ({"type": "response.failed", "response": {"id": "r1"}}, Told(response="r1", ends=True)),
        ({"type": "response.incomplete", "response": {"id": "r1"}}, Told(response="r1", ends=True)),
        ({"type": "error", "error": {"code": "x"}}, Told(failed=True)),
        ({"type": "response.audio.delta", "delta": "AAAA"}, Told(sound=True)),
    ],
    ids=["created", "delta", "failed", "incomplete", "error", "sound"],
)
def test_what_a_provider_of_responses_tells(event: dict[str, object], told: Told) -> None:
    assert MANNERS["openai_responses_socket"].told(event) == told  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"type": "response.text.delta", "item_id": "i", "delta": "x"}, Told(item="i", says=True)),
        ({"type": "response.audio.delta", "item_id": "i", "delta": "AAAA"}, Told(item="i", sound=True)),
        (
            {"type": "response.output_item.done", "response_id": "r", "item": {"id": "i"}},
            Told(response="r", item="i"),
        ),
        ({"type": "conversation.item.done", "item": {"id": "i"}}, Told(alone=True, item="i", retold=True)),
        (
            {"type": "conversation.item.input_audio_transcription.delta", "item_id": "i", "delta": "x"},
            Told(alone=True, item="i", says=True, retold=True),
        ),
        (
            {"type": "conversation.item.created", "item": {"id": "i", "content": [{"text": "x"}]}},
            Told(alone=True, item="i", says=True, retold=True),
        ),
        ({"type": "session.updated"}, Told(alone=True, retold=True)),
    ],
    ids=["piece", "sound", "item", "again", "heard", "written", "none"],
)
def test_what_a_realtime_provider_tells(event: dict[str, object], told: Told) -> None:
    assert MANNERS["openai_realtime"].told(event) == told  # type: ignore[arg-type]


def test_a_refusal_names_the_event_it_answers() -> None:
    realtime = json.loads(
        MANNERS["openai_realtime"].refusal(NO, Asked(Purpose.TURN, "response.create", id="e1"))
    )
    assert (realtime["type"], realtime["error"]["event_id"], realtime["error"]["code"]) == (
        "error",
        "e1",
        NO.reason,
    )
    socket = json.loads(MANNERS["openai_responses_socket"].refusal(NO, Asked(Purpose.TURN, "x", "a")))
    assert (socket["type"], socket["status"], socket["stream_id"], socket["error"]["code"]) == (
        "error",
        400,
        "a",
        NO.reason,
    )
    for manners in MANNERS.values():
        assert json.loads(manners.refusal(NO, None))["type"] == "error"


def test_a_client_event_of_responses_is_read_as_the_http_body_is() -> None:
    event = {"type": "response.create", "model": "gpt-5", "input": "Hello", "instructions": "Be kind.",
             "stream_id": "lane-1", "generate": False, "max_output_tokens": 9, "previous_response_id": "resp_1"}  # fmt: skip
    request = responses.read_request(json.dumps(event).encode(), call())
    http = {k: v for k, v in event.items() if k not in ("type", "stream_id", "generate")}
    same = DIALECTS["openai_responses"].read_request(json.dumps(http).encode(), call())
    assert {s.text for s in request.segments} - {s.text for s in same.segments} == {"lane-1"}
    assert (request.model, request.max_output_tokens, request.previous) == ("gpt-5", 9, "resp_1")
    steer = {"type": "response.steer", "previous_response_id": "resp_1",
             "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Faster"}]}]}  # fmt: skip
    texts = {s.text: s.surface for s in responses.read_request(json.dumps(steer).encode(), call()).segments}
    assert texts["Faster"] is Surface.USER
    raw = json.dumps(event).encode()
    assert responses.edit(raw, [Edit("/input", 0, 5, "Bye")]) == raw.replace(b"Hello", b"Bye")


@pytest.mark.parametrize(
    "event", [b"{}", b'{"type":1}', b'{"type":"response.create","input":5}', b"[]", b"\xff"]
)
def test_an_odd_event_of_responses_is_refused(event: bytes) -> None:
    with pytest.raises(WireError):
        responses.read_request(event, call())


def test_an_unknown_type_is_a_text_like_any_other() -> None:
    (segment,) = responses.read_request(b'{"type":"tell 4111 1111 1111 1111"}', call()).segments
    assert segment.at == "/type"


def test_a_providers_events_of_responses_are_those_of_its_stream() -> None:
    stream = (CASSETTES / "openai_responses").glob("*stream*.sse")
    checked = 0
    for path in stream:
        payloads = [line[6:] for line in path.read_bytes().splitlines() if line.startswith(b"data: {")]
        reader = responses.open_stream()
        frames = [event for payload in payloads for event in reader.feed(payload)]
        streamed = DIALECTS["openai_responses"].open_stream()
        events = [e for e in [*streamed.feed(path.read_bytes()), *streamed.end()] if e.payload is not None]
        assert [(e.deltas, e.closes, e.usage, e.finish_reason) for e in frames] == [
            (e.deltas, e.closes, e.usage, e.finish_reason) for e in events
        ]
        assert [reader.rewrite(e, {}) for e in frames] == payloads
        checked += len(frames)
    assert checked > 10


def test_a_session_that_cannot_be_read_ends_in_one_event() -> None:
    (event,) = responses.open_stream().feed(responses.stream_error(NO))
    assert event.error == NO.reason

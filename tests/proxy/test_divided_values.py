"""A value that stands in no part of an answer or a request, and in all of them joined as clients and providers do."""

import json
from typing import Any

import pytest

from proxy.outflows import answer_rules, exchange_of, output_filter, refused
from sallyport.decision import Refusal
from sallyport.exchange import Operation
from sallyport.policy.output import OutputAction
from sallyport.proxy.editing import edited_answer
from sallyport.proxy.tap import AnswerTap, Looking
from sallyport.wire.dialect import Call, Stamp
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.eventstream import json_frame

CARD = ("The card is 4111 1111", " 1111 1111, a test.")
MASK = "pii: mask; secrets: mask"


def whole_body(dialect: str, parts: tuple[str, ...], between: dict[str, Any] | None = None) -> dict[str, Any]:
    """An answer of these texts, one part each. between: a part that stands between the first and the others."""
    kinds = {"openai_responses": "output_text"}
    content: list[dict[str, Any]] = [{"type": kinds.get(dialect, "text"), "text": text} for text in parts]
    if dialect in ("gemini_generate", "bedrock_converse"):
        content = [{"text": text} for text in parts]
    if between is not None:
        content.insert(1, between)
    match dialect:
        case "openai_chat":
            return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
        case "openai_responses":
            return {"id": "r", "status": "completed", "output": [{"type": "message", "content": content}]}
        case "anthropic_messages":
            return {"id": "m", "type": "message", "role": "assistant", "content": content}
        case "gemini_generate":
            return {"candidates": [{"index": 0, "content": {"parts": content}}]}
        case "bedrock_converse":
            return {
                "output": {"message": {"role": "assistant", "content": content}},
                "stopReason": "end_turn",
            }
        case _:
            return {"id": "i", "message": {"role": "assistant", "content": content}}


WHOLE = [
    "openai_chat",
    "openai_responses",
    "anthropic_messages",
    "gemini_generate",
    "bedrock_converse",
    "cohere_v2",
]


def texts_of(dialect: str, body: bytes) -> list[str]:
    return [s.text for s in DIALECTS[dialect].read_response(body, 200).segments]


def edited(dialect: str, body: dict[str, Any], policy: str) -> Any:
    spoken, data = DIALECTS[dialect], json.dumps(body).encode()
    return edited_answer(spoken, spoken.read_response(data, 200), data, None, output_filter(policy, spoken))


@pytest.mark.parametrize("dialect", WHOLE)
def test_a_value_divided_over_parts_of_an_answer_is_masked(dialect: str) -> None:
    found = edited(dialect, whole_body(dialect, CARD), MASK)
    assert texts_of(dialect, found.body) == ["The card is [CREDIT_CARD]", ", a test."]


@pytest.mark.parametrize("dialect", WHOLE)
def test_a_value_divided_over_three_parts_is_masked_once(dialect: str) -> None:
    found = edited(
        dialect, whole_body(dialect, ("A card: 4111", " 1111 1111", " 1111 here; b@example.org")), MASK
    )
    assert texts_of(dialect, found.body)[0] == "A card: [CREDIT_CARD]"
    assert texts_of(dialect, found.body)[-1] == " here; [EMAIL_ADDRESS]"


@pytest.mark.parametrize("dialect", WHOLE)
def test_an_answer_ends_where_a_divided_value_begins(dialect: str) -> None:
    found = edited(dialect, whole_body(dialect, CARD), "pii: truncate")
    assert found.stop is not None
    assert found.stop.action is OutputAction.TRUNCATE
    body = DIALECTS[dialect].shortened(found.body, *found.cut)
    assert "".join(texts_of(dialect, body)) == "The card is "


@pytest.mark.parametrize("dialect", WHOLE)
def test_parts_that_share_nothing_stay_as_they_are(dialect: str) -> None:
    found = edited(dialect, whole_body(dialect, ("The year 1980", " was a good one.")), MASK)
    assert not found.changed


def test_texts_before_and_behind_a_call_are_not_one() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    found = edited("anthropic_messages", whole_body("anthropic_messages", CARD, call), MASK)
    assert not found.changed


def _sse(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {e.get('type')}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def _blocks(*contents: str | dict[str, Any]) -> bytes:
    """A stream of Messages with a block for each: of a text, or as it is given."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": {}}}
    ]
    for index, one in enumerate(contents):
        block = {"type": "text", "text": ""} if isinstance(one, str) else one
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        if isinstance(one, str):
            half = len(one) // 2
            for piece in (one[:half], one[half:]):
                delta = {"type": "text_delta", "text": piece}
                events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
    )
    return _sse(*events, {"type": "message_stop"})


def _frames(*texts: str) -> bytes:
    def frame(kind: str, payload: dict[str, Any]) -> bytes:
        return json_frame("event", kind, json.dumps(payload).encode())

    out = [frame("messageStart", {"role": "assistant"})]
    for index, text in enumerate(texts):
        out.append(frame("contentBlockDelta", {"contentBlockIndex": index, "delta": {"text": text}}))
        out.append(frame("contentBlockStop", {"contentBlockIndex": index}))
    return b"".join(
        [*out, frame("messageStop", {"stopReason": "end_turn"}), frame("metadata", {"usage": {}})]
    )


def _gemini(*texts: str) -> bytes:
    chunks = [{"candidates": [{"index": 0, "content": {"parts": [{"text": text} for text in texts]}}]}]
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks)


def _chat(*texts: str) -> bytes:
    content = [{"type": "text", "text": text} for text in texts]
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': content}}]})}\n\n".encode()


STREAMS = {
    "anthropic_messages": (_blocks, "text/event-stream"),
    "bedrock_converse": (_frames, "application/vnd.amazon.eventstream"),
    "gemini_generate": (_gemini, "text/event-stream"),
    "openai_chat": (_chat, "text/event-stream"),
}


def through(dialect: str, data: bytes, policy: str, step: int = 37) -> tuple[bytes, AnswerTap]:
    spoken, content_type = DIALECTS[dialect], STREAMS[dialect][1]
    ending = spoken.ending(exchange_of(spoken).request, Stamp("i", 1), content_type)
    tap = AnswerTap(
        spoken,
        spoken.open_stream(content_type),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=None,
        remember=lambda text: None,
        looking=Looking(output_filter(policy, spoken), ending, refused),
    )
    out: list[bytes] = []
    for start in range(0, len(data), step):
        found = tap.feed(data[start : start + step])
        out += found.out
        if found.finish:
            return b"".join(out), tap
    out += tap.end().out
    return b"".join(out), tap


def said(dialect: str, data: bytes) -> str:
    reader = DIALECTS[dialect].open_stream(STREAMS[dialect][1])
    events = [*reader.feed(data), *reader.end()]
    return "".join(d.text for e in events for d in e.deltas if not d.whole)


@pytest.mark.parametrize("dialect", STREAMS)
@pytest.mark.parametrize("step", [1, 37, 10_000])
def test_a_value_divided_over_parts_of_a_stream_is_masked(dialect: str, step: int) -> None:
    out, tap = through(dialect, STREAMS[dialect][0](*CARD), MASK, step)
    assert tap.failed is None
    assert said(dialect, out) == "The card is [CREDIT_CARD], a test."


@pytest.mark.parametrize("dialect", STREAMS)
def test_a_stream_ends_where_a_divided_value_begins(dialect: str) -> None:
    out, tap = through(dialect, STREAMS[dialect][0](*CARD), "pii: truncate")
    assert tap.ended_early is not None
    assert said(dialect, out) == "The card is "


def test_a_text_does_not_wait_for_a_call_that_follows_it() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    data = _blocks("The card is 4111 1111", call, " 1111 1111, a test.")
    begun = data.index(b'"tool_use"')
    spoken = DIALECTS["anthropic_messages"]
    tap = AnswerTap(
        spoken,
        spoken.open_stream(),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=None,
        remember=lambda text: None,
        looking=Looking(output_filter(MASK, spoken), None, refused),
    )
    end_of_start = data.index(b"\n\n", begun) + 2
    out = b"".join(tap.feed(data[:end_of_start]).out)
    assert b"tool_use" in out
    assert said("anthropic_messages", out) == "The card is 4111 1111"


REQUESTS = {
    "openai_chat": lambda *t: {"model": "m", "messages": [{"role": "user", "content": _parts(*t)}]},
    "openai_responses": lambda *t: {
        "model": "m",
        "input": [{"role": "user", "content": _parts(*t, kind="input_text")}],
    },
    "anthropic_messages": lambda *t: {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": _parts(*t)}],
    },
    "gemini_generate": lambda *t: {"contents": [{"role": "user", "parts": [{"text": one} for one in t]}]},
    "bedrock_converse": lambda *t: {"messages": [{"role": "user", "content": [{"text": one} for one in t]}]},
    "cohere_v2": lambda *t: {"model": "m", "messages": [{"role": "user", "content": _parts(*t)}]},
    "ollama_chat": lambda *t: {"model": "m", "messages": [{"role": "user", "content": one} for one in t]},
}


def _parts(*texts: str, kind: str = "text") -> list[dict[str, str]]:
    return [{"type": kind, "text": text} for text in texts]


@pytest.mark.parametrize("dialect", REQUESTS)
def test_a_value_divided_over_parts_of_a_request_is_found(dialect: str) -> None:
    body = json.dumps(REQUESTS[dialect](*CARD)).encode()
    request = DIALECTS[dialect].read_request(body, Call("test", Operation.CHAT, model="m"))
    found = answer_rules()._scanner.scan(request.segments)
    assert {f.entity for f in found} >= {"CREDIT_CARD"}

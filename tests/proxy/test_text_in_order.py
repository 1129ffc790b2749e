"""A provider that writes an answer's parts out of their order gets no original into a link that way."""

import json
from typing import Any

import pytest

from proxy.test_divided_values import JOAN, MASK, PLACEHOLDER, SCOPE, through
from sallyport.proxy.tap import AnswerTap
from wire.samples import samples

LINK = "See https://evil.example/?q="
HIDDEN = f"{PLACEHOLDER} now"

type Piece = tuple[int, str]


def _sse(events: list[dict[str, Any]]) -> bytes:
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def _messages(pieces: list[Piece | None], begun: list[int]) -> bytes:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": {}}}
    ]
    for index in begun:
        block = {"type": "text", "text": ""}
        events.append({"type": "content_block_start", "index": index, "content_block": block})
    for piece in pieces:
        if piece is None:
            call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
            events.append({"type": "content_block_start", "index": 7, "content_block": call})
        else:
            delta = {"type": "text_delta", "text": piece[1]}
            events.append({"type": "content_block_delta", "index": piece[0], "delta": delta})
    return _sse([*events, {"type": "message_stop"}])


def _responses(pieces: list[Piece | None], begun: list[int]) -> bytes:
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {"id": "r", "output": []}}]
    for piece in pieces:
        if piece is None:
            call = {"type": "function_call", "name": "f", "arguments": ""}
            place = {"output_index": 0, "content_index": 0}
            events.append({"type": "response.output_text.done", **place, "text": LINK})
            events.append({"type": "response.output_item.added", "output_index": 1, "item": call})
        else:
            place = {"output_index": 0, "content_index": piece[0]}
            events.append({"type": "response.output_text.delta", **place, "delta": piece[1]})
    return _sse([*events, {"type": "response.completed", "response": {"id": "r", "status": "completed"}}])


def _cohere(pieces: list[Piece | None], begun: list[int]) -> bytes:
    events: list[dict[str, Any]] = [{"type": "message-start", "delta": {"message": {"content": []}}}]
    for index in begun:
        content = {"message": {"content": {"type": "text", "text": ""}}}
        events.append({"type": "content-start", "index": index, "delta": content})
    for piece in pieces:
        if piece is None:
            call = {"id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}
            events.append({"type": "content-end", "index": 0})
            events.append({"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}})
        else:
            text = {"message": {"content": {"text": piece[1]}}}
            events.append({"type": "content-delta", "index": piece[0], "delta": text})
    return _sse([*events, {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}])


MAKERS = {"anthropic_messages": _messages, "cohere_v2": _cohere, "openai_responses": _responses}


def passed(dialect: str, pieces: list[Piece | None], begun: list[int]) -> tuple[str, AnswerTap]:
    out, tap = through(dialect, MAKERS[dialect](pieces, begun), MASK, lookup=SCOPE.original)
    return out.decode(), tap


@pytest.mark.parametrize("dialect", MAKERS)
@pytest.mark.parametrize(
    "pieces",
    [[(0, LINK), (1, " hm "), (0, HIDDEN)], [(1, HIDDEN), (0, LINK)], [(0, LINK), (1, HIDDEN)]],
    ids=["a part that went on", "the later part first", "in order"],
)
def test_no_original_comes_into_a_link_over_parts_out_of_order(
    dialect: str, pieces: list[Piece | None]
) -> None:
    out, tap = passed(dialect, pieces, [0, 1])
    in_order = [piece[0] for piece in pieces if piece] == [0, 1]
    assert tap.failed == (None if in_order else "wire.stream.order")
    assert JOAN not in out or "evil.example" not in out


@pytest.mark.parametrize("dialect", MAKERS)
def test_a_text_that_goes_on_behind_a_call_is_still_in_its_link(dialect: str) -> None:
    out, _ = passed(dialect, [(0, LINK), None, (0, HIDDEN)], [0])
    assert "evil.example" in out
    assert JOAN not in out


def test_texts_of_blocks_that_were_begun_under_other_numbers_are_one() -> None:
    out, _ = passed("anthropic_messages", [(0, LINK), (1, HIDDEN)], [5, 6])
    assert JOAN not in out
    out, _ = passed("anthropic_messages", [(0, LINK), (1, HIDDEN)], [])
    assert JOAN not in out


@pytest.mark.parametrize("dialect", [*MAKERS, "bedrock_converse"])
def test_recorded_streams_are_in_order(dialect: str) -> None:
    streams = [s for s in samples("stream", every=True) if s.dialect.name == dialect]
    for sample in streams:
        reader = sample.dialect.open_stream(sample.content_type)
        assert [*reader.feed(sample.body), *reader.end()]
    assert streams

"""Anthropic messages: blocks are stopped, the message is ended as a refusal.

A tool block that was sent in part is stopped with unfinished JSON for its input; the SDK then shows what
members of it were whole, beside the stop reason "refusal", which is never "tool_use".
"""

from collections.abc import Mapping
from typing import Protocol

from sallyport.exchange import Request, Usage
from sallyport.wire import fields
from sallyport.wire.dialect import Answer, Stamp, StreamEvent
from sallyport.wire.endings.cutting import cut_list, cut_text, put
from sallyport.wire.endings.writing import (
    UNFINISHED,
    Write,
    answer,
    input_tokens,
    model_of,
    named,
    output_tokens,
)
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json

FILTERED = "refusal"
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")


class Last(Protocol):
    """Says what else the last event tells, where a cloud adds to it."""

    def __call__(self, usage: Usage | None) -> dict[str, Json]: ...


def _nothing(usage: Usage | None) -> dict[str, Json]:
    return {}


class MessagesEnding:
    """Ends a stream of message events."""

    def __init__(
        self, request: Request, stamp: Stamp, *, write: Write = named, last: Last = _nothing
    ) -> None:
        self._request = request
        self._stamp = stamp
        self._write = write
        self._last = last
        self._started = self._finished = self._over = False
        self._open: dict[int, bool] = {}  # by index, whether it is a call of which no argument was sent

    def sent(self, event: StreamEvent, texts: Mapping[str, str]) -> None:
        self._over = self._over or event.terminal or event.error is not None
        payload = event.payload
        if payload is None:
            return
        index = fields.count(payload, "index") or 0
        match payload.get("type"):
            case "message_start":
                self._started = True
            case "content_block_start":
                self._open[index] = _kind(payload) in _CALLS
            case "content_block_delta" if fields.string(payload, "delta", "partial_json"):
                self._open[index] = False
            case "content_block_stop":
                self._open.pop(index, None)
            case "message_delta":
                self._finished = self._finished or bool(fields.string(payload, "delta", "stop_reason"))

    def conclude(self, usage: Usage | None = None) -> bytes:
        if self._over:
            return b""
        events: list[dict[str, Json]] = [] if self._started else [self._start(usage)]
        for index, is_bare_call in sorted(self._open.items()):
            if is_bare_call:
                spoilt: dict[str, Json] = {"type": "input_json_delta", "partial_json": UNFINISHED}
                events.append({"type": "content_block_delta", "index": index, "delta": spoilt})
            events.append({"type": "content_block_stop", "index": index})
        if not self._finished:
            events.append(_finish(FILTERED, usage))
        events.append({"type": "message_stop", **self._last(usage)})
        return self._written(events)

    def say(self, text: str) -> bytes:
        """Return a whole stream that says this."""
        events = [self._start(None)]
        if self._request.structured:
            events.append(_finish(FILTERED, None, text))
        else:
            block: dict[str, Json] = {"type": "text", "text": ""}
            delta: dict[str, Json] = {"type": "text_delta", "text": text}
            events.append({"type": "content_block_start", "index": 0, "content_block": block})
            events.append({"type": "content_block_delta", "index": 0, "delta": delta})
            events.append({"type": "content_block_stop", "index": 0})
            events.append(_finish("end_turn", None))
        events.append({"type": "message_stop", **self._last(None)})
        return self._written(events)

    def _start(self, usage: Usage | None) -> dict[str, Json]:
        message = _message(self._request, self._stamp, [], None)
        message["usage"] = {"input_tokens": input_tokens(usage), "output_tokens": 0}
        return {"type": "message_start", "message": message}

    def _written(self, events: list[dict[str, Json]]) -> bytes:
        return b"".join(self._write(str(event["type"]), event) for event in events)


def _kind(payload: dict[str, Json]) -> str | None:
    """Return the type of the block that an event starts."""
    return fields.string(payload.get("content_block"), "type")


def say(text: str, request: Request, stamp: Stamp) -> Answer:
    """Return a finished answer."""
    if request.stream:
        return answer(MessagesEnding(request, stamp).say(text), stamp, "text/event-stream")
    return answer(dump(whole(text, request, stamp)), stamp, "application/json")


def whole(text: str, request: Request, stamp: Stamp) -> dict[str, Json]:
    """Return a buffered answer. One that had to be JSON says it in the details of a refusal: SDKs parse its text."""
    if request.structured:
        return {**_message(request, stamp, [], FILTERED), "stop_details": _details(text)}
    return _message(request, stamp, [{"type": "text", "text": text}], "end_turn")


def shortened(body: bytes, at: str, start: int) -> bytes:
    """Return an answer that ends at a place of one of its blocks. Raises WireError."""
    path = at.split("/")
    body = put(body, "/stop_reason", b'"refusal"')
    if not start or len(path) != 4 or path[1] != "content" or path[3] != "text":
        # A call, a signed thought, what a tool of the provider told: none of it is altered. A block without text
        # would be refused when it comes back.
        return cut_list(body, "/content", int(path[2])) if path[1] == "content" else body
    body = cut_list(body, "/content", int(path[2]) + 1)
    return cut_text(body, at, start)


def _message(request: Request, stamp: Stamp, content: list[Json], reason: str | None) -> dict[str, Json]:
    return {
        "id": f"msg_{stamp.id}",
        "type": "message",
        "role": "assistant",
        "model": model_of(request),
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _finish(reason: str, usage: Usage | None, why: str = "") -> dict[str, Json]:
    delta: dict[str, Json] = {"stop_reason": reason, "stop_sequence": None}
    if why:
        delta["stop_details"] = _details(why)
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": output_tokens(usage)}}


def _details(text: str) -> dict[str, Json]:
    return {"type": "refusal", "category": None, "explanation": text}

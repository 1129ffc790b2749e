"""Cohere v2: open contents and calls get their end events, the message ends as toxic, Cohere's word for filtered.

A call that was sent in part is ended with unfinished JSON for its arguments; the finish reason is never
"TOOL_CALL".
"""

from collections.abc import Mapping

from sallyport.exchange import Request, Usage
from sallyport.wire import fields
from sallyport.wire.dialect import Answer, Stamp, StreamEvent
from sallyport.wire.endings.cutting import cut_list, cut_text, put
from sallyport.wire.endings.writing import UNFINISHED, answer, input_tokens, named, output_tokens
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json

FILTERED = "ERROR_TOXIC"
_ENDS = {"content": "content-end", "tool-call": "tool-call-end", "citation": "citation-end"}


class CohereEnding:
    """Ends a stream of named events."""

    def __init__(self, stamp: Stamp) -> None:
        self._stamp = stamp
        self._started = self._over = False
        self._open: dict[tuple[str, int], bool] = {}  # whether it is a call of which no argument was sent

    def sent(self, event: StreamEvent, texts: Mapping[str, str]) -> None:
        self._over = self._over or event.terminal
        payload = event.payload
        if payload is None:
            return
        kind, _, what = (fields.string(payload, "type") or "").rpartition("-")
        here = (kind, fields.count(payload, "index") or 0)
        if (kind, what) == ("message", "start"):
            self._started = True
        elif what == "start" and kind in _ENDS:
            self._open[here] = kind == "tool-call" and not _arguments(payload)
        elif what == "delta" and here in self._open:
            self._open[here] = self._open[here] and not _arguments(payload)
        elif what == "end":
            self._open.pop(here, None)

    def conclude(self, usage: Usage | None = None) -> bytes:
        if self._over:
            return b""
        events: list[dict[str, Json]] = [] if self._started else [_start(self._stamp)]
        for (kind, index), is_bare_call in self._open.items():
            if is_bare_call:
                spoilt: dict[str, Json] = {"tool_calls": {"function": {"arguments": UNFINISHED}}}
                events.append({"type": "tool-call-delta", "index": index, "delta": {"message": spoilt}})
            events.append({"type": _ENDS[kind], "index": index})
        events.append(_end(FILTERED, usage))
        return _written(events)


def say(text: str, request: Request, stamp: Stamp) -> Answer:
    """Return a finished answer."""
    if not request.stream:
        message: dict[str, Json] = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        counted = _end("COMPLETE", None)["delta"]
        assert type(counted) is dict
        return answer(dump({"id": stamp.id, "message": message, **counted}), stamp, "application/json")
    opening: dict[str, Json] = {"message": {"content": {"type": "text", "text": ""}}}
    saying: dict[str, Json] = {"message": {"content": {"text": text}}}
    events: list[dict[str, Json]] = [
        _start(stamp),
        {"type": "content-start", "index": 0, "delta": opening},
        {"type": "content-delta", "index": 0, "delta": saying},
        {"type": "content-end", "index": 0},
        _end("COMPLETE", None),
    ]
    return answer(_written(events), stamp, "text/event-stream")


def shortened(body: bytes, at: str, start: int) -> bytes:
    """Return an answer that ends at a place of its plan or of one of its contents. Raises WireError."""
    path = at.split("/")
    body = put(body, "/finish_reason", b'"ERROR_TOXIC"')
    place = path[2] if path[1] == "message" and len(path) > 2 else ""
    if place == "tool_calls":
        return cut_list(body, "/message/tool_calls", int(path[3]))
    if place == "content" and path[-1] in ("text", "thinking"):
        body = cut_list(body, "/message/content", int(path[3]) + 1)
    elif place in ("content", "tool_plan"):
        body = cut_list(body, "/message/content", int(path[3]) if place == "content" else 0)
    if place in ("content", "tool_plan"):
        body = cut_list(body, "/message/tool_calls", 0)
    return cut_text(body, at, start) if path[-1] in ("text", "thinking", "tool_plan") else body


def _arguments(payload: dict[str, Json]) -> bool:
    return bool(fields.string(payload, "delta", "message", "tool_calls", "function", "arguments"))


def _start(stamp: Stamp) -> dict[str, Json]:
    message: dict[str, Json] = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
    return {"type": "message-start", "id": stamp.id, "delta": {"message": {**message, "citations": []}}}


def _end(reason: str, usage: Usage | None) -> dict[str, Json]:
    counts: dict[str, Json] = {"input_tokens": input_tokens(usage), "output_tokens": output_tokens(usage)}
    delta: dict[str, Json] = {
        "finish_reason": reason,
        "usage": {"billed_units": counts, "tokens": counts},
    }
    return {"type": "message-end", "delta": delta}


def _written(events: list[dict[str, Json]]) -> bytes:
    return b"".join(named(str(event["type"]), event) for event in events)

"""Bedrock Converse: blocks are stopped, the message is ended as filtered, and the counts follow.

A tool block that was sent in part is stopped with unfinished JSON for its input; its stop reason is never
"tool_use".
"""

from collections.abc import Mapping

from sallyport.exchange import Request, Usage
from sallyport.wire import fields
from sallyport.wire.dialect import Answer, Stamp, StreamEvent
from sallyport.wire.endings.cutting import cut_list, cut_text, put
from sallyport.wire.endings.writing import UNFINISHED, Write, answer, input_tokens, output_tokens
from sallyport.wire.eventstream import json_frame
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json

FILTERED = "content_filtered"
STREAM = "application/vnd.amazon.eventstream"


def framed(name: str, payload: dict[str, Json]) -> bytes:
    """Write a frame that has its name in its headers."""
    return json_frame("event", name, dump(payload))


class ConverseEnding:
    """Ends a stream of frames."""

    def __init__(self, *, write: Write = framed) -> None:
        self._write = write
        self._started = self._stopped = self._over = False
        self._open: dict[int, bool] = {}  # by index, whether it is a call of which no input was sent

    def sent(self, event: StreamEvent, texts: Mapping[str, str]) -> None:
        self._over = self._over or event.terminal or event.error is not None
        if event.payload is None:
            return
        for name, payload in event.payload.items():
            index = fields.count(payload, "contentBlockIndex") or 0
            match name:
                case "messageStart":
                    self._started = True
                case "contentBlockStart":
                    self._open[index] = fields.get(payload, "start", "toolUse") is not None
                case "contentBlockDelta":
                    bare = self._open.get(index, False)
                    self._open[index] = bare and not fields.string(payload, "delta", "toolUse", "input")
                case "contentBlockStop":
                    self._open.pop(index, None)
                case "messageStop":
                    self._stopped = True

    def conclude(self, usage: Usage | None = None) -> bytes:
        if self._over:
            return b""
        events: list[tuple[str, dict[str, Json]]] = []
        if not self._started:
            events.append(("messageStart", {"role": "assistant"}))
        for index, is_bare_call in sorted(self._open.items()):
            if is_bare_call:
                spoilt: dict[str, Json] = {"toolUse": {"input": UNFINISHED}}
                events.append(("contentBlockDelta", {"contentBlockIndex": index, "delta": spoilt}))
            events.append(("contentBlockStop", {"contentBlockIndex": index}))
        if not self._stopped:
            events.append(("messageStop", {"stopReason": FILTERED}))
        events.append(("metadata", {"usage": counts(usage), "metrics": {"latencyMs": 0}}))
        return self._written(events)

    def say(self, text: str) -> bytes:
        """Return a whole stream that says this."""
        return self._written(
            [
                ("messageStart", {"role": "assistant"}),
                ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}),
                ("contentBlockStop", {"contentBlockIndex": 0}),
                ("messageStop", {"stopReason": "end_turn"}),
                ("metadata", {"usage": counts(None), "metrics": {"latencyMs": 0}}),
            ]
        )

    def _written(self, events: list[tuple[str, dict[str, Json]]]) -> bytes:
        return b"".join(self._write(name, payload) for name, payload in events)


def say(text: str, request: Request, stamp: Stamp) -> Answer:
    """Return a finished answer."""
    if request.stream:
        return answer(ConverseEnding().say(text), stamp, STREAM)
    return answer(dump(whole(text)), stamp, "application/json")


def whole(text: str) -> dict[str, Json]:
    """Return a buffered answer."""
    message: dict[str, Json] = {"role": "assistant", "content": [{"text": text}]}
    return {
        "output": {"message": message},
        "stopReason": "end_turn",
        "usage": counts(None),
        "metrics": {"latencyMs": 0},
    }


def shortened(body: bytes, at: str, start: int) -> bytes:
    """Return an answer that ends at a place of one of its blocks. Raises WireError."""
    path = at.split("/")
    blocks = "/output/message/content"
    body = put(body, "/stopReason", b'"content_filtered"')
    if not at.startswith(blocks + "/"):
        return body
    if not start or len(path) != 6 or path[5] != "text":  # a block without text is refused when it comes back
        return cut_list(body, blocks, int(path[4]))
    return cut_text(cut_list(body, blocks, int(path[4]) + 1), at, start)


def counts(usage: Usage | None) -> dict[str, Json]:
    """Return the counts in Converse's spelling."""
    asked, said = input_tokens(usage), output_tokens(usage)
    return {"inputTokens": asked, "outputTokens": said, "totalTokens": asked + said}

"""A stream of AWS frames is read by two: frames are cut here, an interpreter says what each means.

A chunk frame of InvokeModel wraps the model's own JSON in base64; the wrapping is undone and redone here.
"""

import base64
import binascii
from typing import Protocol

from sallyport.exchange import Surface
from sallyport.wire import fields, jsonsplice
from sallyport.wire.dialect import Delta, StreamEvent, Texts
from sallyport.wire.errors import WireError
from sallyport.wire.eventstream import Frame, FrameReader
from sallyport.wire.jsontext import Json, parse_object
from sallyport.wire.shape import Shape, walk
from sallyport.wire.shapes import made
from sallyport.wire.streams import deltas

_CHUNK = "chunk"
_EXCEPTION = Shape(Surface.DOCUMENT, made("p originalStatusCode"), names=False)


class FrameInterpreter(Protocol):
    """Says what the JSON payloads of one stream mean, in their order. kind: the frame's :event-type."""

    def event(self, kind: str, payload: dict[str, Json], raw: bytes) -> StreamEvent: ...


class FrameStream:
    """Reads one streamed answer in frames.

    Raises WireError as FrameReader does, and frame.type, frame.content_type, frame.chunk, or what
    parse_object raises.
    """

    def __init__(self, interpreter: FrameInterpreter) -> None:
        self._interpreter = interpreter
        self._frames = FrameReader()

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [self._read(frame) for frame in self._frames.feed(data)]

    def end(self) -> list[StreamEvent]:
        self._frames.end()
        return []

    def rewrite(self, event: StreamEvent, texts: Texts) -> bytes:
        if not texts:
            return event.raw
        (frame,) = FrameReader().feed(event.raw)
        if frame.text(":event-type") == _CHUNK:
            inner = jsonsplice.replace(_unwrapped(frame), texts)
            texts = {"/bytes": base64.b64encode(inner).decode()}
        return frame.with_payload(jsonsplice.replace(frame.payload, texts))

    def _read(self, frame: Frame) -> StreamEvent:
        match frame.text(":message-type"):
            case "event":
                kind = _named(frame, ":event-type")
                if frame.text(":content-type") not in (None, "application/json"):
                    raise WireError("frame.content_type")
                inner = _unwrapped(frame) if kind == _CHUNK else frame.payload
                return self._interpreter.event(kind, parse_object(inner), frame.raw)
            case "exception":
                found = deltas(walk(parse_object(frame.payload), _EXCEPTION), lambda at: at[1:])
                return _failed(frame, _named(frame, ":exception-type"), found)
            case "error" if not frame.payload:
                return _failed(frame, _named(frame, ":error-code"))
            case _:
                raise WireError("frame.type")


def _named(frame: Frame, header: str) -> str:
    name = frame.text(header)
    if not name:
        raise WireError("frame.type")
    return name


def _failed(frame: Frame, code: str, found: tuple[Delta, ...] = ()) -> StreamEvent:
    error = fields.error_code({"code": code}, 200, "code")
    return StreamEvent(frame.raw, found, closes=("*",), finish_reason="error", error=error, terminal=True)


def _unwrapped(frame: Frame) -> bytes:
    """Return the model's JSON out of {"bytes": base64, "p": padding}."""
    wrapping = parse_object(frame.payload)
    encoded = wrapping.get("bytes")
    # Any other member would pass unread.
    if type(encoded) is not str or not wrapping.keys() <= {"bytes", "p"}:
        raise WireError("frame.chunk")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise WireError("frame.chunk", "/bytes") from None

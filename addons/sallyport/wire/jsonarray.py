"""A streamed JSON array is cut into its elements while it arrives; no byte is lost between them.

Google's streams without alt=sse are one array whose elements are flushed one by one. A piece is
everything up to and including an element's last brace; the closing bracket is a piece of its own.
"""

import re

from sallyport.wire.dialect import StreamEvent, Texts
from sallyport.wire.errors import WireError
from sallyport.wire.jsonsplice import replace
from sallyport.wire.jsontext import BOM, parse_object
from sallyport.wire.sse import MAX_EVENT_BYTES
from sallyport.wire.streams import Interpreter

_SPACE = b" \t\r\n"
_IN_TEXT = re.compile(rb'["\\]')
_OUTSIDE = re.compile(rb'["{}\[\]]')
_OPENING = b"{["


class JsonArrayReader:
    """Reads an array of objects, or one object alone, as a stream of events."""

    def __init__(self, interpreter: Interpreter, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._interpreter = interpreter
        self._max = max_event_bytes
        self._buffer = bytearray()
        self._at = 0  # everything before it has been looked at
        self._element = -1  # where the current element starts, -1 between elements
        self._depth = 0
        self._in_text = False
        self._expect = "start"  # start, first, element, comma, end

    def feed(self, data: bytes) -> list[StreamEvent]:
        self._buffer += data
        events = []
        while (event := self._next()) is not None:
            events.append(event)
        if len(self._buffer) > self._max:
            raise WireError("stream.event_too_long")
        return events

    def end(self) -> list[StreamEvent]:
        rest = bytes(self._buffer)
        self._buffer.clear()
        if self._expect != "end" or self._element >= 0:
            raise WireError("stream.truncated")
        return [StreamEvent(rest)] if rest else []

    def rewrite(self, event: StreamEvent, texts: Texts) -> bytes:
        if not texts:
            return event.raw
        start = event.raw.find(b"{")
        if start < 0:
            raise WireError("edit.pointer")
        return event.raw[:start] + replace(event.raw[start:], texts)

    def enclose(self, error: bytes, *, begun: bool) -> bytes:
        """Return an error, written as an event of the other kind of stream, as the array's last element."""
        return (b",\r\n" if begun else b"[") + error.removeprefix(b"data: ").strip() + b"\n]"

    def _next(self) -> StreamEvent | None:
        """Return the next whole piece, None if more bytes are needed."""
        if self._element < 0:
            closing = self._between()
            if closing is not None or self._element < 0:
                return closing
        if not self._to_element_end():
            return None
        start = self._element
        self._element = -1
        alone = self._expect == "alone"
        self._expect = "end" if alone else "comma"
        raw = self._cut()
        return self._interpreter.event(parse_object(raw[start:]), raw)

    def _between(self) -> StreamEvent | None:
        """Look at bytes between elements, until one starts. Return the piece that ends the array."""
        while self._at < len(self._buffer):
            byte = self._buffer[self._at]
            mark = self._expect == "start" and BOM.startswith(bytes(self._buffer[: self._at + 1]))
            if mark or byte in _SPACE:
                self._at += 1
            elif byte == 0x5B and self._expect == "start":
                self._at += 1
                self._expect = "first"
            elif byte == 0x7B and self._expect in ("start", "first", "element"):
                self._expect = "alone" if self._expect == "start" else "element"
                self._element = self._at
                return None
            elif byte == 0x2C and self._expect == "comma":
                self._at += 1
                self._expect = "element"
            elif byte == 0x5D and self._expect in ("first", "comma"):
                self._at += 1
                self._expect = "end"
                return StreamEvent(self._cut(), closes=("*",), terminal=True)
            else:
                raise WireError("stream.syntax")
        return None

    def _to_element_end(self) -> bool:
        """Move behind the current element's last brace; False if it has not arrived."""
        while True:
            mark = (_IN_TEXT if self._in_text else _OUTSIDE).search(self._buffer, self._at)
            if mark is None:
                self._at = len(self._buffer)
                return False
            byte = self._buffer[mark.start()]
            if byte == 0x5C:
                if mark.end() == len(self._buffer):
                    self._at = mark.start()  # the escaped character has not arrived
                    return False
                self._at = mark.end() + 1
                continue
            self._at = mark.end()
            if byte == 0x22:
                self._in_text = not self._in_text
            elif byte in _OPENING:
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    return True

    def _cut(self) -> bytes:
        raw = bytes(self._buffer[: self._at])
        if len(raw) > self._max:
            raise WireError("stream.event_too_long")
        del self._buffer[: self._at]
        self._at = 0
        return raw

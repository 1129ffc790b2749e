"""NDJSON is cut at line feeds and nowhere else; a line keeps every byte it came with.

A carriage return before the line feed is JSON white space and needs no care of its own.
Source: the NDJSON specification 1.0, read 2026-11.
"""

from sallyport.wire import jsonsplice
from sallyport.wire.dialect import StreamEvent, Texts
from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import parse_object
from sallyport.wire.streams import Interpreter

MAX_LINE_BYTES = 8 * 1024 * 1024


def lines_of(body: bytes) -> list[tuple[int, int]]:
    """Return the byte span of every line of a whole body, line feeds left out, blank lines included."""
    spans: list[tuple[int, int]] = []
    start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        spans.append((start, end))
        start = end + 1
    return spans


class LineSplitter:
    """Cuts a stream into lines, whatever the cutting it arrives in.

    max_line_bytes: a longer line raises WireError ndjson.line_too_long, finished or not.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._pieces: list[bytes] = []
        self._held_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines these bytes complete, line feeds included."""
        lines: list[bytes] = []
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            self._hold(data[start:end])
            lines.append(self.end())
            start = end
        self._hold(data[start:])
        return lines

    def end(self) -> bytes:
        """Return what stands after the last line feed, and forget it."""
        line = b"".join(self._pieces)
        self._pieces.clear()
        self._held_bytes = 0
        return line

    def _hold(self, piece: bytes) -> None:
        self._held_bytes += len(piece)
        if self._held_bytes > self._max:
            raise WireError("ndjson.line_too_long")
        if piece:
            self._pieces.append(piece)


class LineReader:
    """Reads a stream of JSON lines; a blank line is an event that says nothing."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._lines = LineSplitter()

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [self._read(line) for line in self._lines.feed(data)]

    def end(self) -> list[StreamEvent]:
        """Return the last line if it is whole but for its line feed. Raises WireError if it is not."""
        rest = self._lines.end()
        try:
            return [self._read(rest)] if rest else []
        except WireError:
            raise WireError("ndjson.truncated") from None

    def rewrite(self, event: StreamEvent, texts: Texts) -> bytes:
        return jsonsplice.replace(event.raw, texts)

    def _read(self, line: bytes) -> StreamEvent:
        if not line.strip():
            return StreamEvent(line)
        return self._interpreter.event(parse_object(line), line)

"""Server-sent events are cut out of a byte stream whole, and keep every byte they came with.

WHATWG HTML, section 9.2: lines end with CR, LF or CRLF and with nothing else (U+2028 may stand raw
inside JSON); several data lines join with LF; one leading space of a value is dropped; a byte order
mark may open the stream. A piece is everything up to and including a blank line, so that the raw
bytes of all pieces, joined, are the stream.
"""

import re
from dataclasses import dataclass

from sallyport.wire.errors import WireError

MAX_EVENT_BYTES = 8 * 1024 * 1024

_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_LINE = re.compile(rb"([^\r\n]*+)(\r\n|\r|\n|\Z)")


@dataclass(frozen=True, slots=True)
class SsePiece:
    """One event with all its bytes; comments and stray blank lines travel with the event they precede.

    name: value of the event field, "" if there was none.
    data: the data lines joined with LF; None if there was no data line (a comment, a keep-alive).
    lines: byte span in raw of each data line's value.
    """

    raw: bytes
    name: str
    data: bytes | None
    lines: tuple[tuple[int, int], ...]

    def with_data(self, data: bytes) -> bytes:
        """Return the raw bytes with other data in place; it must have as many lines as before.

        A splice into JSON keeps the lines, since no JSON token holds a raw line feed.
        """
        values = data.split(b"\n")
        if len(values) != len(self.lines) or b"\r" in data:
            raise WireError("sse.lines")
        pieces: list[bytes] = []
        position = 0
        for (start, end), value in zip(self.lines, values, strict=True):
            pieces += (self.raw[position:start], value)
            position = end
        return b"".join((*pieces, self.raw[position:]))


class SseSplitter:
    """Cuts bytes into events, whatever the cutting they arrive in.

    max_event_bytes: an unfinished event above this raises WireError (sse.event_too_long).
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._buffer = bytearray()
        self._scanned = 0

    def feed(self, data: bytes) -> list[SsePiece]:
        """Take bytes in and return the events they complete."""
        self._buffer += data
        pieces = []
        start = 0
        scan = self._scanned
        while blank := _BLANK_LINE.search(self._buffer, scan):
            end = blank.end()
            if end == len(self._buffer) and self._buffer[-1] == 0x0D:
                break  # a line feed may follow and belongs to this blank line
            if end - start > self._max:
                raise WireError("sse.event_too_long")
            pieces.append(read_piece(bytes(self._buffer[start:end])))
            start = scan = end
        if start:
            del self._buffer[:start]
        if len(self._buffer) > self._max:
            raise WireError("sse.event_too_long")
        self._scanned = max(0, len(self._buffer) - 3)
        return pieces

    def end(self) -> SsePiece | None:
        """Return what stands after the last blank line, read as if a blank line followed; None if nothing.

        The caller judges whether its data is complete. Raises WireError (sse.truncated) if it has a
        name but no data, or ends inside another field.
        """
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        if not rest:
            return None
        piece = read_piece(rest)
        if piece.data is None and (piece.name or _last_line(rest).strip(b": \xef\xbb\xbf")):
            raise WireError("sse.truncated")
        return piece


def _last_line(rest: bytes) -> bytes:
    """Return the unfinished last line unless it is a comment."""
    line = re.split(rb"[\r\n]", rest)[-1]
    return b"" if line.startswith(b":") else line


def read_piece(raw: bytes) -> SsePiece:
    """Read the fields of one event. Raises WireError (sse.utf8) for a name that is not UTF-8."""
    name = b""
    lines: list[tuple[int, int]] = []
    position = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
    while position < len(raw):
        line = _LINE.match(raw, position)
        if line is None:
            break
        start, end = line.span(1)
        position = line.end()
        if raw.startswith(b"data", start) and (end == start + 4 or raw[start + 4] == 0x3A):
            value = min(start + 5, end)
            lines.append((value + raw.startswith(b" ", value, end), end))
        elif raw.startswith(b"event", start) and (end == start + 5 or raw[start + 5] == 0x3A):
            value = min(start + 6, end)
            name = raw[value + raw.startswith(b" ", value, end) : end]
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise WireError("sse.utf8") from None
    data = b"\n".join(raw[start:end] for start, end in lines) if lines else None
    return SsePiece(raw, text, data, tuple(lines))

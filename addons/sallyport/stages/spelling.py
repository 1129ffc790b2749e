"""How a text stands in an answer: as it is, or as JSON source in which every character may be an escape.

Both decode what arrives in pieces, and say how a place of the decoded text is written.
"""

import json
import re
from bisect import bisect_left, bisect_right
from typing import Protocol

_SURROGATES = re.compile("[\ud800-\udfff]")

_UNIT = re.compile(
    r"\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})|"
    r"\\u(?P<code>[0-9a-fA-F]{4})|\\(?P<escaped>[^u])|(?P<quote>\")|(?P<plain>[^\\\"]+)|(?P<broken>\\u?)",
    re.DOTALL,
)
_UNFINISHED = re.compile(
    r"\\(?:u(?:[0-9a-fA-F]{0,3}|[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)?)?\Z"
)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_NUMBER = re.compile(r"-?\d[\d.eE+-]*")
_LONGEST_ESCAPE = 12


class Spelling(Protocol):
    """One text in the order of its pieces. Offsets count characters of the decoded text from its beginning."""

    def feed(self, source: str) -> str:
        """Take the next piece as it is written; return what it says, one character for each position."""
        ...

    def end(self) -> str:
        """Return what was kept back as the beginning of an escape."""
        ...

    def take(self, end: int) -> str:
        """Return how the text is written from what was taken last up to a position, and forget it."""
        ...

    def replaced(self, end: int, marker: str) -> str:
        """The same with a marker in its place."""
        ...

    def rest(self) -> str:
        """Return all that was fed and not taken."""
        ...


class Plain:
    """A text that is written as it is. What was taken is forgotten with the next piece, so that a take costs no more
    than what it takes.
    """

    def __init__(self) -> None:
        self._text = ""
        self._base = 0
        self._at = 0

    def feed(self, source: str) -> str:
        self._text = self._text[self._at :] + source
        self._at = 0
        return source if source.isascii() else _SURROGATES.sub("\ufffd", source)

    def end(self) -> str:
        return ""

    def take(self, end: int) -> str:
        start, self._at = self._at, min(self._at + end - self._base, len(self._text))
        self._base = end
        return self._text[start : self._at]

    def replaced(self, end: int, marker: str) -> str:
        self.take(end)
        return marker

    def rest(self) -> str:
        return self._text[self._at :]


class JsonSource:
    """A text that is written as JSON source. Escapes are read inside and outside of its strings alike.

    A marker goes into a string escaped, in the place of a number as a string of its own; what holds the JSON
    together stays. What was taken is forgotten with the next piece.
    """

    def __init__(self) -> None:
        self._text = ""
        self._base = 0  # decoded position of the first character that was not taken
        self._at = 0  # where in _text it begins
        self._unread = 0  # characters of _text that are decoded
        self._decoded = 0
        self._starts: list[int] = [
            0
        ]  # decoded positions at which a run of escapes or plain characters begins
        self._places: list[int] = [0]  # where in _text it begins
        self._quotes: list[int] = []
        self._quote = 0  # the first of _quotes that was not taken
        self._inside = False

    def feed(self, source: str) -> str:
        self._forget()
        self._text += source
        return self._decode(final=False)

    def end(self) -> str:
        return self._decode(final=True)

    def _decode(self, *, final: bool) -> str:
        text, at = self._text, self._unread
        stop = len(text)
        if not final:
            tail = _UNFINISHED.search(text, max(at, stop - _LONGEST_ESCAPE))
            if tail is not None and _is_escape(text, at, tail.start()):
                stop = tail.start()
        said: list[str] = []
        while at < stop:
            unit = _UNIT.match(text, at)
            assert unit is not None
            piece, end = _said(unit), unit.end()
            if unit["plain"] is not None and end > stop:
                piece, end = piece[: stop - at], stop
            self._starts.append(self._decoded)
            self._places.append(at)
            if unit["quote"] is not None:
                self._quotes.append(self._decoded)
            self._decoded += len(piece)
            said.append(piece)
            at = end
        self._unread = at
        return "".join(said)

    def _place(self, position: int) -> int:
        """Return where in the source a decoded position begins."""
        if position >= self._decoded:
            return self._unread
        run = bisect_right(self._starts, position) - 1
        return self._places[run] + position - self._starts[run]

    def take(self, end: int) -> str:
        start, self._at = self._at, self._place(end)
        passed = bisect_left(self._quotes, end, self._quote)
        self._inside ^= (passed - self._quote) % 2 == 1
        self._quote = passed
        self._base = end
        return self._text[start : self._at]

    def _forget(self) -> None:
        """Drop what was taken."""
        if not self._at:
            return
        run = max(0, bisect_right(self._starts, self._base) - 1)
        self._places = [place - self._at for place in self._places[run:]]
        self._starts = self._starts[run:]
        self._starts[0], self._places[0] = self._base, 0
        self._text = self._text[self._at :]
        self._unread -= self._at
        self._at = 0
        del self._quotes[: self._quote]
        self._quote = 0

    def replaced(self, end: int, marker: str) -> str:
        left: str | None = json.dumps(marker, ensure_ascii=False)[1:-1]
        out: list[str] = []
        while self._base < end:
            quote = min(self._quotes[self._quote], end) if self._quote < len(self._quotes) else end
            if quote == self._base:
                out.append(self.take(quote + 1))
                continue
            inside = self._inside
            source = self.take(quote)
            if inside:
                out.append(left or "")
                left = None
            elif left is not None and _NUMBER.search(source):
                out.append(_NUMBER.sub(f'"{left}"', source, count=1))
                left = None
            else:
                out.append(source)
        return "".join(out)

    def rest(self) -> str:
        return self._text[self._at :]


def _is_escape(text: str, start: int, backslash: int) -> bool:
    """Say whether a backslash begins an escape: an even number of backslashes stands before it."""
    before = backslash
    while before > start and text[before - 1] == "\\":
        before -= 1
    return (backslash - before) % 2 == 0


def _said(unit: re.Match[str]) -> str:
    if unit["plain"] is not None:
        return unit["plain"] if unit["plain"].isascii() else _SURROGATES.sub("\ufffd", unit["plain"])
    if unit["quote"] is not None:
        return '"'
    if unit["high"] is not None:
        high, low = int(unit["high"], 16), int(unit["low"], 16)
        return chr(0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00)
    if unit["code"] is not None:
        code = int(unit["code"], 16)
        return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)
    if unit["escaped"] is not None:
        return _CONTROL.get(unit["escaped"], unit["escaped"])
    return unit["broken"][0]

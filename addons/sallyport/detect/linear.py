"""google-re2 behind types: linear time whatever the text, safe to call from several threads.

Texts may be str or, where they are ASCII, bytes; offsets are code points in both cases. A text that many patterns look
through is a Subject, whose bytes are made once.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import re2  # type: ignore[import-untyped]

_MAX_PATTERN_MEM = 16 << 20
"""Bytes a pattern may remember of what it met. The largest throws all of it away again and again with half as many."""

_MAX_SET_MEM = 256 << 20
_ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED
_HERE = re2._re2.RE2.Anchor.ANCHOR_START
_BEGINNING = r"\A"
_STEP = 1024
"""Bytes from which on characters are counted anew."""

_LONGEST_CHAR = 4

_chars = re2._re2.BytesToCharLen


type Windows = Sequence[tuple[int, int]]
"""Parts of a text that are looked through, as offsets of bytes, in order and apart."""


class SyntaxUnknown(ValueError):
    """A pattern that RE2 does not take; the message says why."""


class Match(Protocol):
    """What of re.Match is used here."""

    def span(self, group: int = 0) -> tuple[int, int]: ...


class Pattern(Protocol):
    """What of re.Pattern is used here, and the number of RE2 instructions."""

    @property
    def pattern(self) -> str: ...
    @property
    def groups(self) -> int: ...
    @property
    def programsize(self) -> int: ...
    def search(self, text: str | bytes) -> Match | None: ...
    def finditer(self, text: "str | bytes | Subject", within: "Windows | None" = None) -> Iterator[Match]:
        """Yield its matches. within: bytes of a subject; what stands around a window is seen by \\b and ^."""
        ...

    def occurs(self, text: str | bytes, low: int, high: int) -> bool:
        """Say whether it matches within text[low:high], bounds that lie in the text; bytes are not copied."""
        ...

    def find(self, text: str, low: int) -> int | None:
        """Return where its first match at or after `low` begins; what stands before is seen by \\b."""
        ...

    def starts(self, text: str, low: int) -> bool:
        """Say whether a match begins at `low`; what stands before is seen by \\b."""
        ...


def pattern(source: str, *, case_sensitive: bool = True) -> Pattern:
    """Compile. Raises SyntaxUnknown."""
    options = _options(_MAX_PATTERN_MEM)
    options.case_sensitive = case_sensitive
    try:
        return _Compiled(re2.compile(source, options))
    except re2.error as error:
        reason = error.args[0]
        raise SyntaxUnknown(reason.decode() if isinstance(reason, bytes) else str(reason)) from None


class Subject:
    """A text as patterns look through it. raw: its bytes. wide: whether it has more of them than characters."""

    __slots__ = ("_chars", "_marks", "raw", "text", "wide")

    def __init__(self, text: str) -> None:
        self.text = text
        self.raw = text.encode()
        self.wide = len(self.raw) != len(text)
        self._marks: list[int] = []
        """The first beginning of a character at or behind each step, and how many characters stand before it."""
        self._chars: list[int] = []

    def place(self, at: int) -> int:
        """Return how many characters stand before a byte that begins one."""
        if not self.wide or at < 0:
            return at
        if not self._marks:
            self._count()
        step = at // _STEP
        more: int = _chars(self.raw, self._marks[step], at)
        return self._chars[step] + more

    def longest_run(self) -> int:
        """Return the bytes of its longest run without white space of ASCII."""
        return max(map(len, self.raw.split()), default=0)

    def widened(self, low: int, high: int, chars: int) -> tuple[int, int]:
        """Return a part of the bytes with at least so many characters more on either side.

        It may begin and end within a character where the text has few that are wide.
        """
        size = len(self.raw)
        more = size - len(self.text)
        if more <= chars:
            return max(0, low - chars - more), min(size, high + chars + more)
        if not self._marks:
            self._count()
        before, behind = max(0, low - _LONGEST_CHAR) // _STEP, -(-high // _STEP)
        first = bisect_right(self._chars, self._chars[before] - chars) - 1
        last = behind < len(self._chars) and bisect_left(self._chars, self._chars[behind] + chars)
        return self._marks[max(0, first)], self._marks[last] if 0 < last < len(self._marks) else size

    def _count(self) -> None:
        raw, mark, chars = self.raw, 0, 0
        for first in range(0, len(raw) + 1, _STEP):
            begin = first
            while begin < len(raw) and raw[begin] & 0xC0 == 0x80:
                begin += 1
            chars += _chars(raw, mark, begin)
            mark = begin
            self._marks.append(mark)
            self._chars.append(chars)


class _Compiled:
    """A compiled pattern. It asks the engine itself: the library's own wrapper costs twice the matching."""

    __slots__ = ("_engine", "groups", "pattern", "programsize")

    def __init__(self, whole: Any) -> None:
        self._engine = whole._regexp
        self.groups: int = whole.groups
        self.pattern: str = whole.pattern
        self.programsize: int = whole.programsize

    def search(self, text: str | bytes) -> Match | None:
        if type(text) is str and not text.isascii():
            return next(self._wide(Subject(text), None), None)
        raw = text.encode() if isinstance(text, str) else text
        spans = self._engine.Match(_ANYWHERE, raw, 0, len(raw))
        return None if spans[0][0] < 0 else _Found(spans)

    def occurs(self, text: str | bytes, low: int, high: int) -> bool:
        if isinstance(text, str):
            text = text[low:high].encode()
            low, high = 0, len(text)
        found: bool = self._engine.Match(_ANYWHERE, text, low, high)[0][0] >= 0
        return found

    def find(self, text: str, low: int) -> int | None:
        raw = text.encode()
        if len(raw) == len(text):
            start: int = self._engine.Match(_ANYWHERE, raw, low, len(raw))[0][0]
            return None if start < 0 else start
        skipped = len(text[:low].encode())
        start = self._engine.Match(_ANYWHERE, raw, skipped, len(raw))[0][0]
        return None if start < 0 else low + _chars(raw, skipped, start)

    def starts(self, text: str, low: int) -> bool:
        raw = text.encode()
        at = low if len(raw) == len(text) else len(text[:low].encode())
        found: bool = self._engine.Match(_HERE, raw, at, len(raw))[0][0] >= 0
        return found

    def finditer(self, text: str | bytes | Subject, within: Windows | None = None) -> Iterator[Match]:
        if isinstance(text, bytes):
            return map(_Found, self._spans(text, within))
        subject = text if isinstance(text, Subject) else Subject(text)
        return self._wide(subject, within) if subject.wide else map(_Found, self._spans(subject.raw, within))

    def _spans(self, raw: bytes, within: Windows | None) -> Iterator[Sequence[tuple[int, int]]]:
        """Yield the spans of each match and of its groups, in bytes."""
        match = self._engine.Match
        for at, size in ((0, len(raw)),) if within is None else within:
            while at <= size:
                spans = match(_ANYWHERE, raw, at, size)
                start, end = spans[0]
                if start < 0:
                    break
                yield spans
                at = end if end > at else at + 1
                while at == end + 1 and at < size and raw[at] & 0xC0 == 0x80:
                    at += 1

    def _wide(self, subject: Subject, within: Windows | None) -> Iterator[Match]:
        """The same with offsets in code points."""
        place = subject.place
        for spans in self._spans(subject.raw, within):
            yield _Found([(place(low), place(high)) for low, high in spans])


class _Found:
    __slots__ = ("_spans",)

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._spans = spans

    def span(self, group: int = 0) -> tuple[int, int]:
        return self._spans[group]


class PatternSet:
    """Many patterns in one automaton, which says only which of them occur.

    A DFA that runs out of memory reports nothing instead of failing; the beginning of the text, which every text
    has, stands guard, and without it in the answer the answer is None.
    of_bytes: whether the patterns are of bytes, each of which is a character to them; there are far fewer of these.
    """

    def __init__(self, sources: Sequence[str], *, of_bytes: bool = False) -> None:
        options = _options(_MAX_SET_MEM)
        if of_bytes:
            options.encoding = re2.Options.Encoding.LATIN1
        self._set = re2.Set.SearchSet(options)
        self._set.Add(_BEGINNING)
        for source in sources:
            self._set.Add(source)
        self._set.Compile()

    def matches(self, text: str | bytes) -> list[int] | None:
        """Return the indexes of the patterns that occur; None if that could not be found out."""
        found = self._set.Match(text)
        if not found or 0 not in found:
            return None
        return [index - 1 for index in found if index]


def literal(text: str) -> str:
    """Return a pattern that matches this text whatever its case."""
    return f"(?i){re2.escape(text)}"


def _options(max_mem: int) -> re2.Options:
    options = re2.Options()
    options.max_mem = max_mem
    options.log_errors = False
    return options

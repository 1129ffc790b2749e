"""google-re2 behind types: linear time whatever the text, safe to call from several threads.

Texts may be str or, where they are ASCII, bytes; offsets are code points in both cases.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import re2  # type: ignore[import-untyped]

_MAX_PATTERN_MEM = 8 << 20
_ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED
_HERE = re2._re2.RE2.Anchor.ANCHOR_START
_MAX_SET_MEM = 256 << 20
_NOWHERE = (-1, -1)
_chars = re2._re2.BytesToCharLen


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
    def finditer(self, text: str | bytes) -> Iterator[Match]: ...
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
            return next(self._wide(text), None)
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

    def finditer(self, text: str | bytes) -> Iterator[Match]:
        if type(text) is str and not text.isascii():
            return self._wide(text)
        return map(_Found, self._spans(text.encode() if isinstance(text, str) else text))

    def _spans(self, raw: bytes) -> Iterator[Sequence[tuple[int, int]]]:
        """Yield the spans of each match and of its groups, in bytes."""
        match, at, size = self._engine.Match, 0, len(raw)
        while at <= size:
            spans = match(_ANYWHERE, raw, at, size)
            start, end = spans[0]
            if start < 0:
                return
            yield spans
            at = end if end > at else at + 1
            while at == end + 1 and at < size and raw[at] & 0xC0 == 0x80:
                at += 1

    def _wide(self, text: str) -> Iterator[Match]:
        """The same with offsets in code points, counted on from match to match."""
        raw, seen, chars = text.encode(), 0, 0
        for spans in self._spans(raw):
            start = spans[0][0]
            chars += _chars(raw, seen, start)
            seen = start
            yield _Found(
                [
                    (chars + _chars(raw, start, low), chars + _chars(raw, start, high))
                    if low >= 0
                    else _NOWHERE
                    for low, high in spans
                ]
            )


class _Found:
    __slots__ = ("_spans",)

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._spans = spans

    def span(self, group: int = 0) -> tuple[int, int]:
        return self._spans[group]


class PatternSet:
    """Many patterns in one automaton, which says only which of them occur.

    A DFA that runs out of memory reports nothing instead of failing; a pattern that matches everything
    stands guard, and without it in the answer the answer is None.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._set = re2.Set.SearchSet(_options(_MAX_SET_MEM))
        self._set.Add("")
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

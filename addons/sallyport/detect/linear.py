"""google-re2 behind types: linear time whatever the text, safe to call from several threads.

Texts may be str or, where they are ASCII, bytes; offsets are code points in both cases. A text that many patterns look
through is a Subject, whose bytes are made once.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import re2  # type: ignore[import-untyped]
from numpy.typing import NDArray

_MAX_PATTERN_MEM = 16 << 20
"""Bytes a pattern may remember of what it met. The largest throws all of it away again and again with half as many."""

_MAX_SET_MEM = 256 << 20
_ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED
_HERE = re2._re2.RE2.Anchor.ANCHOR_START
_BEGINNING = r"\A"
_LONGEST_CHAR = 4
_IS_SPACE = np.isin(np.arange(256), [*b" \t\n\r\v\f"])

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

    __slots__ = ("_before", "_begins", "raw", "text", "wide")

    def __init__(self, text: str) -> None:
        self.text = text
        self.raw = text.encode()
        self.wide = len(self.raw) != len(text)
        self._before: NDArray[np.int32] | None = None
        """How many characters stand before each byte, and before the end."""
        self._begins: NDArray[np.int64] | None = None
        """The byte at which each character begins, and the end."""

    def place(self, at: int) -> int:
        """Return how many characters stand before a byte that begins one."""
        if not self.wide or at < 0:
            return at
        if self._before is None:
            self._before = self._counted()
        return self._before.item(at)

    def longest_run(self) -> int:
        """Return the bytes of its longest run without white space of ASCII."""
        spaces = _IS_SPACE.take(np.frombuffer(self.raw, np.uint8)).nonzero()[0]
        return int(np.diff(spaces, prepend=-1, append=len(self.raw)).max(initial=1)) - 1

    def most_bytes(self, chars: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many bytes so many of its characters can have."""
        return np.minimum(chars + (len(self.raw) - len(self.text)), _LONGEST_CHAR * chars)

    def widened(
        self, low: NDArray[np.int64], high: NDArray[np.int64], chars: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return parts of the bytes, each with at least so many characters more on either side; it begins and ends
        with a whole one.
        """
        size, count = len(self.raw), len(self.text)
        if not self.wide:
            return np.maximum(low - chars, 0), np.minimum(high + chars, size)
        if self._before is None:
            self._before = self._counted()
        if self._begins is None:
            self._begins = np.append((np.diff(self._before) > 0).nonzero()[0], size)
        # A character that a bound cuts in two counts as none of those before it.
        first = self._before.take(low, mode="clip") - 1 - chars
        last = self._before.take(high, mode="clip") + chars
        return self._begins.take(np.maximum(first, 0)), self._begins.take(np.minimum(last, count))

    def _counted(self) -> NDArray[np.int32]:
        before = np.zeros(len(self.raw) + 1, np.int32)
        np.cumsum(np.frombuffer(self.raw, np.uint8) & 0xC0 != 0x80, out=before[1:])
        return before


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

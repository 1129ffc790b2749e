"""Whether everything that one pattern matches holds something that another one matches.

Read from the patterns, and said only where it is certain: a match is followed through the pattern as runs of
characters with gaps between them, and the other pattern must fit into a run, whichever branches were taken.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from sallyport.detect.classes import READ_OTHERWISE

type Chars = tuple[tuple[int, int], ...]
"""Code points as ranges, both ends included, in order and apart."""

type Run = tuple[Chars | None, ...]
"""What stands one after another; None: anything, of any length."""

_MOST = 64
"""Runs that are told apart; a part of a pattern with more is a gap."""

_MOST_TIMES = 32
"""Repetitions that are told apart."""

_MOST_PIECES = 8000
"""Characters of all runs of one sequence; what comes before more of them is a gap."""

_MOST_STEPS = 200_000
"""Comparisons that one pair of patterns may take, well under a second; of larger ones nothing is known."""

_CHARS_A_STEP = 1000

_MOST_LETTERS = 1000
"""Characters of a set that are asked whether they are letters; a set with more has some."""

_ALL: Chars = ((0, 0x10FFFF),)
_SPACES = (9, 10, 12, 13, 32)
_LAST_ASCII = 0x7F
_FOLDED = (("k", "\u212a"), ("s", "\u017f"))
_DIGITS: Chars = ((48, 57),)
_WORD: Chars = ((48, 57), (65, 90), (95, 95), (97, 122))


class _Unread(Exception):
    """Nobody can tell here what a pattern matches."""


def implies(pattern: str, beside: str, *, case_sensitive: bool) -> bool:
    """Say whether a match of pattern certainly holds one of beside. False also where a pattern cannot be read.

    Both as RE2 takes them, and both with or both without regard to case.
    """
    try:
        sought = _least(_parsed(beside), caseless=not case_sensitive)
        return _Reading(sought, case_sensitive).holds(_parsed(pattern))
    except (_Unread, re.error, OverflowError, RecursionError):
        return False


def _parsed(source: str) -> Any:
    if READ_OTHERWISE.search(source):
        raise _Unread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parser.parse(source, re.ASCII)


# -- what must be there: every match is one of these runs --------------------------------------------------


class _Reading:
    """Follows matches of a pattern; sought: runs without gaps of which one must be in each."""

    def __init__(self, sought: Sequence[Run], case_sensitive: bool) -> None:
        self._sought = sought
        self._case_sensitive = case_sensitive
        self._steps = 0

    def _step(self, number: int) -> None:
        self._steps += number
        if self._steps > _MOST_STEPS:
            raise _Unread

    def holds(self, items: Any) -> bool:
        """Say whether each match of a parsed pattern holds one of the runs. Raises _Unread."""
        caseless = bool(items.state.flags & re.IGNORECASE)
        return self._runs(items, caseless) is None

    def _runs(self, items: Iterable[tuple[Any, Any]], caseless: bool) -> list[Run] | None:
        """Return the runs of a sequence; None where each holds what is sought."""
        runs: list[Run] = [()]
        for item in items:
            behind = self._of(item, caseless)
            if behind is None:
                return None
            if len(runs) * len(behind) > _MOST:
                behind = [(None,)]
            runs = [run + more for run in runs for more in behind]
            size = sum(map(len, runs))
            self._step(1 + size // _CHARS_A_STEP)
            if size > _MOST_PIECES:
                if all(map(self._is_in, runs)):
                    return None
                runs = [(None,)]
        return None if all(map(self._is_in, runs)) else runs

    def _of(self, item: tuple[Any, Any], caseless: bool) -> list[Run] | None:
        kind, value = item
        if kind is op.AT:
            return [()]
        if kind is op.SUBPATTERN:
            _, added, removed, inner = value
            return self._runs(inner, (caseless or bool(added & re.I)) and not removed & re.I)
        if kind is op.BRANCH:
            return self._branches(value[1], caseless)
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, high, repeated = value
            return self._repeated(low, high, repeated, caseless)
        chars = _chars(item, widest=True)
        if caseless and self._case_sensitive and _has_case(chars):
            chars = _ALL
        return None if self._is_in((chars,)) else [(chars,)]

    def _branches(self, branches: Iterable[Any], caseless: bool) -> list[Run] | None:
        read = [self._runs(branch, caseless) for branch in branches]
        missing = [run for runs in read for run in runs or ()]
        if not missing:
            return None
        whole: list[Run] = [sought for sought in self._sought[:1] if None in read]
        return [*missing, *whole]

    def _repeated(self, low: int, high: int, repeated: Any, caseless: bool) -> list[Run] | None:
        if low == 0:
            return [(None,)]
        runs = self._runs(repeated, caseless)
        if runs is None or low == high == 1:
            return runs
        if len(runs) > 1:
            return [(*run, None) for run in runs]
        times = runs[0] * min(low, _MOST_TIMES)
        return [times if low == high <= _MOST_TIMES else (*times, None, *times)]

    def _is_in(self, run: Run) -> bool:
        return any(self._fits(sought, run) for sought in self._sought)

    def _fits(self, sought: Run, run: Run) -> bool:
        return any(self._stands_at(at, sought, run) for at in range(len(run) - len(sought) + 1))

    def _stands_at(self, at: int, sought: Run, run: Run) -> bool:
        for number, wanted in enumerate(sought, at):
            there = run[number]
            if there is None or wanted is None:
                return False
            self._step(len(there))
            if not _within(there, wanted):
                return False
        return True


# -- what is enough: each of these runs is a match ---------------------------------------------------------


def _least(items: Any, *, caseless: bool) -> list[Run]:
    """Return runs without gaps, of which each text is matched. Raises _Unread."""
    if items.state.flags & re.IGNORECASE:
        raise _Unread
    return _enough(items, caseless)


def _enough(items: Iterable[tuple[Any, Any]], caseless: bool) -> list[Run]:
    runs: list[Run] = [()]
    for kind, value in items:
        if kind is op.SUBPATTERN and not value[1] and not value[2]:
            behind = _enough(value[3], caseless)
        elif kind is op.BRANCH:
            behind = [run for branch in value[1] for run in _enough(branch, caseless)]
        elif kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            behind = _enough(list(value[2]) * value[0], caseless)
        else:
            behind = [(_chars((kind, value), widest=False, caseless=caseless),)]
        runs = [run + more for run in runs for more in behind]
        if len(runs) > _MOST or sum(map(len, runs)) > _MOST_PIECES:
            raise _Unread
    return runs


# -- sets of characters ------------------------------------------------------------------------------------


def _chars(item: tuple[Any, Any], *, widest: bool, caseless: bool = False) -> Chars:
    """Return what one item matches, at most or at least: RE2's \\s has no \\v, Python's has. Raises _Unread.

    caseless: what is left out is left out in either case. What is named is not widened, where at least is asked for.
    """
    kind, value = item
    if kind is op.LITERAL:
        return ((value, value),)
    if kind is op.NOT_LITERAL:
        return _others(_either_case(((value, value),)) if caseless else ((value, value),))
    if kind is op.ANY:
        return _ALL if widest else _others(((10, 10),))
    if kind is not op.IN:
        raise _Unread
    negated = value[0][0] is op.NEGATE
    ranges = [_ranges(member, widest is not negated) for member in value[negated:]]
    chars = _joined(one for some in ranges for one in some)
    if caseless and not negated and (op.CATEGORY, op.CATEGORY_NOT_WORD) in value:
        raise _Unread  # RE2 leaves out what differs from letters in case only
    if not negated:
        return chars
    return _others(_either_case(chars) if caseless else chars)


def _either_case(chars: Chars) -> Chars:
    """Return ASCII characters with all that differs from them in case only. Raises _Unread."""
    if chars and chars[-1][1] > _LAST_ASCII:
        raise _Unread
    named = {chr(code) for first, last in chars for code in range(first, last + 1)}
    both = {other for char in named for other in (char.lower(), char.upper())}
    folded = {spelled for letter, spelled in _FOLDED if letter in both}
    return _joined((ord(char), ord(char)) for char in named | both | folded)


def _ranges(member: tuple[Any, Any], widest: bool) -> Chars:
    kind, value = member
    if kind is op.LITERAL:
        return ((value, value),)
    if kind is op.RANGE:
        return (value,)
    return _CATEGORIES[value](widest)


def _spaces(widest: bool) -> Chars:
    return _joined((code, code) for code in (*_SPACES, *([11] if widest else [])))


_CATEGORIES: dict[Any, Callable[[bool], Chars]] = {
    op.CATEGORY_DIGIT: lambda widest: _DIGITS,
    op.CATEGORY_NOT_DIGIT: lambda widest: _others(_DIGITS),
    op.CATEGORY_SPACE: _spaces,
    op.CATEGORY_NOT_SPACE: lambda widest: _others(_spaces(not widest)),
    op.CATEGORY_WORD: lambda widest: _WORD,
    op.CATEGORY_NOT_WORD: lambda widest: _others(_WORD),
}


def _joined(ranges: Iterable[tuple[int, int]]) -> Chars:
    out: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return tuple(out)


def _others(chars: Chars) -> Chars:
    edges = [-1, *(edge for first, last in chars for edge in (first, last)), 0x110000]
    return tuple(
        (before + 1, behind - 1)
        for before, behind in zip(edges[::2], edges[1::2], strict=True)
        if before + 1 < behind
    )


def _within(chars: Chars, wanted: Chars) -> bool:
    return all(any(low <= first and last <= high for low, high in wanted) for first, last in chars)


def _has_case(chars: Chars) -> bool:
    if sum(last - first for first, last in chars) > _MOST_LETTERS:
        return True
    letters = (chr(code) for first, last in chars for code in range(first, last + 1))
    return any(letter.lower() != letter or letter.upper() != letter for letter in letters)

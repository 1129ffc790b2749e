"""How long a match of a pattern can be, and how many digits it has: where its words stand, and so many digits near
them, no more of the text need be looked through.
"""

import re
import warnings
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from sallyport.detect.classes import READ_OTHERWISE, Items, holds_spaces, is_digit

_LONGEST = 4_000
"""A match that may have more characters than this may have any number."""


class Extent(NamedTuple):
    """What a match has at most. runs: how often a whole run of characters without white space, of any length, beside so
    many characters. digits: how many digits of ASCII it has at least.
    """

    chars: int
    runs: int
    digits: int


class _Endless(Exception):
    """A match can be of any length."""


def longest(source: str) -> Extent | None:
    """Return the extent of a pattern as RE2 takes it; None where a match has no end, or nobody knows."""
    if READ_OTHERWISE.search(source):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _sequence(parser.parse(source, re.IGNORECASE | re.ASCII))
    except (_Endless, re.error, OverflowError, RecursionError):
        return None
    return found if found.chars <= _LONGEST else None


_NOTHING = Extent(0, 0, 0)


def _sequence(items: Items) -> Extent:
    each = [_one(item) for item in items]
    return Extent(*map(sum, zip(*each, strict=True))) if each else _NOTHING


def _one(item: tuple[Any, Any]) -> Extent:
    kind, value = item
    if kind is op.AT:
        return _NOTHING
    if kind in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
        return Extent(1, 0, int(is_digit(item)))
    if kind is op.SUBPATTERN:
        return _sequence(value[3])
    if kind is op.BRANCH:
        branches = [_sequence(branch) for branch in value[1]]
        chars, runs, digits = zip(*branches, strict=True)
        return Extent(max(chars), max(runs), min(digits))
    if kind not in (op.MAX_REPEAT, op.MIN_REPEAT):
        raise _Endless
    low, high, repeated = value
    if high != op.MAXREPEAT:
        once = _sequence(repeated)
        return Extent(once.chars * high, once.runs * high, once.digits * low)
    if len(repeated) == 1 and _is_of_a_run(repeated[0]):
        return Extent(0, 1, low * int(is_digit(repeated[0])))
    raise _Endless


def _is_of_a_run(item: tuple[Any, Any]) -> bool:
    kind, value = item
    return (kind is op.IN and not holds_spaces(value)) or (kind is op.LITERAL and not holds_spaces([item]))

"""How long a match of a pattern can be: where one of its words stands, no more of the text need be looked through."""

import re
import warnings
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from sallyport.detect.classes import READ_OTHERWISE, Items, holds_spaces

_LONGEST = 4_000
"""A match that may have more characters than this may have any number."""


class Extent(NamedTuple):
    """What a match has at most. runs: how often a whole run of characters without white space, of any length, beside so
    many characters.
    """

    chars: int
    runs: int


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


def _sequence(items: Items) -> Extent:
    chars = runs = 0
    for item in items:
        more = _one(item)
        chars, runs = chars + more.chars, runs + more.runs
    return Extent(chars, runs)


def _one(item: tuple[Any, Any]) -> Extent:
    kind, value = item
    if kind is op.AT:
        return Extent(0, 0)
    if kind in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
        return Extent(1, 0)
    if kind is op.SUBPATTERN:
        return _sequence(value[3])
    if kind is op.BRANCH:
        branches = [_sequence(branch) for branch in value[1]]
        return Extent(max(one.chars for one in branches), max(one.runs for one in branches))
    if kind not in (op.MAX_REPEAT, op.MIN_REPEAT):
        raise _Endless
    _, high, repeated = value
    if high != op.MAXREPEAT:
        once = _sequence(repeated)
        return Extent(once.chars * high, once.runs * high)
    if len(repeated) == 1 and _is_of_a_run(repeated[0]):
        return Extent(0, 1)
    raise _Endless


def _is_of_a_run(item: tuple[Any, Any]) -> bool:
    kind, value = item
    return (kind is op.IN and not holds_spaces(value)) or (kind is op.LITERAL and not holds_spaces([item]))

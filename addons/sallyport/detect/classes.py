"""Patterns as Python's parser reads them, and what it reads otherwise than RE2; what a class of characters holds."""

import re
from collections.abc import Callable, Mapping, Sequence
from re import _constants as op  # type: ignore[attr-defined]
from typing import Any

type Items = Sequence[tuple[Any, Any]]
"""A pattern, or a part of it, as re._parser reads it; also the members of a class."""

READ_OTHERWISE = re.compile(
    r"\[:\^?[a-z]+:\]|\\[pPQECzUX]|\(\?[a-zA-Z]*U|\{(?:,\d*|0\d+(?:,\d*)?|\d+,0\d+)\}"
)
"""What RE2 reads in another way than Python does: {,2} and {02} are no repetitions there, but letters."""

_LETTERS = frozenset(code for code in range(128) if chr(code).isalnum() or chr(code) == "_")
_LETTERS_OTHERWISE = frozenset((0x17F, 0x212A))
"""What is a letter of ASCII in another case: the long s, the sign of Kelvin."""

_ZERO, _NINE = b"09"
_SPACES = frozenset((9, 10, 11, 12, 13, 32))
_SPACES_OF_CLASSES = _SPACES - {11}
"""What \\s is to RE2, which leaves out the vertical tab."""


def holds_letters(members: Items) -> bool:
    """Say whether a class may match a letter of ASCII, a digit or _, whatever the case."""
    codes = _LETTERS if _is_negated(members) else _LETTERS | _LETTERS_OTHERWISE
    return any(_is_in(code, members) for code in codes)


def holds_spaces(members: Items) -> bool:
    """Say whether a class may match white space of ASCII."""
    return any(_is_in(code, members) for code in _SPACES)


def is_digit(item: tuple[Any, Any]) -> bool:
    """Say whether all that one item, which is one character, may match are digits of ASCII."""
    kind, value = item
    if kind is op.IN:
        return all(map(is_digit, value))
    if kind is op.RANGE:
        return bool(value[0] >= _ZERO and value[1] <= _NINE)
    return bool(kind is op.LITERAL and _ZERO <= value <= _NINE) or value is op.CATEGORY_DIGIT


def _is_negated(members: Items) -> bool:
    return members[0][0] is op.NEGATE


def _is_in(code: int, members: Items) -> bool:
    negated = _is_negated(members)
    return any(_is(code, member) for member in members[negated:]) is not negated


def _is(code: int, member: tuple[Any, Any]) -> bool:
    kind, value = member
    if kind is op.LITERAL:
        return bool(code == value)
    if kind is op.RANGE:
        return bool(value[0] <= code <= value[1])
    return kind is op.CATEGORY and _CATEGORIES[value](code)


_CATEGORIES: Mapping[Any, Callable[[int], bool]] = {
    op.CATEGORY_WORD: lambda code: code in _LETTERS,
    op.CATEGORY_NOT_WORD: lambda code: code not in _LETTERS | _LETTERS_OTHERWISE,
    op.CATEGORY_DIGIT: lambda code: chr(code).isdecimal(),
    op.CATEGORY_NOT_DIGIT: lambda code: not chr(code).isdecimal(),
    op.CATEGORY_SPACE: lambda code: code in _SPACES_OF_CLASSES,
    op.CATEGORY_NOT_SPACE: lambda code: code not in _SPACES_OF_CLASSES,
}

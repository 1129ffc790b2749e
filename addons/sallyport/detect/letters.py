"""Letters that were drawn at random, told from words and from names made of words.

Of a key without a figure nothing is left to go by but this: in a language, few letters follow a letter often.
"""

import re
from itertools import pairwise

_RARITY = (
    "65448758586343859333667767"  # a
    "36573788458377369456498858"  # b
    "38673783494478279463579978"  # c
    "36652668388566469546577878"  # d
    "47445567687453757234766578"  # e
    "37663378289477379455498969"  # f
    "47772754499564579345478978"  # g
    "27772787398666389464588969"  # h
    "56454659877452458543859696"  # i
    "38762677484776368857377776"  # j
    "47662666387475468645586969"  # k
    "37752788397377379855578959"  # l
    "25872788398657339856588959"  # m
    "47433537486775478743568978"  # n
    "66447668686442549344465778"  # o
    "38773786498387348354588959"  # p
    "77877878797686877666077889"  # q
    "37652768396655379544567958"  # r
    "58472775496667448742487968"  # s
    "37572684398667469345587858"  # t
    "54554568588443649343888888"  # u
    "27781788399768479677788988"  # v
    "27763784288674379447787779"  # w
    "46353586388657638762788458"  # x
    "45454677587544538533676756"  # y
    "38761777388667478866596754"  # z
)
"""How rare the letter of a column is behind that of a row, in bits, 9 for all that is rarer; counted over words
of prose in ten languages of Europe and the names in Python's library, accents left out.
"""

_LEAST = 12
"""Letters that can be told; fewer may be an abbreviation."""

_SMALL, _GREAT, _MIXED = 4.8, 5.1, 5.55
"""Bits a letter from which small letters, capitals, and both are random: words have 3.6, random letters 6."""

_CHANGE = 2.0
"""What a change of case counts per letter: names change it between words, random letters every other time."""

_KINDS = 7
"""Different letters that are the least of random ones; a hand that drums on keys uses fewer."""

_DRUMMED = re.compile(r"(?i)qwert|werty|asdf|sdfg|dfgh|zxcv|xcvb|yxcv|hjkl|uiop")


_LEAST_MIXED, _MIXED_SHORT = 8, 5.8
"""Letters, and bits a letter, of a shorter one of great and small letters that is random: 6 of 7 drawn are, and one
name of code in 130."""


def is_random(value: str) -> bool:
    """Say whether a value is letters alone, of ASCII, twelve or more, and random."""
    if len(value) < _LEAST or not (value.isascii() and value.isalpha()) or _DRUMMED.search(value):
        return False
    lower = value.lower()
    if len(set(lower)) < _KINDS:
        return False
    bits = rarity(lower)
    if value == lower:
        return bits >= _SMALL
    if value.isupper():
        return bits >= _GREAT
    return bits + _turns(value) >= _MIXED


def is_short_random(value: str) -> bool:
    """Say the same of eight to eleven letters of which some are great: for places where a password is expected.

    The great ones make up for the length; of small letters alone nothing tells so few from a word or an abbreviation.
    """
    if not (_LEAST_MIXED <= len(value) < _LEAST and value.isascii() and value.isalpha()):
        return False
    lower = value.lower()
    if (
        value in (lower, value.upper(), value.title())
        or len(set(lower)) < _KINDS - 1
        or _DRUMMED.search(value)
    ):
        return False
    return rarity(lower) + _turns(value) >= _MIXED_SHORT


def _turns(value: str) -> float:
    """Return what the changes of case count for each letter."""
    changes = sum(a.isupper() != b.isupper() for a, b in pairwise(value)) - value[0].isupper()
    return _CHANGE * changes / len(value)


def rarity(lower: str) -> float:
    """Return the bits of a letter behind another, in the mean over small letters of ASCII."""
    codes = [ord(c) - 97 for c in lower]
    return sum(int(_RARITY[26 * a + b]) for a, b in pairwise(codes)) / (len(codes) - 1)

"""Text to words, and a word to what the built-in recogniser knows of it. Shared by training and inference.

A word is a run of letters, digits, underscores and combining marks (64 at most), a repeated punctuation mark, a gap
or a line break. A gap is a tab, or two blanks and more that do not follow the end of a sentence: it parts columns.
Other white space separates and is dropped. Everything here looks at one word at a time, so the
result can be kept per spelling; what depends on neighbours is `surroundings`.
"""

import re
import unicodedata
import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

WORD: Final = re.compile(r"[\w\u0300-\u036f]{1,64}|\n\s*|(?<![.!?\s])[ \t]{2,}|\t[ \t]*|([^\w\s])\1*")
BREAK: Final = "\n"
BLANK_LINE: Final = "\n\n"
TAB: Final = "\t"

NGRAM_ROWS: Final = 1 << 15
NGRAMS_MOST: Final = 40
SHAPES: Final = 16
SEQUENCES: Final = 6
"""Kinds of listed names of two and three words: place, well-known place, organisation, no name, person, town."""

SURROUNDINGS: Final = 6 + 4 * SEQUENCES

# One bit of a word for each list it is in.
LISTS: Final = (
    "first_name",
    "last_name",
    "place",
    "place_part",
    "country",
    "common",
    "calendar",
    "language",
    "role",
    "honorific",
    "company_word",
    "street_word",
    "region_code",
    "frequent_first_name",
    "product",
    "capitalised",
    "known_place",
    "home_place",
    "nationality",
    "organisation",
    "organisation_part",
    "famous_person",
    "us_first_name",
    "us_last_name",
    "town",
    "region",
    "notable_person",
    "census_first_name",
    "census_last_name",
    "rare_last_name",
    "city",
    "small_town",
)


def words_of(text: str) -> tuple[list[str], list[int], list[int]]:
    """Split a text; return the words, and their first and one-past-last code point."""
    words: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for match in WORD.finditer(text):
        word = match[0]
        if word[0] == "\n":
            word = BLANK_LINE if word.count("\n") > 1 else BREAK
        elif word[0] in " \t":
            word = TAB
        elif not (word[0].isalnum() or word[0] == "_"):
            word = word[:3]
        words.append(word)
        starts.append(match.start())
        ends.append(match.end())
    return words, starts, ends


def folded(word: str) -> str:
    """Return the spelling that lists and vocabulary use: lower case, composed, digits as 0."""
    lower = word.lower() if word.isascii() else unicodedata.normalize("NFC", word).lower()
    if lower.isalpha():
        return lower
    return re.sub(r"\d", "0", lower)


def digest(spelling: str) -> int:
    """Return the 32-bit number a folded spelling is listed under."""
    return zlib.crc32(spelling.encode("utf-8", "surrogatepass"))


def shape(word: str) -> int:
    """Return how a word is written, 0 to SHAPES-1."""
    first = word[0]
    if first in "\n\t":
        return 0 if word == BREAK else 1
    if word.isalpha():
        if word.islower():
            return 2 if len(word) > 1 else 3
        if word.isupper():
            return 4 if len(word) > 3 else (5 if len(word) > 1 else 6)
        if first.isupper() and word[1:].islower():
            return 7
        return 8 if first.isupper() else (9 if any(c.isupper() for c in word) else 10)
    if word.isdigit():
        return 11
    if first.isalnum() or first == "_":
        return 12 if "_" in word else 13
    return 14 if first in ".,;:!?" else 15


def ngram_rows(spelling: str) -> list[int]:
    """Return the table rows of the byte 3-, 4- and 5-grams of a folded spelling, the first NGRAMS_MOST."""
    framed = b"<" + spelling.encode("utf-8", "surrogatepass")[:40] + b">"
    length = len(framed)
    mask = NGRAM_ROWS - 1
    crc = zlib.crc32
    rows = [crc(framed) & mask]
    for size in (3, 4, 5):
        rows += [crc(framed[at : at + size]) & mask for at in range(length - size + 1)]
    return rows[:NGRAMS_MOST]


def surroundings(
    shapes: npt.NDArray[np.int64],
    spaced: npt.NDArray[np.bool_],
    pairs: npt.NDArray[np.uint8],
    triples: npt.NDArray[np.uint8],
) -> npt.NDArray[np.float32]:
    """Return what neighbours say of each word, (words, SURROUNDINGS).

    shapes: of `shape`; spaced: white space stands before the word; pairs, triples: bits of the
    SEQUENCES kinds of listed name of two and three words that begin at the word.
    """
    count = len(shapes)
    out = np.zeros((count, SURROUNDINGS), np.float32)
    out[:, 0] = spaced
    out[0, 1] = 1.0
    out[1:, 1] = shapes[:-1] <= 1
    alphabetic = (shapes >= 2) & (shapes <= 10)
    raised = (shapes >= 4) & (shapes <= 8)
    whole = (shapes == 4) | (shapes == 5)
    for column, reach in ((2, 4), (3, 16)):
        letters = _window(alphabetic, reach) + 0.5
        out[:, column] = _window(raised, reach) / letters
        out[:, column + 2] = _window(whole, reach) / letters
    kinds = np.arange(SEQUENCES, dtype=np.uint8)
    for column, (size, bits) in zip((6, 6 + 2 * SEQUENCES), ((2, pairs), (3, triples)), strict=True):
        if bits.any():
            begins = ((bits[:, None] >> kinds) & 1).astype(np.float32)
            out[:, column : column + SEQUENCES] = begins
            inside = out[:, column + SEQUENCES : column + 2 * SEQUENCES]
            for step in range(1, size):
                inside[step:] += begins[:-step]
    return out


def _window(flags: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.float32]:
    sums = np.concatenate(([0], np.cumsum(flags, dtype=np.int64)))
    at = np.arange(len(flags))
    return (sums[np.minimum(at + reach + 1, len(flags))] - sums[np.maximum(at - reach, 0)]).astype(np.float32)


def sequence_digests(digests: npt.NDArray[np.uint32], size: int) -> npt.NDArray[np.uint32]:
    """Return a number for every run of `size` words, zero padded at the end to the number of words."""
    out = np.zeros(len(digests), np.uint32)
    if len(digests) >= size:
        mixed = digests[: len(digests) - size + 1].copy()
        for step in range(1, size):
            mixed = mixed * np.uint32(0x9E3779B1) + digests[step : len(digests) - size + 1 + step]
        out[: len(mixed)] = mixed
    return out


def kinds_of(
    values: npt.NDArray[np.uint32], ordered: npt.NDArray[np.uint32], bits: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Return the bits of every value, those at its place in the ordered array, 0 where it is not there."""
    if not len(ordered):
        return np.zeros(len(values), np.uint8)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.where(ordered[at] == values, bits[at], np.uint8(0))


def spaced_before(starts: Sequence[int], ends: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Return whether white space, or nothing, stands between each word and the one before."""
    out = np.ones(len(starts), np.bool_)
    out[1:] = np.asarray(starts[1:]) > np.asarray(ends[:-1])
    return out

"""A text as hashed word features by sentence: the one reading of a text for training and for judging.

Vectorised over the whole text and linear in its length. Words are known by their letters whatever the
order and with digits read as the letters they resemble, so that "1gnroe" is "ignore"; ideographs and
telling marks are words of their own, a run of one mark is one. No feature crosses the end of a sentence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 16
"""Size of the feature space; indexes are below it."""

ORDERS = 7
"""Features of each word: itself, its stem, with its neighbours, with their stems."""

BLOCK = 16_384
"""Code points read at once."""

MAX_WORDS = 40
"""Longest sentence; what has no punctuation is cut into sentences of this many words."""

_LAST = 0xFFFF
_GAP, _WORD, _MARK, _IDEOGRAPH = range(4)
_KIND, _BREAK, _STOP, _AFTER_STOP, _QUOTE, _AFTER_QUOTE, _SMALL = 3, 4, 8, 16, 32, 64, 128
_FOLLOWED = _STOP | _QUOTE
_STEM = 5
_LEET = dict(zip("013457", "oieast", strict=True))
_MARKS = ':!?"<>[]{}#=|`/()'
_FIRST = np.uint64(0x9E3779B97F4A7C15)
_ODD = tuple(
    np.uint64(n)
    for n in (
        0xBF58476D1CE4E5B9,
        0x94D049BB133111EB,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
        0xE7037ED1A0B428DB,
        0x8EBC6AF09C88C6E3,
        0x589965CC75374CC3,
        0x1D8E4E27C47D124F,
        0xEB44ACCAB455D165,
        0xC6A4A7935BD1E995,
        0x9FB21C651E98DF25,
        0xCBF29CE484222325,
        0xFF51AFD7ED558CCD,
        0xC4CEB9FE1A85EC53,
    )
)
_PLACES = np.arange(_STEM)
_STEM_ODD = np.array(_ODD[1 : 1 + _STEM], np.uint64)
_SHIFT = np.uint64(64 - BUCKETS.bit_length() + 1)
_FOLD = np.uint64(31)

type Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text.

    buckets: (ORDERS, words), the features of each. starts: (words,), code points of their first letters.
    sentences: (sentences,), the index of each sentence's first word; empty for a text without words.
    """

    buckets: Indexes
    starts: Indexes
    sentences: Indexes


@dataclass(frozen=True, slots=True)
class _Tables:
    """By code point: traits of sentences; same: what two neighbours of one word share; value: hash of a letter."""

    traits: NDArray[np.uint8]
    same: NDArray[np.uint8]
    value: NDArray[np.uint64]


def words(text: str) -> Words:
    """Read a text. Never raises; offsets are code points of the text as given."""
    pieces = list(blocks(text))
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        none = np.zeros(0, np.int64)
        return Words(np.zeros((ORDERS, 0), np.int64), none, none)
    sizes = [0, *accumulate(p.starts.size for p in pieces[:-1])]
    return Words(
        np.concatenate([p.buckets for p in pieces], axis=1),
        np.concatenate([p.starts for p in pieces]),
        np.concatenate([p.sentences + size for p, size in zip(pieces, sizes, strict=True)]),
    )


def blocks(text: str) -> Iterator[Words]:
    """Read a text in pieces of whole sentences that fit a processor's cache; none is empty.

    starts count from the beginning of the text, sentences from the first word of their piece. A sentence
    longer than a block is one word that does not end, and is cut.
    """
    codes = _codes(text)
    at = 0
    while at < codes.size:
        read = _read(codes[at : at + BLOCK], at)
        cut = read.sentences.size - 1
        ends = at + BLOCK >= codes.size
        at += BLOCK
        if cut < 0:
            continue
        if ends or cut == 0:
            yield read
            continue
        last = int(read.sentences[cut])
        at = int(read.starts[last])
        yield Words(read.buckets[:, :last], read.starts[:last], read.sentences[:cut])


def _read(codes: NDArray[np.uint8] | NDArray[np.uint32], at: int) -> Words:
    tables = _tables()
    same = tables.same.take(codes)
    new = same != 0
    inner = same[1:] != same[:-1]
    if codes.dtype != np.uint8:
        inner |= same[1:] == _IDEOGRAPH
    new[1:] &= inner
    starts = new.nonzero()[0]
    if not starts.size:
        return Words(np.zeros((ORDERS, 0), np.int64), starts, starts)
    value = tables.value.take(codes)
    word = np.add.reduceat(value, starts) * _ODD[0]
    word ^= word >> _FOLD
    sentences = _sentences(tables.traits.take(codes), starts)
    buckets = _buckets(word, _stems(value, starts, word), sentences)
    if at:
        starts += at
    return Words(buckets, starts, sentences)


def _codes(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    wide: NDArray[np.uint32] = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return np.minimum(wide, np.uint32(_LAST))


def _stems(value: NDArray[np.uint64], starts: Indexes, word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hash of the first letters in order; of a short word, the word's own."""
    lengths = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
    lengths[-1] = value.size - starts[-1]
    long = (lengths > _STEM).nonzero()[0]
    letters = value.take(starts.take(long)[:, None] + _PLACES)
    letters *= _STEM_ODD
    stem = letters.sum(axis=1)
    stem ^= stem >> _FOLD
    stems = word.copy()
    stems[long] = stem
    return stems


def _sentences(traits: NDArray[np.uint8], starts: Indexes) -> Indexes:
    """Return first words. A line that goes on with a small letter is the same sentence, wrapped."""
    ends = traits & _BREAK
    ends[:-1] &= ~((traits[1:] >> 5) & ~((traits[:-1] & _MARK) << 1))
    ends[:-1] |= ((traits[:-1] & _FOLLOWED) << 1) & traits[1:]
    flags = np.zeros(starts.size + 1, bool)
    flags[starts.searchsorted(ends.nonzero()[0], side="right")] = True
    flags[0], flags[-1] = True, False
    firsts = flags.nonzero()[0]
    lengths = np.empty_like(firsts)
    np.subtract(firsts[1:], firsts[:-1], out=lengths[:-1])
    lengths[-1] = starts.size - firsts[-1]
    if lengths.max() <= MAX_WORDS:
        return firsts
    pieces = -(-lengths // MAX_WORDS)
    within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    cut: Indexes = np.repeat(firsts, pieces) + within * MAX_WORDS
    return cut


def _buckets(word: NDArray[np.uint64], stem: NDArray[np.uint64], sentences: Indexes) -> Indexes:
    before, earlier = _shifted(word, sentences)
    stem_before, stem_earlier = _shifted(stem, sentences)
    out = np.empty((ORDERS, word.size), np.uint64)
    out[0] = word * _ODD[6]
    out[1] = stem * _ODD[7]
    pair = before * _ODD[9]
    out[2] = word * _ODD[8] + pair
    out[3] = word * _ODD[10] + pair + earlier * _ODD[11]
    out[4] = word * _ODD[12] + earlier * _ODD[13]
    stem_pair = stem_before * _ODD[3]
    out[5] = stem * _ODD[2] + stem_pair
    out[6] = stem * _ODD[4] + stem_pair + stem_earlier * _ODD[5]
    out ^= out >> _FOLD
    out *= _ODD[0]
    out >>= _SHIFT
    return out.view(np.int64)


def _shifted(values: NDArray[np.uint64], sentences: Indexes) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the word before each and the one before that; before a sentence stands its beginning."""
    before = np.empty_like(values)
    before[1:] = values[:-1]
    before[sentences] = _FIRST
    earlier = np.empty_like(values)
    earlier[1:] = before[:-1]
    earlier[sentences] = 0
    return before, earlier


@cache
def _tables() -> _Tables:
    traits = np.zeros(_LAST + 1, np.uint8)
    letter = np.arange(_LAST + 1, dtype=np.uint64)
    for code in range(_LAST + 1):
        char = chr(code)
        if char.isalnum() or char in "_'":
            traits[code] = _IDEOGRAPH if 0x3040 <= code <= 0xD7A3 else _WORD
        elif char in _MARKS:
            traits[code] = _MARK
        if char.islower():
            traits[code] |= _SMALL
        low = char.lower()
        letter[code] = ord(_LEET.get(low, low[0]))
    kind = traits & _KIND
    traits[(kind == _GAP) | (kind == _IDEOGRAPH)] |= _AFTER_STOP
    for chars, trait in (
        ("\n\r<>", _BREAK),
        (".!?;\u3002\uff01\uff1f", _STOP),
        ("\"'", _AFTER_STOP),
        ('"', _QUOTE),
        (",:}]", _AFTER_QUOTE),
    ):
        for char in chars:
            traits[ord(char)] |= trait
    value = letter + np.uint64(1)
    value *= _ODD[0]
    value ^= value >> np.uint64(27)
    value *= _ODD[1]
    value ^= value >> _FOLD
    value[kind == _GAP] = 0
    same = kind.astype(np.uint8)
    for char in _MARKS:
        same[ord(char)] = ord(char)
    return _Tables(traits, same, value)

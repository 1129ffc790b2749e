"""A text as hashed features by sentence: the one reading of a text for training and for judging.

Vectorised over the whole text and linear in its length. Words are known by their letters whatever the
order and with digits read as the letters they resemble, so that "1gnroe" is "ignore"; ideographs and
telling marks are words of their own, a run of one mark is one. Besides words there are runs of four and
five letters, which know a word's relatives, and concepts (concepts.py), which know its synonyms.
What repeats itself counts once: words in a row that go on repeating, runs of letters in what is too long for a word.
Else padding, dotted lines and dumps would be as loud as they are long, whatever their letters are.
No feature of words or concepts crosses the end of a sentence. Topics are no features: they tell which sentences
of a text speak of the same things.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from sallyport.detect.classifier.concepts import Concepts

BUCKETS = 1 << 20
"""Size of the feature space; indexes are below it."""

ORDERS = 7
"""Features of each word: itself, its stem, with its neighbours, with their stems."""

BLOCK = 16_384
"""Code points read at once."""

RUNS = 2
"""Features of each letter: the runs of four and of five that begin with it; a gap counts as one letter."""

CONCEPT_ORDERS = 9
"""Features of each concept: itself, with the words beside it, with the concepts after it in its sentence."""

MAX_WORDS = 40
"""Longest sentence; what has no punctuation is cut into sentences of this many words."""

_LONGEST_WORD = 32
"""Letters of a word from which on its runs are read once each."""

_LONGEST_READ = 64
"""Letters of a word whose runs are read."""

_PERIOD = 12
"""Words after which a sentence repeats itself, if it does after one, two, three, four or six."""

_REPEATED = 4
"""Words in a row from which on a sentence repeats itself."""

_LAST = 0xFFFF
_GAP, _WORD, _MARK, _IDEOGRAPH = range(4)
_KIND, _BREAK, _STOP, _AFTER_STOP, _QUOTE, _AFTER_QUOTE, _SMALL = 3, 4, 8, 16, 32, 64, 128
_FOLLOWED = _STOP | _QUOTE
_STEM = 5
_LONG_RUN = 5
_NEAR = 4
_SEEN_AHEAD = 32
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
_TOPIC = np.uint64(48)

type Indexes = NDArray[np.int64]
type Hashes = NDArray[np.uint64]
type Topics = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text, its letters and its concepts.

    buckets: (ORDERS, words), the features of each. starts: (words,), code points of their first letters.
    sentences: (sentences,), the index of each sentence's first word; empty for a text without words.
    runs: (RUNS, letters), concepts: (CONCEPT_ORDERS, concepts); first_runs, first_concepts: (sentences,), where
    each sentence begins in them. Every sentence has at least one of each. topics: (words,), by what the stem of a
    long word is known in its text; 0 for a short one.
    """

    buckets: Indexes
    starts: Indexes
    sentences: Indexes
    runs: Indexes
    first_runs: Indexes
    concepts: Indexes
    first_concepts: Indexes
    topics: Topics

    def until(self, sentence: int) -> "Words":
        """Return the sentences before one, which is not the first."""
        word, run, concept = (
            self.sentences[sentence],
            self.first_runs[sentence],
            self.first_concepts[sentence],
        )
        return Words(
            self.buckets[:, :word],
            self.starts[:word],
            self.sentences[:sentence],
            self.runs[:, :run],
            self.first_runs[:sentence],
            self.concepts[:, :concept],
            self.first_concepts[:sentence],
            self.topics[:word],
        )


_NONE = np.zeros(0, np.int64)
_NOTHING = Words(
    np.zeros((ORDERS, 0), np.int64),
    _NONE,
    _NONE,
    np.zeros((RUNS, 0), np.int64),
    _NONE,
    np.zeros((CONCEPT_ORDERS, 0), np.int64),
    _NONE,
    np.zeros(0, np.uint16),
)


@dataclass(frozen=True, slots=True)
class _Tables:
    """By code point: traits of sentences; same: what two neighbours of one word share; value: hash of a letter."""

    traits: NDArray[np.uint8]
    same: NDArray[np.uint8]
    value: NDArray[np.uint64]


def words(text: str, concepts: Concepts) -> Words:
    """Read a text. Never raises; offsets are code points of the text as given."""
    pieces = list(blocks(text, concepts))
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return _NOTHING
    return Words(
        np.concatenate([p.buckets for p in pieces], axis=1),
        np.concatenate([p.starts for p in pieces]),
        _stacked([(p.sentences, p.starts.size) for p in pieces]),
        np.concatenate([p.runs for p in pieces], axis=1),
        _stacked([(p.first_runs, p.runs.shape[1]) for p in pieces]),
        np.concatenate([p.concepts for p in pieces], axis=1),
        _stacked([(p.first_concepts, p.concepts.shape[1]) for p in pieces]),
        np.concatenate([p.topics for p in pieces]),
    )


def _stacked(pieces: Sequence[tuple[Indexes, int]]) -> Indexes:
    """Return indexes into pieces as indexes into all of them; pieces: (indexes, size)."""
    sizes = [0, *accumulate(size for _, size in pieces[:-1])]
    return np.concatenate([indexes + size for (indexes, _), size in zip(pieces, sizes, strict=True)])


def blocks(text: str, concepts: Concepts) -> Iterator[Words]:
    """Read a text in pieces of whole sentences that fit a processor's cache; none is empty.

    starts count from the beginning of the text, all other indexes from that of their piece. A sentence
    longer than a block is one word that does not end, or repeats itself, and is cut.
    """
    codes = _codes(text)
    at = 0
    before: Words | None = None
    while at < codes.size:
        read = _read(codes[at : at + BLOCK], at, concepts)
        cut = read.sentences.size - 1
        ends = at + BLOCK >= codes.size
        at += BLOCK
        if cut < 0:
            continue
        if ends or cut == 0:
            if before is None or not _said(read, before, ends):
                yield read
            before = read if cut == 0 else None
            continue
        before = None
        if cut > 1 and read.starts[read.sentences[cut]] > at - _SEEN_AHEAD:
            cut -= 1
        at = int(read.starts[read.sentences[cut]])
        yield read.until(cut)


def _said(read: Words, before: Words, ends: bool) -> bool:
    """Return whether the next piece of a sentence that was cut says no word, and no two in a row, that it had not said.

    Else what repeats itself over several pieces would be as many sentences. The word in which a cut falls is two, of
    which neither counts. ends: whether the text ends with this piece.
    """
    last = None if ends else -1
    return bool(
        read.sentences.size == 1
        and np.isin(read.buckets[0, 1:last], before.buckets[0]).all()
        and np.isin(read.buckets[2, 2:last], before.buckets[2]).all()
    )


def _read(codes: NDArray[np.uint8] | NDArray[np.uint32], at: int, concepts: Concepts) -> Words:
    tables = _tables()
    value, starts = _letters(codes)
    if not starts.size:
        return _NOTHING
    word = np.add.reduceat(value, starts) * _ODD[0]
    word ^= word >> _FOLD
    stem = _stems(value, starts, word)
    silent = _too_long(value, starts)
    sentences = _sentences(tables.traits.take(codes), starts)
    if (repeated := _repeated(word, sentences)) is not None:
        first, told = starts[0], ~repeated
        silent = np.zeros(value.size, bool) if silent is None else silent
        silent[first:] |= np.repeat(repeated, np.diff(starts, append=value.size))
        starts, word, stem = starts[told], word[told], stem[told]
        sentences -= repeated.cumsum().take(sentences)
    sentences = _cut(sentences, starts.size)
    runs, first_runs = _runs(value, starts.take(sentences), silent)
    meant, first_concepts = _meant(word, concepts.of(word, stem, paired(word), sentences), sentences)
    buckets = _buckets(word, stem, sentences)
    topics = (stem >> _TOPIC).astype(np.uint16)
    topics[stem == word] = 0
    if at:
        starts += at
    return Words(buckets, starts, sentences, runs, first_runs, meant, first_concepts, topics)


def keys(text: str) -> tuple[Hashes, Hashes, Hashes]:
    """Return the hashes of a text's words, of their stems, and of pairs of words: what concepts are known by."""
    value, starts = _letters(_codes(text))
    word = np.add.reduceat(value, starts) * _ODD[0]
    word ^= word >> _FOLD
    return word, _stems(value, starts, word), paired(word)


def paired(word: Hashes) -> Hashes:
    """Return the hash of each word with the one before it; the first has none and keeps a hash of its own."""
    pair = word * _ODD[8]
    pair[1:] += word[:-1] * _ODD[9]
    return pair


def _letters(codes: NDArray[np.uint8] | NDArray[np.uint32]) -> tuple[Hashes, Indexes]:
    """Return the hash of every letter, 0 for a gap, and where words start."""
    tables = _tables()
    same = tables.same.take(codes)
    new = same != 0
    inner = same[1:] != same[:-1]
    if codes.dtype != np.uint8:
        inner |= same[1:] == _IDEOGRAPH
    new[1:] &= inner
    return tables.value.take(codes), new.nonzero()[0]


def _too_long(value: Hashes, starts: Indexes) -> NDArray[np.bool_] | None:
    """Return of every letter whether it is of a word too long for one, and begins a run that tells nothing new.

    None where no word is so long.
    """
    gaps = starts[1:] - starts[:-1]
    if value.size - starts[-1] <= _LONGEST_WORD and not (gaps > _LONGEST_WORD).any():
        return None
    silent = np.zeros(value.size, bool)
    ends = np.append(starts[1:], value.size)
    long = (ends - starts > _LONGEST_WORD).nonzero()[0]
    long = long[value.take(starts[long] + _LONGEST_WORD) != 0]
    for start, end in zip(starts[long].tolist(), ends[long].tolist(), strict=True):
        letters = value[start : min(end, start + _LONGEST_READ)]
        size = letters.size - _LONG_RUN + 1
        run = letters[:size] * _ODD[1]
        for place in range(1, _LONG_RUN):
            run += letters[place : size + place] * _ODD[1 + place]
        silent[start:end] = True
        silent[start + np.unique(run, return_index=True)[1]] = False
        silent[start] = False
    return silent


def _repeated(word: Hashes, sentences: Indexes) -> NDArray[np.bool_] | None:
    """Return of every word whether its sentence goes on repeating what it has said; None where none does."""
    alike = (word[_PERIOD:] == word[:-_PERIOD]).nonzero()[0]
    if alike.size < _REPEATED:
        return None
    ends = alike[_REPEATED - 1 :]
    ends = ends[ends - alike[: 1 - _REPEATED] == _REPEATED - 1] + _PERIOD
    since = sentences.take(sentences.searchsorted(ends, side="right") - 1)
    ends = ends[ends - since >= _PERIOD + _REPEATED - 1]
    if not ends.size:
        return None
    told = np.zeros(word.size, bool)
    told[ends] = True
    return told


def _runs(value: Hashes, firsts: Indexes, silent: NDArray[np.bool_] | None) -> tuple[Indexes, Indexes]:
    """Return the runs of letters, and which is the first of each sentence; firsts: its first letter.

    silent: of every letter, whether no run is read there; None where all are.
    """
    kept = value != 0
    kept[1:] |= value[:-1] != 0
    places = kept.nonzero()[0]
    letters = np.zeros(places.size + _LONG_RUN - 1, np.uint64)
    count = places.size
    value.take(places, out=letters[:count])
    run = letters[:count] * _ODD[1]
    for place in range(1, _LONG_RUN - 1):
        run += letters[place : count + place] * _ODD[1 + place]
    out = np.empty((RUNS, count), np.uint64)
    np.add(run, letters[_LONG_RUN - 1 :] * _ODD[_LONG_RUN], out=out[1])
    out[0] = run
    if silent is not None:
        told = ~silent.take(places)
        places, out = places[told], np.ascontiguousarray(out[:, told])
    return _spread(out), places.searchsorted(firsts)


def _meant(word: Hashes, concept: NDArray[np.uint8], sentences: Indexes) -> tuple[Indexes, Indexes]:
    """Return the features of concepts, and which is the first of each sentence: its beginning, concept 0."""
    found = concept.nonzero()[0]
    place = np.concatenate([sentences * 2, found * 2 + 1])
    order = place.argsort(kind="stable")
    place = place.take(order)
    kind = np.zeros(order.size, np.uint64)
    kind[order >= sentences.size] = concept.take(found)
    firsts = (order < sentences.size).nonzero()[0]
    number = np.zeros(order.size, np.int64)
    number[firsts] = 1
    number.cumsum(out=number)
    at = place >> 1
    before = np.zeros(word.size + 1, np.uint64)
    before[1:] = word
    before[sentences] = 0
    behind = np.zeros(word.size + 1, np.uint64)
    behind[:-2] = word[1:]
    behind[sentences[1:] - 1] = 0
    real = (kind != 0).astype(np.uint64)
    kind += np.uint64(1)
    after = []
    for step in range(1, 5):
        ahead = np.zeros(order.size, np.uint64)
        if order.size > step:
            ahead[:-step] = kind[step:] * (number[step:] == number[:-step])
        after.append(ahead)
    near = np.zeros(order.size, np.uint64)
    near[:-1] = (place[1:] - place[:-1]) <= _NEAR
    out = np.empty((CONCEPT_ORDERS, order.size), np.uint64)
    out[0] = kind * _ODD[10]
    out[1] = kind * _ODD[11] + behind.take(at) * real * _ODD[3]
    out[2] = kind * _ODD[12] + before.take(at) * real * _ODD[4]
    pair = kind * _ODD[13]
    for row, ahead in enumerate(after, start=3):
        np.add(pair, ahead * _ODD[6], out=out[row])
    out[7] = kind * _ODD[1] + after[0] * _ODD[2] + near * _ODD[7]
    out[8] = kind * _ODD[5] + after[0] * _ODD[9] + after[1] * _ODD[8]
    return _spread(out), firsts


def _spread(hashes: Hashes) -> Indexes:
    """Return the buckets of hashes, which it changes."""
    hashes ^= hashes >> _FOLD
    hashes *= _ODD[0]
    hashes ^= hashes >> _FOLD
    hashes *= _ODD[2]
    hashes >>= _SHIFT
    return hashes.view(np.int64)


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
    return flags.nonzero()[0]


def _cut(firsts: Indexes, words: int) -> Indexes:
    """Return the first words of sentences, of which none is longer than MAX_WORDS. words: how many there are."""
    lengths = np.empty_like(firsts)
    np.subtract(firsts[1:], firsts[:-1], out=lengths[:-1])
    lengths[-1] = words - firsts[-1]
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

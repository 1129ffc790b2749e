"""Tables the recogniser is built on: which words are listed, and samples as arrays of word numbers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from training.ner import gazetteers
from training.ner.corpora import ENTITIES

from sallyport.detect.ner import words as lexical

Spans = Sequence[tuple[int, int, str]]


@dataclass(slots=True)
class Tables:
    """What the shipped weights hold of words: see builtin.Weights."""

    listed: npt.NDArray[np.uint32]
    listed_bits: npt.NDArray[np.uint32]
    listed_word: npt.NDArray[np.uint16]
    pairs: npt.NDArray[np.uint32]
    pairs_bits: npt.NDArray[np.uint8]
    triples: npt.NDArray[np.uint32]
    triples_bits: npt.NDArray[np.uint8]
    vocabulary: int


def tables(training: Iterable[str], plain: Iterable[str], least: int = 3) -> Tables:
    """Build the tables: a vocabulary of words seen `least` times in training texts, the lists, and from both kinds of
    text the words that are common in lower case, and those that are mostly capitalised."""
    counts: Counter[str] = Counter()
    lower: Counter[str] = Counter()
    upper: Counter[str] = Counter()
    for kind, texts in (("training", training), ("plain", plain)):
        for text in texts:
            before = "."
            for word in lexical.words_of(text)[0]:
                spelling = lexical.folded(word)
                if kind == "training":
                    counts[spelling] += 1
                if word.isalpha():
                    if word.islower():
                        lower[spelling] += 1
                    elif before not in '.!?:\n\n"' and word[0].isupper():
                        upper[spelling] += 1
                before = word
    bits: dict[str, int] = {}
    number = {name: n for n, name in enumerate(lexical.LISTS)}
    lists = gazetteers.lists()
    for name, members in lists.words.items():
        for word in members:
            bits[word] = bits.get(word, 0) | 1 << number[name]
    everyday = {w for part in gazetteers.lorem().values() for w in part} | gazetteers.everyday()
    for word in everyday | {w for w, n in lower.items() if n >= 3 and n > upper[w]}:
        bits[word] = bits.get(word, 0) | 1 << number["common"]
    for word, n in upper.items():
        if n >= 3 and n > 4 * lower[word]:
            bits[word] = bits.get(word, 0) | 1 << number["capitalised"]
    vocabulary = sorted(w for w, n in counts.items() if n >= least)
    rows = {w: n + 1 for n, w in enumerate(vocabulary)}
    by_digest = {lexical.digest(w): (bits.get(w, 0), rows.get(w, 0)) for w in bits.keys() | rows.keys()}
    listed = np.array(sorted(by_digest), np.uint32)
    values = np.array([by_digest[int(d)] for d in listed], np.uint32)
    return Tables(
        listed,
        values[:, 0].copy(),
        values[:, 1].astype(np.uint16),
        *_sequences(lists, 2),
        *_sequences(lists, 3),
        len(vocabulary) + 1,
    )


def _sequences(lists: gazetteers.Lists, size: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """Return ascending digests of the listed names of `size` words, and the kinds they are of as bits."""
    kinds: dict[int, int] = {}
    for kind, sequences in enumerate(lists.sequences):
        for words in sequences:
            if len(words) == size:
                digests = np.array([lexical.digest(w) for w in words], np.uint32)
                number = int(lexical.sequence_digests(digests, size)[0])
                kinds[number] = kinds.get(number, 0) | 1 << kind
    ordered = sorted(kinds)
    return np.array(ordered, np.uint32), np.array([kinds[n] for n in ordered], np.uint8)


@dataclass(slots=True)
class Spellings:
    """Numbers spellings as they come; gives their features as arrays."""

    tables: Tables
    number: dict[str, int] = field(default_factory=dict)
    digests: list[int] = field(default_factory=list)
    shapes: list[int] = field(default_factory=list)
    ngrams: list[npt.NDArray[np.int64]] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    known: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        t = self.tables
        self.known = {
            int(d): (int(b), int(w)) for d, b, w in zip(t.listed, t.listed_bits, t.listed_word, strict=True)
        }

    def of(self, word: str) -> int:
        """Return the number of a word as written."""
        at = self.number.get(word)
        if at is None:
            at = self.number[word] = len(self.number)
            spelling = lexical.folded(word)
            digest = lexical.digest(spelling)
            self.digests.append(digest)
            self.shapes.append(lexical.shape(word))
            self.ngrams.append(np.array(lexical.ngram_rows(spelling), np.int64))
            bits, row = self.known.get(digest, (0, 0))
            self.bits.append(bits)
            self.rows.append(row)
        return at


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text: word numbers (n,), surroundings (n, SURROUNDINGS), tags (n,)."""

    words: npt.NDArray[np.int64]
    around: npt.NDArray[np.float32]
    tags: npt.NDArray[np.int64]


def encode(text: str, spans: Spans, spellings: Spellings) -> Encoded:
    """Return a text as arrays; a name that does not begin and end with a word is widened to the words it touches."""
    words, starts, ends = lexical.words_of(text)
    ids = np.array([spellings.of(w) for w in words], np.int64)
    tags = np.zeros(len(words), np.int64)
    for start, end, entity in spans:
        inside = list(range(*_range(starts, ends, start, end)))
        if not inside:
            continue
        base = 1 + 4 * ENTITIES.index(entity)
        if len(inside) == 1:
            tags[inside[0]] = base + 3
        else:
            tags[inside[0]] = base
            tags[inside[1:-1]] = base + 1
            tags[inside[-1]] = base + 2
    digests = np.array([spellings.digests[i] for i in ids], np.uint32)
    around = lexical.surroundings(
        np.array([spellings.shapes[i] for i in ids], np.int64),
        lexical.spaced_before(starts, ends),
        lexical.kinds_of(
            lexical.sequence_digests(digests, 2), spellings.tables.pairs, spellings.tables.pairs_bits
        ),
        lexical.kinds_of(
            lexical.sequence_digests(digests, 3), spellings.tables.triples, spellings.tables.triples_bits
        ),
    )
    return Encoded(ids, around, tags)


def _range(starts: list[int], ends: list[int], start: int, end: int) -> tuple[int, int]:
    low = int(np.searchsorted(ends, start, side="right"))
    return low, int(np.searchsorted(starts, end, side="left"))

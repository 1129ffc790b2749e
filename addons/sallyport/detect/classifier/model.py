"""The network that judges windows of sentences: embed, sum, one hidden layer per kind of surface.

A text is as suspicious as its most suspicious window of one to four sentences, so that what surrounds a
planted sentence cannot hide it. What stands around a window is read as its surroundings, apart from it; and how far
a window speaks of what the rest of its text speaks of.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sallyport.detect.classifier.concepts import Concepts
from sallyport.detect.classifier.features import (
    CONCEPT_ORDERS,
    MAX_WORDS,
    ORDERS,
    RUNS,
    Indexes,
    Topics,
    Words,
    blocks,
)

SCALES = (1, 2, 4)
"""Sentences in a window."""

REACH = 5
"""Sentences on either side of a window that are read with it: an order stands out where nothing else orders."""

SHORT = 8
"""Words below which a window counts as this long, so that two words alone convince nobody."""

BELONGING = 4
"""Numbers that tell how far a window belongs to its text."""

FEW = 64
"""Sentences of a text up to which its windows are kept."""

MOST = 32767 // max(ORDERS, RUNS, CONCEPT_ORDERS)
"""Steps that a number of the table may have, so that the features of a word can be added in sixteen bits."""

ROWS = 96
"""Windows judged at once: few enough that BLAS does not wake its threads."""

PART = 64 * ROWS
"""Windows whose sums are in memory at once."""

_WINDOWS_S = 1e-6
"""Processor time that the windows of a sentence take, before the first of them is judged."""

type Look = Callable[[float], None]
"""Called now and then with the processor time that the next step needs; it may raise, which ends the work."""

type Floats = NDArray[np.float32]
type Places = NDArray[np.int32]
type Steps = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Head:
    """The layers of one surface class: (2 * width + BELONGING, hidden), (hidden,), (hidden,), scalar."""

    inner: Floats
    inner_bias: Floats
    outer: Floats
    outer_bias: float


@dataclass(frozen=True, slots=True)
class Window:
    """The most suspicious window of a text.

    logit: log-odds before calibration. start, end: code points; end reaches to the next sentence.
    sentences: how many the text has.
    """

    logit: float
    start: int
    end: int
    sentences: int


@dataclass(frozen=True, slots=True)
class Network:
    """Trained weights.

    places: (features.BUCKETS,), the row of the table that a feature has; 0 for those too rare to be known.
    table: (rows, width), steps of its scale, at most MOST; the first row is zeros. concepts: those it was trained with.
    """

    places: Places
    table: Steps
    scale: float
    heads: dict[str, Head]
    concepts: Concepts

    def judge(self, text: str, head: str, look: Look = lambda needed_s: None) -> Window | None:
        """Return the window that convinces most; None for a text without words. Raises what look raises."""
        parts = []
        for piece in blocks(text, self.concepts):
            look(0.0)
            parts.append(self._sums(piece))
        if not parts:
            return None
        if len(parts) == 1:
            sums, starts, lengths, topics = parts[0]
        else:
            sums, starts, lengths, topics = (np.concatenate(part) for part in zip(*parts, strict=True))
        look(len(sums) * _WINDOWS_S)
        low, high, first, last = windows(len(sums))
        read = Read(sums, lengths, topics)
        logits = np.empty(low.size, np.float32)
        for begin in range(0, low.size, PART):
            look(0.0)
            part = slice(begin, begin + PART)
            pool = pooled(read, part, low[part], high[part], first[part], last[part])
            logits[part] = self._logits(head, pool)
        best = int(logits.argmax())
        until = int(high[best])
        end = int(starts[until]) if until < starts.size else len(text)
        return Window(float(logits[best]), int(starts[low[best]]), end, starts.size)

    def _sums(self, read: Words) -> tuple[Floats, Indexes, Indexes, Topics]:
        """Return of every sentence the sum of its features' vectors, (sentences, width), its first letter and how many
        words it has; and the topics of all words.
        """
        firsts = read.sentences
        sums = self._added(read.buckets, firsts)
        sums += self._added(read.runs, read.first_runs)
        sums += self._added(read.concepts, read.first_concepts)
        sums *= np.float32(self.scale)
        lengths = np.empty_like(firsts)
        np.subtract(firsts[1:], firsts[:-1], out=lengths[:-1])
        lengths[-1] = read.starts.size - firsts[-1]
        return sums, read.starts.take(firsts), lengths, read.topics

    def _added(self, buckets: Indexes, firsts: Indexes) -> Floats:
        """Return the sums over sentences of the vectors of features, (orders, items) to (sentences, width)."""
        places = self.places.take(buckets, mode="clip")
        rows = self.table.take(places[0], axis=0, mode="clip")
        for order in places[1:]:
            rows += self.table.take(order, axis=0, mode="clip")
        return np.add.reduceat(rows.astype(np.float32), firsts, axis=0)

    def _logits(self, head: str, pool: Floats) -> Floats:
        """Return the log-odds of pooled windows: (windows, 2 * width + BELONGING) to (windows,)."""
        layers = self.heads[head]
        out = np.empty(len(pool), np.float32)
        for first in range(0, len(pool), ROWS):
            hidden = pool[first : first + ROWS] @ layers.inner
            hidden += layers.inner_bias
            np.maximum(hidden, 0.0, out=hidden)
            np.matmul(hidden, layers.outer, out=out[first : first + ROWS])
        out += np.float32(layers.outer_bias)
        return out


type Bounds = tuple[Indexes, Indexes, Indexes, Indexes]


def windows(sentences: int) -> Bounds:
    """Return first and last-plus-one sentence of every window of a text, and of what is read with it."""
    return _few(sentences) if sentences <= FEW else _windows(sentences)


def _windows(sentences: int) -> Bounds:
    scales = [s for s in SCALES if s <= sentences]
    low = np.concatenate([np.arange(sentences - s + 1) for s in scales])
    high = low + np.repeat(scales, [sentences - s + 1 for s in scales])
    return low, high, np.maximum(low - REACH, 0), np.minimum(high + REACH, sentences)


_few = cache(_windows)


class Read:
    """A text's sentences as its windows are summed from them. sums: (sentences, width).

    total, counted: the sums and the words up to each sentence. belongs: how far each window belongs to the text.
    """

    def __init__(self, sums: Floats, lengths: Indexes, topics: Topics) -> None:
        count, width = sums.shape
        self.total: Floats = np.empty((count + 1, width), np.float32)
        self.total[0] = 0.0
        sums.cumsum(axis=0, out=self.total[1:])
        self.counted = _running(lengths)
        self.belongs = belonging(topics, lengths)


def pooled(read: Read, part: slice, low: Indexes, high: Indexes, first: Indexes, last: Indexes) -> Floats:
    """Return what is known of a part of the windows of a text, (windows, 2 * width + BELONGING).

    The sums of sentences over windows and over what is around them, both divided by the root of their length in
    words; and how far windows belong to the text. low, high, first, last: of the windows of the part.
    """
    total, counted = read.total, read.counted
    width = total.shape[1]
    size = counted.take(high) - counted.take(low)
    out = np.empty((low.size, 2 * width + BELONGING), np.float32)
    near, around = out[:, :width], out[:, width : 2 * width]
    np.subtract(total.take(high, axis=0), total.take(low, axis=0), out=near)
    np.subtract(total.take(last, axis=0), total.take(first, axis=0), out=around)
    around -= near
    near *= root(size)[:, None]
    around *= root(counted.take(last) - counted.take(first) - size)[:, None]
    out[:, 2 * width :] = read.belongs[part]
    return out


def belonging(topics: Topics, lengths: Indexes) -> Floats:
    """Return how far each window of a text speaks of what the rest speaks of, (windows, BELONGING).

    Of its long words, the share that no sentence outside of it has, the more the longer the rest; the length of the
    rest; how many there are; how many of them the rest has. topics, lengths: of the words and sentences of the text.
    """
    low, high, _, _ = windows(lengths.size)
    telling = topics.nonzero()[0]
    sentence = np.repeat(np.arange(lengths.size), lengths).take(telling)
    words_in, told_in = _running(lengths), _running(np.bincount(sentence, minlength=lengths.size))
    told = told_in.take(high) - told_in.take(low)
    own = _alone(topics.take(telling), sentence, lengths.size)
    rest = words_in[-1] - (words_in.take(high) - words_in.take(low))
    out = np.empty((low.size, BELONGING), np.float32)
    out[:, 1] = np.minimum(np.log1p(rest) / 5, 1.4)
    out[:, 0] = own / np.maximum(told, 1) * out[:, 1]
    out[:, 2] = np.log1p(told) / 3
    out[:, 3] = np.log1p(told - own) / 2
    return out


def _alone(topic: Topics, sentence: Indexes, count: int) -> Indexes:
    """Return how many words of each window no sentence outside of it has; topic, sentence: of each word.

    A word is alone in every window that holds the first and the last sentence it stands in.
    """
    order = topic.argsort(kind="stable")
    topic, sentence = topic.take(order), sentence.take(order)
    begins = np.ones(topic.size + 1, bool)
    np.not_equal(topic[1:], topic[:-1], out=begins[1:-1])
    places = begins.nonzero()[0]
    since, until, times = sentence.take(places[:-1]), sentence.take(places[1:] - 1), np.diff(places)
    scales = np.array([s for s in SCALES if s <= count])
    kind, word = (until - since < scales[:, None]).nonzero()
    scale, begin, weight = scales.take(kind), kind * (count + 1), times.take(word)
    size = scales.size * (count + 1)
    steps = np.bincount(begin + np.maximum(until.take(word) - scale + 1, 0), weight, size)
    steps -= np.bincount(begin + np.minimum(since.take(word), count - scale) + 1, weight, size)
    rows = steps.reshape(scales.size, count + 1).cumsum(axis=1).astype(np.int64)
    return np.concatenate([row[: count - scale + 1] for row, scale in zip(rows, SCALES, strict=False)])


def _running(counts: Indexes) -> Indexes:
    total = np.zeros(counts.size + 1, np.int64)
    counts.cumsum(out=total[1:])
    return total


def root(words_in: Indexes) -> Floats:
    """Return what sums over so many words are multiplied with."""
    return _ROOTS.take(words_in, mode="clip")


_ROOTS = (1.0 / np.sqrt(np.maximum(np.arange((SCALES[-1] + 2 * REACH) * MAX_WORDS + 1), SHORT))).astype(
    np.float32
)

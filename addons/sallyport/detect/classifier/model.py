"""The network that judges windows of sentences: embed, sum, one hidden layer per kind of surface.

A text is as suspicious as its most suspicious window of one to four sentences, so that what surrounds a
planted sentence cannot hide it. What stands around a window is read as its surroundings, apart from it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sallyport.detect.classifier.features import Indexes, Words, words

SCALES = (1, 2, 4)
"""Sentences in a window."""

REACH = 5
"""Sentences on either side of a window that are read with it: an order stands out where nothing else orders."""

SHORT = 8
"""Words below which a window counts as this long, so that two words alone convince nobody."""

BLOCK = 1500
"""Words whose vectors are fetched at once."""

ROWS = 512
"""Windows judged at once: few enough that BLAS does not wake its threads."""

type Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Head:
    """The layers of one surface class: (2 * width, hidden), (hidden,), (hidden,), scalar."""

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
    """Trained weights. table: (features.BUCKETS, width)."""

    table: Floats
    heads: dict[str, Head]

    def judge(self, text: str, head: str) -> Window | None:
        """Return the window that convinces most; None for a text without words. Never raises."""
        read = words(text)
        if not read.sentences.size:
            return None
        sums = self._sums(read)
        lengths = np.diff(read.sentences, append=read.starts.size)
        low, high = windows(read.sentences.size)
        logits = self._logits(head, pooled(sums, lengths, low, high))
        best = int(logits.argmax())
        first, last = int(low[best]), int(high[best])
        end = int(read.starts[read.sentences[last]]) if last < read.sentences.size else len(text)
        start = int(read.starts[read.sentences[first]])
        return Window(float(logits[best]), start, end, read.sentences.size)

    def _sums(self, read: Words) -> Floats:
        """Return the sum of the vectors of every sentence's features, (sentences, width).

        Taken in blocks that stay in the processor's cache.
        """
        out = np.empty((read.sentences.size, self.table.shape[1]), np.float32)
        bounds = np.append(read.sentences, read.starts.size)
        first = 0
        while first < read.sentences.size:
            last = max(first + 1, int(bounds.searchsorted(bounds[first] + BLOCK, side="right")) - 1)
            low, high = bounds[first], bounds[last]
            rows = self.table.take(read.buckets[:, low:high], axis=0).sum(axis=0)
            np.add.reduceat(rows, bounds[first:last] - low, axis=0, out=out[first:last])
            first = last
        return out

    def _logits(self, head: str, pool: Floats) -> Floats:
        """Return the log-odds of pooled windows: (windows, 2 * width) to (windows,)."""
        layers = self.heads[head]
        out = np.empty(len(pool), np.float32)
        for first in range(0, len(pool), ROWS):
            hidden = pool[first : first + ROWS] @ layers.inner
            hidden += layers.inner_bias
            np.maximum(hidden, 0.0, out=hidden)
            np.matmul(hidden, layers.outer, out=out[first : first + ROWS])
        out += np.float32(layers.outer_bias)
        return out


@lru_cache(maxsize=256)
def windows(sentences: int) -> tuple[Indexes, Indexes]:
    """Return first and last-plus-one sentence of every window of a text."""
    scales = [s for s in SCALES if s <= sentences]
    low = np.concatenate([np.arange(sentences - s + 1) for s in scales])
    high = low + np.repeat(scales, [sentences - s + 1 for s in scales])
    return low, high


def pooled(sums: Floats, lengths: Indexes, low: Indexes, high: Indexes) -> Floats:
    """Return the sums of sentences over windows and over what is around them, (windows, 2 * width).

    Both divided by the root of their length in words.
    """
    count, width = sums.shape
    total = np.zeros((count + 1, width), np.float32)
    np.cumsum(sums, axis=0, out=total[1:])
    counted = np.zeros(count + 1, np.int64)
    np.cumsum(lengths, out=counted[1:])
    first, last = np.maximum(low - REACH, 0), np.minimum(high + REACH, count)
    size = counted[high] - counted[low]
    out = np.empty((low.size, 2 * width), np.float32)
    near, around = out[:, :width], out[:, width:]
    np.subtract(total[high], total[low], out=near)
    np.subtract(total[last], total[first], out=around)
    around -= near
    near *= root(size)[:, None]
    around *= root(counted[last] - counted[first] - size)[:, None]
    return out


def root(words_in: Indexes) -> Floats:
    """Return what sums over so many words are multiplied with."""
    return (1.0 / np.sqrt(np.maximum(words_in, SHORT))).astype(np.float32)

"""Words of many languages that mean much the same to an attacker: "ignore", "vergiss", "set aside".

A concept is a number from 1; which words it has is written in scripts/training/injection/concepts. Known here
are hashes alone: of words, of stems, of pairs of words. Looking one up costs two reads of a small table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

_SLOTS = 1 << 16
_HIGH, _LOW = np.uint64(48), np.uint64(20)
_MASK = np.uint64(_SLOTS - 1)

type Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Concepts:
    """Concepts by hash.

    keys: (entries,) hashes. numbers: (entries,) the concept of each. The first entry means nothing, 0.
    high, low: (65536,) places in keys by two parts of a hash, 0 where there is none; a key stands in one.
    """

    keys: Hashes
    numbers: NDArray[np.uint8]
    high: NDArray[np.uint16]
    low: NDArray[np.uint16]

    @classmethod
    def known(cls, numbers: Mapping[int, int]) -> Self:
        """Take concepts by hash. One that finds both its slots taken, of thousands a few, is left out."""
        keys, kept = [0], [0]
        high, low = np.zeros(_SLOTS, np.uint16), np.zeros(_SLOTS, np.uint16)
        for key, number in sorted(numbers.items()):
            for table, place in ((high, key >> int(_HIGH)), (low, key >> int(_LOW) & _SLOTS - 1)):
                if not table[place]:
                    table[place] = len(keys)
                    keys.append(key)
                    kept.append(number)
                    break
        return cls(np.array(keys, np.uint64), np.array(kept, np.uint8), high, low)

    def of(self, words: Hashes, stems: Hashes, pairs: Hashes, firsts: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the concept of each word, 0 for none: of the pair it ends, else of itself, else of its stem.

        firsts: words that begin a sentence; they end no pair.
        """
        found = self._look(pairs)
        found[firsts] = 0
        for hashes in (words, stems):
            np.copyto(found, self._look(hashes), where=found == 0)
        return found

    def _look(self, hashes: Hashes) -> NDArray[np.uint8]:
        out = np.zeros(hashes.size, np.uint8)
        for table, part in ((self.high, hashes >> _HIGH), (self.low, (hashes >> _LOW) & _MASK)):
            entries = table.take(part.view(np.int64))
            some = entries.nonzero()[0]
            if some.size:
                entry = entries.take(some)
                same = self.keys.take(entry) == hashes.take(some)
                out[some[same]] = self.numbers.take(entry[same])
        return out

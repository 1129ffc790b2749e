"""Some ten thousand words, all found in one go, each with where it stands.

A word is known by the number that its first bytes are, and what begins at each byte of a text is such a number too: a
table tells where a word may begin and of what lengths, and only there its other bytes are asked for. All of it are
steps over whole arrays. Nothing is learnt from texts, so that one that is new costs as much as one that is not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

type Places = NDArray[np.int64]
type _Keys = NDArray[np.uint64]

_CHUNK = 1 << 16
"""Bytes that are looked through at once: what is made of them stays in the processor's caches."""

_LONGEST = 71
"""Bytes of a word that are looked for; of a longer one the beginning is enough."""

_SIZES = (1, 2, 3, 4, 8)
"""First bytes that are taken for one number: as many of them as a word has, eight at most."""

_TABLE_BITS = 18
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_OTHERS = np.uint64(_TABLE_BITS)
_ONE = np.uint64(1)
_IS_WORD = np.isin(np.arange(256), [*b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"])


@dataclass(frozen=True, slots=True)
class Word:
    """Bytes that are looked for. before, behind: whether a word has to begin or to end there, as \\b asks."""

    raw: bytes
    before: bool = False
    behind: bool = False


class WordIndex:
    """Words, by their place in the sequence given. None of them may be empty. Threads may share one."""

    def __init__(self, words: Sequence[Word]) -> None:
        spelled: dict[bytes, list[int]] = {}
        for number, word in enumerate(words):
            spelled.setdefault(word.raw[:_LONGEST], []).append(number)
        self._most = max(map(len, spelled), default=0)
        groups: dict[int, list[bytes]] = {}
        for raw in spelled:
            groups.setdefault(max(size for size in _SIZES if size <= len(raw)), []).append(raw)
        self._groups: list[tuple[_Group, _Variants]] = []
        for size, each in groups.items():
            each.sort(key=len)
            variants = _Variants([[(n, words[n]) for n in spelled[raw]] for raw in each])
            self._groups.append((_Group(size, each, variants.at_edges), variants))

    def occurrences(
        self, raw: bytes, check: Callable[[], None] = lambda: None, *, once_in: int = 0
    ) -> tuple[Places, Places]:
        """Return the words that occur and the byte at which each begins; in no order. raw: in small letters.

        check: called for every part of a long text; it may raise, which ends this. once_in: bytes of a cell, of which
        a part has a whole number; where words stand close together, one is told of those of a word that begin in one.
        """
        numbers, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for low in range(0, len(raw), _CHUNK):
            check()
            # A byte before and one behind tell whether a word begins and ends here.
            first = max(0, low - 1)
            part = raw[first : low + _CHUNK + self._most + 1]
            edges = _edges(part)
            for number, at in self._within(part, edges):
                inside = (at >= low - first) & (at < low - first + _CHUNK)
                number, at = number[inside], at[inside] + first
                if number.size * once_in > 4 * len(part):
                    _, one = np.unique(number * _CHUNK + (at - low) // once_in, return_index=True)
                    number, at = number[one], at[one]
                numbers.append(number)
                places.append(at)
        return np.concatenate(numbers), np.concatenate(places)

    def _within(self, part: bytes, edges: NDArray[np.bool]) -> Iterator[tuple[Places, Places]]:
        for group, variants in self._groups:
            if len(part) >= group.size:
                yield variants.fitting(*group.found(part, edges), edges)


class _Variants:
    """Words that are spelled alike and have to begin or to end where words do, or not; by their spelling."""

    def __init__(self, spelled: Sequence[Sequence[tuple[int, Word]]]) -> None:
        flat = [each for words in spelled for each in words]
        self._numbers = np.array([number for number, _ in flat], np.int64)
        self._before = np.array([word.before for _, word in flat], bool)
        self._behind = np.array([word.behind and len(word.raw) <= _LONGEST for _, word in flat], bool)
        self._lengths = np.array([min(len(word.raw), _LONGEST) for _, word in flat], np.int64)
        self._begins = np.zeros(len(spelled) + 1, np.int64)
        np.cumsum([*map(len, spelled)], out=self._begins[1:])
        self._is_alone = bool((np.diff(self._begins) == 1).all())
        self.at_edges = [all(word.before for _, word in words) for words in spelled]
        """By spelling: whether it counts only where a word begins or ends."""

    def fitting(self, spelled: Places, at: Places, edges: NDArray[np.bool]) -> tuple[Places, Places]:
        """Return the words of what is spelled so, at each place, as far as they begin and end as they have to."""
        if self._is_alone:
            each = spelled
        else:
            begins = self._begins.take(spelled)
            times = self._begins.take(spelled + 1) - begins
            behind = np.cumsum(times)
            each = np.arange(int(times.sum())) + np.repeat(begins - behind + times, times)
            at = np.repeat(at, times)
        fits = edges.take(at) | ~self._before.take(each)
        fits &= edges.take(at + self._lengths.take(each)) | ~self._behind.take(each)
        return self._numbers.take(each[fits]), at[fits]


class _Group:
    """Spellings of at least `size` bytes, the shortest first, by the number that so many of their first bytes are.

    at_edges: by spelling, whether it counts only where a word begins or ends.
    """

    def __init__(self, size: int, spelled: Sequence[bytes], at_edges: Sequence[bool]) -> None:
        self.size = size
        self._shift = np.uint64(64 - _TABLE_BITS)
        self._steps = range(0, max(map(len, spelled)), size)
        """Of the pieces that spellings are compared by; the last of each ends with it."""
        keys = _keys(b"".join(spelled), size)
        lengths = np.array([*map(len, spelled)], np.int64)
        begins = np.cumsum(lengths) - lengths
        spread = keys.take(begins) * _SPREAD
        self._anywhere = np.zeros(1 << _TABLE_BITS, np.uint8)
        """By first bytes: 1 where a spelling begins with them, 2 where it does so at an edge."""
        np.bitwise_or.at(self._anywhere, self._slots(spread), np.where(at_edges, np.uint8(2), np.uint8(1)))
        self._lengths = np.zeros(1 << _TABLE_BITS, np.uint64) if lengths.max() > size else None
        """By first bytes, in another order: the lengths of the spellings, a bit for each above `size`."""
        if self._lengths is not None:
            over = (lengths - size).astype(np.uint64)
            np.bitwise_or.at(self._lengths, self._slots(spread << _OTHERS), _ONE << over)
        sums = self._sums(keys, begins, lengths)
        self._order = np.argsort(sums, kind="stable")
        self._sorted = sums.take(self._order)
        self._likely = np.zeros(1 << _TABLE_BITS, bool)
        """By the beginning of their sums, which are made of all bytes."""
        self._likely[self._slots(sums)] = True
        self._keys, self._begins = keys, begins

    def _slots(self, spread: _Keys) -> NDArray[np.int64]:
        return (spread >> self._shift).view(np.int64)

    def _pieces(self, at: Places, lengths: Places) -> Iterator[tuple[NDArray[np.bool] | None, Places]]:
        """Yield where the pieces of texts are, of those that have as many; None for all of them."""
        yield None, at
        for step in self._steps[1:]:
            longer = lengths > step
            if not longer.any():
                return
            yield longer, at[longer] + np.minimum(step, lengths[longer] - self.size)

    def _sums(self, keys: _Keys, at: Places, lengths: Places) -> _Keys:
        """Return a number for each text of so many bytes, made of all of them."""
        sums = lengths.astype(np.uint64)
        for longer, places in self._pieces(at, lengths):
            mine = sums if longer is None else sums[longer]
            mine = (mine ^ keys.take(places)) * _SPREAD
            mine ^= mine >> np.uint64(29)
            if longer is None:
                sums = mine
            else:
                sums[longer] = mine
        return sums

    def found(self, part: bytes, edges: NDArray[np.bool]) -> tuple[Places, Places]:
        """Return the spellings that occur, at edges where they have to, and where they begin."""
        keys = _keys(part, self.size)
        spread = keys * _SPREAD
        fits = self._anywhere.take(self._slots(spread)) & (
            edges[: keys.size].view(np.uint8) * np.uint8(2) + np.uint8(1)
        )
        at = (fits != 0).nonzero()[0]
        lengths = np.full(at.size, self.size)
        if self._lengths is not None and at.size:
            bits = self._lengths.take(self._slots(spread.take(at) << _OTHERS))
            most = int(np.bitwise_or.reduce(bits)).bit_length()
            which, over = (bits[:, None] >> np.arange(most, dtype=np.uint64) & _ONE).nonzero()
            at, lengths = at.take(which), over + self.size
            whole = at + lengths <= len(part)
            at, lengths = at[whole], lengths[whole]
        sums = self._sums(keys, at, lengths)
        likely = self._likely.take(self._slots(sums)).nonzero()[0]
        sums, at, lengths = sums.take(likely), at.take(likely), lengths.take(likely)
        slot = np.minimum(np.searchsorted(self._sorted, sums), self._sorted.size - 1)
        known = self._sorted.take(slot) == sums
        spelled, at, lengths = self._order.take(slot[known]), at[known], lengths[known]
        same = np.ones(at.size, bool)
        mine = self._pieces(self._begins.take(spelled), lengths)
        for (longer, theirs), (_, places) in zip(mine, self._pieces(at, lengths), strict=True):
            equal = self._keys.take(theirs) == keys.take(places)
            if longer is None:
                same &= equal
            else:
                same[longer] &= equal
        return spelled[same], at[same]


def _keys(raw: bytes, size: int) -> _Keys:
    """Return the next `size` bytes from each on as a number, of all that has so many."""
    count = len(raw) - size + 1
    if size == 3:
        pairs = np.ndarray((count,), "<u2", raw, strides=(1,)).astype(np.uint64)
        return pairs | np.frombuffer(raw, np.uint8, count, 2).astype(np.uint64) << np.uint64(16)
    return np.ndarray((count,), f"<u{size}", raw, strides=(1,)).astype(np.uint64)


def _edges(part: bytes) -> NDArray[np.bool]:
    """Return whether a word begins or ends before each byte and behind the last."""
    is_word = np.zeros(len(part) + 2, bool)
    is_word[1:-1] = _IS_WORD.take(np.frombuffer(part, np.uint8))
    edges: NDArray[np.bool] = is_word[1:] != is_word[:-1]
    return edges

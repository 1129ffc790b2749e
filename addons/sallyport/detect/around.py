"""Where in a long text a rule is tried: around the words that its pattern asks for, as far as a match can reach.

All rules are worked out together, as arrays, since a long text has some hundred of them and some ten thousand words.
What else a pattern asks for is looked for near these words. Places are known by cells of the text.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from sallyport.detect.extent import Extent
from sallyport.detect.linear import Subject, Windows
from sallyport.detect.wordindex import Places

type Sets = tuple[int, ...]

BLOCK = 1024
"""Bytes of a part of a text in which what stands beside words is looked for."""

CELL = 64
"""Bytes of a part of a block; what is tried begins and ends with one."""

_AT_ONCE = 1 << 16
"""Words that are worked out together: what is made of them stays in the processor's caches."""

_WORTH_A_CALL = 512
"""Bytes that are looked through in the time that one more call takes."""

_NEAR = 64
"""Cells that may lie between all that a match holds; where it may be spread further, one set of words decides."""

_IS_DIGIT = np.isin(np.arange(256), [*b"0123456789"])


class Around:
    """What rules ask for: expressions, each of which is a word, or stands beside one.

    sets: by expression, the sets it stands in. in_parts: by rule, the sets of which each match holds an expression; the
    first decides. longest: by rule, how long a match can be.
    """

    def __init__(
        self,
        sets: Sequence[Collection[int]],
        in_parts: Mapping[int, Sets],
        longest: Sequence[Extent | None],
    ) -> None:
        self._in_parts = in_parts
        self._extents = {
            index: one
            for index, one in enumerate(longest)
            if one is not None and (in_parts.get(index) or one.digits)
        }
        """Of the rules that may be tried in parts."""
        self._sets = np.fromiter(chain.from_iterable(sets), np.int32)
        self._begins = np.zeros(len(sets) + 1, np.int64)
        np.cumsum([*map(len, sets)], out=self._begins[1:])
        self._last = int(self._sets.max(initial=0))

    def windows(
        self,
        subject: Subject,
        words: tuple[Places, Places],
        besides: Sequence[Sequence[int]],
        found: Sequence[int],
        check: Callable[[], None] = lambda: None,
    ) -> dict[int, Windows]:
        """Return where each of the rules found is to be tried; everywhere those that are not named.

        words: those that occur, and the byte at which each begins; of one that occurs often in a cell one is enough.
        besides: by block, the other expressions in it. check: called for every part of the work; it may raise.
        """
        reach = self._reach(subject, found)
        if not reach:
            return {}
        rules, chars = [*reach], np.array([*reach.values()], np.int64)
        held = self._held(rules, subject.most_bytes(chars), subject, words, besides, check)
        rule, cell = held.nonzero()
        gap = (2 * chars + _WORTH_A_CALL) // CELL
        first = _firsts(rule, np.diff(cell) > gap.take(rule[1:]))
        last = np.append(first[1:] - 1, rule.size - 1) if first.size else first
        rule = rule.take(first)
        low, high = subject.widened(cell.take(first) * CELL, (cell.take(last) + 1) * CELL, chars.take(rule))
        first = _firsts(rule, low[1:] > high[:-1])
        last = np.append(first[1:] - 1, rule.size - 1) if first.size else first
        parts = [*zip(low.take(first).tolist(), high.take(last).tolist(), strict=True)]
        ends = np.searchsorted(rule.take(first), np.arange(len(rules) + 1)).tolist()
        return {index: parts[ends[at] : ends[at + 1]] for at, index in enumerate(rules)}

    def _reach(self, subject: Subject, found: Sequence[int]) -> dict[int, int]:
        """Return how many characters a match has at most, for those of the rules that may be tried in parts."""
        extents = {index: one for index in found if (one := self._extents.get(index)) is not None}
        run = subject.longest_run() if any(one.runs for one in extents.values()) else 0
        reach = {index: one.chars + one.runs * run for index, one in extents.items()}
        return {index: chars for index, chars in reach.items() if 4 * chars < len(subject.raw)}

    def _held(
        self,
        rules: Sequence[int],
        most_bytes: NDArray[np.int64],
        subject: Subject,
        words: tuple[Places, Places],
        besides: Sequence[Sequence[int]],
        check: Callable[[], None],
    ) -> NDArray[np.bool]:
        """Return, (rules, cells), which hold a word of the first set of each rule, or its first digit, and all else
        near by. most_bytes: of a match of each rule.
        """
        cells = -(-len(subject.raw) // CELL)
        sets = [self._in_parts.get(index, ()) for index in rules]
        ranks = [
            [(at, held[rank]) for at, held in enumerate(sets) if len(held) > rank]
            for rank in range(max(map(len, sets)))
        ]
        rows = np.full(self._last + 1, -1, np.int32)
        asked = [one for rank in ranks for _, one in rank]
        rows[asked] = np.arange(len(asked))
        in_cells = self._in_cells(rows, len(asked), cells, words, besides, check)
        held = np.ones((len(rules), cells), bool)
        steps = -(-most_bytes // CELL)
        done = 0
        for place, rank in enumerate(ranks):
            mine = np.array([at for at, _ in rank])
            others = in_cells[done : done + len(rank)]
            done += len(rank)
            if place == 0:
                held[mine] = others
            else:
                _narrow(held, mine, others, steps.take(mine))
        digits = np.array([self._extents[index].digits for index in rules])
        numbers = self._numbers(subject.raw, digits, most_bytes, cells)
        bare = np.array([not one for one in sets])
        held[bare] = numbers[bare]
        mine = ((digits > 0) & ~bare).nonzero()[0]
        _narrow(held, mine, numbers[mine], steps.take(mine))
        return held

    def _in_cells(
        self,
        rows: NDArray[np.int32],
        count: int,
        cells: int,
        words: tuple[Places, Places],
        besides: Sequence[Sequence[int]],
        check: Callable[[], None],
    ) -> NDArray[np.bool]:
        """Return which cells hold an expression of each set that has a row: (rows, cells)."""
        out = np.zeros((count, cells), bool)
        asked = self._asked(rows)
        met, at = words
        for low in range(0, met.size, _AT_ONCE):
            check()
            row, place = asked.of(met[low : low + _AT_ONCE], at[low : low + _AT_ONCE])
            out[row, place // CELL] = True
        sizes = [*map(len, besides)]
        beside = np.fromiter(chain.from_iterable(besides), np.int64, sum(sizes))
        row, block = asked.of(beside, np.repeat(np.arange(len(besides)), sizes))
        in_blocks = np.zeros((count, len(besides)), bool)
        in_blocks[row, block] = True
        mine = np.unique(row)
        out[mine] |= np.repeat(in_blocks[mine], BLOCK // CELL, axis=1)[:, :cells]
        return out

    def _numbers(
        self, raw: bytes, digits: NDArray[np.int64], most_bytes: NDArray[np.int64], cells: int
    ) -> NDArray[np.bool]:
        """Return the cells in which a digit stands that has as many behind it within a match as each rule asks for:
        (rules, cells), all for a rule that asks for none.
        """
        out = np.ones((digits.size, cells), bool)
        places = _IS_DIGIT.take(np.frombuffer(raw, np.uint8)).nonzero()[0]
        begins = np.searchsorted(places, np.arange(cells) * CELL)
        is_empty = np.diff(begins, append=places.size) == 0
        for count in {*digits.tolist()} - {0}:
            ends = places[count - 1 :]
            size = np.full(places.size + 1, len(raw))  # one more, where cells behind the last digit begin
            size[: ends.size] = ends - places[: ends.size] + 1
            least = np.minimum.reduceat(size, begins)
            least[is_empty] = len(raw)
            mine = (digits == count).nonzero()[0]
            out[mine] = least <= most_bytes[mine, None]
        return out

    def _asked(self, rows: NDArray[np.int32]) -> "_Asked":
        row = rows.take(self._sets)
        asked = row >= 0
        kept = np.append(0, np.cumsum(asked))
        return _Asked(row[asked].astype(np.int64), kept.take(self._begins))


@dataclass(frozen=True, slots=True)
class _Asked:
    """The rows of the sets that expressions stand in, as far as they have one. begins: by expression."""

    rows: Places
    begins: Places

    def of(self, met: Places, at: Places) -> tuple[Places, Places]:
        """Return the rows of the expressions met, each with its place."""
        begins = self.begins.take(met)
        times = self.begins.take(met + 1) - begins
        behind = np.cumsum(times)
        each = np.arange(int(times.sum())) + np.repeat(begins - behind + times, times)
        return self.rows.take(each), np.repeat(at, times)


def _firsts(rule: NDArray[np.int64], parted: NDArray[np.bool]) -> NDArray[np.int64]:
    """Return where runs begin: at another rule, and where one is parted from what stands before it."""
    begins = np.ones(rule.size, bool)
    np.logical_or(np.diff(rule) != 0, parted, out=begins[1:])
    return begins.nonzero()[0]


def _narrow(
    held: NDArray[np.bool], mine: NDArray[np.int64], others: NDArray[np.bool], far: NDArray[np.int64]
) -> None:
    """Leave of what some rules hold the cells near others. far: by rule, how many cells may lie between, at least."""
    reached = 1
    while mine.size and reached <= _NEAR:
        others = _spread(others, max(1, reached // 2))
        near = far <= reached
        held[mine[near]] &= others[near]
        mine, far, others = mine[~near], far[~near], others[~near]
        reached *= 2


def _spread(cells: NDArray[np.bool], by: int) -> NDArray[np.bool]:
    """Return the cells with those that many beside them."""
    out = cells.copy()
    out[:, by:] |= cells[:, :-by]
    out[:, :-by] |= cells[:, by:]
    return out

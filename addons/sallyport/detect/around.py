"""Where in a long text a rule is tried: around the blocks that hold what its pattern asks for, as far as it reaches.

All rules are worked out together, as arrays, since a long text has some hundred of them and some thousand blocks.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from sallyport.detect.extent import Extent
from sallyport.detect.linear import Subject, Windows

type Sets = tuple[int, ...]

_WORTH_A_CALL = 2048
"""Bytes that are looked through in the time that one more call takes."""

_NEAR = 4
"""Blocks that may lie between all that a match holds; where it may be spread further, one set of words decides."""

_IS_DIGIT = np.isin(np.arange(256), [*b"0123456789"])


class Around:
    """What rules ask for in the blocks of a text, of `block` bytes each.

    sets: by expression, the sets it stands in. in_parts: by rule, the sets of which each match holds an expression; the
    first decides. longest: by rule, how long a match can be. overlap: bytes behind a block that an expression which
    begins in it may reach into.
    """

    def __init__(
        self,
        sets: Sequence[Collection[int]],
        in_parts: Mapping[int, Sets],
        longest: Sequence[Extent | None],
        block: int,
        overlap: int,
    ) -> None:
        self._in_parts = in_parts
        self._extents = {
            index: one
            for index, one in enumerate(longest)
            if one is not None and (in_parts.get(index) or one.digits)
        }
        """Of the rules that may be tried in parts."""
        self._block = block
        self._overlap = overlap
        self._sets = np.fromiter(chain.from_iterable(sets), np.int32)
        self._begins = np.zeros(len(sets) + 1, np.int64)
        np.cumsum([*map(len, sets)], out=self._begins[1:])
        self._last = int(self._sets.max(initial=0))

    def windows(
        self, subject: Subject, occurring: Sequence[Sequence[int]], found: Sequence[int]
    ) -> dict[int, Windows]:
        """Return where each of the rules found is to be tried; everywhere those that are not named.

        occurring: by block, the expressions that occur in it.
        """
        reach = self._reach(subject, found)
        if not reach:
            return {}
        rules, chars = [*reach], np.array([*reach.values()], np.int64)
        held = self._held(rules, subject.most_bytes(chars), subject, occurring)
        rule, block = held.nonzero()
        gap = (self._overlap + 2 * chars + _WORTH_A_CALL) // self._block
        first = _firsts(rule, np.diff(block) > gap.take(rule[1:]))
        last = np.append(first[1:] - 1, rule.size - 1) if first.size else first
        rule = rule.take(first)
        low, high = subject.widened(
            block.take(first) * self._block,
            (block.take(last) + 1) * self._block + self._overlap,
            chars.take(rule),
        )
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
        occurring: Sequence[Sequence[int]],
    ) -> NDArray[np.bool]:
        """Return, (rules, blocks), which hold a word of the first set of each rule, or its first digit, and all else
        near by. most_bytes: of a match of each rule.
        """
        sets = [self._in_parts.get(index, ()) for index in rules]
        ranks = [
            [(at, held[rank]) for at, held in enumerate(sets) if len(held) > rank]
            for rank in range(max(map(len, sets)))
        ]
        rows = np.full(self._last + 1, -1, np.int32)
        asked = [one for rank in ranks for _, one in rank]
        rows[asked] = np.arange(len(asked))
        in_blocks = self._in_blocks(rows, len(asked), occurring)
        held = np.ones((len(rules), len(occurring)), bool)
        steps = -(-most_bytes // self._block)
        done = 0
        for place, rank in enumerate(ranks):
            mine = np.array([at for at, _ in rank])
            others = in_blocks[done : done + len(rank)]
            done += len(rank)
            if place == 0:
                held[mine] = others
            else:
                _narrow(held, mine, others, steps)
        digits = np.array([self._extents[index].digits for index in rules])
        numbers = self._numbers(subject.raw, digits, most_bytes, len(occurring))
        bare = np.array([not one for one in sets])
        held[bare] = numbers[bare]
        mine = ((digits > 0) & ~bare).nonzero()[0]
        _narrow(held, mine, numbers[mine], steps)
        return held

    def _numbers(
        self, raw: bytes, digits: NDArray[np.int64], most_bytes: NDArray[np.int64], blocks: int
    ) -> NDArray[np.bool]:
        """Return the blocks in which a digit stands that has as many behind it within a match as each rule asks for:
        (rules, blocks), all for a rule that asks for none.
        """
        out = np.ones((digits.size, blocks), bool)
        places = _IS_DIGIT.take(np.frombuffer(raw, np.uint8)).nonzero()[0]
        block = places // self._block
        begins = np.searchsorted(block, np.arange(blocks))
        for count in {*digits.tolist()} - {0}:
            ends = places[count - 1 :]
            size = np.full(places.size + 1, len(raw))  # one more, where blocks behind the last digit begin
            size[: ends.size] = ends - places[: ends.size] + 1
            least = np.minimum.reduceat(size, begins)
            least[np.diff(begins, append=places.size) == 0] = len(raw)
            mine = (digits == count).nonzero()[0]
            out[mine] = least <= most_bytes[mine, None]
        return out

    def _in_blocks(
        self, rows: NDArray[np.int32], count: int, occurring: Sequence[Sequence[int]]
    ) -> NDArray[np.bool]:
        """Return which blocks hold an expression of each set that has a row: (rows, blocks)."""
        sizes = [*map(len, occurring)]
        met = np.fromiter(chain.from_iterable(occurring), np.int64, sum(sizes))
        block = np.repeat(np.arange(len(occurring)), sizes)
        begins = self._begins.take(met)
        times = self._begins.take(met + 1) - begins
        behind = np.cumsum(times)
        each = np.arange(int(times.sum())) + np.repeat(begins - behind + times, times)
        row = rows.take(self._sets.take(each))
        asked = row >= 0
        out = np.zeros((count, len(occurring)), bool)
        out[row[asked], np.repeat(block, times)[asked]] = True
        return out


def _firsts(rule: NDArray[np.int64], parted: NDArray[np.bool]) -> NDArray[np.int64]:
    """Return where runs begin: at another rule, and where one is parted from what stands before it."""
    begins = np.ones(rule.size, bool)
    np.logical_or(np.diff(rule) != 0, parted, out=begins[1:])
    return begins.nonzero()[0]


def _narrow(
    held: NDArray[np.bool], mine: NDArray[np.int64], others: NDArray[np.bool], steps: NDArray[np.int64]
) -> None:
    """Leave of what some rules hold the blocks near others; steps: by rule, how many blocks may lie between."""
    far = steps.take(mine)
    for step in range(1, _NEAR + 1):
        others = _spread(others)
        near = far == step
        held[mine[near]] &= others[near]


def _spread(blocks: NDArray[np.bool]) -> NDArray[np.bool]:
    """Return the blocks with those beside them."""
    out = blocks.copy()
    out[:, 1:] |= blocks[:, :-1]
    out[:, :-1] |= blocks[:, 1:]
    return out

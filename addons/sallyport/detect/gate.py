"""Which rules could match a text at all, and where: found in one pass over it for many rules.

Searching for some thousand words costs the same as searching for one, and for some fifty patterns hardly more. Words
and patterns are looked for apart: in one automaton every place in a word would have to be remembered with every place
in a pattern, and a text that has no neighbour so far would make it learn for a millisecond per kilobyte.

A long text is asked for words block by block, and a rule is tried only around the blocks that hold what its pattern
asks for, as far as a match can reach (extent.py). Threads may share a gate.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from sallyport.bits import places
from sallyport.detect.extent import longest
from sallyport.detect.linear import PatternSet, Subject, Windows, literal
from sallyport.detect.literals import expression, most_bytes
from sallyport.detect.packs import Rule

_BLOCK = 1024
_LONG = 3 * _BLOCK
"""Bytes of a text from which on its blocks are asked apart."""


_WORTH_A_CALL = 2048
"""Bytes that are looked through in the time that one more call takes."""


class Gate:
    """Compiled from rules once; what it answers are indexes into those rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        worded = [index for index, rule in enumerate(rules) if rule.keywords or rule.required]
        bare = [index for index, rule in enumerate(rules) if not (rule.keywords or rule.required)]
        self._words = _Words(rules, worded)
        self._bare = sum(1 << index for index in bare)
        self._for: dict[str, int] = {}
        """By kind of view: its rules, a bit each."""
        for index, rule in enumerate(rules):
            for kind in rule.views:
                self._for[kind] = self._for.get(kind, 0) | 1 << index
        parts: dict[tuple[int, ...], _Patterns] = {}
        self._patterns: dict[str, _Patterns] = {}
        for kind, wanted in self._for.items():
            members = tuple(index for index in bare if wanted >> index & 1)
            if members and members not in parts:
                parts[members] = _Patterns({index: _whole(rules[index]) for index in members})
            if members:
                self._patterns[kind] = parts[members]

    def sought(self, subject: Subject, kind: str) -> Iterator[tuple[int, Windows | None]]:
        """Yield the rules for a kind of view that are to be tried on a folded text, in order, each with where; None
        is everywhere. All of those rules where an automaton gave up: slower, but nothing is missed.
        """
        wanted = self._for.get(kind, 0)
        found, where = self._words.hits(subject, wanted)
        if (patterns := self._patterns.get(kind)) is not None:
            found |= patterns.hits(subject.raw)
        for index in places(found & wanted):
            within = where.get(index)
            if within is None or within:
                yield index, within


class _Patterns:
    """Patterns in one automaton, by the rules that they stand for."""

    def __init__(self, patterns: dict[int, str]) -> None:
        self._bits = [1 << index for index in patterns]
        self._set = PatternSet([*patterns.values()])

    def hits(self, raw: bytes) -> int:
        """Return the rules of which the pattern occurs, a bit each; all where the automaton gave up."""
        bits = self._bits
        found = self._set.matches(raw) if bits else None
        return sum(bits if found is None else [bits[index] for index in found])


class _Words:
    """Rules that are looked for by words, in one automaton.

    What is asked of a rule stands in sets of expressions, of each of which one must occur. An expression is a number
    with a bit for every set that it is in: the bits of the first sets of all rules, then of the second ones, and on.
    First come the sets that its pattern asks for.
    """

    def __init__(self, rules: Sequence[Rule], members: Sequence[int]) -> None:
        self._all = sum(1 << index for index in members)
        asked_by_pattern = {index: _asked_by_pattern(rules[index]) for index in members}
        most = max(map(len, asked_by_pattern.values()), default=0)
        self._shifts = [place * len(rules) for place in range(most + 2)]
        self._shifts_of_patterns = self._shifts[:most]
        asked: dict[str, int] = {}
        self._unasked = 0
        """The sets that rules do not have."""
        for index, sets in asked_by_pattern.items():
            rule = rules[index]
            anywhere = ([_spelled(word) for word in rule.keywords], _long_beside(rule))
            for shift, expressions in zip(
                self._shifts, (*sets, *([()] * (most - len(sets))), *anywhere), strict=True
            ):
                self._unasked |= 0 if expressions else 1 << shift + index
                for one in expressions:
                    asked[one] = asked.get(one, 0) | 1 << shift + index
        self._bits = [*asked.values()]
        self._set = PatternSet([*asked])
        words = (word for index in members for word in (*rules[index].keywords, *_required(rules[index])))
        self._overlap = max(map(most_bytes, words), default=0) + 4 * _SHORT
        """Bytes behind a block that a word or what stands beside may reach into."""
        self._longest = {index: rules[index].longest for index, sets in asked_by_pattern.items() if sets}
        self._besides = _Patterns(
            {index: beside for index in members for beside in _long_beside(rules[index])}
        )

    def hits(self, subject: Subject, wanted: int) -> tuple[int, dict[int, Windows]]:
        """Return the rules to be tried, a bit each, and where; everywhere those that are not named there."""
        raw = subject.raw
        if len(raw) < _LONG:
            met = self._met(raw)
            return (self._all if met is None else self._meeting(met, self._shifts)), {}
        blocks = [met for block in self._blocks(raw) if (met := self._met(block)) is not None]
        if len(blocks) * _BLOCK < len(raw):
            return self._all, {}
        met = self._besides.hits(raw) << self._shifts[-1]
        for block in blocks:
            met |= block
        found = self._meeting(met, self._shifts) & wanted
        return found, self._windows(subject, blocks, found)

    def _blocks(self, raw: bytes) -> Iterator[bytes]:
        """Yield the parts of a text, each with the byte before it and the words that begin in it."""
        for low in range(0, len(raw), _BLOCK):
            yield raw[max(0, low - 1) : low + _BLOCK + self._overlap]

    def _met(self, text: bytes) -> int | None:
        """Return the sets of which an expression occurs; None where that could not be found out."""
        found = self._set.matches(text)
        if found is None:
            return None
        bits, met = self._bits, self._unasked
        for one in found:
            met |= bits[one]
        return met

    def _meeting(self, met: int, shifts: Sequence[int]) -> int:
        """Return the rules of which all sets were met."""
        found = self._all
        for shift in shifts:
            found &= met >> shift
        return found

    def _windows(self, subject: Subject, met: Sequence[int], found: int) -> dict[int, Windows]:
        """Return where each of the rules found is to be tried."""
        reach = self._reach(subject, found)
        near = sum(1 << index for index, chars in reach.items() if self._is_near(subject, chars))
        far = sum(1 << index for index in reach) & ~near
        blocks: dict[int, list[int]] = {index: [] for index in reach}
        before = 0
        for number, (one, behind) in enumerate(pairwise((*met, 0))):
            around = self._meeting(before | one | behind, self._shifts_of_patterns)
            for index in places(one & (around & near | far)):
                blocks[index].append(number)
            before = one
        return {index: self._around(subject, numbers, reach[index]) for index, numbers in blocks.items()}

    def _reach(self, subject: Subject, found: int) -> dict[int, int]:
        """Return how many characters a match has at most, for those of the rules that may be tried in parts."""
        extents = {index: self._longest.get(index) for index in places(found)}
        run = subject.longest_run() if any(one.runs for one in extents.values() if one) else 0
        reach = {index: one.chars + one.runs * run for index, one in extents.items() if one}
        return {index: chars for index, chars in reach.items() if 4 * chars < len(subject.raw)}

    def _is_near(self, subject: Subject, chars: int) -> bool:
        """Say whether all that a match holds begins in one block or in those beside it."""
        return (4 if subject.wide else 1) * chars <= _BLOCK

    def _around(self, subject: Subject, blocks: Sequence[int], chars: int) -> Windows:
        """Return the parts in which every match lies that holds a word beginning in one of the blocks."""
        if not blocks:
            return ()
        parts: list[tuple[int, int]] = []
        runs = [(blocks[0], blocks[0])]
        for block in blocks[1:]:
            first, last = runs[-1]
            if (block - last) * _BLOCK <= self._overlap + 2 * chars + _WORTH_A_CALL:
                runs[-1] = first, block
            else:
                runs.append((block, block))
        for first, last in runs:
            low, high = subject.widened(first * _BLOCK, (last + 1) * _BLOCK + self._overlap, chars)
            if parts and low <= parts[-1][1]:
                low, _ = parts.pop()
            parts.append((low, high))
        return parts


_SHORT = 16
"""Characters of what stands beside that is looked for in blocks; what may be longer is looked for in the whole."""


def _asked_by_pattern(rule: Rule) -> list[Sequence[str]]:
    """Return sets of expressions of which each match holds one, in no more than a few words."""
    sets: list[Sequence[str]] = [[expression(word) for word in sorted(words)] for words in rule.required]
    return sets if rule.beside is None or _long_beside(rule) else [*sets, [rule.beside]]


def _long_beside(rule: Rule) -> Sequence[str]:
    extent = None if rule.beside is None else longest(rule.beside)
    is_short = extent is not None and not extent.runs and extent.chars <= _SHORT
    return () if rule.beside is None or is_short else (rule.beside,)


def _required(rule: Rule) -> Iterator[str]:
    for words in rule.required:
        yield from words


def _whole(rule: Rule) -> str:
    return rule.source if rule.case_sensitive else f"(?i){rule.source}"


def _spelled(keyword: str) -> str:
    """Return a pattern of a keyword; where its words are apart in prose, keys join them: social_security."""
    parted = [literal(word).removeprefix("(?i)") for word in keyword.split(" ")]
    inner = all(parted)
    return "(?i)" + "[ _-]?".join(parted) if inner else literal(keyword)

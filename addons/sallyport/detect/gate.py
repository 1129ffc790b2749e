"""Which rules could match a text at all, and where: found in one pass over it for many rules.

Searching for some thousand words costs the same as searching for one, and for some fifty patterns hardly more. Words
and patterns are looked for apart: in one automaton every place in a word would have to be remembered with every place
in a pattern, and a text that has no neighbour so far would make it learn for a millisecond per kilobyte.

In a long text words are looked for with where they stand (wordindex.py), and a rule is tried only around those that its
pattern asks for, as far as a match can reach (around.py). What is left is asked for the outline of the pattern first
(outline.py). Threads may share a gate.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from sallyport.bits import places
from sallyport.detect.around import BLOCK, CELL, Around
from sallyport.detect.extent import longest
from sallyport.detect.linear import Pattern, PatternSet, Subject, Windows, pattern
from sallyport.detect.literals import EDGE, expression, phrases, small, spellings
from sallyport.detect.outline import outline
from sallyport.detect.packs import Rule
from sallyport.detect.wordindex import Places, Word, WordIndex

_TINY = 2
"""Letters of the longest word that says little of where a rule is to be tried."""

_MOST_GAPS = 3
"""Between the words of a keyword that is looked for in each of its spellings, four for every gap."""

_LONG = 3 * BLOCK
"""Bytes of a text from which on it is asked where its words stand."""


class Gate:
    """Compiled from rules once; what it answers are indexes into those rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        worded = [index for index, rule in enumerate(rules) if rule.keywords or rule.required]
        bare = [index for index, rule in enumerate(rules) if not (rule.keywords or rule.required)]
        self._words = _Words(rules, worded)
        self._outlines = {index: shape for index in worded if (shape := _outline(rules[index])) is not None}
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

    def sought(
        self, subject: Subject, kind: str, check: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[int, Windows | None]]:
        """Yield the rules for a kind of view that are to be tried on a folded text, in order, each with where; None
        is everywhere. All of those rules where an automaton gave up: slower, but nothing is missed.

        check: called for every block and outline; it may raise, which ends this.
        """
        wanted = self._for.get(kind, 0)
        patterns = self._patterns.get(kind)
        occurring = 0 if patterns is None else patterns.hits(subject.raw)
        found, where = self._words.hits(subject, wanted, occurring, check)
        for index in places(found & wanted):
            within = where.get(index)
            if (shape := self._outlines.get(index)) is not None:
                check()
                within = _met_by(shape, subject, within)
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
    """Rules that are looked for by words, and by what must stand beside them.

    What is asked of a rule stands in sets of expressions, of each of which one must occur. Each set has a number, which
    tells its rule and its place among the sets of that rule: first come those that the pattern asks for. An expression
    knows its sets as the bits of one integer, so that all that occur are joined in a step each.

    Words of a short text are looked for in an automaton, which takes little for what it knows; those of a long one in
    an index, which takes as much for each text and tells where they stand.
    """

    def __init__(self, rules: Sequence[Rule], members: Sequence[int]) -> None:
        self._all = sum(1 << index for index in members)
        most = max((len(rules[index].required) for index in members), default=0)
        self._shifts = [place * len(rules) for place in range(most + 2)]
        beside, keywords = self._shifts[most:]
        words: dict[str, set[int]] = {}
        besides: dict[str, set[int]] = {}
        far: dict[int, str] = {}
        longest_beside = _SHORT
        for index in members:
            rule = rules[index]
            looked_for = [
                (shift, word)
                for shift, each in zip(self._shifts, rule.required, strict=False)
                for word in each
            ]
            for keyword in rule.keywords:
                if keyword.count(" ") > _MOST_GAPS and all(keyword.split(" ")):
                    besides.setdefault(_in_one(keyword), set()).add(keywords + index)
                    longest_beside = max(longest_beside, len(keyword))
                else:
                    looked_for += [(keywords, word) for word in phrases(keyword)]
            for shift, word in looked_for:
                if _is_tiny(word):
                    besides.setdefault(f"(?i){expression(word)}", set()).add(shift + index)
                else:
                    words.setdefault(word, set()).add(shift + index)
            if rule.beside is not None and _is_short(rule.beside):
                besides.setdefault(rule.beside, set()).add(beside + index)
            elif rule.beside is not None:
                far[index] = outline(rule.beside)
        self._words = PatternSet([*map(expression, words)], of_bytes=True)
        indexed = [(number, word) for number, text in enumerate(words) for word in _indexed(text)]
        self._index = WordIndex([word for _, word in indexed])
        self._indexed = np.array([number for number, _ in indexed], np.int64)
        """By word of the index: its expression."""
        self._besides = PatternSet([*besides])
        self._overlap = 4 * longest_beside
        self._first_beside = len(words)
        self._far = _Patterns(far)
        self._near_or_none = self._all & ~sum(1 << index for index in far)
        """The rules that ask for nothing beside their words that may be long."""
        numbers = [*words.values(), *besides.values()]
        self._bits = [sum(1 << number for number in each) for each in numbers]
        """By expression: its sets."""
        asked = set().union(*numbers)
        unasked = (s + index for s in self._shifts for index in members if s + index not in asked)
        self._unasked = sum(1 << number for number in unasked)
        """The sets that rules do not have."""
        in_parts = {
            index: tuple(shift + index for shift in self._shifts[:-1] if shift + index in asked)
            for index in members
        }
        self._around = Around(numbers, in_parts, [rule.longest for rule in rules])

    def hits(
        self, subject: Subject, wanted: int, others: int, check: Callable[[], None]
    ) -> tuple[int, dict[int, Windows]]:
        """Return the rules to be tried, a bit each, and where; everywhere those that are not named there.

        others: rules that are to be tried besides, which are looked for by no words.
        """
        raw = subject.raw
        is_long = len(raw) >= _LONG
        besides = []
        for block in self._blocks(raw) if is_long else (raw,):
            check()
            within = self._besides.matches(block)
            if within is None:
                return self._all | others, {}
            besides.append([self._first_beside + one for one in within])
        words = self._index_of(subject, check) if is_long else None
        occurring = (
            self._words.matches(raw.lower()) if words is None else np.bincount(words[0]).nonzero()[0].tolist()
        )
        if occurring is None:
            return self._all | others, {}
        met = self._unasked
        for one in set(occurring).union(*besides):
            met |= self._bits[one]
        found = wanted & (self._near_or_none | self._far.hits(raw))
        for shift in self._shifts:
            found &= met >> shift
        found |= others & wanted
        if words is None:
            return found, {}
        return found, self._around.windows(subject, words, besides, [*places(found)], check)

    def _blocks(self, raw: bytes) -> Iterator[bytes]:
        """Yield the parts of a text, each with the byte before it and what stands beside words that begins in it."""
        for low in range(0, len(raw), BLOCK):
            yield raw[max(0, low - 1) : low + BLOCK + self._overlap]

    def _index_of(self, subject: Subject, check: Callable[[], None]) -> tuple[Places, Places]:
        """Return the words that occur, by their expressions, and the byte at which each begins, once in a cell."""
        raw = small(subject.text) if subject.wide else subject.raw.lower()
        numbers, at = self._index.occurrences(raw, check, once_in=CELL)
        return self._indexed.take(numbers), at


def _indexed(text: str) -> Iterator[Word]:
    """Yield what is looked for where an expression is."""
    first, *others = text.strip(EDGE).split(EDGE)
    if all(_is_word(a[-1]) != _is_word(b[0]) for a, b in pairwise((first, *others))):
        for word in spellings("".join((first, *others))):
            yield Word(word, text.startswith(EDGE), text.endswith(EDGE))


def _in_one(keyword: str) -> str:
    """Return a pattern of a keyword of many words: all its spellings one by one would be millions."""
    return "(?i)" + "[ _-]?".join(map(re.escape, keyword.split(" ")))


def _is_tiny(word: str) -> bool:
    """Say whether a word stands in every second line: it is looked for in blocks, as is what stands beside words."""
    return word.isascii() and len(word.replace(EDGE, "")) <= _TINY


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())


_SHORT = 16
"""Characters of what stands beside that is looked for in blocks; what may be longer is looked for in the whole."""


def _is_short(beside: str) -> bool:
    extent = longest(beside)
    return extent is not None and not extent.runs and extent.chars <= _SHORT


def _whole(rule: Rule) -> str:
    return outline(rule.source if rule.case_sensitive else f"(?i){rule.source}")


def _outline(rule: Rule) -> Pattern | None:
    """Return the outline of a rule's pattern; None where it has no other."""
    shape = outline(rule.source)
    return None if shape == rule.source else pattern(shape, case_sensitive=rule.case_sensitive)


def _met_by(shape: Pattern, subject: Subject, within: Windows | None) -> Windows | None:
    """Return the parts of a text, None for all of it, that are to be looked through for what has this outline."""
    raw = subject.raw
    if within is None:
        return None if shape.occurs(raw, 0, len(raw)) else ()
    return [(low, high) for low, high in within if shape.occurs(raw, low, high)]

"""Which rules could match a text at all, found in one pass over it for many rules.

Searching for some thousand words costs the same as searching for one, and for some fifty patterns hardly more. Words
and patterns are looked for apart: in one automaton every place in a word would have to be remembered with every place
in a pattern, and a text that has no neighbour so far would make it learn for a millisecond per kilobyte. Threads may
share a gate.
"""

from collections.abc import Sequence

from sallyport.bits import places
from sallyport.detect.linear import PatternSet, literal
from sallyport.detect.packs import Rule


class Gate:
    """Compiled from rules once; what it answers are indexes into those rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._words = _Part(rules, [i for i, rule in enumerate(rules) if rule.keywords or rule.required])
        bare = [i for i, rule in enumerate(rules) if not (rule.keywords or rule.required)]
        self._for: dict[str, int] = {}
        """By kind of view: its rules, a bit each."""
        for index, rule in enumerate(rules):
            for kind in rule.views:
                self._for[kind] = self._for.get(kind, 0) | 1 << index
        parts: dict[tuple[int, ...], _Part] = {}
        self._patterns: dict[str, _Part] = {}
        for kind, wanted in self._for.items():
            members = tuple(index for index in bare if wanted >> index & 1)
            if members and members not in parts:
                parts[members] = _Part(rules, members)
            if members:
                self._patterns[kind] = parts[members]

    def hits(self, text: str | bytes, kind: str) -> Sequence[int]:
        """Return the rules for a kind of view of which a keyword or, lacking keywords, the pattern occurs in a folded
        text. All of those rules where an automaton gave up: slower, but nothing is missed.
        """
        found = self._words.hits(text)
        if (patterns := self._patterns.get(kind)) is not None:
            found |= patterns.hits(text)
        return places(found & self._for.get(kind, 0))


class _Part:
    """Some of the rules in one automaton.

    What is asked of a rule stands in sets of expressions, of each of which one must occur. An expression is a number
    with a bit for every set that it is in: the bits of the first sets of all rules, then of the second ones, and on.
    """

    def __init__(self, rules: Sequence[Rule], members: Sequence[int]) -> None:
        self._all = sum(1 << index for index in members)
        sets = {index: (_expressions(rules[index]), *_also(rules[index])) for index in members}
        places = max(map(len, sets.values()), default=0)
        self._shifts = [place * len(rules) for place in range(places)]
        asked: dict[str, int] = {}
        for index, alternatives in sets.items():
            for shift, expressions in zip(self._shifts, alternatives, strict=False):
                for expression in expressions:
                    asked[expression] = asked.get(expression, 0) | 1 << shift + index
        self._unasked = sum(
            1 << shift + index for index in members for shift in self._shifts[len(sets[index]) :]
        )
        """The sets that rules do not have."""
        self._bits = [*asked.values()]
        self._set = PatternSet([*asked])

    def hits(self, text: str | bytes) -> int:
        """Return the rules to be tried, a bit each."""
        found = self._set.matches(text)
        if found is None:
            return self._all
        bits, met = self._bits, self._unasked
        for expression in found:
            met |= bits[expression]
        whole = self._all
        for shift in self._shifts:
            whole &= met >> shift
        return whole


def _expressions(rule: Rule) -> Sequence[str]:
    """Return what a rule is looked for by: any one of these."""
    if rule.keywords:
        return [_spelled(keyword) for keyword in rule.keywords]
    if rule.required:
        return [literal(word) for word in sorted(rule.required[0])]
    return [rule.source if rule.case_sensitive else f"(?i){rule.source}"]


def _also(rule: Rule) -> list[Sequence[str]]:
    """Return of what else there must be one as well, for each of these lists."""
    words: list[Sequence[str]] = [[literal(word) for word in sorted(words)] for words in rule.required[1:]]
    return words if rule.beside is None else [*words, [rule.beside]]


def _spelled(keyword: str) -> str:
    """Return a pattern of a keyword; where its words are apart in prose, keys join them: social_security."""
    parted = [literal(word).removeprefix("(?i)") for word in keyword.split(" ")]
    inner = all(parted)
    return "(?i)" + "[ _-]?".join(parted) if inner else literal(keyword)

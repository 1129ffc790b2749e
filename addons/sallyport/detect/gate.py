"""Which rules could match a text at all, found in one pass over it for many rules.

Searching for some thousand words costs the same as searching for one, and for some fifty patterns hardly more. Words
and patterns are looked for apart: in one automaton every place in a word would have to be remembered with every place
in a pattern, and a text that has no neighbour so far would make it learn for a millisecond per kilobyte. Threads may
share a gate.
"""

from collections.abc import Sequence

from sallyport.detect.linear import PatternSet, literal
from sallyport.detect.packs import Rule


class Gate:
    """Compiled from rules once; what it answers are indexes into those rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._views = [rule.views for rule in rules]
        self._words = _Part(
            rules, [index for index, rule in enumerate(rules) if rule.keywords or rule.required]
        )
        bare = [index for index, rule in enumerate(rules) if not (rule.keywords or rule.required)]
        kinds = sorted({kind for index in bare for kind in rules[index].views})
        parts: dict[tuple[int, ...], _Part] = {}
        self._patterns: dict[str, _Part] = {}
        for kind in kinds:
            members = tuple(index for index in bare if kind in rules[index].views)
            if members not in parts:
                parts[members] = _Part(rules, members)
            self._patterns[kind] = parts[members]

    def hits(self, text: str | bytes, kind: str) -> Sequence[int]:
        """Return the rules for a kind of view of which a keyword or, lacking keywords, the pattern occurs in a folded
        text. All of those rules where an automaton gave up: slower, but nothing is missed.
        """
        found = self._words.hits(text)
        if (patterns := self._patterns.get(kind)) is not None:
            found |= patterns.hits(text)
        return sorted(index for index in found if kind in self._views[index])


class _Part:
    """Some of the rules in one automaton."""

    def __init__(self, rules: Sequence[Rule], members: Sequence[int]) -> None:
        owners: dict[str, list[int]] = {}
        also: list[tuple[int, Sequence[str]]] = []
        for index in members:
            for expression in _expressions(rules[index]):
                owners.setdefault(expression, []).append(index)
            also += ((index, expressions) for expressions in _also(rules[index]))
        for _, expressions in also:
            for expression in expressions:
                owners.setdefault(expression, [])
        numbers = {expression: number for number, expression in enumerate(owners)}
        self._also: dict[int, list[frozenset[int]]] = {}
        """By rule: of each of these sets of expressions, one must occur as well."""
        for index, expressions in also:
            self._also.setdefault(index, []).append(frozenset(numbers[e] for e in expressions))
        self._owners = [*owners.values()]
        self._set = PatternSet([*owners])
        self._all = members

    def hits(self, text: str | bytes) -> set[int]:
        found = self._set.matches(text)
        if found is None:
            return {*self._all}
        hits = {index for expression in found for index in self._owners[expression]}
        there = frozenset(found)
        return {index for index in hits if not any(map(there.isdisjoint, self._also.get(index, ())))}


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

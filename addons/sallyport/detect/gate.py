"""One pass over a text for all rules: which of them could match at all.

One set holds every rule's keywords, or its pattern where it has none: searching for some hundred words
costs the same as searching for one. Threads may share a gate.
"""

from collections.abc import Sequence

from sallyport.detect.linear import PatternSet, literal
from sallyport.detect.packs import Rule


class Gate:
    """Compiled from rules once; what it answers are indexes into those rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        owners: dict[str, list[int]] = {}
        for index, rule in enumerate(rules):
            for expression in _expressions(rule):
                owners.setdefault(expression, []).append(index)
        self._owners = [*owners.values()]
        self._set = PatternSet([*owners])
        self._all = range(len(rules))

    def hits(self, text: str | bytes) -> Sequence[int]:
        """Return the rules of which a keyword or, lacking keywords, the pattern occurs in a folded text.

        All rules where the automaton gave up: slower, but nothing is missed.
        """
        found = self._set.matches(text)
        if found is None:
            return self._all
        return sorted({rule for expression in found for rule in self._owners[expression]})


def _expressions(rule: Rule) -> Sequence[str]:
    if rule.keywords:
        return [_spelled(keyword) for keyword in rule.keywords]
    return [rule.source if rule.case_sensitive else f"(?i){rule.source}"]


def _spelled(keyword: str) -> str:
    """Return a pattern of a keyword; where its words are apart in prose, keys join them: social_security."""
    parted = [literal(word).removeprefix("(?i)") for word in keyword.split(" ")]
    inner = all(parted)
    return "(?i)" + "[ _-]?".join(parted) if inner else literal(keyword)

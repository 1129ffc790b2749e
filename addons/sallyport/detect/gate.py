"""One pass over a text for all rules: which of them could match at all.

A google-re2 Set holds every rule's keywords, or its pattern where it has none. A DFA that runs out of
memory reports nothing instead of failing, so a pattern that matches everything stands guard: without it
in the answer, every rule counts as hit. Linear in the text; threads may share a gate.
"""

from collections.abc import Sequence

import re2

from sallyport.detect.packs import Rule

_MAX_MEM = 256 << 20


class Gate:
    """Compiled from rules once. hits(text) gives indexes into those rules, in order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        options = re2.Options()
        options.max_mem = _MAX_MEM
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        self._all = tuple(range(len(rules)))
        owners: dict[str, list[int]] = {}
        for index, rule in enumerate(rules):
            for expression in _expressions(rule):
                owners.setdefault(expression, []).append(index)
        self._guard = self._set.Add("")
        self._owners = [(), *map(tuple, owners.values())]
        for expression in owners:
            self._set.Add(expression)
        self._set.Compile()

    def hits(self, text: str | bytes) -> Sequence[int]:
        """Return the rules of which a keyword or, lacking keywords, the pattern occurs in a folded text."""
        found = self._set.Match(text) or ()
        if self._guard not in found:
            return self._all
        if len(found) == 1:
            return ()
        return sorted({rule for expression in found for rule in self._owners[expression]})


def _expressions(rule: Rule) -> Sequence[str]:
    if rule.keywords:
        return [f"(?i){re2.escape(keyword)}" for keyword in rule.keywords]
    return [rule.source if rule.pattern.options.case_sensitive else f"(?i){rule.source}"]

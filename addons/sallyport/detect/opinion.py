"""A second opinion on what rules of injection found in a text: when it is asked for, and what is left of a finding that
is doubted (docs/adr/0019-one-rule-may-be-doubted.md).
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sallyport.detect.cache import Hit
from sallyport.detect.reported import is_reported

CERTAIN = 1.5
"""Points of rules, ten of which are 1.0, that no classifier doubts: two rules that err on one text are rare."""

AROUND = 12
"""Words that a text needs beside what a rule found in it, to be taken for one that speaks of it: an order alone, or in
a field of its own, leaves the classifier nothing to be sure by."""

DOUBTED = 0.5
"""What is left of the points of a rule where the classifier finds its text harmless."""

MENTIONS = 50
"""Matches of one text of which it is asked whether they are only reported: a page about attacks quotes a few."""

REPORTED = 0.1
"""Share of clean texts that the classifier may flag, by whose threshold it judges a text that only reports what was
found in it: its words speak for it already."""


def bound(
    text: str,
    found: Sequence[Hit],
    matches: Sequence[Hit],
    judged: Collection[int],
    *,
    doubt: float,
    wide: float,
) -> float:
    """Return the probability below which the classifier takes back what rules of injection found; 0 where it may not.

    found: what counts, each rule once, and is enough to refuse. matches: all that rules of injection matched. judged:
    rules whose matches a text may only speak of. doubt: the bound for what one rule found, 0 for none. wide: where the
    text reports, as attacks, all that was matched, by however many rules.
    """
    if not doubt or sum([h.score for h in found if h.rule not in judged]) >= 1.0 - 1e-9:
        return 0.0
    words = len(text.split()) - sum([len(text[h.start : h.end].split()) for h in found])
    if words < AROUND:
        return 0.0
    if len(matches) <= MENTIONS:
        meant = {h.rule: h.score for h in matches if not is_reported(text, h.start, h.end)}
        if sum(meant.values()) < 1.0 - 1e-9:
            return max(doubt, wide)
    return doubt if sum([h.score for h in found]) < CERTAIN else 0.0


def doubted(hits: Sequence[Hit], judged: Collection[int]) -> tuple[Hit, ...]:
    """Return the hits of a text that is taken to speak of what they found: told, and worth less than is needed."""
    rest = DOUBTED / max(1.0, sum([h.score for h in hits if h.rule in judged]) / CERTAIN)
    return tuple([replace(h, score=h.score * rest) if h.rule in judged else h for h in hits])

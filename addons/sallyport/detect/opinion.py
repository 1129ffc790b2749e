"""A second opinion on what rules of injection found in a text: when it is asked for, and what is left of a finding that
is doubted (docs/adr/0019-one-rule-may-be-doubted.md).
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sallyport.detect.cache import Hit

CERTAIN = 1.5
"""Points of rules, ten of which are 1.0, that no classifier doubts: two rules that err on one text are rare."""

AROUND = 12
"""Words that a text needs beside what a rule found in it, to be taken for one that speaks of it: an order alone, or in
a field of its own, leaves the classifier nothing to be sure by."""

DOUBTED = 0.5
"""What is left of the points of a rule where the classifier finds its text harmless."""


def is_asked(text: str, found: Sequence[Hit], judged: Collection[int]) -> bool:
    """Say whether the classifier may take back what rules of injection found, which is enough to refuse.

    judged: rules whose matches a text may only speak of.
    """
    if sum([h.score for h in found]) >= CERTAIN:
        return False
    if sum([h.score for h in found if h.rule not in judged]) >= 1.0 - 1e-9:
        return False
    words = len(text.split()) - sum([len(text[h.start : h.end].split()) for h in found])
    return words >= AROUND


def doubted(hits: Sequence[Hit], judged: Collection[int]) -> tuple[Hit, ...]:
    """Return the hits of a text that is taken to speak of what they found: told, and worth less than is needed."""
    return tuple([replace(h, score=h.score * DOUBTED) if h.rule in judged else h for h in hits])

"""What stands around a match: words that speak for it, and reasons not to report it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sallyport.decision import Kind
from sallyport.detect import linear
from sallyport.detect.packs import FRAMED, Rule, Unless
from sallyport.exchange import Surface

BEFORE, AFTER = 80, 40
"""Characters either side of a value in which words count."""

_BREAK = re.compile(r"\W{0,8}\n(?=.)", re.DOTALL)
"""The end of a line before the first word of a match."""


@dataclass(frozen=True, slots=True)
class Context:
    """The words of a rule. names: of a value itself; near: anywhere around it, None where only names count."""

    names: linear.Pattern
    near: linear.Pattern | None

    @classmethod
    def of(cls, words: Sequence[str]) -> Context | None:
        """Return None where a rule has no words; a word that begins with = counts as a name only."""
        names = any_of([word.lstrip("=") for word in words])
        return None if names is None else cls(names, any_of([w for w in words if w[0] != "="]))


@lru_cache(maxsize=256)
def own_context(words: tuple[str, ...]) -> Context | None:
    """Return the context of an operator's recogniser, compiled once."""
    return Context.of(words)


def hint(rule: Rule, min_score: float) -> linear.Pattern | None:
    """Return what must stand near a match of a rule that is nothing without words; None for any other.

    Wider than the words themselves: in a key they may be parted by anything, or by nothing.
    """
    if rule.kind is Kind.INJECTION or rule.score >= min_score or not rule.context:
        return None
    words = (re.escape(w.lstrip("=").removesuffix("*")).replace(r"\ ", r"[^a-z]{0,3}") for w in rule.context)
    return linear.pattern("|".join(words), case_sensitive=False)


def any_of(words: Sequence[str]) -> linear.Pattern | None:
    """Whole words, with a plural s; a word that ends in * is the beginning of one."""
    if not words:
        return None
    ends = (re.escape(w[:-1]) if w.endswith("*") else re.escape(w) + "s?(?:[^a-z]|$)" for w in words)
    return linear.pattern(r"(?:^|[^a-z])(?:" + "|".join(ends) + ")")


def joined(rule: Rule) -> tuple[Unless, ...]:
    """Return the reasons not to report with those searched in the same place as one pattern."""
    groups: dict[tuple[str, frozenset[Surface]], list[Unless]] = {}
    for unless in rule.unless:
        groups.setdefault((unless.on, unless.surfaces), []).append(unless)
    joined = []
    for (on, surfaces), group in groups.items():
        pattern = group[0].pattern
        if len(group) > 1:
            sources = (f"(?:{u.pattern.pattern})" for u in group)
            pattern = linear.pattern("|".join(sources), case_sensitive=rule.case_sensitive)
        joined.append(Unless(pattern, on, "", surfaces))
    return tuple(joined)


def excused(
    reasons: Sequence[Unless], surface: Surface, text: str, match: tuple[int, int], value: tuple[int, int]
) -> bool:
    """Say whether a reason holds not to report a match, and the value in it, on a surface."""
    for unless in reasons:
        if unless.surfaces and surface not in unless.surfaces:
            continue
        if unless.on == "value":
            near = text[value[0] : value[1]]
        elif unless.on == "match":
            near = text[match[0] : match[1]]
        elif unless.on == "before":
            near = text[max(0, value[0] - BEFORE) : value[0]]
        elif unless.on == "after":
            near = text[value[1] : value[1] + AFTER]
        elif unless.on == "frame":
            near = _frame(text, value)
        else:
            near = _line(text, match)
        if unless.pattern.search(near) is not None:
            return True
    return False


def _line(text: str, match: tuple[int, int]) -> str:
    """The line of a match; one that begins with the end of a line stands on the next."""
    break_ = _BREAK.match(text, match[0], match[1])
    low, high = _around(text, (match[0] if break_ is None else break_.end(), match[1]))
    return text[low:high]


def _frame(text: str, value: tuple[int, int]) -> str:
    """What stands around a value on its line; the text cannot hold the mark itself."""
    low, high = _around(text, value)
    before, after = (part.replace(FRAMED, " ") for part in (text[low : value[0]], text[value[1] : high]))
    return before + FRAMED + after


def _around(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Return the bounds of a span's line, at most 160 characters from it."""
    first, last = max(0, span[0] - 160), min(len(text), span[1] + 160)
    low = text.rfind("\n", first, span[0])
    high = text.find("\n", span[1], last)
    return first if low < 0 else low + 1, last if high < 0 else high

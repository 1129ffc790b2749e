"""Names beside what rules found: personal data of one text does not overlap."""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from sallyport.decision import Finding, Kind
from sallyport.exchange import Segment

_STEPS = 256
_PAUSE_S = 1e-4


def merge(
    segments: Sequence[Segment], found: Sequence[Finding], names: Sequence[Finding], min_score: float = 0.0
) -> tuple[Finding, ...]:
    """Return what rules found together with the names, so that personal data of one text does not overlap.

    What a rule found is no name: of a name that reaches into it only the rest is kept. min_score: findings of
    rules below it count for nothing, and make way for a name.
    """
    if not names:
        return tuple(found)
    taken: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for finding in found:
        if finding.kind is Kind.PII and finding.score >= min_score:
            taken[finding.at].append((finding.start, finding.end))
    for spans in taken.values():
        spans.sort()
    texts = {s.at: s.text for s in segments}
    kept: list[Finding] = []
    named: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for count, name in enumerate(names):
        breathe(count)
        for start, end in outside((name.start, name.end), taken.get(name.at, ())):
            if (start, end) == (name.start, name.end):
                kept.append(name)
                named[name.at].append((start, end))
                continue
            low, high = bare(texts[name.at], start, end)
            if low < high:
                kept.append(replace(name, start=low, end=high))
                named[name.at].append((low, high))
    weak = (
        f
        for f in found
        if not (f.kind is Kind.PII and f.score < min_score and _meets(named.get(f.at, ()), f.start, f.end))
    )
    order = {s.at: index for index, s in enumerate(segments)}
    return tuple(sorted((*weak, *kept), key=lambda f: (order[f.at], f.start, f.end)))


def breathe(count: int) -> None:
    """Let other threads run once in a while; called with the number of a step of a long loop.

    A thread that computes keeps the interpreter for five milliseconds at a time, and the event loop waits.
    """
    if count % _STEPS == _STEPS - 1:
        time.sleep(_PAUSE_S)


def outside(span: tuple[int, int], taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what of a span lies outside the sorted spans that others have taken; these do not overlap."""
    pieces, start = [], span[0]
    for low, high in taken[max(0, bisect_left(taken, (span[0], span[0])) - 1) :]:
        if low >= span[1]:
            break
        if low > start:
            pieces.append((start, low))
        start = max(start, high)
    if start < span[1]:
        pieces.append((start, span[1]))
    return pieces


def bare(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span without what is no letter or digit at its ends; empty if it holds no letter.

    The last full stop of initials stays: it is part of "U.S." and of "Washington, D.C.".
    """
    last = end
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    if end < last and text[end] == "." and _ends_with_initials(text[start:end]):
        end += 1
    return (start, end) if any(char.isalpha() for char in text[start:end]) else (start, start)


def _ends_with_initials(name: str) -> bool:
    """Say whether a name ends as "U.S" does: a letter, a full stop and a letter, with no letter before them."""
    tail = name[-4:]
    return tail[-3:-2].isalpha() and tail[-2:-1] == "." and tail[-1:].isalpha() and not tail[:-3].isalnum()


def _meets(spans: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    return any(low < end and high > start for low, high in spans)

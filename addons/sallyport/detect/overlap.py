"""What becomes of findings that overlap, and which spans lie around which."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from sallyport.decision import Kind
from sallyport.detect.cache import Hit

type Span = tuple[int, int]


class AsItStands:
    """What the rules found in a text before anything in it was decoded, which tells what of a run is to be taken out.

    What is decoded stands in a run that means nothing else. Where its rule saw more of the run before, that is it;
    where another rule saw a secret around it, and no other one across its ends, that is it, and the better names it.
    Where one goes on behind what was decoded, the run is cut, and the better of both counts.
    """

    def __init__(self, kind_of: Callable[[int], Kind]) -> None:
        self._kind_of = kind_of
        self._spans: dict[int, list[Span]] = {}
        self._apart: list[Span] | None = None
        """Secrets across whose ends no other one goes."""

    def add(self, hit: Hit) -> None:
        """Note what a rule found; its hits come in order."""
        self._spans.setdefault(hit.rule, []).append((hit.start, hit.end))

    def ranked(self, hit: Hit) -> tuple[Hit, float]:
        """Return what was found in a decoded text with the span to take out, and its rank; all has been added."""
        own = around(self._spans.get(hit.rule, ()), hit.start, hit.end)
        if own is None and self._kind_of(hit.rule) is Kind.SECRET:
            if self._apart is None:
                secrets = {
                    s
                    for rule, spans in self._spans.items()
                    if self._kind_of(rule) is Kind.SECRET
                    for s in spans
                }
                self._apart = [run for run in united(secrets) if run in secrets]
            held = around(self._apart, hit.start, hit.end)
            if held is not None:
                return Hit(hit.rule, *held, hit.score), hit.score
            if _goes_on(self._apart, hit.start, hit.end):
                return hit, hit.score
        return (hit if own is None else Hit(hit.rule, *own, hit.score)), 1.0


def best(
    found: Iterable[tuple[Hit, float]], kind_of: Callable[[int], Kind], *, once: bool
) -> tuple[Hit, ...]:
    """Keep the best of what overlaps within a kind, in order; once: each injection rule once.

    found: hits, each with its rank; among equals the longest wins. kind_of: the kind of a rule.
    """
    kept: list[Hit] = []
    taken: dict[Kind, list[Span]] = {kind: [] for kind in Kind}
    seen: set[int] = set()
    for hit, _ in sorted(found, key=lambda f: (-f[1], f[0].start - f[0].end, f[0].start, f[0].rule)):
        kind = kind_of(hit.rule)
        if once and kind is Kind.INJECTION and hit.rule in seen:
            continue
        spans = taken[kind]
        at = bisect_left(spans, (hit.start, hit.end))
        before = at > 0 and spans[at - 1][1] > hit.start
        after = at < len(spans) and spans[at][0] < hit.end
        if before or after:
            continue
        spans.insert(at, (hit.start, hit.end))
        seen.add(hit.rule)
        kept.append(hit)
    return tuple(sorted(kept, key=place))


def place(hit: Hit) -> tuple[int, int, int]:
    """Return what findings are ordered by."""
    return hit.start, hit.end, hit.rule


def near(hits: Sequence[Hit], start: int, end: int) -> Sequence[Hit]:
    """Return the hits, which are in order, that may overlap a piece at the beginning or the end of a segment.

    Of one kind they do not overlap, so that one that reaches into the piece is among the last before it.
    """
    first = bisect_left(hits, start, key=lambda h: h.start)
    last = bisect_left(hits, end, key=lambda h: h.start)
    return hits[max(0, first - 2 * len(Kind)) : last]


def united(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order and apart: those that overlap are one."""
    runs: list[Span] = []
    for start, end in sorted(spans):
        if runs and start < runs[-1][1]:
            runs[-1] = runs[-1][0], max(end, runs[-1][1])
        else:
            runs.append((start, end))
    return runs


def _goes_on(spans: Sequence[Span], start: int, end: int) -> bool:
    """Say whether one of the spans, which are in order and apart, begins behind the start and ends behind the end."""
    at = bisect_left(spans, (end, 0)) - 1
    return at >= 0 and start < spans[at][0] and end < spans[at][1]


def around(spans: Sequence[Span], start: int, end: int) -> Span | None:
    """Return the one of the spans, which are in order and apart, that holds all of this one."""
    at = bisect_left(spans, (start + 1, 0)) - 1
    return spans[at] if at >= 0 and end <= spans[at][1] else None

"""How many of the known spans are found, and how much is found that is not there; per entity."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quality.texts import Span, Text
from sallyport.detect.engine import Detector
from sallyport.exchange import Segment, Surface

SLACK = 2
"""Characters by which either end may be off and the span still be the same."""


@dataclass(slots=True)
class Tally:
    """Counts of one entity."""

    found: int = 0
    missed: int = 0
    false: int = 0

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.false) if self.found + self.false else 1.0

    @property
    def recall(self) -> float:
        return self.found / (self.found + self.missed) if self.found + self.missed else 1.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, slots=True)
class Mistake:
    """A span that was missed (wanted) or should not be there (not wanted). For a person at a terminal."""

    text: Text
    span: Span
    wanted: bool


def same(a: Span, b: Span) -> bool:
    """Say whether two spans are of one entity and end within SLACK of each other."""
    return a.entity == b.entity and abs(a.start - b.start) <= SLACK and abs(a.end - b.end) <= SLACK


def findings(detector: Detector, text: str) -> list[Span]:
    """Return what the detector finds in a text."""
    found = detector.scan([Segment("/text", Surface.USER, text)])
    return [Span(f.start, f.end, f.entity) for f in found]


def mistakes(detector: Detector, texts: Iterable[Text], tallies: dict[str, Tally]) -> Iterator[Mistake]:
    """Score texts into tallies by entity, yielding every mistake."""
    for text in texts:
        left = findings(detector, text.text)
        for span in text.spans:
            tally = tallies.setdefault(span.entity, Tally())
            match = next((f for f in left if same(f, span)), None)
            if match is None:
                tally.missed += 1
                yield Mistake(text, span, True)
            else:
                left.remove(match)
                tally.found += 1
        for span in left:
            tallies.setdefault(span.entity, Tally()).false += 1
            yield Mistake(text, span, False)


def table(tallies: dict[str, Tally]) -> str:
    """Return a row per entity, then the mean of F1 over entities and the F1 over all spans."""
    rows = [f"{'entity':<28}{'found':>7}{'missed':>8}{'false':>7}{'P':>7}{'R':>7}{'F1':>7}"]
    total: dict[str, int] = defaultdict(int)
    for entity, tally in sorted(tallies.items(), key=lambda item: item[1].f1):
        rows.append(
            f"{entity:<28}{tally.found:>7}{tally.missed:>8}{tally.false:>7}"
            f"{tally.precision:>7.3f}{tally.recall:>7.3f}{tally.f1:>7.3f}"
        )
        for name in ("found", "missed", "false"):
            total[name] += getattr(tally, name)
    whole = Tally(**total)
    real = [t.f1 for t in tallies.values() if t.found + t.missed]
    rows.append(
        f"{'ALL':<28}{whole.found:>7}{whole.missed:>8}{whole.false:>7}"
        f"{whole.precision:>7.3f}{whole.recall:>7.3f}{whole.f1:>7.3f}   mean F1 {sum(real) / max(len(real), 1):.3f}"
    )
    return "\n".join(rows)

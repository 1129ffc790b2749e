"""Span-exact precision, recall and F1."""

from collections import Counter
from collections.abc import Iterable, Sequence

from training.ner.corpora import Sample

from sallyport.detect.ner.engine import Engine

REPORTED = ("PERSON", "LOCATION", "ORGANIZATION", "P+L")


def counts(engine: Engine, samples: Sequence[Sample], threshold: float = 0.0) -> Counter[tuple[str, str]]:
    """Count (entity, hit | spurious | missed) over samples."""
    out: Counter[tuple[str, str]] = Counter()
    for sample, found in zip(samples, engine.spans([s.text for s in samples]), strict=True):
        given = {(s.start, s.end, s.entity) for s in found if s.score >= threshold}
        gold = set(sample.spans)
        for kind, names in (("hit", given & gold), ("spurious", given - gold), ("missed", gold - given)):
            for _, _, entity in names:
                out[entity, kind] += 1
                if entity != "ORGANIZATION":
                    out["P+L", kind] += 1
    return out


def figures(count: Counter[tuple[str, str]], entity: str) -> tuple[float, float, float]:
    """Return precision, recall and F1 of an entity."""
    hit, spurious, missed = (count[entity, kind] for kind in ("hit", "spurious", "missed"))
    precision = hit / (hit + spurious) if hit + spurious else 0.0
    recall = hit / (hit + missed) if hit + missed else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if hit else 0.0


def line(count: Counter[tuple[str, str]], entities: Iterable[str] = REPORTED) -> str:
    """Return one line of figures in per cent: precision/recall/F1 an entity."""
    return "  ".join(
        f"{entity[:3]} {100 * p:.1f}/{100 * r:.1f}/{100 * f:.1f}"
        for entity in entities
        for p, r, f in [figures(count, entity)]
    )

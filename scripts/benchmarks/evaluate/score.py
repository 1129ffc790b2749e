"""Precision, recall and the like from counts; thresholds from scores. Nothing here knows what was counted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """right: wanted and found; missed: wanted only; false: found only; clean: neither."""

    right: int = 0
    missed: int = 0
    false: int = 0
    clean: int = 0

    def add(self, wanted: bool, found: bool) -> None:
        if wanted:
            self.right += found
            self.missed += not found
        else:
            self.false += found
            self.clean += not found

    def plus(self, other: "Counts") -> None:
        self.right += other.right
        self.missed += other.missed
        self.false += other.false
        self.clean += other.clean

    @property
    def precision(self) -> float | None:
        return _share(self.right, self.right + self.false)

    @property
    def recall(self) -> float | None:
        return _share(self.right, self.right + self.missed)

    @property
    def false_alarms(self) -> float | None:
        """Share of what is clean that was found all the same."""
        return _share(self.false, self.false + self.clean)

    def f(self, beta: float) -> float | None:
        """Recall counts beta times as much as precision."""
        if not self.right + self.missed:
            return None
        weight = beta * beta
        return _share(
            (1 + weight) * self.right, (1 + weight) * self.right + weight * self.missed + self.false
        )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def threshold_at(clean_scores: Iterable[float], rate: float) -> float | None:
    """Return the lowest score at which at most this share of clean texts is flagged; None if even 1.0 flags more."""
    scores = sorted(clean_scores, reverse=True)
    allowed = int(rate * len(scores) + 1e-9)
    candidates = sorted({*scores, 1.0})
    for threshold in candidates:
        if sum(1 for s in scores[: allowed + 1] if s >= threshold) <= allowed:
            return threshold
    return None


def share_at(scores: Sequence[float], threshold: float | None) -> float | None:
    """Return the share of scores that reach a threshold."""
    if threshold is None:
        return None
    return _share(sum(score >= threshold for score in scores), len(scores))

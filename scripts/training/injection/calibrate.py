"""From log-odds to probabilities and thresholds, on texts of sources the network has not seen."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sallyport.detect.classifier.classifier import Calibration

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
"""False-alarm rates of the shipped table."""

EACH = 3.0
"""No single source may exceed a rate by more than this factor."""

ENOUGH = 100
"""Texts a source needs to have a rate of its own."""

MARGIN = 0.85
"""Share of a rate that is used up on the measured sources: the next source is a little worse."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a left-out text got: log-odds, sentences, points of the rules."""

    source: str
    surface: str
    attack: bool
    logit: float
    sentences: int
    points: float
    lang: str = "en"
    chars: int = 0


def calibrate(seen: Sequence[Seen]) -> Calibration:
    """Fit the logistic map with every source of a label weighing the same, then measure the thresholds."""
    rows = np.array([[s.logit, np.log(s.sentences), min(s.points, 1.0), 1.0] for s in seen])
    label = np.array([float(s.attack) for s in seen])
    weight = _balanced(seen)
    beta = np.array([1.0, 0.0, 1.0, 0.0])
    for _ in range(3000):
        guess = 1 / (1 + np.exp(-np.clip(rows @ beta, -30, 30)))
        slope = rows.T @ (weight * (guess - label)) + np.array([0, 1e-3 * beta[1], 0, 0])
        beta -= 0.5 * slope / np.array([4.0, 2.0, 1.0, 1.0])
        beta[0], beta[1], beta[2] = max(beta[0], 0.1), min(beta[1], 0.0), min(max(beta[2], 0.0), 3.0)
    draft = Calibration(*(round(float(b), 4) for b in beta), thresholds=())
    return Calibration(draft.slope, draft.length, draft.points, draft.offset, thresholds(draft, seen))


def thresholds(draft: Calibration, seen: Sequence[Seen]) -> tuple[tuple[float, float], ...]:
    """Return the least probability for each rate: held on the mean of the sources, and nearly so on each.

    What the rules refuse already is no alarm of the classifier and does not count.
    """
    sources = defaultdict(list)
    for s in seen:
        if not s.attack:
            p = 0.0 if s.points >= 1.0 else draft.probability(s.logit, s.sentences, s.points)
            sources[s.source].append(p)
    clean = [np.sort(np.array(v)) for v in sources.values() if len(v) >= ENOUGH]
    out = []
    grid = np.unique(np.concatenate([*clean, [1.0]]))
    for rate in RATES:
        shares = np.array([1 - np.searchsorted(c, grid, side="left") / len(c) for c in clean])
        fits = (shares.mean(axis=0) <= rate * MARGIN) & (shares.max(axis=0) <= EACH * rate * MARGIN)
        first = int(np.flatnonzero(fits)[0]) if fits.any() else len(grid) - 1
        out.append((rate, round(float(min(0.9999, grid[first] + 1e-4)), 4)))
    return tuple(out)


def _balanced(seen: Sequence[Seen]) -> np.ndarray:
    counts: defaultdict[tuple[str, bool], int] = defaultdict(int)
    for s in seen:
        counts[s.source, s.attack] += 1
    groups = defaultdict(int)
    for _, attack in counts:
        groups[attack] += 1
    return np.array([0.5 / counts[s.source, s.attack] / groups[s.attack] for s in seen])

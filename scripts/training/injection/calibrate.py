"""From log-odds to probabilities and thresholds, on texts of sources the network has not seen."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sallyport.detect.classifier.classifier import Calibration

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
"""False-alarm rates of the shipped table."""

EACH = 3.0
"""No single source of a class may exceed a rate by more than this factor."""

ENOUGH = 30
"""Texts a source needs to have a rate of its own."""

MOST_FOR_POINTS, MOST_GROWTH = 0.0, 0.9
"""Bounds of what may be learnt of the rules' points, and of the length of a text."""

LEAST = 0.6
"""No threshold is below this probability, however well the clean texts at hand behave."""

OF_ALL_LENGTHS = "uner_en_ewt"
"""The clean source that has texts of all lengths, joined from the same sentences: shows what length alone does."""

LENGTHS = np.log([1.5, 3.5, 7.5, 15.5, 40.5, 150.5, 400.5])
"""Borders between texts of like length, in the logarithm of sentences."""


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
    family: str = ""


def calibrate(seen: Sequence[Seen], least: float = LEAST) -> Calibration:
    """Fit the logistic map with every source of a label weighing the same, then measure the thresholds."""
    length = _growth([s for s in seen if s.source.startswith(OF_ALL_LENGTHS)])
    rows = np.array(
        [[s.logit - length * np.log(s.sentences), min(s.points, 1.0), 1.0] for s in seen if s.points < 1.0]
    )
    label = np.array([float(s.attack) for s in seen if s.points < 1.0])
    weight = _balanced([s for s in seen if s.points < 1.0])
    beta = np.array([0.5, 1.0, 0.0])
    for _ in range(4000):
        guess = 1 / (1 + np.exp(-np.clip(rows @ beta, -30, 30)))
        beta -= np.array([0.1, 0.5, 0.5]) * (rows.T @ (weight * (guess - label)))
        beta[0], beta[1] = max(beta[0], 0.1), min(max(beta[1], 0.0), MOST_FOR_POINTS)
    slope, points, offset = (round(float(b), 4) for b in beta)
    draft = Calibration(slope, round(-slope * length, 4), points, offset, thresholds=())
    return Calibration(draft.slope, draft.length, draft.points, draft.offset, thresholds(draft, seen, least))


def _growth(clean: Sequence[Seen]) -> float:
    """Return by how much the highest log-odds of a clean text grow with the logarithm of its sentences.

    The 97th percentile over texts of like length, fitted by a line; between 0 and MOST_GROWTH.
    """
    if not clean:
        return 0.0
    length = np.log([s.sentences for s in clean])
    logit = np.array([s.logit for s in clean])
    place = np.digitize(length, LENGTHS)
    points = [
        (length[place == i].mean(), np.quantile(logit[place == i], 0.97), np.sqrt((place == i).sum()))
        for i in np.unique(place)
        if (place == i).sum() >= 30
    ]
    if len(points) < 2:
        return 0.0
    x, y, weight = (np.array(column) for column in zip(*points, strict=True))
    return float(np.clip(np.polyfit(x, y, 1, w=weight)[0], 0.0, MOST_GROWTH))


def thresholds(draft: Calibration, seen: Sequence[Seen], least: float) -> tuple[tuple[float, float], ...]:
    """Return the least probability for each rate: held on the mean of the left-out sources, within EACH on each.

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
        fits = (shares.mean(axis=0) <= rate) & (shares.max(axis=0) <= EACH * rate)
        first = int(np.flatnonzero(fits)[0]) if fits.any() else len(grid) - 1
        out.append((rate, round(float(min(0.9999, max(least, grid[first] + 1e-4))), 4)))
    return tuple(out)


def _balanced(seen: Sequence[Seen]) -> np.ndarray:
    counts: defaultdict[tuple[str, bool], int] = defaultdict(int)
    for s in seen:
        counts[s.source, s.attack] += 1
    groups = defaultdict(int)
    for _, attack in counts:
        groups[attack] += 1
    return np.array([0.5 / counts[s.source, s.attack] / groups[s.attack] for s in seen])

"""From log-odds to probabilities and thresholds, on texts of sources the network has not seen."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sallyport.detect.classifier.classifier import MANY, Calibration

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
"""False-alarm rates of the shipped table."""

EACH, EACH_OF_FEW = 3.0, 1.0
"""Every single source of a class stays below a rate times this; the second where a class has few sources."""

ENOUGH = 30
"""Texts with log-odds of their own that a source needs to have a rate of its own; the same document asked about in
three ways is one."""

MOST_FOR_POINTS, MOST_GROWTH = 0.0, 0.75
"""Bounds of what may be learnt of the rules' points, and of the length of a text."""

STEP = 1e-4
"""Probabilities are told apart by this."""

LEAST = 0.6
"""No threshold is below this probability, however well the clean texts at hand behave."""

OF_ALL_LENGTHS = "uner_en_ewt"
"""The clean source that has texts of all lengths, joined from the same sentences: shows what length alone does."""

LENGTHS = (1.5, 3.5, 7.5, 15.5, 40.5, 150.5, 400.5)
"""Borders between texts of like length, in sentences."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Sources whose honest texts were written to look like attacks: nobody's traffic, so they count by themselves.

    names: how those of the sources begin. times, least: how far above a rate their mean may lie, by this factor
    or up to this share, if that is more.
    """

    names: tuple[str, ...] = ("families", "written")
    times: float = 3.0
    least: float = 0.0

    def most(self, rate: float) -> float:
        return max(self.times * rate, self.least)


ALIKE_USER, ALIKE_CONTENT, NONE_ALIKE = Alike(), Alike(times=6.0, least=0.06), Alike(names=())
"""What users type, what tools and files bring, and a class in which look-alikes count like all others."""


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


def calibrate(
    seen: Sequence[Seen], alike: Alike = NONE_ALIKE, each: float = EACH, least: float = LEAST
) -> Calibration:
    """Fit the logistic map with every source of a label weighing the same, then measure the thresholds."""
    length = _growth([s for s in seen if s.source.startswith(OF_ALL_LENGTHS)])
    rows = np.array(
        [
            [s.logit - length * np.log1p(s.sentences / MANY), min(s.points, 1.0), 1.0]
            for s in seen
            if s.points < 1.0
        ]
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
    return Calibration(
        draft.slope, draft.length, draft.points, draft.offset, thresholds(draft, seen, alike, each, least)
    )


def _growth(clean: Sequence[Seen]) -> float:
    """Return by how much the highest log-odds of a clean text grow with ln(1 + sentences / MANY).

    The 97th percentile over texts of like length, fitted by a line; between 0 and MOST_GROWTH.
    """
    if not clean:
        return 0.0
    sentences = np.array([s.sentences for s in clean])
    length = np.log1p(sentences / MANY)
    logit = np.array([s.logit for s in clean])
    place = np.digitize(sentences, LENGTHS)
    points = [
        (length[place == i].mean(), np.quantile(logit[place == i], 0.97), np.sqrt((place == i).sum()))
        for i in np.unique(place)
        if (place == i).sum() >= 30
    ]
    if len(points) < 2:
        return 0.0
    x, y, weight = (np.array(column) for column in zip(*points, strict=True))
    return float(np.clip(np.polyfit(x, y, 1, w=weight)[0], 0.0, MOST_GROWTH))


def thresholds(
    draft: Calibration, seen: Sequence[Seen], alike: Alike, each: float, least: float
) -> tuple[tuple[float, float], ...]:
    """Return the least probability for each rate: held on the mean of the left-out sources, below each times it on all.

    Sources that look alike have a mean and a bound of their own. What the rules refuse already is no alarm of
    the classifier and does not count.
    """
    sources = defaultdict(list)
    for s in seen:
        if not s.attack:
            p = 0.0 if s.points >= 1.0 else draft.probability(s.logit, s.sentences, s.points)
            sources[s.source].append(p)
    large = {name: np.sort(np.array(v)) for name, v in sources.items() if np.unique(v).size >= ENOUGH}
    made = np.array([name.startswith(alike.names) for name in large])
    known = np.concatenate([*large.values()])
    grid = np.unique(np.concatenate([known, known + STEP]))
    size = np.array([len(v) for v in large.values()])[:, None]
    alarms = size - np.array([np.searchsorted(v, grid, side="left") for v in large.values()])
    shares = alarms / size
    out = []
    for rate in RATES:
        fits = shares[~made].mean(axis=0) <= rate
        fits &= ((alarms[~made] < each * rate * size[~made]) | (alarms[~made] == 0)).all(axis=0)
        if made.any():
            fits &= shares[made].mean(axis=0) <= alike.most(rate)
        first = int(np.flatnonzero(fits)[0]) if fits.any() else len(grid) - 1
        out.append((rate, round(float(min(1.0 - STEP, max(least, grid[first] + STEP))), 4)))
    return tuple(out)


def _balanced(seen: Sequence[Seen]) -> np.ndarray:
    counts: defaultdict[tuple[str, bool], int] = defaultdict(int)
    for s in seen:
        counts[s.source, s.attack] += 1
    groups = defaultdict(int)
    for _, attack in counts:
        groups[attack] += 1
    return np.array([0.5 / counts[s.source, s.attack] / groups[s.attack] for s in seen])

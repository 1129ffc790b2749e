"""From log-odds to probabilities and thresholds, on texts of sources the network has not seen."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sallyport.detect.classifier.classifier import Calibration, length
from sallyport.detect.opinion import CERTAIN

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
"""False-alarm rates of the shipped table."""

EACH, EACH_OF_FEW = 3.0, 1.0
"""Every single source of a class stays below a rate times this; the second where a class has few sources."""

ENOUGH = 30
"""Texts with log-odds of their own that a source needs to have a rate of its own; the same document asked about in
three ways is one."""

MOST_FOR_POINTS = 0.0
"""Bound of what may be learnt of the rules' points."""

GROWTHS = tuple(number / 10 for number in range(4, 16))
"""By how much log-odds may be lowered for the length of a text: at least by what the network itself gives for it, or a
clean text would be more suspicious the more clean text stands beside it.
"""

RATE = 0.01
"""At the threshold of this rate it is counted which growth finds most."""

STEP = 1e-4
"""Probabilities are told apart by this."""

LEAST = 0.6
"""No threshold is below this probability, however well the clean texts at hand behave."""

MAY_PASS, EACH_MAY_PASS = 0.04, 0.2
"""Share of the attacks refused by rules that may pass because the classifier doubts: mean of sources, and of each."""

MOST_DOUBT = 0.45
"""No probability from here on is doubt: what is likelier an attack than not is refused."""

REFUSED = 20
"""Attacks refused by rules that a source needs to count in that."""

JOINED, EACH_JOINED = "uner_en_ewt joined", 2.0
"""The clean source of texts of 1 to 50 KB, joined from lines of another: shows what length alone does. It stays below a
rate times the second."""

SHIPPED = ", the shipped network"
"""How the names of sources end that the network which ships has judged: it has not seen them either, and is surer of
itself than those that sources were left out of."""


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
    seen: Sequence[Seen],
    alike: Alike = NONE_ALIKE,
    each: float = EACH,
    least: float = LEAST,
    planted: Sequence[Seen] = (),
) -> Calibration:
    """Fit the logistic map with every source of a label weighing the same, then measure the thresholds.

    planted: attacks in long texts; together with those seen they decide how much log-odds are lowered for length,
    and nothing else. It is the growth that finds most within the bounds of the thresholds; 0 without long clean texts.
    """
    growths = GROWTHS if any(s.source == JOINED for s in seen) else (0.0,)
    drafts = [_fitted(seen, growth) for growth in growths]
    every = [replace(d, thresholds=thresholds(d, seen, alike, each, least)) for d in drafts]
    return max(every, key=lambda calibration: _found(calibration, [*seen, *planted]))


def _fitted(seen: Sequence[Seen], growth: float) -> Calibration:
    rows = np.array(
        [[s.logit - growth * length(s.sentences), min(s.points, 1.0), 1.0] for s in seen if s.points < 1.0]
    )
    label = np.array([float(s.attack) for s in seen if s.points < 1.0])
    weight = _balanced([s for s in seen if s.points < 1.0])
    beta = np.array([0.5, 1.0, 0.0])
    for _ in range(4000):
        guess = 1 / (1 + np.exp(-np.clip(rows @ beta, -30, 30)))
        beta -= np.array([0.1, 0.5, 0.5]) * (rows.T @ (weight * (guess - label)))
        beta[0], beta[1] = max(beta[0], 0.1), min(max(beta[1], 0.0), MOST_FOR_POINTS)
    slope, points, offset = (round(float(b), 4) for b in beta)
    return Calibration(slope, round(-slope * growth, 4), points, offset, thresholds=())


def _found(calibration: Calibration, seen: Sequence[Seen]) -> float:
    """Return the share of attacks that reach the threshold of RATE, as a mean of their sources."""
    least = calibration.threshold(RATE)
    sources = defaultdict(list)
    for s in seen:
        if s.attack:
            sources[s.source].append(calibration.probability(s.logit, s.sentences, s.points) >= least)
    return float(np.mean([np.mean(found) for found in sources.values()])) if sources else 0.0


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
    most = np.array([EACH_JOINED if name.startswith(JOINED) else each for name in large])[~made, None]
    grid = np.unique(np.concatenate([known, known + STEP]))
    size = np.array([len(v) for v in large.values()])[:, None]
    alarms = size - np.array([np.searchsorted(v, grid, side="left") for v in large.values()])
    shares = alarms / size
    out = []
    for rate in RATES:
        fits = shares[~made].mean(axis=0) <= rate
        fits &= ((alarms[~made] < most * rate * size[~made]) | (alarms[~made] == 0)).all(axis=0)
        if made.any():
            fits &= shares[made].mean(axis=0) <= alike.most(rate)
        first = int(np.flatnonzero(fits)[0]) if fits.any() else len(grid) - 1
        out.append((rate, round(float(min(1.0 - STEP, max(least, grid[first] + STEP))), 4)))
    return tuple(out)


def doubting(draft: Calibration, seen: Sequence[Seen]) -> Calibration:
    """Return a calibration with the greatest probability below which what one rule refuses may pass: hardly any attack
    lies there. How many words stand around what the rule found is not known here, so fewer pass than these.
    """
    sources: defaultdict[str, list[float]] = defaultdict(list)
    for s in seen:
        if s.attack and s.points >= 1.0 - 1e-9:
            certain = s.points >= CERTAIN
            sources[s.source].append(1.0 if certain else draft.probability(s.logit, s.sentences, s.points))
    passing = [np.array(found) for found in sources.values() if len(found) >= REFUSED]
    best = 0.0
    for step in range(1, round(MOST_DOUBT * 100) + 1):
        shares = [float((found < step / 100).mean()) for found in passing]
        if not shares or np.mean(shares) > MAY_PASS or max(shares) > EACH_MAY_PASS:
            break
        best = step / 100
    return replace(draft, doubt=best)


def _balanced(seen: Sequence[Seen]) -> np.ndarray:
    counts: defaultdict[tuple[str, bool], int] = defaultdict(int)
    for s in seen:
        counts[s.source, s.attack] += 1
    groups = defaultdict(int)
    for _, attack in counts:
        groups[attack] += 1
    return np.array([0.5 / counts[s.source, s.attack] / groups[s.attack] for s in seen])

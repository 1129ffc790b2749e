"""Probabilities of planted instructions, and the thresholds that keep false alarms below a rate.

The surface decides what is suspicious: from a user only what is turned against the model's rules, in what
tools and files bring every order to whoever reads it. What nobody outside wrote is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sallyport.exchange import Surface

if TYPE_CHECKING:
    from sallyport.detect.classifier.model import Look, Network

SURFACES: Mapping[Surface, str] = {
    Surface.USER: "user",
    Surface.TOOL_RESULT: "content",
    Surface.DOCUMENT: "content",
    Surface.TOOL_DEFINITION: "tools",
}
"""Class of each surface that is judged."""


MANY = 8
"""Sentences from which the chance that one of them misleads grows with their number; below it hardly does."""

MOST = 64
"""Sentences up to which it grows. In longer texts a planted order would have to be surer than any order is."""


def length(sentences: int) -> float:
    """Return how long a text counts: ln(1 + sentences / MANY), no more than for MOST of them."""
    return math.log1p(min(sentences, MOST) / MANY)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Log-odds to probability for one class: slope * logit + length * length(sentences) + points * rules + offset.

    thresholds: (rate, probability), by rate: a clean text reaches that probability at most this often.
    doubt: probability below which what one rule refuses is taken for a text that only speaks of it; 0 never.
    """

    slope: float
    length: float
    points: float
    offset: float
    thresholds: tuple[tuple[float, float], ...]
    doubt: float = 0.0

    def probability(self, logit: float, sentences: int, points: float) -> float:
        odds = self.slope * logit + self.length * length(sentences) + self.points * points + self.offset
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, odds))))

    def threshold(self, max_false_alarms: float) -> float:
        """Return the least probability that keeps a rate; the strictest known where the rate is below all."""
        known = [p for rate, p in self.thresholds if rate <= max_false_alarms + 1e-12]
        return known[-1] if known else self.thresholds[0][1]


@dataclass(frozen=True, slots=True)
class Judgement:
    """probability that a text holds an injection; start, end: code points of what convinces most."""

    probability: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network with its calibration by surface class. revision: changes with the weights. Thread-safe."""

    network: Network
    calibrations: Mapping[str, Calibration]
    revision: str

    def judge(
        self, text: str, surface: Surface, points: float = 0.0, look: Look = lambda needed_s: None
    ) -> Judgement | None:
        """Judge a normalised text. points: sum of the rules' scores in it; None where nothing is judged.

        Raises what look raises.
        """
        name = SURFACES.get(surface)
        window = None if name is None else self.network.judge(text, name, look)
        if name is None or window is None:
            return None
        probability = self.calibrations[name].probability(window.logit, window.sentences, min(points, 1.0))
        end = window.start + len(text[window.start : window.end].rstrip())
        return Judgement(probability, window.start, max(end, window.start + 1))

    def threshold(self, surface: Surface, max_false_alarms: float) -> float:
        """Return the probability from which a text counts; above 1 for a surface that is not judged."""
        name = SURFACES.get(surface)
        return 2.0 if name is None else self.calibrations[name].threshold(max_false_alarms)

    def doubt(self, surface: Surface) -> float:
        """Return the probability below which one rule errs rather than the classifier; 0 where it is never asked."""
        name = SURFACES.get(surface)
        return 0.0 if name is None else self.calibrations[name].doubt

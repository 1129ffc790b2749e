"""Make scores mean what they say: a slope and an intercept an entity, from sources the network has not seen."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from training.ner.corpora import Sample

from sallyport.detect.ner import builtin

Held = Sequence[tuple[builtin.Recogniser, Sequence[Sample]]]


def calibration(held: Held) -> npt.NDArray[np.float64]:
    """Return (entities, 2), fitted by logistic regression on "this very name is right" over left-out sources.

    Every source weighs the same; the recognisers must not be calibrated yet.
    """
    out = np.zeros((len(builtin.ENTITIES), 2))
    for row, entity in enumerate(builtin.ENTITIES):
        odds, right, weight = [], [], []
        for recogniser, samples in held:
            before = len(odds)
            for sample, spans in zip(samples, recogniser.spans([s.text for s in samples]), strict=True):
                gold = set(sample.spans)
                for span in spans:
                    if span.entity == entity:
                        share = min(max(span.score, 1e-4), 1 - 1e-4)
                        odds.append(np.log(share / (1 - share)))
                        right.append((span.start, span.end, entity) in gold)
            weight += [1.0 / max(1, len(odds) - before)] * (len(odds) - before)
        out[row] = _logistic(np.array(odds), np.array(right, float), np.array(weight))
    return out


def _logistic(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return slope and intercept by Newton's method, each step halved until the loss falls."""
    design = np.stack((x, np.ones_like(x)), axis=1)
    start = np.array([1.0, 0.0])
    weight = weight / weight.sum()

    def loss(theta: npt.NDArray[np.float64]) -> float:
        z = design @ theta
        return float((weight * (np.logaddexp(0.0, z) - y * z)).sum() + 5e-4 * ((theta - start) ** 2).sum())

    theta = start.copy()
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -40, 40)))
        gradient = design.T @ (weight * (p - y)) + 1e-3 * (theta - start)
        hessian = design.T @ (design * (weight * p * (1 - p))[:, None]) + 1e-3 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(theta - size * step) > loss(theta):
            size /= 2
        theta = theta - size * step
    return theta

"""A linear model of tokens: logistic regression, in whole steps as it ships."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from training.credentials.texts import Token

from sallyport.detect.credentials import BUCKETS, features_around, own_features, parted

RIDGE = 0.3
STEPS = 150
LEVELS = 127

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """weights: (BUCKETS,), bias: log-odds of a token are the sum over its features and the bias."""

    weights: Floats
    bias: float

    @property
    def step(self) -> float:
        """Return what one step of the shipped weights is worth."""
        return max(float(np.abs(self.weights).max()), 1e-6) / LEVELS

    def rounded(self) -> NDArray[np.int8]:
        return np.rint(self.weights / self.step).astype(np.int8)


class Bags:
    """The features of tokens. own, around: (tokens, BUCKETS)."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        parts = [parted(t.text.text, t.start, t.end) for t in tokens]
        self.own = _matrix([own_features(token) for _, token, _ in parts])
        self.around = _matrix([features_around(*part) for part in parts])
        self.whole = (self.own + self.around).tocsr()
        self.is_credential = np.array([t.is_credential for t in tokens])
        self.weight = np.array([t.text.weight for t in tokens])

    def fit(self, kept: NDArray[np.bool_]) -> Fitted:
        """Fit to the tokens that are kept."""
        bags, truth, weight = self.whole[kept], self.is_credential[kept].astype(float), self.weight[kept]

        def loss(point: Floats) -> tuple[float, Floats]:
            odds = bags @ point[:-1] + point[-1]
            error = weight * (1.0 / (1.0 + np.exp(-np.clip(odds, -50.0, 50.0))) - truth)
            value = np.sum(weight * (np.logaddexp(0.0, odds) - truth * odds)) + RIDGE / 2 * np.sum(
                point[:-1] ** 2
            )
            return float(value), np.append(bags.T @ error + RIDGE * point[:-1], error.sum())

        found = minimize(
            loss, np.zeros(BUCKETS + 1), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}
        ).x
        return Fitted(found[:-1], float(found[-1]))

    def odds(self, model: Fitted) -> Floats:
        """Return the log-odds of every token as the rounded model gives them."""
        return (self.whole @ model.rounded() * model.step) + model.bias


def _matrix(bags: Sequence[set[str]]) -> csr_matrix:
    """Return how often each bucket stands for a token: two names of one count twice, as where they are summed."""
    columns: list[int] = []
    ends = [0]
    for bag in bags:
        columns += sorted(crc32(name.encode("utf-8", "replace")) % BUCKETS for name in bag)
        ends.append(len(columns))
    return csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(bags), BUCKETS))

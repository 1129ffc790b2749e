"""scripts/train_credentials DATA: trains, chooses the threshold on left-out sources, writes the weights.

Prints versions, minutes, and the tables of docs/models/credentials.md. Needs SciPy, which Sallyport itself does not.
"""

import argparse
import math
import platform
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray
from training.credentials.fit import Bags, Fitted
from training.credentials.made import renewed
from training.credentials.texts import Rules, Text, Token, examples, judged, ordinary, written

from sallyport.detect.credentials import SHIPPED, read, write

SEED = 7
FOLDS = 6
RATE = 0.0003
"""Share of left-out ordinary texts in which the model may report anything."""

THRESHOLDS = (-1.0, 0.0, 1.0, 2.0, 3.0)
AROUND = 95
"""Percentile of what stands around credentials that is taken for the most it can be worth: what costs nothing in what
is found, and spares most looks in prose.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with injection/")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    given = parser.parse_args()
    begun = time.monotonic()
    rules = Rules.shipped()
    texts = [*written(), *examples(rules), *ordinary(given.data, SEED)]
    known = [token for text in texts for token in judged(text, rules)]
    made = [t for text in renewed(texts, SEED) for t in judged(text, rules)]
    tokens = [*known, *made]
    print(
        f"{len(texts)} texts, {len(known)} tokens, {sum(t.is_credential for t in known)} of them credentials"
    )
    bags = Bags(tokens)
    folds = _folds(texts)
    fold = np.array([folds[t.text.source] for t in tokens])
    odds = np.empty(len(tokens))
    for number in range(FOLDS):
        model = bags.fit(fold != number)
        odds[fold == number] = bags.odds(model)[fold == number]
    odds = odds[: len(known)]
    threshold = _threshold(texts, known, odds)
    print("\n".join(_tables(texts, known, odds, threshold)))
    model = bags.fit(np.ones(len(tokens), bool))
    _write(given.out, model, bags, threshold)
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
    print(f"threshold {threshold:.2f}, {time.monotonic() - begun:.0f} seconds, seed {SEED}, {versions}")
    print(f"revision {read(given.out).revision}")


def _folds(texts: Sequence[Text]) -> dict[str, int]:
    """Return in which fold every source is left out."""
    return {source: number % FOLDS for number, source in enumerate(dict.fromkeys(t.source for t in texts))}


def _threshold(texts: Sequence[Text], tokens: Sequence[Token], odds: NDArray[np.float64]) -> float:
    """Return the least log-odds that keep RATE in ordinary texts, none below an even chance."""
    count = sum(text.weight == 1.0 and not text.is_written for text in texts)
    best: dict[int, float] = {}
    for token, value in zip(tokens, odds, strict=True):
        if token.text.weight == 1.0 and not token.text.is_written:
            best[id(token.text)] = max(float(value), best.get(id(token.text), -99.0))
    allowed = int(RATE * count)
    return max(0.0, sorted(best.values(), reverse=True)[allowed] + 0.01)


def _tables(
    texts: Sequence[Text], tokens: Sequence[Token], odds: NDArray[np.float64], threshold: float
) -> Iterator[str]:
    """Yield what left-out sources are worth, at several thresholds and by source."""
    names = [f"{limit:g}" for limit in THRESHOLDS]
    yield "| left out | tokens | " + " | ".join(names) + " |"
    yield "| --- | --- | " + " | ".join("---" for _ in names) + " |"
    groups: dict[str, list[float]] = defaultdict(list)
    for token, value in zip(tokens, odds, strict=True):
        origin = (
            "written texts"
            if token.text.is_written
            else "examples of rules"
            if token.text.weight < 1
            else "ordinary texts"
        )
        groups[f"{origin}, {'credentials' if token.is_credential else 'others'}"].append(float(value))
    for group, values in sorted(groups.items()):
        shares = [sum(v >= limit for v in values) / len(values) for limit in THRESHOLDS]
        yield f"| {group} | {len(values)} | " + " | ".join(f"{share:.2%}" for share in shares) + " |"
    yield ""
    yield "| left-out source | texts | credentials found | other tokens reported | texts with one |"
    yield "| --- | --- | --- | --- | --- |"
    counts: dict[str, int] = defaultdict(int)
    for text in texts:
        counts[text.source] += 1
    for source, count in counts.items():
        mine = [(t, v >= threshold) for t, v in zip(tokens, odds, strict=True) if t.text.source == source]
        found = [hit for t, hit in mine if t.is_credential]
        false = [t for t, hit in mine if hit and not t.is_credential]
        others = sum(not t.is_credential for t, _ in mine)
        yield (
            f"| {source} | {count} | {sum(found)} of {len(found)} | {len(false)} of {others} | "
            f"{len({id(t.text) for t in false})} |"
        )


def _write(path: Path, model: Fitted, bags: Bags, threshold: float) -> None:
    weights = model.rounded()
    around = (bags.around @ weights)[bags.is_credential]
    write(
        path,
        weights.tolist(),
        bias=round(model.bias / model.step),
        threshold=math.ceil(threshold / model.step),
        around=int(np.percentile(around, AROUND)),
        step=model.step,
    )


if __name__ == "__main__":
    main()

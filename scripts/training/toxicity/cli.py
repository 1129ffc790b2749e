"""Train the toxicity scorer, measure it on what it has not seen, and write its weights.

DATA is a folder of JSON lines as scripts/train_injection takes it: clean sentences come from there.
"""

import gzip
import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from training.toxicity.grammar import Sentence, sentences

from sallyport.detect.watching.toxicity import BUCKETS, SHIPPED, ToxicityModel, features, write

SEED = 5
CLEAN = {
    "injection/arena_hard": 1500,
    "injection/oss_docs_about_security": 1000,
    "injection/webarena_intents": 400,
    "pii/wikigold": 1600,
    "pii/europeana_de_lft": 1300,
    "pii/europeana_fr_bnf": 2500,
}
"""Sources of clean sentences, and how many of each are read; every second is for measuring only."""
HOSTILE_PROMPTS = frozenset((
    9, 23, 59, 60, 79, 87, 133, 146, 167, 176, 248, 256, 264, 268, 285, 297, 322, 338, 348, 369, 384, 417,
    420, 421, 516, 518, 529, 554, 589, 592, 595, 596, 615, 616,
))  # fmt: skip
"""Rows of realtoxicityprompts_sample, in the order of PROMPT_SEED, that a reader found hostile; its own labels
are about what a model would write next. Those below UNSEEN_PROMPTS are for measuring only."""
PROMPT_SEED, UNSEEN_PROMPTS, PROMPT_WEIGHT = 11, 180, 6

EPOCHS, RATE, DECAY, BATCH = 12, 0.5, 2e-6, 64
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)

type Floats = NDArray[np.float32]


def clean(data: Path) -> Iterator[tuple[str, str]]:
    """Yield source and sentence."""
    for source, limit in CLEAN.items():
        path = next(p for p in (data / f"{source}.jsonl", data / f"{source}.jsonl.gz") if p.exists())
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        texts = [json.loads(line)["text"] for line in raw.decode().split("\n") if line]
        for text in texts[:limit]:
            yield source, text.strip()[:400]


def prompts(data: Path) -> list[tuple[int, str, bool]]:
    """Return number, text, and whether it is hostile."""
    with (data / "output" / "realtoxicityprompts_sample.jsonl").open() as lines:
        texts = [json.loads(line)["text"] for line in lines]
    random.seed(PROMPT_SEED)
    random.shuffle(texts)
    return [(number, text, number in HOSTILE_PROMPTS) for number, text in enumerate(texts)]


def fit(examples: Sequence[tuple[list[int], bool]], seed: int) -> ToxicityModel:
    """Fit a logistic regression; both sides weigh the same."""
    weights, bias = np.zeros(BUCKETS, np.float32), 0.0
    squares = np.full(BUCKETS, 1e-3, np.float32)
    share = sum(hostile for _, hostile in examples) / len(examples)
    order = [*range(len(examples))]
    chance = random.Random(seed)  # noqa: S311 - no secret depends on it
    for _ in range(EPOCHS):
        chance.shuffle(order)
        for index in order:
            buckets, hostile = examples[index]
            if not buckets:
                continue
            scale = 1.0 / math.sqrt(len(buckets))
            total = float(weights[buckets].sum()) * scale + bias
            error = 1.0 / (1.0 + math.exp(-max(min(total, 30.0), -30.0))) - hostile
            error *= 0.5 / share if hostile else 0.5 / (1 - share)
            slope = error * scale + DECAY * weights[buckets]
            squares[buckets] += slope * slope
            weights[buckets] -= RATE * slope / np.sqrt(squares[buckets])
            bias -= 0.01 * error
    return ToxicityModel(weights, bias)


def measure(model: ToxicityModel, texts: Sequence[tuple[str, str]]) -> dict[str, list[float]]:
    """Return per group, at each threshold, the share of texts that count."""
    scores: dict[str, list[float]] = {}
    for group, text in texts:
        scores.setdefault(group, []).append(model.score(text))
    return {
        group: [sum(score >= limit for score in found) / len(found) for limit in THRESHOLDS]
        for group, found in sorted(scores.items())
    }


def folds(made: Sequence[Sentence], count: int = 5) -> list[list[Sentence]]:
    """Return the sentences in parts that share no template."""
    names = sorted({sentence.template for sentence in made})
    random.Random(SEED).shuffle(names)  # noqa: S311 - no secret depends on it
    part = {name: number % count for number, name in enumerate(names)}
    return [[s for s in made if part[s.template] == number] for number in range(count)]


def main() -> None:
    data = Path(sys.argv[1])
    made = sentences(SEED)
    harmless = [*clean(data)]
    known, unseen = harmless[::2], harmless[1::2]
    examples = [(features(text), False) for _, text in known]
    read = prompts(data)
    for number, text, hostile in read:
        if number >= UNSEEN_PROMPTS:
            examples += [(features(text), hostile)] * (PROMPT_WEIGHT if hostile else 2)
    print(f"{len(made)} made sentences, {len(known)} clean ones, {len(unseen)} clean ones for measuring")
    left_out: list[tuple[str, str]] = []
    shares: dict[str, list[list[float]]] = {}
    for part in folds(made):
        others = [(features(s.text), s.hostile) for s in made if s not in part]
        model = fit(examples + others, SEED)
        left_out = [(f"{s.language} {'hostile' if s.hostile else 'harmless'}", s.text) for s in part]
        for group, found in measure(model, left_out).items():
            shares.setdefault(group, []).append(found)
    model = fit(examples + [(features(s.text), s.hostile) for s in made], SEED)
    print("threshold", *THRESHOLDS, sep="\t")
    for group, parts in sorted(shares.items()):
        print(
            f"left-out templates, {group}", *(f"{np.mean(c):.3f}" for c in zip(*parts, strict=True)), sep="\t"
        )
    unseen += [
        (f"prompts, {'hostile' if hostile else 'other'}", text)
        for number, text, hostile in read
        if number < UNSEEN_PROMPTS
    ]
    for group, found in measure(model, unseen).items():
        print(f"unseen, {group}", *(f"{share:.4f}" for share in found), sep="\t")
    write(SHIPPED, model.weights, model.bias)


if __name__ == "__main__":
    main()

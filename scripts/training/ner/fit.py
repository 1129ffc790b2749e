"""Fit a network to samples and hand it to the runtime."""

import random
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from training.ner.corpora import Sample
from training.ner.features import Encoded, Spellings, Tables, encode
from training.ner.network import Batch, Network, Sizes

from sallyport.detect.ner import builtin
from sallyport.detect.ner import words as lexical

GAP = 4
BATCH_WORDS = 2400

Augment = Callable[[Sample, random.Random], Sample]


def batch_of(encoded: Sequence[Encoded], weights: Sequence[float], spellings: Spellings) -> Batch:
    """Lay texts one after the other, GAP zero rows before each."""
    count = sum(len(e.words) + GAP for e in encoded)
    ids = np.full(count, -1, np.int64)
    around = np.zeros((count, encoded[0].around.shape[1]), np.float32)
    tags = np.zeros(count, np.int64)
    weight = np.zeros(count, np.float32)
    at = 0
    for item, importance in zip(encoded, weights, strict=True):
        at += GAP
        to = at + len(item.words)
        ids[at:to], around[at:to], tags[at:to], weight[at:to] = item.words, item.around, item.tags, importance
        at = to
    unique, index = np.unique(ids, return_inverse=True)
    unique[unique < 0] = 0
    ngrams = [spellings.ngrams[u] for u in unique]
    sizes = np.array([len(n) for n in ngrams])
    bits = np.array([spellings.bits[u] for u in unique])
    return Batch(
        flat=torch.from_numpy(np.concatenate(ngrams)),
        offsets=torch.from_numpy(np.concatenate(([0], np.cumsum(sizes)[:-1]))),
        rows=torch.tensor([spellings.rows[u] for u in unique]),
        shapes=torch.tensor([spellings.shapes[u] for u in unique]),
        bits=torch.from_numpy(((bits[:, None] >> np.arange(len(lexical.LISTS))) & 1).astype(np.float32)),
        index=torch.from_numpy(index),
        around=torch.from_numpy(around),
        mask=torch.from_numpy((ids >= 0).astype(np.float32)[:, None]),
        tags=torch.from_numpy(tags),
        weights=torch.from_numpy(weight),
    )


def fit(
    samples: Sequence[Sample],
    importance: Callable[[Sample], float],
    tables: Tables,
    augment: Augment,
    *,
    sizes: Sizes,
    epochs: int,
    seed: int,
    rate: float = 2e-3,
) -> Network:
    """Train with Adam and a rate that rises for a twentieth and then falls in a line; return the average of the
    weights over the last third of the steps."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = random.Random(seed)  # noqa: S311
    spellings = Spellings(tables)
    network = Network(tables.vocabulary, sizes)
    dense = [p for n, p in network.named_parameters()]
    optimiser = torch.optim.Adam(dense, lr=rate, betas=(0.9, 0.98), eps=1e-6)
    loss_of = torch.nn.CrossEntropyLoss(reduction="none", label_smoothing=0.02)
    words = sum(len(s.text) / 5.0 + GAP for s in samples)
    steps = int(epochs * words / BATCH_WORDS) + 1
    average: dict[str, torch.Tensor] = {}
    averaged = step = 0
    known: dict[int, Encoded] = {}  # of samples as they are, which stay alive in `samples`
    began = time.monotonic()
    for epoch in range(epochs):
        network.train()
        order = list(samples)
        rng.shuffle(order)
        pending: list[Encoded] = []
        weights: list[float] = []
        size, total, seen = 0, 0.0, 0
        for number, sample in enumerate(order):
            changed = augment(sample, rng)
            item = known.get(id(changed))
            if item is None and changed.text.strip():
                item = encode(changed.text, changed.spans, spellings)
                if changed is sample:
                    known[id(sample)] = item
            if item is not None and len(item.words):
                pending.append(item)
                weights.append(importance(sample))
                size += len(item.words)
            if pending and (size >= BATCH_WORDS or number == len(order) - 1):
                batch = batch_of(pending, weights, spellings)
                for group in optimiser.param_groups:
                    group["lr"] = rate * max(0.02, min(1.0, 20 * (step + 1) / steps, 1.03 - step / steps))
                losses = loss_of(network(batch), batch.tags)
                loss = (losses * batch.weights).sum() / batch.weights.sum()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(dense, 2.0)
                optimiser.step()
                step += 1
                total += float(loss.detach())
                seen += 1
                if step > steps * 2 // 3 and step % 8 == 0:
                    averaged += 1
                    for name, value in network.state_dict().items():
                        if name in average:
                            average[name] += (value - average[name]) / averaged
                        else:
                            average[name] = value.clone()
                pending, weights, size = [], [], 0
        print(
            f"  epoch {epoch + 1}: loss {total / max(1, seen):.4f}, {step} steps, {time.monotonic() - began:.0f} s",
            flush=True,
        )
    if average:
        network.load_state_dict(average)
    network.eval()
    return network


def runtime(network: Network, tables: Tables, calibration: np.ndarray | None = None) -> builtin.Recogniser:
    """Return the runtime recogniser with the very arrays that would be shipped."""
    return builtin.Recogniser(builtin.weights_of(shipped(network, tables, calibration)), "training")


def shipped(network: Network, tables: Tables, calibration: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return all arrays of the weights file."""
    return {
        "listed": tables.listed,
        "listed_bits": tables.listed_bits,
        "listed_word": tables.listed_word,
        "pairs": tables.pairs,
        "pairs_bits": tables.pairs_bits,
        "triples": tables.triples,
        "triples_bits": tables.triples_bits,
        "calibration": np.array([[1.0, 0.0]] * 3) if calibration is None else calibration,
        **network.arrays(),
    }

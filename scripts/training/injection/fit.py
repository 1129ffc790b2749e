"""Fits the network: every text is a bag of windows, judged by its most suspicious one.

Several networks, from other beginnings, err in other places: what judges is their mean. Plain NumPy and SciPy, a
process and a thread each, the same result for the same seed.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import block_diag
from training.injection.texts import Text

from sallyport.detect.classifier.concepts import Concepts
from sallyport.detect.classifier.features import BUCKETS, words
from sallyport.detect.classifier.model import (
    BELONGING,
    REACH,
    Head,
    Network,
    Places,
    belonging,
    root,
    windows,
)
from sallyport.detect.classifier.weights import stepped

SURFACES = ("user", "content", "tools")

FEW = 4
"""Sentences of an attack up to which all of its windows should be high; in a longer one most are ordinary."""

APART = 100
"""Seeds of the networks of one fit lie this far from each other."""

PIECE = 1 << 15
"""Numbers of an array that are updated at once: few enough for a processor's cache."""


_SAMPLE = 10
"""Every which text is looked at for the directions that are kept."""

type Values = dict[str, np.ndarray]
"""What is learnt, by name; layers of all surfaces are stacked."""


@dataclass(frozen=True, slots=True)
class Settings:
    seed: int = 7
    networks: int = 4
    rows: int = 1 << 18
    width: int = 24
    hidden: int = 32
    epochs: int = 4
    batch: int = 256
    rate: float = 0.004
    dropout: float = 0.6
    decay: float = 2e-5
    smoothing: float = 0.05
    max_sentences: int = 60


@dataclass(slots=True)
class Bag:
    """One text: features of its sentences, how many in each, words in each, which hold the planted part.

    belonging: of its windows.
    """

    indices: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray
    planted: np.ndarray | None
    belonging: np.ndarray
    text: Text


def bag(text: Text, limit: int, concepts: Concepts) -> Bag | None:
    read = words(text.text, concepts)
    count = read.sentences.size
    if not count:
        return None
    planted = None
    if text.attack and text.planted is not None:
        starts = np.append(read.starts[read.sentences], len(text.text))
        planted = (starts[:-1] < text.planted[1]) & (starts[1:] > text.planted[0])
    low, high = 0, count
    if count > limit:
        middle = int(np.flatnonzero(planted).mean()) if planted is not None and planted.any() else limit // 2
        low = max(0, min(middle - limit // 2, count - limit))
        high = low + limit
    blocks = (
        (read.buckets, read.sentences),
        (read.runs, read.first_runs),
        (read.concepts, read.first_concepts),
    )
    pieces = [
        np.split(b, np.append(firsts, b.shape[1])[low : high + 1], axis=1)[1:-1] for b, firsts in blocks
    ]
    flat = [np.concatenate([p.ravel() for p in parts]) for parts in zip(*pieces, strict=True)]
    lengths = np.diff(np.append(read.sentences, read.starts.size))[low:high]
    first = int(read.sentences[low])
    return Bag(
        np.concatenate(flat).astype(np.int32),
        np.array([f.size for f in flat]),
        lengths,
        None if planted is None else planted[low:high],
        belonging(read.topics[first : first + int(lengths.sum())], lengths),
        text,
    )


class Adam:
    def __init__(self, shapes: Values, rate: float) -> None:
        self.first = {k: np.zeros_like(v) for k, v in shapes.items()}
        self.second = {k: np.zeros_like(v) for k, v in shapes.items()}
        self.rate, self.step = rate, 0

    def update(self, values: Values, slopes: Values, scale: float) -> None:
        self.step += 1
        rate = self.rate * scale * np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
        for key, whole in slopes.items():
            arrays = (values[key], self.first[key], self.second[key], whole)
            flat = [a.reshape(-1) for a in arrays]
            for at in range(0, whole.size, PIECE):
                value, first, second, slope = (a[at : at + PIECE] for a in flat)
                first *= 0.9
                first += 0.1 * slope
                second *= 0.999
                second += 0.001 * slope * slope
                value -= rate * first / (np.sqrt(second) + 1e-8)


def bags_of(texts: Sequence[Text], settings: Settings, concepts: Concepts) -> list[Bag]:
    """Read every text; those without words are left out."""
    return [b for b in (bag(t, settings.max_sentences, concepts) for t in texts) if b is not None]


def fit(
    bags: Sequence[Bag],
    settings: Settings,
    concepts: Concepts,
    say: Callable[[str], None] = lambda line: None,
) -> Network:
    """Fit the networks, each in a process of its own, and return what judges as all of them on average."""
    places = known(bags, settings.rows)
    seeds = [settings.seed + number * APART for number in range(settings.networks)]
    with ProcessPoolExecutor(
        min(len(seeds), os.cpu_count() or 1),
        mp_context=get_context("fork"),  # so that the bags are there and need not be sent
        initializer=_begin,
        initargs=(bags, places, settings, say),
    ) as pool:
        return network([*pool.map(_one, seeds)], places, concepts, bags, settings.width)


_given: tuple[Sequence[Bag], Places, Settings, Callable[[str], None]]


def _begin(*given: Any) -> None:
    global _given
    _given = given


def _one(seed: int) -> Values:
    """Fit one network, in a process that has begun."""
    bags, places, settings, say = _given
    rng = np.random.default_rng(seed)
    values = _fresh(rng, settings)
    adam = Adam(values, settings.rate)
    steps = settings.epochs * -(-len(bags) // settings.batch)
    for epoch in range(settings.epochs):
        order = rng.permutation(len(bags))
        losses = []
        for place in range(0, len(bags), settings.batch):
            chosen = [bags[i] for i in order[place : place + settings.batch]]
            loss, slopes = _step(values, places, chosen, rng, settings)
            losses.append(loss)
            done = adam.step / steps
            adam.update(values, slopes, max(0.02, 1.0 - done))
        say(f"seed {seed}, epoch {epoch + 1}: loss {np.mean(losses):.4f}")
    return values


def known(bags: Sequence[Bag], rows: int) -> Places:
    """Return the row of every feature, from 1; 0 for all but those that most texts have.

    What a rare feature is taken to mean holds of the texts it was learnt from and of no others; and if all had
    a row, each would share it with twenty.
    """
    texts, last = np.zeros(BUCKETS, np.int32), np.zeros(BUCKETS, np.int32)
    for item in bags:
        number = np.arange(item.indices.size, dtype=np.int32)
        last[item.indices] = number
        texts[item.indices[last[item.indices] == number]] += 1
    places = np.zeros(BUCKETS, np.int32)
    common = np.sort(np.argsort(-texts, kind="stable")[: rows - 1])
    common = common[texts[common] > 0]
    places[common] = np.arange(1, common.size + 1)
    return places


def network(
    fitted: Sequence[Values], places: Places, concepts: Concepts, bags: Sequence[Bag], width: int
) -> Network:
    """Return one network of several: heads that add what each would say, over a table that all of them share.

    Their tables side by side would cost each lookup as many times the memory; what sentences say in them lies in
    few directions, which are kept.
    """
    table = np.hstack([values["table"][: places.max() + 1] for values in fitted])
    kept = _directions(table, places, bags[::_SAMPLE], width)
    heads = {
        name: Head(
            _inner([values["inner"][i] for values in fitted], kept),
            np.concatenate([values["inner_bias"][i] for values in fitted]).astype(np.float32),
            (np.concatenate([values["outer"][i] for values in fitted]) / len(fitted)).astype(np.float32),
            float(np.mean([values["outer_bias"][i] for values in fitted])),
        )
        for i, name in enumerate(SURFACES)
    }
    return Network(places, *stepped(table @ kept), heads, concepts)


def _directions(table: np.ndarray, places: Places, bags: Sequence[Bag], width: int) -> np.ndarray:
    """Return the directions in which the sentences of texts differ most, (columns of the table, width)."""
    spread = np.zeros((table.shape[1], table.shape[1]))
    for item in bags:
        firsts = np.cumsum(item.counts) - item.counts
        sums = np.add.reduceat(table.take(places.take(item.indices), axis=0), firsts, axis=0)
        sums *= root(item.lengths)[:, None]
        spread += sums.T @ sums
    _, directions = np.linalg.eigh(spread)
    return np.ascontiguousarray(directions[:, : -width - 1 : -1]).astype(np.float32)


def _inner(inners: Sequence[np.ndarray], kept: np.ndarray) -> np.ndarray:
    """Return the first layers of networks as one: of windows, of their surroundings, of what all have in common."""
    width = (len(inners[0]) - BELONGING) // 2
    near, around = (kept.T @ block_diag(*(i[at : at + width] for i in inners)) for at in (0, width))
    return np.vstack([near, around, np.hstack([i[2 * width :] for i in inners])]).astype(np.float32)


def _fresh(rng: np.random.Generator, settings: Settings) -> Values:
    k, h = settings.width, settings.hidden
    table = rng.normal(0, 0.05, (settings.rows, k)).astype(np.float32)
    table[0] = 0.0
    spreads = ((k, 1 / np.sqrt(k)), (k, 0.3 / np.sqrt(k)), (BELONGING, 0.3))
    inner = np.concatenate([rng.normal(0, spread, (rows, h)) for rows, spread in spreads])
    outer = rng.normal(0, 1 / np.sqrt(h), h)
    return {
        "table": table,
        "inner": np.stack([inner] * len(SURFACES)).astype(np.float32),
        "inner_bias": np.zeros((len(SURFACES), h), np.float32),
        "outer": np.stack([outer] * len(SURFACES)).astype(np.float32),
        "outer_bias": np.full(len(SURFACES), -1.0, np.float32),
    }


def _step(values, places, bags, rng, settings):
    indices = places.take(np.concatenate([b.indices for b in bags]))
    some = indices.nonzero()[0]
    indices = indices.take(some)
    lengths = np.concatenate([b.lengths for b in bags])
    counts = np.array([b.lengths.size for b in bags])
    indptr = some.searchsorted(np.concatenate([[0], np.cumsum(np.concatenate([b.counts for b in bags]))]))
    keep = (rng.random(indices.size, np.float32) >= settings.dropout).astype(np.float32) / (
        1 - settings.dropout
    )
    sentences = sparse.csr_matrix((keep, indices, indptr), shape=(lengths.size, settings.rows))
    sums = sentences @ values["table"]
    base = np.cumsum(counts) - counts
    pieces = [windows(int(n)) for n in counts]
    low = np.concatenate([p[0] + b for p, b in zip(pieces, base, strict=True)])
    high = np.concatenate([p[1] + b for p, b in zip(pieces, base, strict=True)])
    owner = np.repeat(np.arange(len(bags)), [p[0].size for p in pieces])
    total = np.vstack([np.zeros((1, sums.shape[1])), np.cumsum(sums, axis=0, dtype=np.float64)])
    counted = np.concatenate([[0], np.cumsum(lengths)])
    first = np.maximum(low - REACH, base[owner])
    last = np.minimum(high + REACH, (base + counts)[owner])
    size = counted[high] - counted[low]
    near = _differences(low.size, total.shape[0], ((high, 1), (low, -1)), root(size))
    around = _differences(
        low.size,
        total.shape[0],
        ((last, 1), (first, -1), (high, -1), (low, 1)),
        root(counted[last] - counted[first] - size),
    )
    pool = np.hstack([near @ total, around @ total, np.concatenate([b.belonging for b in bags])]).astype(
        np.float32
    )

    surface = np.array([SURFACES.index(b.text.surface) for b in bags])[owner]
    logits = np.zeros(owner.size, np.float32)
    hidden = {}
    for i in np.unique(surface):
        rows = np.flatnonzero(surface == i)
        raw = pool[rows] @ values["inner"][i] + values["inner_bias"][i]
        hidden[i] = (rows, raw)
        logits[rows] = np.maximum(raw, 0) @ values["outer"][i] + values["outer_bias"][i]

    loss, slope = _loss(bags, counts, base, low, high, owner, logits, settings.smoothing)
    slopes = {k: np.zeros_like(v) for k, v in values.items() if k != "table"}
    dpool = np.zeros_like(pool)
    for i, (rows, raw) in hidden.items():
        g = slope[rows]
        act = np.maximum(raw, 0)
        slopes["outer"][i] = act.T @ g
        slopes["outer_bias"][i] = g.sum()
        dh = np.outer(g, values["outer"][i]) * (raw > 0)
        slopes["inner"][i] = pool[rows].T @ dh + settings.decay * 10 * values["inner"][i]
        slopes["inner_bias"][i] = dh.sum(0)
        dpool[rows] = dh @ values["inner"][i].T
    width = sums.shape[1]
    dtotal = near.T @ dpool[:, :width] + around.T @ dpool[:, width : 2 * width]
    dsums = np.cumsum(dtotal[:0:-1], axis=0)[::-1].astype(np.float32)
    slopes["table"] = (sentences.T @ dsums) + settings.decay * values["table"]
    return loss, slopes


def _differences(rows, columns, ends, scale):
    """Return the matrix that takes running sums to scaled differences of them; ends: (columns, sign)."""
    where = np.concatenate([at for at, _ in ends])
    signs = np.concatenate([np.full(rows, sign, np.float64) * scale for _, sign in ends])
    return sparse.csr_matrix((signs, (np.tile(np.arange(rows), len(ends)), where)), shape=(rows, columns))


def _loss(bags, counts, base, low, high, owner, logits, smoothing):
    """Return the loss, and its slope for every window.

    A bag counts by its best window (seven tenths) and by the mean of all; in an attack whose planted part is
    known the windows inside it should be high and those that do not touch it low. smoothing: how far from 0 and
    1 the aim lies, so that one odd text is not learnt by heart.
    """
    slope = np.zeros(logits.size, np.float32)
    ends = np.cumsum(np.bincount(owner, minlength=len(bags)))
    begin = ends - np.bincount(owner, minlength=len(bags))
    sigmoid = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    loss, total = 0.0, sum(b.text.weight for b in bags)
    for i, item in enumerate(bags):
        where = np.arange(begin[i], ends[i])
        weight = item.text.weight / total
        if not item.text.attack:
            loss += _pull(where, logits, sigmoid, slope, weight, smoothing)
            continue
        if item.planted is None:
            loss += _pull(where, logits, sigmoid, slope, weight, 1.0 - smoothing, spread=counts[i] <= FEW)
            continue
        inside = np.concatenate([[0], np.cumsum(item.planted)])
        a, b = low[where] - base[i], high[where] - base[i]
        held = (inside[b] - inside[a]) / (b - a)
        full = where[held >= 0.6]
        clear = where[held == 0]
        if full.size:
            few = item.planted.sum() <= FEW
            loss += _pull(full, logits, sigmoid, slope, weight, 1.0 - smoothing, spread=few)
        if clear.size:
            loss += _pull(clear, logits, sigmoid, slope, weight * 0.5, smoothing)
    return loss, slope


def _pull(where, logits, sigmoid, slope, weight, label, spread=True):
    best = where[logits[where].argmax()]
    share = 1.0 if not spread else 0.9 if label > 0.5 else 0.7
    slope[best] += share * weight * (sigmoid[best] - label)
    if spread:
        slope[where] += (1 - share) * weight * (sigmoid[where] - label) / where.size
    sign = -1.0 if label > 0.5 else 1.0
    return float(weight * np.logaddexp(0, sign * logits[best]))

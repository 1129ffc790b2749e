"""Tags of words to names, with the probability that a name is exactly this one.

Tags: 0 is outside; then for each entity begin, inside, end, single. Only rows in which a name is conceivable are
decoded; outside them the way is forced, so the cost follows the number of names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

TAGS: Final = 13
CONCEIVABLE: Final = 0.03
"""A word whose probability of belonging to a name is below this is outside."""

LONGEST: Final = 256
"""Words decoded at a time; bounds memory where a whole text looks like names."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A name from word `first` to word `last`, inclusive; entity 0, 1, 2; log_odds of being exactly so."""

    first: int
    last: int
    entity: int
    log_odds: float


def _allowed() -> npt.NDArray[np.float64]:
    """Return 1 where the tag of the column may follow the tag of the row."""
    table = np.zeros((TAGS, TAGS))
    closed = [0, *(1 + 4 * e + k for e in range(3) for k in (2, 3))]
    opening = [0, *(1 + 4 * e + k for e in range(3) for k in (0, 3))]
    for tag in closed:
        table[tag, opening] = 1.0
    for entity in range(3):
        begin, inside, end = (1 + 4 * entity + k for k in range(3))
        table[begin, [inside, end]] = 1.0
        table[inside, [inside, end]] = 1.0
    return table


_FOLLOWS: Final = _allowed()
_BLOCKED: Final = np.where(_FOLLOWS > 0, 0.0, -1e9)


def decode(logits: npt.NDArray[np.float32], breaks: npt.NDArray[np.bool_]) -> Iterator[Tagged]:
    """Yield the names in order. logits (words, TAGS); breaks: line breaks and gaps, which no name contains."""
    if not len(logits):
        return
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability = shifted / shifted.sum(axis=1, keepdims=True)
    conceivable = (probability[:, 0] < 1 - CONCEIVABLE) & ~breaks
    edges = np.flatnonzero(np.diff(np.concatenate(([False], conceivable, [False])).astype(np.int8)))
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        for low in range(first, end, LONGEST):
            yield from _stretch(probability[low : min(end, low + LONGEST)].astype(np.float64), low)


def _stretch(probability: npt.NDArray[np.float64], offset: int) -> Iterator[Tagged]:
    """Decode a stretch with outside on both sides: best way, then the share of all ways that holds each name."""
    count = len(probability)
    score = np.log(probability + 1e-12)
    back = np.zeros((count, TAGS), np.int64)
    best = score[0] + _BLOCKED[0]
    forward = np.zeros((count + 1, TAGS))
    forward[0, 0] = 1.0
    scale = np.zeros(count)
    for at in range(count):
        if at:
            ways = best[:, None] + _BLOCKED
            back[at] = ways.argmax(axis=0)
            best = ways[back[at], np.arange(TAGS)] + score[at]
        row = (forward[at] @ _FOLLOWS) * probability[at]
        scale[at] = row.sum() + 1e-300
        forward[at + 1] = row / scale[at]
    backward = np.zeros((count + 1, TAGS))
    backward[count] = _FOLLOWS[:, 0]
    for at in range(count - 1, -1, -1):
        backward[at] = (_FOLLOWS @ (probability[at] * backward[at + 1])) / scale[at]
    total = float(forward[count] @ backward[count]) + 1e-300
    tags = [int((best + _BLOCKED[:, 0]).argmax())]
    for at in range(count - 1, 0, -1):
        tags.append(int(back[at, tags[-1]]))
    tags.reverse()
    first = 0
    for at, tag in enumerate(tags):
        if tag == 0:
            continue
        entity, place = divmod(tag - 1, 4)
        if place in (0, 3):
            first = at
        if place in (2, 3):
            share = float(forward[first] @ _FOLLOWS[:, tags[first]]) * float(backward[at + 1][tag]) / total
            for step in range(first, at + 1):
                share *= probability[step, tags[step]] / scale[step]
            share = min(max(share, 1e-9), 1 - 1e-9)
            yield Tagged(offset + first, offset + at, entity, float(np.log(share / (1 - share))))

"""How hostile a sentence is: a linear model over hashed words and letters, and the watcher that asks it.

Insults, threats, contempt for groups of people, calls to self-harm, in English, German, French and Spanish. It
is trained on sentences written for it (docs/models/toxicity.md says how well that serves) and is off by default.
"""

import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sallyport.decision import Kind, Severity
from sallyport.detect.watching.watcher import Match
from sallyport.errors import OperatorError
from sallyport.fold import fold

RULE = "output.toxicity.sentence"
SHIPPED = Path(__file__).parent / "toxicity.npz"

BUCKETS = 1 << 15
MAX_SENTENCE = 400
"""Characters after which a sentence without an end is judged."""

_RUN = 4
_WORD = re.compile(r"\w+(?:'\w+)?")
_ENDED = re.compile(r"[.!?。！？]+[\"'»”)*_]*(?=\s)|\n")
_LEET = str.maketrans("013457@$", "oieastas")


def features(sentence: str) -> list[int]:
    """Return the buckets of a sentence, each once: words, pairs of words, words with a gap, runs of four letters."""
    words = [_plain(word) for word in _WORD.findall(fold(sentence).lower())]
    names = [f"w{word}" for word in words]
    names += [f"p{a} {b}" for a, b in pairwise(words)]
    names += [f"g{a} {b}" for a, b in zip(words, words[2:], strict=False)]
    for word in words:
        framed = f"<{word}>"
        names += [f"c{framed[at : at + _RUN]}" for at in range(max(len(framed) - _RUN + 1, 1))]
    return sorted({zlib.crc32(name.encode("utf-8", "replace")) & (BUCKETS - 1) for name in names})


def _plain(word: str) -> str:
    """Return a word with the digits that stand for letters read as those; a number stays one."""
    return word if word.isdecimal() else word.translate(_LEET)


@dataclass(frozen=True, slots=True)
class ToxicityModel:
    """Weights of the buckets, (BUCKETS,), and the bias, both for a sum divided by the root of its length."""

    weights: NDArray[np.float32]
    bias: float

    def score(self, sentence: str) -> float:
        """Return the probability, 0 to 1, that a sentence is hostile; 0 for one without words. Never raises."""
        buckets = features(sentence)
        if not buckets:
            return 0.0
        total = float(self.weights[buckets].sum()) / math.sqrt(len(buckets)) + self.bias
        return 1.0 / (1.0 + math.exp(-max(min(total, 60.0), -60.0)))


@cache
def shipped() -> ToxicityModel:
    """Return the model that comes with Sallyport. Raises OperatorError where its file is damaged."""
    return read(SHIPPED)


def read(path: Path) -> ToxicityModel:
    """Read a weights file; no pickles. Raises OperatorError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            weights = arrays["weights"].astype(np.float32) * np.float32(arrays["scale"])
            bias = float(arrays["bias"])
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        what = f"cannot be read: {type(error).__name__}"
        raise OperatorError(str(path), what, "Install Sallyport again") from None
    if weights.shape != (BUCKETS,):
        raise OperatorError(str(path), "is of another version", "Install Sallyport again")
    return ToxicityModel(weights, bias)


def write(path: Path, weights: NDArray[np.float32], bias: float) -> None:
    """Write a weights file, eight bits a weight; the same bytes for the same weights."""
    scale = max(float(np.abs(weights).max()), 1e-6) / 127.0
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            weights=np.rint(weights / scale).astype(np.int8),
            scale=np.float32(scale),
            bias=np.float32(bias),
        )


class ToxicityWatcher:
    """Follows one channel; see Watcher for what holds. A sentence is held until it has ended.

    threshold: the probability from which a sentence is a match; its score is the probability.
    """

    def __init__(self, model: ToxicityModel, threshold: float) -> None:
        self._model = model
        self._threshold = threshold
        self._buffer = ""
        self._base = 0

    @property
    def held_from(self) -> int:
        return self._base + len(self._buffer) - len(self._buffer.lstrip())

    def feed(self, text: str) -> list[Match]:
        self._buffer += text
        return [*self._sentences(final=False)]

    def end(self, text: str = "") -> list[Match]:
        found = self.feed(text)
        found += self._sentences(final=True)
        self._base += len(self._buffer)
        self._buffer = ""
        return found

    def _sentences(self, *, final: bool) -> Iterator[Match]:
        """Judge every sentence that has ended; what has none ends after MAX_SENTENCE characters."""
        buffer, at = self._buffer, 0
        while at < len(buffer):
            at += len(buffer[at:]) - len(buffer[at:].lstrip())
            ended = _ENDED.search(buffer, at, at + MAX_SENTENCE)
            if ended is not None:
                end = ended.end()
            elif len(buffer) - at > MAX_SENTENCE:
                end = at + MAX_SENTENCE
            elif final:
                end = len(buffer)
            else:
                break
            yield from self._judged(buffer[at:end], self._base + at)
            at = end
        self._buffer = buffer[at:]
        self._base += at

    def _judged(self, sentence: str, start: int) -> Iterator[Match]:
        score = self._model.score(sentence)
        if score >= self._threshold:
            end = start + len(sentence.rstrip())
            yield Match(RULE, Kind.OUTPUT, "TOXICITY", Severity.MEDIUM, start, end, round(score, 4))

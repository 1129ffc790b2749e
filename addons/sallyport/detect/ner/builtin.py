"""The built-in recogniser of names: hashed words, lists of names and a small convolution, in NumPy alone.

Trained by scripts/train_ner; what it was trained on, its licence and its figures are in docs/models/ner.md.
A text is one row of words, line breaks among them; no sentences are cut. What depends on a word alone is computed
once per spelling and kept; the neighbours come in through four convolutions of width three.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sallyport.detect.ner import words as lexical
from sallyport.detect.ner.decode import Tagged, decode
from sallyport.detect.ner.engine import Engine, Span

Floats = npt.NDArray[np.float32]

ENTITIES: Final = ("PERSON", "LOCATION", "ORGANIZATION")
KEPT_SPELLINGS: Final = 1 << 15
WINDOW: Final = 1024  # words a step; bounds memory whatever the length of a text


@dataclass(frozen=True, slots=True)
class Weights:
    """The trained arrays. H is the hidden size, V the vocabulary, L the listed words, K the tags.

    listed (L,) ascending digests; listed_bits (L,) lists they are in; listed_word (L,) vocabulary row or 0 for none;
    pairs, triples: ascending digests of listed names of two and three words; pairs_bits, triples_bits: the kinds they
    are of (words.SEQUENCES); word (V, .), ngram (NGRAM_ROWS, .), shape (SHAPES, .); lexical (., H) and around
    (SURROUNDINGS, H) take a word and its surroundings to the first layer, bias (H,); convolution: (3 H, H) and (H,) a
    layer; tag (H, K), tag_bias (K,); calibration (entities, 2): slope and intercept on the log-odds of a span.
    """

    listed: npt.NDArray[np.uint32]
    listed_bits: npt.NDArray[np.uint32]
    listed_word: npt.NDArray[np.uint16]
    pairs: npt.NDArray[np.uint32]
    pairs_bits: npt.NDArray[np.uint8]
    triples: npt.NDArray[np.uint32]
    triples_bits: npt.NDArray[np.uint8]
    word: Floats
    ngram: Floats
    shape: Floats
    lexical: Floats
    around: Floats
    bias: Floats
    convolutions: tuple[tuple[int, Floats, Floats], ...]
    tag: Floats
    tag_bias: Floats
    calibration: npt.NDArray[np.float64]


class Recogniser:
    """A loaded recogniser; keeps what it computed of KEPT_SPELLINGS spellings. Not for several threads at once."""

    def __init__(self, weights: Weights, revision: str) -> None:
        self._weights = weights
        self._revision = revision
        self._reach = sum(dilation for dilation, _, _ in weights.convolutions)
        self._gap = max(dilation for dilation, _, _ in weights.convolutions)
        self._rows: dict[str, int] = {}
        hidden = weights.bias.shape[0]
        self._kept = np.zeros((KEPT_SPELLINGS + 1, hidden), np.float32)
        self._digests = np.zeros(KEPT_SPELLINGS + 1, np.uint32)
        self._shapes = np.zeros(KEPT_SPELLINGS + 1, np.int64)

    @property
    def name(self) -> str:
        """The engine's name in policies."""
        return "builtin"

    @property
    def revision(self) -> str:
        """The digest of weights and code that this engine answers with."""
        return self._revision

    def spans(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return the names of every text in order; offsets in code points, no overlaps."""
        return [self._spans(text) for text in texts]

    def _spans(self, text: str) -> tuple[Span, ...]:
        words, starts, ends = lexical.words_of(text)
        if not words:
            return ()
        reach = self._reach + 16  # `surroundings` looks 16 words back and ahead
        parts = []
        for first in range(0, len(words), WINDOW):
            low, high = max(0, first - reach), min(len(words), first + WINDOW + reach)
            logits = self.logits(words[low:high], starts[low:high], ends[low:high])
            parts.append(logits[first - low : first - low + WINDOW])
        breaks = np.fromiter((word[0] in "\n\t" for word in words), np.bool_, len(words))
        return tuple(self._span(tagged, starts, ends) for tagged in decode(np.concatenate(parts), breaks))

    def _span(self, tagged: Tagged, starts: Sequence[int], ends: Sequence[int]) -> Span:
        slope, intercept = self._weights.calibration[tagged.entity]
        score = 1.0 / (1.0 + float(np.exp(-(slope * tagged.log_odds + intercept))))
        return Span(starts[tagged.first], ends[tagged.last], ENTITIES[tagged.entity], round(score, 4))

    def logits(self, words: Sequence[str], starts: Sequence[int], ends: Sequence[int]) -> Floats:
        """Return the score of every tag for every word, (words, tags). No more than KEPT_SPELLINGS words."""
        weights = self._weights
        rows = self._rows_of(words)
        digests = self._digests[rows]
        around = lexical.surroundings(
            self._shapes[rows],
            lexical.spaced_before(starts, ends),
            lexical.kinds_of(lexical.sequence_digests(digests, 2), weights.pairs, weights.pairs_bits),
            lexical.kinds_of(lexical.sequence_digests(digests, 3), weights.triples, weights.triples_bits),
        )
        count, gap, hidden = len(words), self._gap, weights.bias.shape[0]
        state = np.zeros((count + 2 * gap, hidden), np.float32)  # zero rows before and after the text
        inner = state[gap : gap + count]
        np.maximum(self._kept[rows] + around @ weights.around, 0.0, out=inner)
        wide = np.empty((count, 3 * hidden), np.float32)
        for dilation, matrix, bias in weights.convolutions:
            for part, shift in enumerate((-dilation, 0, dilation)):
                wide[:, part * hidden : (part + 1) * hidden] = state[gap + shift : gap + shift + count]
            out = wide @ matrix
            out += bias
            inner += np.maximum(out, 0.0, out=out)
        return inner @ weights.tag + weights.tag_bias

    def _rows_of(self, words: Sequence[str]) -> npt.NDArray[np.int64]:
        known = self._rows
        fresh = {word for word in words if word not in known}
        if fresh:
            if len(known) + len(fresh) > KEPT_SPELLINGS:
                known.clear()
                fresh = set(words)
            self._learn(sorted(fresh))
        return np.fromiter((known[word] for word in words), np.int64, len(words))

    def _learn(self, fresh: Sequence[str]) -> None:
        weights = self._weights
        at = len(self._rows)
        to = at + len(fresh)
        spellings = [lexical.folded(word) for word in fresh]
        digests = np.fromiter((lexical.digest(s) for s in spellings), np.uint32, len(fresh))
        shapes = np.fromiter((lexical.shape(word) for word in fresh), np.int64, len(fresh))
        bits, word_rows = look_up(digests, weights.listed, weights.listed_bits, weights.listed_word)
        ngrams = [lexical.ngram_rows(s) for s in spellings]
        sizes = np.fromiter((len(n) for n in ngrams), np.int64, len(fresh))
        flat = np.fromiter((row for rows in ngrams for row in rows), np.int64, int(sizes.sum()))
        sums = np.add.reduceat(weights.ngram[flat], np.concatenate(([0], np.cumsum(sizes)[:-1])), axis=0)
        mean = sums / sizes[:, None].astype(np.float32)
        parts = (weights.word[word_rows], mean, weights.shape[shapes], bits)
        vector: Floats = np.concatenate(parts, axis=1, dtype=np.float32)
        self._kept[at:to] = vector @ weights.lexical + weights.bias
        self._digests[at:to] = digests
        self._shapes[at:to] = shapes
        self._rows.update(zip(fresh, range(at, to), strict=True))


def look_up(
    digests: npt.NDArray[np.uint32],
    listed: npt.NDArray[np.uint32],
    listed_bits: npt.NDArray[np.uint32],
    listed_word: npt.NDArray[np.uint16],
) -> tuple[Floats, npt.NDArray[np.uint16]]:
    """Return the lists each word is in, (words, LISTS) of 0 and 1, and its vocabulary row, 0 for none."""
    at = np.minimum(np.searchsorted(listed, digests), len(listed) - 1)
    hit = listed[at] == digests
    bits = np.where(hit, listed_bits[at], 0)
    flags = (bits[:, None] >> np.arange(len(lexical.LISTS))) & 1
    return flags.astype(np.float32), np.where(hit, listed_word[at], 0).astype(np.uint16)


def weights_of(table: Mapping[str, npt.NDArray[Any]]) -> Weights:
    """Take the arrays of a weights file: tables as bytes with one scale a row, the rest in half precision."""

    def real(name: str) -> Floats:
        if f"{name}.scale" in table:
            return table[name].astype(np.float32) * table[f"{name}.scale"].astype(np.float32)
        return table[name].astype(np.float32)

    layers = tuple(
        (int(dilation), real(f"convolution.{n}"), real(f"convolution.{n}.bias"))
        for n, dilation in enumerate(table["dilations"])
    )
    return Weights(
        listed=table["listed"],
        listed_bits=table["listed_bits"],
        listed_word=table["listed_word"],
        pairs=table["pairs"],
        pairs_bits=table["pairs_bits"],
        triples=table["triples"],
        triples_bits=table["triples_bits"],
        word=real("word"),
        ngram=real("ngram"),
        shape=real("shape"),
        lexical=real("lexical"),
        around=real("around"),
        bias=real("bias"),
        convolutions=layers,
        tag=real("tag"),
        tag_bias=real("tag_bias"),
        calibration=table["calibration"].astype(np.float64),
    )


def load() -> Engine:
    """Load the shipped recogniser."""
    about = json.loads(files("sallyport.detect.ner").joinpath("weights", "about.json").read_text("utf-8"))
    with (
        files("sallyport.detect.ner").joinpath("weights", "names.npz").open("rb") as stream,
        np.load(stream) as arrays,
    ):
        table = {name: arrays[name] for name in arrays.files}
    return Recogniser(weights_of(table), str(about["revision"]))

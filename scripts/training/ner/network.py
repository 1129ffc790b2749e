"""The network in torch, for training only; builtin.py computes the same in NumPy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sallyport.detect.ner import words as lexical

TAGS = 13
_MASKS = 1 << 22


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths of the network."""

    word: int = 48
    ngram: int = 64
    shape: int = 8
    hidden: int = 144
    dilations: tuple[int, ...] = (1, 1, 2, 3)
    dropout: float = 0.3


@dataclass(slots=True)
class Batch:
    """Texts laid one after the other with zero rows between. U spellings, N words.

    flat, offsets: n-gram rows of the spellings; rows, shapes, bits (U, .); index (N,) into spellings; mask (N, 1).
    """

    flat: Tensor
    offsets: Tensor
    rows: Tensor
    shapes: Tensor
    bits: Tensor
    index: Tensor
    around: Tensor
    mask: Tensor
    tags: Tensor
    weights: Tensor


class Network(nn.Module):
    """Word vectors, then residual convolutions of width three, then a score for every tag."""

    def __init__(self, vocabulary: int, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.word = nn.Embedding(vocabulary, sizes.word)
        self.ngram = nn.EmbeddingBag(lexical.NGRAM_ROWS, sizes.ngram, mode="mean")
        self.shape = nn.Embedding(lexical.SHAPES, sizes.shape)
        nn.init.normal_(self.word.weight, std=0.1)
        nn.init.normal_(self.ngram.weight, std=0.2)
        self.lexical = nn.Linear(sizes.word + sizes.ngram + sizes.shape + len(lexical.LISTS), sizes.hidden)
        self.around = nn.Linear(lexical.SURROUNDINGS, sizes.hidden, bias=False)
        self.layers = nn.ModuleList(nn.Linear(3 * sizes.hidden, sizes.hidden) for _ in sizes.dilations)
        self.tag = nn.Linear(sizes.hidden, TAGS)
        kept = torch.rand(_MASKS) >= sizes.dropout
        self.register_buffer("masks", kept.float() / (1.0 - sizes.dropout), persistent=False)

    def drop(self, state: Tensor) -> Tensor:
        """Return the state with dropout while training: a piece of one long mask, since drawing anew is slow."""
        if not self.training:
            return state
        at = int(torch.randint(len(self.masks) - state.numel(), (1,)))
        return state * self.masks[at : at + state.numel()].view_as(state)

    def forward(self, batch: Batch) -> Tensor:
        """Return tag scores (N, TAGS)."""
        rows, bits, flat = batch.rows, batch.bits, batch.flat
        if self.training:
            rows = rows * (torch.rand(rows.shape) > 0.15)
            bits = bits * (torch.rand(len(bits), 1) > 0.2)
            bits = bits * (torch.rand(bits.shape) > 0.1)
        ngram = self.ngram(flat, batch.offsets)
        if self.training:
            ngram = ngram * (torch.rand(len(ngram), 1) > 0.1)
        vector = torch.cat((self.word(rows), ngram, self.shape(batch.shapes), bits), 1)
        state = self.lexical(vector)[batch.index] + self.around(batch.around)
        state = self.drop(torch.relu(state) * batch.mask)
        for dilation, layer in zip(self.sizes.dilations, self.layers, strict=True):
            zero = state.new_zeros(dilation, state.shape[1])
            wide = torch.cat(
                (torch.cat((zero, state[:-dilation])), state, torch.cat((state[dilation:], zero))), 1
            )
            state = state + self.drop(torch.relu(layer(wide)) * batch.mask)
        return self.tag(state)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays that builtin.read expects, tables in bytes with a scale a row."""
        out: dict[str, npt.NDArray[np.generic]] = {"dilations": np.array(self.sizes.dilations, np.int64)}
        for name in ("word", "ngram", "shape"):
            table = getattr(self, name).weight.detach().numpy()
            scale = np.abs(table).max(axis=1, keepdims=True) / 127 + 1e-9
            out[name] = np.round(table / scale).astype(np.int8)
            out[f"{name}.scale"] = scale.astype(np.float32)
        half = {
            "lexical": self.lexical.weight.T,
            "bias": self.lexical.bias,
            "around": self.around.weight.T,
            "tag": self.tag.weight.T,
            "tag_bias": self.tag.bias,
        }
        for n, layer in enumerate(self.layers):
            half[f"convolution.{n}"] = layer.weight.T
            half[f"convolution.{n}.bias"] = layer.bias
        out |= {name: value.detach().numpy().astype(np.float16) for name, value in half.items()}
        return out

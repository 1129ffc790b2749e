"""Token classifiers in the layout of Hugging Face: a folder with config.json, tokenizer.json and weights.

The weights are run by transformers (model.safetensors) or by ONNX Runtime (model.onnx). Neither runs code from
the folder: no pickles, no remote code, nothing fetched.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from math import exp
from pathlib import Path
from typing import Any

from sallyport.detect.ner.engine import Engine, Span
from sallyport.detect.ner.labels import entity_of
from sallyport.detect.ner.revision import folder_revision
from sallyport.errors import OperatorError

_STRIDE = 64
"""Tokens that two pieces of a long text share."""

_LONGEST = 512

type Matrix = list[list[float]]
type Run = Callable[[Sequence[Any]], list[Matrix]]
"""Encodings of one length -> for each, tokens by labels, logits."""


class TokenClassifier:
    """Spans from the probabilities of tokens: neighbours of one entity are one name."""

    def __init__(self, name: str, revision: str, tokenizer: Any, labels: Sequence[str], run: Run) -> None:
        self.name = name
        self.revision = revision
        self._tokenizer = tokenizer
        self._entities = [entity_of(label) for label in labels]
        self._begins = [label.upper().startswith(("B-", "B_", "S-", "U-")) for label in labels]
        self._run = run

    def spans(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        return [self._of(text) for text in texts]

    def _of(self, text: str) -> tuple[Span, ...]:
        whole = self._tokenizer.encode(text)
        found: list[Span] = []
        for piece in (whole, *whole.overflowing):
            (logits,) = self._run([piece])
            found += self._decoded(text, piece.offsets, piece.special_tokens_mask, logits)
        return _without_overlaps(found)

    def _decoded(
        self, text: str, offsets: Sequence[tuple[int, int]], special: Sequence[int], logits: Matrix
    ) -> Iterator[Span]:
        """Yield names: a token begins one, goes on with it if it has its entity, or is a later part of a word."""
        start = end = count = 0
        entity, total = None, 0.0
        for (low, high), is_special, row in zip(offsets, special, logits, strict=True):
            if is_special or high <= low:
                continue
            best = max(range(len(row)), key=row.__getitem__)
            score = _probability(row, best)
            this = self._entities[best]
            inside = low == end and low > 0 and text[low].isalnum() and text[low - 1].isalnum()
            if entity is not None and (inside or (this == entity and not self._begins[best])):
                end, total, count = high, total + (score if this == entity else 0.0), count + 1
                continue
            if entity is not None:
                yield Span(start, end, entity, total / count)
            start, end, entity, total, count = low, high, this, score, 1
        if entity is not None:
            yield Span(start, end, entity, total / count)


def find_onnx(folder: Path) -> tuple[Path, list[str], int]:
    """Return the model's file, its labels and the most tokens it takes. Loads nothing. Raises OperatorError."""
    where = f"onnx:{folder}"
    _need(where, ("onnxruntime", "tokenizers", "numpy"))
    model = next((p for p in (folder / "model.onnx", folder / "onnx" / "model.onnx") if p.is_file()), None)
    if model is None:
        raise OperatorError(where, "there is no model.onnx in this folder", "Export the model to ONNX there")
    return model, *_config(where, folder)


def load_onnx(folder: Path) -> Engine:
    """Load model.onnx (or onnx/model.onnx) with ONNX Runtime. Raises OperatorError."""
    where = f"onnx:{folder}"
    model, labels, longest = find_onnx(folder)
    tokenizer = _tokenizer(where, folder, longest)
    np, onnxruntime = import_module("numpy"), import_module("onnxruntime")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    asked = {given.name for given in session.get_inputs()}

    def run(pieces: Sequence[Any]) -> list[Matrix]:
        given = {
            "input_ids": np.array([p.ids for p in pieces], dtype=np.int64),
            "attention_mask": np.array([p.attention_mask for p in pieces], dtype=np.int64),
            "token_type_ids": np.array([p.type_ids for p in pieces], dtype=np.int64),
        }
        (logits, *_) = session.run(None, {k: v for k, v in given.items() if k in asked})
        matrices: list[Matrix] = logits.tolist()
        return matrices

    revision = folder_revision(folder, ("onnxruntime", "tokenizers"))
    return TokenClassifier(where, revision, tokenizer, labels, run)


def find_transformers(folder: Path) -> tuple[list[str], int]:
    """Return a model's labels and the most tokens it takes. Loads nothing. Raises OperatorError."""
    where = f"transformers:{folder}"
    _need(where, ("transformers", "torch", "tokenizers"))
    if not any(folder.glob("model*.safetensors")):
        what = "there is no model.safetensors in this folder"
        raise OperatorError(
            where, what, "Save the model with save_pretrained(FOLDER, safe_serialization=True)"
        )
    return _config(where, folder)


def load_transformers(folder: Path) -> Engine:
    """Load model.safetensors with transformers and PyTorch. Raises OperatorError."""
    where = f"transformers:{folder}"
    labels, longest = find_transformers(folder)
    tokenizer = _tokenizer(where, folder, longest)
    torch, transformers = import_module("torch"), import_module("transformers")

    torch.set_num_threads(1)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    model.eval()

    def run(pieces: Sequence[Any]) -> list[Matrix]:
        with torch.inference_mode():
            answer = model(
                input_ids=torch.tensor([p.ids for p in pieces]),
                attention_mask=torch.tensor([p.attention_mask for p in pieces]),
            )
        matrices: list[Matrix] = answer.logits.float().tolist()
        return matrices

    revision = folder_revision(folder, ("transformers", "torch", "tokenizers"))
    return TokenClassifier(where, revision, tokenizer, labels, run)


def _need(where: str, libraries: Sequence[str]) -> None:
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        what = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        raise OperatorError(where, what, f"Install with: pip install {' '.join(missing)}")


def _config(where: str, folder: Path) -> tuple[list[str], int]:
    """Return the labels in the order of the logits, and the most tokens the model takes."""
    todo = "Give the folder of a token classification model, as save_pretrained writes it"
    try:
        config = json.loads((folder / "config.json").read_bytes())
        names: Mapping[str, str] = config["id2label"]
        labels = [str(names[str(index)]) for index in range(len(names))]
        longest = min(_LONGEST, int(config.get("max_position_embeddings") or _LONGEST))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise OperatorError(where, "its config.json names no labels", todo) from None
    if not any(entity_of(label) for label in labels):
        what = "none of its labels is about people, places or organisations"
        raise OperatorError(where, what, "Name a model for named-entity recognition")
    # RoBERTa's positions begin behind its padding id, so that two fewer fit than the configuration says.
    return labels, longest - 2 if longest > 4 * _STRIDE else longest


def _tokenizer(where: str, folder: Path, longest: int) -> Any:
    tokenizers = import_module("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:
        # The library raises bare Exception.
        what = "there is no tokenizer.json that can be read"
        raise OperatorError(where, what, "Save the model with its fast tokenizer") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=longest, stride=min(_STRIDE, longest // 4))
    return tokenizer


def _probability(row: Sequence[float], best: int) -> float:
    return 1.0 / sum(exp(value - row[best]) for value in row)


def _without_overlaps(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Pieces of a long text overlap: of two names in one place the longer stays."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end, -s.score)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif span.end - span.start > kept[-1].end - kept[-1].start:
            kept[-1] = span
    return tuple(kept)

"""Token classifiers from a folder: a real ONNX model, small enough to be made here, and what a folder may lack."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from sallyport.detect.ner.engines import load
from sallyport.detect.ner.service import NerScanner, NerSettings
from sallyport.errors import OperatorError
from sallyport.exchange import Segment, Surface

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
NO_NAMES = ("[UNK]", "[CLS]", "[SEP]", "the", "in", "and", ".", "of")
WORDS = dict.fromkeys(NO_NAMES, 0) | {"Mar": 1, "Quill": 2, "Ove": 1, "##ta": 0, "##vist": 4, "Lind": 2}
WORDS |= {"New": 3, "Amstel": 4}
"""Pieces of words, and the label that the model gives each."""


def save_model(folder: Path, *, longest: int = 64) -> Path:
    """Write a token classifier that looks its labels up, in the layout of Hugging Face."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder.mkdir()
    pieces = list(WORDS)
    tokenizer = Tokenizer(models.WordPiece({w: n for n, w in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.full((len(pieces), len(LABELS)), -2.0, dtype=np.float32)
    for row, label in enumerate(WORDS.values()):
        table[row, label] = 3.0
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"], axis=0)],
        "lookup",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "t"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", "t", len(LABELS)])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    config = {"id2label": dict(enumerate(LABELS)), "max_position_embeddings": longest}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "lookup")


def test_pieces_of_words_become_whole_names_with_exact_places(folder: Path) -> None:
    text = "\U0001f600 the Marta Quill and Ove Lindvist in New Amstel."
    (spans,) = load(f"onnx:{folder}").spans([text])
    assert [(s.entity, text[s.start : s.end]) for s in spans] == [
        ("PERSON", "Marta Quill"),
        ("PERSON", "Ove Lindvist"),
        ("LOCATION", "New Amstel"),
    ]
    assert all(0.3 < s.score <= 1.0 for s in spans)


def test_two_names_side_by_side_stay_two(folder: Path) -> None:
    text = "Marta Quill Ove"
    (spans,) = load(f"onnx:{folder}").spans([text])
    assert [text[s.start : s.end] for s in spans] == ["Marta Quill", "Ove"]


def test_a_text_longer_than_the_model_takes_is_read_to_its_end(folder: Path) -> None:
    text = "the and of in Marta Quill . " * 100
    (spans,) = load(f"onnx:{folder}").spans([text])
    assert [s.start for s in spans] == [n for n in range(len(text)) if text.startswith("Marta Quill", n)]
    assert {text[s.start : s.end] for s in spans} == {"Marta Quill"}


def test_it_runs_in_a_worker(folder: Path) -> None:
    with NerScanner.open(NerSettings(f"onnx:{folder}", deadline_s=30.0)) as scanner:
        (found,) = scanner.scan([Segment("/t", Surface.USER, "of New Amstel")])
        assert (found.rule, found.start, found.end) == ("pii.ner.LOCATION", 3, 13)


def test_another_weight_is_another_revision(folder: Path, tmp_path: Path) -> None:
    other = save_model(tmp_path / "other", longest=63)
    assert load(f"onnx:{other}").revision != load(f"onnx:{folder}").revision


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("model.onnx", "no model.onnx"),
        ("config.json", "names no labels"),
        ("tokenizer.json", "no tokenizer.json"),
    ],
)
def test_what_a_folder_lacks_is_told(tmp_path: Path, missing: str, says: str) -> None:
    model = save_model(tmp_path / "model")
    (model / missing).unlink()
    with pytest.raises(OperatorError, match=says):
        load(f"onnx:{model}")


def test_a_model_of_other_labels_is_told(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model")
    (model / "config.json").write_text(json.dumps({"id2label": {"0": "NEGATIVE", "1": "POSITIVE"}}))
    with pytest.raises(OperatorError, match="none of its labels"):
        load(f"onnx:{model}")


def test_weights_that_are_pickles_are_not_opened(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model")
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    says = "no model.safetensors" if find_spec("torch") and find_spec("transformers") else "not installed"
    with pytest.raises(OperatorError, match=says):
        load(f"transformers:{model}")

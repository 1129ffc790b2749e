"""The texts written for the classifier: each can be read, stands once, and is in none of the sets it is measured by."""

import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WRITTEN = sorted((HERE.parents[1] / "scripts/training/injection/written").glob("*.jsonl"))
CHECKS = sorted(HERE.glob("injection_prompts*.jsonl"))
SURFACES = {"user", "tool_result", "document", "tool_definition"}
CHANCE = 5
"""Words of a text that two people may type alike."""

type Row = dict[str, str]


def rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def told(text: str) -> str:
    return " ".join(text.lower().split())


@pytest.mark.parametrize("path", WRITTEN, ids=lambda p: p.stem)
def test_every_text_says_what_it_is(path: Path) -> None:
    for row in rows(path):
        assert set(row) - {"planted"} == {"text", "label", "surface", "family", "lang"}
        assert row["label"] in {"attack", "benign"}
        assert row["surface"] in SURFACES
        assert row["text"].strip()
        if "planted" in row:
            assert row["label"] == "attack"
            assert row["planted"] in row["text"]


def test_no_text_stands_twice() -> None:
    every = [told(row["text"]) for path in WRITTEN for row in rows(path)]
    assert len(every) > 29_000
    assert len(set(every)) == len(every)


def test_no_text_is_in_a_check_set() -> None:
    assert len(CHECKS) == 7
    known = {told(row["text"]) for path in WRITTEN for row in rows(path)}
    both = [told(row["text"]) for path in CHECKS for row in rows(path) if told(row["text"]) in known]
    assert [text for text in both if len(text.split()) > CHANCE] == []

"""Passwords that are words: told by where they stand, and from what is said of passwords there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.toldwords import session_id, told_value, told_word
from sallyport.exchange import Segment, Surface

ROWS = [json.loads(line) for line in (Path(__file__).parent / "told_words.jsonl").open(encoding="utf-8")]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(DetectionSettings(kinds=frozenset({Kind.SECRET}), cache_entries=0))


def found(detector: Detector, text: str) -> Iterator[str]:
    for finding in detector.scan([Segment("/t", Surface.USER, text)]):
        yield text[finding.start : finding.end]


def test_words_are_found_where_passwords_stand(detector: Detector) -> None:
    values = [(row["text"], value) for row in ROWS for value in row["values"]]
    missed = [value for text, value in values if not any(value in one for one in found(detector, text))]
    assert len(values) > 240
    assert len(missed) <= 0.03 * len(values), missed


def test_what_is_said_of_passwords_is_none(detector: Detector) -> None:
    honest = [row["text"] for row in ROWS if not row["values"]]
    assert len(honest) > 340
    assert [text for text in honest if any(found(detector, text))] == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("host;user;password\r\nnas1;admin;\r\nnas2;admin;driftwood\r\n", ["driftwood"]),
        (
            "| User | Password |\n|---|---|\n| a | `oysterbay` |\n| b | |\n| c | plumtree |",
            ["oysterbay", "plumtree"],
        ),
        ("user,password\nann,driftwood\n\npassword is a word, and so on", ["driftwood"]),
        ("password,user\nnone,ann\nset,bob\n********,eve\n", []),
    ],
)
def test_the_cells_below_a_head_are_passwords(detector: Detector, text: str, values: list[str]) -> None:
    assert list(found(detector, text)) == values


def test_a_column_of_many_rows_is_read_to_its_end(detector: Detector) -> None:
    text = "user,password\n" + "ann,driftwood\n" * 2_000
    assert len(list(found(detector, text))) == 2_000


@pytest.mark.parametrize("word", ["copper", "Schmetterling", "fireplace", "paviajlbuxkeujwl", "TmWqPzLrKvB"])
def test_a_word_that_somebody_chose(word: str) -> None:
    assert told_word(word)


@pytest.mark.parametrize(
    "word",
    [
        "required",
        "Pflicht",
        "obligatoire",
        "obligatoria",
        "verlopen",
        "forgotten",
        "username",
        "expiring",
        "four",
        "changeme",
    ],
)
def test_a_word_that_is_said_of_passwords(word: str) -> None:
    assert not told_word(word)


def test_a_value_is_none_where_it_stands_for_one() -> None:
    assert told_value("pebble-harvest-47")
    assert not any(map(told_value, ["********", "<password>", "12", "ask reception", "not-set", "n/a"]))
    assert not session_id("deleted")

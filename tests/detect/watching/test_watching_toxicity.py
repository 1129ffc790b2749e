"""The toxicity scorer says what it said when it was measured, and its watcher obeys the laws."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detect.watching.lawful import lawful
from sallyport.detect.watching.toxicity import (
    BUCKETS,
    MAX_SENTENCE,
    RULE,
    ToxicityModel,
    ToxicityWatcher,
    features,
    read,
    shipped,
    write,
)
from sallyport.errors import OperatorError

RECORDED = {
    "You brainless clown, nobody wants you here.": 0.999,
    "I will find you and kill you tonight.": 0.949,
    "Those people are vermin and should be wiped out.": 0.962,
    "Niemand braucht dich, du Versager.": 0.999,
    "Tu me dégoûtes, va crever.": 0.999,
    "Te voy a matar, idiota.": 0.996,
    "Kill the process before you restart the service.": 0.0,
    "Many refugees work in hospitals.": 0.0,
    "Wenn du an Selbstmord denkst, sprich bitte mit jemandem.": 0.002,
    "Le mot crétin est une insulte.": 0.0,
    "The capital of France is Paris.": 0.001,
}
HOSTILE = "You brainless clown, nobody wants you here."
HELD = MAX_SENTENCE + 1


@pytest.mark.parametrize("sentence", RECORDED)
def test_the_shipped_weights_give_the_recorded_scores(sentence: str) -> None:
    assert shipped().score(sentence) == pytest.approx(RECORDED[sentence], abs=0.006)


def test_case_accents_and_letters_as_digits_do_not_matter_much() -> None:
    assert shipped().score(HOSTILE.upper()) == shipped().score(HOSTILE)
    assert shipped().score("Y0u bra1nless cl0wn, n0body wants you here.") > 0.9
    assert shipped().score("Tu me degoutes, va crever.") == shipped().score("Tu me dégoûtes, va crever.")


def test_texts_without_words_score_nothing_and_no_text_raises() -> None:
    for text in ("", "   ", "!?…", "\ud83d", "日本", "a" * 10_000):
        assert 0.0 <= shipped().score(text) <= 1.0
    assert shipped().score(" . ") == 0.0
    assert all(0 <= bucket < BUCKETS for bucket in features("Ünï \ud83d x"))


def make() -> ToxicityWatcher:
    return ToxicityWatcher(shipped(), 0.9)


def test_a_hostile_sentence_is_a_match_and_its_neighbours_are_not() -> None:
    text = f"Thanks for asking.  {HOSTILE} Have a nice day."
    (match,) = lawful(make, text, range(0, len(text), 4), HELD)
    assert text[match.start : match.end] == HOSTILE
    assert (match.rule, match.score > 0.9) == (RULE, True)


def test_a_sentence_without_end_is_judged_after_its_longest_length() -> None:
    text = "you brainless clown " * 200
    found = lawful(make, text, range(0, len(text), 33), HELD)
    assert len(found) == len(text) // MAX_SENTENCE


SCRAPS = [
    HOSTILE,
    "Paris is nice",
    ". ",
    "! ",
    "\n",
    " ",
    '?!" ',
    "x" * 150,
    "...",
    "日本。",
    "\u3000",
    "3.14",
    "go die",
]


@settings(max_examples=80)
@given(st.lists(st.sampled_from(SCRAPS), max_size=14), st.data())
def test_every_cutting_gives_the_same_sentences(scraps: list[str], data: st.DataObject) -> None:
    text = "".join(scraps)
    cuts = data.draw(st.lists(st.integers(0, max(len(text), 1)), max_size=40))
    lawful(make, text, cuts, HELD)


def test_weights_are_written_and_read_and_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    weights = np.zeros(BUCKETS, np.float32)
    weights[features("bad")] = 2.0
    write(path, weights, -1.0)
    again = read(path)
    assert again.score("bad") == pytest.approx(ToxicityModel(weights, -1.0).score("bad"), abs=0.01)
    first = path.read_bytes()
    write(path, weights, -1.0)
    assert path.read_bytes() == first
    for damage in (first[:100], b"", b"no archive"):
        path.write_bytes(damage)
        with pytest.raises(OperatorError, match="cannot be read"):
            read(path)
    write(path, weights[:8], 0.0)
    with pytest.raises(OperatorError, match="another version"):
        read(path)

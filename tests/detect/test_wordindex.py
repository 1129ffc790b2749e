"""Words are found wherever they stand, with the edges that they ask for, and nothing else is."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.detect import wordindex
from sallyport.detect.wordindex import Word, WordIndex

LETTERS = st.sampled_from([*b"aab_ -9"])
SPELLED = st.lists(LETTERS, min_size=1, max_size=20).map(bytes)
LONG = st.tuples(SPELLED, st.integers(1, 9)).map(lambda drawn: drawn[0] * drawn[1])
WORDS = st.lists(st.builds(Word, SPELLED | LONG, st.booleans(), st.booleans()), max_size=12, unique=True)


def told(words: Sequence[Word], text: bytes) -> set[tuple[int, int]]:
    """Return (word, place) for all that occur, one expression after another."""
    found = set()
    for number, word in enumerate(words):
        raw, behind = word.raw[:71], word.behind and len(word.raw) <= 71
        before = rb"\b" if word.before else b""
        pattern = before + b"(?=" + re.escape(raw) + (rb"\b" if behind else b"") + b")"
        found |= {(number, match.start()) for match in re.finditer(pattern, text)}
    return found


def found(words: Sequence[Word], text: bytes) -> set[tuple[int, int]]:
    numbers, places = WordIndex(words).occurrences(text)
    pairs = [*zip(numbers.tolist(), places.tolist(), strict=True)]
    assert len(pairs) == len(set(pairs))
    return set(pairs)


@given(st.data(), WORDS)
def test_words_are_found_where_an_expression_finds_them(data: st.DataObject, words: list[Word]) -> None:
    pieces = st.lists(SPELLED | st.sampled_from([word.raw for word in words] or [b"a"]), max_size=12)
    text = b"".join(data.draw(pieces))
    assert found(words, text) == told(words, text)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 9, 15, 16, 30, 71, 72, 120])
def test_words_are_found_over_the_end_of_a_part(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(wordindex, "_CHUNK", 32)
    spelled = (b"abcdefghijklmnopqrstuvwxyz0123456789_" * 4)[:length]
    words = [
        Word(spelled),
        Word(spelled, before=True),
        Word(spelled, behind=True),
        Word(spelled, before=True, behind=True),
    ]
    for at in range(70):
        for text in (b"." * at + spelled, b"." * at + spelled + b"." * 40, b"a" * at + spelled + b"a" * 40):
            assert found(words, text) == told(words, text)


def test_a_word_that_shares_all_but_one_byte_is_another() -> None:
    spelled = bytes(range(97, 97 + 26)) * 2
    others = [spelled[:at] + b"#" + spelled[at + 1 :] for at in range(len(spelled))]
    assert found([Word(spelled)], b" ".join(others)) == set()
    assert len(found([Word(other) for other in others], b" ".join(others))) == len(others)


def test_no_words_and_no_text() -> None:
    assert found([], b"abc") == set()
    assert found([Word(b"abc")], b"") == set()
    assert found([Word(b"abc", before=True, behind=True)], b"abc") == {(0, 0)}


def test_it_ends_where_the_caller_says_so() -> None:
    def out_of_time() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        WordIndex([Word(b"abc")]).occurrences(b"abc", out_of_time)


def test_where_words_stand_close_together_one_of_a_cell_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordindex, "_CHUNK", 64)
    words = [Word(b"ab"), Word(b"abc"), Word(b"c", behind=True), Word(b"abcabcab")]
    text = b"abc" * 80 + b" ab c abc"
    numbers, places = WordIndex(words).occurrences(text, once_in=16)
    close = [
        (number, at // 16) for number, at in zip(numbers.tolist(), places.tolist(), strict=True) if at < 192
    ]
    assert len(close) == len(set(close)) == 3 * 12
    found = {*zip(numbers.tolist(), places.tolist(), strict=True)}
    assert found <= told(words, text)
    assert {(number, at // 16) for number, at in found} == {
        (number, at // 16) for number, at in told(words, text)
    }

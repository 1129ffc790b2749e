"""Patterns over texts of any script: where a match stands is told in characters, as Python counts them."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sallyport.detect.linear import Subject, pattern

LETTERS = st.sampled_from("ab1 \n" + "é" + "密" + "😀")
LONG = st.lists(LETTERS, max_size=40).flatmap(
    lambda head: st.integers(0, 60).map(lambda times: "".join(head) * times)
)


@given(LONG)
def test_a_subject_knows_where_every_character_stands(text: str) -> None:
    subject, at = Subject(text), 0
    for place, char in enumerate(text):
        assert subject.place(at) == place
        at += len(char.encode())
    assert subject.place(at) == len(text)
    assert subject.place(-1) == -1


@given(LONG)
def test_a_subject_knows_its_longest_run(text: str) -> None:
    assert Subject(text).longest_run() == max(map(len, text.encode().split()), default=0)


@given(LONG, st.data())
def test_a_part_is_widened_by_whole_characters(text: str, data: st.DataObject) -> None:
    subject = Subject(text)
    low = data.draw(st.integers(0, len(subject.raw)))
    high = data.draw(st.integers(low, len(subject.raw) + 9))
    chars = data.draw(st.integers(0, 30))
    one = [np.array([number]) for number in (low, high, chars)]
    (first,), (last,) = subject.widened(*one)
    before = subject.raw[first:low].decode(errors="ignore")
    behind = subject.raw[high:last].decode(errors="ignore")
    assert first == 0 or len(before) >= chars
    assert last == len(subject.raw) or len(behind) >= chars
    assert subject.raw[first:last].decode() in text


@given(LONG, st.integers(0, 30))
def test_so_many_characters_have_no_more_bytes_than_told(text: str, chars: int) -> None:
    told = Subject(text).most_bytes(np.array([chars]))[0]
    assert all(len(text[at : at + chars].encode()) <= told for at in range(len(text)))


@given(LONG)
def test_matches_and_groups_stand_where_python_finds_them(text: str) -> None:
    source = r"(a+)[^\n]?(1)?"
    expected = [(m.span(), m.span(1), m.span(2)) for m in re.finditer(source, text)]
    subject = Subject(text)
    for given_text in (text, subject):
        found = pattern(source).finditer(given_text)
        assert [(m.span(), m.span(1), m.span(2)) for m in found] == expected

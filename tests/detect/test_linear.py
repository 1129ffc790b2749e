"""Patterns over texts of any script: where a match stands is told in characters, as Python counts them."""

import re

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
def test_matches_and_groups_stand_where_python_finds_them(text: str) -> None:
    source = r"(a+)[^\n]?(1)?"
    expected = [(m.span(), m.span(1), m.span(2)) for m in re.finditer(source, text)]
    subject = Subject(text)
    for given_text in (text, subject):
        found = pattern(source).finditer(given_text)
        assert [(m.span(), m.span(1), m.span(2)) for m in found] == expected

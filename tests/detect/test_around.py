"""The parts of a text in which a rule is tried hold every match, in order, and none of them twice."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sallyport.detect.around import BLOCK, Around
from sallyport.detect.extent import Extent
from sallyport.detect.linear import Subject

SETS = [[1], [0, 2], [2], [3], [0]]
"""By expression; the first rule asks for one of set 0, which the second is in, and the last, a mark beside words; the
second for one of set 1 and one of set 3.
"""
NOTHING = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def held(subject: Subject, parts: object, begin: int, end: int) -> bool:
    """Say whether one part holds a stretch of characters, as far as the text has them."""
    low = len(subject.text[: max(0, begin)].encode())
    high = len(subject.text[:end].encode())
    return any(first <= low and high <= last for first, last in parts)  # type: ignore[attr-defined]


@given(st.data(), st.sampled_from(["a", "é", "😀", "a😀"]), st.sampled_from([1, 40, 400, 900]))
def test_parts_are_apart_and_hold_what_a_match_may(data: st.DataObject, letters: str, chars: int) -> None:
    subject = Subject(letters * data.draw(st.integers(4_000, 12_000)))
    blocks = -(-len(subject.raw) // BLOCK)
    begins = data.draw(st.lists(st.integers(0, len(subject.text) - 1), max_size=6))
    marked = data.draw(st.sets(st.integers(0, blocks - 1), min_size=not begins, max_size=3))
    at = np.array([len(subject.text[:begin].encode()) for begin in begins] + [0], np.int64)
    words = (np.array([1] * len(begins) + [0], np.int64), at)
    around = Around(SETS, {0: (0,)}, [Extent(chars, 0, 0)])
    parts = around.windows(subject, words, [[4] if block in marked else [2] for block in range(blocks)], [0])[
        0
    ]
    assert all(high < low for (_, high), (low, _) in pairwise(parts))
    for begin in begins:
        assert held(subject, parts, begin + 1 - chars, begin + chars)
    for block in marked:
        first = len(subject.raw[: block * BLOCK].decode(errors="ignore"))
        last = len(subject.raw[: (block + 1) * BLOCK].decode(errors="ignore"))
        assert held(subject, parts, first + 1 - chars, last + chars)


def test_where_nothing_that_is_asked_for_stands_nothing_is_looked_through() -> None:
    subject = Subject("a" * 40_000)
    around = Around(SETS, {0: (0,), 1: (1, 3)}, [Extent(40, 0, 0), Extent(40, 0, 0)])
    words = (np.array([0, 3, 2]), np.array([9_000, 30_000, 9_000]))
    blocks: list[list[int]] = [[]] * 40
    assert around.windows(subject, words, blocks, [0, 1]) == {0: [], 1: []}
    low, high = (within := around.windows(subject, (words[0], np.array([9_000] * 3)), blocks, [1])[1])[0]
    assert len(within) == 1
    assert 8_800 < low < 9_000 < high < 9_200


@given(st.data(), st.sampled_from(["a", "é", "a😀"]), st.integers(1, 3_000))
def test_all_that_a_match_holds_may_be_apart_as_far_as_it_reaches(
    data: st.DataObject, letters: str, chars: int
) -> None:
    subject = Subject(letters * 15_000)
    begin = data.draw(st.integers(0, len(subject.text) - 1))
    other = data.draw(st.integers(max(0, begin - chars + 1), min(len(subject.text), begin + chars) - 1))
    at = np.array([len(subject.text[:place].encode()) for place in (begin, other)])
    around = Around(SETS, {0: (1, 3)}, [Extent(chars, 0, 0)])
    found = around.windows(subject, (np.array([0, 3]), at), [[]] * -(-len(subject.raw) // BLOCK), [0])
    if found:
        assert held(subject, found[0], begin + 1 - chars, begin + chars)


@given(st.data(), st.text(st.sampled_from("a1é "), max_size=60), st.integers(1, 5))
def test_every_run_of_so_many_digits_lies_in_a_part(data: st.DataObject, text: str, digits: int) -> None:
    chars = data.draw(st.integers(digits, 20))
    gaps = data.draw(st.lists(st.integers(0, 5_000), min_size=1, max_size=5))
    text = "".join("é" * gap + text for gap in gaps) + "x" * 200
    subject = Subject(text)
    blocks = -(-len(subject.raw) // BLOCK)
    around = Around([], {}, [Extent(chars, 0, digits)])
    parts = around.windows(subject, NOTHING, [[] for _ in range(blocks)], [0])[0]
    for at in range(len(text)):
        match = text[at : at + chars]
        if match[0] == "1" and sum(map("1".__eq__, match)) >= digits:
            low, high = len(text[:at].encode()), len(text[: at + len(match)].encode())
            assert any(begin <= low and high <= end for begin, end in parts)

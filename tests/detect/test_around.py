"""The parts of a text in which a rule is tried hold every match, in order, and none of them twice."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sallyport.detect.around import Around
from sallyport.detect.extent import Extent
from sallyport.detect.linear import Subject

BLOCK, OVERLAP = 1024, 8
SETS = [[1], [0, 2], [2]]
"""By expression; the rule asks for one of set 0, which the second alone is in."""


@given(st.data(), st.sampled_from(["a", "é", "😀", "a😀"]), st.sampled_from([1, 40, 400, 900]))
def test_parts_are_apart_and_hold_what_a_match_may(data: st.DataObject, letters: str, chars: int) -> None:
    subject = Subject(letters * data.draw(st.integers(4_000, 12_000)))
    blocks = -(-len(subject.raw) // BLOCK)
    held = data.draw(st.sets(st.integers(0, blocks - 1), min_size=1, max_size=6))
    around = Around(SETS, {0: (0,)}, [Extent(chars, 0, 0)], BLOCK, OVERLAP)
    parts = around.windows(subject, [[0, 1, 2] if block in held else [0, 2] for block in range(blocks)], [0])[
        0
    ]
    assert all(high < low for (_, high), (low, _) in pairwise(parts))
    for block in held:
        first = len(subject.raw[: block * BLOCK].decode(errors="ignore"))
        last = len(subject.raw[: (block + 1) * BLOCK].decode(errors="ignore"))
        begin = len(subject.text[: max(0, first - chars)].encode())
        end = len(subject.text[: last + chars].encode())
        assert any(low <= begin and end <= high for low, high in parts)


@given(st.data(), st.text(st.sampled_from("a1é "), max_size=60), st.integers(1, 5))
def test_every_run_of_so_many_digits_lies_in_a_part(data: st.DataObject, text: str, digits: int) -> None:
    chars = data.draw(st.integers(digits, 20))
    gaps = data.draw(st.lists(st.integers(0, 5_000), min_size=1, max_size=5))
    text = "".join("é" * gap + text for gap in gaps) + "x" * 200
    subject = Subject(text)
    blocks = -(-len(subject.raw) // BLOCK)
    around = Around([], {}, [Extent(chars, 0, digits)], BLOCK, OVERLAP)
    parts = around.windows(subject, [[] for _ in range(blocks)], [0])[0]
    for at in range(len(text)):
        match = text[at : at + chars]
        if match[0] == "1" and sum(map("1".__eq__, match)) >= digits:
            low, high = len(text[:at].encode()), len(text[: at + len(match)].encode())
            assert any(begin <= low and high <= end for begin, end in parts)

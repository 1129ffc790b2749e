"""An opener is found whole, and its beginning is found where the text stops in the middle of one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.detect import linear
from sallyport.detect.watching.opener import MAX_CHARS, OpenerError, opener, widths

SOURCES = [
    (r"!\[", ["!["]),
    (r"\b(?:curl|wget)\s{1,3}", ["curl ", "wget\n  "]),
    (r"a?b{2,3}(?:c|de)", ["abbc", "bbbde"]),
    (r"[^a-y -]{2}x?", ["zz", "zzx"]),
    (r"\x{200b}[\x{2060}-\x{2064}]", ["\u200b\u2061"]),
    (r"(?:ab?){2}\.", ["aab.", "aba."]),
]


@pytest.mark.parametrize(("source", "texts"), SOURCES, ids=[source for source, _ in SOURCES])
def test_every_beginning_of_an_opener_is_seen_at_the_end_of_a_text(source: str, texts: list[str]) -> None:
    made = opener([source])
    whole, begun = linear.pattern(made.whole), linear.pattern(made.begun)
    for text in texts:
        assert whole.starts(f"- {text}", 2)
        assert made.fewest <= len(text) <= made.most
        for length in range(1, len(text) + 1):
            assert begun.find(f"- {text[:length]}", 0) == 2, text[:length]
    assert begun.find("- ", 0) is None


@given(st.text("abcde z!", max_size=12))
def test_what_is_not_seen_to_begin_never_becomes_an_opener(text: str) -> None:
    for source in (r"a?b{2,3}(?:c|de)", r"\b(?:ab|bc)\s{1,2}d", r"(?:ab?){2}!"):
        made = opener([source])
        whole, begun = linear.pattern(made.whole), linear.pattern(made.begun)
        for length in range(1, len(text)):
            start = begun.find(text[:length], 0)
            certain = length if start is None else start
            for place in range(certain):
                assert not whole.starts(text, place)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a+", "has at 1"),
        ("a*", "has at 1"),
        (".b", "has at 0"),
        ("(ab)", "has at 0"),
        ("(?:ab", 'without its ")"'),
        ("ab)", "without a group"),
        (r"a\bb", r"\b inside"),
        ("a?", "may be empty"),
        (f"a{{1,{MAX_CHARS + 1}}}", "characters long"),
        ("{2}", "nothing before"),
        ("a{2,1}", "repeats"),
        ("", "may be empty"),
    ],
)
def test_what_is_no_opener_says_why(source: str, message: str) -> None:
    with pytest.raises(OpenerError) as caught:
        opener([source])
    assert message in str(caught.value)


def test_several_sources_are_alternatives() -> None:
    made = opener([r"\bdd\s", r">\s{0,2}/dev/sd"])
    assert (made.fewest, made.most, made.bounded) == (3, 10, False)
    assert opener([r"\bdd\s", r"\bmkfs"]).bounded
    assert widths(r"[^a]\n") == (2, 2)

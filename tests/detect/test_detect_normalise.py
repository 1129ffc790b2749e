"""Views: what is folded away, and that every span maps back to exactly what it came from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.detect.normalise import Builder, normalise
from sallyport.fold import FOLD, fold

FOLDED = [
    pytest.param("al\u200bice", "alice", id="zero-width-space"),
    pytest.param("al\u00adice", "alice", id="soft-hyphen"),
    pytest.param("a\u202eb\u202c", "ab", id="bidi-controls"),
    pytest.param("４１１１", "4111", id="fullwidth-digits"),
    pytest.param("alice＠example．com", "alice@example.com", id="fullwidth-at-and-dot"),
    pytest.param("4111–1111—1111−1111", "4111-1111-1111-1111", id="dashes"),
    pytest.param("a\u00a0b\u2009c\u3000d", "a b c d", id="spaces"),
    pytest.param("іgnоrе", "ignore", id="cyrillic"),
    pytest.param("ιgnοrε", "ignore", id="greek"),
    pytest.param("𝐢𝐠𝐧𝐨𝐫𝐞 𝓲𝓰𝓷𝓸𝓻𝓮", "ignore ignore", id="mathematical-letters"),
    pytest.param("ⓘⓖⓝⓞⓡⓔ", "ignore", id="circled"),
    pytest.param("ïgnöré", "ignore", id="accents"),
    pytest.param("i\u0301gn\u0308ore", "ignore", id="combining-marks"),
    pytest.param("a&#64;b &#x40; &commat; &amp;lt;", "a@b @ @ <", id="entities"),
    pytest.param("&copy=1 & x&y;", "&copy=1 & x&y;", id="no-entities"),
    pytest.param("\\u0061\\x62\\ud83d\\ude00", "ab😀", id="string-escapes"),
    pytest.param("one\\ntwo", "one\ntwo", id="escaped-newline"),
    pytest.param("sk\\_live\\_a", "sk_live_a", id="escaped-markdown"),
    pytest.param("\x1b[31mred\x1b[0m\x00!", "red!", id="control-characters"),
    pytest.param("٤٢ ४२", "42 42", id="other-digits"),
    pytest.param("\ud800x", "\ufffdx", id="lone-surrogate"),
    pytest.param("한국어 漢字 ไทย", "한국어 漢字 ไทย", id="other-scripts-stay"),
    pytest.param("“a” ‘b’", "\"a\" 'b'", id="quotes"),
]


@pytest.mark.parametrize(("text", "folded"), FOLDED)
def test_what_hides_a_text_from_a_rule_is_folded_away(text: str, folded: str) -> None:
    assert normalise(text).text == folded


def test_plain_ascii_is_its_own_view_without_a_copy() -> None:
    text = "def f(x): return x + 1\n" * 50
    view = normalise(text)
    assert view.text is text
    assert view.starts == ()
    assert view.span(3, 9) == (3, 9)


PIECES = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["\u200b", "ﬁ", "½", "é", "&amp;", "&#64;", "\\n", "\\u0041", "\x1b[0m", "\ud800", "🏴"]),
    st.text(alphabet="abc @.-&\\", max_size=6),
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_every_character_of_a_view_comes_from_what_it_maps_to(text: str) -> None:
    view = normalise(text)
    end = 0
    for index, char in enumerate(view.text):
        low, high = view.span(index, index + 1)
        assert 0 <= low < high <= len(text)
        assert low >= end or view.span(index - 1, index) == (low, high)  # in order; an expansion shares
        end = high
        source = text[low:high]
        if len(source) == 1 and source not in "&\\":
            assert char in FOLD[source]
        else:
            assert source[0] in "&\\"


@given(st.lists(PIECES, max_size=20).map("".join), st.data())
def test_spans_grow_with_what_they_cover_and_miss_nothing(text: str, data: st.DataObject) -> None:
    view = normalise(text)
    if not view.text:
        return
    start = data.draw(st.integers(0, len(view.text) - 1))
    end = data.draw(st.integers(start + 1, len(view.text)))
    low, high = view.span(start, end)
    assert low == view.span(start, start + 1)[0]
    assert high == view.span(end - 1, end)[1]
    inside = normalise(text[low:high]).text
    assert view.text[start:end] in inside or "\\" in text or "&" in text


@given(st.lists(PIECES, max_size=20).map("".join), st.data())
def test_a_copied_slice_keeps_its_places(text: str, data: st.DataObject) -> None:
    view = normalise(text)
    start = data.draw(st.integers(0, len(view.text)))
    end = data.draw(st.integers(start, len(view.text)))
    builder = Builder()
    builder.copy(view, start, end)
    copy = builder.view()
    assert copy.text == view.text[start:end]
    for index in range(end - start):
        assert copy.span(index, index + 1) == view.span(start + index, start + index + 1)


@given(st.characters())
def test_folding_twice_changes_nothing_more(char: str) -> None:
    assert fold(FOLD[char]) == FOLD[char]


def test_case_commutes_with_folding_where_both_cases_exist() -> None:
    for code in [*range(0x400, 0x460), *range(0x41, 0x7B)]:
        upper, lower = chr(code).upper(), chr(code).lower()
        if len(upper) == len(lower) == 1 and upper != lower:
            assert FOLD[upper].lower() == FOLD[lower].lower()

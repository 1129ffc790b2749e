"""Text that clients wrote: storable, reversible, bounded, harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.audit.text import INVALID_CODE, MAX_TEXT_CHARS, code, original, printable, storable

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)


@given(ANY_TEXT)
def test_escaping_loses_nothing(text: str) -> None:
    assert original(storable(text)) == text


@given(st.text(st.sampled_from("\\x0u5cd\0\ud800a"), max_size=40))
def test_escaping_loses_nothing_of_what_looks_escaped(text: str) -> None:
    assert original(storable(text)) == text


@given(ANY_TEXT)
def test_escaping_twice_is_escaping_once(text: str) -> None:
    assert storable(storable(text)) == storable(text)


@given(ANY_TEXT)
def test_stored_text_is_utf8_without_control_characters(text: str) -> None:
    stored = storable(text)
    stored.encode("utf-8")
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in stored)


@pytest.mark.parametrize("text", ["gpt-4o", "DOMAIN\\user", "arn:aws:iam::1:user/ü", "spiffe://a/b%20c", ""])
def test_ordinary_names_stay_as_they_are(text: str) -> None:
    assert storable(text) == text


def test_long_texts_are_cut_and_stay_different() -> None:
    one, other = storable("a" * 10_000), storable("a" * 9_999 + "b")
    assert len(one) <= MAX_TEXT_CHARS
    assert one != other
    assert "10000 characters" in one
    assert storable("\0" * 10_000).count("\\x00") < MAX_TEXT_CHARS


@given(ANY_TEXT)
def test_printable_text_is_printable(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize("text", ["limits.per_principal", "audit_unavailable", "a-b:c/d.0", ""])
def test_codes_pass(text: str) -> None:
    assert code(text) == text


@pytest.mark.parametrize("text", ["my card is 4111", "a" * 121, "ü", "a\n", "\x1b[31m"])
def test_prose_is_no_code(text: str) -> None:
    assert code(text) == INVALID_CODE

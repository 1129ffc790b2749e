"""Addresses that carry data, and ordinary ones, which are the many."""

import base64

import pytest

from sallyport.detect.watching.checks import (
    carried_when_clicked,
    carried_when_loaded,
    carried_when_referenced,
)

SECRET = "the customer list is in the safe"
ORDINARY = [
    "https://docs.python.org/3/library/re.html?highlight=re#re.Pattern",
    "https://github.com/google/re2/wiki/Syntax",
    "https://github.com/a/b/commit/0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
    "https://example.com/images/3f2504e0-4f89-11d3-9a0c-0305e82c3301.png",
    "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
    "https://en.wikipedia.org/wiki/Transport_Layer_Security",
    "https://example.com/a/very-long-slug-with-many-ordinary-words-in-it-as-blogs-have.html",
    "https://cdn.example.net/npm/@scope/package@12.3.4/dist/bundle.min.js",
    "https://www.gravatar.com/avatar/205e460b479e2e5b48aec07710c08d50?s=200&d=identicon",
    "https://fonts.googleapis.com/css2?family=Roboto:wght@400;700&display=swap",
    "/relative/path?data=everything",
]


@pytest.mark.parametrize("address", ORDINARY)
@pytest.mark.parametrize("check", [carried_when_loaded, carried_when_referenced, carried_when_clicked])
def test_ordinary_addresses_carry_nothing(check, address: str) -> None:
    assert not check(address)


@pytest.mark.parametrize("check", [carried_when_loaded, carried_when_referenced, carried_when_clicked])
@pytest.mark.parametrize("where", ["path", "query", "host", "credentials"])
@pytest.mark.parametrize("how", ["base64", "urlsafe", "hex"])
def test_an_encoded_text_is_found_wherever_it_stands(check, where: str, how: str) -> None:
    raw = SECRET.encode()
    text = {
        "base64": base64.b64encode(raw).decode().rstrip("="),
        "urlsafe": base64.urlsafe_b64encode(raw).decode(),
        "hex": raw.hex(),
    }[how]
    address = {
        "path": f"https://evil.example/{text}/i.png",
        "query": f"https://evil.example/i.png?v={text}",
        "host": f"https://{text.rstrip('=')}.evil.example/",
        "credentials": f"//evil.example/?a=1&b={text}&c=2",
    }[where]
    assert check(address)


def test_what_is_spoken_in_a_query_depends_on_whether_it_is_loaded_by_itself() -> None:
    address = "https://evil.example/i?q=the+key+is+under+the+mat"
    assert carried_when_loaded(address)
    assert not carried_when_clicked(address)
    assert carried_when_clicked("https://evil.example/i?q=" + "+".join(["word"] * 30))


def test_an_address_within_an_address_is_judged_too() -> None:
    inner = "https://evil.example/?secret=hunter2"
    assert carried_when_clicked(f"https://example.com/redirect?to={inner}")
    assert not carried_when_loaded(
        "https://example.com/badge?url=https://raw.example.com/a/b/main/badge/v2.json"
    )


def test_a_fragment_is_not_sent_when_something_is_loaded() -> None:
    address = f"https://example.com/page#{base64.b64encode(SECRET.encode()).decode()}"
    assert not carried_when_loaded(address)
    assert carried_when_clicked(address)


@pytest.mark.parametrize("placeholder", ["<EMAIL_ADDRESS_abcdefgh23>", "%3CPERSON_abcdefgh23%3E"])
def test_a_placeholder_has_no_business_in_an_address(placeholder: str) -> None:
    for check in (carried_when_loaded, carried_when_referenced, carried_when_clicked):
        assert check(f"https://evil.example/{placeholder}")
        assert check(f"https://evil.example/#{placeholder}")

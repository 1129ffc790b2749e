"""A Content-Type has one reading, or none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.wire.errors import WireError
from sallyport.wire.mediatype import MediaType, parse_media_type, require_utf8


@pytest.mark.parametrize(
    ("header", "essence", "parameters"),
    [
        ("application/json", "application/json", ()),
        ("Application/JSON", "application/json", ()),
        ("application/json;charset=utf-8", "application/json", (("charset", "utf-8"),)),
        (
            'text/event-stream ; Charset="utf-8" ; q=1',
            "text/event-stream",
            (("charset", "utf-8"), ("q", "1")),
        ),
        ('multipart/form-data; boundary="a b"', "multipart/form-data", (("boundary", "a b"),)),
    ],
)
def test_an_honest_header_is_read(header: str, essence: str, parameters: tuple[tuple[str, str], ...]) -> None:
    assert parse_media_type(header) == MediaType(essence, parameters)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "json",
        "application/json, text/plain",
        "application/json; charset",
        "application/json; charset=",
        "application/json;",
        'application/json; charset="utf-8',
        'application/json; charset="utf\\-8"',
        "application/json; charset*=utf-8''x",
        "application/json\nx",
        "a pplication/json",
    ],
)
def test_an_odd_header_is_refused(header: str) -> None:
    with pytest.raises(WireError) as caught:
        require_utf8(header)
    assert caught.value.reason in ("content_type.malformed", "charset.other")


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "us-ascii"])
def test_utf8_is_the_charset(charset: str) -> None:
    require_utf8(f"application/json; charset={charset}")
    require_utf8("application/json")
    require_utf8(None)


@pytest.mark.parametrize("charset", ["utf-16", "cp037", "rot13", "undefined", "punycode", "latin-1", '""'])
def test_any_other_charset_is_refused(charset: str) -> None:
    with pytest.raises(WireError, match=r"charset\.other"):
        require_utf8(f"application/json; charset={charset}")


def test_a_second_charset_is_refused() -> None:
    with pytest.raises(WireError, match="duplicate"):
        require_utf8("application/json; charset=utf-8; Charset=utf-16")


@given(st.text(max_size=60))
def test_noise_raises_nothing_but_wire_errors(header: str) -> None:
    with contextlib.suppress(WireError):
        require_utf8("application/json;" + header)

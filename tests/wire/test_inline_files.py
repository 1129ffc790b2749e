"""A text file that travels in base64 is read like any text and encoded again; anything else stays what it was."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.decision import Edit
from sallyport.exchange import Operation, Request
from sallyport.wire import inline
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError

PLAIN = "name,mail\nOdile,odile@example.org\nZoë,€\n"
KINDS = {
    "data URL": ("data:text/csv;base64,", "text/csv"),
    "data URL with charset": ("data:text/csv;charset=utf-8;base64,", "text/csv"),
    "bare": ("", "application/octet-stream"),
}


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def carrying(file_data: str) -> bytes:
    part = {"type": "file", "file": {"filename": "list.csv", "file_data": file_data}}
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": [part]}]}).encode()


def read(body: bytes, dialect: str = "openai_chat") -> Request:
    return DIALECTS[dialect].read_request(body, Call("p", Operation.CHAT))


def file_of(body: bytes) -> str:
    found = json.loads(body)["messages"][0]["content"][0]["file"]["file_data"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_file_is_one_text_and_no_attachment(kind: str) -> None:
    head, _ = KINDS[kind]
    request = read(carrying(head + encoded(PLAIN)))
    assert request.attachments == ()
    assert [s.text for s in request.segments if s.at.endswith("~t")] == [PLAIN]


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_goes_into_the_file_and_nowhere_else(kind: str) -> None:
    head, _ = KINDS[kind]
    body = carrying(head + encoded(PLAIN))
    (at,) = (s.at for s in read(body).segments if s.at.endswith("~t"))
    start = PLAIN.index("odile@")
    changed = DIALECTS["openai_chat"].edit(
        body, [Edit(at, start, start + len("odile@example.org"), "<EMAIL_x>")]
    )
    assert file_of(changed).startswith(head)
    assert base64.b64decode(file_of(changed)[len(head) :]).decode() == PLAIN.replace(
        "odile@example.org", "<EMAIL_x>"
    )
    assert changed.replace(file_of(changed).encode(), b"") == body.replace(file_of(body).encode(), b"")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "an image"),
        (PLAIN.encode("utf-16"), "UTF-16, which nobody here reads"),
        (b"text and then\x00a zero", "a NUL"),
        (b"plain " * 2000 + b"\xff", "text at first"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_text_stays_an_attachment_of_its_media_type(content: bytes, why: str) -> None:
    request = read(carrying("data:text/plain;base64," + encoded(content)))
    assert [a.media_type for a in request.attachments] == ["text/plain"]
    assert not any(s.at.endswith("~t") for s in request.segments)


def test_a_text_with_control_characters_is_read_and_stays_an_attachment() -> None:
    request = read(carrying("data:text/plain;base64," + encoded(f"\x1b[31m{PLAIN}")))
    assert [a.media_type for a in request.attachments] == ["text/plain"]
    assert [s.text for s in request.segments if s.at.endswith("~t")] == [f"\x1b[31m{PLAIN}"]


@pytest.mark.parametrize("prompt", [f"\x01{PLAIN}", f"{PLAIN}\x00"])
def test_a_field_of_a_form_is_a_text_whatever_is_in_it(prompt: str) -> None:
    body = f'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n{prompt}\r\n--b--\r\n'.encode()
    call = Call("p", Operation.IMAGE, content_type="multipart/form-data; boundary=b")
    request = DIALECTS["openai_form"].read_request(body, call)
    assert [s.text for s in request.segments] == [prompt]


def test_a_text_that_claims_to_be_an_image_is_read_and_stays_an_image_to_the_policy() -> None:
    request = read(carrying("data:image/png;base64," + encoded(PLAIN)))
    assert [a.media_type for a in request.attachments] == ["image/png"]
    assert PLAIN in [s.text for s in request.segments]


def test_documents_of_other_dialects_are_read_too() -> None:
    source = {"type": "base64", "media_type": "text/plain", "data": encoded(PLAIN)}
    claude = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "document", "source": source}]}],
    }
    part = {"inlineData": {"mimeType": "text/csv", "data": encoded(PLAIN)}}
    gemini = {"contents": [{"role": "user", "parts": [part]}]}
    for dialect, payload in (("anthropic_messages", claude), ("gemini_generate", gemini)):
        request = read(json.dumps(payload).encode(), dialect)
        assert request.attachments == ()
        assert PLAIN in [s.text for s in request.segments]


def test_no_edit_goes_where_there_is_no_file() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "\x00"}]}).encode()
    with pytest.raises(WireError):
        DIALECTS["openai_chat"].edit(body, [Edit("/messages/0/content~t", 0, 1, "x")])


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=9000), st.data()
)
def test_any_text_is_found_whole_and_any_edit_lands(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert inline.text_in(encoded(text)) == text
    changed = inline.edited(encoded(text), [Edit("", start, end, "<X>")])
    assert base64.b64decode(changed).decode() == f"{text[:start]}<X>{text[end:]}"


@given(st.text("ABCabc01+/-_=\r\n{ü", max_size=200))
def test_no_string_breaks_the_reader(string: str) -> None:
    found = inline.text_in(string)
    assert found is None or inline.text_in(encoded(found)) == found

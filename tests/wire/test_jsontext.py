"""JSON that two readers could understand differently is refused, and refusals never quote it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import MAX_DEPTH, MAX_NODES, parse, parse_object, public_pointer, token, untoken

REFUSED = {
    "empty": (b"", "json.truncated"),
    "a name twice": (b'{"a":1,"a":2}', "json.duplicate_key"),
    "a name twice, once escaped": (b'{"model":1,"\\u006dodel":2}', "json.duplicate_key"),
    "names that differ in case": (b'{"x":[{"model":1,"Model":2}]}', "json.duplicate_key"),
    "the Kelvin sign for k": ('{"k":1,"\u212a":2}'.encode(), "json.duplicate_key"),
    "NaN": (b"[NaN]", "json.syntax"),
    "Infinity": (b"[-Infinity]", "json.number"),
    "a number beyond floats": (b"[1e999]", "json.number"),
    "401 digits": (b"[" + b"1" * 401 + b"]", "json.number"),
    "5000 digits": (b"1" * 5000, "json.number"),
    "a leading zero": (b"[01]", "json.number"),
    "a line comment": (b'{"a":1}// x', "json.trailing_data"),
    "a block comment": (b'{/**/"a":1}', "json.syntax"),
    "a trailing comma": (b"[1,]", "json.trailing_comma"),
    "trailing data": (b"{} x", "json.trailing_data"),
    "two documents": (b'{"a":1}\n{"b":2}', "json.trailing_data"),
    "single quotes": (b"{'a':1}", "json.syntax"),
    "a prefix against hijacking": (b")]}',\n{}", "json.syntax"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "json.syntax"),
    "UTF-16 without a mark": ('{"a":1}'.encode("utf-16-le"), "json.syntax"),
    "bytes that are not UTF-8": (b'{"a":"\xff"}', "json.utf8"),
    "an overlong form": (b'{"a":"\xc0\xaf"}', "json.utf8"),
    "a surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}', "json.utf8"),
    "a lone high surrogate": (b'{"a":"\\ud83d"}', "json.surrogate"),
    "a lone low surrogate": (b'{"a":"\\ude00 "}', "json.surrogate"),
    "a high surrogate before a letter": (b'{"a":"\\ud83d\\u0041"}', "json.surrogate"),
    "a control character": (b'{"a":"\x01"}', "json.syntax"),
    "too deep": (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "json.depth"),
    "far too deep": (b"[" * 500_000, "json.depth"),
    "too many nodes": (b"[" + b"1," * MAX_NODES + b"1]", "json.nodes"),
    "cut off": (b'{"a": [1, "x', "json.truncated"),
    "two marks": (b"\xef\xbb\xbf\xef\xbb\xbf{}", "json.syntax"),
}


@pytest.mark.parametrize(("body", "reason"), REFUSED.values(), ids=REFUSED)
def test_ambiguous_json_is_refused(body: bytes, reason: str):
    with pytest.raises(WireError) as refused:
        parse(body)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "body",
    [b"{}", b"\xef\xbb\xbf{}", b" [1, -0, 1.5e3, true, null] ", b'"\\ud83d\\ude00"', b"[" * 128 + b"]" * 128],
)
def test_plain_json_is_read_as_the_standard_library_reads_it(body: bytes):
    assert parse(body) == json.loads(body)


def test_400_digits_are_read_exactly():
    assert parse(b"9" * 400) == int("9" * 400)


def test_an_error_says_where_and_never_what():
    with pytest.raises(WireError) as refused:
        parse(b'{"secret-heron":1,\n "secret-heron":2}')
    assert refused.value.place.startswith("byte ")
    assert "heron" not in str(refused.value)
    with pytest.raises(WireError) as refused:
        parse(b'{"messages":{"marta@example.com":{"a":1,"A":2}}}')
    assert refused.value.place == "/messages/*"
    assert refused.value.__cause__ is None


def test_only_an_object_is_an_object():
    with pytest.raises(WireError):
        parse_object(b"[1]")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_wire_error(body: bytes):
    try:
        parse(body)
    except WireError:
        return
    json.loads(body.removeprefix(b"\xef\xbb\xbf"))


@given(st.text())
def test_pointer_tokens_go_back(key: str):
    assert untoken(token(key)) == key
    assert "/" not in token(key)


def test_a_public_pointer_spells_plain_names_only():
    assert public_pointer("/messages/0/content") == "/messages/0/content"
    assert public_pointer("/metadata/marta@example.com~k") == "/metadata/*~k"

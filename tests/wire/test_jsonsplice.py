"""Edits change the texts they name and not one byte else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sallyport.decision import Edit
from sallyport.exchange import Surface
from sallyport.wire.errors import WireError
from sallyport.wire.jsonsplice import edit, replace, spans
from sallyport.wire.jsontext import parse, untoken
from sallyport.wire.shape import FREE, walk

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXTS, v, max_size=4), max_leaves=12
)


@st.composite
def bodies(draw) -> bytes:
    value = draw(VALUES.filter(lambda v: isinstance(v, dict | list)))
    ascii_only, spaces = draw(st.booleans()), draw(st.sampled_from([None, 1]))
    body = json.dumps(value, ensure_ascii=ascii_only, indent=spaces).encode()
    return (
        draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\r\n "])) + body + draw(st.sampled_from([b"", b" \n"]))
    )


@st.composite
def edited(draw) -> tuple[bytes, list[Edit]]:
    body = draw(bodies())
    try:
        value = parse(body)
    except WireError:
        return b"{}", []
    edits = []
    for segment in walk(value, FREE[Surface.USER]).segments:
        if draw(st.booleans()):
            size = len(segment.text)
            cuts = sorted(draw(st.sets(st.integers(0, size), min_size=2, max_size=4))) if size else []
            edits += [
                Edit(segment.at, a, b, draw(TEXTS)) for a, b in zip(cuts[::2], cuts[1::2], strict=False)
            ]
    return body, draw(st.permutations(edits))


def applied(text: str, edits: list[Edit]) -> str:
    for one in sorted(edits, key=lambda e: -e.start):
        text = text[: one.start] + one.replacement + text[one.end :]
    return text


def expected(value, edits: dict[str, list[Edit]], at: str = ""):
    """Apply edits to a parsed value: the law written a second time, without bytes."""
    if isinstance(value, dict):
        named = [(k, f"{at}/{k.replace('~', '~0').replace('/', '~1')}") for k in value]
        return [(applied(k, edits.get(p + "~k", [])), expected(value[k], edits, p)) for k, p in named]
    if isinstance(value, list):
        return [expected(v, edits, f"{at}/{i}") for i, v in enumerate(value)]
    if isinstance(value, str) or (type(value) in (int, float) and at in edits):
        return applied(value if isinstance(value, str) else str(int(value)), edits.get(at, []))
    return value


def names_collide(value) -> bool:
    """Say whether an object of an expected value has two names that differ at most in case."""
    if not isinstance(value, list):
        return False
    names = [item[0].casefold() for item in value if isinstance(item, tuple)]
    inner = [item[1] if isinstance(item, tuple) else item for item in value]
    return len(set(names)) != len(names) or any(map(names_collide, inner))


def members(value):
    if isinstance(value, dict):
        return [(k, members(v)) for k, v in value.items()]
    return [members(v) for v in value] if isinstance(value, list) else value


@given(bodies())
def test_no_edits_no_change(body: bytes):
    assert edit(body, []) == body


@settings(max_examples=400)
@given(edited())
def test_only_the_named_texts_differ(case: tuple[bytes, list[Edit]]):
    body, edits = case
    by_pointer: dict[str, list[Edit]] = {}
    for one in edits:
        by_pointer.setdefault(one.at, []).append(one)
    if names_collide(expected(parse(body), by_pointer)):
        with pytest.raises(WireError, match=r"json\.duplicate_key"):
            edit(body, edits)
        return
    result = edit(body, edits)
    assert members(parse(result)) == expected(parse(body), by_pointer)
    if not any(at.endswith("~k") for at in by_pointer):
        assert outside(result, by_pointer) == outside(body, by_pointer)


def outside(body: bytes, pointers) -> bytes:
    cut = bytearray()
    position = 0
    try:
        found = sorted(spans(body, pointers).values())
    except WireError:  # an edited number has become a string of another length
        return b""
    for start, end in found:
        cut += body[position:start]
        position = end
    return bytes(cut + body[position:])


def test_untouched_characters_keep_their_spelling():
    body = b'{"a" :\t"x\\u0041\\/\\u00e4\\ud83d\\ude00 y\\n" , "n": 1.0e+2}'
    result = edit(body, [Edit("/a", 5, 6, 'Ö"')])
    assert result == '{"a" :\t"x\\u0041\\/\\u00e4\\ud83d\\ude00Ö\\"y\\n" , "n": 1.0e+2}'.encode()


def test_a_long_integer_is_edited_like_its_digits_and_becomes_a_string():
    body = b'{"card": 4111111111111111, "n": 12345}'
    assert edit(body, [Edit("/card", 0, 16, "<CARD>")]) == b'{"card": "<CARD>", "n": 12345}'
    with pytest.raises(WireError):
        edit(body, [Edit("/n", 0, 1, "x")])


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([Edit("/b", 0, 1, "x")], "edit.pointer"),
        ([Edit("/a/0", 0, 1, "x")], "edit.pointer"),
        ([Edit("a", 0, 1, "x")], "edit.pointer"),
        ([Edit("", 0, 1, "x")], "edit.pointer"),
        ([Edit("~k", 0, 1, "x")], "edit.pointer"),
        ([Edit("/n", 0, 1, "x")], "edit.pointer"),
        ([Edit("/l/01", 0, 1, "x")], "edit.pointer"),
        ([Edit("/a", 0, 4, "x")], "edit.range"),
        ([Edit("/a", 2, 1, "x")], "edit.range"),
        ([Edit("/a", -1, 1, "x")], "edit.range"),
        ([Edit("/a", 0, 2, "x"), Edit("/a", 1, 3, "y")], "edit.overlap"),
        ([Edit("/a", 1, 1, "x"), Edit("/a", 1, 1, "y")], "edit.overlap"),
        ([Edit("/a", 0, 1, "\ud800")], "edit.surrogate"),
        ([Edit("/a~k", 0, 1, "n")], "json.duplicate_key"),
    ],
)
def test_edits_that_cannot_be_made_are_refused(edits: list[Edit], reason: str):
    with pytest.raises(WireError) as refused:
        edit(b'{"a":"abc","n":7,"l":["x","y"]}', edits)
    assert refused.value.reason == reason


def test_edits_of_bytes_that_are_not_json_are_refused():
    with pytest.raises(WireError):
        edit(b'{"a":"abc",}', [Edit("/a", 0, 1, "x")])


def test_json_is_put_in_as_it_stands_and_none_empties() -> None:
    body = b' {"a":[1, "x"],"b":{"c":2}, "d" : "e"}'
    assert replace(body, {"/a": b'[{"t":1}]', "/d": "f"}) == b' {"a":[{"t":1}],"b":{"c":2}, "d" : "f"}'
    assert replace(body, {"/a": None, "/b": None}) == b' {"a":[],"b":null, "d" : "e"}'
    with pytest.raises(WireError, match=r"edit\.pointer"):
        replace(body, {"/z": b"1"})


def test_whole_texts_are_replaced():
    assert replace(b' {"a":"b", "c":["d"]}', {"/c/0": 'e"', "/a~k": "k"}) == b' {"k":"b", "c":["e\\""]}'


def test_many_edits_of_a_long_text_take_linear_time():
    body = json.dumps({"a": "ä" * 200_000}, ensure_ascii=False).encode()
    edits = [Edit("/a", i, i + 1, "x") for i in range(0, 200_000, 100)]
    assert parse(edit(body, edits)) == {"a": ("x" + "ä" * 99) * 2000}


def test_a_token_of_a_pointer_is_unescaped():
    assert untoken("a~1b~0c") == "a/b~c"
    assert replace(b'{"a/b~c":"x"}', {"/a~1b~0c": "y"}) == b'{"a/b~c":"y"}'

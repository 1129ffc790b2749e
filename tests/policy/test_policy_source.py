"""The YAML reader: plain values with places, and no exception but PolicyError."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.policy.problems import PolicyError
from sallyport.policy.source import MAX_FILE_BYTES, parse_source, read_source


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: no\nb: on\nc: yes", {"a": "no", "b": "on", "c": "yes"}),
        ("a: true\nb: False\nc: ~\nd:", {"a": True, "b": False, "c": None, "d": None}),
        ("a: 2026-01-01", {"a": "2026-01-01"}),
        ("a: 0x10\nb: 1_000\nc: 1.5e3\nd: .5", {"a": "0x10", "b": "1_000", "c": 1500.0, "d": 0.5}),
        ("a: '1'\nb: \"true\"", {"a": "1", "b": "true"}),
        ("- [1, {b: c}]\n- |\n  x\n", [[1, {"b": "c"}], "x\n"]),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("9999999999999999999999: 1", {"9999999999999999999999": 1}),
        ("", None),
        ("# only a comment", None),
        ("just a word", "just a word"),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert parse_source(text.encode(), "f").data == value


def test_every_key_and_item_knows_its_line_and_column() -> None:
    source = parse_source(b"a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", "f.yaml")
    assert source.where(("a",)) == "f.yaml:1:1"
    assert source.where(("a", "c")) == "f.yaml:3:3"
    assert source.where(("a", "c", 1)) == "f.yaml:5:7"
    assert source.where(("a", "c", 1, "d")) == "f.yaml:5:8"
    assert source.where(("a", "c", 1, "missing", "below")) == "f.yaml:5:7"
    assert source.where(()) == "f.yaml:1:1"


@pytest.mark.parametrize(
    ("content", "where", "says"),
    [
        (b"a: 1\nb: 2\na: 3", "f:3:1", "given twice"),
        (b"a: {b: 1, b: 2}", "f:1:11", "given twice"),
        (b"a: &x [1]\nb: *x", "f:1:4", "anchor"),
        (b"a: *x", "f:1:4", "alias"),
        (b"a: !!python/object:os.system x", "f:1:4", "tag"),
        (b"a: !x\n  b: 1", "f:1:4", "tag"),
        (b"a: 1\n---\nb: 2", "f:2:1", "second YAML document"),
        (b"? [a]\n: b", "f:1:3", "as a key"),
        (b"? {a: b}\n: c", "f:1:3", "as a key"),
        (b"a: .nan\nb: .inf", "f:1:4", "finite"),
        (b'a: "\\uD800"', "f:1:4", "surrogate"),
        (b'"\\0": 1', "f:1:1", "NUL"),
        (b"a: [b", "f:1:6", "not valid YAML"),
        (b"\ta: b", "f:1:1", "not valid YAML"),
        (b'a: "\\U00120000"', "f:1:1", "not valid YAML"),
        (b"ok: 1\na: \xff\xfe", "f:2:1", "UTF-8"),
        (b"a: \x07", "f:1:1", "not valid YAML"),
        (b"[" * 5000, "f:1:18", "deeply nested"),
        (b"a: [" + b"1," * 60_000 + b"]", "f:1:", "too large"),
        (b"#" * (MAX_FILE_BYTES + 1), "f:1:1", "larger than"),
    ],
    ids=lambda v: str(v)[:20],
)
def test_what_is_not_plain_yaml_is_refused_with_its_place(content: bytes, where: str, says: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_source(content, "f")
    first = error.value.problems[0]
    assert first.where.startswith(where)
    assert says in first.what
    assert first.todo.endswith(".")


def test_a_file_that_cannot_be_read_is_a_problem_and_not_a_traceback() -> None:
    for path in (Path("/nonexistent/policy.yaml"), Path("/"), Path("nul\0byte")):
        with pytest.raises(PolicyError, match="cannot be read"):
            read_source(path)


def test_messages_hold_no_value_of_the_file() -> None:
    key = "sk-" + "a1B2" * 12
    for content in (f"a: [{key}", f"a: {key}: b: c", f"{key}: 1\n{key}: 2", f"a: &{key} 1", f"a: '{key}"):
        with pytest.raises(PolicyError) as error:
            parse_source(content.encode(), "f")
        assert key not in str(error.value)


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_policy_errors(content: bytes) -> None:
    with suppress(PolicyError):
        parse_source(content, "f")


_SIGNS = "abc01 \n\t:-[]{},&*!|>'\"%@`#?~.\\"
_PIECES = [
    "  ",
    ": ",
    "- ",
    "? ",
    "---\n",
    "...\n",
    "%YAML ",
    "\\x",
    "\\u0",
    "é",
    "\u2028",
    "\ufeff",
    "<<",
    "!!",
]
_YAML_BITS = st.sampled_from([*_SIGNS, *_PIECES, "|+2\n"])


@given(st.lists(_YAML_BITS, max_size=60).map("".join))
def test_random_yaml_like_text_raises_only_policy_errors(text: str) -> None:
    with suppress(PolicyError):
        parse_source(text.encode(), "f")

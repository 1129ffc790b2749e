"""What libyaml reads of a rule pack is what ruamel.yaml's round trip would have read, places included."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sallyport.data import rules_dir
from sallyport.detect.packfile import read_tree
from sallyport.detect.plainyaml import read_plain
from sallyport.errors import OperatorError

SHIPPED = sorted(path.relative_to(rules_dir()).as_posix() for path in rules_dir().rglob("*.yaml"))


def assert_same(ours: Any, theirs: Any) -> None:
    """Compare values, types as far as packs tell them apart, and the line and column of everything."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        assert (ours.lc.line, ours.lc.col) == (theirs.lc.line, theirs.lc.col)
        for key in theirs:
            assert ours.lc.key(key) == theirs.lc.key(key)
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        assert (ours.lc.line, ours.lc.col) == (theirs.lc.line, theirs.lc.col)
        for index, item in enumerate(theirs):
            assert ours.lc.item(index) == theirs.lc.item(index)
            assert_same(ours[index], item)
    else:
        assert isinstance(theirs, type(ours))
        assert ours == theirs


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_ordinary_and_read_alike(name: str) -> None:
    text = (rules_dir() / name).read_text("utf-8")
    ours = read_plain(text)
    assert ours is not None, "libyaml does not read it: quote words that end in a colon inside of brackets"
    assert_same(ours, YAML(typ="rt").load(text))


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: -7\nc: 0\nd: 0.5\ne: 12.25\n",
        "a: true\nb: FALSE\nc: ~\nd: null\ne:\nf: yes\ng: off\nh: 'true'\ni: \"12\"\n",
        "a: 1.2.3\nb: 10h\nc: -x\nd: .5.6\ne: 12:30\nf: e5\ng: N/A\nh: 0x\n",
        "a: |\n  one\n   two\n\nb: |-\n  x\nc: >\n  fold\n  ed\n\n  more\nd: |+\n  keep\n\n",
        "a: >-\n  fold\n    deeper\n  back\nb: plain\n  over\n  lines\n",
        "a: [x, 'y', {b: c}, [d, []], {}]\nb:\n- 1\n-   - 2\n    - k: v\n",
        "a: \"\\x41\\u00e9\\n\\/\"\nb: 'it''s'\nc: \"two\n  lines\"\n",
        "a: x # said\n# more\nb: y#z\nc: 'q' # r\n",
        "a: [x:y, http://e.example/?q=1]\nb: {u: http://e.example}\n",
        "a: &w [x, y]\nb: *w\nc: {d: *w}\ne: &m {k: v}\nf: [*m, *m]\n",
        "7: a\ntrue: b\nnull: c\n2.5: d\n",
        "- a\n- b: c\n",
        "---\na: b\n...\n",
        "a:   b\n\nc: d   \n",
        "é: ü\nx: 日本\ny: \U0001f600\n",
    ],
)
def test_the_ordinary_is_read_alike(text: str) -> None:
    ours = read_plain(text)
    assert ours is not None
    assert_same(ours, YAML(typ="rt").load(text))


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2\n",
        "a: !!str 1\n",
        "a: !own {b: c}\n",
        "a: &x 1\nb: *x\n",
        "a: &x [*x]\n",
        "a: &x [1]\nb: &x [2]\nc: *x\n",
        "a: *nobody\n",
        "a: &x {b: 1}\nc:\n  <<: *x\n",
        "%YAML 1.1\n---\na: yes\n",
        "a: 1\n---\nb: 2\n",
        "a: 2026-01-01\n",
        "a: 0x1F\n",
        "a: 0o17\n",
        "a: 017\n",
        "a: 1_000\n",
        "a: 1e5\n",
        "a: .5\n",
        "a: .inf\n",
        "a: =\n",
        "? [x, y]\n: z\n",
        "a: b\u2028c\n",
        "a:\tb\n",
        "a: b\x85c\n",
        "\ufeffa: b\n",
        "a: [x, y:, z]\n",
        "a: [x\n",
        "a: b: c\n",
        "a: 'x\n",
        "a\n",
        "",
        "# nothing\n",
    ],
)
def test_what_they_might_read_differently_is_left_to_the_other(text: str) -> None:
    assert read_plain(text) is None


def test_nesting_without_end_is_no_crash() -> None:
    deep = "a: " + "[" * 200_000
    assert read_plain(deep) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [x\n", "is not YAML"),
        ("a: 1\na: 2\n", "is not YAML"),
        ("- a\n", "is not a mapping"),
        ("", "is not a mapping"),
    ],
)
def test_an_operator_is_told_as_before(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "pack.yaml"
    path.write_text(text)
    with pytest.raises(OperatorError) as caught:
        read_tree(path, "rules/pack.yaml")
    assert caught.value.what.startswith(told)
    assert caught.value.where.startswith("rules/pack.yaml:")


def test_a_file_for_the_other_reader_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pack.yaml"
    path.write_text("a: [x, y:, z]\nb: 0x1F\n")
    assert read_tree(path, "rules/pack.yaml") == {"a": ["x", "y:", "z"], "b": 31}

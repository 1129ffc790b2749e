"""A pack that is wrong says where, what, and what to do, and does not load."""

from pathlib import Path

import pytest

from sallyport.detect.packs import load
from sallyport.errors import OperatorError

PACK = """\
title: A pack
rules:
  - id: one
    title: One
    severity: high
    pattern: 'abc\\d{3}'
    score: 0.9
    examples:
      match: [abc123]
      pass: [abc]
"""

HEAD = PACK[: PACK.index("    score")]
MANY = f"define: {{a: '{'%{b}' * 500}', b: '{'%{c}' * 500}', c: x}}\n"

WRONG = [
    pytest.param(
        "pattern: 'abc\\d{3}'", "pattern: 'a(?=b)'", ":3 secrets.x.one: pattern uses look-around", id="look"
    ),
    pytest.param(
        "pattern: 'abc\\d{3}'", "pattern: 'a(b'", ":3 secrets.x.one: pattern does not compile", id="syntax"
    ),
    pytest.param(
        "pattern: 'abc\\d{3}'", "pattern: 'a.*b'", "repeats almost anything without end", id="endless"
    ),
    pytest.param("pattern: 'abc\\d{3}'", "pattern: '[^a]+b'", "repeats almost anything", id="endless-class"),
    pytest.param(
        "pattern: 'abc\\d{3}'",
        "pattern: '" + "a{1000}b{1000}" * 3 + "'",
        "repetitions add up",
        id="repetitions",
    ),
    pytest.param("pattern: 'abc\\d{3}'", "pattern: 'a?'", "matches the empty text", id="empty"),
    pytest.param("pattern: 'abc\\d{3}'", "pattern: '%{x}'", "%{x} is not defined", id="undefined"),
    pytest.param(
        HEAD, MANY + HEAD.replace("abc\\d{3}", "%{a}"), "more than 200000 characters", id="definitions"
    ),
    pytest.param(
        "pattern: 'abc\\d{3}'",
        "patern: abc",
        ":6 secrets.x.one: rules.patern: Extra inputs",
        id="unknown-key",
    ),
    pytest.param("severity: high", "severity: huge", ":5 secrets.x.one: rules.severity", id="severity"),
    pytest.param("      pass: [abc]", "      pass: []", "no match or no pass example", id="no-pass"),
    pytest.param("      pass: [abc]\n", "", "rules.examples.pass", id="pass-missing"),
    pytest.param("match: [abc123]", "match: ['{{nothing 3}}']", "shape", id="shape"),
    pytest.param("score: 0.9", "points: 3", "score and points", id="points"),
    pytest.param(
        "score: 0.9", "score: 0.9\n    validator: nobody", "validator nobody is unknown", id="validator"
    ),
    pytest.param(
        "score: 0.9", "score: 0.9\n    beside: '\\d'", "beside stands without keywords", id="beside"
    ),
    pytest.param(
        "score: 0.9",
        "score: 0.9\n    keywords: [abc]\n    beside: '('",
        "beside does not compile",
        id="beside-syntax",
    ),
    pytest.param("score: 0.9", "score: 0.9\n    group: 2", "group 2 of 0", id="group"),
    pytest.param("score: 0.9", "score: 0.9\n    tags: [LLM99]", "tag LLM99", id="tag"),
    pytest.param("score: 0.9", "score: 0.9\n    unless: [{pattern: x}]", "why", id="unless-without-why"),
    pytest.param("title: A pack", "title: A pack\ntitle: B", "is not YAML", id="duplicate-key"),
    pytest.param("title: A pack", "- list", "is not YAML", id="not-a-mapping"),
]


def write(root: Path, text: str, name: str = "x.yaml") -> Path:
    folder = root / "rules" / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return root / "rules"


def test_a_right_pack_loads(tmp_path: Path) -> None:
    packs = load(write(tmp_path, PACK))
    assert [rule.id for rule in packs.rules] == ["secrets.x.one"]
    assert packs.rules[0].where == "rules/secrets/x.yaml:3 secrets.x.one"


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_a_wrong_pack_does_not_load(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in PACK
    with pytest.raises(OperatorError) as caught:
        load(write(tmp_path, PACK.replace(old, new)))
    assert "rules/secrets/x.yaml" in str(caught.value)
    assert message in str(caught.value)


def test_keywords_at_an_injection_rule_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "rules" / "injection"
    folder.mkdir(parents=True)
    (folder / "x.yaml").write_text(PACK.replace("score: 0.9", "points: 3\n    keywords: [abc]"))
    with pytest.raises(OperatorError, match="what the pattern asks for is read from it"):
        load(tmp_path / "rules")


def test_one_id_twice_names_both_places(tmp_path: Path) -> None:
    again = PACK + PACK.partition("rules:\n")[2]
    with pytest.raises(OperatorError, match=r"x\.yaml:11 secrets\.x\.one: is already at .*x\.yaml:3"):
        load(write(tmp_path, again))


def test_the_revision_follows_the_files(tmp_path: Path) -> None:
    first = load(write(tmp_path, PACK)).revision
    assert load(write(tmp_path, PACK)).revision == first
    assert load(write(tmp_path, PACK + "# a comment\n")).revision != first


def test_samples_are_the_same_every_time(tmp_path: Path) -> None:
    text = PACK.replace("[abc123]", "['abc{{digits 3}}']")
    first, second = (load(write(tmp_path, text)).rules[0].match[0].text for _ in range(2))
    assert first == second

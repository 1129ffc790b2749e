"""What a rule is looked for by stands in everything that its pattern matches: no attack slips past a list of words."""

import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sallyport.data import rules_dir
from sallyport.decision import Kind
from sallyport.detect import linear
from sallyport.detect.gate import Gate
from sallyport.detect.literals import FILE, known_words, name_of, required
from sallyport.detect.packs import Rule, load
from sallyport.errors import OperatorError

RULES = load(rules_dir()).rules
READ = [rule for rule in RULES if rule.required]
BESIDE = [rule for rule in RULES if rule.beside]


def matched(rule: Rule) -> st.SearchStrategy[str]:
    """Return texts that the rule's pattern may match, as Python reads it."""
    flags = re.ASCII if rule.case_sensitive else re.ASCII | re.IGNORECASE
    return st.from_regex(re.compile(rule.source, flags))


gate = cache(lambda rule: Gate([rule]))


def is_sought(rule: Rule, text: str) -> bool:
    subject = text.encode() if text.isascii() else text
    return 0 in gate(rule).hits(subject, max(rule.views))


@pytest.mark.parametrize("rule", READ, ids=[rule.id for rule in READ])
@pytest.mark.filterwarnings("ignore:Possible")
@settings(max_examples=8, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_an_injection_pattern_matches_holds_a_word_it_is_looked_for_by(
    rule: Rule, data: st.DataObject
) -> None:
    text = data.draw(matched(rule))
    if not any("\ud800" <= char <= "\udfff" for char in text) and rule.pattern.search(text) is not None:
        assert is_sought(rule, text)


@pytest.mark.parametrize("rule", BESIDE, ids=[rule.id for rule in BESIDE])
@pytest.mark.filterwarnings("ignore:Possible")
@settings(max_examples=8, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_must_stand_beside_stands_in_whatever_the_pattern_matches(
    rule: Rule, data: st.DataObject
) -> None:
    text = data.draw(matched(rule))
    if rule.pattern.search(text) is not None:
        assert rule.beside is not None
        assert linear.pattern(rule.beside).search(text) is not None


def test_the_file_of_words_is_what_the_patterns_say() -> None:
    known = known_words(rules_dir() / "injection")
    sources = {name_of(rule.source): rule.source for rule in RULES if rule.kind is Kind.INJECTION}
    assert sources.keys() == known.keys(), "run scripts/derive_words"
    for name, source in sources.items():
        assert known[name] == required(source), "run scripts/derive_words"


def test_a_pattern_that_the_file_does_not_know_is_read(tmp_path: Path) -> None:
    shutil.copytree(rules_dir(), tmp_path / "rules")
    (tmp_path / "rules" / "injection" / FILE).unlink()
    assert {rule.id: rule.required for rule in load(tmp_path / "rules").rules} == {
        rule.id: rule.required for rule in RULES
    }


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: b"[]",
        lambda raw: b'{"digest": 1, "words": null}',
        lambda raw: b"{}",
        lambda raw: re.sub(rb'\[\n"[^\]]*\]', b"[]", raw, count=1),
        lambda raw: raw.replace(b'"digest": "', b'"digest": "0'),
        lambda raw: raw.replace(b"ignore", b"ignored"),
        lambda raw: raw + b"\xff",
    ],
)
def test_a_file_of_words_that_is_not_as_it_was_written_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    shutil.copytree(rules_dir(), tmp_path / "rules")
    path = tmp_path / "rules" / "injection" / FILE
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    with pytest.raises(OperatorError, match=r"^rules/injection/words\.json: is not as it was written"):
        load(tmp_path / "rules")


def test_a_pattern_nested_deeper_than_can_be_read_is_looked_for_itself() -> None:
    for depth in (100, 300, 450, 900):
        nested = "(?:[a-z]|" * depth + "ab" + ")+" * depth
        assert required(nested) == ()


def test_words_ask_for_nothing_that_a_text_in_another_case_lacks() -> None:
    everything = (chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000)
    for char in everything:
        if char.lower() != char:
            ((word,),) = required(f"a{re.escape(char)}b")
            assert linear.pattern(linear.literal(word)).search(f"a{char}b") is not None


def test_nearly_all_injection_rules_are_looked_for_by_words() -> None:
    bare = [rule.id for rule in RULES if rule.kind is Kind.INJECTION and not rule.required]
    assert len(bare) <= 5, bare


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ignore (?:all|every) rules?", [{"ignore all rule", "ignore every rule"}]),
        ("drop[^.]{0,9}(?:rules|prompt)s?", [{"rules", "prompt"}, {"drop"}]),
        (r"obey\w+(?:him|her)\w+(?:always|evermore)", [{"always", "evermore"}, {"obey"}, {"him", "her"}]),
        (r"obey\w+(?:me|them)\w+(?:always|evermore)", [{"always", "evermore"}, {"obey"}]),
        (r"\w+ (?:me|us)\b", [{" me", " us"}]),
        (r"(?:^|\n)(?:you|ye) are \w+ free", [{"you are ", "ye are "}, {" free"}]),
        (r"\b(?:dis)?regard\b", [{"regard"}]),
        ("(?:abc|d){2}", [{"abcabc", "abcd", "dabc", "dd"}]),
        ("(?:abcd){3,}|wxyz", [{"abcd", "wxyz"}]),
        ("CAPitals", [{"capitals"}]),
        (r"\d{4}", []),
        ("a?b?", []),
        (r"one|\w+", []),
        ("[[:alpha:]]two", []),
        (r"\pLtwo", []),
        ("three{,2}", []),
        ("four{02}", []),
        ("five{1,02}", []),
        ("(unclosed", []),
    ],
)
def test_words_are_read_from_a_pattern(source: str, words: list[set[str]]) -> None:
    assert list(required(source)) == words


def test_a_pattern_that_takes_too_long_to_read_is_looked_for_itself() -> None:
    words = [
        f"{first}{second}{third}" for first in "bcdfghjk" for second in "aeiou" for third in "lmnprstvwx"
    ]
    nested = rf"(?:{'|'.join(words)})\d+"
    assert len(required(nested)[0]) == len(words)
    for word in words[:200]:
        nested = rf"(?:{nested}|{word}zz\d+)\d+"
    assert required(nested) == ()

"""What a rule is looked for by stands in everything that its pattern matches: no attack slips past a list of words."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sallyport.data import rules_dir
from sallyport.decision import Kind
from sallyport.detect import linear
from sallyport.detect.gate import Gate
from sallyport.detect.linear import Subject
from sallyport.detect.literals import expression, required
from sallyport.detect.normalise import normalise
from sallyport.detect.packs import KINDS, Rule, beside_name, load
from sallyport.detect.wordfile import FILE, known_words, name_of, read
from sallyport.errors import OperatorError
from sallyport.fold import fold

RULES = load(rules_dir()).rules
READ = [rule for rule in RULES if rule.required or rule.longest]
BESIDE = [rule for rule in RULES if rule.beside]


def matched(rule: Rule) -> st.SearchStrategy[str]:
    """Return texts that the rule's pattern may match, as Python reads it."""
    flags = re.ASCII if rule.case_sensitive else re.ASCII | re.IGNORECASE
    return st.from_regex(re.compile(rule.source, flags))


gate = cache(lambda rule: Gate([replace(rule, keywords=())]))


def is_sought(rule: Rule, text: str) -> bool:
    return any(True for _ in gate(rule).sought(Subject(text), max(rule.views)))


@pytest.mark.parametrize("rule", READ, ids=[rule.id for rule in READ])
@pytest.mark.filterwarnings("ignore:Possible")
@settings(max_examples=4, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_a_pattern_matches_holds_its_words_and_digits_and_is_no_longer_than_told(
    rule: Rule, data: st.DataObject
) -> None:
    text = normalise(data.draw(matched(rule))).text
    subject = Subject(text)
    for match in rule.pattern.finditer(subject):
        assert is_sought(rule, text)
        if rule.longest is not None:
            start, end = match.span()
            assert end - start <= rule.longest.chars + rule.longest.runs * subject.longest_run()
            assert len(re.findall("[0-9]", text[start:end])) >= rule.longest.digits


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


@pytest.mark.parametrize("folder", KINDS)
def test_the_file_of_words_is_what_the_patterns_say(folder: str) -> None:
    known = known_words(rules_dir() / folder)
    rules = [rule for rule in RULES if rule.kind is KINDS[folder]]
    sources = {name_of(rule.source): rule.source for rule in rules}
    besides = {beside_name(rule.beside, rule.source) for rule in rules if rule.beside is not None}
    assert sources.keys() | besides == known.keys(), "run scripts/derive_words"
    for name, source in sources.items():
        assert known[name] == read(source), "run scripts/derive_words"


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


def test_a_file_of_words_of_another_version_is_refused(tmp_path: Path) -> None:
    shutil.copytree(rules_dir(), tmp_path / "rules")
    path = tmp_path / "rules" / "pii" / FILE
    words = {name: [sets, longest and longest[:2]] for name, (sets, longest) in _listed(path).items()}
    path.write_bytes(orjson.dumps({"words": words, "digest": _digest(words)}))
    with pytest.raises(OperatorError, match=r"^rules/pii/words\.json: is not as it was written"):
        load(tmp_path / "rules")


def _listed(path: Path) -> dict[str, list[list[int]]]:
    words: dict[str, list[list[int]]] = orjson.loads(path.read_bytes())["words"]
    return words


def _digest(words: object) -> str:
    return blake2b(orjson.dumps(words, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def test_a_pattern_nested_deeper_than_can_be_read_is_looked_for_itself() -> None:
    for depth in (100, 300, 450, 900):
        nested = "(?:[a-z]|" * depth + "ab" + ")+" * depth
        assert required(nested) == ()


def test_words_ask_for_nothing_that_a_text_in_another_case_lacks() -> None:
    everything = (chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000)
    for char in map(fold, everything):
        if char.lower() != char:
            ((word,),) = required(f"a{re.escape(char)}b")
            assert re.search(expression(word).encode(), f"a{char}b".encode().lower()) is not None


def test_nearly_all_injection_rules_are_looked_for_by_words() -> None:
    bare = [rule.id for rule in RULES if rule.kind is Kind.INJECTION and not rule.required]
    assert len(bare) <= 5, bare


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ignore (?:all|every) rules?", [{"ignore all rule", "ignore every rule"}]),
        ("drop[^.]{0,9}(?:rules|prompt)s?", [{"drop"}, {"rules", "prompt"}]),
        (r"obey\w+(?:him|her)\w+(?:always|evermore)", [{"always", "evermore"}, {"obey"}, {"him", "her"}]),
        (r"obey\w+(?:me|them)\w+(?:always|evermore)", [{"always", "evermore"}, {"obey"}]),
        (r"\w+ (?:me|us)\b", [{" me\b", " us\b"}]),
        (r"(?:^|\n)(?:you|ye) are \w+ free", [{"you are ", "ye are "}, {" free"}]),
        (r"\b(?:dis)?regard\b", [{"\bregard\b", "\bdisregard\b"}]),
        (r"\d*, ?(?:\w{1,9} )?owl(?: now|[.!])", [{"\bowl now", "\bowl.", "\bowl!"}]),
        (r"\d{0,2}, (?:\w{1,9} )?owl(?:\s|$)", [{"\bowl\b"}]),
        (r"[^.]owl\w?", [{"owl"}]),
        (r"(?:x|[,.]\d?)owl[^a-z]", [{"owl"}]),
        (r"(?:^|[.!?:;,\n] ?)owl\W", [{"\bowl\b"}]),
        (r"i?o+wl+s", [{"owl"}]),
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

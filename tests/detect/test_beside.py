"""What a rule asks for beside its pattern stands in whatever the pattern matches, or the pack does not load."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sallyport.data import rules_dir
from sallyport.detect import implied, linear
from sallyport.detect.implied import implies
from sallyport.detect.packs import KINDS, Rule, beside_name, load, read_pack
from sallyport.detect.wordfile import FILE, known_words, name_of
from sallyport.errors import OperatorError

RULES = load(rules_dir()).rules
BESIDE = [rule for rule in RULES if rule.beside is not None]


@pytest.mark.parametrize("rule", BESIDE, ids=[rule.id for rule in BESIDE])
def test_what_stands_beside_the_patterns_that_ship_is_read_from_them(rule: Rule) -> None:
    assert rule.beside is not None
    beside = rule.beside.removeprefix("(?i)")
    assert implies(rule.source, beside, case_sensitive=rule.case_sensitive)


@pytest.mark.parametrize("folder", KINDS)
def test_the_files_beside_the_packs_know_them_all_and_nothing_else(folder: str) -> None:
    rules = [rule for rule in RULES if rule.kind is KINDS[folder]]
    names = {beside_name(rule.beside, rule.source) for rule in rules if rule.beside is not None}
    read = {name_of(rule.source) for rule in rules}
    assert known_words(rules_dir() / folder).keys() - read == names, "run scripts/derive_words"


@pytest.mark.parametrize(
    ("pattern", "beside"),
    [
        (r"[A-Z]{2}\d{6}", r"\d"),
        (r"[A-Z]{2}\d{6}", r"\d{6}"),
        (r"[A-Z]{2}\d{6,8}", r"[0-9]{3,}"),
        (r"\b\d{9}\b|\b\d{3}-\d{3}\b", r"\d"),
        (r"(?:no|nr)\.? ?(\d+)x?", r"\d"),
        (r"foo|far", r"foo|far"),
        (r"(?:foo|far)bar", r"(?:oo|ar)b"),
        (r"[a-f]?[0-5]", r"\d"),
        (r"x@y", r"@"),
        (r"-----BEGIN [A-Z ]{1,20}KEY", r"-----BEGIN"),
        (r"(?i:a)1", r"\d"),
        (r"(?:a|b|c){40}(?:d|e){40}\d", r"\d"),
        (r"\d{500}", r"\d{20}"),
        (r"\S+ \d", r"[\s\d]"),
        (r"é1", r"é"),
        (r"a", r"b*"),
    ],
)
@pytest.mark.parametrize("case_sensitive", [True, False])
def test_what_stands_in_every_match_is_seen(pattern: str, beside: str, case_sensitive: bool) -> None:
    assert implies(pattern, beside, case_sensitive=case_sensitive)


@pytest.mark.parametrize(
    ("pattern", "beside"),
    [
        (r"[A-Z]{2}\d{6}|[A-Z]{8}", r"\d"),
        (r"[A-Z]{2}\d{0,6}", r"\d"),
        (r"[A-Z]{2}(?:\d{6})?x", r"\d"),
        (r"[A-Z\d]{8}", r"\d"),
        (r"[A-Z]{2}\d{6}", r"\d{7}"),
        (r"\d{2}-?\d{2}", r"\d{3}"),
        (r"[A-Z]\d{2,3}", r"\d{4}"),
        (r"x\d+", r"\d\d"),
        (r"\v", r"\s"),  # no white space for RE2
        (r"\v", r"[^\S]"),
        (r"[^\s]", r"[^\s\v]"),
        (r"\S", r"[^\s\v]"),
        (r"\d+", r"\D"),
        (r"[^a]", r"\d"),
        (r".", r"."),  # the one may match a line break where the other was told not to
        (r"\d \d", r"\d\d"),
        (r"foo|bar", r"foo"),
        (r"(?:a|\d)b", r"\d"),
        (r"\s\d", r"[ \t\n\r\f]x"),
        (r"card", r"account"),
        (r"\d+", r"^\d"),
        (r"\d+", r"\b\d\b"),
        (r"\pN+", r"\d"),
        (r"\d{,2}", r"\d"),
        (r"a" * 20, r"(?:aa|b)" * 10),  # too many ways to tell apart
    ],
)
@pytest.mark.parametrize("case_sensitive", [True, False])
def test_what_a_match_may_lack_or_nobody_can_tell_is_not(
    pattern: str, beside: str, case_sensitive: bool
) -> None:
    assert not implies(pattern, beside, case_sensitive=case_sensitive)


def test_a_letter_in_either_case_is_not_the_letter() -> None:
    assert implies("(?i:ab)c", "[abAB]c", case_sensitive=False)
    for pattern in ("(?i:a)c", "(?i)ac", "(?:(?i:a))c"):
        assert not implies(pattern, "a", case_sensitive=True)
        assert implies(pattern, "c", case_sensitive=True) == (pattern != "(?i)ac")
    assert implies("(?i:a)(?-i:b)c", "bc", case_sensitive=True)
    assert not implies("a", "(?-i:a)", case_sensitive=False)


def test_a_pattern_nested_deeper_than_can_be_read_is_none_that_is_seen() -> None:
    for depth in (100, 900):
        assert not implies("(?:[a-z]|" * depth + "ab" + ")+" * depth, r"\d", case_sensitive=True)


@pytest.mark.parametrize(
    ("pattern", "beside", "text"),
    [
        ("A1", "[^a]1", "A1"),
        ("a1", "[^A]1", "a1"),
        ("B1", "[^a-z]1", "b1"),
        ("\u212a1", r"\W1", "k1"),
        ("\u212a1", "[^A-Z]1", "k1"),
        ("[\u017f]1", r"[\W_]1", "s1"),
        ("[\u00e0-\u00ff]1", "[^\u00c0-\u00df]1", "\u00e01"),
    ],
)
def test_what_is_left_out_is_left_out_in_either_case(pattern: str, beside: str, text: str) -> None:
    assert linear.pattern(pattern, case_sensitive=False).search(text) is not None
    assert linear.pattern(f"(?i){beside}").search(text) is None
    assert not implies(pattern, beside, case_sensitive=False)
    assert implies("[0-9]a", "[^a-z]", case_sensitive=False)


@pytest.mark.parametrize(
    ("pattern", "beside"),
    [
        ("a" * 8000, "a{99}b"),
        ("(" * 40 + "a" * 2000 + ")" * 40, "(?:" + "|".join(f"a{{{n}}}b" for n in range(20, 40)) + ")"),
    ],
)
def test_patterns_of_which_each_place_would_have_to_be_compared_are_not_read_to_the_end(
    monkeypatch: pytest.MonkeyPatch, pattern: str, beside: str
) -> None:
    compared = 0

    def within(chars: implied.Chars, wanted: implied.Chars) -> bool:
        nonlocal compared
        compared += 1
        assert compared <= 200_000
        return chars == wanted

    monkeypatch.setattr(implied, "_within", within)
    assert not implies(pattern, beside, case_sensitive=True)
    assert compared > 100_000


ATOMS = st.sampled_from(
    ["a", "b", "1", r"\d", r"\w", r"\s", r"\S", "[a1]", "[^a]", "[^\\s1]", ".", "[0-9b]", "(?i:a)", r"\b"]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("".join, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: f"(?:{'|'.join(parts)})", st.lists(inner, min_size=2, max_size=3)),
        st.builds(
            lambda part, times: f"(?:{part}){times}",
            inner,
            st.sampled_from(["?", "*", "+", "{2}", "{1,3}", "{0,2}", "{3,}"]),
        ),
    ),
    max_leaves=8,
)


@pytest.mark.filterwarnings("ignore:Possible")
@settings(max_examples=400, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), pattern=PATTERNS, beside=PATTERNS, case_sensitive=st.booleans())
def test_no_text_that_a_pattern_matches_lacks_what_was_seen_in_it(
    data: st.DataObject, pattern: str, beside: str, case_sensitive: bool
) -> None:
    if not implies(pattern, beside, case_sensitive=case_sensitive):
        return
    matched = linear.pattern(pattern, case_sensitive=case_sensitive)
    sought = linear.pattern(beside if case_sensitive else f"(?i){beside}")
    flags = re.ASCII if case_sensitive else re.ASCII | re.IGNORECASE
    for _ in range(5):
        text = data.draw(st.from_regex(re.compile(pattern, flags)))
        if any("\ud800" <= char <= "\udfff" for char in text):
            continue
        if matched.search(text) is not None:
            assert sought.search(text) is not None


PACK = r"""
title: Numbers of the house
rules:
  - id: badge
    title: Badges
    severity: low
    score: 0.9
    keywords: [badge]
    beside: '{beside}'
    pattern: '\b[A-Z]{{2}}(?:\d{{6}}|-[A-F]{{4}})\b'
    examples:
      match: [badge AB123456]
      pass: [badge AB12]
"""


@pytest.mark.parametrize("beside", [r"\d", "badge", "[A-F]"])
def test_a_pack_that_would_lose_findings_is_refused_with_the_rule_and_what_to_do(
    tmp_path: Path, beside: str
) -> None:
    path = tmp_path / "rules" / "pii" / "house.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(PACK.format(beside=beside))
    with pytest.raises(OperatorError) as told:
        read_pack(tmp_path / "rules", path)
    assert told.value.where == "rules/pii/house.yaml:4 pii.house.badge"
    assert "beside" in told.value.what
    assert "Leave beside out" in told.value.todo


def test_a_pack_whose_beside_is_certain_loads_without_a_file_of_words(tmp_path: Path) -> None:
    path = tmp_path / "rules" / "pii" / "house.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(PACK.format(beside="[A-Z]{2}[0-9-]"))
    (rule,) = read_pack(tmp_path / "rules", path)
    assert rule.beside == "[A-Z]{2}[0-9-]"
    assert not (tmp_path / "rules" / "pii" / FILE).exists()

"""The outline of a pattern occurs wherever the pattern does, and has less to remember."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sallyport.data import rules_dir
from sallyport.detect import linear
from sallyport.detect.classes import READ_OTHERWISE
from sallyport.detect.outline import outline
from sallyport.detect.packs import Rule, load

RULES = [rule for rule in load(rules_dir()).rules if outline(rule.source) != rule.source]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"key[\w.-]{0,40}=", r"key[\w.-]{0,}="),
        (r"[0-9a-f]{32}\b", r"[0-9a-f]{16,}\b"),
        (r"[0-9a-f]{12}\b", r"[0-9a-f]{12}\b"),
        (r"[0-9a-f]{12,16}\b", r"[0-9a-f]{12,}\b"),
        (r"(?:\w{2,20} ){0,3}?x", r"(?:\w{2,} ){0,3}?x"),
        (r"a{3}b{2,7}c{0,}d{9,}", r"a{3}b{2,7}c{0,}d{9,}"),
        (r"\p{L}{1,60}\x{1F600}{2,90}\{1,60}", r"\p{L}{1,}\x{1F600}{2,}\{1,60}"),
        (r"[{1,60}][]{1,60}][^]{1,60}][\]{1,60}]{1,60}", r"[{1,60}][]{1,60}][^]{1,60}][\]{1,60}]{1,}"),
        (r"[[:alpha:]{1,60}]{1,60}", r"[[:alpha:]{1,60}]{1,}"),
        (r"x{,60}y{ 1,60}", r"x{,60}y{ 1,60}"),
        (r"\Qa{1,60}\E", r"\Qa{1,60}\E"),
    ],
)
def test_upper_bounds_are_left_out(source: str, expected: str) -> None:
    linear.pattern(source)
    assert outline(source) == expected


@pytest.mark.parametrize("rule", RULES, ids=[rule.id for rule in RULES])
def test_an_outline_has_fewer_steps_and_occurs_in_what_the_pattern_matches(rule: Rule) -> None:
    shape = linear.pattern(outline(rule.source), case_sensitive=rule.case_sensitive)
    assert shape.programsize <= rule.pattern.programsize
    for example in rule.match:
        assert rule.pattern.search(example.text) is None or shape.search(example.text) is not None


FLAGS_INSIDE = re.compile(r".\(\?[a-z]+\)", re.DOTALL)
"""`re` takes flags at the beginning of a pattern only."""

DRAWN = [
    rule
    for rule in RULES
    if r"\x{" not in rule.source
    and not READ_OTHERWISE.search(rule.source)
    and not FLAGS_INSIDE.search(rule.source)
][::5]


@pytest.mark.parametrize("rule", DRAWN, ids=[rule.id for rule in DRAWN])
@pytest.mark.filterwarnings("ignore:Possible")
@settings(max_examples=4, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_outline_occurs_in_every_text_in_which_the_pattern_does(rule: Rule, data: st.DataObject) -> None:
    flags = re.ASCII if rule.case_sensitive else re.ASCII | re.IGNORECASE
    text = data.draw(st.from_regex(re.compile(rule.source, flags)))
    shape = linear.pattern(outline(rule.source), case_sensitive=rule.case_sensitive)
    assert rule.pattern.search(text) is None or shape.search(text) is not None

"""What can no longer become a match is let go at once, and nothing that still can."""

import random
import re

import pytest

from sallyport.data import rules_dir
from sallyport.detect import linear
from sallyport.detect.watching.rulefile import OutputRule, load_output
from sallyport.detect.watching.rules import RuleSet, RuleWatcher
from sallyport.detect.watching.unfinished import unfinished

RULES = load_output(rules_dir()).rules
COMMANDS = [rule for rule in RULES if rule.id.startswith("output.commands.")]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_beginning_that_is_given_up_becomes_no_match(rule: OutputRule) -> None:
    rng = random.Random(rule.id)
    texts = [example.text for example in rule.match]
    texts += [text[: rng.randint(0, len(text))] + rng.choice(texts) for text in texts for _ in range(4)]
    found = 0
    for text in texts:
        for region in (text[at:][:300] for at in range(len(text))):
            if rule.pattern.search(region) is not None:
                found += 1
                given_up = [
                    end for end in range(1, len(region)) if rule.unfinished.search(region[:end]) is None
                ]
                assert given_up == []
    assert found


@pytest.mark.parametrize(
    ("source", "alive", "dead"),
    [
        (r"ab{2}c", ["a", "ab", "abb", "abbc", "abbcd"], ["b", "ac", "abc", "abbb"]),
        (r"a\b(?:b|-c)*?\z", ["a", "a-", "a-c"], ["a-d", "b"]),
        (r"[^]\n]+\x{e9}(?P<name>x|[[:digit:]])", ["z", "é", "éé1", "éx"], ["]", "\n", "z\n"]),
        (r"(?i)Ab(?:c.|)\.", ["A", "aB", "abC\t", "abc.", "AB."], ["abd", "abcxy"]),
        (r"\$\{\w{1,2}\}", ["$", "${", "${a", "${ab}"], ["$a", "${abc", "${}"]),
    ],
)
def test_the_pattern_of_beginnings_takes_each_and_no_other(
    source: str, alive: list[str], dead: list[str]
) -> None:
    pattern = linear.pattern(rf"\A(?:{unfinished(source)})")
    assert [text for text in alive if pattern.search(text) is None] == []
    assert [text for text in dead if pattern.search(text) is not None] == []


@pytest.mark.parametrize(
    "prose",
    [
        "Then fetch the page and look at what curl printed before it is shown to them.",
        "They shred the paper, and openssl is what they use; git config may say it too.",
        "An rm - whatever it did - is not what a remove-item would do, and sc stop or dd are others.",
    ],
)
def test_prose_that_names_a_command_passes(prose: str) -> None:
    watcher = RuleWatcher(RuleSet(COMMANDS))
    came: list[tuple[int, int]] = []
    fed = longest = 0
    for number, word in enumerate(re.findall(r"\s*\S+", prose)):
        watcher.feed(word)
        fed += len(word)
        came.append((number, fed))
        while came and came[0][1] <= watcher.held_from:
            longest = max(longest, number - came.pop(0)[0])
    assert longest <= 2

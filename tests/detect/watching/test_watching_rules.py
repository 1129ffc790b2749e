"""Rules for answers: the shipped packs, the laws on every cutting, and what a wrong pack says."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detect.watching.lawful import lawful, pieces
from sallyport.data import rules_dir
from sallyport.detect.watching.opener import MAX_CHARS
from sallyport.detect.watching.proof import matches, prove_output
from sallyport.detect.watching.rulefile import OutputRule, load_output
from sallyport.detect.watching.rules import RuleSet, RuleWatcher, chosen
from sallyport.errors import OperatorError
from sallyport.exchange import Surface

PACKS = load_output(rules_dir())
ALL = RuleSet(PACKS.rules)
HELD = ALL.max_chars + MAX_CHARS
EXAMPLES = [example.text for rule in PACKS.rules for example in (*rule.match, *rule.clean)]
SCRAPS = [
    *EXAMPLES,
    *(
        "![",
        "](",
        "](https://",
        ")",
        " ",
        "\n",
        "\n\n",
        "<img src=",
        '"',
        ">",
        "\x1b[",
        "\x1b]8;;",
        "\\",
        "\u200b",
    ),
    *(
        "rm -rf ",
        "/",
        "curl ",
        "| sh",
        "~/.ssh/id_rsa",
        "\U000e0041",
        "word",
        "ä",
        "日本語",
        "\ud83d",
        "%2F",
        "a=b&",
    ),
]


@pytest.mark.parametrize("rule", PACKS.rules, ids=lambda rule: rule.id)
def test_a_rule_for_answers_fires_on_its_match_examples_and_on_no_other(rule: OutputRule) -> None:
    assert [str(failure) for failure in prove_output(rule)] == []


@settings(max_examples=150)
@given(st.lists(st.sampled_from(SCRAPS), max_size=12), st.data())
def test_every_cutting_gives_what_the_whole_text_gives(scraps: list[str], data: st.DataObject) -> None:
    text = "".join(scraps)
    cuts = data.draw(st.lists(st.integers(0, max(len(text), 1)), max_size=40))
    lawful(lambda: RuleWatcher(ALL), text, cuts, HELD)


def test_character_by_character_is_a_cutting_too() -> None:
    chance = random.Random(4)
    text = " ".join(chance.sample(EXAMPLES, len(EXAMPLES)))
    found = lawful(lambda: RuleWatcher(ALL), text, range(len(text)), HELD)
    assert len({match.rule for match in found}) > len(PACKS.rules) * 3 // 4


@pytest.mark.timeout(3600)
@pytest.mark.slow
def test_ten_thousand_cuttings() -> None:
    chance = random.Random(5)
    for _ in range(10_000):
        text = "".join(chance.choice(SCRAPS) for _ in range(chance.randrange(12)))
        cuts = [chance.randrange(len(text) + 1) for _ in range(chance.randrange(40))]
        lawful(lambda: RuleWatcher(ALL), text, cuts, HELD)


def test_prose_passes_at_once_and_an_opener_holds_from_its_first_character() -> None:
    watcher = RuleWatcher(ALL)
    assert watcher.feed("This is the sum of it: ") == []
    assert watcher.held_from == 23
    watcher.feed("see [the guide](https://exam")
    assert watcher.held_from == 23 + len("see [the guide")
    assert watcher.feed("ple.com/guide) for more. ") == []
    assert watcher.held_from == 23 + len("see [the guide](https://example.com/guide) for more. ")


def test_a_match_that_never_ends_is_decided_as_it_stands() -> None:
    text = "\x1b]52;c;" + "A" * 20_000
    (first, *_) = lawful(lambda: RuleWatcher(ALL), text, range(0, len(text), 11), HELD)
    assert first.rule == "output.smuggling.osc"
    assert first.end - first.start <= ALL.max_chars


def test_a_letter_of_any_script_before_a_word_makes_it_another_word() -> None:
    rules = RuleSet([rule for rule in PACKS.rules if rule.id == "output.commands.recursive_delete"])
    for before in ("ä", "я", "é", "x", "_", "9"):
        assert matches(rules, f"{before}rm -rf /") == []
    assert len(matches(rules, "»rm -rf /")) == 1


def test_a_million_openers_do_not_take_a_minute() -> None:
    """Each opener begins a region; they are decided in one walk, not each with all that follows."""
    text = "![" * 50_000 + "](" * 20_000
    assert matches(ALL, text) == matches(ALL, text, 4000)


def test_a_set_looks_at_its_surface_and_level_only() -> None:
    spoken = chosen(PACKS.rules, Surface.ASSISTANT, 1)
    called = chosen(PACKS.rules, Surface.TOOL_CALL, 1)
    assert "output.smuggling.ansi" in {rule.id for rule in spoken}
    assert {rule.id.split(".")[1] for rule in called} == {"commands"}
    assert all(rule.paranoia == 1 for rule in spoken)
    one = chosen(PACKS.rules, Surface.TOOL_CALL, 1, left_out={"output.commands.fork_bomb"})
    assert len(one) == len(called) - 1


def test_a_set_without_rules_holds_nothing() -> None:
    watcher = RuleWatcher(RuleSet([]))
    assert (watcher.feed("rm -rf /"), watcher.held_from, watcher.end()) == ([], 8, [])


PACK = """\
title: A pack
rules:
  - id: one
    title: One
    severity: high
    tags: [LLM05]
    opener: 'ab'
    closer: ';'
    max_chars: 9
    pattern: 'ab\\d'
    examples:
      match: ['ab1;']
      pass: [abc]
"""


def write(root: Path, text: str) -> Path:
    (root / "output").mkdir(parents=True, exist_ok=True)
    (root / "output" / "x.yaml").write_text(text)
    (root / "taxonomy").mkdir(exist_ok=True)
    (root / "taxonomy" / "t.yaml").write_text("entries: [{id: LLM05}]")
    return root


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("opener: 'ab'", "opener: 'a+'", ":3 output.x.one: opener has at 1"),
        ("opener: 'ab'", "opener: []", "rules.opener"),
        ("closer: ';'", "closer: 'a|bc'", "several lengths"),
        ("closer: ';'", "closer: 'a*'", "closer has at 1"),
        ("max_chars: 9", "max_chars: 9999", "rules.max_chars"),
        ("pattern: 'ab\\d'", "pattern: 'a(?=b)'", "look-around"),
        ("pattern: 'ab\\d'", "pattern: 'a?'", "matches the empty text"),
        ("pattern: 'ab\\d'", "pattern: 'ab'\n    group: 1", "group 1 of 0"),
        ("pattern: 'ab\\d'", "pattern: 'ab'\n    check: nobody", "check nobody is unknown"),
        ("pattern: 'ab\\d'", "pattern: 'ab'\n    surfaces: [user]", "no part of an answer"),
        ("[LLM05]", "[LLM99]", "tag LLM99"),
        ("      pass: [abc]", "      pass: []", "no match or no pass example"),
        ("title: One", "titel: One", "rules.titel: Extra inputs"),
    ],
)
def test_a_wrong_pack_for_answers_does_not_load(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in PACK
    root = write(tmp_path, PACK.replace(old, new))
    with pytest.raises(OperatorError) as caught:
        load_output(root)
    assert message in str(caught.value)


def test_an_example_that_is_wrong_is_told(tmp_path: Path) -> None:
    (rule,) = load_output(write(tmp_path, PACK.replace("pass: [abc]", "pass: ['ab2']"))).rules
    assert "the rule fired on its pass example 1" in str(next(prove_output(rule)))


def test_pieces_are_the_text() -> None:
    assert pieces("abcdef", [2, 2, 9, 4]) == ["ab", "cd", "ef"]

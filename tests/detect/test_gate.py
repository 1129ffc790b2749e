"""A long text is asked for words with where they stand and looked through around them only: what is found is the same."""

import random
import re
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import pytest

from sallyport.data import rules_dir
from sallyport.detect.gate import Gate
from sallyport.detect.linear import Subject, pattern
from sallyport.detect.literals import expression, small, spellings
from sallyport.detect.normalise import normalise
from sallyport.detect.packs import Rule, load, read_pack

RULES = load(rules_dir()).rules
KIND = "text"
LONG = 3_000
"""Bytes of a text that is certainly looked through in parts."""

FILLER = (
    "The minutes of the meeting say that nobody objected; the next one is on Thursday at noon. "
    "Les comptes-rendus sont dans le dossier partagé — merci de les relire. "
    "会议记录在共享文件夹里。 "
)


@pytest.fixture(scope="module")
def of_all() -> Gate:
    """The gate of all rules: made when the first test asks for it, as every process of tests collects this file."""
    return Gate(RULES)


def everywhere(rule: Rule, subject: Subject) -> list[tuple[int, int]]:
    return [match.span() for match in rule.pattern.finditer(subject)]


def where_sought(gate: Gate, rules: tuple[Rule, ...], subject: Subject) -> dict[str, list[tuple[int, int]]]:
    return {
        rules[index].id: [match.span() for match in rules[index].pattern.finditer(subject, within)]
        for index, within in gate.sought(subject, KIND)
    }


def texts_that_match(rule: Rule) -> list[str]:
    folded = (normalise(example.text).text for example in rule.match)
    return [text for text in folded if everywhere(rule, Subject(text))]


@pytest.mark.parametrize("rule", [r for r in RULES if KIND in r.views], ids=lambda rule: rule.id)
def test_a_match_is_found_wherever_it_stands_in_a_long_text(rule: Rule) -> None:
    gate = Gate([rule])
    times = 0
    for text in texts_that_match(rule)[:3]:
        has_keyword = any(True for _ in gate.sought(Subject(text), KIND))
        for fill in ("word ", FILLER, "x\n"):
            for at in (0, 1000, 1023 - len(text) // 2, 1022, 1023, 1024, 1025, 2040, 2047 - len(text), 3500):
                head = (fill * 4_000)[: max(0, at)] + "\n" if at else ""
                subject = Subject(f"{head}{text}\n{fill * (LONG // len(fill))}")
                expected = everywhere(rule, subject)
                if has_keyword:
                    assert where_sought(gate, (rule,), subject).get(rule.id, []) == expected
                    times += bool(expected)
    assert times > 0


@pytest.mark.parametrize("seed", range(12))
def test_all_rules_find_in_windows_what_they_find_in_the_whole(of_all: Gate, seed: int) -> None:
    shuffled = random.Random(seed)
    examples = [example.text for rule in RULES for example in (*rule.match, *rule.clean)]
    picked = shuffled.sample(examples, 100)
    for number in range(0, len(picked), shuffled.choice((2, 5))):
        picked.insert(number, FILLER * shuffled.randrange(12))
    subject = Subject(normalise(shuffled.choice(("\n", " ", "\n\n")).join(picked)).text)
    assert len(subject.raw) > LONG
    found = where_sought(of_all, RULES, subject)
    in_parts = 0
    for index, within in of_all.sought(subject, KIND):
        assert found[RULES[index].id] == everywhere(RULES[index], subject), RULES[index].id
        in_parts += within is not None and sum(high - low for low, high in within) < len(subject.raw)
    assert in_parts > 50
    for rule in RULES:
        if rule.id not in found and KIND in rule.views and not rule.keywords:
            assert everywhere(rule, subject) == [], rule.id


def test_a_match_that_is_longer_than_a_block_is_found() -> None:
    jwt = next(rule for rule in RULES if rule.id == "secrets.generic.jwt")
    long = f"eyJhbGciOiJIUzI1NiJ9.eyJ{'Qm9i' * 200}.{'a1B2' * 150}"
    subject = Subject(FILLER * 20 + long + "\n" + FILLER * 60)
    expected = everywhere(jwt, subject)
    assert expected[0][1] - expected[0][0] > 1300
    assert where_sought(Gate([jwt]), (jwt,), subject)["secrets.generic.jwt"] == expected


PACK = """\
title: House rules
rules:
  - id: badge
    title: Badge
    severity: medium
    keywords: [pin]
    beside: '[😀-😂]{16}'
    pattern: '[😀-😂]{16}[0-9]{6}'
    score: 0.9
    examples: {match: ['pin 😀😁😂😀😀😁😂😀😀😁😂😀😀😁😂😀123456'], pass: [pin]}
"""


def test_what_stands_beside_is_found_over_the_end_of_a_block(tmp_path: Path) -> None:
    path = tmp_path / "rules" / "pii" / "house.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(PACK, encoding="utf-8")
    rules = read_pack(tmp_path / "rules", path)
    gate = Gate(rules)
    for before in range(940, 1030):
        subject = Subject(f"pin {'x' * (before - 5)} {'😀😁😂😀' * 4}123456 {'y ' * LONG}")
        expected = everywhere(rules[0], subject)
        assert expected
        assert where_sought(gate, rules, subject) == {"pii.house.badge": expected}


def test_a_keyword_that_is_there_twice_once_it_is_folded_is_one(tmp_path: Path) -> None:
    path = tmp_path / "rules" / "pii" / "house.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(PACK.replace("[pin]", "[hasło, haslo]").replace("pin ", "haslo "), encoding="utf-8")
    rules = read_pack(tmp_path / "rules", path)
    subject = Subject(f"haslo {'😀😁😂😀' * 4}123456")
    assert where_sought(Gate(rules), rules, subject) == {"pii.house.badge": everywhere(rules[0], subject)}


def test_a_letter_of_a_word_is_found_in_every_case_that_folded_text_has_it_in() -> None:
    words = "".join(
        word for rule in RULES for word in (*rule.keywords, *(w for s in rule.required for w in s))
    )
    letters = {char for char in words if not char.isascii()}
    assert len(letters) > 300
    chars = (chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in "LMN")
    folded = " ".join(sorted({char for char in chars if normalise(char).text == char}))
    small = folded.encode().lower()
    subject = Subject(folded)
    for letter in letters:
        same = {match.span() for match in pattern(re.escape(letter), case_sensitive=False).finditer(subject)}
        found = re.finditer(expression(letter).encode(), small)
        assert {(subject.place(m.start()), subject.place(m.end())) for m in found} == same, letter


def test_a_text_that_is_long_to_ask_for_words_ends_with_the_time(of_all: Gate) -> None:
    asked: list[None] = []

    def until_the_third() -> None:
        asked.append(None)
        if len(asked) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        list(of_all.sought(Subject(FILLER * 100), KIND, until_the_third))
    assert len(asked) == 3


def test_a_text_of_nothing_but_words_takes_no_more_memory_than_others(of_all: Gate) -> None:
    subject = Subject("secret key token password " * 20_000)
    [*of_all.sought(subject, KIND)]
    tracemalloc.start()
    try:
        [*of_all.sought(subject, KIND)]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 120 * len(subject.raw)


def test_a_scan_ends_on_time_also_while_it_is_worked_out_where_rules_are_tried(of_all: Gate) -> None:
    subject = Subject("secret key token password " * 20_000)
    asked = [0]

    def check() -> None:
        asked[0] += 1

    first = next(of_all.sought(subject, KIND, check))
    assert first is not None
    assert asked[0] > -(-len(subject.raw) // 1024) + -(-len(subject.raw) // (1 << 16)) + 1


@pytest.mark.parametrize("words", [4, 5, 12])
def test_a_keyword_of_many_words_is_found_however_keys_join_them(words: int, tmp_path: Path) -> None:
    spelled = ["do", "not", "let", "this", "one", "go", "out", "of", "our", "own", "house", "now"][:words]
    pack = tmp_path / "secrets" / "house.yaml"
    pack.parent.mkdir()
    pack.write_text(f"""title: House
rules:
  - id: note
    title: A note of the house
    severity: low
    score: 0.5
    keywords: ["{" ".join(spelled)}"]
    pattern: nr-[0-9]{{4}}
    examples:
      match: ["{" ".join(spelled)} nr-1234"]
      pass: ["nr-1234"]
""")
    (rule,) = read_pack(tmp_path, pack)
    gate = Gate([rule])
    for at in (0, 1000, 4_000, 4_093, 4_096, 5_100):
        for gap in ("", " ", "_", "-"):
            there = Subject("x\n" * (at // 2) + gap.join(spelled).title() + "\nnr-1234\n" + "x\n" * 20)
            assert [index for index, _ in gate.sought(there, KIND)] == [0]
        without_one = Subject("x\n" * (at // 2) + " ".join(spelled[:-1]) + "\nnr-1234\n" + "x\n" * 20)
        assert not [*gate.sought(without_one, KIND)]


def test_the_index_knows_every_case_of_a_letter_that_the_automaton_knows() -> None:
    """Also those of which the small letter is two: folding leaves none of them, and neither may rely on it."""
    letters = [char for char in map(chr, range(0x80, 0x1E944)) if char != char.swapcase() and char.isalpha()]
    assert len(letters) > 2_000
    for letter in letters:
        told = set(spellings(letter))
        shape = re.compile(expression(letter).encode())
        cases = {
            letter,
            *letter.lower(),
            *letter.upper(),
            *letter.swapcase(),
            *letter.title(),
            *letter.casefold(),
        }
        assert {small(case) for case in cases if shape.fullmatch(case.encode())} <= told

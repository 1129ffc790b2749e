"""An answer that tells its system prompt is found, however it is cut; ordinary answers are left alone."""

import base64
import codecs
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detect.watching.lawful import followed, lawful, pieces
from sallyport.detect.watching import encodedtokens, leakage
from sallyport.detect.watching.leakage import ENCODED, SPOKEN, LeakWatcher
from sallyport.detect.watching.systemtext import SystemText

PROMPT = (
    "You are Orion, the assistant of Acme Shipping. Never mention the harbour strike to customers. "
    "If somebody asks about prices, quote the winter list and offer nine percent off at most. "
    "The internal hotline is for staff only; do not tell anyone that it exists."
)
CHINESE = "你是海运公司的客服助手。任何情况下都不要向客户提起港口罢工的事情,也不要透露内部热线电话的存在。"
SYSTEM = SystemText([PROMPT, CHINESE], 12)
HELD = max(leakage.MAX_HELD, encodedtokens.MAX_TOKEN) + 200


def make() -> LeakWatcher:
    return LeakWatcher(SYSTEM)


def test_a_repeated_prompt_is_a_leak_from_its_fourth_word_on() -> None:
    text = f"Sure! My instructions say: {PROMPT} That is all."
    (match,) = lawful(make, text, range(0, len(text), 5), HELD)
    assert match.rule == SPOKEN
    assert text[match.start :].startswith("the assistant of Acme")
    assert text[: match.end].endswith("that it exists")


@pytest.mark.parametrize(
    "said",
    [
        PROMPT[60:220],
        PROMPT.upper(),
        PROMPT.replace(" ", "\n- "),
        PROMPT.replace(".", "").replace(",", " /"),
        codecs.encode(PROMPT, "rot13"),
        PROMPT[::-1],
        "".join(f"{char}\u200b" for char in PROMPT),
        PROMPT.replace("a", "а").replace("e", "е"),  # Cyrillic
        CHINESE,
    ],
    ids=[
        "part",
        "capitals",
        "lines",
        "punctuation",
        "rot13",
        "backwards",
        "invisible",
        "look-alikes",
        "chinese",
    ],
)
def test_other_spellings_of_the_prompt_are_leaks(said: str) -> None:
    assert any(match.rule == SPOKEN for match in lawful(make, f"Here: {said} .", range(0, 900, 7), HELD))


@pytest.mark.parametrize("how", ["base64", "urlsafe", "hex"])
@pytest.mark.parametrize("before", ["", "key=", "see\n"])
def test_an_encoded_prompt_is_a_leak(how: str, before: str) -> None:
    raw = PROMPT[:120].encode()
    token = {
        "base64": base64.b64encode(raw),
        "urlsafe": base64.urlsafe_b64encode(raw),
        "hex": raw.hex().encode(),
    }
    text = f"Debug: {before}{token[how].decode()} end"
    (match,) = lawful(make, text, range(0, len(text), 9), HELD)
    assert match.rule == ENCODED
    assert text[: match.end] + " end" == text


@pytest.mark.parametrize(
    "said",
    [
        "You are Orion, the assistant of Acme Shipping.",
        "The internal hotline is for staff only. I cannot say more about prices or the winter list.",
        "Never mention the harbour strike to customers, I am told; " + "but more I will not say.",
        base64.b64encode(b"a quite different text that nobody would mistake for the prompt").decode(),
    ],
    ids=["eight-words", "eight-words-then-others", "nine-words", "other-base64"],
)
def test_fewer_words_are_no_leak(said: str) -> None:
    assert lawful(make, said, range(0, len(said), 3), HELD) == []


def test_no_run_goes_on_over_a_gap() -> None:
    said = PROMPT.split()[8:22]
    for gap in (" " * 80, "x" * 80):
        text = f"{' '.join(said[:3])} {gap} {' '.join(said[3:])}"
        assert lawful(make, text, range(0, len(text), 5), HELD) == []
    assert lawful(make, " ".join(said), [], HELD) != []


def test_what_the_user_wrote_as_well_is_no_leak() -> None:
    sentence = "If somebody asks about prices, quote the winter list and offer nine percent off at most."
    known = [f"Is this right?\n> {sentence}"]
    quoted = LeakWatcher(SYSTEM, known)
    assert followed(quoted, [f"You wrote: {sentence} Yes."], HELD) == []
    assert followed(make(), [f"You wrote: {sentence} Yes."], HELD) != []
    beyond = lawful(lambda: LeakWatcher(SYSTEM, known), PROMPT, range(0, 400, 6), HELD)
    assert beyond, "what goes beyond the quotation is a leak all the same"


def test_prose_is_held_only_from_the_fourth_word_of_a_run() -> None:
    watcher = make()
    watcher.feed("I think that the internal hotline ")
    assert watcher.held_from == 34
    watcher.feed("is")
    assert watcher.held_from == 34
    watcher.feed(" for")
    assert watcher.held_from == 34
    watcher.feed(" lunch orders ")
    assert watcher.held_from == len("I think that the internal hotline is for lunch orders ")


def test_short_prompts_and_prompts_that_are_not_there_hold_nothing() -> None:
    for system in ((), ("You are a helpful assistant.",)):
        watcher = LeakWatcher(SystemText(system, 12))
        assert watcher.feed("You are a helpful assistant. " * 9) == []
        assert watcher.held_from == 29 * 9
        assert watcher.end() == []


def test_a_long_leak_is_told_in_parts_and_holds_no_more_than_it_may() -> None:
    prompt = " ".join(f"word{number}" for number in range(4000))
    system = SystemText([prompt], 12)
    found = lawful(lambda: LeakWatcher(system), prompt, range(0, len(prompt), 50), HELD)
    assert len(found) > 5
    assert sum(match.end - match.start for match in found) > len(prompt) * 0.99 - 100


def test_a_prompt_that_repeats_itself_costs_no_more_than_one_that_does_not() -> None:
    system = SystemText(["do not do that again and again " * 500], 12)
    text = "do not do that again and again " * 40
    assert lawful(lambda: LeakWatcher(system), text, range(0, len(text), 31), HELD)
    assert all(len(system.places(gram)) <= 32 for gram in [("do", "not", "do"), ("again", "and", "again")])


SCRAPS = [
    *PROMPT.split(" "),
    *("Never mention the harbour strike to customers. If somebody asks about", " ", "\n", " " * 70, "x" * 70),
    *(
        "\u200b",
        "日",
        CHINESE[:30],
        PROMPT[::-1][:90],
        base64.b64encode(PROMPT.encode()).decode()[:90],
        "é",
        "=",
        "-",
    ),
]


@settings(max_examples=150)
@given(st.lists(st.sampled_from(SCRAPS), max_size=30), st.data())
def test_every_cutting_tells_the_same_leaks(scraps: list[str], data: st.DataObject) -> None:
    text = " ".join(scraps)
    cuts = data.draw(st.lists(st.integers(0, max(len(text), 1)), max_size=60))
    lawful(make, text, cuts, HELD)


@pytest.mark.slow
def test_ten_thousand_cuttings_tell_the_same_leaks() -> None:
    chance = random.Random(6)
    found = 0
    for _ in range(10_000):
        low = chance.randrange(len(PROMPT))
        parts = [chance.choice(SCRAPS), PROMPT[low : low + chance.randrange(300)], chance.choice(SCRAPS)]
        text = " ".join(parts)
        found += bool(lawful(make, text, [chance.randrange(len(text) + 1) for _ in range(30)], HELD))
    assert found > 3000


def test_pieces_of_one_word_are_one_word() -> None:
    assert followed(make(), pieces(PROMPT, range(len(PROMPT))), HELD) == followed(make(), [PROMPT], HELD)

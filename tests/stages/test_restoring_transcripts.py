"""Whole transcripts get their values back at every place they may be cut, and nobody gets anybody else's."""

import json
import random

import pytest

from sallyport.stages.restoring import Restorer, restore
from sallyport.state.vault import MemoryVault

VAULT = MemoryVault(b"k" * 32)
PROSE = (
    "dear thanks for the parcel (which came) at 14:35, see *below*: \n\n- one\n- two | `code` <b>bold</b> a < b > c "
    "“quoted” größer 你好 \\n 12,5 % & so on. {x} [y] and/or e.g."
)
WORDS = PROSE.split(" ")
ENTITIES = ("EMAIL_ADDRESS", "PERSON", "PHONE_NUMBER", "IBAN_CODE", "SECRET")
VALUES = (
    "marta.quill@example.com",
    'Ada "Countess" Lovelace',
    "+44 20 7946 0958",
    "a\\b\n<c>",
    "größe@例え.jp",
)


def scope_of(number: int):
    return VAULT.scope(f"tenant-{number % 7}", f"someone-{number % 11}", f"conversation-{number}")


def transcript(rng: random.Random, number: int) -> tuple[str, str]:
    """A text with placeholders between white space, and the same with the values."""
    scope = scope_of(number)
    masked, whole = [], []
    for _ in range(rng.randint(8, 25)):
        if rng.random() < 0.3:
            value = rng.choice(VALUES)
            masked.append(scope.placeholder(rng.choice(ENTITIES), value))
            whole.append(value)
        else:
            word = rng.choice(WORDS)
            masked.append(word)
            whole.append(word)
    return " ".join(masked), " ".join(whole)


def check_transcripts(numbers: range) -> int:
    """Cut each transcript in two at every position; return how many cuts there were."""
    cuts = 0
    for number in numbers:
        masked, whole = transcript(random.Random(number), number)
        lookup = scope_of(number).original
        assert restore(masked, lookup) == whole
        for cut in range(len(masked) + 1):
            restorer = Restorer(lookup)
            got = restorer.feed(masked[:cut]) + restorer.feed(masked[cut:]) + restorer.end()
            assert got == whole, (number, cut)
            cuts += 1
        source = json.dumps({"to": masked}, ensure_ascii=number % 2 == 0)
        assert json.loads(restore(source, lookup, json=True)) == {"to": whole}
    return cuts


def check_foreign(trials: int) -> int:
    """Show placeholders to scopes that differ in tenant, person or conversation; return how many were near misses."""
    rng = random.Random(17)
    places = [(t, p, c) for t in "ab" for p in "uv" for c in "xyz"]
    scopes = {place: VAULT.scope(*place) for place in places}
    tried = 0
    for number in range(trials):
        mine, theirs = rng.sample(places, 2)
        value = f"person{number % 997}@example.com"
        foreign = scopes[theirs].placeholder("EMAIL_ADDRESS", value)
        scopes[mine].placeholder("EMAIL_ADDRESS", f"own{number % 89}@example.com")
        if rng.random() < 0.3:
            place = rng.randrange(len(foreign) - 11, len(foreign) - 1)
            foreign = foreign[:place] + rng.choice("abcdefghijklmnopqrstuvwxyz234567") + foreign[place + 1 :]
        text = f"Say {foreign} now."
        assert restore(text, scopes[mine].original) == text
        tried += 1
    return tried


def test_transcripts_come_back_exactly_at_every_split() -> None:
    assert check_transcripts(range(40)) > 3_000


def test_nobody_gets_a_foreign_value() -> None:
    assert check_foreign(3_000) == 3_000


@pytest.mark.slow
def test_five_hundred_transcripts_come_back_exactly_at_every_split() -> None:
    assert check_transcripts(range(1_000, 1_520)) > 50_000


@pytest.mark.slow
def test_nobody_gets_a_foreign_value_in_a_hundred_thousand_trials() -> None:
    assert check_foreign(100_000) == 100_000

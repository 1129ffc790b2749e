# ruff: noqa: S311
"""Passwords of many kinds in the place of those that people wrote: what is said around them is to be learnt."""

import random
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import replace

from training.credentials.texts import Text

TIMES = 4
WEIGHT = 0.25
"""How often the values of a written text are renewed, and the share of each of these in the loss."""

_LENGTHS = range(5, 25)
_MARKS = "!#$%&*+-_.@?"
_CALLED_OUT = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_LEET = str.maketrans("aeiost", "431057")


def renewed(texts: Sequence[Text], seed: int) -> Iterator[Text]:
    """Yield the written texts with other credentials."""
    rng = random.Random(seed)
    words = sorted({word for t in texts if t.is_written for word in re.findall(r"\b[a-z]{4,9}\b", t.text)})
    for text in texts:
        spans = sorted({*text.spans})
        if text.is_written and any(_is_renewable(text.text[slice(*span)]) for span in spans):
            for _ in range(TIMES):
                yield _renewed(text, spans, rng, words)


def _is_renewable(value: str) -> bool:
    return len(value) in _LENGTHS and " " not in value and not value.isdigit()


def _renewed(text: Text, spans: Sequence[tuple[int, int]], rng: random.Random, words: Sequence[str]) -> Text:
    """Return a text with other credentials; those that cannot be renewed stay, and stay marked."""
    parts: list[str] = []
    found: list[tuple[int, int]] = []
    at = size = 0
    for start, end in spans:
        if start < at:
            continue
        value = text.text[start:end]
        if _is_renewable(value):
            value = password(rng, words)
        parts += text.text[at:start], value
        size += start - at + len(value)
        found.append((size - len(value), size))
        at = end
    return replace(text, text="".join([*parts, text.text[at:]]), spans=found, weight=WEIGHT)


def password(rng: random.Random, words: Sequence[str]) -> str:
    """Return a password as people and machines make them."""
    word, other, third = rng.choices(words, k=3)
    mark, more = rng.choice(_MARKS), rng.choice(_MARKS)
    number = "".join(rng.choices(string.digits, k=rng.choice([2, 2, 3, 4])))
    year = f"{rng.choice(['19', '20'])}{rng.randrange(100):02}"
    letters = string.ascii_letters + string.digits
    kinds = (
        f"{word.capitalize()}{number}",
        f"{word.capitalize()}{year}{mark}",
        f"{word}{number}{mark}",
        f"{word.capitalize()}{mark}{other.capitalize()}{number[:2]}",
        f"{word}-{other}-{number}",
        f"{word.capitalize()}-{other.capitalize()}-{number[0]}",
        f"{word.translate(_LEET)}{mark}{other}",
        f"{word.translate(_LEET).capitalize()}{number}",
        f"{word}{other.capitalize()}_{third}",
        "".join(rng.choices(letters, k=rng.randrange(8, 17))),
        "".join(rng.choices(letters + _MARKS, k=rng.randrange(9, 17))),
        f"{number}{mark}{word.capitalize()}{more}{other}",
        f"{word.capitalize()}{mark}{other.capitalize()}{more}",
        "-".join("".join(rng.choices(_CALLED_OUT, k=4)) for _ in range(2)),
    )
    return rng.choice(kinds)

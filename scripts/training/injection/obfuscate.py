"""Disguises of an attack that leave it readable: case, typos, digits for letters, doubled letters, missing spaces."""

import random

_LEET = str.maketrans("oieastOIEAST", "013457013457")


def obfuscated(rng: random.Random, text: str, share: float = 0.18) -> str:
    """Return the text, in a share of cases disguised; the case alone changes a little more often."""
    roll = rng.random()
    if roll < share * 0.35:
        return text.upper()
    if roll < share * 0.6:
        return text.lower()
    if roll < share:
        return " ".join(_word(rng, word) for word in text.split(" "))
    return text


def _word(rng: random.Random, word: str) -> str:
    roll = rng.random()
    if len(word) < 4 or roll < 0.5:
        return word
    at = rng.randrange(1, len(word) - 2)
    if roll < 0.7:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if roll < 0.85:
        return word.translate(_LEET)
    if roll < 0.93:
        return word[:at] + word[at] + word[at:]
    return word[:at] + word[at + 1 :]

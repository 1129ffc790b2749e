"""Values that are no secret, since they stand for one: examples, masks, samples of manuals, code that fetches it."""

import base64
import binascii
import re

from sallyport.detect.published import is_published
from sallyport.detect.randomness import entropy, turns

_PLACEHOLDER = re.compile(
    r"(?i)^(?:your|my|the|some|insert|enter|replace|put|paste|add)[-_ ]|^an?[-_ ][a-z]+(?:[-_. ]|$)|example|sample"
    r"|dummy|placeholder|changeme|change[-_ ]me|redacted|masked"
    r"|\bhere$|[-_]here\b|(?:token|key|string|secret)here$|xxxx"
    r"|\*\*\*|\.\.\.|•••|…|openssl[-_ ]rand|^<.*>$|^\$\{?|^\{\{|^%\(|^\[.*\]$"
    r"|^(?:none|null|nil|undefined|true|false|todo|tbd|n/?a|test|testing|password|passwd|secret|token|string|str"
    r"|abc123|foo|bar|baz|foobar|hunter2?|qwerty|empty|default|optional|required|value)$"
    r"|0123456789|1234567890|abcdefghij|^(?:test|fake|mock|foo)[-_](?:[a-z]+(?:[-_]|$)|x)"
)


def is_placeholder(value: str) -> bool:
    """Say whether a value plainly stands for another: an example, a variable, a mask; or is printed in a manual."""
    return (
        bool(_PLACEHOLDER.search(value))
        or len(set(value)) <= 3
        or _typed_along(value) >= _ALONG
        or is_published(value)
        or _is_sample_login(value)
    )


def is_word_placeholder(word: str) -> bool:
    """Say the same of a word of letters alone; three that follow in the alphabet are in many a word (copper)."""
    given = bool(_PLACEHOLDER.search(word)) or is_published(word)
    return given or len(set(word)) <= 3 or _typed_along(word, 4) >= _ALONG


_ALONG = 0.5
"""Share of a value in rows such as abc, 4567 or aaa from which somebody made it up; of a random key 0.02 is."""


def _typed_along(value: str, least: int = 3) -> float:
    """Return the share of letters and digits in rows of three and more (least) that repeat or count up.

    A share, so that a made-up ending does not make an example of the real key before it.
    """
    bare = [ord(c) for c in value.lower() if c.isalnum()]
    rows = length = 0
    for place, code in enumerate(bare):
        step = code - bare[place - 1] if place else -1
        length = length + 1 if step in (0, 1) else 1
        rows += least if length == least else length > least
    return rows / len(bare) if bare else 0.0


def read_login(value: str) -> tuple[str, str]:
    """Return the user and the password that base64 holds; both empty if it holds none."""
    try:
        plain = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    user, _, word = plain.strip("\0").partition("\0" if plain.startswith("\0") else ":")
    return (user, word) if user.isprintable() and word.isprintable() else ("", "")


_STAND_IN = re.compile(r"(?i)my[-_ ]?(?:user(?:name)?|pass(?:word)?)|user(?:name)?|pass(?:word|wd)?")


def _is_sample_login(value: str) -> bool:
    """Say whether base64 holds a login that stands for one, as in manuals: user:password."""
    if len(value) > 40:
        return False
    user, word = read_login(value)
    return bool(word) and (bool(_STAND_IN.fullmatch(user) and _STAND_IN.fullmatch(word)))


REFERENCE = re.compile(
    r"^(?:os\.|process\.|env\.|ENV\[|config\.|self\.|this\.|settings\.|secrets\.|var\.|local\.|data\.|vault[:.])"
    r"|^[A-Za-z_][\w.]*\(|^[A-Za-z_]\w*(?:\.\w+)+$|^[A-Za-z_]\w*\[|^/|^https?://|^\.{1,2}/|^--?\w"
)
"""How code begins that fetches a value, and how paths, addresses and options do."""


def is_reference(value: str) -> bool:
    """Say whether a value is code that fetches another; parts that are random belong to a key with points."""
    if value.startswith("/"):
        return not is_slashed_base64(value)
    return bool(REFERENCE.search(value)) and not any(turns(part) >= 4 for part in value.split("."))


_BASE64 = re.compile(r"/{1,2}[A-Za-z0-9+/]{20,}={0,2}")
_STEP = re.compile(r"[A-Z]?[a-z]{2,}\d{0,4}|[A-Z]{3,}|\d+|[0-9a-f]{8,}")


def is_slashed_base64(value: str) -> bool:
    """Say whether a value is base64 that begins with a slash, as one of 64 does, and no path.

    Random signs turn from letters to figures and from small to great all along; a path has steps that are words,
    numbers and hashes, and no step as long as what stands between two slashes of base64.
    """
    if _BASE64.fullmatch(value) is None or not all(re.search(c, value) for c in (r"[a-z]", r"[A-Z]", r"\d")):
        return False
    steps = [step for step in value.rstrip("=").split("/") if len(step) > 2]
    if not steps or any(_STEP.fullmatch(step) for step in steps) or max(map(len, steps)) < 8:
        return False
    return turns(value) >= 0.2 * len(value) and entropy(value) >= 3.6

"""Keys: values that are random enough for one, or whose form says that they are."""

import base64
import binascii
import json
import math
import re

from sallyport.detect.letters import is_random
from sallyport.detect.randomness import entropy, is_unspeakable, turns
from sallyport.detect.shapes import base62_crc32
from sallyport.detect.standins import is_placeholder, is_reference, is_slashed_base64

_HEX = re.compile(r"^[0-9a-fA-F:-]+$")


def key(value: str) -> bool:
    """A random-looking key: not an example, and no single character dominates."""
    return not is_placeholder(value) and entropy(value) >= 2.5


def tail_key(value: str) -> bool:
    """A key in parts, of which the last is the secret: the numbers before it may have been made up."""
    tail = value.rsplit("-", 1)[-1]
    return key(value) or (len(tail) >= 16 and turns(tail) >= 4 and key(tail))


def strong_key(value: str) -> bool:
    """A key without a telling prefix: letters and digits mixed, high entropy."""
    return (
        not is_placeholder(value)
        and not is_reference(value)
        and _is_mixed(value)
        and entropy(value) >= (2.8 if _HEX.match(value) else min(3.5, 0.82 * math.log2(len(value))))
    )


def _is_mixed(value: str) -> bool:
    """Letters and digits; letters alone if their case changes more often than between words, or they are no words."""
    letters, figures = re.search(r"[A-Za-z]", value), re.search(r"\d", value)
    if not letters or figures:
        return bool(letters)
    return (
        (len(value) >= 24 and turns(value) >= 0.19 * len(value)) or is_unspeakable(value) or is_random(value)
    )


def number_key(value: str) -> bool:
    """A key of digits alone, which only its name can tell from any other number."""
    return len(set(value)) >= 5 and not is_placeholder(value) and not value.endswith("00000")


def upper_key(value: str) -> bool:
    """An access key id in capitals: digits among the letters, or letters that make no word."""
    return (
        not is_placeholder(value) and entropy(value) >= 2.9 and (turns(value) >= 3 or is_unspeakable(value))
    )


def told_key(value: str) -> bool:
    """A key in a sentence: random throughout, and no identifier that is printed everywhere."""
    identifier = re.fullmatch(
        r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:sha\d*|md5)[-:][\w+/=-]+", value
    )
    return identifier is None and strong_key(value) and (turns(value) >= 3 or is_random(value))


def vendor_key(value: str) -> bool:
    """A key behind a vendor's prefix: the part after the last separator is random, not a word or a number."""
    body = re.split(r"[_-]", value)[-1]
    return turns(body) >= 4 and not is_placeholder(value) and entropy(body) >= 3.0


_WORD = re.compile(r"[A-Za-z]{1,30}")


def assigned_key(value: str) -> bool:
    """A key behind its name: letters alone are one where they are random, and otherwise a word or the name of one."""
    return strong_key(value) and (_WORD.fullmatch(value) is None or is_unspeakable(value) or is_random(value))


def mixed_key(value: str) -> bool:
    """A key in parts, with upper and lower case and digits throughout, which code names have not."""
    mixed = all(re.search(c, value) for c in (r"[a-z]", r"[A-Z]", r"\d.*\d"))
    if value.startswith("/") and not is_slashed_base64(value):
        return False
    return mixed and key(value) and entropy(value) >= 3.3


def jwt(value: str) -> bool:
    """Three parts, of which the first is a JSON object that names an algorithm, or the second one of claims."""
    head, claims = (_json_object(part) for part in value.split(".")[:2])
    return "alg" in head or "enc" in head or len(claims) > 1


def _json_object(part: str) -> dict[str, object]:
    """Return what a part of a token holds, or nothing if it is no JSON object."""
    try:
        decoded = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def github(value: str) -> bool:
    """The last six characters are the base62 CRC-32 of the thirty before; examples in documents fail it."""
    body = value.split("_")[-1]
    return len(body) == 36 and base62_crc32(body[:30]) == body[30:]


def private_key(value: str) -> bool:
    """A block that holds at least two lines' worth of base64, not only its frame."""
    body = re.sub(r"-----[^-]{1,60}-----|\\[rn]|[\s\"',+]|\w+-?\w*: [^\n]{1,80}\n", "", value)
    return len(body) >= 40 and len(set(body)) > 12 and "..." not in body

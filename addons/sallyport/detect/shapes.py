"""Sample values made from shapes, so that no secret-like value is stored: `{{alnum 48}}`, `{{luhn 4 16}}`.

The same rule and example give the same value every time.
"""

import base64
import random
import re
import string
import zlib
from collections.abc import Callable

_SHAPE = re.compile(r"\{\{([a-z0-9_]+)((?: [^{}]*)?)\}\}")
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ALPHABETS = {
    "alnum": string.ascii_letters + string.digits,
    "base62": _BASE62,
    "base64": string.ascii_letters + string.digits + "+/",
    "urlsafe": string.ascii_letters + string.digits + "-_",
    "hex": "0123456789abcdef",
    "upperhex": "0123456789ABCDEF",
    "digits": string.digits,
    "lower": string.ascii_lowercase,
    "loweralnum": string.ascii_lowercase + string.digits,
    "upper": string.ascii_uppercase,
    "upperalnum": string.ascii_uppercase + string.digits,
    "base32": string.ascii_uppercase + "234567",
}


def fill(template: str, seed: str) -> str:
    """Return the template with every `{{shape arguments}}` replaced. Raises KeyError on an unknown shape."""
    rng = random.Random(seed)  # noqa: S311 - samples, not secrets
    return _SHAPE.sub(lambda match: _make(match.group(1), match.group(2)[1:], rng), template)


def _make(name: str, argument: str, rng: random.Random) -> str:
    if name in _ALPHABETS:
        return _draw(_ALPHABETS[name], int(argument), rng)
    return _SHAPES[name](argument, rng)


def _draw(alphabet: str, length: int, rng: random.Random) -> str:
    """Draw without a run of three and with every class of the alphabet, as real keys have."""
    while True:
        text = "".join(rng.choice(alphabet) for _ in range(length))
        classes = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
        wanted = [c for c in classes if set(c) & set(alphabet)]
        if not re.search(r"(.)\1\1", text) and (length < 8 or all(set(c) & set(text) for c in wanted)):
            return text


def _github(argument: str, rng: random.Random) -> str:
    body = _draw(_ALPHABETS["alnum"], 30, rng)
    return f"{argument}_{body}{base62_crc32(body)}"


def base62_crc32(text: str) -> str:
    """Return the six base62 digits with which GitHub and npm end their tokens."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(6):
        number, index = divmod(number, 62)
        digits = _BASE62[index] + digits
    return digits


def _luhn(argument: str, rng: random.Random) -> str:
    prefix, length = argument.split()
    body = prefix + _draw(string.digits, int(length) - 1 - len(prefix), rng)
    for last in string.digits:
        digits = [int(c) for c in reversed(body + last)]
        if sum(d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(digits)) % 10 == 0:
            return body + last
    raise AssertionError


def _iban(argument: str, rng: random.Random) -> str:
    country, length = argument.split()
    body = _draw(string.digits, int(length), rng)
    number = int("".join(str(int(c, 36)) for c in body + country + "00"))
    return f"{country}{98 - number % 97:02d}{body}"


def _jwt(_: str, rng: random.Random) -> str:
    def part(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    subject = _draw(string.digits, 10, rng)
    signature = _draw(_ALPHABETS["urlsafe"], 43, rng)
    claims = part(f'{{"sub":"{subject}","iat":1700000000}}')
    return f"{part('{"alg":"HS256","typ":"JWT"}')}.{claims}.{signature}"


def _pem(argument: str, rng: random.Random) -> str:
    lines = "\n".join(_draw(_ALPHABETS["base64"], 64, rng) for _ in range(4))
    return f"-----BEGIN {argument}-----\n{lines}\n-----END {argument}-----"


def _tags(argument: str, _: random.Random) -> str:
    return "".join(chr(0xE0000 + ord(c)) for c in argument)


def _selectors(argument: str, _: random.Random) -> str:
    return "".join(chr(0xE0100 + b - 16) if b >= 16 else chr(0xFE00 + b) for b in argument.encode())


_SHAPES: dict[str, Callable[[str, random.Random], str]] = {
    "github": _github,
    "luhn": _luhn,
    "iban": _iban,
    "jwt": _jwt,
    "pem": _pem,
    "tags": _tags,
    "selectors": _selectors,
    "b64": lambda argument, _: base64.b64encode(argument.encode()).decode(),
}

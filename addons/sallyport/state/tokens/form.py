"""A token taken apart, read one way only: compact JWS (RFC 7515), strict base64url, strict JSON.

Nothing here believes anything. What could be read two ways is refused, and no message repeats the token.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import NoReturn

MAX_TOKEN_CHARS = 16_384
MAX_KID_CHARS = 256
MAX_NESTING = 16

_COMPACT = re.compile(r"([A-Za-z0-9_-]{2,2048})\.([A-Za-z0-9_-]{2,16384})\.([A-Za-z0-9_-]{2,2048})")

_REFUSED_HEADERS = frozenset(
    {
        "crit",
        "b64",
        "jku",
        "jwk",
        "x5u",
        "x5c",
        "enc",
        "zip",
        "epk",
        "apu",
        "apv",
        "cty",
        "iv",
        "tag",
        "p2s",
        "p2c",
    }
)
"""Parameters that bring a key along, ask for rules of their own, or belong to encryption."""

_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""What a token may say it is (RFC 8725 section 3.11); a logout token or a proof of possession is none."""

type Json = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


class TokenRefused(Exception):
    """Why a token proves nothing. reason: a fixed word, never a part of the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Form:
    """A token's parts, unproved. algorithm, kid: as its header says."""

    algorithm: str
    kid: str
    claims: dict[str, Json]


def take_apart(token: str) -> Form:
    """Read a compact token. Raises TokenRefused."""
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenRefused("too_long")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise TokenRefused("form")
    header = _json_object(_bytes(match[1]))
    if not _REFUSED_HEADERS.isdisjoint(header):
        raise TokenRefused("header_parameter")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str):
        raise TokenRefused("algorithm")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARS:
        raise TokenRefused("kid")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise TokenRefused("type")
    _bytes(match[3])
    return Form(algorithm, kid, _json_object(_bytes(match[2])))


def read_json(data: bytes) -> Json:
    """Read JSON with each member once, no NaN and no deep nesting. Raises TokenRefused."""
    try:
        found: Json = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once_each,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError):
        raise TokenRefused("json") from None
    _check_nesting(found, MAX_NESTING)
    return found


def _json_object(data: bytes) -> dict[str, Json]:
    found = read_json(data)
    if not isinstance(found, dict):
        raise TokenRefused("json")
    return found


def _once_each(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TokenRefused("repeated_member")
    return found


def _no_constant(_: str) -> NoReturn:
    raise TokenRefused("json")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise TokenRefused("json")
    return number


def _check_nesting(value: Json, left: int) -> None:
    if isinstance(value, dict | list):
        if left == 0:
            raise TokenRefused("json")
        for item in value.values() if isinstance(value, dict) else value:
            _check_nesting(item, left - 1)


def _bytes(part: str) -> bytes:
    """Decode base64url without padding; a spelling that is not the shortest of its bytes is refused."""
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise TokenRefused("base64") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != part:
        raise TokenRefused("base64")
    return data

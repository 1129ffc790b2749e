"""One part of an exchange, sealed: AES-256-GCM under its subject's key, bound to exchange, part and key.

The id of the key stands for the subject: it is random, belongs to one subject, and goes with it.
"""

import ipaddress
import json
import re
import secrets
import unicodedata
import zlib
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sallyport.state.content.subjects import SubjectKey

_VERSION = b"\x01"
_NONCE_BYTES = 12


class Part(StrEnum):
    """Which side of an exchange."""

    REQUEST = "request"
    ANSWER = "answer"


class Damaged(Exception):
    """What is sealed, or what it is bound to, was changed."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text. at: pointer into the body, or channel of a stream; surface: who wrote it."""

    at: str
    surface: str
    text: str = field(repr=False)


def seal(texts: tuple[Text, ...], key: SubjectKey, exchange: str, part: Part) -> bytes:
    """Return texts sealed."""
    members = [[each.at, each.surface, each.text] for each in texts]
    plain = zlib.compress(json.dumps(members).encode("ascii"), 1)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key.sealing).encrypt(nonce, plain, _bound(key, exchange, part))


def unseal(sealed: bytes, key: SubjectKey, exchange: str, part: Part) -> tuple[Text, ...]:
    """Return the texts of a part. Raises Damaged."""
    nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        if sealed[:1] != _VERSION:
            raise Damaged
        plain = AESGCM(key.sealing).decrypt(nonce, rest, _bound(key, exchange, part))
        return tuple(Text(at, surface, text) for at, surface, text in json.loads(zlib.decompress(plain)))
    except (InvalidTag, ValueError, zlib.error):
        raise Damaged from None


def _bound(key: SubjectKey, exchange: str, part: Part) -> bytes:
    parts = [text.encode() for text in (key.id, exchange, part.value)]
    return b"sallyport content 1" + b"".join(len(p).to_bytes(4, "big") + p for p in parts)


def _is_address(text: str) -> bool:
    """Say whether it is an IP address: where its dots stand is its value."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


_BETWEEN = re.compile(r"[\s\u00ad\u200b-\u200f\u2060\ufeff]+")
_NO_DIGIT = re.compile(r"\D+")


def normalised(value: str) -> str:
    """Return a value as the index knows it: without blanks and case, and of what is all digits the digits alone."""
    plain = _BETWEEN.sub("", unicodedata.normalize("NFKC", value)).casefold()
    if any(c.isalpha() for c in plain) or _is_address(plain):
        return plain
    return _NO_DIGIT.sub("", plain) or plain

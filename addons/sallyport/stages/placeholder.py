"""The spelling of a placeholder: <ENTITY_tag>, tag = ten base32 characters of a keyed digest.

The shape is fixed and rare, so that a stream can be held from its first character on and no longer.
"""

import base64
import hashlib
import hmac
import re

TAG_LENGTH = 10
MAX_LENGTH = 64
"""Longest placeholder in characters, entity names included."""

PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{1,50}_[a-z2-7]{10}>")

JSON_PLACEHOLDER = re.compile(r"(?:<|\\u003[cC])(?P<name>[A-Z][A-Z0-9_]{1,50}_[a-z2-7]{10})(?:>|\\u003[eE])")
"""The same inside JSON source, where a model may have escaped the angle brackets."""


def make_tag(key: bytes, *parts: str) -> str:
    """Return the tag of a value: 50 bits of HMAC-SHA-256 over length-prefixed parts.

    key: secret of this gateway; parts: scope and value, in an order the caller keeps.
    """
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        mac.update(len(data).to_bytes(8, "big"))
        mac.update(data)
    return base64.b32encode(mac.digest()[:7]).decode("ascii").lower()[:TAG_LENGTH]


def spell(entity: str, tag: str) -> str:
    """Write a placeholder. entity: upper-case letters, digits, underscores; anything else becomes _."""
    name = re.sub(r"[^A-Z0-9_]", "_", entity.upper()).strip("_")[:50] or "VALUE"
    if not name[0].isalpha():
        name = "V_" + name[:48]
    if len(name) < 2:
        name += "_V"
    return f"<{name}_{tag}>"

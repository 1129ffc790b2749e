"""The public keys of an issuer, out of a JWK set (RFC 7517): each by its kid, only those fit for signatures.

A key that is private, symmetric, too weak, for another use, or shares its kid with another is no key.
"""

import base64
import binascii
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwk
from joserfc.errors import JoseError

from sallyport.state.tokens.form import MAX_KID_CHARS, Json, TokenRefused, read_json

MAX_SET_BYTES = 262_144
MAX_KEYS = 200
RSA_BITS = range(2048, 8193)

_ALGORITHMS: Mapping[tuple[str, str], frozenset[str]] = {
    ("RSA", ""): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
}
"""Which algorithms a key may verify, by its type and curve; every other type verifies nothing."""

_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies. thumbprint: of its public part (RFC 7638); algorithms: those it may be used with."""

    kid: str
    thumbprint: str
    algorithms: frozenset[str]
    key: Any


type KeySet = Mapping[str, PublicKey]


def read_key_set(data: bytes) -> KeySet:
    """Return the usable keys of a JWK set by kid, none where it holds none. Raises ValueError where it is no set.

    A set without keys is an answer too: its issuer has withdrawn them.
    """
    if len(data) > MAX_SET_BYTES:
        raise ValueError("it is too large")
    try:
        found = read_json(data)
    except TokenRefused:
        raise ValueError("it is not JSON, or a member is there twice") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise ValueError("it has no list `keys`")
    if len(entries) > MAX_KEYS:
        raise ValueError(f"it has more than {MAX_KEYS} keys")
    times = Counter(e["kid"] for e in entries if isinstance(e, dict) and isinstance(e.get("kid"), str))
    return {key.kid: key for key in _usable(entries) if times[key.kid] == 1}


def _usable(entries: list[Json]) -> Iterator[PublicKey]:
    for entry in entries:
        if isinstance(entry, dict) and (key := _read(entry)) is not None:
            yield key


def _read(entry: dict[str, Json]) -> PublicKey | None:
    kid, kind, use = entry.get("kid"), entry.get("kty"), entry.get("use", "sig")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARS or not _PRIVATE.isdisjoint(entry):
        return None
    if not isinstance(kind, str) or kind not in _PUBLIC or use != "sig":
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    public = {name: entry.get(name) for name in _PUBLIC[kind]}
    if not all(isinstance(value, str) for value in public.values()):
        return None
    allowed = _ALGORITHMS.get((kind, str(public.get("crv", ""))), frozenset())
    if "alg" in entry:
        allowed &= {str(entry["alg"])}
    if not allowed:
        return None
    if kind == "RSA" and not _is_strong(str(public["n"]), str(public["e"])):
        return None
    try:
        # Only the public members: a certificate beside them is neither read nor believed.
        members: dict[str, Any] = {"kty": kind, **public}
        key: Any = jwk.import_key(members)
        return PublicKey(kid, str(key.thumbprint()), allowed, key)
    except (JoseError, ValueError, TypeError):
        return None


def _is_strong(modulus: str, exponent: str) -> bool:
    """Say whether an RSA key is of a size that is neither weak nor a burden, with an odd exponent above 1."""
    try:
        n, e = (int.from_bytes(base64.urlsafe_b64decode(part + "==")) for part in (modulus, exponent))
    except (binascii.Error, ValueError):
        return False
    return n.bit_length() in RSA_BITS and e % 2 == 1 and e >= 3

"""What a client hello looks like, as a short digest: which TLS library, roughly, and in which version.

The digest is our own. It takes up the idea of JA4 (sort what clients shuffle, leave out what changes from one
connection to the next) and is not compatible with it. It tells software apart, never persons, and a client can
imitate another: an attribute for conditions, no proof.

    sp1-13-h2-0f3a5b6c7d8e9f10
    |   |  |  first 16 hex digits of the SHA-256 of the sorted cipher suites, the sorted extensions, and the
    |   |  |  groups and signature algorithms in the client's order
    |   |  first application protocol it offers, 00 if none
    |   highest TLS version it offers
    our spelling of the digest, version 1
"""

import hashlib
from collections.abc import Iterable

from mitmproxy.tls import ClientHello

SPELLING = "sp1"

_GROUPS, _ALGORITHMS, _VERSIONS = 10, 13, 43
_CHANGING = frozenset({0, 16, 21, 41, 42, 44})
"""Extensions that depend on the host, on the protocol offered, or on what the client remembers from before:
server_name, ALPN, padding, pre_shared_key, early_data, cookie."""

_KNOWN_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10"}


def digest_of(hello: ClientHello) -> str:
    """Return the digest of a hello; the same for every connection that a client opens in the same way."""
    extensions = hello.extensions
    bodies = dict(extensions)
    suites = sorted(s for s in hello.cipher_suites if not _is_grease(s))
    kinds = sorted(k for k, _ in extensions if k not in _CHANGING and not _is_grease(k))
    groups = _numbers(bodies.get(_GROUPS, b"")[2:])
    algorithms = _numbers(bodies.get(_ALGORITHMS, b"")[2:])
    parts = "_".join(_joined(numbers) for numbers in (suites, kinds, groups, algorithms))
    versions = _numbers(bodies.get(_VERSIONS, b"\0\x03\x03")[1:])
    version = next((_KNOWN_VERSIONS[v] for v in sorted(versions, reverse=True) if v in _KNOWN_VERSIONS), "00")
    offered = hello.alpn_protocols
    protocol = offered[0].decode("ascii", "replace") if offered else ""
    shown = protocol if protocol.isascii() and protocol.replace("/", "").replace(".", "").isalnum() else "00"
    return f"{SPELLING}-{version}-{shown[:12]}-{hashlib.sha256(parts.encode()).hexdigest()[:16]}"


def _is_grease(number: int) -> bool:
    """Say whether a number is one of those clients strew in at random (RFC 8701)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _numbers(body: bytes) -> list[int]:
    """Return the 16-bit numbers of a list; a last odd byte is left out."""
    found = (int.from_bytes(body[i : i + 2]) for i in range(0, len(body) - 1, 2))
    return [n for n in found if not _is_grease(n)]


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(format(n, "x") for n in numbers)

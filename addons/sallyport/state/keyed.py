"""Everything derived from the gateway's secret key: fingerprints, conversations, links."""

import hmac
from functools import lru_cache


def digest(key: bytes, purpose: str, *parts: str) -> str:
    """Return a keyed digest of values, 32 hex digits.

    purpose separates the uses of one key; parts are length-prefixed, so that they cannot run together.
    """
    message: list[bytes] = []
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        message += (len(data).to_bytes(8, "big"), data)
    mac = _begun(key, purpose).copy()
    mac.update(b"".join(message))
    return mac.hexdigest()[:32]


@lru_cache(32)
def _begun(key: bytes, purpose: str) -> hmac.HMAC:
    """Return the HMAC of the purpose alone; to begin one costs several times what it costs to copy it."""
    return hmac.new(key, purpose.encode(), "sha256")


def fingerprint(key: bytes, credential: str) -> str:
    """Return what stands for a credential everywhere: key_ and 24 hex digits."""
    return "key_" + digest(key, "credential", credential)[:24]

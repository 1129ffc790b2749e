"""Everything derived from the gateway's secret key: fingerprints, conversations, links."""

import hmac


def digest(key: bytes, purpose: str, *parts: str) -> str:
    """Return a keyed digest of values, 32 hex digits.

    purpose separates the uses of one key; parts are length-prefixed, so that they cannot run together.
    """
    message = [purpose.encode()]
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        message += (len(data).to_bytes(8, "big"), data)
    return hmac.digest(key, b"".join(message), "sha256").hex()[:32]


def fingerprint(key: bytes, credential: str) -> str:
    """Return what stands for a credential everywhere: key_ and 24 hex digits."""
    return "key_" + digest(key, "credential", credential)[:24]

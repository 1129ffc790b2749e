"""Access keys of AWS: how a real one is written as one credential, and how the gateway makes its own.

A gateway's own access key is a gateway key like any other (`gatewaykeys.py`) as far as its id goes. Its secret is
never stored: it follows from the id under the gateway's key, so that any gateway with that key checks a signature.
"""

import base64
import re
import secrets
import string

import orjson

from sallyport.state.gatewaykeys import ACCESS_KEY
from sallyport.state.keyed import digest
from sallyport.wire.sigv4 import AwsKey

_ALPHABET = string.digits + string.ascii_letters
_WRITTEN = re.compile(
    r"(?P<id>(?:AKIA|ASIA)[A-Z0-9]{12,124}):(?P<secret>[A-Za-z0-9/+=]{20,128})(?::(?P<token>[A-Za-z0-9/+=_-]{16,7000}))?"
)
_MEMBERS = ("AccessKeyId", "SecretAccessKey", "SessionToken")


def aws_key(credential: str) -> AwsKey | None:
    """Return the access key that a credential is, None for a credential of another kind."""
    found = _WRITTEN.fullmatch(credential)
    return None if found is None else AwsKey(found["id"], found["secret"], found["token"] or "")


def flattened(text: str) -> str:
    """Return an access key as ID:SECRET[:TOKEN] where it is written as JSON, any other text as it is.

    The JSON is that of AWS's tools (`aws configure export-credentials`, a credential_process), which may stand in an
    object `Credentials` as STS answers it. Raises ValueError, which holds nothing of it.
    """
    if not text.lstrip().startswith("{"):
        return text
    try:
        members = orjson.loads(text)
        members = members.get("Credentials", members)
        parts = [members[name] for name in _MEMBERS if members.get(name)]
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        raise ValueError("it is no JSON of an access key") from None
    written = ":".join(part for part in parts if isinstance(part, str))
    if aws_key(written) is None:
        raise ValueError("it is no JSON of an access key")
    return written


def is_access_key(credential: str) -> bool:
    """Say whether a credential has the form of a gateway's own access key id."""
    return len(credential) == ACCESS_KEY.chars and credential.startswith(ACCESS_KEY.prefix + ACCESS_KEY.mark)


def new_access_key(secret: bytes) -> AwsKey:
    """Return a new access key of this gateway. secret: the gateway's key."""
    random = "".join(secrets.choice(_ALPHABET) for _ in range(ACCESS_KEY.random_chars))
    return own_access_key(secret, ACCESS_KEY.spell(secret, random))


def own_access_key(secret: bytes, access_key_id: str) -> AwsKey:
    """Return the access key of an id of this gateway's: 160 bits of a keyed digest, as long as AWS's secrets are."""
    halves = (digest(secret, "access key secret", access_key_id, part) for part in ("first", "second"))
    made = base64.b64encode(bytes.fromhex("".join(halves)))[:40].decode()
    return AwsKey(access_key_id, made)

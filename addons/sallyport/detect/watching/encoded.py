"""What a token says if it is base64 or hex."""

import base64
import binascii
import re
from collections.abc import Iterator

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


def decoded(token: str) -> Iterator[bytes]:
    """Yield what a token of letters, digits and "+/-_" stands for, in hex and in base64, padded or not."""
    token = token.strip("=")
    if _HEX.fullmatch(token):
        yield bytes.fromhex(token)
    common = token.replace("-", "+").replace("_", "/")
    whole = common[: len(common) - (len(common) % 4 == 1)]
    try:
        yield base64.b64decode(whole + "=" * (-len(whole) % 4), validate=True)
    except (binascii.Error, ValueError):
        return

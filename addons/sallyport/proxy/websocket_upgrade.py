"""The head of a WebSocket (RFC 6455, section 4): which upgrades are sound, and what of them leaves.

The gateway shakes hands twice. Its own key goes to the provider, so that a client writes nothing there, and the
answer the client gets is made from the client's key. No extension is offered: nothing is compressed.
"""

import base64
import binascii
import hashlib
import os

from mitmproxy.http import Request, Response

from sallyport.decision import Decision
from sallyport.proxy import intake

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"
_KEY_BYTES = 16
_OWN_HEADERS = frozenset(
    {"upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"}
)
"""Headers of the handshake, which are judged and made anew here."""

FALL_BACK = "Use HTTPS requests."


def refuse(reason: str, message: str) -> Decision:
    """Return a refusal on which clients turn to HTTPS at once; after any other status they try again first."""
    return intake.refuse(reason, message, 426)


def check_upgrade(request: Request) -> Decision | None:
    """Return why the head of an upgrade is refused, None if it is sound."""
    if request.is_http2 or request.method != "GET":
        return intake.refuse("upgrade", "A WebSocket begins with a GET request of HTTP/1.1.")
    headers = request.headers
    if headers.get("upgrade", "").strip().lower() != "websocket" or not _says(headers.get("connection", "")):
        return intake.refuse("upgrade", "The upgrade names another protocol than WebSocket.")
    if headers.get("content-length", "0").strip() != "0" or "transfer-encoding" in headers:
        return intake.refuse("upgrade_body", "An upgrade has no body.")
    if headers.get_all("sec-websocket-version") != [_VERSION]:
        return refuse("upgrade_version", "Only version 13 of WebSocket is spoken here.")
    keys = headers.get_all("sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return intake.refuse("upgrade_key", "The key of the upgrade is not sound.")
    if "sec-websocket-protocol" in headers:
        # Browsers put a credential there, where nobody looks for one.
        return refuse("upgrade_protocol", "Subprotocols are not accepted; send the key as a header.")
    return None


def without_handshake(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return header lines less those of the handshake, which hold nothing of the client's that leaves."""
    return tuple((name, value) for name, value in fields if name.lower() not in _OWN_HEADERS)


def new_key() -> str:
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode("ascii")


def accept_of(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers a key."""
    digest = hashlib.sha1(key.strip().encode("ascii") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def put_handshake(request: Request, key: str) -> None:
    """Make the head that leaves an upgrade again; dispatch has made a plain request of it."""
    for name in (*_OWN_HEADERS, "connection"):
        request.headers.pop(name, None)
    request.headers["Connection"] = "Upgrade"
    request.headers["Upgrade"] = "websocket"
    request.headers["Sec-WebSocket-Version"] = _VERSION
    request.headers["Sec-WebSocket-Key"] = key


def take_handshake(response: Response, sent: str, given: str) -> bool:
    """Check the provider's handshake and answer the client's key in its place; False if it is not sound.

    sent: the gateway's key; given: the client's.
    """
    headers = response.headers
    sound = (
        headers.get("upgrade", "").strip().lower() == "websocket"
        and _says(headers.get("connection", ""))
        and headers.get_all("sec-websocket-accept") == [accept_of(sent)]
        and "sec-websocket-extensions" not in headers
        and "sec-websocket-protocol" not in headers
    )
    if sound:
        headers["sec-websocket-accept"] = accept_of(given)
    return sound


def _says(connection: str) -> bool:
    return "upgrade" in [word.strip().lower() for word in connection.split(",")]


def _is_key(value: str) -> bool:
    try:
        return len(base64.b64decode(value.strip(), validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False

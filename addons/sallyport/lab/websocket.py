"""WebSocket for the lab: the handshake, and messages to and from a stand-in that converses.

A model's name may ask for trouble: `early` sends a message before it accepts, `deflate` claims an extension,
`wrong-accept` shakes the wrong hand, `subprotocol` names one, `refuse-426` answers so, `cut` goes away in the
middle, `leave` closes with 4001 after an answer, `quote` with the credential of the upgrade as its reason.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from wsproto import ConnectionType
from wsproto import events as ws
from wsproto.connection import Connection, ConnectionState

from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.channel import Channel
from sallyport.lab.http1 import Head
from sallyport.lab.realtime import model_in, session_of

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def is_upgrade(head: Head) -> bool:
    return head.get("upgrade").lower() == "websocket"


async def converse(channel: Channel, head: Head, early: bytes, heard: Callable[[bytes], None]) -> None:
    """Serve one WebSocket until it ends. early: bytes that came after the head. heard: told every message."""
    target = urlsplit(head.target)
    query = parse_qs(target.query)
    model = (query.get("model") or query.get("deployment") or [""])[0]
    if "refuse-426" in model:
        await channel.send(b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n")
        return
    await channel.send(_acceptance(head, model))
    behaviour, session = behaviour_of(model), session_of(target.path, model)
    connection = Connection(ConnectionType.SERVER)
    sent = 0

    async def say(message: str | bytes) -> None:
        nonlocal sent
        sent += 1
        if behaviour.delay_s:
            await asyncio.sleep(behaviour.delay_s)
        if behaviour.cut_after is not None and sent > max(behaviour.cut_after, 4):
            raise ConnectionError("cut")
        for event in _fragments(message, behaviour.piece_bytes):
            await channel.send(connection.send(event))

    for message in session.greet():
        await say(message)
    pending, data = "", early
    while True:
        connection.receive_data(data)
        for event in connection.events():
            if isinstance(event, ws.TextMessage):
                pending += event.data
                if event.message_finished:
                    whole, pending = pending, ""
                    heard(whole.encode())
                    behaviour = behaviour_of(model or model_in(whole))
                    for message in session.hear(whole):
                        await say(message)
                    if "leave" in model and "response.create" in whole:
                        reason = head.get("authorization") if "quote" in model else "The session is over."
                        await channel.send(connection.send(ws.CloseConnection(4001, reason)))
            elif isinstance(event, ws.BytesMessage):
                heard(bytes(event.data))
            elif isinstance(event, ws.Ping):
                heard(b"ping " + bytes(event.payload))
                await channel.send(connection.send(event.response()))
            elif isinstance(event, ws.CloseConnection):
                heard(f"close {int(event.code)} {event.reason or ''}".strip().encode())
                if connection.state is ConnectionState.REMOTE_CLOSING:
                    await channel.send(connection.send(event.response()))
                return
        data = await channel.recv()
        if not data:
            heard(b"gone")
            return


def _acceptance(head: Head, model: str) -> bytes:
    key = head.get("sec-websocket-key") + ("x" if "wrong-accept" in model else "")
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
    ]
    if "deflate" in model:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate")
    if "subprotocol" in model:
        lines.append("Sec-WebSocket-Protocol: realtime")
    answer = "\r\n".join([*lines, "", ""]).encode()
    return b"\x81\x02hi" + answer if "early" in model else answer


def _fragments(message: str | bytes, piece_chars: int | None) -> list[ws.TextMessage | ws.BytesMessage]:
    if isinstance(message, bytes):
        return [ws.BytesMessage(message)]
    size = piece_chars or len(message) or 1
    pieces = [message[start : start + size] for start in range(0, len(message), size)] or [""]
    return [ws.TextMessage(p, message_finished=n == len(pieces) - 1) for n, p in enumerate(pieces)]

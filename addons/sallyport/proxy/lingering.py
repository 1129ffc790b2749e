"""What a closed connection has still to send goes out while its peer takes any of it, and is thrown away after.

asyncio closes a transport once all that was written is out, and waits for that for ever: a provider that has stopped
reading, or a client, kept the rest of a body in memory, and a descriptor, for as long as it liked.
"""

import asyncio
from asyncio import StreamWriter, Task, WriteTransport
from weakref import WeakKeyDictionary

from mitmproxy.connection import Client

from sallyport.proxy.layers import transport_of

PATIENCE_S = 30.0
"""How long nothing of it may go out."""

_opened: "WeakKeyDictionary[Task[object], StreamWriter]" = WeakKeyDictionary()
_clients: "WeakKeyDictionary[Client, WriteTransport]" = WeakKeyDictionary()


def opened(writer: StreamWriter) -> None:
    """Take note of the connection that the task which calls this looks after."""
    task = asyncio.current_task()
    if task is not None:
        _opened[task] = writer


def ended() -> None:
    """Look after what the connection has to send whose task calls this; it reads nothing more."""
    task = asyncio.current_task()
    writer = _opened.pop(task, None) if task is not None else None
    if writer is not None:
        until_sent(writer.transport)


def client_came(client: Client) -> None:
    transport = transport_of(client)
    if transport is not None:
        _clients[client] = transport


def client_left(client: Client) -> None:
    transport = _clients.pop(client, None)
    if transport is not None:
        until_sent(transport)


def until_sent(transport: WriteTransport, before: int | None = None) -> None:
    """Reset a connection that is closed as soon as nothing of what it has to send goes out any more."""
    left = transport.get_write_buffer_size()
    if left and left == before:
        transport.abort()
    elif left:
        asyncio.get_running_loop().call_later(PATIENCE_S, until_sent, transport, left)

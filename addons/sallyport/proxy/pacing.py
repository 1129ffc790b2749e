"""Who waits until what was written is out: never who has to read the answer to it, or the requests of others.

Stock has every reader of a client's connections wait for all that was written on any of them, one after the other. A
provider that answers before it has read a request to its end was not heard, and one that reads nothing held up the
answers of all others.
"""

import asyncio
from contextlib import nullcontext

from mitmproxy.connection import Connection
from mitmproxy.proxy import server

from sallyport.proxy.stream import settings


async def drain_writers(self: server.ConnectionHandler) -> None:
    """Replace ConnectionHandler.drain_writers: let the task that calls it read on once that costs no more memory."""
    reading = asyncio.current_task()
    for connection, transport in list(self.transports.items()):
        if transport.writer is None or not _holds_up(self, reading, connection):
            continue
        # A client behind a tunnel of mitmproxy_rs may be waited for by one at a time.
        alone = self._drain_lock if connection is self.client else nullcontext()
        try:
            async with alone:
                await transport.writer.drain()
        except OSError:
            if transport.handler is not None:
                transport.handler.cancel("what was written cannot be sent")


def _holds_up(
    self: server.ConnectionHandler, reading: "asyncio.Task[object] | None", connection: Connection
) -> bool:
    """Say whether who reads has to wait for what was written to a connection.

    For the client it always has, and a client of bytes, or of one request at a time, for the provider. A provider is
    else waited for by nobody but the client of its streams and itself, and only if it is owed more than two requests
    may have: it could have frames answered without end, and read nothing.
    """
    if connection is self.client:
        return True
    client, provider = self.transports.get(self.client), self.transports[connection]
    is_client = client is not None and client.handler is reading
    if is_client and not (self.client.alpn == b"h2" and connection.tls):
        return True
    if not is_client and provider.handler is not reading:
        return False
    writer = provider.writer
    if not isinstance(writer, asyncio.StreamWriter):
        return True
    return writer.transport.get_write_buffer_size() > 2 * settings.max_request_bytes

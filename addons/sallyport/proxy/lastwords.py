"""Letting a client read why it is turned away, before its connection is closed.

A socket that is closed while bytes of the peer are unread, or still come, is reset (RFC 1122 4.2.2.13), and a
client that is writing meets the reset before it reads the alert. With TLS 1.3 every client is writing then: to
it the handshake is over. So the connection is half-closed first, and what still comes is thrown away.
"""

import asyncio
from typing import Any

from mitmproxy import ctx
from mitmproxy.connection import Client

LINGER_S = 1.0
LINGER_BYTES = 256 * 1024
"""Within these the client has to close; then it is reset."""

_lingering: set["asyncio.Task[None]"] = set()


class LingeringWriter:
    """A writer that is closed by degrees. reader: of the same connection; nobody else reads after the close."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def close(self) -> None:
        task = asyncio.get_running_loop().create_task(self._linger())
        _lingering.add(task)
        task.add_done_callback(_lingering.discard)

    async def _linger(self) -> None:
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_S):
                self._writer.write_eof()
                while left > 0 and (data := await self._reader.read(65_536)):
                    left -= len(data)
        except OSError:
            pass  # gone, or TimeoutError: it had its time
        finally:
            self._writer.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def send_last_words(client: Client, words: bytes) -> None:
    """Write to a client whose connection is about to be closed, and let it linger so that they are read."""
    proxyserver = ctx.master.addons.get("proxyserver")
    handler = proxyserver.connections.get(client.id) if proxyserver else None
    known = handler.transports.get(client) if handler is not None else None
    if known is None or known.writer is None:
        return
    known.writer.transport.write(words)
    if isinstance(known.writer, asyncio.StreamWriter):
        known.writer = LingeringWriter(known.reader, known.writer)

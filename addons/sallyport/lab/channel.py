"""One TCP connection, in clear or TLS by its first byte. Counts every byte that arrives.

TLS runs over memory buffers, because asyncio's own hides what came before and beside the clear bytes.
"""

import asyncio
import contextlib
import ssl

from sallyport.lab.authority import LabCa
from sallyport.lab.record import SeenConnection

_TLS_HANDSHAKE = 0x16
_READ_BYTES = 65536
_SNI = "lab_sni"


class Channel:
    """A byte stream with the peer. recv returns b"" at the end; send waits until the kernel has taken it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ca: LabCa, seen: SeenConnection
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ca = ca
        self._seen = seen
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._early = b""

    async def start(self) -> None:
        """Look at the first byte and, if it is TLS, shake hands. Raises ssl.SSLError."""
        first = await self._read_raw()
        if not first or first[0] != _TLS_HANDSHAKE:
            self._early = first
            return
        self._incoming.write(first)
        context = self._ca.server_context()
        context.sni_callback = self._choose
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._seen.tls = True
        try:
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._flush()
                    if not await self._feed():
                        raise ConnectionError("closed during the TLS handshake") from None
                else:
                    break
        finally:
            self._seen.sni = getattr(self._tls, _SNI, None)
            with contextlib.suppress(ConnectionError):
                await self._flush()
        self._seen.alpn = self._tls.selected_alpn_protocol()

    async def recv(self) -> bytes:
        data = await self._recv()
        self._seen.clear_bytes += len(data)
        return data

    async def send(self, data: bytes) -> None:
        if self._tls is None:
            self._writer.write(data)
        else:
            self._tls.write(data)
            self._writer.write(self._outgoing.read())
        await self._writer.drain()

    def abort(self) -> None:
        """End the connection at once, without TLS goodbye: what a broken network does."""
        transport = self._writer.transport
        if isinstance(transport, asyncio.Transport):
            transport.abort()

    async def close(self) -> None:
        if self._tls is not None and not self._writer.is_closing():
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                self._tls.unwrap()
            with contextlib.suppress(ConnectionError):
                await self._flush()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _recv(self) -> bytes:
        if self._tls is None:
            early, self._early = self._early, b""
            return early or await self._read_raw()
        while True:
            try:
                return self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._feed():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def _read_raw(self) -> bytes:
        data = await self._reader.read(_READ_BYTES)
        self._seen.raw_bytes += len(data)
        return data

    async def _feed(self) -> bool:
        data = await self._read_raw()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return bool(data)

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            self._writer.write(data)
            await self._writer.drain()

    def _choose(self, tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        setattr(tls, _SNI, name)
        if name:
            tls.context = self._ca.server_context(name)

"""HTTP/2 for the lab: requests are read whole, each is answered in the pieces it was given, several at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError

from sallyport.lab.channel import Channel
from sallyport.lab.http1 import BadRequest, Head

type Serve = Callable[["Stream", Head, bytes], Awaitable[None]]


class Stream:
    """One request's way back. Its methods raise ConnectionError once the peer has given the stream up."""

    def __init__(self, connection: "Connection", number: int) -> None:
        self._connection = connection
        self._number = number
        self.given_up = asyncio.Event()

    async def send(self, status: int, headers: list[tuple[str, str]], pieces: AsyncIterator[bytes]) -> None:
        """Write an answer; header names in lower case, none of the connection."""
        http2 = self._connection.http2
        http2.send_headers(self._number, [(":status", str(status)), *headers])
        await self._connection.flush()
        async for piece in pieces:
            await self._data(piece)
        http2.end_stream(self._number)
        await self._connection.flush()

    async def reset(self) -> None:
        """Give the stream up, as a server does that fails inside."""
        with contextlib.suppress(ProtocolError):
            self._connection.http2.reset_stream(self._number, ErrorCodes.INTERNAL_ERROR)
        await self._connection.flush()

    async def _data(self, data: bytes) -> None:
        http2 = self._connection.http2
        while data:
            if self.given_up.is_set():
                raise ConnectionError("the stream was given up")
            room = min(http2.local_flow_control_window(self._number), http2.max_outbound_frame_size)
            if room <= 0:
                await self._connection.window()
                continue
            piece, data = data[:room], data[room:]
            http2.send_data(self._number, piece)
            await self._connection.flush()


@dataclass(slots=True)
class _Arriving:
    head: Head
    stream: Stream
    body: bytearray = field(default_factory=bytearray)


class Connection:
    """One connection, from its preface to its end."""

    def __init__(self, channel: Channel, serve: Serve) -> None:
        self._channel = channel
        self._serve = serve
        self._arriving: dict[int, _Arriving] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._opened = asyncio.Event()
        self._sending = asyncio.Lock()
        self.http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))

    async def run(self) -> None:
        """Answer requests until the peer goes. Raises BadRequest for bytes that are no HTTP/2."""
        self.http2.initiate_connection()
        await self.flush()
        try:
            while data := await self._channel.recv():
                try:
                    events = self.http2.receive_data(data)
                except ProtocolError as error:
                    await self.flush()
                    raise BadRequest(type(error).__name__) from None
                for event in events:
                    self._take(event)
                await self.flush()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def flush(self) -> None:
        async with self._sending:
            if data := self.http2.data_to_send():
                await self._channel.send(data)

    async def window(self) -> None:
        """Wait until the peer takes more."""
        self._opened.clear()
        await self._opened.wait()

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                number = event.stream_id
                self._arriving[number] = _Arriving(_head(event.headers), Stream(self, number))
            case DataReceived():
                self._arriving[event.stream_id].body += event.data
                self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                whole = self._arriving[event.stream_id]
                task = asyncio.ensure_future(self._answer(whole))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case StreamReset():
                if given_up := self._arriving.pop(event.stream_id, None):
                    given_up.stream.given_up.set()
                self._opened.set()
            case WindowUpdated():
                self._opened.set()
            case _:
                pass

    async def _answer(self, whole: _Arriving) -> None:
        with contextlib.suppress(ConnectionError, ProtocolError):
            await self._serve(whole.stream, whole.head, bytes(whole.body))


def _head(headers: object) -> Head:
    assert isinstance(headers, list)
    pairs = [(str(name), str(value)) for name, value in headers]
    pseudo = {name: value for name, value in pairs if name.startswith(":")}
    plain = [(name, value) for name, value in pairs if not name.startswith(":")]
    host = ("host", pseudo.get(":authority", ""))
    return Head(pseudo.get(":method", ""), pseudo.get(":path", ""), "HTTP/2", (host, *plain))

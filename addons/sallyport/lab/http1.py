"""HTTP/1.1 for the lab: read a request whole, write an answer in the pieces it was given.

Reads generously and records what came: whether a request is well formed is for the gateway to judge.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus

from sallyport.lab.channel import Channel

_MOST_HEAD_BYTES = 262_144
_MOST_BODY_BYTES = 256 * 1024 * 1024


class BadRequest(Exception):
    """The bytes are no HTTP/1.1 request. The text names the fault, never the bytes."""


@dataclass(frozen=True, slots=True)
class Head:
    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def keeps_alive(self) -> bool:
        asked = self.get("connection").lower()
        return "close" not in asked and (self.version == "HTTP/1.1" or "keep-alive" in asked)


class Requests:
    """Read requests one after the other. `unfinished` holds what has come of one that is not whole."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = b""
        self._taken = b""

    @property
    def unfinished(self) -> bytes:
        return self._taken + self._buffer

    def take_rest(self) -> bytes:
        """Return what has come after the last request, for whoever goes on in another protocol."""
        rest, self._buffer = self._buffer, b""
        return rest

    async def next(self) -> tuple[Head, bytes] | None:
        """Return the next request and its body; None at the end. Raises BadRequest."""
        self._taken = b""
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > _MOST_HEAD_BYTES:
                raise BadRequest("head too long")
            if not await self._more():
                return None
        head = _parse(await self._take(self._buffer.index(b"\r\n\r\n") + 4))
        if head.get("expect").lower() == "100-continue":
            await self._channel.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in head.get("transfer-encoding").lower():
            body = await self._chunks()
        else:
            length = head.get("content-length") or "0"
            if not length.isdigit() or int(length) > _MOST_BODY_BYTES:
                raise BadRequest("content-length")
            body = await self._take(int(length))
        self._taken = b""
        return head, body

    async def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            size_line = (await self._line()).partition(b";")[0].strip()
            try:
                size = int(size_line, 16)
            except ValueError:
                raise BadRequest("chunk size") from None
            if size == 0:
                while await self._line():
                    pass
                return bytes(body)
            if len(body) + size > _MOST_BODY_BYTES:
                raise BadRequest("body too long")
            body += await self._take(size)
            await self._take(2)

    async def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > _MOST_HEAD_BYTES or not await self._more():
                raise BadRequest("line not ended")
        return (await self._take(self._buffer.index(b"\r\n") + 2))[:-2]

    async def _take(self, size: int) -> bytes:
        pieces, missing = [self._buffer], size - len(self._buffer)
        while missing > 0:
            data = await self._channel.recv()
            if not data:
                self._buffer = b"".join(pieces)
                raise BadRequest("ended in the middle")
            pieces.append(data)
            missing -= len(data)
        whole = b"".join(pieces)
        self._buffer = whole[size:]
        self._taken += whole[:size]
        return whole[:size]

    async def _more(self) -> bool:
        data = await self._channel.recv()
        self._buffer += data
        return bool(data)


async def send(
    channel: Channel,
    status: int,
    headers: list[tuple[str, str]],
    pieces: AsyncIterator[bytes],
    *,
    length: int | None,
    head_only: bool = False,
) -> None:
    """Write an answer. length: bytes of the body, None for chunked coding."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Overloaded"
    framing = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in [*headers, framing])]
    await channel.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if head_only:
        return
    async for piece in pieces:
        if piece:
            await channel.send(piece if length is not None else b"%x\r\n%s\r\n" % (len(piece), piece))
    if length is None:
        await channel.send(b"0\r\n\r\n")


def _parse(raw: bytes) -> Head:
    lines = raw.decode("latin-1").removesuffix("\r\n\r\n").lstrip("\r\n").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest("request line")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest("header line")
        headers.append((name, value.strip()))
    return Head(parts[0], parts[1], parts[2], tuple(headers))

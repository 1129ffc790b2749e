"""A provider that answers at once: asyncio, TLS, HTTP/1.1 with keep-alive, canned chat answers.

Run by gateway.py, which ends it by closing its standard input. Prints its port as the first line. Where a second
argument names a file, the model of every request is a line of it, durable before the request is answered.
"""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from sallyport.lab.authority import LabCa

EVENTS = 60
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_MODEL = re.compile(rb'"model": ?"([^"]{1,200})"')
_GAP = re.compile(rb"bench-gap(\d+)")

_ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "gpt-4o-mini",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "The slow path is taken when the cache is cold. " * 8,
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 512, "completion_tokens": 80, "total_tokens": 592},
    }
).encode()
_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_ANSWER),
    _ANSWER,
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    payload = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


_PIECES = [
    _chunk(_event({"role": "assistant", "content": ""})),
    *(_chunk(_event({"content": f" word{number % 7}"})) for number in range(EVENTS - 3)),
    _chunk(_event({}, "stop")),
    _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
]


class Provider(asyncio.Protocol):
    """One connection. Requests are answered in order; no pipelining. record: file that models are written to."""

    def __init__(self, record: int | None) -> None:
        self._record = record
        self._recorded = False
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        model = _MODEL.search(self._buffer, end)
        if model is not None and not self._recorded:
            self._note(model[1])
        found = _LENGTH.search(self._buffer, 0, end)
        size = end + 4 + (int(found[1]) if found else 0)
        if len(self._buffer) < size:
            return
        found = _GAP.match(model[1]) if model is not None else None
        gap_s = int(found[1]) / 1000 if found else None
        del self._buffer[:size]
        self._recorded = False
        assert self._transport is not None
        if gap_s is None:
            self._transport.write(_WHOLE)
            return
        task = asyncio.get_running_loop().create_task(self._stream(gap_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _note(self, model: bytes) -> None:
        """Make durable that this request has come, also where the rest of it never does."""
        self._recorded = True
        if self._record is not None:
            os.write(self._record, model + b"\n")
            os.fdatasync(self._record)

    async def _stream(self, gap_s: float) -> None:
        assert self._transport is not None
        self._transport.write(_STREAM_HEAD)
        for piece in _PIECES:
            self._transport.write(piece)
            await asyncio.sleep(gap_s)


async def main(folder: Path, file: Path | None) -> None:
    """Serve on loopback until standard input ends."""
    loop = asyncio.get_running_loop()
    record = None if file is None else os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    context = LabCa(folder).server_context("api.openai.com")
    server = await loop.create_server(lambda: Provider(record), "127.0.0.1", 0, ssl=context, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))

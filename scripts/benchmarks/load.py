"""The load generator: a bare HTTP/1.1 client over TLS sockets, one event loop, nothing in between.

Run by gateway.py. Reads one JSON command per line, answers with one JSON line, ends with its input:
{"open": NAME, "port": .., "proxy": .., "ca": PATH, "connections": N} connects and sends one request on each.
{"run": NAME, "load": NAME, "connections": N, "seconds": S} sends as fast as answers come.
"""

import asyncio
import gc
import json
import random
import socket
import ssl
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from bodies import Load, loads

HOST = "api.openai.com"
_HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\naccept: application/json\r\n"
    b"user-agent: OpenAI/Python 2.0.0\r\nx-stainless-lang: python\r\nx-stainless-runtime: CPython\r\n"
    b"x-stainless-async: false\r\nauthorization: Bearer bench-not-a-key\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n"
)
_TIMEOUT_S = 30.0
_STREAM_STAGGER_S = 0.075
_numbers = count(1)


class Failure(Exception):
    """What the gateway or the stand-in did is not what is measured here."""


class Connection:
    """One keep-alive connection. ask() sends a request and calls done(seconds, seconds to the first body byte)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int, raw: socket.socket, ca: str) -> None:
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["http/1.1"])
        self._sock = context.wrap_socket(raw, server_hostname=HOST)
        self._sock.setblocking(False)
        self._loop = loop
        self._number = number
        self._buffer = bytearray()
        self._unsent = memoryview(b"")
        self._started = 0.0
        self._first = 0.0
        self._body_at = -1
        self._length: int | None = None
        self._done: Callable[[float, float], None] = lambda total, first: None
        self.failed: Callable[[Exception], None] = lambda error: None
        loop.add_reader(self._sock.fileno(), self._readable)

    def ask(self, load: Load, done: Callable[[float, float], None]) -> None:
        body = load.body(self._number, next(_numbers))
        self._done = done
        self._buffer.clear()
        self._body_at, self._length = -1, None
        self._started = time.perf_counter()
        self._unsent = memoryview(_HEAD % len(body) + body)
        self._write()

    def _write(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except ssl.SSLWantWriteError:
            self._loop.add_writer(self._sock.fileno(), self._write)
            return
        self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            while True:
                data = self._sock.recv(65536)
                if not data:
                    raise Failure("the connection was closed")
                self._buffer += data
        except ssl.SSLWantReadError:
            pass
        except Exception as error:
            self._loop.remove_reader(self._sock.fileno())
            self.failed(error)
            return
        try:
            self._look()
        except Failure as error:
            self.failed(error)

    def _look(self) -> None:
        if self._body_at < 0 and not self._head():
            return
        if not self._first_seen and len(self._buffer) > self._body_at:
            self._first = time.perf_counter()
        if self._length is None:
            whole = self._buffer.endswith(b"0\r\n\r\n")
        else:
            whole = len(self._buffer) >= self._body_at + self._length
        if whole:
            end = time.perf_counter()
            first, self._first = self._first, 0.0
            self._done(end - self._started, first - self._started)

    @property
    def _first_seen(self) -> bool:
        return self._first > 0.0

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            raise Failure(f"answered {bytes(self._buffer[:400])!r}")
        self._body_at = end + 4
        _, found, rest = head.partition(b"content-length:")
        self._length = int(rest.partition(b"\r\n")[0]) if found else None
        return True


def _dial(port: int, proxy: int | None, connect_to: str) -> socket.socket:
    """Connect to a port of this machine; through a proxy with CONNECT."""
    raw = socket.create_connection(("127.0.0.1", proxy or port), timeout=_TIMEOUT_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if proxy is not None:
        raw.sendall(f"CONNECT {connect_to} HTTP/1.1\r\nhost: {connect_to}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += raw.recv(4096)
        if b" 200 " not in answer.partition(b"\r\n")[0]:
            raise Failure(f"CONNECT was answered {answer[:100]!r}")
    return raw


async def drive(
    connections: list[Connection], load: Load, seconds: float, minimum: int, pause_s: float = 0.0
) -> dict[str, Any]:
    """Keep every connection busy for a while, and at least `minimum` requests in all; return the figures.

    pause_s: how long, on the average, a connection rests between an answer and its next request.
    """
    chance = random.Random(1)  # noqa: S311
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[None] = loop.create_future()
    totals: list[float] = []
    firsts: list[float] = []
    busy = len(connections)
    started = time.perf_counter()
    end = started + seconds

    def fail(error: Exception) -> None:
        if not finished.done():
            finished.set_exception(error)

    def start(connection: Connection) -> None:
        def done(total: float, first: float) -> None:
            nonlocal busy
            totals.append(total)
            firsts.append(first)
            if time.perf_counter() < end or len(totals) + busy <= minimum:
                if pause_s:
                    loop.call_later(chance.uniform(0.0, 2.0 * pause_s), connection.ask, load, done)
                else:
                    connection.ask(load, done)
                return
            busy -= 1
            if not busy and not finished.done():
                finished.set_result(None)

        connection.failed = fail
        connection.ask(load, done)

    for number, connection in enumerate(connections):
        # Streams all take the same time: begun together they would begin together for ever.
        loop.call_later(_STREAM_STAGGER_S * number if load.stream else 0.0, start, connection)
    await asyncio.wait_for(finished, seconds + _TIMEOUT_S)
    return {"elapsed": time.perf_counter() - started, "totals": totals, "firsts": firsts}


async def main() -> None:
    loop = asyncio.get_running_loop()
    known = loads()
    opened: dict[str, list[Connection]] = {}
    gc.disable()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            if "open" in command:
                sockets = [
                    await loop.run_in_executor(
                        None, _dial, command["port"], command["proxy"], command["connect_to"]
                    )
                    for _ in range(command["connections"])
                ]
                here = [Connection(loop, n, s, command["ca"]) for n, s in enumerate(sockets)]
                opened[command["open"]] = here
                answer = await drive(here, known["2k"], 0.0, 0)
            else:
                here = opened[command["run"]][: command["connections"]]
                load, seconds, pause_s = known[command["load"]], command["seconds"], command["pause_s"]
                answer = await drive(here, load, seconds, command["minimum"], pause_s)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
        gc.collect()


if __name__ == "__main__":
    asyncio.run(main())

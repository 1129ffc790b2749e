"""The lab itself: one port, every host, real TLS; each request recorded before it is answered."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import tempfile
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from sallyport.errors import OperatorError
from sallyport.lab import http2, provider, websocket
from sallyport.lab.authority import Fault, LabCa
from sallyport.lab.behaviour import Behaviour, behaviour_of
from sallyport.lab.channel import Channel
from sallyport.lab.http1 import BadRequest, Head, Requests, send
from sallyport.lab.record import Recorder, SeenConnection, SeenRequest, decode, now
from sallyport.lab.values import Incoming, Reply

LOOPBACK = ("127.0.0.1", "::1")
_TRIES = 20


class Address(NamedTuple):
    host: str
    port: int


class Answering(Protocol):
    """Who answers in the providers' place: `provider.py`, or what a test puts there."""

    def model_of(self, request: Incoming, /) -> str: ...

    def answer(self, request: Incoming, /) -> Reply: ...


class _Cut(Exception):
    """The answer is to be broken off here."""


class Lab:
    """Stand-in providers on local addresses.

    hosts: addresses to bind; of the loopback pair, one that the machine lacks is left out. port: 0 for any,
    the same on all addresses. folder: where the authority and scratch files lie, a temporary one if None.
    record: JSON-lines file of all that is seen. keep: whether requests stay in memory too.
    fault: what is wrong with the certificates. alpn: what is spoken, best first; h2 is understood.
    answering: who answers, the stand-ins of this package if None.
    """

    def __init__(
        self,
        *,
        hosts: tuple[str, ...] = LOOPBACK,
        port: int = 0,
        folder: Path | None = None,
        record: Path | None = None,
        keep: bool = True,
        fault: Fault | None = None,
        alpn: tuple[str, ...] = ("http/1.1",),
        answering: Answering | None = None,
    ) -> None:
        self._hosts = hosts
        self._wanted_port = port
        self._scratch = None if folder else Path(tempfile.mkdtemp(prefix="sallyport-lab-"))
        self.ca = LabCa(folder or self._scratch or Path(), alpn=alpn, fault=fault)
        self._answering: Answering = answering or provider
        self._recorder = Recorder(record, keep=keep)
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.addresses: tuple[Address, ...] = ()

    @property
    def requests(self) -> list[SeenRequest]:
        """Every complete request, in the order of arrival."""
        return self._recorder.requests

    @property
    def connections(self) -> list[SeenConnection]:
        return self._recorder.connections

    @property
    def port(self) -> int:
        return self.addresses[0].port

    @property
    def bytes_received(self) -> int:
        """Clear bytes that arrived on all connections, whether or not a request became whole."""
        return sum(connection.clear_bytes for connection in self.connections)

    @property
    def raw_bytes_received(self) -> int:
        """Bytes that arrived over TCP, TLS handshakes included."""
        return sum(connection.raw_bytes for connection in self.connections)

    def forget(self) -> None:
        """Start counting anew: drop the requests and connections seen so far."""
        self._recorder.forget()

    async def start(self) -> tuple[Address, ...]:
        """Listen, and return the addresses. Raises OperatorError if none can be bound."""
        for last in range(_TRIES - 1, -1, -1):
            try:
                self._servers = await self._listen()
            except OSError as error:
                if (
                    self._wanted_port or not last
                ):  # a free port on one family may be taken on the other: try again
                    raise OperatorError(
                        f"lab {'/'.join(self._hosts)} port {self._wanted_port}",
                        f"it cannot listen there ({error.strerror})",
                        "Choose another --port or --host.",
                        exit_code=3,
                    ) from error
            else:
                break
        listeners = [listener for server in self._servers for listener in server.sockets]
        self.addresses = tuple(Address(*listener.getsockname()[:2]) for listener in listeners)
        return self.addresses

    async def stop(self) -> None:
        """Stop listening, end all connections, and remove scratch files."""
        for server in self._servers:
            server.close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._servers.clear()
        self._recorder.close()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Run in a thread with its own event loop, for callers that are not async."""
        ready: threading.Event = threading.Event()
        failure: list[BaseException] = []
        loop = asyncio.new_event_loop()
        done = asyncio.Event()

        async def run() -> None:
            try:
                await self.start()
            except OperatorError as error:
                failure.append(error)
                return
            finally:
                ready.set()
            await done.wait()
            await self.stop()

        thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="lab", daemon=True)
        thread.start()
        ready.wait()
        try:
            if failure:
                raise failure[0]
            yield self
        finally:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)
            thread.join()
            loop.close()

    async def _listen(self) -> list[asyncio.Server]:
        servers: list[asyncio.Server] = []
        port = self._wanted_port
        try:
            for host in self._hosts:
                try:
                    server = await asyncio.start_server(self._serve, host, port, backlog=512)
                except OSError:
                    if host == "::1" and servers and not _has_ipv6():
                        continue
                    raise
                servers.append(server)
                port = server.sockets[0].getsockname()[1]
        except OSError:
            for server in servers:
                server.close()
            raise
        return servers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer, local = (_address(writer.get_extra_info(name)) for name in ("peername", "sockname"))
        seen = self._recorder.opened(peer, local)
        channel = Channel(reader, writer, self.ca, seen)
        requests = Requests(channel)
        try:
            await channel.start()
            if seen.alpn == "h2":
                await http2.Connection(channel, partial(self._serve_http2, seen)).run()
            else:
                await self._converse(channel, requests, seen)
        except (ssl.SSLError, ConnectionError, BadRequest) as error:
            seen.trouble = getattr(error, "reason", None) or str(error) or type(error).__name__
            channel.abort()
        except _Cut:
            channel.abort()
        except asyncio.CancelledError:
            channel.abort()
        finally:
            seen.unfinished = requests.unfinished
            await channel.close()
            self._recorder.closed(seen)
            self._tasks.discard(task)

    async def _converse(self, channel: Channel, requests: Requests, seen: SeenConnection) -> None:
        while found := await requests.next():
            head, body = found
            request = _seen_request(head, body, seen)
            self._recorder.seen(seen, request)
            if websocket.is_upgrade(head):
                said = partial(self._heard, seen, request)
                await websocket.converse(channel, head, requests.take_rest(), said)
                return
            incoming = _incoming(request)
            behaviour = behaviour_of(self._answering.model_of(incoming))
            if behaviour.reset:
                raise _Cut
            if behaviour.hang:
                while await channel.recv():
                    pass
                return
            answered = self._answering.answer(incoming)
            await _respond(channel, head, answered, behaviour, len(self._recorder.requests))
            if not head.keeps_alive:
                return

    def _heard(self, seen: SeenConnection, upgrade: SeenRequest, message: bytes) -> None:
        """Record a message on a WebSocket as a request of the method `MESSAGE`."""
        self._recorder.seen(seen, replace(upgrade, at=now(), method="MESSAGE", headers=(), body=message))

    async def _serve_http2(self, seen: SeenConnection, stream: http2.Stream, head: Head, body: bytes) -> None:
        request = _seen_request(head, body, seen)
        self._recorder.seen(seen, request)
        incoming = _incoming(request)
        behaviour = behaviour_of(self._answering.model_of(incoming))
        if behaviour.hang:
            await stream.given_up.wait()
            return
        try:
            if behaviour.reset:
                raise _Cut
            reply = self._answering.answer(incoming)
            pieces, coding = _cut_and_code(reply, behaviour)
            headers = _headers(reply, len(self._recorder.requests), coding)
            await stream.send(reply.status, headers, _paced(pieces, behaviour))
        except _Cut:
            await stream.reset()


async def _respond(channel: Channel, head: Head, reply: Reply, behaviour: Behaviour, number: int) -> None:
    pieces, coding = _cut_and_code(reply, behaviour)
    headers = _headers(reply, number, coding)
    if not head.keeps_alive:
        headers.append(("connection", "close"))
    await send(
        channel,
        reply.status,
        headers,
        _paced(pieces, behaviour),
        length=None if reply.streamed else sum(map(len, pieces)),
        head_only=head.method == "HEAD",
    )


def _headers(reply: Reply, number: int, coding: str | None) -> list[tuple[str, str]]:
    request_id = f"req_lab_{number}"
    headers = [
        ("content-type", reply.content_type),
        ("server", "lab"),
        ("x-request-id", request_id),
        ("request-id", request_id),
        *reply.headers,
    ]
    return [*headers, ("content-encoding", coding)] if coding else headers


def _cut_and_code(reply: Reply, behaviour: Behaviour) -> tuple[list[bytes], str | None]:
    pieces, coding = [*reply.pieces], None
    if behaviour.gzip:
        coding = "gzip"
        packer = zlib.compressobj(wbits=31)
        pieces = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
        pieces.append(packer.flush())
    if behaviour.piece_bytes:
        whole = b"".join(pieces)
        pieces = [
            whole[start : start + behaviour.piece_bytes]
            for start in range(0, len(whole), behaviour.piece_bytes)
        ]
    return pieces, coding


async def _paced(pieces: list[bytes], behaviour: Behaviour) -> AsyncIterator[bytes]:
    """Yield the pieces, each after its delay; raise _Cut where the answer is to break off."""
    last = len(pieces) // 2 if behaviour.cut_after == -1 else behaviour.cut_after
    for number, piece in enumerate(pieces):
        if number == last:
            if len(pieces) == 1:
                yield piece[: len(piece) // 2]
            raise _Cut
        await asyncio.sleep(behaviour.delay_s)
        yield piece


def _seen_request(head: Head, body: bytes, seen: SeenConnection) -> SeenRequest:
    return SeenRequest(
        at=now(),
        connection=seen.id,
        sni=seen.sni,
        host=_host(head.get("host")),
        method=head.method,
        path=head.target,
        http=head.version,
        headers=head.headers,
        body=body,
    )


def _incoming(request: SeenRequest) -> Incoming:
    path, _, query = request.path.partition("?")
    headers = {name.lower(): value for name, value in request.headers}
    body = decode(request.body, headers.get("content-encoding", ""))
    return Incoming(request.host, request.method, path, query, headers, body)


def _host(value: str) -> str:
    name, colon, port = value.lower().rpartition(":")
    return name if colon and port.isdigit() else value.lower()


def _address(name: tuple[str, int] | None) -> str:
    return f"{name[0]} {name[1]}" if name else "unknown"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True

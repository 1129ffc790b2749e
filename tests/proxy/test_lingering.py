"""A closed connection whose peer takes nothing is reset; one whose peer takes some of it goes on."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import rawclient
from e2e.traffic import eventually
from gateways import OPEN_POLICY
from listening import serve_each
from proxy.conftest import inner_gateway_in_thread
from sallyport.proxy import dial, lingering

MUCH = bytes(8 * 1024 * 1024)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "PATIENCE_S", 0.2)


@asynccontextmanager
async def closed_with_much_to_send() -> AsyncIterator[tuple[asyncio.StreamWriter, socket.socket]]:
    """Yield a closed connection that has more to send than buffers on the way hold, and its peer."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        _, writer = await asyncio.open_connection(sock=ours)
        writer.write(MUCH)
        writer.close()
        yield writer, theirs


async def test_what_nobody_takes_is_thrown_away() -> None:
    async with closed_with_much_to_send() as (writer, _):
        lingering.until_sent(writer.transport)
        async with asyncio.timeout(10):
            await writer.wait_closed()
        assert writer.transport.get_write_buffer_size() == 0


async def test_what_is_taken_little_by_little_arrives_whole() -> None:
    async with closed_with_much_to_send() as (writer, theirs):
        lingering.until_sent(writer.transport)
        loop, came = asyncio.get_running_loop(), 0
        while piece := await loop.sock_recv(theirs, 1024 * 1024):
            came += len(piece)
            await asyncio.sleep(0.05)
        assert came == len(MUCH)


async def test_a_connection_of_a_task_is_looked_after_when_the_task_says_that_it_has_ended() -> None:
    async with closed_with_much_to_send() as (writer, _):
        lingering.opened(writer)
        lingering.ended()
        lingering.ended()  # nothing more to look after
        async with asyncio.timeout(10):
            await writer.wait_closed()


# -- in a gateway --------------------------------------------------------------------------------------

HOST = "api.openai.com"
LONG = b'{"model": "gpt-lab", "messages": [{"role": "user", "content": "%s"}]}' % (b"word " * 1_400_000)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.WriteTransport]:
    """The transports that were looked after."""
    found: list[asyncio.WriteTransport] = []
    look = lingering.until_sent

    def until_sent(transport: asyncio.WriteTransport, before: int | None = None) -> None:
        if transport.get_write_buffer_size():
            found.append(transport)
        look(transport, before)

    monkeypatch.setattr(lingering, "until_sent", until_sent)
    return found


def let_go(seen: list[asyncio.WriteTransport]) -> bool:
    return bool(seen) and not any(transport.get_write_buffer_size() for transport in seen)


def test_a_provider_that_stops_reading_keeps_nothing_of_a_client_that_has_gone(
    tmp_path: Path, seen: list[asyncio.WriteTransport]
) -> None:
    held: list[socket.socket] = []
    with inner_gateway_in_thread(tmp_path, policy=f"{OPEN_POLICY}mode: observe\n") as gateway:

        def deaf(raw: socket.socket) -> None:
            sock = gateway.lab.ca.server_context(HOST).wrap_socket(raw, server_side=True)
            sock.recv(100)
            held.append(sock)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            serve_each(listener, deaf)
            dial.dialing.connect_to[HOST, 443] = listener.getsockname()[:2]
            with rawclient.tls(gateway.connect(HOST), HOST, gateway.confdir / "ca-cert.pem") as client:
                client.sendall(rawclient.post("/v1/chat/completions", LONG, HOST))
                eventually(lambda: held, 20, "the provider has the beginning")
            eventually(lambda: let_go(seen), 20, "the rest is thrown away")
        for sock in held:
            sock.close()


def test_a_client_that_reads_nothing_keeps_nothing_of_an_answer_once_its_connection_is_closed(
    tmp_path: Path, seen: list[asyncio.WriteTransport]
) -> None:
    policy = f"{OPEN_POLICY}mode: observe\ntransport: {{idle_timeout_s: 1}}\n"
    with inner_gateway_in_thread(tmp_path, policy=policy) as gateway:
        client = rawclient.tls(gateway.connect(HOST), HOST, gateway.confdir / "ca-cert.pem")
        client.sendall(rawclient.post("/v1/chat/completions", LONG, HOST))
        eventually(lambda: let_go(seen), 30, "the rest is thrown away")
        client.close()

"""The lean replacements answer as mitmproxy's own code does, and keep the order of bytes and hooks."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import hooks, http
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, server
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpRequestHook
from mitmproxy.test import tflow

from sallyport.proxy import core, lean

core.install()

_NAMES = st.sampled_from([b"Host", b"host", b"HOST", b"Accept", b"x-\xff", b""])
_FIELDS = st.lists(st.tuples(_NAMES, st.binary(max_size=4)), max_size=6).map(tuple)
_ASKED = st.sampled_from(["host", "Host", "accept", "x-\udcff", "", "none", b"hOST", b"x-\xff"])


def outcome(function: Any, *arguments: Any) -> object:
    try:
        return function(*arguments)
    except (KeyError, TypeError) as error:
        return type(error)


@given(_FIELDS, _ASKED)
def test_headers_answer_as_stock(fields: tuple[tuple[bytes, bytes], ...], name: str | bytes) -> None:
    ours, theirs = http.Headers(fields), http.Headers(fields)
    assert ours.get_all(name) == core.STOCK["Headers", "get_all"](theirs, name)
    assert outcome(lean.get_item, ours, name) == outcome(core.STOCK["Headers", "__getitem__"], theirs, name)
    assert outcome(lean.delete_item, ours, name) == outcome(
        core.STOCK["Headers", "__delitem__"], theirs, name
    )
    assert ours.fields == theirs.fields


@pytest.mark.parametrize("name", [1, None])
def test_a_header_name_of_another_type_is_an_error(name: Any) -> None:
    with pytest.raises(TypeError):
        lean.get_all(http.Headers(((b"a", b"b"),)), name)


def test_the_arguments_of_a_hook_are_its_fields() -> None:
    for hook in (HttpRequestHook(tflow.tflow()), hooks.ConfigureHook({"a"}), hooks.RunningHook()):
        assert hook.args() == core.STOCK["Hook", "args"](hook)


def test_a_forked_context_shares_all_but_its_layers() -> None:
    client = Client(peername=("192.0.2.1", 1), sockname=("192.0.2.2", 2))
    context = Context(client, Options())
    context.layers.append("one")  # type: ignore[arg-type]
    ours, theirs = context.fork(), core.STOCK["Context", "fork"](context)
    assert vars(ours) == vars(theirs)
    assert ours.layers is not context.layers


class Writer:
    def __init__(self, seen: list[object]) -> None:
        self._seen = seen

    def write(self, data: bytes) -> None:
        self._seen.append(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self._seen.append("closed")


class Script:
    """A layer that yields what a test tells it to, event by event."""

    def __init__(self, *turns: list[commands.Command]) -> None:
        self._turns = list(turns)
        self.events: list[events.Event] = []

    def handle_event(self, event: events.Event) -> Iterator[commands.Command]:
        self.events.append(event)
        if self._turns:
            turn = self._turns.pop(0)
            for command in turn:
                if isinstance(command, Crash):
                    raise RuntimeError("as told")
                yield command


class Crash(commands.Command):
    pass


class Handler(server.ConnectionHandler):
    """A connection without a network; hooks take a breath where they are told to."""

    def __init__(self, script: Script, *, slow_hooks: bool = False) -> None:
        client = Client(peername=("192.0.2.1", 1), sockname=("192.0.2.2", 2), state=ConnectionState.OPEN)
        super().__init__(Context(client, Options()))
        self.seen: list[object] = []
        self._slow = slow_hooks
        self.layer = script  # type: ignore[assignment]
        self.transports = {client: server.ConnectionIO(writer=Writer(self.seen))}  # type: ignore[arg-type]

    async def handle_hook(self, hook: commands.StartHook) -> None:
        self.seen.append(type(hook).__name__)
        if self._slow:
            await asyncio.sleep(0)
        self.seen.append("done")

    def log(self, message: str, *rest: Any, **more: Any) -> None:
        self.seen.append(message)


def in_eager_loop(handler: Handler, *given_events: events.Event) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        for event in given_events:
            await handler.server_event(event)
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize("slow_hooks", [False, True])
def test_a_hook_sees_what_was_sent_before_it_and_nothing_after(slow_hooks: bool) -> None:
    handler = Handler(script := Script(), slow_hooks=slow_hooks)
    hook = HttpRequestHook(tflow.tflow())
    script._turns = [
        [commands.SendData(handler.client, b"a"), commands.SendData(handler.client, b"b"), hook],
        [commands.SendData(handler.client, b"c")],
    ]
    in_eager_loop(handler, events.Start())
    assert handler.seen == [b"ab", "HttpRequestHook", "done", b"c"]
    assert [type(e).__name__ for e in script.events] == ["Start", "HookCompleted"]


def test_bytes_go_out_before_a_connection_is_closed() -> None:
    handler = Handler(script := Script())
    closed: list[object] = []
    handler.close_connection = lambda *a: closed.append([*handler.seen])  # type: ignore[method-assign,assignment]
    script._turns = [
        [commands.SendData(handler.client, b"last"), commands.CloseConnection(handler.client)],
    ]
    in_eager_loop(handler, events.Start())
    assert closed == [[b"last"]]


def test_a_layer_that_crashes_has_sent_what_it_said_before_and_later_events_still_arrive() -> None:
    handler = Handler(script := Script())
    script._turns = [[commands.SendData(handler.client, b"a"), Crash()]]
    in_eager_loop(handler, events.Start(), events.ConnectionClosed(handler.client))
    assert handler.seen == ["mitmproxy has crashed!", b"a", "closed"]
    assert len(script.events) == 2


def test_data_for_a_connection_that_is_gone_is_dropped() -> None:
    handler = Handler(script := Script())
    script._turns = [[commands.SendData(handler.client, b"a")]]
    handler.transports.clear()
    in_eager_loop(handler, events.Start())
    assert handler.seen == []

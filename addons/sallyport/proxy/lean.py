"""What mitmproxy's core does for every message, done with less: the same answers, the same order, less work.

Nothing here decides anything. The replacements of plain functions return what stock returns. The last one,
server_event, keeps the order of all bytes and all hooks; it joins what one event sends to one connection into
one write, and it goes on at once after a hook that did not have to wait, instead of by way of a new task.
See docs/performance.md for what each is worth.
"""

import asyncio
import dataclasses
import logging
from collections import deque

from mitmproxy import flow, hooks, http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, mode_servers, server
from mitmproxy.proxy.context import Context
from mitmproxy.utils import asyncio_utils

_tasks: set["asyncio.Task[None]"] = set()
_argument_names: dict[type[hooks.Hook], tuple[str, ...]] = {}


# -- headers -------------------------------------------------------------------------------------------


def _key(name: str | bytes) -> bytes:
    if isinstance(name, str):
        return name.encode("utf-8", "surrogateescape").lower()
    if isinstance(name, bytes):
        return name.lower()
    raise TypeError(f"Expected str or bytes, but got {type(name).__name__}.")


def get_all(self: http.Headers, name: str | bytes) -> list[str]:
    """Return the values of a header. Stock asks four functions for every name in the message."""
    key = _key(name)
    return [value.decode("utf-8", "surrogateescape") for k, value in self.fields if k.lower() == key]


def get_item(self: http.Headers, name: str | bytes) -> str:
    """Return the values of a header, joined; raise KeyError without one."""
    values = get_all(self, name)
    if not values:
        raise KeyError(name)
    return values[0] if len(values) == 1 else ", ".join(values)


def delete_item(self: http.Headers, name: str | bytes) -> None:
    """Remove a header in all its spellings; raise KeyError without one."""
    key = _key(name)
    left = tuple(field for field in self.fields if field[0].lower() != key)
    if len(left) == len(self.fields):
        raise KeyError(name)
    self.fields = left


# -- messages and hooks --------------------------------------------------------------------------------


def no_type_check(self: http.MessageData) -> None:
    """Trust the types of what mitmproxy's own parser has just made; stock looks at each field by reflection."""


def hook_arguments(self: hooks.Hook) -> list[object]:
    """Return the arguments of a hook, with the names of its fields looked up once per class."""
    names = _argument_names.get(type(self))
    if names is None:
        names = tuple(field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]
        _argument_names[type(self)] = names
    return [getattr(self, name) for name in names]


def fork(self: Context) -> Context:
    """Return a copy of a context with layers of its own; stock makes a server, with an id, only to drop it."""
    copy = object.__new__(Context)
    copy.client, copy.server, copy.options = self.client, self.server, self.options
    copy.layers = self.layers.copy()
    return copy


async def handle_hook(self: mode_servers.ProxyConnectionHandler, hook: commands.StartHook) -> None:
    """Run a hook with the idle time-out switched off; stock goes through three more coroutines for it."""
    watchdog = self.timeout_watchdog
    watchdog.can_timeout.clear()
    watchdog.blocker += 1
    try:
        await self.master.addons.trigger_event(hook)
        (data,) = hook_arguments(hook)
        if isinstance(data, flow.Flow) and data.intercepted:
            await data.wait_for_resume()
    finally:
        watchdog.blocker -= 1
        if watchdog.blocker == 0:
            watchdog.register_activity()
            watchdog.can_timeout.set()


# -- the event loop's side of a connection -------------------------------------------------------------


class _Turn:
    """One event and what follows from it while the connection's lock is held."""

    __slots__ = ("_connection", "_handler", "_unsent", "now_running", "pending")

    def __init__(self, handler: server.ConnectionHandler, event: events.Event) -> None:
        self._handler = handler
        self._connection: Connection | None = None
        self._unsent: list[bytes] = []
        self.pending = deque((event,))
        self.now_running: commands.StartHook | None = None

    def run(self) -> None:
        """Handle the event, and the completion of each hook that completed at once."""
        handler = self._handler
        while self.pending:
            try:
                for command in handler.layer.handle_event(self.pending.popleft()):
                    if type(command) is commands.SendData:
                        self._send(command)
                    elif type(command) is commands.Log:
                        handler.log(command.message, command.level)  # what is unsent may wait for it
                    else:
                        self._flush()
                        self._obey(command)
            except Exception:
                handler.log("mitmproxy has crashed!", logging.ERROR, exc_info=True)
                self._flush()
                self._hang_up()
            self._flush()

    def _hang_up(self) -> None:
        """End the client's connection: a layer that crashed answers nobody, and stock lets its client wait."""
        transport = self._handler.transports.get(self._handler.client)
        if transport is not None and transport.writer is not None:
            transport.writer.close()

    def _send(self, command: commands.SendData) -> None:
        if command.connection is not self._connection:
            self._flush()
            if command.connection not in self._handler.transports:
                return  # The connection has been closed already.
            self._connection = command.connection
        self._unsent.append(command.data)

    def _flush(self) -> None:
        if self._connection is None:
            return
        transport = self._handler.transports.get(self._connection)
        data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
        self._connection = None
        self._unsent.clear()
        if transport is not None and transport.writer is not None and not transport.writer.is_closing():
            transport.writer.write(data)

    def _obey(self, command: commands.Command) -> None:
        handler = self._handler
        match command:
            case commands.StartHook():
                self._start_hook(command)
            case commands.OpenConnection():
                assert command.connection not in handler.transports
                task = asyncio_utils.create_task(
                    handler.open_connection(command),
                    name="server connection handler",
                    keep_ref=False,
                    client=handler.client.peername,
                )
                handler.transports[command.connection] = server.ConnectionIO(handler=task)
            case commands.RequestWakeup():
                timer = asyncio_utils.create_task(
                    handler.wakeup(command),
                    name="wakeup timer",
                    keep_ref=False,
                    client=handler.client.peername,
                )
                handler.wakeup_timer.add(timer)
            case commands.ConnectionCommand() if command.connection not in handler.transports:
                pass  # The connection has been closed already.
            case commands.SendData():
                self._send(command)
            case commands.CloseTcpConnection():
                handler.close_connection(command.connection, command.half_close)
            case commands.CloseConnection():
                handler.close_connection(command.connection, False)
            case _:
                raise RuntimeError(f"Unexpected command: {type(command).__name__}")

    def _start_hook(self, hook: commands.StartHook) -> None:
        """Start a hook as a task. The host's loop starts tasks eagerly, so most are done when this returns."""
        self.now_running = hook
        task = asyncio.get_running_loop().create_task(self._hook(hook))
        self.now_running = None
        if not task.done():
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    async def _hook(self, hook: commands.StartHook) -> None:
        await self._handler.handle_hook(hook)
        if not hook.blocking:
            return
        if self.now_running is hook:
            self.pending.append(events.HookCompleted(hook))
        else:
            await self._handler.server_event(events.HookCompleted(hook))


async def server_event(self: server.ConnectionHandler, event: events.Event) -> None:
    """Replace ConnectionHandler.server_event. One event at a time per connection, as there."""
    async with self._server_event_lock:
        self.timeout_watchdog.register_activity()
        _Turn(self, event).run()

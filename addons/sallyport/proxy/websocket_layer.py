"""WebSocket frames in mitmproxy's core: messages joined, bounded, judged one after the other, and only then sent.

Replaces mitmproxy.proxy.layers.websocket.WebsocketLayer, which forwards a message when the hook that should judge it
raises, joins without a bound, keeps every message, and passes pings and reasons of a close as they are.
Here a message that nobody judged goes nowhere and both sides are closed.
"""

import time
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from mitmproxy.connection import Connection
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket as stock
from wsproto import ConnectionType
from wsproto import events as ws
from wsproto.connection import Connection as WsConnection
from wsproto.connection import ConnectionState
from wsproto.frame_protocol import CloseReason

from sallyport.proxy.gate import gate
from sallyport.proxy.layers import abort_connection

StockLayer = stock.WebsocketLayer

NORMAL, GOING_AWAY, PROTOCOL, NO_STATUS, ABNORMAL = 1000, 1001, 1002, 1005, 1006
POLICY, TOO_BIG, INTERNAL, RESTART = 1008, 1009, 1011, 1012

MAX_PINGS_PER_S = 20
MAX_FRAGMENTS = 4_096
QUEUE_FACTOR = 2
"""How many of the largest messages may wait while one is judged, before both connections are reset."""

_OPEN = (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING)


@dataclass(slots=True)
class SocketSettings:
    """What the layer needs to know of the policy, replaced in place at start and reload."""

    max_message_bytes: int = 4 * 1024 * 1024
    max_messages_per_s: int = 500


settings = SocketSettings()

opened: "WeakSet[HTTPFlow]" = WeakSet()
"""Flows whose upgrade was judged and answered soundly; any other WebSocket is closed before its first byte."""


@dataclass(slots=True)
class Outcome:
    """What becomes of a message. onward: to the other side, as text unless binary; back: texts to its sender.

    close: code with which both sides are closed after that, 0 for none. wake_s: ask again after so many seconds.
    """

    onward: list[bytes] = field(default_factory=list)
    back: list[bytes] = field(default_factory=list)
    close: int = 0
    binary: bool = False
    wake_s: float | None = None


@dataclass(slots=True, eq=False)
class SocketMessage:
    """A whole message before its verdict. outcome: None means that there is none, so that nothing goes on."""

    flow: HTTPFlow
    from_client: bool
    is_text: bool
    content: bytes = field(repr=False)
    outcome: Outcome | None = None


@dataclass(slots=True, eq=False)
class SocketWake:
    """Something that is held has waited long enough. outcome: as of a message of the provider's."""

    flow: HTTPFlow
    outcome: Outcome | None = None


@dataclass(slots=True, eq=False)
class SocketEnd:
    """The end of a session. code: what was said or happened; by_client: who ended it, None for the gateway.

    reason: the provider's, which may be changed. last: texts the client still gets. client_code: what it is told in
    place of code and reason, 0 for the same.
    """

    flow: HTTPFlow
    by_client: bool | None
    code: int
    reason: str = field(default="", repr=False)
    last: list[bytes] = field(default_factory=list)
    client_code: int = 0


@dataclass
class SocketMessageHook(commands.StartHook):
    """A message waits for its verdict. Not mitmproxy's own hook: no other addon gets to see it."""

    message: SocketMessage


@dataclass
class SocketWakeHook(commands.StartHook):
    """What the provider said and what is held may have to go on."""

    wake: SocketWake


@dataclass
class SocketEndHook(commands.StartHook):
    """A session ends; what is still held may be said."""

    end: SocketEnd


class _Side:
    """One end of the session: its frames, and the message that is being joined."""

    def __init__(self, role: ConnectionType, conn: Connection) -> None:
        self.ws = WsConnection(role)
        self.conn = conn
        self._joined = bytearray()
        self._fragments = 0
        self._second = 0
        self._messages = 0
        self._pings = 0

    def send(self, event: ws.Event) -> layer.CommandGenerator[None]:
        if self.ws.state in _OPEN:
            yield commands.SendData(self.conn, bytes(self.ws.send(event)))

    def text(self, data: bytes) -> layer.CommandGenerator[None]:
        if self.ws.state is ConnectionState.OPEN:
            yield from self.send(ws.TextMessage(data.decode("utf-8")))

    def take(self, event: ws.Message[Any]) -> bool:
        """Add a piece of a message; False if it has become too long. A fragment arrives in any number of pieces."""
        self._joined += event.data.encode("utf-8") if isinstance(event.data, str) else event.data
        self._fragments += event.frame_finished
        return len(self._joined) <= settings.max_message_bytes and self._fragments <= MAX_FRAGMENTS

    def whole(self) -> bytes:
        content = bytes(self._joined)
        self._joined, self._fragments = bytearray(), 0
        return content

    def is_flooding(self, *, ping: bool) -> bool:
        """Count a message or a ping; say whether there are too many of them in this second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._messages, self._pings = second, 0, 0
        self._messages += not ping
        self._pings += ping
        return self._pings > MAX_PINGS_PER_S or self._messages > settings.max_messages_per_s


class GuardedWebsocketLayer(layer.Layer):
    """One WebSocket, both ways. Messages are judged in the order in which they came, one at a time."""

    def __init__(self, context: Context, flow: HTTPFlow) -> None:
        super().__init__(context)
        self.flow = flow
        self._client = _Side(ConnectionType.SERVER, context.client)
        self._server = _Side(ConnectionType.CLIENT, context.server)
        self._ended = self._overflown = self._wakes = False
        self._queued: dict[int, int] = {}
        self._queued_bytes = 0

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Bound what waits while a message is judged: the core reads on and queues without a limit."""
        if self._paused and isinstance(event, events.DataReceived):
            self._queued[id(event)] = len(event.data)
            self._queued_bytes += len(event.data)
            if self._queued_bytes > QUEUE_FACTOR * settings.max_message_bytes:
                self._overflown = True
                abort_connection(self.context.client, self.context.server)
                abort_connection(self.context.client)
                return
        yield from super().handle_event(event)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            self._queued_bytes -= self._queued.pop(id(event), 0)
        if self._ended:
            return
        if isinstance(event, events.Start):
            if self.flow not in opened or not gate.admitted(self.flow):
                yield from self._close(POLICY)
        elif isinstance(event, events.Wakeup):
            self._wakes = False
            wake = SocketWake(self.flow)
            yield SocketWakeHook(wake)
            yield from self._obey(wake.outcome, from_client=False)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._lost(event.connection is self.context.client)
        elif isinstance(event, events.DataReceived) and not self._overflown:
            yield from self._received(event.connection is self.context.client, event.data)

    # -- what comes ----------------------------------------------------------------------------------

    def _received(self, from_client: bool, data: bytes) -> layer.CommandGenerator[None]:
        side = self._client if from_client else self._server
        side.ws.receive_data(data)
        arriving = side.ws.events()
        while not self._ended:
            try:
                event = next(arriving, None)
            except Exception:
                # The border to the frame parser: what it cannot read is a breach of the protocol.
                yield from self._close(PROTOCOL)
                return
            if event is None:
                return
            yield from self._one(from_client, side, event)

    def _one(self, from_client: bool, side: _Side, event: ws.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, ws.Message):
            if not side.take(event):
                yield from self._close(TOO_BIG)
            elif event.message_finished:
                if from_client and side.is_flooding(ping=False):
                    yield from self._close(POLICY)
                    return
                yield from self._judge(from_client, isinstance(event, ws.TextMessage), side.whole())
        elif isinstance(event, ws.Ping):
            # What a ping holds stays here: it is answered, and the other side gets an empty one.
            if side.is_flooding(ping=True):
                yield from self._close(POLICY)
                return
            yield from side.send(event.response())
            yield from (self._server if from_client else self._client).send(ws.Ping())
        elif isinstance(event, ws.CloseConnection):
            yield from self._closed_by(from_client, side, event)

    def _judge(self, from_client: bool, is_text: bool, content: bytes) -> layer.CommandGenerator[None]:
        message = SocketMessage(self.flow, from_client, is_text, content)
        yield SocketMessageHook(message)
        yield from self._obey(message.outcome, from_client=from_client)

    def _obey(self, outcome: Outcome | None, *, from_client: bool) -> layer.CommandGenerator[None]:
        if outcome is None or not gate.admitted(self.flow) or self.flow.error is not None:
            yield from self._close(INTERNAL)
            return
        sender, other = (self._client, self._server) if from_client else (self._server, self._client)
        for data in outcome.onward:
            if outcome.binary:
                yield from other.send(ws.BytesMessage(data))
            else:
                yield from other.text(data)
        for data in outcome.back:
            yield from sender.text(data)
        if outcome.close:
            yield from self._close(outcome.close)
        elif outcome.wake_s is not None and not self._wakes:
            self._wakes = True
            yield commands.RequestWakeup(outcome.wake_s)

    # -- ends ----------------------------------------------------------------------------------------

    def _closed_by(
        self, from_client: bool, side: _Side, event: ws.CloseConnection
    ) -> layer.CommandGenerator[None]:
        """Pass on the code of a close, and the provider's reason for it; a client's reason nobody has scanned."""
        if side.ws.state is not ConnectionState.REMOTE_CLOSING:
            # No close frame: what arrived could not be read, and the parser's reason may quote it.
            yield from self._close(int(event.code))
            return
        yield from self._end(from_client, int(event.code), "" if from_client else event.reason or "")

    def _lost(self, from_client: bool) -> layer.CommandGenerator[None]:
        """A connection ended without a close: the provider is told, the client sees the same as it would have."""
        (self._client if from_client else self._server).ws.receive_data(None)
        yield from self._end(from_client, ABNORMAL, "")

    def _close(self, code: int) -> layer.CommandGenerator[None]:
        yield from self._end(None, code, "")

    def _end(self, by_client: bool | None, code: int, reason: str) -> layer.CommandGenerator[None]:
        self._ended = True
        end = SocketEnd(self.flow, by_client, code, reason)
        yield SocketEndHook(end)
        for data in end.last:
            yield from self._client.text(data)
        told = end.client_code or code
        if told != ABNORMAL:
            yield from self._client.send(_close_frame(told, "" if end.client_code else end.reason))
        yield commands.CloseConnection(self.context.client)
        yield from self._server.send(_close_frame(_for_provider(by_client, code), ""))
        yield commands.CloseConnection(self.context.server)
        self.flow.live = False


def _for_provider(by_client: bool | None, code: int) -> int:
    """Return the code the provider is told: the client's or its own; of the gateway's doings only that it goes."""
    return GOING_AWAY if by_client is None or code == ABNORMAL else code


def _close_frame(code: int, reason: str) -> ws.CloseConnection:
    """Return a close; wsproto leaves the code out where it is its own word for none."""
    if code == NO_STATUS:
        return ws.CloseConnection(CloseReason.NO_STATUS_RCVD)
    return ws.CloseConnection(code, reason or None)

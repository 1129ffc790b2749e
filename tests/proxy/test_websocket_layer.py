"""The WebSocket layer alone, fed bytes: every cutting gives the same messages, and no garbage gives others."""

import itertools
import random
from collections import deque
from typing import Any

import pytest
from mitmproxy.proxy import commands, context, events
from mitmproxy.test import tflow
from wsproto import ConnectionType
from wsproto import events as ws
from wsproto.connection import Connection

from sallyport.proxy import websocket_layer
from sallyport.proxy.gate import gate
from sallyport.proxy.websocket_layer import GuardedWebsocketLayer, Outcome, SocketEndHook, SocketMessageHook

TEXTS = ["", "{}", "é" * 40, '{"type":"x"}', "a" * 300, "\U0001f989" * 7]


class Core:
    """What mitmproxy does around a layer. judge: gives a message its outcome; both sides' bytes are read."""

    def __init__(self, judge: Any = None) -> None:
        flow = tflow.tflow()
        gate.admit(flow)
        websocket_layer.opened.add(flow)
        self.context = context.Context(flow.client_conn, None)  # type: ignore[arg-type]
        self.context.server = flow.server_conn
        self.layer = GuardedWebsocketLayer(self.context, flow)
        self.judge = judge or (lambda message: Outcome([message.content], binary=not message.is_text))
        self.judged: list[tuple[bool, bytes]] = []
        self.ended: list[int] = []
        self.closed: set[object] = set()
        self._readers = {
            flow.client_conn: Connection(ConnectionType.CLIENT),
            flow.server_conn: Connection(ConnectionType.SERVER),
        }
        self.flow = flow
        self._run(events.Start())

    def client(self, data: bytes) -> None:
        self._run(events.DataReceived(self.flow.client_conn, data))

    def _run(self, event: events.Event) -> None:
        waiting = deque([event])
        while waiting:
            for command in self.layer.handle_event(waiting.popleft()):
                if isinstance(command, commands.SendData):
                    self._readers[command.connection].receive_data(command.data)
                elif isinstance(command, SocketMessageHook):
                    self.judged.append((command.message.is_text, command.message.content))
                    command.message.outcome = self.judge(command.message)
                    waiting.append(events.HookCompleted(command))
                elif isinstance(command, SocketEndHook):
                    self.ended.append(command.end.code)
                    waiting.append(events.HookCompleted(command))
                elif isinstance(command, commands.CloseConnection):
                    self.closed.add(command.connection)

    def sent(self, conn: Any) -> list[object]:
        """Return what one side got: messages whole, pongs, pings and closes by what they hold."""
        found: list[object] = []
        text = ""
        for event in self._readers[conn].events():
            match event:
                case ws.TextMessage():
                    text += event.data
                    if event.message_finished:
                        found.append(text)
                        text = ""
                case ws.BytesMessage():
                    found.append(bytes(event.data))
                case ws.Ping() | ws.Pong():
                    found.append((type(event).__name__, bytes(event.payload)))
                case ws.CloseConnection():
                    found.append((int(event.code), event.reason))
        return found


def conversation(chance: random.Random) -> tuple[bytes, list[object]]:
    """Return what a client sends, in fragments with pings between them, and the messages in it."""
    client, out, meant = Connection(ConnectionType.CLIENT), b"", list[object]()
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.3:
            data: Any = chance.randbytes(chance.randint(0, 200))
            kind: Any = ws.BytesMessage
        else:
            data, kind = chance.choice(TEXTS), ws.TextMessage
        cuts = sorted(chance.sample(range(len(data) + 1), min(len(data), chance.randint(0, 3))))
        bounds = [0, *cuts, len(data)]
        for number in range(len(bounds) - 1):
            piece = data[bounds[number] : bounds[number + 1]]
            out += client.send(kind(piece, message_finished=number == len(bounds) - 2))
            if chance.random() < 0.3:
                out += client.send(ws.Ping(b"secret"))
        meant.append(data)
    return out, meant


def cut(chance: random.Random, data: bytes) -> list[bytes]:
    borders = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(chance.randint(0, 12)))})
    return [data[a:b] for a, b in itertools.pairwise(borders)]


def test_every_cutting_gives_the_same_messages() -> None:
    chance = random.Random(1)
    for _ in range(400):
        data, meant = conversation(chance)
        core = Core()
        for piece in cut(chance, data):
            core.client(piece)
        got = core.sent(core.flow.server_conn)
        assert [m for m in got if not isinstance(m, tuple)] == meant
        assert all(m == ("Ping", b"") for m in got if isinstance(m, tuple))
        assert len(core.judged) == len(meant)
        assert core.ended == []


def test_a_message_that_arrives_in_very_many_pieces_is_no_more_fragments() -> None:
    text = "x" * (websocket_layer.MAX_FRAGMENTS + 100)
    core = Core()
    for byte in Connection(ConnectionType.CLIENT).send(ws.TextMessage(text)):
        core.client(bytes([byte]))
    assert core.sent(core.flow.server_conn) == [text]
    assert core.ended == []


def test_fragments_are_counted_even_where_they_are_empty() -> None:
    client, core = Connection(ConnectionType.CLIENT), Core()
    core.client(client.send(ws.TextMessage("", message_finished=False)))
    for _ in range(websocket_layer.MAX_FRAGMENTS):
        core.client(client.send(ws.TextMessage("", message_finished=False)))
    assert core.ended == [1009]
    assert core.judged == []


def test_a_message_without_an_outcome_goes_nowhere_and_ends_the_session() -> None:
    core = Core(lambda message: None)
    core.client(Connection(ConnectionType.CLIENT).send(ws.TextMessage("{}")) * 3)
    assert core.sent(core.flow.server_conn) == [(1001, "")]
    assert core.sent(core.flow.client_conn) == [(1011, "")]
    assert core.ended == [1011]
    assert len(core.judged) == 1
    assert core.closed == {core.flow.client_conn, core.flow.server_conn}


@pytest.mark.parametrize("forget", ["opened", "admitted"])
def test_a_socket_that_nobody_let_through_is_closed_before_its_first_byte(forget: str) -> None:
    flow = tflow.tflow()
    if forget == "opened":
        gate.admit(flow)
    else:
        websocket_layer.opened.add(flow)
    layer = GuardedWebsocketLayer(context.Context(flow.client_conn, None), flow)  # type: ignore[arg-type]
    (hook,) = list(layer.handle_event(events.Start()))
    assert isinstance(hook, SocketEndHook)
    assert hook.end.code == 1008


def test_a_verdict_is_void_once_the_flow_is_revoked() -> None:
    def judge(message: Any) -> Outcome:
        gate.revoke(message.flow)
        return Outcome([message.content])

    core = Core(judge)
    core.client(Connection(ConnectionType.CLIENT).send(ws.TextMessage("{}")))
    assert core.sent(core.flow.server_conn) == [(1001, "")]


def test_garbage_never_becomes_a_message_that_was_not_judged() -> None:
    chance = random.Random(3)
    for _ in range(300):
        data, _ = conversation(chance)
        spoilt = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        core = Core()
        for piece in cut(chance, bytes(spoilt)):
            core.client(piece)
        got = [m for m in core.sent(core.flow.server_conn) if not isinstance(m, tuple)]
        judged = [content.decode() if is_text else content for is_text, content in core.judged]
        assert got == judged
        assert len(core.ended) <= 1

"""WebSocket through the gateway: nothing of a client's leaves that was not judged, whatever the frames look like."""

import asyncio
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wsproto import events as ws

from gateways import OPEN_POLICY, InnerGateway
from proxy.conftest import inner_gateway_in_thread
from sallyport.audit.events import EventKind
from sallyport.cli.assembly import make_detector
from sallyport.pipeline import STAGES
from sallyport.policy.load import parse_policy
from sallyport.proxy import websocket_session
from sallyport.proxy.passage import Passage
from socketclient import CREATE, REALTIME, RESPONSES, Closed, SocketClient, item, text_of, told

POLICY = OPEN_POLICY + "websocket: {max_message_bytes: 65536, max_messages_per_s: 200}\n"
PERSON = "marta.quill@example.com"


class Trouble:
    """What goes wrong next in the one stage that every event passes. Nothing by default."""

    way: BaseException | str | None = None


class TroubledStage:
    def __init__(self, inner: Any) -> None:
        self.inner, self.name = inner, inner.name

    async def decide(self, exchange: Any, section: Any, ports: Any) -> Any:
        if isinstance(Trouble.way, BaseException):
            raise Trouble.way
        if Trouble.way == "wait":
            await asyncio.sleep(0.7)
        return await self.inner.decide(exchange, section, ports)


class TroubledAddon:
    """A neighbour whose hook fails on demand."""

    name = "troubled"
    failing = False

    def socket_message(self, message: Any) -> None:
        if self.failing:
            raise RuntimeError("sk-should-not-be-logged")


@pytest.fixture(scope="module")
def neighbour() -> TroubledAddon:
    return TroubledAddon()


@pytest.fixture(scope="module")
def gateway(folder: Path, neighbour: TroubledAddon) -> Iterator[InnerGateway]:
    stages = tuple(replace(s, stage=TroubledStage(s.stage)) if n == 1 else s for n, s in enumerate(STAGES))
    detector = make_detector(parse_policy(POLICY))
    with inner_gateway_in_thread(
        folder, policy=POLICY, stages=stages, detector=detector, change=lambda m: m.addons.add(neighbour)
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(gateway: InnerGateway, neighbour: TroubledAddon) -> Iterator[None]:
    gateway.lab.forget()
    gateway.audit.events.clear()
    yield
    Trouble.way, neighbour.failing = None, False
    while CLIENTS:
        CLIENTS.pop().sock.close()
    eventually(lambda: gateway.master.addon.in_flight == 0, "all sessions have ended")


CLIENTS: list[SocketClient] = []


def opened(gateway: InnerGateway, path: str = REALTIME, *headers: str, **more: Any) -> SocketClient:
    CLIENTS.append(SocketClient.open(gateway.port, gateway.confdir, path, *headers, **more))
    return CLIENTS[-1]


def ready(gateway: InnerGateway, path: str = REALTIME, **more: Any) -> SocketClient:
    client = opened(gateway, path, **more)
    assert client.status == 101, client.head
    if path.startswith("/v1/realtime"):
        assert client.hear()["type"] == "session.created"
    return client


def eventually(holds: Any, what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


# -- a session -----------------------------------------------------------------------------------------


def test_a_value_is_masked_on_its_way_and_comes_back_from_an_answer_cut_anywhere(
    gateway: InnerGateway,
) -> None:
    client = ready(gateway)
    client.say(item(f"Write to {PERSON} today"))
    client.say(CREATE)
    heard = client.until("response.done")
    assert text_of(heard) == f"You wrote: Write to {PERSON} today"
    whole = [e for e in heard if e["type"] == "response.output_text.done"]
    assert whole[0]["text"] == f"You wrote: Write to {PERSON} today"
    assert heard[-1]["response"]["output"][0]["content"][0]["text"].endswith(f"{PERSON} today")
    assert not any("<EMAIL" in str(e) for e in heard)
    client.close()
    assert client.hear() == Closed(1000)
    eventually(lambda: "close 1000" in told(gateway.lab), "the close is passed on")
    assert not any(PERSON in m for m in told(gateway.lab))
    assert any("<EMAIL_ADDRESS_" in m for m in told(gateway.lab))


def test_a_value_never_comes_back_into_a_link(gateway: InnerGateway) -> None:
    client = ready(gateway, "/v1/realtime?model=hostile-restore")
    client.say(item(f"Write to {PERSON}"))
    client.say(CREATE)
    heard = client.until("response.done")
    for text in (text_of(heard), heard[-1]["response"]["output"][0]["content"][0]["text"]):
        assert text.count(PERSON) == text.count(f"In plain text: {PERSON}.") == 1
        assert text.count("<EMAIL_ADDRESS_") >= 7


def test_each_event_with_a_text_is_an_exchange_and_each_has_one_end(gateway: InnerGateway) -> None:
    client = ready(gateway)
    client.say({"type": "session.update", "session": {"type": "realtime", "instructions": "Be kind."}})
    client.say(item("Hello"))
    client.say(CREATE)
    client.until("response.done")
    client.close()
    client.hear()
    eventually(lambda: len(gateway.audit.of(EventKind.COMPLETED)) == 4, "four ends")
    admitted = {e.exchange: e for e in gateway.audit.of(EventKind.ADMITTED)}
    ended = {e.exchange: e for e in gateway.audit.of(EventKind.COMPLETED)}
    assert admitted.keys() == ended.keys()
    session, *events = admitted.values()
    kinds = ["session.update", "conversation.item.create", "response.create"]
    assert [e.detail for e in events] == [f"{kind}:{session.exchange}" for kind in kinds]
    answer = ended[events[-1].exchange]
    assert answer.usage is not None
    assert (answer.usage_source, answer.finish_reason) == ("provider", "stop")
    assert answer.usage.output == 4
    assert ended[session.exchange].detail == "close.1000"
    assert ended[session.exchange].usage is None


def test_an_event_is_durable_before_it_leaves(gateway: InnerGateway) -> None:
    client = ready(gateway)
    gateway.audit.failing = OSError()
    try:
        client.say(item("Hello"))
        refused = client.hear()
        assert refused["error"]["code"] == "audit.unavailable"
        assert told(gateway.lab) == []
    finally:
        gateway.audit.failing = None
    client.say(item("Hello again"))
    client.until("conversation.item.done")
    assert len(told(gateway.lab)) == 1


def test_a_refused_event_is_answered_with_the_dialects_error_and_the_session_goes_on(
    gateway: InnerGateway,
) -> None:
    client = ready(gateway)
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    client.say({**item(f"Use {secret}"), "event_id": "mine-one"})
    refused = client.hear()
    assert refused["type"] == "error"
    assert refused["error"]["code"].startswith("secrets.")
    assert refused["error"]["event_id"] == "mine-one"
    client.say(CREATE)  # it would be about what was refused
    assert client.hear()["error"]["code"] == "websocket.refused_context"
    client.say(item("Hello"))
    client.say(CREATE)
    assert text_of(client.until("response.done")) == "You wrote: Hello"
    assert not any(secret in m for m in told(gateway.lab))
    refusals = gateway.audit.of(EventKind.REFUSED)
    assert [e.reason for e in refusals][1:] == ["websocket.refused_context"]
    assert all(e.detail.partition(":")[2] for e in refusals)


def test_an_answer_that_the_provider_begins_by_itself_is_counted_too(gateway: InnerGateway) -> None:
    client = ready(gateway)
    client.say({"type": "input_audio_buffer.commit"})
    assert client.until("response.done")[-1]["response"]["status"] == "completed"
    eventually(
        lambda: [e for e in gateway.audit.of(EventKind.COMPLETED) if e.usage is not None],
        "its usage is booked",
    )
    (admitted,) = [e for e in gateway.audit.of(EventKind.ADMITTED) if e.detail.startswith("unasked:")]
    assert admitted.operation == "chat"


def test_an_answer_that_nobody_could_judge_keeps_nothing_reserved(
    gateway: InnerGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ready(gateway)
    given_back: list[str] = []
    give_back = Passage.give_back

    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError

    def noted(passage: Passage) -> None:
        given_back.append(passage.id)
        give_back(passage)

    monkeypatch.setattr(websocket_session, "judge", fails)
    monkeypatch.setattr(Passage, "give_back", noted)
    client.say({"type": "input_audio_buffer.commit"})
    eventually(lambda: given_back, "what it had reserved is free")


def test_lanes_of_responses_are_held_back_apart(gateway: InnerGateway) -> None:
    client = ready(gateway, RESPONSES)
    for lane in ("one", "two"):
        text = f"{lane} writes to {lane}.quill@example.com"
        client.say({"type": "response.create", "model": "gpt-lab", "input": text, "stream_id": lane})
    heard = client.until("response.completed")
    heard += client.until("response.completed")
    for lane in ("one", "two"):
        said = text_of([e for e in heard if e.get("stream_id") == lane])
        assert said == f"You wrote: {lane} writes to {lane}.quill@example.com"
    assert not any("quill" in m for m in told(gateway.lab))
    client.say(
        {"type": "response.create", "model": "gpt-lab", "input": "x", "junk": "ghp_" + "a1B2c3D4e5" * 4}
    )
    refused = client.hear()
    assert (refused["type"], refused["status"], "stream_id" in refused) == ("error", 400, False)


# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ("not json", "wire.json.syntax"),
        ("[]", "wire."),
        ('{"type":"response.create"}{"type":"response.create"}', "wire."),
        ('{"type":"response.create","TYPE":"x"}', "wire."),
        ('{"type":"something.new"}', "websocket.unknown_event"),
        ('{"no":"type"}', "wire.json.type"),
        ('{"type":"input_audio_buffer.append","audio":"AAAA"}', "websocket.audio"),
        (b"\x00\x01", "websocket.binary"),
    ],
    ids=["garbage", "no-object", "two-values", "twin-keys", "unknown", "no-type", "sound", "binary"],
)
def test_an_event_that_cannot_be_judged_does_not_leave(gateway: InnerGateway, event: Any, code: str) -> None:
    client = ready(gateway)
    client.say(event)
    refused = client.hear()
    assert refused["type"] == "error"
    assert refused["error"]["code"].startswith(code)
    client.say(item("Hello"))
    client.until("conversation.item.done")
    assert len(told(gateway.lab)) == 1
    assert [e.reason for e in gateway.audit.of(EventKind.REFUSED)] == [refused["error"]["code"]]


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """Return one frame of a client as bytes."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
    head = bytes([first, length[0] | (0x80 if masked else 0)]) + length[1:]
    return head + (b"\0\0\0\0" if masked else b"") + payload


@pytest.mark.parametrize(
    "data",
    [
        frame(1, b"{}", masked=False),
        frame(1, b"{}", rsv=4),
        frame(3, b"{}"),
        frame(0, b"{}"),
        frame(1, b'{"type":"\xff"}'),
        frame(9, b"x" * 200),
        frame(1, b"{", fin=False) + frame(1, b"}"),
        b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["unmasked", "reserved-bit", "reserved-opcode", "lone-continuation", "not-utf8", "long-ping",
         "two-beginnings", "endless-length", "http-again"],
)  # fmt: skip
def test_frames_that_break_the_protocol_end_the_session(gateway: InnerGateway, data: bytes) -> None:
    client = ready(gateway)
    client.raw(data)
    end = client.hear()
    assert isinstance(end, Closed)
    assert end.code in (1002, 1007, 1009)
    assert end.reason == ""
    eventually(lambda: told(gateway.lab) == ["close 1001"], "the provider is told that the client goes")


def test_a_message_in_many_fragments_is_joined_and_judged_as_one(gateway: InnerGateway) -> None:
    client = ready(gateway)
    text = f'{{"type":"conversation.item.create","item":{{"type":"message","role":"user","content":[{{"type":"input_text","text":"é {PERSON}"}}]}}}}'
    whole = text.encode()
    cuts = [whole[n : n + 1] for n in range(len(whole))]
    for number, piece in enumerate(cuts):
        client.raw(frame(0 if number else 1, piece, fin=number == len(cuts) - 1))
        if number == 5:
            client.raw(frame(9, b"here"))
    heard = client.until("conversation.item.done")
    assert any(isinstance(e, ws.Pong) and bytes(e.payload) == b"here" for e in heard)
    assert not any(PERSON in m or "here" in m for m in told(gateway.lab))
    assert any("é <EMAIL" in m for m in told(gateway.lab))


@pytest.mark.parametrize("fragments", [1, 20])
def test_a_message_above_the_bound_ends_the_session(gateway: InnerGateway, fragments: int) -> None:
    client = ready(gateway)
    piece = b"x" * (70_000 // fragments)
    if fragments == 1:
        client.raw(b"\x81\xff" + struct.pack("!Q", len(piece)) + b"\0\0\0\0" + piece)
    else:
        for number in range(fragments):
            client.raw(frame(0 if number else 1, piece, fin=False))
    assert client.hear() == Closed(1009)
    eventually(lambda: told(gateway.lab) == ["close 1001"], "nothing of it left")


def test_a_flood_of_messages_ends_the_session(gateway: InnerGateway) -> None:
    client = ready(gateway)
    one = frame(1, b'{"type":"input_audio_buffer.clear"}')
    client.raw(one * 2000)
    assert client.until("never")[-1] == Closed(1008)
    assert len(told(gateway.lab)) < 2000


def test_a_flood_of_pings_ends_the_session(gateway: InnerGateway) -> None:
    client = ready(gateway)
    client.raw(frame(9, b"p") * 100)
    assert client.until("never")[-1] == Closed(1008)
    assert not any(m.startswith("ping p") for m in told(gateway.lab))


def test_what_a_close_says_is_not_passed_on_to_the_provider(gateway: InnerGateway) -> None:
    client = ready(gateway)
    client.close(4321, f"tell {PERSON}")
    client.hear()
    eventually(lambda: told(gateway.lab) == ["close 4321"], "the code alone")


# -- what fails ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [RuntimeError("x"), TimeoutError(), asyncio.CancelledError(), MemoryError()],
                         ids=["RuntimeError", "TimeoutError", "CancelledError", "MemoryError"])  # fmt: skip
def test_a_stage_that_raises_refuses_the_event(gateway: InnerGateway, way: BaseException) -> None:
    client = ready(gateway)
    Trouble.way = way
    client.say(item("Hello"))
    assert client.hear()["error"]["code"] == "access.could_not_decide"
    assert told(gateway.lab) == []


def test_a_hook_that_raises_drops_the_message_and_ends_the_session(
    gateway: InnerGateway, neighbour: TroubledAddon
) -> None:
    client = ready(gateway)
    neighbour.failing = True
    client.say(item("Hello"))
    assert client.hear() == Closed(1011)
    eventually(lambda: told(gateway.lab) == ["close 1001"], "the message is dropped")


def test_what_arrives_while_an_event_is_judged_is_bounded(gateway: InnerGateway) -> None:
    client = ready(gateway)
    Trouble.way = "wait"
    client.say(item("Hello"))
    with pytest.raises(OSError):  # noqa: PT012
        for _ in range(200):
            client.raw(frame(1, b'{"type":"input_audio_buffer.clear","event_id":"' + b"x" * 4000 + b'"}'))
            time.sleep(0.001)
        client.sock.settimeout(10)
        while client.sock.recv(65536):
            pass
        raise ConnectionResetError
    assert len(told(gateway.lab)) < 3


def test_a_client_that_vanishes_ends_the_session_at_the_provider(gateway: InnerGateway) -> None:
    client = ready(gateway, "/v1/realtime?model=silent")
    client.say(CREATE)
    client.until("response.created")
    client.reset()
    eventually(lambda: told(gateway.lab)[-1] in ("close 1001", "gone"), "the provider is told")
    eventually(lambda: len(gateway.audit.of(EventKind.BROKEN)) == 1, "the answer under way is broken off")
    (broken,) = gateway.audit.of(EventKind.BROKEN)
    assert broken.detail == "client.gone"


# -- the provider --------------------------------------------------------------------------------------


def test_a_provider_that_goes_in_the_middle_ends_in_an_error_and_without_a_close(
    gateway: InnerGateway,
) -> None:
    client = ready(gateway, "/v1/realtime?model=cut-9")
    client.say(item(f"Hello {PERSON}"))
    client.say(CREATE)
    *_, last, end = client.until("never")
    assert last["type"] == "error"
    assert end == Closed(0)
    eventually(
        lambda: {e.detail for e in gateway.audit.of(EventKind.BROKEN)} == {"upstream.broken", "close.1006"},
        "both ends are written",
    )


def test_a_provider_that_closes_is_quoted_to_the_client(gateway: InnerGateway) -> None:
    client = ready(gateway, "/v1/realtime?model=leave")
    client.say(CREATE)
    assert client.until("never")[-1] == Closed(4001, "The session is over.")
    eventually(lambda: told(gateway.lab)[-1] == "close 4001", "the provider has its own code back")
    eventually(lambda: gateway.master.addon.in_flight == 0, "it has ended")
    (ended,) = [e for e in gateway.audit.events if e.detail == "close.4001"]
    assert ended.kind is EventKind.BROKEN


@pytest.mark.parametrize("model", ["binary", "garbage"])
def test_a_provider_that_cannot_be_read_ends_the_session(gateway: InnerGateway, model: str) -> None:
    client = ready(gateway, f"/v1/realtime?model={model}")
    client.say(item("Hello"))
    client.say(CREATE)
    *_, last, end = client.until("never")
    assert last["error"]["code"] == "upstream.unreadable"
    assert end == Closed(1011)


def test_sound_of_the_provider_is_told_of_and_left_out(gateway: InnerGateway) -> None:
    client = ready(gateway, "/v1/realtime?model=loud")
    client.say(item("Hello"))
    client.say(CREATE)
    heard = client.until("response.done")
    assert [e["error"]["code"] for e in heard if e["type"] == "error"] == ["websocket.audio"]
    assert not any(e["type"] == "response.output_audio.delta" for e in heard)


def test_fragments_of_the_provider_are_joined_before_they_are_read(gateway: InnerGateway) -> None:
    client = ready(gateway, "/v1/realtime?model=ragged")
    client.say(item(f"Hello {PERSON}"))
    client.say(CREATE)
    assert text_of(client.until("response.done")) == f"You wrote: Hello {PERSON}"


# -- the upgrade ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "drop", "status", "reason"),
    [
        ("/v1/live/sessions", (), (), 426, "transport.upgrade"),
        ("/v1/chat/completions", (), (), 426, "transport.upgrade"),
        ("/v1/realtime?call_id=rtc_1", (), (), 426, "transport.upgrade"),
        ("/v1/realtime?model=4111%31", (), (), 426, "transport.upgrade"),
        (REALTIME, ("Sec-WebSocket-Protocol: realtime",), (), 426, "transport.upgrade_protocol"),
        (REALTIME, ("Sec-WebSocket-Version: 8",), ("Sec-WebSocket-Version",), 426, "transport.upgrade_version"),
        (REALTIME, ("Sec-WebSocket-Key: short",), ("Sec-WebSocket-Key",), 400, "transport.upgrade_key"),
        (REALTIME, ("Upgrade: h2c, websocket",), ("Upgrade",), 400, "transport.upgrade"),
        (REALTIME, ("Upgrade: h2c",), ("Upgrade",), 403, "transport.upgrade"),
        (REALTIME, ("Connection: keep-alive",), ("Connection",), 400, "transport.upgrade"),
        (REALTIME, ("Content-Length: 3",), (), 400, "transport.upgrade_body"),
        (REALTIME, (f"X-Note: {PERSON}",), (), 400, "masking.unmaskable"),
    ],
    ids=["live", "no-socket", "call", "encoded", "subprotocol", "version", "key", "two-protocols", "h2c",
         "no-connection", "body", "header"],
)  # fmt: skip
def test_an_upgrade_is_refused(
    gateway: InnerGateway,
    path: str,
    headers: tuple[str, ...],
    drop: tuple[str, ...],
    status: int,
    reason: str,
) -> None:
    client = opened(
        gateway, path, *headers, drop=drop, with_head=b"abc" if "Content-Length: 3" in headers else b""
    )
    assert client.status == status
    assert (b"\r\nupgrade: HTTP/1.1" in client.head) is (status == 426)
    eventually(lambda: gateway.audit.of(EventKind.REFUSED), "the refusal is recorded")
    assert [e.reason for e in gateway.audit.of(EventKind.REFUSED)] == [reason]
    assert gateway.lab.requests == []


def test_nothing_of_the_clients_handshake_reaches_the_provider(gateway: InnerGateway) -> None:
    key = "AAAAAAAAAAAAAAAAAAAAAA=="
    client = opened(gateway, REALTIME, "Sec-WebSocket-Extensions: permessage-deflate; x=y", key=key)
    assert client.status == 101
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" not in client.head
    assert b"extensions" not in client.head.lower()
    (upgrade,) = [r for r in gateway.lab.requests if r.method == "GET"]
    assert upgrade.header("sec-websocket-key") not in (None, key)
    assert upgrade.header("sec-websocket-extensions") is None
    assert upgrade.header("connection") == "Upgrade"


@pytest.mark.parametrize("model", ["deflate", "wrong-accept", "subprotocol", "early"])
def test_a_provider_that_shakes_the_wrong_hand_is_cut_off(gateway: InnerGateway, model: str) -> None:
    client = opened(gateway, f"/v1/realtime?model={model}")
    assert client.status == 502
    eventually(lambda: gateway.audit.of(EventKind.BROKEN), "the end is recorded")
    (broken,) = gateway.audit.of(EventKind.BROKEN)
    assert broken.detail == ("upstream.protocol" if model == "early" else "upstream.upgraded")


def test_a_refusal_of_the_provider_is_passed_on(gateway: InnerGateway) -> None:
    assert opened(gateway, "/v1/realtime?model=refuse-426").status == 426
    eventually(lambda: gateway.audit.of(EventKind.COMPLETED), "the end is recorded")


def test_what_is_sent_with_the_upgrade_waits_for_the_session(gateway: InnerGateway) -> None:
    early = frame(1, b'{"type":"something.new"}')
    client = opened(gateway, with_head=early)
    heard = {e["type"]: e for e in (client.hear(), client.hear())}
    assert heard["error"]["error"]["code"] == "websocket.unknown_event"
    assert "session.created" in heard
    assert told(gateway.lab) == []

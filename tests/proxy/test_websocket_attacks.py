"""WebSocket sessions against who tries: content in events that nobody reads, sound behind texts, keys that lapsed."""

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from gateways import OPEN_POLICY, InnerGateway
from proxy.conftest import inner_gateway_in_thread
from sallyport.cli.assembly import make_detector
from sallyport.policy.load import parse_policy
from sallyport.proxy import websocket, websocket_session
from sallyport.stages.directory import NOBODY, Key, KeyKind, NoDirectory, Person, Tenant
from sallyport.state.gatewaykeys import new_gateway_key
from sallyport.state.keyed import fingerprint
from sallyport.wire.sockets import MANNERS, MAX_ID_CHARS
from socketclient import CREATE, REALTIME, RESPONSES, Closed, SocketClient, item, text_of, told

PERSON = "marta.quill@example.com"
OPAQUE = base64.b64encode(bytes(range(128, 256)) * 4).decode()
"""What is no text in any coding."""


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[InnerGateway]:
    detector = make_detector(parse_policy(OPEN_POLICY))
    with inner_gateway_in_thread(folder, policy=OPEN_POLICY, detector=detector) as running:
        yield running


CLIENTS: list[SocketClient] = []


@pytest.fixture(autouse=True)
def _calm(gateway: InnerGateway) -> Iterator[None]:
    gateway.lab.forget()
    gateway.audit.events.clear()
    yield
    gateway.master.gateway.directory = lambda: NOBODY
    gateway.master.gateway.credentials = None
    while CLIENTS:
        CLIENTS.pop().sock.close()
    eventually(lambda: gateway.master.addon.in_flight == 0, "all sessions have ended")


@contextmanager
def under(gateway: InnerGateway, policy: str, **more: Any) -> Iterator[None]:
    """Put another policy in force, as a reload does."""
    before = gateway.master.gateway.live
    put(gateway, replace(before, policy=parse_policy(OPEN_POLICY + policy), **more))
    try:
        yield
    finally:
        put(gateway, before)


def put(gateway: InnerGateway, live: Any) -> None:
    gateway.master.gateway.live = live
    gateway.master.gateway.metering.configure(live.policy.limits)
    websocket.apply_settings(live)


def opened(gateway: InnerGateway, path: str = REALTIME, *headers: str, **more: Any) -> SocketClient:
    CLIENTS.append(SocketClient.open(gateway.port, gateway.confdir, path, *headers, **more))
    client = CLIENTS[-1]
    assert client.status == 101, client.head
    if path.startswith("/v1/realtime"):
        client.hear()
    return client


def eventually(holds: Any, what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


# -- what a client says --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "event"),
    [
        (REALTIME, {"type": "response.cancel", "audio": OPAQUE}),
        (REALTIME, {"type": "input_audio_buffer.commit", "audio": OPAQUE}),
        (RESPONSES, {"type": "response.cancel", "input": [{"type": "message", "role": "user", "content": [
            {"type": "input_file", "file_data": OPAQUE}]}]}),
    ],
    ids=["cancel", "commit", "responses"],
)  # fmt: skip
def test_content_that_nobody_reads_is_judged_in_any_event(
    gateway: InnerGateway, path: str, event: dict[str, Any]
) -> None:
    client = opened(gateway, path)
    client.say(event)
    assert client.hear()["error"]["code"] == "access.attachment"
    assert told(gateway.lab) == []


def test_a_file_beside_a_piece_of_sound_is_judged_where_sound_may_leave(gateway: InnerGateway) -> None:
    part = {"type": "input_image", "image_url": f"data:application/zip;base64,{OPAQUE}"}
    given = {"type": "message", "role": "user", "content": [part]}
    with under(gateway, "websocket: {audio: allow}\n"):
        client = opened(gateway)
        client.say({"type": "input_audio_buffer.append", "audio": "AAAA", "response": {"input": [given]}})
        first = client.hear()
        client.say({"type": "input_audio_buffer.append", "audio": "AAAA"})
        client.say(item("Hello"))
        client.until("conversation.item.done")
    assert first["error"]["code"] == "access.attachment"
    assert not any(OPAQUE in m for m in told(gateway.lab))
    assert sum("AAAA" in m for m in told(gateway.lab)) == 1


def test_an_event_whose_edit_fails_gives_back_what_it_had_reserved(
    gateway: InnerGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> bytes:
        raise ValueError

    with under(gateway, "limits: {rules: [{id: one, measure: concurrent, limit: 1}]}\n"):
        client = opened(gateway)
        with monkeypatch.context() as patch:
            patch.setattr(websocket_session, "edited", failing)
            client.say(CREATE)
            assert client.hear() == Closed(1011)
        client = opened(gateway)
        client.say(CREATE)
        assert client.hear()["type"] == "response.created"
        client.until("response.done")


def test_lanes_with_long_names_are_as_different_as_their_names() -> None:
    manners = MANNERS["openai_responses_socket"]
    names = ["l" * 200 + name for name in ("one", "two")]
    lanes = [manners.asked({"type": "response.create", "stream_id": name}).lane for name in names]
    assert lanes == [manners.told({"type": "response.created", "stream_id": name}).lane for name in names]
    assert len({*lanes, ""}) == 3
    assert all(len(lane) <= MAX_ID_CHARS for lane in lanes)


# -- what a provider says ------------------------------------------------------------------------------


def test_sound_between_pieces_of_a_held_text_does_not_pass_with_it(gateway: InnerGateway) -> None:
    client = opened(gateway, "/v1/realtime?model=loud")
    client.say(item(f"Write to {PERSON} today"))
    client.say(CREATE)
    heard = client.until("response.done")
    assert not any(e["type"] == "response.output_audio.delta" for e in heard)
    assert text_of(heard) == f"You wrote: Write to {PERSON} today"
    assert [e["error"]["code"] for e in heard if e["type"] == "error"] == ["websocket.audio"]


# -- keys ----------------------------------------------------------------------------------------------


class Listed(NoDirectory):
    """A directory that knows one gateway key, as it is now."""

    now: ClassVar[Key]

    def key(self, fingerprint: str) -> Key | None:
        return self.now if fingerprint == self.now.fingerprint else None


def with_gateway_key(gateway: InnerGateway, *operations: str) -> str:
    """Issue a gateway key and return it."""
    secret = gateway.master.gateway.key
    given = new_gateway_key(secret, "openai")
    print_of = fingerprint(secret, given)
    Listed.now = Key(print_of, "key-1", "ada", kind=KeyKind.GATEWAY, credential="prod", operations=operations)

    async def real(_: Any) -> Any:
        return SimpleNamespace(value="sk-" + "real" * 8)

    stored = SimpleNamespace(name="prod", provider="openai", hosts=())
    inner = gateway.master.gateway
    inner.directory = Listed
    inner.credentials = SimpleNamespace(stored=lambda _: stored, secret=real)  # type: ignore[assignment]
    return given


BY_KEY = "websocket: {audio: allow, binary: allow}\n"
LAPSED = {"retired": {"retired": True}, "expired": {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}}
SOUND = {"type": "input_audio_buffer.append", "audio": "AAAA"}


@pytest.mark.parametrize("lapsed", LAPSED.values(), ids=LAPSED)
@pytest.mark.parametrize(
    "said", [SOUND, b"\x00\x01", {"type": "response.cancel"}], ids=["sound", "bytes", "names"]
)
def test_nothing_leaves_once_the_gateway_key_of_a_session_has_lapsed(
    gateway: InnerGateway, said: Any, lapsed: dict[str, Any]
) -> None:
    given = with_gateway_key(gateway)
    with under(gateway, BY_KEY):
        client = opened(gateway, REALTIME, f"Authorization: Bearer {given}", drop=("Authorization",))
        client.say(said)
        client.say(item("Hello"))
        client.until("conversation.item.done")
        before = told(gateway.lab)
        assert len(before) == 2
        Listed.now = replace(Listed.now, **lapsed)
        client.say(said)
        *_, last, end = client.until("never")
    assert last["error"]["code"].startswith("identity.key_")
    assert end == Closed(1008)
    eventually(lambda: "close 1001" in told(gateway.lab), "the provider is told")
    assert told(gateway.lab)[:-1] == before


class People(NoDirectory):
    """A directory that knows one person and one key, as they are now."""

    person_now: ClassVar[Person]
    tenant_now: ClassVar[Tenant]
    key_now: ClassVar[Key]

    def person(self, tenant: str, id: str) -> Person | None:
        return self.person_now if (tenant, id) == ("acme", "ann") else None

    def tenant(self, id: str) -> Tenant | None:
        return self.tenant_now if id == "acme" else None

    def key(self, fingerprint: str) -> Key | None:
        return self.key_now if fingerprint == self.key_now.fingerprint else None


NAMED = """websocket: {audio: allow, binary: allow}
identity:
  unknown: anonymous
  header: {name: X-User, tenant_header: X-Team, trusted_peers: [127.0.0.0/8]}
"""


@pytest.mark.parametrize("gone", ["person", "tenant", "key"])
@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize(
    "said", [SOUND, b"\x00\x01", {"type": "response.cancel"}], ids=["sound", "bytes", "names"]
)
def test_nothing_leaves_of_somebody_who_is_not_active_any_more(
    gateway: InnerGateway, said: Any, mode: str, gone: str
) -> None:
    used = fingerprint(gateway.master.gateway.key, "sk-test-EXAMPLE")
    People.person_now, People.tenant_now = Person("ann", "acme"), Tenant("acme")
    People.key_now = Key(used, "key-1", "", "acme")
    gateway.master.gateway.directory = People
    before = gateway.master.gateway.live
    put(gateway, replace(before, policy=parse_policy(f"version: 1\nmode: {mode}\n{NAMED}")))
    try:
        client = opened(gateway, REALTIME, "X-User: ann", "X-Team: acme")
        client.say(said)
        client.say(item("Hello"))
        client.until("conversation.item.done")
        was = told(gateway.lab)
        assert len(was) == 2
        if gone == "person":
            People.person_now = replace(People.person_now, active=False)
        elif gone == "tenant":
            People.tenant_now = replace(People.tenant_now, active=False)
        else:
            People.key_now = replace(People.key_now, retired=True)
        client.say(said)
        if mode == "observe":
            eventually(lambda: len(told(gateway.lab)) == 3, "it passes where the policy observes")
            return
        *_, last, end = client.until("never")
    finally:
        put(gateway, before)
    assert last["error"]["code"] in {f"identity.inactive_{gone}", f"identity.{gone}_retired"}
    assert end == Closed(1008)
    eventually(lambda: "close 1001" in told(gateway.lab), "the provider is told")
    assert told(gateway.lab)[:-1] == was


def test_an_unread_session_ends_with_the_account_of_its_caller(gateway: InnerGateway) -> None:
    People.person_now, People.tenant_now = Person("ann", "acme"), Tenant("acme")
    People.key_now = Key("none", "none", "")
    gateway.master.gateway.directory = People
    before = gateway.master.gateway.live
    opaque = "access: {unknown_endpoint: opaque}\n" + NAMED.replace("audio: allow", "opaque: [openai]")
    put(gateway, replace(before, policy=parse_policy(f"version: 1\n{opaque}")))
    try:
        client = opened(gateway, "/v1/realtime?call_id=rtc_1", "X-User: ann", "X-Team: acme")
        assert client.status == 101
        client.say("first")
        eventually(lambda: any("first" in r.text for r in gateway.lab.requests), "it passes")
        People.person_now = replace(People.person_now, active=False)
        client.say("more")
        assert client.until("never")[-1] == Closed(1008)
    finally:
        put(gateway, before)
    assert not any("more" in r.text for r in gateway.lab.requests)


@pytest.mark.parametrize(
    "said", [SOUND, b"\x00\x01", CREATE, "no json"], ids=["sound", "bytes", "turn", "garbage"]
)
def test_a_session_ends_when_what_its_connection_proved_does_not_hold_any_more(
    gateway: InnerGateway, said: Any
) -> None:
    client = opened(gateway)
    demanding: Any = SimpleNamespace(required_of=lambda _: True)
    with under(gateway, BY_KEY, client_trust=demanding):
        client.say(said)
        *_, last, end = client.until("never")
    assert last["error"]["code"] == "identity.certificate_missing"
    assert end == Closed(1008)
    eventually(lambda: told(gateway.lab) == ["close 1001"], "the provider is told")


@pytest.mark.parametrize("way", ["event", "garbage", "bytes"])
def test_a_gateway_key_does_not_leave_in_a_message_where_the_policy_observes(
    gateway: InnerGateway, way: str
) -> None:
    given = with_gateway_key(gateway)
    with under(gateway, "mode: observe\n"):
        client = opened(gateway, REALTIME, f"Authorization: Bearer {given}", drop=("Authorization",))
        client.say(
            {"event": item(f"My key is {given}"), "garbage": f"no json {given}"}.get(way) or given.encode()
        )
        assert client.hear()["error"]["code"] == "websocket.key_misplaced"
    assert told(gateway.lab) == []


@pytest.mark.parametrize(
    "path", ["/v1/realtime?model=leave-quote", "/v1/realtime?model=leave-quote&call_id=rtc_1"]
)
def test_a_provider_that_quotes_the_real_credential_as_it_closes_is_not_quoted(
    gateway: InnerGateway, path: str
) -> None:
    given = with_gateway_key(gateway, "opaque", "chat")
    policy = "websocket: {opaque: [openai]}\naccess: {unknown_endpoint: opaque}\n"
    with under(gateway, policy):
        client = opened(gateway, path, f"Authorization: Bearer {given}", drop=("Authorization",))
        client.say(CREATE)
        end = client.until("never")[-1]
    assert end == Closed(4001, "Bearer " + "*" * 35)


def test_an_unread_session_ends_with_its_gateway_key(gateway: InnerGateway) -> None:
    given = with_gateway_key(gateway, "opaque")
    policy = "websocket: {opaque: [openai]}\naccess: {unknown_endpoint: opaque}\n"
    with under(gateway, policy):
        first, second = (
            opened(
                gateway,
                "/v1/realtime?call_id=rtc_1",
                f"Authorization: Bearer {given}",
                drop=("Authorization",),
            )
            for _ in range(2)
        )
        second.say(f"My key is {given}")
        assert second.hear() == Closed(1008)
        Listed.now = replace(Listed.now, retired=True)
        first.say("more")
        assert first.hear() == Closed(1008)
    seen = [r.text for r in gateway.lab.requests if r.method == "MESSAGE"]
    assert not any("more" in m or given in m for m in seen)

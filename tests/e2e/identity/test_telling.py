"""The webhook is told of requests for approval, broken glass, kill switches and keys that several people use."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.counters import HEADER
from e2e.identity.commanding import WITHIN_S, client, refusal, said, sallyport
from e2e.traffic import CANARY, eventually, running
from gateways import GatewayProcess
from receiver import Receiver, receiving
from sallyport.lab.server import Lab

SECRET_ENV = "TEST_TELLING_SECRET"


def policy(receiver: Receiver) -> str:
    return f"""
version: 1
identity:
  header: {{name: {HEADER}, trusted_peers: [127.0.0.1/32]}}
masking: {{unlisted: allow}}
limits:
  webhook: {{url: '{receiver.url}', secret_env: {SECRET_ENV}, min_interval_s: 0.1}}
access:
  rules:
    - {{id: big, effect: approve, resource: model, models: ["tel-big*"], message: Costly.}}
    - {{id: trial, effect: approve, mode: observe, models: ["tel-trial*"], message: Costly.}}
"""


@dataclass
class Place:
    gateway: GatewayProcess
    receiver: Receiver

    def do(self, *words: str) -> str:
        conf = self.gateway.confdir
        where = ("--store", f"sqlite:///{conf / 'audit.db'}", "--confdir", str(conf))
        return sallyport(*words, *where).splitlines()[-1]

    def told(self, kind: str, **facts: str) -> list[dict[str, Any]]:
        return [n for n in self.receiver.told if n["kind"] == kind and facts.items() <= n.items()]

    def is_told(self, kind: str, **facts: str) -> dict[str, Any]:
        eventually(lambda: self.told(kind, **facts), WITHIN_S, f"{kind} is told")
        (note,) = self.told(kind, **facts)
        return note


@pytest.fixture(scope="module")
def place(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("telling")
    with pytest.MonkeyPatch.context() as patch, receiving() as receiver:
        patch.setenv(SECRET_ENV, "a test's own secret")  # for the commands, which tell it themselves
        env = {SECRET_ENV: "a test's own secret"}
        with running(folder, lab, policy=policy(receiver), env=env) as gateway:
            yield Place(gateway, receiver)


def test_of_a_request_for_approval_once_and_not_where_a_rule_is_on_trial(place: Place) -> None:
    assert said(place.gateway, "ann", "tel-trial-a") == ""
    for _ in range(3):
        refusal(place.gateway, "ann", "tel-big-a")
    note = place.is_told("approval.requested", principal="ann")
    assert note["request"].startswith("apr-")
    assert (note["tenant"], note["rule"], note["resource"]) == ("default", "big", "model:tel-big-a")


def test_of_broken_glass_when_it_is_taken_and_when_it_is_used(place: Place) -> None:
    words = ("--principal", "gil", "--rule", "all", "--reason", "outage", "--for", "1h")
    taken = place.do("approvals", "break-glass", *words).partition(":")[0]
    note = place.is_told("break_glass.taken", glass=taken)
    assert (note["principal"], note["rule"], note["reason"], note["by"]) == ("gil", "all", "outage", "bob")
    assert not place.told("break_glass.used")
    eventually(lambda: said(place.gateway, "gil", "tel-big-b") == "", WITHIN_S, "the glass is broken")
    assert place.is_told("break_glass.used", principal="gil")["rule"] == "big"


def test_of_a_kill_switch_and_of_its_release(place: Place) -> None:
    id = place.do("stop", "model", "tel-none", "--reason", "drill")
    note = place.is_told("kill_switch.stopped", id=id)
    assert (note["stop"], note["value"], note["reason"], note["by"]) == ("model", "tel-none", "drill", "bob")
    place.do("resume", id)
    place.is_told("kill_switch.resumed", id=id)


def test_of_a_key_that_several_people_use(place: Place) -> None:
    for user in ("kim", "lee"):
        client(place.gateway, user, "sk-test-shared").chat.completions.create(
            model="tel-small", messages=[{"role": "user", "content": CANARY}]
        )

    def together() -> list[dict[str, Any]]:
        found = [n["principals"] for n in place.told("anomaly.key_shared")]
        return [each for each in found if {who["principal"] for who in each} == {"kim", "lee"}]

    eventually(together, WITHIN_S, "it is told")
    assert len(together()) == 1
    assert {who["tenant"] for who in together()[0]} == {"default"}


def test_and_never_of_what_was_said(place: Place) -> None:
    bodies = b"".join(body for _, body in place.receiver.calls)
    assert bodies
    for word in (CANARY, "sk-test", "hello"):
        assert word.encode() not in bodies

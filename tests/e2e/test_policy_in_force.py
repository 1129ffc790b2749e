"""A running gateway under rules on trial, a canary, a promotion that is missing, and a signed bundle."""

import signal
from pathlib import Path

from e2e.traffic import ask, assert_sound, eventually, of_kind, recorded, running, settled
from gateways import OPEN_POLICY, GatewayProcess
from policy.test_policy_bundle import Keys
from sallyport.audit.events import Event, EventKind
from sallyport.decision import Action, Mode
from sallyport.lab.server import Lab
from sallyport.policy.load import parse_policy
from sallyport.state.policybundles import Bundle, private_key

HEAD = f"""{OPEN_POLICY}
access:
  rules:
    - id: tried
      effect: forbid
      models: ["*"]
      message: Tried.
      mode: shadow
    - id: some
      effect: forbid
      models: ["*"]
      message: Some.
"""
CANARY = HEAD + "      mode: canary\n      canary: {percent: 50}\n"
SHADOW = HEAD + "      mode: shadow\n"
REQUIRED = "promotion: {required: true}\n"
CALLS = 24


def judged(gateway: GatewayProcess, policy: str) -> Event:
    """Reload with another policy; return the event that says what became of it."""
    kinds = (EventKind.POLICY_CHANGED, EventKind.POLICY_REJECTED)
    before = len(of_kind(recorded(gateway.confdir), *kinds))
    (gateway.confdir.parent / "policy.yaml").write_text(policy)
    gateway.signal(signal.SIGHUP)
    eventually(lambda: len(of_kind(recorded(gateway.confdir), *kinds)) > before, 20, "the policy was judged")
    return of_kind(recorded(gateway.confdir), *kinds)[-1]


def sides(gateway: GatewayProcess) -> list[bool]:
    """Ask in so many conversations, twice in each; return which of them are refused."""
    found = []
    for number in range(CALLS):
        statuses = {ask(gateway, f"m{number}", f"conversation {number}").status for _ in range(2)}
        assert statuses in ({200}, {403})
        found.append(statuses == {403})
    return found


def test_a_canary_refuses_the_same_conversations_after_a_restart_and_shadow_refuses_none(
    tmp_path: Path, lab: Lab
) -> None:
    with running(tmp_path, lab, policy=CANARY) as first:
        before = sides(first)
        assert 4 < sum(before) < CALLS - 4
    with running(tmp_path, lab, policy=CANARY) as again:
        assert sides(again) == before
        assert judged(again, SHADOW).kind is EventKind.POLICY_CHANGED
        assert not any(sides(again))
        events = settled(again.confdir)
    assert_sound(events)
    for event in of_kind(events, EventKind.REFUSED):
        assert event.reason == "access.some"
        assert {d.reason: d.mode for d in event.decisions}["access.some"] is Mode.CANARY
    for event in of_kind(events, EventKind.ADMITTED):
        assert (event.would_be, event.reason) == (Action.ALLOW, "")
        tried = {d.reason for d in event.decisions if d.mode is Mode.SHADOW and d.action is Action.DENY}
        assert tried == {"access.tried", "access.some"}


def test_a_policy_that_enforces_more_and_was_not_promoted_does_not_take_force(
    tmp_path: Path, lab: Lab
) -> None:
    with running(tmp_path, lab, policy=SHADOW + REQUIRED) as gateway:
        told = judged(gateway, CANARY.replace("percent: 50", "percent: 100"))
        assert (told.kind, told.detail) == (EventKind.POLICY_REJECTED, "not_promoted")
        assert ask(gateway, "still", "hello").status == 200
        assert "access.rules[some].mode" in (tmp_path / "gateway.log").read_text()
        assert judged(gateway, OPEN_POLICY + REQUIRED).kind is EventKind.POLICY_CHANGED


def test_a_start_with_what_was_not_promoted_serves_and_says_so(tmp_path: Path, lab: Lab) -> None:
    logs = []
    for policy in (SHADOW + REQUIRED, HEAD + REQUIRED, HEAD + REQUIRED):
        with running(tmp_path, lab, policy=policy) as gateway:
            ask(gateway, "first", "hello")
        logs.append((tmp_path / "gateway.log").read_text())
    events = recorded(tmp_path / "conf")
    assert [event.detail for event in of_kind(events, EventKind.STARTED)] == ["", "not_promoted", ""]
    assert ["started all the same: policy: " in log for log in logs] == [False, True, False]


def sealed(keys: Keys, text: str, serial: int) -> str:
    made = Bundle(serial, parse_policy(text).revision, "policy.yaml", {"policy.yaml": text})
    return made.sealed(private_key(keys.private))


def test_a_gateway_with_a_key_takes_what_is_signed_and_no_older(tmp_path: Path, lab: Lab) -> None:
    keys = Keys(tmp_path)
    first = sealed(keys, SHADOW, 1)
    extra = ["--policy-key", str(keys.public)]
    with running(tmp_path, lab, policy=first, extra=extra) as gateway:
        assert ask(gateway, "open", "hello").status == 200
        for wrong in (CANARY, first.replace("Tried.", "Tried!"), "{}"):
            assert judged(gateway, wrong).kind is EventKind.POLICY_REJECTED
        assert ask(gateway, "same", "hello").status == 200
        assert judged(gateway, sealed(keys, CANARY.replace("50", "100"), 2)).kind is EventKind.POLICY_CHANGED
        assert ask(gateway, "closed", "hello").status == 403
        assert judged(gateway, first).kind is EventKind.POLICY_REJECTED
        assert ask(gateway, "stays", "hello").status == 403
        assert_sound(settled(gateway.confdir))

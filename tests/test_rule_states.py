"""Between trial and force: shadow changes nothing, a canary is sticky and never makes anything milder."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from sallyport.audit.events import EventKind, about
from sallyport.audit.reporting import report
from sallyport.audit.schema import event_json
from sallyport.cli.policy import app
from sallyport.decision import Action, Decision, Edit, Mode, Verdict
from sallyport.exchange import Exchange, Principal
from sallyport.pipeline import STAGES, Step, decide
from sallyport.policy.load import load_policy, parse_policy
from sallyport.policy.problems import PolicyError
from sallyport.policy.sections import Policy, standing
from sallyport.policy.states import Canary, place_of
from samples import Desk, exchange, segment

HEAD = "version: 1\nidentity: {unknown: anonymous}\n"
ANN = Principal("ann", "acme", ("pilot", "dev"), source="key")
FORBID = "{id: new, effect: forbid, models: [gpt-5], message: No.%s}"


def call(conversation: str = "c1", who: Principal | None = ANN, **more: Any) -> Exchange:
    return replace(exchange(segment("hi"), **more), conversation=conversation, principal=who)


def judged(policy: Policy, asked: Exchange) -> Verdict:
    stages = [step for step in STAGES if step.stage.name == "access"]
    return asyncio.run(decide(asked, policy, Desk().ports, stages=stages))[1]


def with_rule(state: str, *others: str) -> Policy:
    rules = ", ".join((FORBID % state, *others))
    return parse_policy(f"{HEAD}access: {{rules: [{rules}]}}")


class Says:
    """A stage that always says the same."""

    def __init__(self, name: str, action: Action, *, raises: bool = False) -> None:
        self.name, self.action, self.raises = name, action, raises

    async def decide(self, exchange: Exchange, section: object, ports: object) -> Decision:
        if self.raises:
            raise RuntimeError
        edits = (Edit("/messages/0/content", 0, 1, "x"),) if self.action is Action.MODIFY else ()
        return Decision(self.name, self.action, f"{self.name}.said", message="told", edits=edits)


def under(state: str, *said: Action, raises: bool = False) -> Verdict:
    """Return the verdict of stages in force, and of one in a section with a state between them."""
    policy = parse_policy(f"{HEAD}injection: {{{state}}}")
    steps = [Step(Says(f"s{n}", action), lambda p: p.access) for n, action in enumerate(said[:-1])]
    steps.insert(len(steps) // 2, Step(Says("tried", said[-1], raises=raises), lambda p: p.injection))
    return asyncio.run(decide(call(), policy, Desk().ports, stages=steps))[1]


actions = st.sampled_from(list(Action))


@given(st.lists(actions, min_size=1, max_size=4), actions, st.booleans())
def test_a_section_in_shadow_changes_neither_the_verdict_nor_what_it_would_be_nor_what_is_told(
    said: list[Action], tried: Action, raises: bool
) -> None:
    without = under("mode: shadow", *said, Action.ALLOW)
    shadowed = under("mode: shadow", *said, tried, raises=raises)
    for property_ in ("action", "would_be", "edits", "changes", "warning"):
        assert getattr(shadowed, property_) == getattr(without, property_)
    assert (shadowed.cause and shadowed.cause.reason) == (without.cause and without.cause.reason)
    modes = [d.mode for d in shadowed.decisions if d.stage == "tried"]
    assert set(modes) <= {Mode.SHADOW}


@given(
    st.lists(actions, min_size=1, max_size=4),
    actions,
    st.sampled_from(["percent: 100", "percent: 50", "roles: [x]"]),
)
def test_a_canary_never_makes_a_verdict_milder(said: list[Action], tried: Action, part: str) -> None:
    without = under("mode: shadow", *said, Action.ALLOW)
    canary = under(f"mode: canary, canary: {{{part}}}", *said, tried)
    assert canary.action >= without.action
    assert canary.would_be >= without.would_be


@pytest.mark.parametrize("state", ["observe", "shadow"])
def test_what_is_not_enforced_changes_no_byte(state: str) -> None:
    verdict = under(f"mode: {state}", Action.MODIFY)
    assert (verdict.action, verdict.edits, verdict.cause) == (Action.ALLOW, (), None)
    assert verdict.would_be is (Action.MODIFY if state == "observe" else Action.ALLOW)


def test_a_rule_in_shadow_is_recorded_under_its_own_name_beside_what_is_in_force() -> None:
    verdict = judged(with_rule(", mode: shadow"), call(model="gpt-5"))
    assert [(d.reason, d.action, d.mode) for d in verdict.decisions] == [
        ("access.permitted", Action.ALLOW, Mode.ENFORCE),
        ("access.new", Action.DENY, Mode.SHADOW),
    ]
    assert (verdict.action, verdict.would_be, verdict.would_cause) == (Action.ALLOW, Action.ALLOW, None)


def test_a_rule_in_shadow_is_heard_where_the_section_refuses_anyway() -> None:
    policy = parse_policy(
        f"{HEAD}access: {{models: {{forbid: [gpt-5]}}, rules: [{FORBID % ', mode: shadow'}]}}"
    )
    verdict = judged(policy, call(model="gpt-5"))
    assert [d.reason for d in verdict.decisions] == ["access.model", "access.new"]


def test_an_approval_that_is_only_tried_is_asked_of_nobody() -> None:
    rule = "{id: ask, effect: approve, models: [gpt-5], message: Ask., mode: %s}"
    needs = {}
    for mode in ("observe", "shadow"):
        policy = parse_policy(f"{HEAD}access: {{rules: [{rule % mode}]}}")
        needs[mode] = [n for d in judged(policy, call(model="gpt-5")).decisions for n in d.needs]
    assert needs["observe"]
    assert not needs["shadow"]


CONVERSATIONS = [f"{n:032x}" for n in range(20_000)]


def test_a_conversation_stays_on_its_side_and_a_canary_that_grows_keeps_whom_it_had() -> None:
    sides = {
        percent: {c for c in CONVERSATIONS if place_of("access.new", c) < percent} for percent in (1, 5, 20)
    }
    assert sides[1] < sides[5] < sides[20]
    assert abs(len(sides[5]) / len(CONVERSATIONS) - 0.05) < 0.01
    # The exact place is what other workers and later versions go by.
    assert place_of("access.new", CONVERSATIONS[7]) == pytest.approx(69.8751309)


def test_two_canaries_do_not_take_the_same_conversations() -> None:
    one, other = ({c for c in CONVERSATIONS if place_of(name, c) < 10} for name in ("access.a", "access.b"))
    assert len(one & other) < len(one) / 4


def test_a_canary_refuses_its_part_and_is_in_shadow_for_the_rest() -> None:
    policy = with_rule(", mode: canary, canary: {percent: 30}")
    inside = [c for c in CONVERSATIONS[:200] if place_of("access.new", c) < 30]
    outside = [c for c in CONVERSATIONS[:200] if c not in inside]
    assert inside
    assert outside
    for conversation in inside:
        verdict = judged(policy, call(conversation, model="gpt-5"))
        assert (verdict.action, verdict.cause and verdict.cause.mode) == (Action.DENY, Mode.CANARY)
    for conversation in outside:
        verdict = judged(policy, call(conversation, model="gpt-5"))
        assert (verdict.action, verdict.would_be) == (Action.ALLOW, Action.ALLOW)
        assert verdict.decisions[-1].mode is Mode.SHADOW


@pytest.mark.parametrize("state", ["percent: 40", "roles: [pilot]", "tenants: [other]"])
@pytest.mark.parametrize("default", ["permit", "deny"])
@pytest.mark.parametrize("other", ["", "{id: old, effect: forbid, models: [gpt-4], message: Old.}"])
def test_another_rule_in_a_canary_never_makes_a_verdict_milder(state: str, default: str, other: str) -> None:
    permit = "{id: all, effect: permit, models: ['*'], message: All.}" if default == "deny" else ""
    others = [rule for rule in (other, permit) if rule]
    canary = FORBID % f", mode: canary, canary: {{{state}}}"
    access = f"{HEAD}access: {{default: {default}, rules: [%s]}}"
    before = parse_policy(access % ", ".join(others))
    after = parse_policy(access % ", ".join((canary, *others)))
    for model in ("gpt-5", "gpt-4"):
        for conversation in CONVERSATIONS[:30]:
            asked = call(conversation, model=model)
            assert judged(after, asked).action >= judged(before, asked).action


@pytest.mark.parametrize(
    ("part", "who", "why"),
    [
        ("roles: [pi*]", ANN, ""),
        ("roles: [ops]", ANN, "roles"),
        ("tenants: [acme]", ANN, ""),
        ("tenants: [ACME]", ANN, "tenants"),
        ("principals: [bob]", ANN, "principals"),
        ("roles: [pilot]", None, "roles"),
        ("roles: [pilot], percent: 0.000001", ANN, "percent"),
    ],
)
def test_a_canary_takes_a_call_where_all_its_keys_fit(part: str, who: Principal | None, why: str) -> None:
    policy = parse_policy(f"version: 1\ninjection: {{mode: canary, canary: {{{part}}}}}")
    assert policy.injection.canary is not None
    assert policy.injection.canary.why_not("injection", call(who=who)) == why
    assert standing(policy, policy.injection, call(who=who)) is (Mode.SHADOW if why else Mode.CANARY)


def test_a_file_in_a_canary_enforces_for_its_part_and_its_log_is_required() -> None:
    policy = parse_policy("version: 1\nmode: canary\ncanary: {roles: [pilot]}\nsecrets: {mode: observe}\n")
    assert standing(policy, policy.masking, call()) is Mode.CANARY
    assert standing(policy, policy.masking, call(who=None)) is Mode.SHADOW
    assert standing(policy, policy.secrets, call()) is Mode.OBSERVE
    assert policy.audit_required
    assert not policy.only_observes


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("mode: canary", "p:2:1", "Add for example `canary"),
        ("injection: {mode: canary}", "p:2:13", "Add for example `canary"),
        ("injection: {canary: {percent: 5}}", "p:2:13", "only `mode: canary`"),
        ("injection: {mode: canary, canary: {}}", "p:2:27", "names no part"),
        ("injection: {mode: canary, canary: {percent: 0}}", "p:2:36", "greater than 0"),
        ("injection: {mode: canary, canary: {group: [x]}}", "p:2:36", "not known"),
        ("hosts: {mode: canary}", "p:2:9", "not one of those allowed"),
        ("identity: {canary: {percent: 5}}", "p:2:12", "not known"),
        (f"access: {{default: deny, rules: [{FORBID.replace('forbid', 'permit') % ', mode: shadow'}]}}", "p:2:90", "must not"),
        ("limits: {rules: [{id: a, limit: 1, per: day, mode: canary}]}", "p:2:46", "Add for example `canary"),
    ],
)  # fmt: skip
def test_a_state_that_cannot_be_is_named_with_its_place(text: str, where: str, what: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(f"version: 1\n{text}", "p")
    assert f"{where}: " in str(raised.value)
    assert what in str(raised.value)


@pytest.mark.parametrize(
    ("ours", "theirs", "milder"),
    [
        ("mode: enforce", "mode: canary, canary: {percent: 99}", True),
        ("mode: enforce", "mode: shadow", True),
        ("mode: observe", "mode: shadow", True),
        ("mode: canary, canary: {percent: 5}", "mode: observe", True),
        ("mode: canary, canary: {percent: 5}", "mode: canary, canary: {percent: 4}", True),
        ("mode: canary, canary: {percent: 5}", "mode: canary, canary: {percent: 5, roles: [x]}", True),
        ("mode: canary, canary: {percent: 5}", "mode: canary, canary: {percent: 50}", False),
        ("mode: canary, canary: {percent: 5}", "mode: enforce", False),
        ("mode: shadow", "mode: canary, canary: {percent: 5}", False),
    ],
)
def test_a_tenant_only_tightens_a_state(tmp_path: Path, ours: str, theirs: str, milder: bool) -> None:
    (tmp_path / "acme.yaml").write_text(f"version: 1\ninjection: {{{theirs}}}\n")
    (tmp_path / "p.yaml").write_text(
        f"version: 1\ninjection: {{{ours}}}\ntenants: {{files: {{acme: acme.yaml}}}}\n"
    )
    if milder:
        with pytest.raises(PolicyError, match="milder than the company's policy"):
            load_policy(tmp_path / "p.yaml")
    else:
        assert load_policy(tmp_path / "p.yaml").for_tenant("acme").injection.mode == theirs.split(",")[0][6:]


def test_a_whole_canary_covers_a_part_and_no_part_the_whole() -> None:
    whole, part = Canary(percent=10), Canary(percent=10, roles=("a",))
    assert whole.covers(part)
    assert not part.covers(whole)
    assert Canary(roles=("a", "b")).covers(part)
    assert not Canary(roles=("b",)).covers(part)


def test_the_log_and_the_report_carry_the_state() -> None:
    asked = call(model="gpt-5")
    verdict = judged(with_rule(", mode: shadow"), asked)
    event = about(
        EventKind.ADMITTED, asked, gateway="g", policy_revision="p", rules_revision="r", verdict=verdict
    )
    said: Any = event_json(event)
    assert [d["mode"] for d in said["decisions"]] == ["enforce", "shadow"]
    assert (said["would_be"], said.get("reason") or "") == ("allow", "")
    found = report([event], event.at, event.at)
    assert found.tried == {("access", "access.new"): 1}
    assert not found.would_refuse


@pytest.mark.parametrize(
    ("role", "told"), [("pilot", "in the canary access.new"), ("other", "outside the canary")]
)
def test_explain_says_on_which_side_of_a_canary_a_call_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, told: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "p.yaml"
    path.write_text(
        f"version: 1\naccess:\n  rules:\n    - {FORBID % ', mode: canary, canary: {roles: [pilot]}'}\n"
    )
    options = ["explain", str(path), "--principal", "ann", "--role", role, "--model", "gpt-5"]
    assert told in CliRunner().invoke(app, options, catch_exceptions=False).stdout
    said = json.loads(CliRunner().invoke(app, [*options, "--json"], catch_exceptions=False).stdout)
    states = {s["reason"]: (s["mode"], s["canary"]) for s in said["stages"]}
    mode, canary = states["access.new"]
    assert told in canary
    assert (said["action"], mode) == (("deny", "canary") if role == "pilot" else ("allow", "shadow"))

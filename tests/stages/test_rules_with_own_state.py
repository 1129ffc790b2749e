"""A rule with a state of its own: in force it refuses whatever its section does, on trial nobody notices it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from sallyport.decision import Action, Decision, Mode, Verdict
from sallyport.exchange import Client, Exchange, Principal
from sallyport.pipeline import STAGES, Step, decide
from sallyport.policy.limits import Measure
from sallyport.policy.load import parse_policy
from sallyport.policy.sections import Policy, counts_apart, standing
from sallyport.proxy.gateway import Live
from sallyport.stages.ledger import Claim, Denied, LedgerUnavailable, Reserved
from sallyport.stages.stage import Estimate, Ports
from sallyport.state.ledger.memory import MemoryLedger
from samples import Desk, Findings, exchange, finding, segment

ASKED = replace(
    exchange(segment("hi"), model="nobody-knows-it"),
    principal=Principal("ann", "acme", ("dev",), source="key"),
)
NOT_ALL = "canary, canary: {roles: [pilot]}"


@dataclass
class Meter:
    """A model without a price; away: the counters do not answer."""

    away: bool = False
    models: tuple[str, ...] = ("other",)

    def estimate(self, assumed_output_tokens: int) -> Estimate:
        return Estimate(100, 400, 2000, None, None)

    async def reserve(
        self, claims: Sequence[tuple[Measure, Claim]], waits_s: Mapping[str, float]
    ) -> Reserved | Denied:
        if self.away:
            raise LedgerUnavailable
        return await MemoryLedger().reserve("x", [claim for _, claim in claims], 60_000)


def judged(policy: Policy, meter: Meter) -> Verdict:
    def ports(asked: Exchange) -> Ports:
        limiting = standing(policy, policy.limits, asked)
        return Ports(None, None, meter, limiting=limiting, limits_apart=counts_apart(policy))  # type: ignore[arg-type]

    stages = [step for step in STAGES if step.stage.name == "limits"]
    return asyncio.run(decide(ASKED, policy, ports, stages=stages))[1]


def limits(section: str, *rules: str) -> Policy:
    return parse_policy(f"version: 1\nlimits: {{mode: {section}, rules: [{', '.join(rules)}]}}")


COUNT = "{id: a, limit: 9, per: day, mode: %s}"
MONEY = "{id: b, measure: cost_usd, limit: 1, per: day, mode: %s}"
INHERITS = "{id: c, limit: 9, per: day}"


@pytest.mark.parametrize(
    ("policy", "action", "would_be"),
    [
        (limits("observe", COUNT % "enforce"), Action.DENY, Action.DENY),
        (limits("observe", INHERITS, COUNT % "canary, canary: {roles: [dev]}"), Action.DENY, Action.DENY),
        (limits("observe", INHERITS), Action.ALLOW, Action.DENY),
        (limits("enforce", INHERITS, COUNT % "shadow"), Action.DENY, Action.DENY),
        (limits("enforce", COUNT % "observe"), Action.ALLOW, Action.DENY),
        (limits("enforce", COUNT % "shadow"), Action.ALLOW, Action.ALLOW),
        (limits("enforce", COUNT % NOT_ALL), Action.ALLOW, Action.ALLOW),
    ],
)
def test_counters_that_do_not_answer_refuse_where_a_rule_that_needs_them_is_in_force(
    policy: Policy, action: Action, would_be: Action
) -> None:
    verdict = judged(policy, Meter(away=True))
    assert (verdict.action, verdict.would_be) == (action, would_be)
    assert "limits.unavailable" in {decision.reason for decision in verdict.decisions}


@pytest.mark.parametrize(
    ("policy", "action", "would_be"),
    [
        (limits("observe", MONEY % "enforce"), Action.DENY, Action.DENY),
        (limits("enforce", MONEY % "observe"), Action.ALLOW, Action.DENY),
        (limits("enforce", MONEY % "shadow"), Action.ALLOW, Action.ALLOW),
        (limits("enforce", INHERITS, MONEY % NOT_ALL), Action.ALLOW, Action.ALLOW),
    ],
)
def test_a_model_without_a_price_is_refused_as_the_budget_stands(
    policy: Policy, action: Action, would_be: Action
) -> None:
    verdict = judged(policy, Meter())
    assert (verdict.action, verdict.would_be) == (action, would_be)
    assert "limits.no_price" in {decision.reason for decision in verdict.decisions}


@pytest.mark.parametrize(
    ("policy", "asked"),
    [
        (limits("observe", MONEY % "enforce"), True),
        (limits("observe", COUNT % "enforce", MONEY % "observe"), False),
        (limits("enforce", MONEY % "shadow"), False),
        (limits("enforce", MONEY % "canary, canary: {percent: 5}"), True),
    ],
)
def test_a_report_of_usage_is_asked_for_where_a_budget_is_in_force(policy: Policy, asked: bool) -> None:
    assert Live.counts_usage.fget(SimpleNamespace(policy=policy)) is asked  # type: ignore[attr-defined]


class Failing:
    name = "access"

    async def decide(self, exchange: Exchange, section: Any, ports: Ports) -> Decision:
        raise RuntimeError


@pytest.mark.parametrize(
    ("section", "rule", "mode"),
    [
        ("observe", "enforce", Mode.ENFORCE),
        ("observe", "canary, canary: {roles: [dev]}", Mode.CANARY),
        ("shadow", "enforce", Mode.ENFORCE),
        ("observe", NOT_ALL, Mode.OBSERVE),
        ("observe", "observe", Mode.OBSERVE),
        ("enforce", "shadow", Mode.ENFORCE),
    ],
)
def test_a_stage_that_cannot_decide_refuses_where_one_of_its_rules_is_in_force(
    section: str, rule: str, mode: Mode
) -> None:
    rules = f"[{{id: a, effect: forbid, models: [x], message: No., mode: {rule}}}]"
    policy = parse_policy(f"version: 1\naccess: {{mode: {section}, rules: {rules}}}")
    step = Step(Failing(), lambda p: p.access)
    verdict = asyncio.run(decide(ASKED, policy, lambda e: Ports(None, None), stages=[step]))[1]  # type: ignore[arg-type]
    assert [(d.reason, d.mode) for d in verdict.decisions] == [("access.could_not_decide", mode)]


CLASSED = """version: 1
access:
  mode: observe
  purpose: {header: X-Purpose, allow: [work]}
  data_classes: [{name: contact, any: [{entities: [EMAIL_ADDRESS]}]}]
  rules: [{id: a, effect: forbid, data_classes: [contact], message: No., mode: enforce}]
"""


@pytest.mark.parametrize("tag", [(("x-purpose", "work"),), (("x-purpose", "play"),), ()])
def test_a_wrong_tag_does_not_hide_the_data_from_a_rule_in_force(tag: tuple[tuple[str, str], ...]) -> None:
    text = "write to a@example.com"
    asked = exchange(segment(text), client=Client("10.0.0.7", "explicit", headers=tag))
    desk = Desk(Findings((finding(text, "a@example.com"),)))
    stages = [step for step in STAGES if step.stage.name == "access"]
    verdict = asyncio.run(decide(asked, parse_policy(CLASSED), desk.ports, stages=stages))[1]
    assert (verdict.action, verdict.cause and verdict.cause.reason) == (Action.DENY, "access.a")

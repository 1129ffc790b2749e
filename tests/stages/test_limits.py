"""What the limits stage claims and says: keys, amounts, windows, tiers, factors; and what a caller reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sallyport.decision import Action, Decision, Mode
from sallyport.exchange import Client, Exchange, Operation, Principal, Request, Segment, Surface
from sallyport.policy.limits import Limits, Measure
from sallyport.policy.load import parse_policy
from sallyport.stages.ledger import (
    Calendar,
    Claim,
    Concurrent,
    Denied,
    LedgerUnavailable,
    Reserved,
    RollingWindow,
    TokenBucket,
    Unit,
)
from sallyport.stages.limits import LimitsStage
from sallyport.stages.stage import Estimate, Ports
from sallyport.state.ledger.memory import MemoryLedger

SECRET_WORDS = "the merger with Umbra closes on Friday"
ESTIMATE = Estimate(100, 400, 2000, 5_000, 500_000)
ANN = Principal(id="ann", tenant="acme", source="header", confidence=0.9, roles=("dev", "ops"))


def limits(rules: str, more: str = "") -> Limits:
    indented = "\n".join(f"    {line}" for line in rules.strip().splitlines())
    return parse_policy(f"version: 1\nlimits:\n  ask: Ada\n{more}  rules:\n{indented}\n").limits


def asking(who: Principal | None = ANN, **request: Any) -> Exchange:
    fields: dict[str, Any] = {"provider": "openai", "dialect": "openai_chat", "operation": Operation.CHAT}
    fields |= {"model": "gpt-5", "segments": (Segment("/m", Surface.USER, SECRET_WORDS),)}
    return Exchange(
        id="x1",
        conversation="c1",
        received_at=datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
        host="api.openai.com",
        client=Client("10.0.0.7", "explicit", credential="fp1"),
        request=Request(**(fields | request)),
        principal=who,
    )


@dataclass
class Meter:
    """A meter port over a real ledger in memory that also remembers what was asked of it."""

    estimated: Estimate = ESTIMATE
    mode: Mode = Mode.ENFORCE
    unavailable: bool = False
    local: bool = False
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    claims: list[tuple[Measure, Claim]] = field(default_factory=list)
    waits_s: Mapping[str, float] = field(default_factory=dict)
    number: int = 0
    models: tuple[str, ...] = ("gpt-5",)

    def estimate(self, assumed_output_tokens: int) -> Estimate:
        return self.estimated

    async def reserve(
        self, claims: Sequence[tuple[Measure, Claim]], waits_s: Mapping[str, float]
    ) -> Reserved | Denied:
        if self.unavailable:
            raise LedgerUnavailable
        self.claims, self.waits_s = list(claims), waits_s
        self.number += 1
        answer = await self.ledger.reserve(f"x{self.number}", [c for _, c in claims], 60_000)
        return replace(answer, local=self.local)


async def decided(
    section: Limits, exchange: Exchange | None = None, meter: Meter | None = None
) -> tuple[Decision, Meter]:
    meter = meter or Meter()
    apart = meter.mode is Mode.SHADOW
    ports = Ports(scanner=None, vault=None, meter=meter, limiting=meter.mode, limits_apart=apart)  # type: ignore[arg-type]
    return await LimitsStage().decide(exchange or asking(), section, ports), meter


async def claimed(rules: str, exchange: Exchange | None = None, **more: Any) -> dict[str, Claim]:
    _, meter = await decided(limits(rules, more.pop("section", "")), exchange, Meter(**more))
    return {claim.key: claim for _, claim in meter.claims}


# -- keys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("[]", ["a"]),
        ("[principal]", ["a/principal=acme:ann"]),
        ("[tenant]", ["a/tenant=acme"]),
        ("[role]", ["a/role=acme:dev", "a/role=acme:ops"]),
        ("[key]", ["a/key=fp1"]),
        ("[model]", ["a/model=gpt-5"]),
        ("[provider, operation]", ["a/provider=openai/operation=chat"]),
        ("[network]", ["a/network=10.0.0.7"]),
        ("[tenant, role]", ["a/tenant=acme/role=acme:dev", "a/tenant=acme/role=acme:ops"]),
    ],
)
async def test_a_counter_is_named_by_the_limit_and_what_it_counts_apart(by: str, keys: list[str]) -> None:
    assert list(await claimed(f"- {{id: a, limit: 5, per: minute, by: {by}}}")) == keys


@pytest.mark.parametrize("by", ["[principal]", "[tenant]", "[role]", "[tenant, model]"])
async def test_a_tenant_has_the_same_counters_in_any_case(by: str) -> None:
    rules = f"- {{id: a, limit: 5, per: minute, by: {by}}}"
    assert list(await claimed(rules, asking(replace(ANN, tenant="ACMe")))) == list(await claimed(rules))


async def test_the_same_name_in_two_tenants_is_two_people_and_a_slash_in_a_name_no_other_counter() -> None:
    rules = "- {id: a, limit: 5, per: minute}"
    other = await claimed(rules, asking(replace(ANN, tenant="umbra")))
    odd = await claimed(rules, asking(replace(ANN, id="ann/model=x")))
    assert list(other) == ["a/principal=umbra:ann"]
    assert list(odd) == ["a/principal=acme:ann%2Fmodel%3Dx"]


async def test_who_has_no_role_shares_a_counter_with_those_who_have_none() -> None:
    found = await claimed("- {id: a, limit: 5, per: minute, by: [role]}", asking(replace(ANN, roles=())))
    assert list(found) == ["a/role=acme:"]


async def test_every_model_that_may_answer_needs_room_on_its_own_counter() -> None:
    rules = "- {id: a, limit: 1, per: month, by: [model]}\n- {id: b, limit: 5, per: month, by: [provider]}"
    found = await claimed(rules, models=("small", "large"))
    assert {key: claim.model for key, claim in found.items()} == {
        "a/model=small": "small",
        "a/model=large": "large",
        "b/provider=openai": None,
    }
    meter = Meter(models=("large",))
    assert (await decided(limits(rules), meter=meter))[0].action is Action.ALLOW
    meter.models = ("small", "large")
    assert (await decided(limits(rules), meter=meter))[0].reason == "limits.a"


# -- amounts and windows -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "limit", "amount"),
    [
        ("requests", 7, 1),
        ("input_tokens", 7, 100),
        ("output_tokens", 7, 400),
        ("total_tokens", 7, 500),
        ("bytes", 7, 2000),
        ("cost_usd", 7_000_000, 5_000),
        ("credits", 7_000_000, 500_000),
    ],
)
async def test_a_request_claims_its_estimate_in_the_unit_of_the_measure(
    measure: str, limit: int, amount: int
) -> None:
    (claim,) = (await claimed(f"- {{id: a, measure: {measure}, limit: 7, per: month}}")).values()
    assert (claim.limit, claim.amount) == (limit, amount)


@pytest.mark.parametrize(
    ("how", "window"),
    [
        ("per: minute", TokenBucket(9, 60_000)),
        ("per: minute, burst: 3", TokenBucket(9, 60_000)),
        ("per: day", Calendar(Unit.DAY, "Europe/Berlin")),
        ("per: hour, window: calendar", Calendar(Unit.HOUR, "Europe/Berlin")),
        ("per: day, window: rolling", RollingWindow(86_400_000)),
        ("measure: concurrent", Concurrent()),
    ],
)
async def test_a_limit_counts_in_its_window(how: str, window: object) -> None:
    (claim,) = (
        await claimed(f"- {{id: a, limit: 9, {how}}}", section="  time_zone: Europe/Berlin\n")
    ).values()
    assert claim.window == window
    assert claim.limit == (3 if "burst" in how else 9)


@pytest.mark.parametrize(
    ("who", "limit"),
    [
        (ANN, 30),
        (replace(ANN, roles=("ops",)), 30),
        (replace(ANN, roles=("dev",)), 20),
        (replace(ANN, roles=()), 10),
        (replace(ANN, roles=("dev",), tenant="umbra"), 5),
        (replace(ANN, roles=("dev",), tenant="UMBRA"), 5),
    ],
)
async def test_the_largest_tier_that_fits_wins_and_may_be_smaller_than_the_limit(
    who: Principal, limit: int
) -> None:
    rule = "- {id: a, limit: 10, per: day, tiers: [{role: ops, limit: 30}, {role: dev, tenant: acme, limit: 20}, {tenant: umbra, limit: 5}]}"
    (claim,) = (await claimed(rule, asking(who))).values()
    assert claim.limit == limit


@pytest.mark.parametrize(("stream", "limit"), [(True, 20), (False, 80)])
async def test_factors_that_hold_multiply_the_limit(stream: bool, limit: int) -> None:
    rule = "- {id: a, limit: 40, per: day, factors: [{when: request.stream, times: 0.25}, {when: 'request.provider == \"openai\"', times: 2}]}"
    (claim,) = (await claimed(rule, asking(stream=stream))).values()
    assert claim.limit == limit


async def test_a_condition_that_fails_makes_the_limit_apply_and_the_smaller_factor_count() -> None:
    broken = 'principal.attributes["team"] == "x"'
    rule = f"- {{id: a, limit: 40, per: day, when: '{broken}', factors: [{{when: '{broken}', times: 0.5}}, {{when: '{broken}', times: 3}}]}}"
    (claim,) = (await claimed(rule)).values()
    assert claim.limit == 20


async def test_a_limit_whose_condition_does_not_hold_counts_nothing() -> None:
    decision, meter = await decided(limits("- {id: a, limit: 0, per: day, when: request.stream}"))
    assert (decision.action, decision.reason, meter.claims) == (Action.ALLOW, "limits.none", [])


# -- verdicts ------------------------------------------------------------------------------------------


async def test_a_denial_says_which_limit_how_much_when_and_whom_to_ask_and_no_word_of_the_prompt() -> None:
    section = limits("- {id: spend, measure: cost_usd, limit: 0.012, per: month, ask: Bea}")
    first, meter = await decided(section)
    await decided(section, meter=meter)
    third, _ = await decided(section, meter=meter)
    assert (first.action, first.reason) == (Action.ALLOW, "limits.reserved")
    assert (third.action, third.status, third.reason) == (Action.DENY, 429, "limits.spend")
    assert third.message.startswith(
        "The limit `spend` of 0.012 US dollars per month for this principal has no room for this request: "
        "0 used, 0.01 under way, 0.005 needed, full again in "
    )
    assert third.message.endswith(" Ask Bea for more.")
    assert not any(word in third.message for word in SECRET_WORDS.split() if len(word) > 4)


@pytest.mark.parametrize(
    ("per", "window", "soon"),
    [("minute", "bucket", True), ("hour", "bucket", False), ("day", "calendar", False)],
)
async def test_only_who_fits_within_a_minute_is_told_to_try_again(per: str, window: str, soon: bool) -> None:
    section = limits(f"- {{id: a, limit: 1, per: {per}, window: {window}}}")
    _, meter = await decided(section)
    decision, _ = await decided(section, meter=meter)
    assert decision.action is Action.DENY
    assert (decision.retry_after_s is not None) == soon
    assert not soon or 0 < (decision.retry_after_s or 0) <= 60


async def test_the_denial_is_about_the_limit_that_lasts_longest() -> None:
    section = limits(
        "- {id: short, limit: 1, per: second}\n- {id: long, limit: 1, per: month}\n- {id: wide, limit: 99, per: day}"
    )
    _, meter = await decided(section)
    decision, _ = await decided(section, meter=meter)
    assert decision.reason == "limits.long"


async def test_a_soft_limit_warns_and_grace_is_used_before_anything_is_refused() -> None:
    section = limits("- {id: a, limit: 2, per: month, soft: 1, grace: 0.5}")
    meter = Meter()
    reasons = [(await decided(section, meter=meter))[0].reason for _ in range(4)]
    assert reasons == ["limits.reserved", "limits.soft", "limits.soft", "limits.a"]
    assert (await decided(section, meter=meter))[0].message.startswith(
        "The limit `a` of 2 requests per month"
    )


async def test_a_rule_that_observes_beside_one_that_is_enforced_denies_nobody() -> None:
    section = limits("- {id: seen, limit: 1, per: month, mode: observe}\n- {id: hard, limit: 3, per: month}")
    meter = Meter()
    found = [(await decided(section, meter=meter))[0] for _ in range(4)]
    assert [(d.reason, d.rule_mode) for d in found] == [
        ("limits.reserved", None),
        ("limits.seen", Mode.OBSERVE),
        ("limits.seen", Mode.OBSERVE),
        ("limits.hard", None),
    ]


async def test_where_the_policy_observes_everything_is_counted_and_the_decision_is_what_it_would_be() -> None:
    section = limits("- {id: a, limit: 1, per: month}")
    meter = Meter(mode=Mode.OBSERVE)
    found = [(await decided(section, meter=meter))[0] for _ in range(3)]
    assert [d.reason for d in found] == ["limits.reserved", "limits.a", "limits.a"]
    (level,) = await meter.ledger.levels()
    assert level.reserved == 3


async def test_how_long_to_wait_is_said_for_each_limit() -> None:
    section = limits("- {id: a, limit: 1, per: minute, wait_s: 7}\n- {id: b, limit: 1, per: month}")
    _, meter = await decided(section)
    assert meter.waits_s == {"a/principal=acme:ann": 7.0, "b/principal=acme:ann": 0.0}


async def test_money_is_not_spent_on_a_model_without_a_price() -> None:
    unknown = Estimate(100, 400, 2000, None, None)
    money = limits("- {id: a, measure: cost_usd, limit: 1, per: day}\n- {id: b, limit: 9, per: day}")
    decision, meter = await decided(money, meter=Meter(unknown))
    assert (decision.action, decision.reason, meter.claims) == (Action.DENY, "limits.no_price", [])
    calls = limits("- {id: b, limit: 9, per: day}")
    assert (await decided(calls, meter=Meter(unknown)))[0].action is Action.ALLOW


async def test_what_needs_nothing_passes_also_where_more_was_used_than_reserved() -> None:
    section = limits("- {id: a, measure: cost_usd, limit: 0.006, per: month}")
    _, meter = await decided(section)
    await meter.ledger.settle("x1", {"a/principal=acme:ann": 9_000})
    assert (await decided(section, meter=meter))[0].action is Action.DENY
    meter.estimated = Estimate(0, 0, 2000, 0, 0)
    decision, _ = await decided(section, meter=meter)
    assert (decision.action, decision.reason) == (Action.ALLOW, "limits.reserved")


@pytest.mark.parametrize(
    ("ceiling", "request_", "said"),
    [
        ("texts: 1", {"segments": tuple(Segment(f"/{n}", Surface.USER, "x") for n in range(2))}, "2 texts"),
        ("input_tokens: 99", {}, "about 100 tokens"),
        ("max_output_tokens: 10", {"max_output_tokens": 11}, "asks for 11 tokens"),
    ],
)
async def test_a_request_above_a_ceiling_is_refused_before_anything_is_reserved(
    ceiling: str, request_: dict[str, Any], said: str
) -> None:
    section = limits("- {id: a, limit: 9, per: day}", f"  ceilings: {{{ceiling}}}\n")
    decision, meter = await decided(section, asking(**request_))
    assert (decision.action, decision.status, decision.reason) == (Action.DENY, 400, "limits.ceiling")
    assert said in decision.message
    assert meter.claims == []


async def test_a_store_that_does_not_answer_refuses_with_503() -> None:
    decision, _ = await decided(limits("- {id: a, limit: 9, per: day}"), meter=Meter(unavailable=True))
    assert (decision.action, decision.status, decision.reason) == (Action.DENY, 503, "limits.unavailable")


async def test_a_denial_by_the_share_of_this_process_says_so() -> None:
    decision, _ = await decided(limits("- {id: a, limit: 0, per: day}"), meter=Meter(local=True))
    assert decision.message.startswith("The counters cannot be reached")
    assert decision.reason == "limits.a"


async def test_without_rules_nobody_is_asked() -> None:
    decision = await LimitsStage().decide(asking(), parse_policy("version: 1\n").limits, Ports(None, None))  # type: ignore[arg-type]
    assert (decision.action, decision.reason) == (Action.ALLOW, "limits.none")


def test_the_example_of_the_page_is_a_policy() -> None:
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text("utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    policy = parse_policy(example)
    assert [rule.id for rule in policy.limits.rules] == ["per-minute", "team-budget", "at-once", "night"]
    assert policy.limits.assumed_output_tokens == 4096
    assert policy.limits.lease_s == 90


# -- states --------------------------------------------------------------------------------------------


async def test_a_limit_in_shadow_counts_on_its_own_counter_and_spends_nothing_that_is_in_force() -> None:
    trial = limits("- {id: a, limit: 1, per: month, mode: shadow, soft: 0.5}")
    meter = Meter()
    found = [(await decided(trial, meter=meter))[0] for _ in range(3)]
    assert [(d.action, d.reason, d.message) for d in found] == [(Action.ALLOW, "limits.reserved", "")] * 3
    assert [[t.reason for t in d.tried] for d in found] == [[], ["limits.a"], ["limits.a"]]
    in_force = limits("- {id: a, limit: 1, per: month}")
    assert (await decided(in_force, meter=meter))[0].action is Action.ALLOW
    assert {level.key for level in await meter.ledger.levels()} == {
        "~a/principal=acme:ann",
        "a/principal=acme:ann",
    }


async def test_limits_in_shadow_as_a_whole_are_each_recorded_and_none_is_spent() -> None:
    section = limits("- {id: a, limit: 1, per: month}\n- {id: b, limit: 2, per: month}")
    meter = Meter(mode=Mode.SHADOW)
    found = [(await decided(section, meter=meter))[0] for _ in range(3)]
    assert [[t.reason for t in d.tried] for d in found] == [[], ["limits.a"], ["limits.a", "limits.b"]]
    meter.mode = Mode.ENFORCE
    assert (await decided(section, meter=meter))[0].action is Action.ALLOW


async def test_a_limit_in_a_canary_counts_everybody_and_refuses_those_inside() -> None:
    section = limits("- {id: a, limit: 2, per: month, by: [], mode: canary, canary: {roles: [pilot]}}")
    meter = Meter()
    inside, outside = asking(replace(ANN, roles=("pilot",))), asking(replace(ANN, roles=("dev",)))
    found = [(await decided(section, who, meter))[0] for who in (outside, outside, outside, inside)]
    assert [d.action for d in found] == [Action.ALLOW] * 3 + [Action.DENY]
    assert [t.reason for t in found[2].tried] == ["limits.a"]
    assert (found[3].reason, found[3].rule_mode) == ("limits.a", Mode.CANARY)

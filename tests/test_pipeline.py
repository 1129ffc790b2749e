"""Decisions become a verdict: never milder for another stage, never a yes from a failure, nothing in observe."""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.decision import Action, Decision, Edit, Mode, Verdict
from sallyport.detect.errors import ScanIncomplete, ScanLate
from sallyport.exchange import Exchange, Principal
from sallyport.pipeline import STAGES, Step, decide, merge_edits
from sallyport.policy.load import parse_policy
from samples import Desk, exchange, segment

ENFORCE = parse_policy("version: 1\nidentity: {unknown: anonymous}\n")
OBSERVE = parse_policy("version: 1\nmode: observe\n")


class Fixed:
    """A stage that always says the same, or raises it."""

    def __init__(self, name: str, says: Any) -> None:
        self.name, self.says, self.seen = name, says, 0

    async def decide(self, exchange: Exchange, section: object, ports: object) -> Decision:
        self.seen += 1
        if isinstance(self.says, BaseException):
            raise self.says
        if isinstance(self.says, Action):
            return Decision(self.name, self.says, f"{self.name}.said")
        return self.says  # type: ignore[no-any-return]


def steps(*says: Any) -> list[Step]:
    return [Step(Fixed(f"s{i}", said), lambda policy: policy.access) for i, said in enumerate(says)]


async def verdict(policy: Any, *says: Any, deadline_s: float | None = None) -> Verdict:
    asked = exchange(segment("hi"))
    _, result = await decide(asked, policy, Desk().ports, stages=steps(*says), deadline_s=deadline_s)
    return result


actions = st.sampled_from(list(Action))


@given(st.lists(actions, min_size=1, max_size=6), actions, st.integers(0, 6))
def test_another_stage_never_makes_a_verdict_milder(said: list[Action], more: Action, place: int) -> None:
    before = asyncio.run(verdict(ENFORCE, *said))
    after = asyncio.run(verdict(ENFORCE, *said[:place], more, *said[place:]))
    assert after.action >= before.action


FAILURES = [RuntimeError("x"), RecursionError(), MemoryError(), asyncio.CancelledError(), TimeoutError(), SystemExit(1),
            KeyboardInterrupt(), None, "yes", True, Decision("other", Action.ALLOW, "x")]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: type(f).__name__)
async def test_a_failure_is_a_denial_in_enforce_and_a_recorded_one_in_observe(failure: Any) -> None:
    enforced = await verdict(ENFORCE, Action.ALLOW, failure, Action.ALLOW)
    assert enforced.action is Action.DENY
    assert enforced.cause is not None
    assert enforced.cause.reason == "s1.could_not_decide"
    assert len(enforced.decisions) == 2
    observed = await verdict(OBSERVE, failure, Action.ALLOW)
    assert (observed.action, observed.would_be) == (Action.ALLOW, Action.DENY)
    assert len(observed.decisions) == 2


async def test_a_stage_that_hangs_has_denied() -> None:
    class Hanging(Fixed):
        async def decide(self, exchange: Exchange, section: object, ports: object) -> Decision:
            await asyncio.sleep(60)
            raise AssertionError

    step = Step(Hanging("slow", None), lambda policy: policy.access)
    _, result = await decide(exchange(), ENFORCE, Desk().ports, stages=[step], deadline_s=0.05)
    assert result.cause is not None
    assert result.cause.reason == "slow.could_not_decide"
    assert (result.cause.status, result.cause.retry_after_s) == (503, 1)


@pytest.mark.parametrize(
    ("failure", "is_late"),
    [
        (TimeoutError(), True),
        (ScanLate("no time"), True),
        (ScanIncomplete("too much of it"), False),
        (RuntimeError("x"), False),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_only_a_want_of_time_may_be_asked_again(failure: Exception, is_late: bool) -> None:
    cause = (await verdict(ENFORCE, failure)).cause
    assert cause is not None
    assert (cause.status, cause.retry_after_s is not None) == ((503, True) if is_late else (403, False))


async def test_the_tasks_own_cancellation_goes_on() -> None:
    class Hanging(Fixed):
        async def decide(self, exchange: Exchange, section: object, ports: object) -> Decision:
            await asyncio.sleep(60)
            raise AssertionError

    step = Step(Hanging("slow", None), lambda policy: policy.access)
    task = asyncio.create_task(decide(exchange(), ENFORCE, Desk().ports, stages=[step]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_deny_in_force_stops_the_later_stages_and_one_on_trial_does_not() -> None:
    chain = steps(Action.ALLOW, Action.DENY, Action.ALLOW)
    await decide(exchange(), ENFORCE, Desk().ports, stages=chain)
    assert [s.stage.seen for s in chain] == [1, 1, 0]  # type: ignore[attr-defined]
    chain = steps(Action.ALLOW, Action.DENY, Action.ALLOW)
    await decide(exchange(), OBSERVE, Desk().ports, stages=chain)
    assert [s.stage.seen for s in chain] == [1, 1, 1]  # type: ignore[attr-defined]


@given(st.lists(actions, min_size=1, max_size=6))
def test_observe_enforces_nothing_and_computes_everything(said: list[Action]) -> None:
    result = asyncio.run(verdict(OBSERVE, *said))
    assert result.action is Action.ALLOW
    assert result.edits == ()
    assert result.would_be is max(said)


async def test_a_rules_own_mode_wins_over_the_stages_and_the_files() -> None:
    denied = Decision("s0", Action.DENY, "r", rule_mode=Mode.ENFORCE)
    assert (await verdict(OBSERVE, denied)).action is Action.DENY
    assert (await verdict(ENFORCE, replace(denied, rule_mode=Mode.OBSERVE))).action is Action.ALLOW


async def test_the_principal_of_identity_is_known_to_the_stages_after_it() -> None:
    seen: list[Principal | None] = []

    class Looking(Fixed):
        async def decide(self, exchange: Exchange, section: object, ports: object) -> Decision:
            seen.append(exchange.principal)
            return Decision(self.name, Action.ALLOW, "ok")

    eve = Principal("eve", "t")
    chain = [
        Step(Fixed("identity", Decision("identity", Action.ALLOW, "x", principal=eve)), lambda p: p.identity),
        Step(Looking("later", None), lambda p: p.access),
    ]
    after, _ = await decide(exchange(), ENFORCE, Desk().ports, stages=chain)
    assert seen == [eve]
    assert after.principal == eve


def test_the_stages_stand_in_the_order_of_the_design() -> None:
    assert [s.stage.name for s in STAGES] == [
        "identity",
        "access",
        "access",  # of the tenant, where it has a file of its own
        "limits",
        "secrets",
        "masking",
        "injection",
    ]


async def test_only_an_optional_step_may_have_no_section() -> None:
    permits = Fixed("later", Decision("later", Action.ALLOW, "ok"))
    left_out = Step(permits, lambda policy: None, optional=True)
    _, verdict = await decide(exchange(), ENFORCE, Desk().ports, stages=[left_out])
    assert verdict.decisions == ()
    broken = Step(Fixed("later", None), lambda policy: None)
    _, verdict = await decide(exchange(), ENFORCE, Desk().ports, stages=[broken])
    assert verdict.action is Action.DENY


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from("abc")), max_size=8))
def test_merged_edits_do_not_overlap_and_cover_all_that_was_to_go(spans: list[tuple[int, int, str]]) -> None:
    edits = [Edit("/x", start, start + size, "<" + what + ">") for start, size, what in spans]
    merged = merge_edits(edits, lambda both, union: "<union>")
    covered = {i for e in edits for i in range(e.start, e.end)}
    assert {i for e in merged for i in range(e.start, e.end)} == covered
    assert all(a.end <= b.start for a, b in itertools.pairwise(merged))


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("mode: observe", True),
        ("mode: enforce", False),
        ("mode: observe\naccess: {mode: enforce}", False),
        ("mode: observe\nmasking: {mode: enforce}", False),
        (
            "mode: observe\naccess: {rules: [{id: a, effect: forbid, when: 'true', message: m, mode: enforce}]}",
            False,
        ),
        ("mode: observe\naccess: {rules: [{id: a, effect: forbid, when: 'true', message: m}]}", True),
    ],
)
def test_a_policy_only_observes_if_nothing_in_it_enforces(text: str, only: bool) -> None:
    assert parse_policy("version: 1\n" + text).only_observes is only

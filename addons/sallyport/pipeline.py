"""The one visible list of stages, and how their decisions become a verdict.

A stage computes its decision whether or not it is enforced; the mode is put on afterwards. A deny that is
enforced stops the later stages. A stage that raises, hangs or returns nonsense has denied; where it is not
enforced, it is recorded as one that would have.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, replace
from types import CoroutineType, coroutine
from typing import Any

from sallyport.decision import Action, Decision, Edit, Mode, Verdict
from sallyport.detect.errors import ScanLate
from sallyport.exchange import Exchange, Operation, Request
from sallyport.policy.sections import Policy, failing, standing
from sallyport.stages.access import AccessStage, PreflightStage
from sallyport.stages.identity import IdentityStage, PreflightIdentityStage
from sallyport.stages.injection import InjectionStage
from sallyport.stages.limits import LimitsStage
from sallyport.stages.masking import MaskingStage
from sallyport.stages.preflight import PreflightLimitsStage
from sallyport.stages.secrets import SecretsStage
from sallyport.stages.stage import Ports, Stage
from sallyport.stages.stops import StopStage

LATE_RETRY_S = 1
"""When a call is asked for again that nobody had the time to look at; what was looked at is known by then."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage and where its section lies in the policy. waits_s: how long it may wait on purpose.

    optional: the step is left out where the policy has no such section.
    """

    stage: Stage[Any]
    section: Callable[[Policy], Any]
    waits_s: Callable[[Policy], float] = lambda policy: 0.0
    optional: bool = False


STAGES: tuple[Step, ...] = (
    Step(IdentityStage(), lambda policy: policy.identity),
    Step(AccessStage(), lambda policy: policy.access),
    Step(AccessStage(), lambda policy: policy.tenant_access, optional=True),
    Step(LimitsStage(), lambda policy: policy.limits, lambda policy: policy.limits.longest_wait_s),
    Step(SecretsStage(), lambda policy: policy.secrets),
    Step(MaskingStage(), lambda policy: policy.masking),
    Step(InjectionStage(), lambda policy: policy.injection),
    # cache, routing: a stored answer, or another upstream
)


STOP_STAGES: tuple[Step, ...] = (STAGES[0], Step(StopStage(), lambda policy: policy.access))
"""Who speaks, and whether a kill switch stops it: all that is asked of a body that nobody can read."""


PREFLIGHT_STAGES: tuple[Step, ...] = (
    Step(PreflightIdentityStage(), lambda policy: policy.identity),
    Step(PreflightStage(), lambda policy: policy.access),
    Step(PreflightStage(), lambda policy: policy.tenant_access, optional=True),
    replace(STAGES[3], stage=PreflightLimitsStage()),
    *STAGES[-3:],
)
"""What is asked of a browser's question whether a page may call: where to, how often, and may its texts leave."""


def stages_of(request: Request, identity: Stage[Any] | None = None) -> tuple[Step, ...]:
    """Return the stages that a gateway asks about a request. identity: who speaks, where the wire does not say it."""
    ahead = request.operation is Operation.PREFLIGHT
    first, *others = PREFLIGHT_STAGES if ahead else STAGES
    if identity is not None:
        first = replace(first, stage=PreflightIdentityStage(identity) if ahead else identity)
    return (first, *others)


async def decide(
    exchange: Exchange,
    policy: Policy,
    ports_of: Callable[[Exchange], Ports],
    *,
    stages: Sequence[Step] = STAGES,
    deadline_s: float | None = None,
) -> tuple[Exchange, Verdict]:
    """Run the stages in order. Returns the exchange with its principal, and the verdict. Raises nothing.

    ports_of: makes the ports for an exchange; asked again once the principal is known, since masks belong
    to a principal. From then on the policy is that of the principal's tenant. deadline_s: for each stage;
    None takes the policy's detection deadline.
    """
    limit = policy.detection.deadline_s if deadline_s is None else deadline_s
    decisions: list[Decision] = []
    ports: Ports | None = None
    for step in stages:
        started = time.perf_counter_ns()
        section = None
        try:
            section = step.section(policy)
            if section is None and step.optional:
                continue
            if ports is None:
                ports = ports_of(exchange)
            decision = await _within(
                limit + step.waits_s(policy), step.stage.decide(exchange, section, ports)
            )
            if type(decision) is not Decision or decision.stage != step.stage.name:
                raise TypeError("a stage returned something that is not its decision")
        except BaseException as error:
            if _cancelled(error):
                raise
            decision = _could_not_decide(step.stage.name, error, failing(policy, section, exchange))
        if decision.principal is not None:
            exchange = replace(exchange, principal=decision.principal)
        mode = decision.rule_mode or standing(policy, section, exchange)
        tried = decision.tried
        decision = _stamped(decision, mode, (time.perf_counter_ns() - started) // 1000)
        decisions.append(decision)
        decisions += (replace(each, mode=Mode.SHADOW, rule_mode=Mode.SHADOW) for each in tried)
        if decision.principal is not None:
            policy = policy.for_tenant(decision.principal.tenant)
            ports = None
        if decision.action is Action.DENY and decision.enforced:
            break
    return exchange, Verdict(tuple(decisions))


async def _within(limit_s: float, deciding: Coroutine[Any, Any, Decision]) -> Decision:
    """Return what a stage decides; raise TimeoutError after limit_s. One that never waits needs no timer."""
    if not isinstance(deciding, CoroutineType):
        raise TypeError("a stage that is no coroutine")
    try:
        waits_for = deciding.send(None)
    except StopIteration as decided:
        decision: Decision = decided.value
        return decision
    async with asyncio.timeout(limit_s):
        return await _rest(deciding, waits_for)


@coroutine
def _rest(deciding: Coroutine[Any, Any, Decision], waits_for: Any) -> Generator[Any, Any, Decision]:
    """Await what is left of a coroutine that has begun, as `await` would have."""
    try:
        while True:
            try:
                given = yield waits_for
            except BaseException as error:
                waits_for = deciding.throw(error)
            else:
                waits_for = deciding.send(given)
    except StopIteration as decided:
        decision: Decision = decided.value
        return decision


def _stamped(decision: Decision, mode: Mode, duration_us: int) -> Decision:
    """Return a decision with its mode and how long it took; what dataclasses.replace does, in a third of its time."""
    return Decision(
        decision.stage,
        decision.action,
        decision.reason,
        mode,
        decision.message,
        decision.findings,
        decision.edits,
        decision.principal,
        decision.rule_mode,
        decision.status,
        duration_us,
        decision.retry_after_s,
        decision.changes,
        decision.needs,
        decision.overridden,
        decision.spoken,
        media=decision.media,
    )


def _could_not_decide(stage: str, error: BaseException, rule_mode: Mode | None) -> Decision:
    """Return the denial of a stage that did not decide; where only time was missing, SDKs are to ask again."""
    late = isinstance(error, TimeoutError | ScanLate)
    kind = "timeout" if late else type(error).__name__.lower()
    return Decision(
        stage,
        Action.DENY,
        f"{stage}.could_not_decide",
        message=f"The gateway could not check this request ({stage}: {kind}), so it was not sent. Try again; "
        "if it stays, tell your security team the decision id.",
        rule_mode=rule_mode,
        status=503 if late else 403,
        retry_after_s=LATE_RETRY_S if late else None,
    )


def _cancelled(error: BaseException) -> bool:
    """Tell the task's own cancellation (the client went away) from one that a stage raised."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def merge_edits(
    edits: Sequence[Edit], over_union: Callable[[tuple[Edit, Edit], Edit], str]
) -> tuple[Edit, ...]:
    """Make edits that do not overlap: overlapping ones become one over their union.

    over_union: gives the replacement of the union of these two edits, so that a reversible mask of the whole
    can be made; what one stage takes out is never put back by another.
    """
    merged: list[Edit] = []
    for edit in sorted(edits, key=lambda e: (e.at, e.start, -e.end)):
        last = merged[-1] if merged else None
        if last is None or last.at != edit.at or edit.start >= last.end:
            merged.append(edit)
        elif edit.end > last.end or edit.replacement != last.replacement:
            union = replace(last, end=max(last.end, edit.end))
            merged[-1] = replace(union, replacement=over_union((last, edit), union))
    return tuple(merged)

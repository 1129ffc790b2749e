"""Whether what came of a call is what was expected of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from sallyport.decision import Action, Decision
from sallyport.rehearsal.asking import Answered
from sallyport.rehearsal.cases import Expect


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of `expect` that was not met; both sides as an operator writes them."""

    key: str
    expected: str
    got: str


def differences(expect: Expect, answered: Answered) -> tuple[Difference, ...]:
    """Return what is not as expected; nothing where all of it is."""
    return tuple(_differences(expect, answered))


def _differences(expect: Expect, answered: Answered) -> Iterator[Difference]:
    verdict = answered.verdict
    who = answered.exchange.principal
    action = verdict.action.name.lower()
    cause = verdict.cause
    if expect.action not in (None, action):
        yield Difference("action", str(expect.action), action)
    if expect.reason is not None:
        reasons = [d.reason for d in verdict.decisions if _may_give(d, expect.action)]
        if expect.reason not in {form for reason in reasons for form in (reason, reason.partition(":")[0])}:
            yield Difference("reason", expect.reason, ", ".join(reasons) or "none of this action")
    for decision in verdict.decisions:
        if decision.reason.endswith(".could_not_decide") and decision.reason != expect.reason:
            yield Difference("decided", "an answer of every stage", decision.reason)
    would_be = verdict.would_be.name.lower()
    if expect.would_be not in (None, would_be):
        yield Difference("would_be", str(expect.would_be), would_be)
    if expect.status is not None:
        status = str(cause.status) if cause is not None and cause.action is Action.DENY else "no refusal"
        if status != str(expect.status):
            yield Difference("status", str(expect.status), status)
    if expect.masked is not None and set(expect.masked) != set(answered.masked):
        yield Difference("masked", _listed(expect.masked), _listed(answered.masked))
    if expect.needs is not None and set(expect.needs) != set(answered.needs):
        yield Difference("needs", _listed(expect.needs), _listed(answered.needs))
    for name, value in (expect.parameters or {}).items():
        left = answered.parameters.get(name)
        if left != value or isinstance(left, bool) is not isinstance(value, bool):
            yield Difference(f"parameters.{name}", _shown(value), _shown(left))
    for key, got in (("principal", who.id if who else ""), ("tenant", who.tenant if who else "")):
        wanted = getattr(expect, key)
        if wanted not in (None, got):
            yield Difference(key, wanted, got or "nobody")
    roles = who.roles if who else ()
    if expect.roles is not None and set(expect.roles) != set(roles):
        yield Difference("roles", _listed(expect.roles), _listed(roles))
    region = answered.exchange.request.region
    if expect.region not in (None, region):
        yield Difference("region", expect.region or '""', region or '""')
    warned = bool(verdict.warning)
    if expect.warned not in (None, warned):
        yield Difference("warned", _shown(expect.warned), _shown(warned))


def _may_give(decision: Decision, action: str | None) -> bool:
    """Say whether a reason of this decision can be one of the expected action."""
    if action is None:
        return True
    return decision.action.name.lower() == action and (decision.enforced or action == "allow")


def _listed(names: tuple[str, ...]) -> str:
    return f"[{', '.join(sorted(names))}]"


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    return str(value).lower() if isinstance(value, bool) else str(value)

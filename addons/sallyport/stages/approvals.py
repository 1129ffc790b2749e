"""Approvals that rules ask for: which a call needs, which it has, and which rules break-glass sets aside.

An approval serves one principal of one tenant, one rule and one resource, until it expires. Expiry is judged
by the moment the call was received. Who gave it, and for how long, is judged by the policy of the gateway:
what an approver's command line was told to go by does not count.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sallyport.decision import Need
from sallyport.exchange import Exchange, Principal, ToolKind
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.inputs import models_of
from sallyport.policy.models import ancestors, spellings
from sallyport.policy.rulebook import IN_FORCE, Outcome
from sallyport.stages.directory import Approval
from sallyport.stages.stage import Ports

EVERY_RULE = "*"
"""The rule of a broken glass that stands for every rule that break-glass may set aside."""

MAX_NEEDS = 8
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._:/@+-]{0,119}")
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_ID_CHARS = 10


@dataclass(frozen=True, slots=True)
class Refused:
    """A rule that refuses. needs: what would have let it pass, empty where nobody can approve it."""

    rule: AccessRule
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class Weighed:
    """What rules come to once approvals are looked at. refused: in force first, forbids before approvals."""

    refused: tuple[Refused, ...] = ()
    approved: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()


def weigh(outcome: Outcome, exchange: Exchange, ports: Ports) -> Weighed:
    """Return what is left of the rules that refuse."""
    if not outcome.approves and not any(rule.break_glass for rule in outcome.forbids):
        return Weighed(tuple(Refused(rule) for rule in outcome.forbids))
    who = exchange.principal
    held = _held(who, exchange.received_at, ports)
    glass = {approval.rule for approval in held if approval.break_glass}
    refused: list[Refused] = []
    approved: list[str] = []
    overridden: list[str] = []
    for rule in (*outcome.forbids, *outcome.approves):
        asks = rule.effect == "approve"
        wanted = _wanted(rule, exchange) if asks else ()
        if asks and all(_serves(held, rule, spelt) for spelt in wanted):
            approved.append(rule.id)
        elif (asks or rule.break_glass) and not glass.isdisjoint((rule.id, EVERY_RULE)):
            overridden.append(rule.id)
        else:
            lacking = [spelt[0] for spelt in wanted if not _serves(held, rule, spelt)]
            refused.append(Refused(rule, tuple(_needs(rule, lacking, who, ports))))
    refused.sort(key=lambda each: IN_FORCE[each.rule.mode])
    return Weighed(tuple(refused), tuple(approved), tuple(overridden))


def request_id(ports: Ports, tenant: str, principal: str, rule: str, resource: str) -> str:
    """Return the id of a request for an approval: the same whenever, and wherever, the same is asked for."""
    number = int(ports.digest(tenant, principal, rule, resource), 16)
    return "apr-" + "".join(_LETTERS[number >> 5 * place & 31] for place in range(_ID_CHARS))


def told(refused: Refused) -> str:
    """Return what a refused caller reads."""
    rule = refused.rule
    if rule.effect != "approve":
        return rule.message
    if not refused.needs:
        return (
            f"{rule.message} It needs an approval, and none can be given for this call: the caller is not known, or "
            "what it names is no plain name."
        )
    first, others = refused.needs[0], len(refused.needs) - 1
    what = _shown(first.resource) or "This call"
    more = f", as {others} more do" if others else ""
    ids = " ".join(need.id for need in refused.needs)
    who = rule.approval.who if rule.approval is not None else "your security team"
    return (
        f"{rule.message} {what} needs an approval{more}. The request is {first.id}; unless it was denied, ask {who} "
        f'to run: sallyport approvals approve {ids} --reason "..."'
    )


def _held(who: Principal | None, at: datetime, ports: Ports) -> tuple[Approval, ...]:
    """Return the approvals of a principal that are in force. A caller whom nobody has named has none."""
    if who is None or who.source == "anonymous":
        return ()
    found = ports.directory.approvals(who.tenant, who.id)
    return tuple(
        a
        for a in found
        if (a.tenant, a.principal) == (who.tenant, who.id) and _holds(a, at, ports) and _counts(a, ports)
    )


def _holds(approval: Approval, at: datetime, ports: Ports) -> bool:
    """Say whether it has not run out, by its own time or by the longest that the policy allows."""
    rules = ports.approving
    longest_s = rules.break_glass_longest_s if approval.break_glass else rules.longest_s
    until, given_at = approval.expires_at, approval.given_at
    if until is None or at >= until:
        return False
    if given_at is None:
        return True
    # Given later than now: by a clock that was ahead, as its end is, so that it would live as much too long.
    return given_at - _APART <= at < given_at + timedelta(seconds=longest_s + 1)


_APART = timedelta(hours=1)
"""So far the clock of whoever approves may be ahead of the gateway's."""


def _counts(approval: Approval, ports: Ports) -> bool:
    """Say whether enough of those who gave it may, by the policy in force."""
    rules = ports.approving
    named = rules.break_glass_by if approval.break_glass else rules.approvers
    counted = {name.lower() for name in approval.approvers}
    if named:
        counted &= {name.lower() for name in named}
    if rules.not_own and not approval.break_glass:
        counted = {name for name in counted if not _is_own(approval, name, ports)}
    return len(counted) >= (1 if approval.break_glass else rules.min_approvers)


def _is_own(approval: Approval, approver: str, ports: Ports) -> bool:
    """Say whether an approver, in lower case, is the principal: by id, or by a name the directory has of both."""
    if approval.principal.lower() == approver:
        return True
    people = (ports.directory.named(f"{kind}:{approver}") for kind in ("user", "email"))
    return any(p is not None and (p.tenant, p.id) == (approval.tenant, approval.principal) for p in people)


def _serves(held: Sequence[Approval], rule: AccessRule, spelt: Sequence[str]) -> bool:
    """Say whether an approval is for a rule and a resource under one of its spellings."""
    return any(
        not a.break_glass and a.rule == rule.id and (a.resource in spelt or a.resource == "") for a in held
    )


def _wanted(rule: AccessRule, exchange: Exchange) -> tuple[tuple[str, ...], ...]:
    """Return the resources that need an approval, each with the spellings under which one may be held."""
    found: list[tuple[str, ...]] = []
    if rule.resource == "provider":
        found.append((f"provider:{exchange.request.provider.casefold()}",))
    elif rule.resource == "model":
        fitting = rule.fitting_models
        for model in models_of(exchange):
            if fitting is None or any(name in fitting for name in ancestors(model)):
                found.append(tuple(f"model:{name}" for name in spellings(model)))
        found = found or [("model:",)]
    elif rule.resource == "tool":
        found = [(tool,) for tool in _tools(rule, exchange)] or [("tool:",)]
    else:
        found.append(("",))
    return tuple(dict.fromkeys(found))


def _tools(rule: AccessRule, exchange: Exchange) -> Iterator[str]:
    for tool in exchange.request.declared:
        name = tool.server if tool.kind is ToolKind.MCP else tool.name
        fitting = rule.fitting_tools(tool.kind)
        if fitting is None or name in fitting:
            yield f"{tool.kind.value}:{name.casefold()}"


def _needs(rule: AccessRule, lacking: Sequence[str], who: Principal | None, ports: Ports) -> Iterator[Need]:
    """Yield the needs that a person can meet: of a named caller, for resources with plain names."""
    if who is None or who.source == "anonymous" or not all(map(_is_plain, lacking)):
        return
    for resource in lacking[:MAX_NEEDS]:
        yield Need(
            request_id(ports, who.tenant, who.id, rule.id, resource), who.tenant, who.id, rule.id, resource
        )


def _is_plain(resource: str) -> bool:
    """Say whether a client's own word for something can be stored and shown to an approver."""
    kind, colon, name = resource.partition(":")
    return not colon or (bool(kind) and _PLAIN.fullmatch(name) is not None)


def _shown(resource: str) -> str:
    """Return a resource in words, "" for the rule as such."""
    kind, _, name = resource.partition(":")
    words = {"function": "function", "hosted": "hosted tool", "mcp": "MCP server"}
    return f"The {words.get(kind, kind)} {name}" if name else ""

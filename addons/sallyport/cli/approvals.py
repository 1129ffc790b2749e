"""`sallyport approvals`: what rules ask approval for, who asks, and the decisions of people."""

import json
from contextlib import closing, suppress
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection

from sallyport.audit.events import EventKind
from sallyport.audit.text import printable
from sallyport.cli.acts import (
    JsonOption,
    PolicyOption,
    ReasonOption,
    binding_policy,
    changing,
    end_of,
    note,
)
from sallyport.cli.directory.opening import reading
from sallyport.cli.moments import now
from sallyport.cli.operator import operator
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import names_here
from sallyport.cli.seen import warning_of_glass
from sallyport.cli.telling import notify
from sallyport.errors import OperatorError
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.sections import Policy
from sallyport.stages.approvals import EVERY_RULE
from sallyport.state.directory import approvals as registry
from sallyport.state.directory.approvals import Given, Request, RequestState
from sallyport.state.directory.schema import approvals

app = typer.Typer(
    help="Approve, deny and take back what rules ask approval for; break glass.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

IdArgument = Annotated[str, typer.Argument(metavar="REQUEST", help="The request, as the caller was told it.")]


@app.command("list")
def list_requests(
    every: Annotated[bool, typer.Option("--all", help="Also what is decided or expired.")] = False,
    tenant: Annotated[str | None, typer.Option(help="Only requests of this tenant.")] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List what waits for a decision, and what glass is broken."""
    at = now()
    with reading(store, confdir) as connection:
        found = [
            request
            for request in registry.load_requests(connection, at, tenant)
            if every or request.state is RequestState.OPEN
        ]
        glass = [
            given
            for given in registry.load_given(connection, approvals.c.break_glass.is_(True))
            if (every or given.holds(at)) and tenant in (None, given.approval.tenant)
        ]
    if as_json:
        for request in found:
            typer.echo(json.dumps(_plain(request)))
        for given in glass:
            typer.echo(json.dumps({**_plain_given(given), "holds": given.holds(at)}))
        return
    if not found and not glass:
        typer.echo("Nothing waits for approval.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "state", "tenant", "principal", "rule", "for", "asked or given", "until"):
        table.add_column(heading, overflow="fold")
    for request in found:
        need, until = request.need, request.approval.approval.expires_at if request.approval else None
        cells = (need.tenant, need.principal, need.rule, need.resource or "the rule")
        votes = f" ({len(counted)} so far)" if (counted := request.counted(at)) else ""
        table.add_row(
            need.id,
            request.state.value + votes,
            *(Text(printable(cell)) for cell in cells),
            f"{request.asked_at:%Y-%m-%d %H:%M}Z",
            f"{until:%Y-%m-%d %H:%M}Z" if until else "",
        )
    for given in glass:
        own, until = given.approval, given.approval.expires_at
        rule = "all" if own.rule == EVERY_RULE else own.rule
        state = "BROKEN GLASS" if given.holds(at) else "glass, over"
        table.add_row(
            own.id,
            state,
            *(Text(printable(cell)) for cell in (own.tenant, own.principal, rule, "")),
            f"{given.given_at:%Y-%m-%d %H:%M}Z",
            f"{until:%Y-%m-%d %H:%M}Z" if until else "",
        )
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 240
    console.print(table)


@app.command()
def show(
    id: IdArgument, as_json: JsonOption = False, store: StoreOption = None, confdir: ConfdirOption = None
) -> None:
    """Show one request, or broken glass: who asks, for what, after which call, who has decided what, and why."""
    at = now()
    with reading(store, confdir) as connection:
        request = registry.find_request(connection, id, at)
        glass = registry.find_glass(connection, id) if request is None else None
    if request is not None:
        shown = _plain(request)
    elif glass is not None:
        shown = {**_plain_given(glass), "holds": glass.holds(at), "revoked": glass.revoked}
    else:
        what = "there is no such request, nor such broken glass"
        raise OperatorError("REQUEST", what, "List them with: sallyport approvals list --all")
    if as_json:
        typer.echo(json.dumps(shown))
        return
    for name, value in shown.items():
        text = json.dumps(value) if isinstance(value, (list, dict)) else "" if value is None else str(value)
        typer.echo(f"{name:<12}{printable(text)}")


@app.command()
def approve(
    ids: Annotated[list[str], typer.Argument(metavar="REQUEST...", help="The requests.")],
    reason: ReasonOption,
    lasting: Annotated[
        str | None, typer.Option("--for", help="How long: 30m, 8h, 2d; default: as rule and policy say.")
    ] = None,
    policy: PolicyOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Approve requests until a time: of one principal, for one rule and one resource each."""
    rules, at = binding_policy(policy, confdir), now()
    said: list[str] = []
    with changing(store, confdir) as connection:
        for id in dict.fromkeys(ids):
            request = registry.find_request(connection, id, at)
            until = end_of(lasting, at) if lasting else at + _usual(rules, request)
            given = registry.approve(connection, id, operator(), reason, at, until, rules.approvals)
            request = registry.find_request(connection, id, at)
            assert request is not None
            act = "vote" if given is None else "approved"
            _note(connection, request, act)
            if given is None or given.approval.expires_at is None:
                counted = [
                    v for v in request.counted(at) if registry.may_approve(v.approver, rules.approvals)
                ]
                missing = rules.approvals.min_approvers - len(counted)
                said.append(f"{id}: your approval is noted; {missing} more must approve")
            else:
                said.append(f"{id}: approved until {given.approval.expires_at:%Y-%m-%d %H:%M} UTC")
    for line in said:
        typer.echo(line)


@app.command()
def deny(
    id: IdArgument,
    reason: ReasonOption,
    policy: PolicyOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Say no to a request. Who asks again is refused as before, without a new request."""
    rules = binding_policy(policy, confdir).approvals
    with changing(store, confdir) as connection:
        _note(connection, registry.deny(connection, id, operator(), reason, now(), rules), "denied")
    typer.echo("denied")


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="The request, the approval, or the broken glass.")],
    reason: ReasonOption,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Take an approval back, or mend broken glass. The next call is refused."""
    with changing(store, confdir) as connection:
        own = registry.revoke(connection, id, operator(), reason, now()).approval
        note(
            connection,
            EventKind.BREAK_GLASS if own.break_glass else EventKind.APPROVAL_DECIDED,
            _reason(own.rule),
            f"revoked:{id}",
            tenant=own.tenant,
        )
    typer.echo("revoked")


@app.command("break-glass")
def break_glass(
    principal: Annotated[str, typer.Option(help="Whose calls are to pass, as the audit names it.")],
    reason: ReasonOption,
    rule: Annotated[str, typer.Option(help="The rule to set aside, or `all` that allow it.")],
    lasting: Annotated[str, typer.Option("--for", help="How long: 30m, 1h.")],
    tenant: Annotated[str, typer.Option(help="The tenant of the principal.")] = "default",
    policy: PolicyOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Set rules aside at once, without asking. Loud: an event now, and one for each call that uses it.

    Only rules that ask for approval, and forbids with `break_glass: true`; nothing else of the policy.
    """
    rules, at = binding_policy(policy, confdir), now()
    named = None if rule == "all" else _rule(rules, rule)
    if rule != "all" and (named is None or not (named.effect == "approve" or named.break_glass)):
        what = "there is no such rule" if named is None else "break-glass does not set this rule aside"
        raise OperatorError("--rule", what, "Only `effect: approve`, and forbids with `break_glass: true`")
    with changing(store, confdir) as connection:
        given = registry.break_glass(
            connection,
            tenant,
            principal,
            EVERY_RULE if rule == "all" else rule,
            operator(),
            reason,
            at,
            end_of(lasting, at),
            rules.approvals,
        )
        own = given.approval
        note(connection, EventKind.BREAK_GLASS, _reason(own.rule), f"taken:{own.id}", tenant=tenant)
    assert own.expires_at is not None
    notify(
        rules.limits,
        "break_glass.taken",
        {"glass": own.id, "principal": principal, "tenant": tenant, "rule": rule, "reason": reason},
    )
    names = names_here(confdir)
    with suppress(OperatorError), closing(names), reading(store, confdir) as connection:  # it is all the same
        if warning := warning_of_glass(connection, tenant, principal, at, names):
            typer.echo(warning, err=True)
    typer.echo(f"{own.id}: glass is broken until {own.expires_at:%Y-%m-%d %H:%M} UTC")


def _usual(policy: Policy, request: Request | None) -> timedelta:
    """Return how long an approval lasts if nobody says otherwise."""
    rule = None if request is None else _rule(policy, request.need.rule)
    asked = rule.approval.expires_s if rule is not None and rule.approval is not None else None
    return timedelta(seconds=min(asked or policy.approvals.expires_s, policy.approvals.longest_s))


def _rule(policy: Policy, id: str) -> AccessRule | None:
    """Return a rule of the company's or of a tenant's own file."""
    sections = [policy.access]
    for own in policy.of_tenants.values():
        sections += [section for section in (own.access, own.tenant_access) if section is not None]
    return next((rule for section in sections for rule in section.rules if rule.id == id), None)


def _note(connection: Connection, request: Request, act: str) -> None:
    need = request.need
    note(
        connection,
        EventKind.APPROVAL_DECIDED,
        _reason(need.rule),
        f"{act}:{need.id}",
        tenant=need.tenant,
        exchange=request.exchange,
    )


def _reason(rule: str) -> str:
    return "access.every_rule" if rule == EVERY_RULE else f"access.{rule}"


def _plain(request: Request) -> dict[str, object]:
    need = request.need
    return {
        "id": need.id,
        "state": request.state.value,
        "tenant": need.tenant,
        "principal": need.principal,
        "rule": need.rule,
        "resource": need.resource,
        "asked_at": request.asked_at.isoformat(),
        "exchange": request.exchange,
        "decided_by": request.decided_by,
        "reason": request.reason,
        "votes": [
            {"approver": v.approver, "reason": v.reason, "at": v.at.isoformat()} for v in request.votes
        ],
        "approval": None if request.approval is None else _plain_given(request.approval),
    }


def _plain_given(given: Given) -> dict[str, object]:
    own = given.approval
    return {
        "id": own.id,
        "tenant": own.tenant,
        "principal": own.principal,
        "rule": "all" if own.rule == EVERY_RULE else own.rule,
        "resource": own.resource,
        "approver": given.approver,
        "reason": given.reason,
        "given_at": given.given_at.isoformat(),
        "expires_at": own.expires_at.isoformat() if own.expires_at else None,
        "break_glass": own.break_glass,
    }

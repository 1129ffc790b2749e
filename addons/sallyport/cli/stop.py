"""`sallyport stop`, `resume` and `stops`: kill switches, in force within a second on every gateway of a store."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import Connection

from sallyport.audit.events import EventKind
from sallyport.audit.text import code, printable
from sallyport.cli.acts import JsonOption, ReasonOption, changing, note, now, policy_if_known
from sallyport.cli.audit import ConfdirOption, StoreOption
from sallyport.cli.directory.opening import reading
from sallyport.cli.operator import operator
from sallyport.cli.telling import notify
from sallyport.errors import OperatorError
from sallyport.policy.problems import choices, nearest
from sallyport.stages.directory import Stop, StopKind
from sallyport.state.directory.keys import find_key
from sallyport.state.directory.people import find_person
from sallyport.state.directory.stops import let_go, load_pulled, pull

if TYPE_CHECKING:
    from sallyport.state.webhook import Fact


def stop(
    kind: Annotated[StopKind, typer.Argument(metavar="KIND", help=f"One of: {', '.join(StopKind)}.")],
    reason: ReasonOption,
    value: Annotated[
        str,
        typer.Argument(metavar="VALUE", help="Which one; of a model a glob, of a key its id or fingerprint."),
    ] = "",
    tenant: Annotated[str, typer.Option(help="The tenant of a principal.")] = "default",
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Refuse new calls at once, in whatever mode the policy is, and end answers in flight."""
    at, whose = now(), tenant if kind is StopKind.PRINCIPAL else ""
    if kind is StopKind.PROVIDER:
        _check_provider(value)
    with changing(store, confdir) as connection:
        unknown = (
            kind is StopKind.PRINCIPAL and value and find_person(connection, tenant, value) is None
        ) or (kind is StopKind.KEY and value and find_key(connection, value) is None)
        pulled = pull(connection, kind, value, whose, operator(), reason, at)
        _note(connection, pulled, "stopped")
    if unknown:
        typer.echo(f"The directory does not know this {kind}: it is stopped under this very name.", err=True)
    _notify(confdir, pulled, "kill_switch.stopped")
    typer.echo(pulled.id)


def resume(
    id: Annotated[str, typer.Argument(metavar="ID", help="The kill switch, as `stops` names it.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Let go what was stopped."""
    if bool(id) is every:
        raise OperatorError("ID", "give one id, or --all", "List them with: sallyport stops")
    with changing(store, confdir) as connection:
        gone = let_go(connection, None if every else id)
        for each in gone:
            _note(connection, each, "resumed")
    for each in gone:
        _notify(confdir, each, "kill_switch.resumed")
    typer.echo(f"resumed: {', '.join(each.id for each in gone)}" if gone else "Nothing was stopped.")


def stops(as_json: JsonOption = False, store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """List what is stopped, since when, by whom and why."""
    with reading(store, confdir) as connection:
        found = load_pulled(connection)
    for each in found:
        own = each.stop
        if as_json:
            plain = {
                **_facts(own),
                "reason": own.reason,
                "by": each.by,
                "since": each.since.isoformat(),
            }
            typer.echo(json.dumps(plain))
            continue
        what = f"{own.kind} {own.tenant + '/' if own.tenant else ''}{own.value}".strip()
        typer.echo(
            printable(f"{own.id}  {what}  since {each.since:%Y-%m-%d %H:%M}Z by {each.by}: {own.reason}")
        )
    if not found and not as_json:
        typer.echo("Nothing is stopped.")


def _check_provider(value: str) -> None:
    """Refuse a mistyped provider: it would stop nothing, and nobody would notice."""
    from sallyport.cli.assembly import make_catalogue

    known = {provider.name for provider in make_catalogue()}
    if value.casefold() not in {name.casefold() for name in known}:
        near = nearest(value, known)
        todo = f"Did you mean `{near}`?" if near else f"Known are {choices(sorted(known))}"
        raise OperatorError("VALUE", "the catalogue has no such provider", todo)


def _note(connection: Connection, stop: Stop, act: str) -> None:
    detail = f"{act}:{stop.id}"
    if stop.kind is StopKind.PRINCIPAL and code(f"{detail}:{stop.value}") == f"{detail}:{stop.value}":
        detail += f":{stop.value}"
    tenant = stop.value if stop.kind is StopKind.TENANT else stop.tenant
    note(
        connection,
        EventKind.KILL_SWITCH,
        f"access.stopped.{stop.kind}",
        detail,
        tenant=tenant,
        model=stop.value if stop.kind is StopKind.MODEL else "",
        provider=stop.value if stop.kind is StopKind.PROVIDER else "",
        credential=stop.value if stop.kind is StopKind.KEY else "",
    )


def _notify(confdir: Path | None, stop: Stop, kind: str) -> None:
    """Tell the webhook, after the act: a kill switch waits for no policy and no receiver."""
    policy = policy_if_known(confdir)
    if policy is not None:
        notify(policy.limits, kind, {**_facts(stop), "reason": stop.reason})


def _facts(stop: Stop) -> "dict[str, Fact]":
    return {"id": stop.id, "stop": stop.kind.value, "value": stop.value, "tenant": stop.tenant}

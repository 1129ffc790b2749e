"""`sallyport stop`, `resume` and `stops`: kill switches, in force within a second on every gateway of a store."""

import json
import re
import shlex
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import Connection

from sallyport.audit.events import EventKind
from sallyport.audit.text import code, printable
from sallyport.cli.acts import JsonOption, ReasonOption, changing, note, policy_if_known
from sallyport.cli.directory.opening import reading
from sallyport.cli.eventnames import may_name
from sallyport.cli.moments import now
from sallyport.cli.operator import operator
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import names_here
from sallyport.cli.seen import names_of_keys, warning_of
from sallyport.cli.telling import notify
from sallyport.errors import OperatorError
from sallyport.policy.problems import choices, nearest
from sallyport.stages.directory import Stop, StopKind
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
    """Refuse new calls at once, in whatever mode the policy is, and end answers in flight.

    Standard output is the id alone; what is stopped, and how to undo it, is said on standard error.
    """
    at, whose = now(), tenant if kind is StopKind.PRINCIPAL else ""
    if kind is StopKind.PROVIDER:
        _check_provider(value)
    named = kind is StopKind.PRINCIPAL and may_name(store, confdir)
    with changing(store, confdir) as connection:
        if kind is StopKind.KEY:
            _check_key(connection, value)
        pulled = pull(connection, kind, value, whose, operator(), reason, at)
        _note(connection, pulled, "stopped", named=named)
    undo = f"sallyport resume {pulled.id}{_where(store, confdir)}"
    typer.echo(printable(f"stopped {_named(pulled)} ({pulled.id}). Undo: {undo}"), err=True)
    _notify(confdir, pulled, "kill_switch.stopped")
    names = names_here(confdir)
    with (
        suppress(OperatorError),
        closing(names),
        reading(store, confdir) as connection,
    ):  # it is stopped all the same
        if warning := warning_of(connection, pulled, at, names):
            typer.echo(warning, err=True)
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
    named = may_name(store, confdir)
    with changing(store, confdir) as connection:
        gone = let_go(connection, None if every else id, operator(), now())
        for each in gone:
            _note(connection, each, "resumed", named=named)
    for each in gone:
        _notify(confdir, each, "kill_switch.resumed")
    shown = ", ".join(f"{each.id} ({_named(each)})" for each in gone)
    typer.echo(printable(f"resumed: {shown}") if gone else "Nothing was stopped.")


def stops(
    every: Annotated[bool, typer.Option("--all", help="Also what was let go.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List what is stopped, since when, by whom and why."""
    with reading(store, confdir) as connection:
        found = load_pulled(connection, every=every)
    for each in found:
        own = each.stop
        if as_json:
            plain = {
                **_facts(own),
                "reason": own.reason,
                "by": each.by,
                "since": each.since.isoformat(),
                "resumed_by": each.resumed_by,
                "resumed_at": each.resumed_at.isoformat() if each.resumed_at else None,
            }
            typer.echo(json.dumps(plain))
            continue
        line = f"{own.id}  {_named(own)}  since {each.since:%Y-%m-%d %H:%M}Z by {each.by}"
        if each.resumed_at:
            line += f", resumed {each.resumed_at:%Y-%m-%d %H:%M}Z by {each.resumed_by}"
        typer.echo(printable(f"{line}: {own.reason}"))
    if not found and not as_json:
        typer.echo("Nothing is stopped.")


def _named(stop: Stop) -> str:
    """Return what is stopped in words: `model gpt-5*`."""
    return f"{stop.kind} {stop.tenant + '/' if stop.tenant else ''}{stop.value}".strip()


def _where(store: str | None, confdir: Path | None) -> str:
    """Return the options that name the same gateway; a store is not repeated, its URL may hold a password."""
    return " --store ..." if store else f" --confdir {shlex.quote(str(confdir))}" if confdir else ""


def _check_provider(value: str) -> None:
    """Refuse a mistyped provider: it would stop nothing, and nobody would notice."""
    from sallyport.cli.assembly import make_catalogue

    known = {provider.name for provider in make_catalogue()}
    if value.casefold() not in {name.casefold() for name in known}:
        near = nearest(value, known)
        todo = f"Did you mean `{near}`?" if near else f"Known are {choices(sorted(known))}"
        raise OperatorError("VALUE", "the catalogue has no such provider", todo)


def _check_key(connection: Connection, value: str) -> None:
    """Refuse what is no name of a key: it would stop nothing, and a key itself must not be written down.

    The value is not shown: whoever hurries pastes the key that has leaked.
    """
    if re.fullmatch(r"key_[0-9a-f]{24}", value.casefold()):
        return
    if value.casefold() not in {name.casefold() for name in names_of_keys(connection)}:
        raise OperatorError(
            "VALUE",
            "it is no fingerprint, and no key or credential of the directory has it as its name",
            "Never write the key itself. Find its fingerprint with: sallyport keys list",
        )


def _note(connection: Connection, stop: Stop, act: str, *, named: bool) -> None:
    """Record an act. named: whether a person may be named in it."""
    detail = f"{act}:{stop.id}"
    whole = f"{detail}:{stop.value}"
    if stop.kind is StopKind.PRINCIPAL and named and code(whole) == whole:
        detail = whole
    tenant = stop.value if stop.kind is StopKind.TENANT else stop.tenant
    note(
        connection,
        EventKind.KILL_SWITCH,
        f"access.{act}.{stop.kind}",
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

"""`sallyport stop`, `resume` and `stops`: kill switches, in force within a second on every gateway of a store."""

import json
import shlex
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from sqlalchemy import Connection

from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store, add_within
from sallyport.audit.text import code, printable
from sallyport.cli.acts import JsonOption, ReasonOption, changing, policy_if_known
from sallyport.cli.directory.opening import NotThere, reading
from sallyport.cli.eventnames import may_name
from sallyport.cli.last_run import was_run
from sallyport.cli.moments import now
from sallyport.cli.operator import act as acted
from sallyport.cli.operator import operator
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.cli.reading import names_here
from sallyport.cli.seen import names_of_keys, warning_of
from sallyport.cli.telling import notify
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.policy.problems import choices, nearest
from sallyport.sql.engines import Unreachable
from sallyport.stages.directory import Stop, StopKind
from sallyport.state.directory.heldstops import FILE, FINGERPRINT, read_held, write_held
from sallyport.state.directory.heldstops import changing as changing_held
from sallyport.state.directory.stops import Pulled, let_go, load_pulled, new_stop, pull

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
    try:
        with changing(store, confdir) as connection:
            if kind is StopKind.KEY:
                _check_key(connection, value)
            pulled = pull(connection, kind, value, whose, operator(), reason, at)
            add_within(connection, [_event(pulled, "stopped", named=named)])
    except (NotThere, Unreachable) as error:
        if not was_run(confdir):
            raise
        stop = new_stop(kind, value, whose, reason)
        _stop_here(Pulled(stop, operator(), at), store, confdir, error)
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
    gone, named = _resume_here(id, store, confdir), may_name(store, confdir)
    away: OperatorError | None = None
    try:
        if every or not gone:
            with changing(store, confdir) as connection:
                let = let_go(connection, None if every else id, operator(), now())
                add_within(connection, [_event(each, "resumed", named=named) for each in let])
            gone += let
    except (NotThere, Unreachable) as error:
        if not gone:
            raise
        away = error
    for each in gone:
        _notify(confdir, each, "kill_switch.resumed")
    shown = ", ".join(f"{each.id} ({_named(each)})" for each in gone)
    typer.echo(printable(f"resumed: {shown}") if gone else "Nothing was stopped.")
    if away is not None:
        raise away


def stops(
    every: Annotated[bool, typer.Option("--all", help="Also what was let go.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List what is stopped, since when, by whom and why."""
    held = read_held(_file(confdir), _known_providers)
    try:
        with reading(store, confdir) as connection:
            found = load_pulled(connection, every=every)
    except OperatorError as error:
        if not held:
            raise
        found = ()
        typer.echo(f"{error} What follows stands on this gateway alone.", err=True)
    for each in (*found, *held):
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
    if not found and not held and not as_json:
        typer.echo("Nothing is stopped.")


def _named(stop: Stop) -> str:
    """Return what is stopped in words: `model gpt-5*`."""
    return f"{stop.kind} {stop.tenant + '/' if stop.tenant else ''}{stop.value}".strip()


def _where(store: str | None, confdir: Path | None) -> str:
    """Return the options that name the same gateway; a store is not repeated, its URL may hold a password."""
    return " --store ..." if store else f" --confdir {shlex.quote(str(confdir))}" if confdir else ""


def _check_provider(value: str) -> None:
    """Refuse a mistyped provider: it would stop nothing, and nobody would notice."""
    known = _known_providers()
    if value.casefold() not in {name.casefold() for name in known}:
        near = nearest(value, known)
        todo = f"Did you mean `{near}`?" if near else f"Known are {choices(sorted(known))}"
        raise OperatorError("VALUE", "the catalogue has no such provider", todo)


def _known_providers() -> set[str]:
    from sallyport.policy.catalogue import shipped_catalogue

    return {provider.name for provider in shipped_catalogue()}


def _check_key(connection: Connection, value: str) -> None:
    """Refuse what is no name of a key: it would stop nothing, and a key itself must not be written down.

    The value is not shown: whoever hurries pastes the key that has leaked.
    """
    if FINGERPRINT.fullmatch(value.casefold()):
        return
    if value.casefold() not in {name.casefold() for name in names_of_keys(connection)}:
        raise OperatorError(
            "VALUE",
            "it is no fingerprint, and no key or credential of the directory has it as its name",
            "Never write the key itself. Find its fingerprint with: sallyport keys list",
        )


def _stop_here(pulled: Pulled, store: str | None, confdir: Path | None, why: OperatorError) -> NoReturn:
    """Stop on the gateway of a folder alone, since its store cannot take it. Raises OperatorError, which says so.

    That is no success: there may be other gateways of the store.
    """
    stop, path = pulled.stop, _file(confdir)
    if stop.kind is StopKind.KEY and not FINGERPRINT.fullmatch(stop.value.casefold()):
        raise OperatorError(
            "VALUE",
            f"names of keys are not known while {why.where}: {why.what}",
            "Give the fingerprint of the key: sallyport audit show",
            exit_code=3,
        ) from None
    with changing_held(path):
        held = read_held(path)
        there = [h.stop for h in held if replace(h.stop, id="", reason="") == replace(stop, id="", reason="")]
        if not there:
            write_held(path, (*held, pulled))
    if there:
        stop = there[0]
    else:
        _record(stop, "stopped", store, confdir)
        _notify(confdir, stop, "kill_switch.stopped")
    typer.echo(stop.id)
    undo = f"sallyport resume {stop.id}{_where(store, confdir)}"
    raise OperatorError(
        why.where,
        printable(
            f"{why.what}. {_named(stop)} is stopped all the same ({stop.id}), but on the gateway of this folder alone"
        ),
        f"{why.todo}; then stop it for all gateways. Undo this one: {undo}",
        exit_code=3,
    ) from None


def _resume_here(id: str, store: str | None, confdir: Path | None) -> tuple[Stop, ...]:
    """Let go what is stopped on the gateway of a folder alone, all of it for an id of "". Raises OperatorError."""
    path = _file(confdir)
    if not read_held(path):
        return ()
    with changing_held(path):
        held = read_held(path)
        gone = tuple(each.stop for each in held if id in ("", each.stop.id))
        if gone:
            write_held(path, tuple(each for each in held if each.stop not in gone))
    for each in gone:
        _record(each, "resumed", store, confdir)
    return gone


def _record(stop: Stop, act: str, store: str | None, confdir: Path | None) -> None:
    """Put an act into the audit of a store that has no directory, where it has one; say so where it has none."""
    try:
        audit = Store.open(store_address(store, confdir), create=False)
        try:
            audit.write([_event(stop, act, named=False)])
        finally:
            audit.close()
    except OperatorError as error:
        typer.echo(f"{error} That this was {act} is not in the audit.", err=True)


def _file(confdir: Path | None) -> Path:
    return (confdir or default_confdir()) / FILE


def _event(stop: Stop, act: str, *, named: bool) -> Event:
    """Return the event of an act. named: whether a person may be named in it."""
    detail = f"{act}:{stop.id}"
    whole = f"{detail}:{stop.value}"
    if stop.kind is StopKind.PRINCIPAL and named and code(whole) == whole:
        detail = whole
    return acted(
        EventKind.KILL_SWITCH,
        stage="access",
        reason=f"access.{act}.{stop.kind}",
        detail=detail,
        tenant=stop.value if stop.kind is StopKind.TENANT else stop.tenant,
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

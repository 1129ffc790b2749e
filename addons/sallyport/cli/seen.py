"""Whether anybody has heard of a name that a command acts on: one that nobody uses stops nothing and frees none."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, select

from sallyport.audit.ids import first_id
from sallyport.audit.naming import PSEUDONYM, Names
from sallyport.audit.schema import events
from sallyport.audit.text import printable
from sallyport.policy.globs import Globs
from sallyport.policy.models import ancestors, spellings
from sallyport.policy.problems import nearest
from sallyport.stages.directory import Stop, StopKind
from sallyport.state.directory.credentials import load_credentials
from sallyport.state.directory.keys import load_key_records
from sallyport.state.directory.schema import people, tenants

DAYS = 30
MAX_EVENTS = 20_000
"""How many of the last events are read: an operator in a hurry waits for no longer query."""

_COLUMNS = {
    StopKind.TENANT: events.c.tenant,
    StopKind.PRINCIPAL: events.c.principal,
    StopKind.KEY: events.c.credential,
    StopKind.MODEL: events.c.model,
}


def warning_of(connection: Connection, stop: Stop, now: datetime, names: Names) -> str:
    """Return what to tell whoever stopped a name that nobody knows, "" where it is known or needs no name.

    names: whose pseudonyms stand in the audit.
    """
    if stop.kind not in _COLUMNS:
        return ""
    known = _known(connection, stop, now, names)
    if any(map(partial(_is_meant, stop), known)):
        return ""
    return _never_seen(stop, known, "stopped under this very name")


def warning_of_glass(connection: Connection, tenant: str, principal: str, now: datetime, names: Names) -> str:
    """Return what to tell whoever breaks glass for a name that no call is made under, "" where it is known.

    Unlike a kill switch it serves the name as it is written, for two that differ in case may be two.
    """
    whose = Stop("", StopKind.PRINCIPAL, principal, tenant)
    known = _known(connection, whose, now, names)
    return "" if principal in known else _never_seen(whose, known, "let through under this very name")


def _known(connection: Connection, stop: Stop, now: datetime, names: Names) -> set[str]:
    """Return the names of this kind in the audit and in the directory."""
    seen = set(_in_audit(connection, stop, now))
    if stop.kind is StopKind.PRINCIPAL:
        pseudonyms = {name for name in seen if name.startswith(PSEUDONYM)}
        names.prepare(pseudonyms)
        seen |= {names.name(pseudonym) for pseudonym in pseudonyms}
    return {*seen, *_in_directory(connection, stop)} - {""}


def _never_seen(stop: Stop, known: Collection[str], done: str) -> str:
    where = f"the last {DAYS} days of this audit" + (
        "" if stop.kind is StopKind.MODEL else " and in the directory"
    )
    text = f"Never seen in {where}: this {stop.kind} is {done}."
    near = nearest(stop.value, known)
    return printable(f"{text} Did you mean {near}?" if near else text)


def _in_audit(connection: Connection, stop: Stop, now: datetime) -> Iterable[str]:
    """Return the names of exchanges in the last events, without those that operators' own acts left."""
    column = _COLUMNS[stop.kind]
    own = [
        events.c.id >= first_id(now - timedelta(days=DAYS)),
        events.c.gateway != "cli",
        column.is_not(None),
    ]
    if stop.kind is StopKind.PRINCIPAL:
        own.append(events.c.tenant == stop.tenant)
    last = select(column.label("name")).where(*own).order_by(events.c.id.desc()).limit(MAX_EVENTS).subquery()
    return connection.scalars(select(last.c.name).distinct()).all()


def _in_directory(connection: Connection, stop: Stop) -> Iterable[str]:
    match stop.kind:
        case StopKind.TENANT:
            listed = connection.scalars(select(tenants.c.id)).all()
            return {*listed, *connection.scalars(select(people.c.tenant).distinct())}
        case StopKind.PRINCIPAL:
            return connection.scalars(select(people.c.id).where(people.c.tenant == stop.tenant)).all()
        case StopKind.KEY:
            return names_of_keys(connection)
        case _:
            return ()


def names_of_keys(connection: Connection) -> set[str]:
    """Return ids and fingerprints of the keys in the directory, and names of the credentials behind them."""
    keys = [record.key for record in load_key_records(connection)]
    names = {name for key in keys for name in (key.id, key.fingerprint, key.credential) if name}
    return names | {each.name for each in load_credentials(connection)}


def _is_meant(stop: Stop, name: str) -> bool:
    """Say whether a known name is one that is stopped."""
    if stop.kind is not StopKind.MODEL:
        return name.casefold() == stop.value.casefold()
    globs = Globs((stop.value, *spellings(stop.value)))
    return any(each in globs for each in ancestors(name))

"""Kill switches that are pulled, in the tables of the directory."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from sallyport.errors import OperatorError
from sallyport.stages.directory import Stop, StopKind
from sallyport.state.directory.schema import stops
from sallyport.state.directory.times import microseconds, moment, moment_or_none

_PULLED = stops.c.resumed_us.is_(None)


@dataclass(frozen=True, slots=True)
class Pulled:
    """A kill switch with what only people ask of it. resumed_at: when it was let go, None while it stops."""

    stop: Stop
    by: str
    since: datetime
    resumed_by: str = ""
    resumed_at: datetime | None = None


def load_stops(connection: Connection) -> tuple[Stop, ...]:
    """Return every kill switch that is pulled, by id."""
    return tuple(pulled.stop for pulled in load_pulled(connection))


def load_pulled(connection: Connection, *, every: bool = False) -> tuple[Pulled, ...]:
    """Return every kill switch that is pulled and who pulled it, by id; with every also what was let go."""
    query = select(stops).order_by(stops.c.id)
    return tuple(
        Pulled(
            Stop(row.id, StopKind(row.kind), row.value, row.tenant, row.reason),
            row.by,
            moment(row.since_us),
            row.resumed_by,
            moment_or_none(row.resumed_us),
        )
        for row in connection.execute(query if every else query.where(_PULLED))
    )


def new_stop(kind: StopKind, value: str, tenant: str, reason: str) -> Stop:
    """Return a kill switch that nobody has pulled yet. Raises OperatorError for what is none."""
    if (kind is StopKind.EVERYTHING) is bool(value):
        what = "everything takes no value" if value else "which one is to be stopped is missing"
        raise OperatorError("VALUE", what, "See: sallyport stop --help")
    if not value.isprintable() or len(value) > 200 or value != value.strip():
        what = "it is too long, not plain text, or has blanks around it"
        raise OperatorError("VALUE", what, "Write the name as the audit shows it")
    if kind is StopKind.PRINCIPAL and not tenant:
        raise OperatorError("--tenant", "the tenant of the principal is missing", "Leave it out for default")
    if not reason.strip() or not reason.isprintable() or len(reason) > 500:
        what = "it is empty, too long or not plain text"
        raise OperatorError("--reason", what, "Write one line for the auditor")
    return Stop(f"stop-{secrets.token_hex(4)}", kind, value, tenant, reason)


def pull(
    connection: Connection, kind: StopKind, value: str, tenant: str, by: str, reason: str, now: datetime
) -> Stop:
    """Pull a kill switch; one that is pulled already is returned. Raises OperatorError."""
    stop = new_stop(kind, value, tenant, reason)
    same = (stops.c.kind == kind.value, stops.c.value == value, stops.c.tenant == tenant)
    there = connection.execute(select(stops).where(*same, _PULLED)).first()
    if there is not None:
        return Stop(there.id, kind, value, tenant, there.reason)
    connection.execute(
        insert(stops).values(
            id=stop.id,
            kind=kind.value,
            value=value,
            tenant=tenant,
            by=by,
            reason=reason,
            since_us=microseconds(now),
        )
    )
    return stop


def let_go(connection: Connection, id: str | None, by: str, now: datetime) -> tuple[Stop, ...]:
    """Let go what one kill switch stops, or all of them where id is None; its row stays, for who asks later.

    Raises OperatorError for the id of none that is pulled.
    """
    found = tuple(stop for stop in load_stops(connection) if id is None or stop.id == id)
    if id is not None and not found:
        raise OperatorError("ID", "nothing is stopped under this id", "List them with: sallyport stops --all")
    gone = {"resumed_by": by, "resumed_us": microseconds(now)}
    for stop in found:
        connection.execute(update(stops).where(stops.c.id == stop.id).values(gone))
    return found

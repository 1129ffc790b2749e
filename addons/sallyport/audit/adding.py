"""Adding events behind the heads of their writers, inside a transaction: nobody else's place is taken, no gap is left.

Two writers of one name, such as a gateway and its thread for approvals, must not both take the next place. In
SQLite one transaction writes at a time, and the unique index over gateway and number stands behind that. In
PostgreSQL the head of every writer is a row of audit_heads: who adds moves it on from where it was found, or adds
nothing. Store's fast way finds it in memory and is sent here when that was wrong; the ways here lock the row first.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, insert, or_, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from sallyport.audit import partitions
from sallyport.audit.chain import START, Head, linked
from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.audit.schema import Row, bare_row, checkpoints, events, prunings, to_row


class PlaceTaken(Exception):
    """Another writer of the same name came first."""


PLAIN_VALUE_ERRORS = (ValueError, TypeError, OverflowError)
REFUSED_VALUE = (
    *(DataError, IntegrityError, ProgrammingError, PlaceTaken),
    *(sqlite3.DataError, sqlite3.IntegrityError, sqlite3.ProgrammingError),
    *PLAIN_VALUE_ERRORS,
)

_TRIES = 50
"""How often a place in the chain may be taken by another writer of the same name before we give up."""

_ASKED_AT_ONCE = 400


def head_of(connection: Connection, gateway: str) -> Head:
    """Return the last event that a writer has written, also where the events themselves were pruned."""
    if _is_postgres(connection):
        known = partitions.heads
        found = connection.execute(
            select(known.c.seq, known.c.hash).where(known.c.gateway == gateway)
        ).first()
        return START if found is None else Head(found.seq, found.hash)
    query = select(events.c.seq, events.c.hash).where(events.c.gateway == gateway, events.c.seq.is_not(None))
    found = connection.execute(query.order_by(events.c.seq.desc()).limit(1)).first()
    if found is not None:
        return Head(found.seq, found.hash)
    return pruned_heads(connection).get(gateway, START)


def pruned_heads(connection: Connection) -> dict[str, Head]:
    """Return for every writer the last event that was pruned: the heads of the checkpoint that is pruned up to."""
    query = select(checkpoints.c.body).join(prunings, prunings.c.checkpoint == checkpoints.c.number)
    body = connection.scalar(query.order_by(prunings.c.number.desc()).limit(1))
    said: dict[str, Any] = {} if body is None else orjson.loads(body)["heads"]
    return {name: Head(*head) for name, head in said.items()}


def place(connection: Connection, rows: Sequence[Row], found: dict[str, Head]) -> dict[str, Head]:
    """Chain rows behind the heads of their writers that were found, insert them, and return the new heads.

    Raises PlaceTaken where a head is elsewhere by now, and what the database raises.
    """
    after = chained(rows, found)
    insert_rows(connection, rows, found, after)
    return after


def chained(rows: Sequence[Row], found: dict[str, Head]) -> dict[str, Head]:
    """Give rows their places behind the heads that were found, and return the new heads."""
    after: dict[str, Head] = {}
    for row in rows:
        gateway = str(row["gateway"])
        after[gateway] = linked(row, after.get(gateway) or found[gateway])
    return after


def insert_rows(
    connection: Connection, rows: Sequence[Row], found: dict[str, Head], after: dict[str, Head]
) -> None:
    """Insert chained rows; in PostgreSQL, move the heads of their writers with them. Raises as place() does."""
    if not _is_postgres(connection):
        connection.execute(insert(events), rows)
        return
    _move(connection, found, after)
    for row in rows:
        row["period"] = partitions.period_of(row)
    connection.exec_driver_sql(INSERT_JSON, (orjson.dumps(rows).decode(),))
    late = partitions.late_days(rows)
    if late:
        noted = postgresql.insert(partitions.spans).on_conflict_do_nothing()
        connection.execute(noted, [{"period": period, "day": day} for period, day in sorted(late)])


_COLUMNS = ", ".join(column.name for column in partitions.stored.columns)
INSERT_JSON = (
    f"INSERT INTO {events.name} ({_COLUMNS}) SELECT {_COLUMNS} "  # noqa: S608
    f"FROM json_populate_recordset(NULL::{events.name}, %s)"
)
"""One statement for any number of rows, and an eighth of what a parameter for each value costs here."""


def _move(connection: Connection, found: dict[str, Head], after: dict[str, Head]) -> None:
    known = partitions.heads
    for gateway in sorted(after):
        before = found[gateway]
        here = (known.c.gateway == gateway, known.c.seq == before.seq, known.c.hash == before.hash)
        moved = connection.execute(
            update(known).where(*here).values(seq=after[gateway].seq, hash=after[gateway].hash)
        )
        if moved.rowcount != 1:
            raise PlaceTaken


def add_within(connection: Connection, batch: Sequence[Event]) -> None:
    """Store events in somebody else's transaction on the same database: what they tell of happens with them.

    Raises SQLAlchemy's errors, IntegrityError for an event that is stored already.
    """
    rows = [to_row(event) for event in batch]
    place(connection, rows, lock_heads(connection, (event.gateway for event in batch)))


def add_missing(connection: Connection, rows: Sequence[Row]) -> dict[str, Head]:
    """Insert the rows that the store lacks, with one statement, and return the heads of their writers.

    Raises what a refused value raises; nothing is stored then.
    """
    found = lock_heads(connection, (str(row["gateway"]) for row in rows))
    fresh = _missing(connection, rows)
    return place(connection, fresh, found) if fresh else {}


def add_singly(connection: Connection, batch: Sequence[Event], rows: Sequence[Row]) -> None:
    """Insert one row after the other, as add_missing does; what the database refuses to hold is stored bare."""
    lock_heads(connection, (event.gateway for event in batch))
    for event, row in zip(batch, rows, strict=True):
        _add_one(connection, event, row)


def _add_one(connection: Connection, event: Event, row: Row) -> None:
    is_bare = False
    for tried in range(_TRIES):
        if not _missing(connection, [row]):
            return
        try:
            with connection.begin_nested():
                place(connection, [row], {event.gateway: head_of(connection, event.gateway)})
            return
        except REFUSED_VALUE as error:
            if tried == _TRIES - 1 or (isinstance(error, DBAPIError) and error.connection_invalidated):
                raise
            if not isinstance(error, IntegrityError):
                if is_bare:
                    raise
                row, is_bare = bare_row(event), True


def _missing(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that are new, and not a second admission or end of an exchange."""
    there: set[object] = set()
    settled: set[tuple[object, bool]] = set()
    kinds = [EventKind.ADMITTED.value, *(kind.value for kind in END_KINDS)]
    for first in range(0, len(rows), _ASKED_AT_ONCE):
        part = rows[first : first + _ASKED_AT_ONCE]
        ids = [row["id"] for row in part]
        exchanges = [row["exchange"] for row in part if row["exchange"] is not None]
        query = select(events.c.id, events.c.exchange, events.c.kind)
        about = query.where(or_(events.c.id.in_(ids), events.c.exchange.in_(exchanges)))
        for id, exchange, kind in connection.execute(about):
            there.add(id)
            if kind in kinds:
                settled.add((exchange, kind == EventKind.ADMITTED))
    fresh = []
    for row in rows:
        place = (row["exchange"], row["kind"] == EventKind.ADMITTED)
        is_one_of_one = row["exchange"] is not None and row["kind"] in kinds
        if row["id"] in there or (is_one_of_one and place in settled):
            continue
        there.add(row["id"])
        if is_one_of_one:
            settled.add(place)
        fresh.append(row)
    return fresh


def lock_heads(connection: Connection, gateways: Iterable[str]) -> dict[str, Head]:
    """Return the heads of writers, and let nobody move them before the transaction ends.

    In SQLite the transaction holds all locks. In PostgreSQL a writer that is new gets a row for its head.
    """
    names = sorted(set(gateways))
    if not _is_postgres(connection):
        return {name: head_of(connection, name) for name in names}
    known, found = partitions.heads, {}
    for name in names:
        query = select(known.c.seq, known.c.hash).where(known.c.gateway == name).with_for_update()
        row = connection.execute(query).first()
        if row is None:
            new = {"gateway": name, "seq": START.seq, "hash": START.hash}
            connection.execute(postgresql.insert(known).on_conflict_do_nothing(), [new])
            row = connection.execute(query).one()
        found[name] = Head(row.seq, row.hash)
    return found


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"

"""Adding events behind the heads of their writers, inside a transaction: the slow way, which leaves no gap.

The fast way is Store's: it chains in memory and inserts at once, and a conflict sends it here. Two writers of one
name, such as a gateway and its thread for approvals, meet at the unique index over gateway and number: the
second one waits, fails, and reads the head again.
"""

import sqlite3
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, func, insert, or_, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from sallyport.audit.chain import START, Head, linked
from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.audit.schema import Row, bare_row, events, to_row

PLAIN_VALUE_ERRORS = (ValueError, TypeError, OverflowError)
REFUSED_VALUE = (
    *(DataError, IntegrityError, ProgrammingError),
    *(sqlite3.DataError, sqlite3.IntegrityError, sqlite3.ProgrammingError),
    *PLAIN_VALUE_ERRORS,
)

_TRIES = 50
"""How often a place in the chain may be taken by another writer of the same name before we give up."""

_ASKED_AT_ONCE = 400


def head_of(connection: Connection, gateway: str) -> Head:
    """Return the last event of a writer that the store has."""
    query = select(events.c.seq, events.c.hash).where(events.c.gateway == gateway, events.c.seq.is_not(None))
    found = connection.execute(query.order_by(events.c.seq.desc()).limit(1)).first()
    return START if found is None else Head(found.seq, found.hash)


def add_within(connection: Connection, batch: Sequence[Event]) -> None:
    """Store events in somebody else's transaction on the same database: what they tell of happens with them.

    Raises SQLAlchemy's errors, IntegrityError for an event that is stored already.
    """
    _lock(connection, (event.gateway for event in batch))
    for event in batch:
        for tried in range(_TRIES):
            head = head_of(connection, event.gateway)
            row = to_row(event)
            linked(row, head)
            try:
                with connection.begin_nested():
                    connection.execute(insert(events), row)
                break
            except IntegrityError:
                if tried == _TRIES - 1 or head_of(connection, event.gateway) == head:
                    raise  # the conflict is not about the place


def add_missing(connection: Connection, rows: Sequence[Row]) -> dict[str, Head]:
    """Insert the rows that the store lacks, with one statement, and return the heads of their writers.

    Raises what a refused value or a writer of the same name that came first raises; nothing is stored then.
    """
    _lock(connection, (str(row["gateway"]) for row in rows))
    fresh = _missing(connection, rows)
    heads: dict[str, Head] = {}
    for row in fresh:
        gateway = str(row["gateway"])
        heads[gateway] = linked(row, heads.get(gateway) or head_of(connection, gateway))
    if fresh:
        connection.execute(insert(events), fresh)
    return heads


def add_singly(connection: Connection, batch: Sequence[Event], rows: Sequence[Row]) -> None:
    """Insert one row after the other, as add_missing does; what the database refuses to hold is stored bare."""
    _lock(connection, (event.gateway for event in batch))
    for event, row in zip(batch, rows, strict=True):
        _add_one(connection, event, row)


def _add_one(connection: Connection, event: Event, row: Row) -> None:
    is_bare = False
    for tried in range(_TRIES):
        if not _missing(connection, [row]):
            return
        try:
            linked(row, head_of(connection, event.gateway))
            with connection.begin_nested():
                connection.execute(insert(events), row)
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


def _lock(connection: Connection, gateways: Iterable[str]) -> None:
    """Let nobody else of these names come this way before the transaction ends. In SQLite it holds all locks."""
    if connection.dialect.name != "postgresql":
        return
    for gateway in sorted(set(gateways)):
        name = func.hashtextextended("sallyport audit " + gateway, text("0"))
        connection.execute(select(func.pg_advisory_xact_lock(name)))

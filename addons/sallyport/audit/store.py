"""Where events are kept: one table in SQLite or PostgreSQL, written in batches, read by people.

All calls block: the writer thread of AuditLog and the command line call them, never an event loop.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    Join,
    RowMapping,
    Select,
    and_,
    exists,
    insert,
    inspect,
    or_,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from sallyport.audit import partitions
from sallyport.audit.adding import (
    PLAIN_VALUE_ERRORS,
    REFUSED_VALUE,
    PlaceTaken,
    add_missing,
    add_singly,
    add_within,
    chained,
    insert_rows,
    lock_heads,
    pruned_heads,
)
from sallyport.audit.atonce import insert_into_postgres, insert_into_sqlite
from sallyport.audit.chain import START, Head
from sallyport.audit.coverage import (
    CoverageDimension,
    Shares,
    Unparsed,
    shares_of,
    shares_query,
    unparsed_of,
    unparsed_query,
)
from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.audit.ids import first_id
from sallyport.audit.keys import KeyUse, key_use_of, key_use_query
from sallyport.audit.maintaining import LACKS_RIGHT, keep_ahead
from sallyport.audit.migrations import can_migrate, migrate
from sallyport.audit.naming import Names, told
from sallyport.audit.schema import (
    IS_ADMISSION,
    IS_END,
    SCHEMA_VERSION,
    Row,
    events,
    from_row,
    metadata,
    microseconds,
    schema_versions,
    to_row,
)
from sallyport.audit.spend import (
    Booked,
    Spend,
    SpendDimension,
    booked_of,
    booked_query,
    spend_of,
    spend_query,
)
from sallyport.audit.text import storable
from sallyport.errors import OperatorError
from sallyport.sql.engines import Database, Durability, NotDurable, Unreachable, database

__all__ = ["Durability", "Outcome", "Store", "StoreUnavailable", "add_within"]


class StoreUnavailable(Exception):
    """A write is not known to be durable. The text names the error, never a value."""


class Outcome(StrEnum):
    """How an exchange or a connection fared, as people ask for it."""

    ALLOWED = "allowed"
    MODIFIED = "modified"
    REFUSED = "refused"
    WOULD_REFUSE = "would-refuse"
    WOULD_MODIFY = "would-modify"


class Store:
    """The events of one or several gateways. One thread writes; any number read."""

    def __init__(self, at: Database, tenant: str | None = None) -> None:
        self._at = at
        self._tenant = None if tenant is None else storable(tenant)
        self._connected = True
        self._settled = True
        self._is_sqlite = at.writer.dialect.name == "sqlite"
        self.names: Names | None = None
        """Who pseudonyms stand for, where who reads may know; None shows events as they are stored."""
        self._heads: dict[str, Head] = {}
        """Of the writers this store writes for; empty where the last commit failed or nobody knows how it ended."""

    @classmethod
    def open(
        cls,
        url: str | Path,
        *,
        durability: Durability | None = None,
        create: bool = True,
        patience_s: float = 1.0,
        tenant: str | None = None,
    ) -> Self:
        """Open a store, and create it where it does not exist yet and create is set.

        tenant: whose events alone are read; such a store writes nothing. Connections refused before anybody
        was identified belong to no tenant. None reads everything.
        patience_s: how long one write may be blocked by the database before it counts as failed.
        Raises OperatorError: no such store, not a store, not reachable, or written by a newer Sallyport.
        """
        at = database(url, durability, patience_s)
        store = cls(at, tenant)
        try:
            store._prepare(create)
        except (SQLAlchemyError, OSError) as error:
            store.close()
            if getattr(getattr(error, "orig", None), "sqlstate", "") == LACKS_RIGHT:
                raise store._error(
                    "this role may not open it, or not make or change its tables",
                    "Have their owner run once: sallyport audit maintain; then: sallyport audit roles gateway ROLE.",
                ) from None
            raise Unreachable(
                f"audit store {store.name}",
                f"cannot be opened ({_name_of(error)})",
                "Check that it is an audit store, that it is running and that you may read and write it.",
                exit_code=3,
            ) from None
        except OperatorError:
            store.close()
            raise
        return store

    @classmethod
    def later(cls, url: str | Path, *, durability: Durability | None = None, patience_s: float = 1.0) -> Self:
        """Return a store that its first write opens, for a gateway that starts while its database is away.

        Reading raises OperatorError until the database answers.
        """
        store = cls(database(url, durability, patience_s))
        store._connected = False
        return store

    @property
    def is_open(self) -> bool:
        """Whether the last write, or the opening, went well."""
        return self._connected

    @property
    def name(self) -> str:
        """The address without a password."""
        return self._at.name

    def close(self) -> None:
        """Close all connections."""
        self._at.writer.dispose()
        self._at.reader.dispose()
        if self.names is not None:
            self.names.close()

    def write(self, batch: Sequence[Event]) -> None:
        """Store a batch in one transaction; return when it is durable.

        Events that are stored already, and second ends of an exchange, are left out silently, so a batch
        may be written again after any failure. An event that the database refuses for what it holds is
        stored bare (detail=unstorable). Raises StoreUnavailable; the rows may then be stored or not, and
        the next write reconnects.
        """
        if self._tenant is not None:
            raise StoreUnavailable("scoped")
        try:
            if not self._connected or self._at.was_replaced():
                self._reopen()
            rows = [to_row(event) for event in batch]
            try:
                self._write_together(rows)
            except REFUSED_VALUE as error:
                if isinstance(error, DBAPIError) and error.connection_invalidated:
                    raise
                self._write_apart(batch, rows)
        except (
            SQLAlchemyError,
            sqlite3.Error,
            OSError,
            OperatorError,
            NotDurable,
            *PLAIN_VALUE_ERRORS,
        ) as error:
            self._heads.clear()
            self._connected = False
            self._settled = self._settled and _is_locked(error)
            raise StoreUnavailable(_name_of(error)) from None

    def events(
        self,
        limit: int = 100,
        *,
        since: datetime | None = None,
        kind: EventKind | None = None,
        principal: str | None = None,
        exchange: str | None = None,
        outcome: Outcome | None = None,
    ) -> list[Event]:
        """Return the latest events that fit all conditions, newest first."""
        query = select(events).order_by(events.c.id.desc()).limit(limit)
        if since is not None:
            query = query.where(events.c.at_us >= microseconds(since), *self._of_time(since, None))
        if kind is not None:
            query = query.where(events.c.kind == kind.value)
        if principal is not None:
            known = () if self.names is None else self.names.pseudonyms(principal)
            query = query.where(events.c.principal.in_([storable(principal), *known]))
        if exchange is not None:
            query = query.where(*self._of_exchange(exchange))
        if outcome is not None:
            query = query.where(_OUTCOMES[outcome])
        return self._read(query)

    def exchange(self, exchange: str) -> list[Event]:
        """Return the events of one exchange, oldest first."""
        return self._read(select(events).where(*self._of_exchange(exchange)).order_by(events.c.id))

    def decision(self, prefix: str) -> list[Event]:
        """Return everything about one decision, oldest first: the events of its exchange, or the one event.

        prefix: the beginning of an event id or of an exchange id. Raises OperatorError where nothing or
        more than one thing begins so.
        """
        wanted = storable(prefix.strip())
        query = select(events).where(or_(_begins(events.c.id, wanted), _begins(events.c.exchange, wanted)))
        found = self._read(query.order_by(events.c.id.desc()).limit(20)) if wanted else []
        subjects = list(dict.fromkeys(event.exchange or event.id for event in found))
        if not subjects:
            raise self._error(
                "no event or exchange id begins with what was given",
                "List ids with: sallyport audit list",
                exit_code=2,
            )
        if len(subjects) > 1:
            raise self._error(
                f"{len(subjects)} or more decisions begin with what was given: {', '.join(subjects[:5])}",
                "Give more characters of the id.",
                exit_code=2,
            )
        return self.exchange(found[0].exchange) if found[0].exchange else found

    def open_exchanges(self, gateway: str | None = None, *, before: datetime | None = None) -> list[Event]:
        """Return the ADMITTED events without an end, oldest first.

        gateway: only those of one instance; where several share a store, the others' are in flight.
        before: only those admitted before this time, so that a start leaves its own alone.
        """
        ends = events.alias("ends")
        ended = exists().where(and_(ends.c.exchange == events.c.exchange, text(f"ends.{IS_END}")))
        query = select(events).where(text(f"audit_events.{IS_ADMISSION}"), ~ended).order_by(events.c.id)
        if gateway is not None:
            query = query.where(events.c.gateway == storable(gateway))
        if before is not None:
            query = query.where(events.c.at_us < microseconds(before))
        return self._read(query)

    def ended(self, since: datetime, limit: int) -> list[Event]:
        """Return the ends of exchanges since a time, of all gateways, oldest first; of many, the latest."""
        kinds = [kind.value for kind in END_KINDS]
        query = select(events).where(
            events.c.id >= first_id(since), events.c.kind.in_(kinds), *self._of_time(since, None)
        )
        return self._read(query.order_by(events.c.id.desc()).limit(limit))[::-1]

    def between(self, since: datetime, until: datetime) -> Iterator[Event]:
        """Yield the events from since up to, not including, until, oldest first; few are in memory at once.

        Raises OperatorError.
        """
        query = select(events).where(
            events.c.at_us >= microseconds(since),
            events.c.at_us < microseconds(until),
            *self._of_time(since, until),
        )
        if self._tenant is not None:
            query = query.where(events.c.tenant == self._tenant)
        try:
            with (
                self._at.reader.connect() as connection,
                connection.execute(
                    query.order_by(events.c.id), execution_options={"yield_per": 1000}
                ) as found,
            ):
                for rows in found.mappings().partitions():
                    yield from map(from_row, told(rows, self.names))
        except SQLAlchemyError as error:
            raise self._unread(error) from None

    def _prepare(self, create: bool) -> None:
        if create:
            self._at.make_place()
        elif not self._at.is_there():
            raise self._error("is not there", "Give the right one with --store or --confdir.")
        with (self._at.writer if create else self._at.reader).begin() as connection:
            version = _version(connection)
            if version is None and create:
                self._at.lock_schema(connection)
                version = _version(connection) or self._create(connection)
        if version is None:
            raise self._error("holds no audit", "Give the right one with --store or --confdir.")
        if version == SCHEMA_VERSION:
            if create and not self._is_sqlite:
                keep_ahead(self._at)
        elif not can_migrate(version):
            raise self._error(
                f"has schema version {version}, and this Sallyport writes version {SCHEMA_VERSION}",
                "Run the Sallyport that wrote it, or a newer one, or give another store.",
            )
        elif create:
            self._upgrade()
        else:
            raise self._error(
                f"has schema version {version}, and this Sallyport reads version {SCHEMA_VERSION}",
                "Start the gateway once: it brings its store up to date.",
            )

    def _create(self, connection: Connection) -> int:
        if self._is_sqlite:
            metadata.create_all(connection)
        else:
            partitions.create_all(connection)
            partitions.keep_ahead(connection)
        connection.execute(insert(schema_versions).values(part="audit", version=SCHEMA_VERSION))
        return SCHEMA_VERSION

    def _upgrade(self) -> None:
        """Bring the schema up to date in one transaction, which may take long where there is much."""
        url = self._at.writer.url.render_as_string(hide_password=False)
        patient = database(url, Durability.FULL, _UPGRADE_PATIENCE_S)
        try:
            with patient.writer.begin() as connection:
                patient.lock_schema(connection)
                version = _version(connection)
                if version is not None and version < SCHEMA_VERSION:
                    migrate(connection, version)
        finally:
            patient.writer.dispose()
            patient.reader.dispose()

    def _unread(self, error: BaseException) -> OperatorError:
        return self._error(
            f"cannot be read ({_name_of(error)})", "Check that it is running and that you may read it."
        )

    def _error(self, what: str, todo: str, *, exit_code: int = 3) -> OperatorError:
        return OperatorError(f"audit store {self.name}", what, todo, exit_code=exit_code)

    def _reopen(self) -> None:
        self._at.writer.dispose()
        self._heads.clear()
        self._prepare(create=True)
        if not self._settled:
            self._at.settle()
        self._connected = self._settled = True

    def _write_together(self, rows: list[Row]) -> None:
        """Insert rows that are all new, chained in memory: nothing is read, and a conflict undoes all."""
        if not rows:
            with self._at.writer.begin():
                return
        heads = self._chain(rows)
        gateway, *others = heads
        at_once = not others and (self._is_sqlite or not _placed(rows))
        if at_once and not self._is_sqlite:
            insert_into_postgres(self._at.writer, rows, self._heads[gateway], heads[gateway])
        elif not (at_once and insert_into_sqlite(self._at.writer, rows, self._heads[gateway])):
            with self._at.writer.begin() as connection:
                if self._is_sqlite:
                    self._check_heads(connection, heads)
                insert_rows(connection, rows, self._heads, heads)
        self._heads.update(heads)

    def _chain(self, rows: list[Row]) -> dict[str, Head]:
        unknown = {str(row["gateway"]) for row in rows} - self._heads.keys()
        if unknown:
            with self._at.writer.begin() as connection:
                self._heads.update(lock_heads(connection, unknown))
        return chained(rows, self._heads)

    def _check_heads(self, connection: Connection, names: Iterable[str]) -> None:
        """Raise PlaceTaken where the event before was pruned.

        Others that another writer of this name had put behind it may have gone with it, so that no place would be
        found taken. An event that is gone without a pruning is none of our business: the gap shows it.
        """
        pruned = pruned_heads(connection)
        if any(pruned.get(name, START).seq >= self._heads[name].seq > 0 for name in names):
            raise PlaceTaken

    def _write_apart(self, batch: Sequence[Event], rows: list[Row]) -> None:
        """Insert what is not there yet, and bare what the database refuses to hold."""
        self._heads.clear()
        try:
            with self._at.writer.begin() as connection:
                heads = add_missing(connection, rows)
            self._heads.update(heads)
        except REFUSED_VALUE as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            with self._at.writer.begin() as connection:
                add_singly(connection, batch, rows)

    def spend(
        self,
        by: Sequence[SpendDimension] = (),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Spend, ...]:
        """Return what the exchanges that ended from since up to, not including, until used, by dimensions."""
        query = spend_query(by, since, until).where(*self._of_time(since, until))
        return spend_of(self._rows(query), by)

    def coverage(
        self,
        by: Sequence[CoverageDimension] = (),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Shares, ...]:
        """Return how much was read of what ended from since up to, not including, until, by dimensions."""
        query = shares_query(by, since, until).where(*self._of_time(since, until))
        return shares_of(self._rows(query), by)

    def unparsed(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[Unparsed, ...]:
        """Return what was not read whole, and why."""
        return unparsed_of(self._rows(unparsed_query(since, until).where(*self._of_time(since, until))))

    def key_use(self, tenant: str | None = None) -> tuple[KeyUse, ...]:
        """Return what every credential was used for, the one that was used last first."""
        return key_use_of(self._rows(key_use_query(None if tenant is None else storable(tenant))))

    def booked(self, since: datetime, until: datetime) -> tuple[Booked, ...]:
        """Return what exchanges admitted in [since, until) used, as far as they have ended."""
        query = booked_query(since, until).where(
            *self._of_time(since, until)
        )  # an end lies where its admission does
        return booked_of(self._rows(query))

    @contextmanager
    def whole(self) -> Iterator[Connection]:
        """Open one state of all that is stored, for who verifies or exports it. Raises OperatorError."""
        if self._tenant is not None:
            raise self._error(
                "is open to you for one tenant only", "Ask the operator for a token of all tenants."
            )
        try:
            with self._at.reader.connect() as connection:
                if not self._is_sqlite:
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                yield connection
        except SQLAlchemyError as error:
            raise self._unread(error) from None

    def _of_time(self, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
        """Return a condition that spares PostgreSQL the partitions which hold nothing of a time."""
        if self._is_sqlite or (since is None and until is None):
            return []
        ends = (None if end is None else microseconds(end) for end in (since, until))
        return [partitions.is_within(*ends)]

    def _of_exchange(self, exchange: str) -> list[ColumnElement[bool]]:
        id = storable(exchange)
        return [events.c.exchange == id, *([] if self._is_sqlite else [partitions.is_of(id)])]

    def _read(self, query: Select[Any]) -> list[Event]:
        return [from_row(row) for row in self._rows(query)]

    def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        """Return the rows of a query over the events; the one place where a tenant's scope is put on it."""
        if self._tenant is not None:
            if not _is_of_events(query):
                raise AssertionError("a query that the scope of a tenant cannot be put on")
            query = query.where(events.c.tenant == self._tenant)
        try:
            with self._at.reader.connect() as connection:
                return told(list(connection.execute(query).mappings()), self.names)
        except SQLAlchemyError as error:
            raise self._unread(error) from None


_UPGRADE_PATIENCE_S = 3600.0


def _placed(rows: list[Row]) -> set[tuple[int, int]]:
    """Give rows their periods in PostgreSQL; return what is to be noted of those that come late."""
    for row in rows:
        row["period"] = partitions.period_of(row)
    return partitions.late_days(rows)


def _is_of_events(query: Select[Any]) -> bool:
    """Say whether every row of a query is of one event, so that a condition on events is one on the rows."""
    froms = query.get_final_froms()
    first = froms[0] if len(froms) == 1 else None
    while isinstance(first, Join):
        first = first.left
    return first is events


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema_versions.name):
        return None
    return connection.scalar(select(schema_versions.c.version).where(schema_versions.c.part == "audit"))


def _is_locked(error: BaseException) -> bool:
    """Say whether a write failed only because somebody else was writing, which leaves nothing behind."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlite_errorname", "")).startswith("SQLITE_BUSY")


def _begins(column: Any, prefix: str) -> Any:
    return and_(column >= prefix, column < prefix + "\U0010ffff")


_OUTCOMES: dict[Outcome, Any] = {
    Outcome.ALLOWED: and_(events.c.kind == "admitted", events.c.action == "allow"),
    Outcome.MODIFIED: and_(events.c.kind == "admitted", events.c.action == "modify"),
    Outcome.REFUSED: events.c.kind.in_(("refused", "connection_refused")),
    Outcome.WOULD_REFUSE: and_(events.c.kind == "admitted", events.c.would_be == "deny"),
    Outcome.WOULD_MODIFY: and_(
        events.c.kind == "admitted", events.c.would_be == "modify", events.c.action == "allow"
    ),
}


def _name_of(error: BaseException) -> str:
    """Return the error's own name: its text may hold values."""
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    for name in ("sqlite_errorname", "sqlstate"):
        if found := getattr(cause, name, None):
            return f"{type(cause).__name__} {found}"
    if isinstance(cause, OperatorError):
        return cause.what
    return type(cause).__name__

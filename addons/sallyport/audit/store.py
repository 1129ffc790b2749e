"""Where events are kept: one table in SQLite or PostgreSQL, written in batches; stored.py reads it.

All calls block: the writer thread of AuditLog and the command line call them, never an event loop.
"""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, func, insert, inspect, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

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
from sallyport.audit.events import Event
from sallyport.audit.maintaining import LACKS_RIGHT, keep_ahead
from sallyport.audit.migrations import can_migrate, migrate
from sallyport.audit.schema import SCHEMA_VERSION, Row, events, metadata, schema_versions, to_row
from sallyport.audit.stored import StoredEvents
from sallyport.errors import OperatorError
from sallyport.sql.engines import Database, Durability, NotDurable, Unreachable, database
from sallyport.sql.failures import cure_of, name_of

logger = logging.getLogger("sallyport.audit")

__all__ = ["Durability", "Store", "StoreUnavailable", "add_within"]


class StoreUnavailable(Exception):
    """A write is not known to be durable. The text names the error, never a value.

    cure: what to do about it, "" where nobody knows.
    """

    def __init__(self, problem: str, cure: str = "") -> None:
        super().__init__(problem)
        self.cure = cure


class Store(StoredEvents):
    """The events of one or several gateways. One thread writes; any number read."""

    def __init__(self, at: Database, tenant: str | None = None) -> None:
        super().__init__(at, tenant)
        self._connected = True
        self._was_open = True
        self._settled = True
        self._problem = ""
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
                f"cannot be opened ({name_of(error)})",
                f"{cure_of(error, _CHECK)}.",
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
        store._connected = store._was_open = False
        return store

    @property
    def is_open(self) -> bool:
        """Whether the last write, or the opening, went well."""
        return self._connected

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
            if self._was_open and self._at.was_replaced():
                self._warn_of_another()
                self._was_open = self._connected = False
                self._at.reader.dispose()
            if not self._connected:
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
            if (
                not isinstance(error, NotDurable) or not self._problem
            ):  # it says only that the last failure stands
                self._problem = name_of(error)
            raise StoreUnavailable(self._problem, cure_of(error, "")) from None

    def _warn_of_another(self) -> None:
        logger.warning(
            "the audit store %s was removed, emptied or replaced: what was recorded before is not in the one "
            "that is there now. A copy of the checkpoints shows what is gone: sallyport audit verify",
            self.name,
        )

    def _prepare(self, create: bool) -> bool:
        """See that the tables are there, in the present schema; return whether they had to be made."""
        made = False
        if create:
            self._at.make_place()
        elif not self._at.is_there():
            raise self._error("is not there", "Give the right one with --store or --confdir.")
        with (self._at.writer if create else self._at.reader).begin() as connection:
            version = _version(connection)
            if version is None and create:
                self._at.lock_schema(connection)
                version = _version(connection)
                if made := version is None:
                    version = self._create(connection)
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
                "Start the gateway once: it brings its store up to date. Or run as the owner of the tables: "
                "sallyport directory prepare.",
            )
        return made

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
                    self._move(connection, version)
        finally:
            patient.writer.dispose()
            patient.reader.dispose()

    def _move(self, connection: Connection, version: int) -> None:
        """Bring the schema up to date, and say so before: it is long, and who ends it begins anew."""
        count = connection.scalar(select(func.count()).select_from(events)) or 0
        logger.warning(
            "the audit store %s is brought from schema %d to %d: %d events. A gateway serves nothing until that "
            "is done; if it is stopped meanwhile, nothing was changed and all begins anew",
            *(self.name, version, SCHEMA_VERSION, count),
        )
        migrate(connection, version)
        logger.warning("the audit store %s is at schema %d", self.name, SCHEMA_VERSION)

    def _reopen(self) -> None:
        self._at.writer.dispose()
        self._heads.clear()
        if self._prepare(create=True) and self._was_open:
            self._warn_of_another()
        if not self._settled:
            self._at.settle()
        self._connected = self._was_open = self._settled = True

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


_UPGRADE_PATIENCE_S = 3600.0
_CHECK = "Check that it is an audit store, that it is running and that you may read and write it"


def _placed(rows: list[Row]) -> set[tuple[int, int]]:
    """Give rows their periods in PostgreSQL; return what is to be noted of those that come late."""
    for row in rows:
        row["period"] = partitions.period_of(row)
    return partitions.late_days(rows)


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema_versions.name):
        return None
    return connection.scalar(select(schema_versions.c.version).where(schema_versions.c.part == "audit"))


def _is_locked(error: BaseException) -> bool:
    """Say whether a write failed only because somebody else was writing, which leaves nothing behind."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlite_errorname", "")).startswith("SQLITE_BUSY")

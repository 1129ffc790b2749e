"""Where the directory is kept: tables of their own in the database of the audit, changed one transaction at a time.

All calls block: the keeper's thread, worker threads and the command line call them, never an event loop.
Changes are serial: the first statement of each locks the revision it raises, so revisions commit in order.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, event, insert, inspect, select, update
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.sql.dml import UpdateBase

from sallyport.errors import OperatorError
from sallyport.sql.engines import Database, Durability, Unreachable, database
from sallyport.sql.failures import cure_of, name_of
from sallyport.state.directory.migrations import can_migrate, migrate
from sallyport.state.directory.schema import PART_OF, SCHEMA_VERSION, Part, metadata, state

__all__ = ["Changed", "DirectoryStore", "NoDirectoryThere", "NoStoreThere"]

PATIENCE_S = 10.0
"""How long one statement may be blocked by the database before it counts as failed."""


class NoDirectoryThere(OperatorError):
    """A database without the tables of a directory."""


class NoStoreThere(OperatorError):
    """A file that does not exist."""


class Changed(Exception):
    """Somebody else has changed meanwhile what this change was made for."""


class DirectoryStore:
    """The tables of the directory. May be used from any thread."""

    def __init__(self, at: Database) -> None:
        self._at = at
        self.opened = 1
        """How often a database was opened: it rises when another file has taken the place of the first."""

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True, patience_s: float = PATIENCE_S) -> Self:
        """Open the directory in the database of an audit store, and create its tables if create is set.

        Raises OperatorError: no such database, no directory in it, or written by a newer Sallyport; and
        Unreachable, which is one, where the database does not answer.
        """
        at = database(url, Durability.FULL, patience_s, what="directory", reader_patience_s=patience_s)
        store = cls(at)
        try:
            store._prepare(create)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            store.close()
            raise store._failed("opened", error) from None
        except OperatorError:
            store.close()
            raise
        return store

    @property
    def name(self) -> str:
        """The address without a password."""
        return self._at.name

    @property
    def is_sqlite(self) -> bool:
        return self._at.writer.dialect.name == "sqlite"

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """Open a transaction that raises the revision when it commits. What raises inside undoes it all.

        Changes are serial: what is read inside cannot be changed by others before the end. Tables are written
        with SQLAlchemy's insert, update and delete: by them the store knows which parts have changed; after a
        textual statement all parts count as changed. Raises OperatorError where the database fails.
        """
        try:
            connection = self._begin()
            try:
                with _noted(connection) as written:
                    yield connection
                self._commit(connection, written)
            finally:
                connection.close()
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._failed("changed", error) from None

    @contextmanager
    def change_since(self, part: Part, revision: int) -> Iterator[Connection]:
        """Open a long change that keeps nobody waiting: in PostgreSQL it locks the revision at its end only.

        Raises Changed, and undoes all, where the part has another revision by then, or where somebody else
        changed the same rows; OperatorError where the database fails.
        """
        try:
            connection = self._connected()
            try:
                with _noted(connection) as written:
                    yield connection
                connection.execute(_RAISE_WHOLE)
                if connection.scalar(select(state.c.revision).where(state.c.part == part.value)) != revision:
                    raise Changed
                self._commit(connection, written)
            finally:
                connection.close()
        except IntegrityError:
            raise Changed from None
        except (SQLAlchemyError, sqlite3.Error) as error:
            if getattr(getattr(error, "orig", None), "sqlstate", "") == _DEADLOCK:
                raise Changed from None
            raise self._failed("changed", error) from None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read that sees one state of the database. Raises OperatorError where the database fails."""
        try:
            if self._at.was_replaced():
                self._reopen()
            with self._at.reader.connect() as connection:
                if not self.is_sqlite:
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            self._at.reader.dispose()
            raise self._failed("read", error) from None

    def revision(self) -> int:
        """Return the number that every change raises. Raises OperatorError where the database fails."""
        with self.read() as connection:
            found = connection.scalar(select(state.c.revision).where(state.c.part == Part.WHOLE.value))
        return int(found or 0)

    def close(self) -> None:
        """Close all connections."""
        self._at.writer.dispose()
        self._at.reader.dispose()

    def _begin(self) -> Connection:
        """Return a connection in a transaction that holds the lock of the revision.

        A connection that was idle may have died with its server; then another one is tried once.
        """
        connection = self._connected()
        try:
            connection.execute(_RAISE_WHOLE)
        except DBAPIError as error:
            connection.close()
            if not error.connection_invalidated:
                raise
            self._at.writer.dispose()
            connection = self._connected()
            try:
                connection.execute(_RAISE_WHOLE)
            except BaseException:
                connection.close()
                raise
        return connection

    def _connected(self) -> Connection:
        if self._at.was_replaced():
            self._reopen()
        return self._at.writer.connect()

    def _commit(self, connection: Connection, written: set[str]) -> None:
        parts = {PART_OF[table] for table in written if table in PART_OF}
        if parts:
            connection.execute(_RAISE.where(state.c.part.in_(sorted(parts))))
        connection.commit()

    def _reopen(self) -> None:
        """Look for the file that took another one's place; it must hold a directory already."""
        self.close()
        self._prepare(create=False)
        self.opened += 1

    def _prepare(self, create: bool) -> None:
        if create:
            self._at.make_place()
        elif not self._at.is_there():
            raise NoStoreThere(
                f"directory {self.name}",
                "is not there",
                "Give the right one with --store or --confdir.",
                exit_code=3,
            )
        with self._at.reader.connect() as connection:
            version = _version(connection)
        if version == SCHEMA_VERSION:
            return
        if create:
            with self._at.writer.begin() as connection:
                self._at.lock_schema(connection)
                self._make(connection, _version(connection))
        elif version is None:
            raise NoDirectoryThere(
                f"directory {self.name}",
                "holds no directory",
                "Give the right one with --store or --confdir, or start the gateway once.",
                exit_code=3,
            )
        elif can_migrate(version):
            raise self._error(
                f"its tables of people have schema version {version}, and this Sallyport reads {SCHEMA_VERSION}",
                "Start the gateway once: it brings its store up to date. Or run as the owner of the tables: "
                "sallyport directory prepare.",
            )
        else:
            raise self._newer(version)

    def _make(self, connection: Connection, version: int | None) -> None:
        if version is None:
            metadata.create_all(connection)
            rows = [{"part": part.value, "version": SCHEMA_VERSION, "revision": 0} for part in Part]
            connection.execute(insert(state), rows)
        elif version != SCHEMA_VERSION and can_migrate(version):
            migrate(connection, version)
        elif version != SCHEMA_VERSION:
            raise self._newer(version)

    def _newer(self, version: int) -> OperatorError:
        return self._error(
            f"its tables of people have schema version {version}, and this Sallyport writes {SCHEMA_VERSION}",
            "Run the Sallyport that wrote it, or a newer one, or give another store.",
        )

    def _error(self, what: str, todo: str) -> OperatorError:
        return OperatorError(f"directory {self.name}", what, todo, exit_code=3)

    def _failed(self, done: str, error: BaseException) -> OperatorError:
        refused = isinstance(error, (IntegrityError, DataError, ProgrammingError))
        return (OperatorError if refused else Unreachable)(
            f"directory {self.name}",
            f"cannot be {done} ({name_of(error)})",
            f"{cure_of(error, 'Check that the database is running and that you may read and write it')}.",
            exit_code=3,
        )


_DEADLOCK = "40P01"
_RAISE = update(state).values(revision=state.c.revision + 1)
_RAISE_WHOLE = _RAISE.where(state.c.part == Part.WHOLE.value)


@contextmanager
def _noted(connection: Connection) -> Iterator[set[str]]:
    """Give the names of the tables that are written meanwhile."""
    written: set[str] = set()

    def note(_: object, clause: Any, *__: object) -> None:
        if isinstance(clause, UpdateBase):
            written.add(str(getattr(clause.table, "name", "")))
        elif not getattr(clause, "is_select", False):
            written.update(PART_OF)

    event.listen(connection, "before_execute", note)
    yield written
    event.remove(connection, "before_execute", note)


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(state.name):
        return None
    return connection.scalar(select(state.c.version).where(state.c.part == Part.WHOLE.value))

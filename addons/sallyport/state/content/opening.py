"""How the database of the content and that of its keys are opened: made where they are not, refused where newer."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, MetaData, Table, event, insert, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from sallyport.errors import OperatorError
from sallyport.sql.engines import Durability, Sqlite, Unreachable, database
from sallyport.sql.failures import cure_of, name_of

PATIENCE_S = 5.0


class Opened:
    """One database with one part's tables in it. For any thread; all calls block.

    SQLite overwrites what is deleted (secure_delete).
    """

    def __init__(
        self, url: str, what: str, part: str, version: int, metadata: MetaData, versions: Table
    ) -> None:
        self._at = database(url, Durability.FULL, PATIENCE_S, what=what, reader_patience_s=60.0)
        self._what = what
        self._part, self._version = part, version
        self._metadata, self._versions = metadata, versions
        self._ready = False
        self.times = 0
        """How often it was opened: again where somebody put another file in its place."""
        if isinstance(self._at, Sqlite):
            event.listen(self._at.writer, "connect", _overwrites)

    @property
    def name(self) -> str:
        """The address without a password."""
        return self._at.name

    @property
    def is_sqlite(self) -> bool:
        return self._at.writer.dialect.name == "sqlite"

    def make(self) -> None:
        """Make the tables where there are none. Raises OperatorError."""
        with self.change():
            pass

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """Open a transaction; the tables are made first where there are none. Raises OperatorError."""
        try:
            self._prepare(create=True)
            with self._at.writer.begin() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self._failed("changed", error) from None

    @contextmanager
    def read(self) -> Iterator[Connection | None]:
        """Open a read; None where nothing was ever kept. Raises OperatorError."""
        try:
            if not self._prepare(create=False):
                yield None
                return
            with self._at.reader.connect() as connection, connection.begin():
                yield connection
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self._failed("read", error) from None

    def alone(self, connection: Connection) -> None:
        """Let nobody else who asks for it change anything until the transaction is over."""
        self._at.lock_schema(connection)

    def scrub(self, table: Table) -> bool:
        """Let nothing stay in the files of what was deleted; False where others kept us from it.

        SQLite: the write-ahead log is emptied. PostgreSQL: the table is written anew; its own log is the server's.
        """
        try:
            if not self.is_sqlite:
                options = {"isolation_level": "AUTOCOMMIT"}
                with self._at.writer.connect().execution_options(**options) as connection:
                    file = text("SELECT pg_relation_filenode(CAST(:name AS regclass))")
                    before = connection.scalar(file, {"name": table.name})
                    connection.execute(text(f"VACUUM FULL {table.name}"))
                    # For a role that may not, it is a warning that nobody sees.
                    return bool(connection.scalar(file, {"name": table.name}) != before)
            with self._at.writer.connect() as connection:
                driver = connection.connection.driver_connection
                assert isinstance(driver, sqlite3.Connection)
                (busy, *_rest) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                return not busy
        except (SQLAlchemyError, sqlite3.Error, OSError):
            return False

    def close(self) -> None:
        """Close all connections."""
        self._at.writer.dispose()
        self._at.reader.dispose()
        self._ready = False

    def _prepare(self, *, create: bool) -> bool:
        """Make the tables, or say whether they are there. Raises OperatorError where they are of another version."""
        if self._ready and not self._at.was_replaced():
            return True
        if self._ready:
            self.close()
        if create:
            self._at.make_place()
        elif not self._at.is_there():
            return False
        with self._at.reader.begin() as connection:
            create = create and self._found(connection) is None
        with (self._at.writer if create else self._at.reader).begin() as connection:
            if create:
                self._at.lock_schema(connection)
            found = self._found(connection)
            if found is None and create:
                self._metadata.create_all(connection)
                connection.execute(insert(self._versions).values(part=self._part, version=self._version))
            elif found is None:
                return False
            elif found != self._version:
                raise OperatorError(
                    f"{self._what} {self.name}",
                    f"has schema version {found}, and this Sallyport writes version {self._version}",
                    "Run the Sallyport that wrote it, or a newer one",
                    exit_code=3,
                )
        self._ready = True
        self.times += 1
        return True

    def _found(self, connection: Connection) -> int | None:
        if not inspect(connection).has_table(self._versions.name):
            return None
        query = select(self._versions.c.version).where(self._versions.c.part == self._part)
        return connection.scalar(query)

    def _failed(self, done: str, error: BaseException) -> OperatorError:
        return Unreachable(
            f"{self._what} {self.name}",
            f"cannot be {done} ({name_of(error)})",
            cure_of(error, "Check that it is running and that you may read and write it"),
            exit_code=3,
        )


def _overwrites(connection: Any, _: object) -> None:
    connection.execute("PRAGMA secure_delete = ON")

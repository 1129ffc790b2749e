"""How the two databases are opened: durably, impatiently, and with a writer's connection of its own.

Every engine is made so that a blocked database fails a write after patience_s instead of keeping the thread.
"""

import os
import sqlite3
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from sallyport.errors import OperatorError
from sallyport.files import own_as_folder
from sallyport.sql.wal import use_wal


class Durability(StrEnum):
    """What an acknowledged row survives. FULL: loss of power. NORMAL: death of the process only."""

    FULL = "full"
    NORMAL = "normal"


class Unreachable(OperatorError):
    """A database that does not answer, or not now; the same call may work later."""


class NotDurable(Exception):
    """Rows an earlier, failed commit may have left behind could not be forced to the disk."""


class Database(Protocol):
    """One kind of database: its two engines and what is peculiar to it."""

    name: str
    writer: Engine
    reader: Engine

    def make_place(self) -> None:
        """Create what must exist before the first connection, readable by the owner only."""
        ...

    def is_there(self) -> bool:
        """Say whether there is something to open, and remember what it is for was_replaced."""
        ...

    def was_replaced(self) -> bool:
        """Say whether the open connections write to something nobody can find any more."""
        ...

    def lock_schema(self, connection: Connection) -> None:
        """Keep other processes from creating the schema until the transaction ends."""
        ...

    def settle(self) -> None:
        """Force to the disk whatever a failed commit may have left; raise NotDurable if that fails."""
        ...


def database(
    url: str | Path,
    durability: Durability | None,
    patience_s: float,
    *,
    what: str = "audit store",
    reader_patience_s: float | None = None,
) -> Database:
    """Return the database of an URL or of a file path.

    sqlite:///relative/path, sqlite:////absolute/path, postgresql://user@host/name, each with an optional
    ?durability=full|normal, which the argument overrides. Raises OperatorError for anything else.

    what: what it is called where it is wrong. reader_patience_s: how long a read may be blocked by a server;
    None leaves it to the server, for people who ask long questions.
    """
    try:
        parsed = make_url(str(url)) if "://" in str(url) else URL.create("sqlite", database=str(url))
    except (ArgumentError, ValueError):
        raise OperatorError(what, "the address is not a database URL", _URL_FORMS) from None
    wanted = str(parsed.query.get("durability", Durability.FULL))
    parsed = parsed.difference_update_query(["durability"])
    shown = _shown(parsed)
    if durability is None:
        try:
            durability = Durability(wanted)
        except ValueError:
            raise OperatorError(
                f"{what} {shown}", "durability is neither full nor normal", "Write ?durability=full."
            ) from None
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise OperatorError(f"{what} {shown}", "what is kept in memory proves nothing", _URL_FORMS)
        return Sqlite(Path(parsed.database), durability, patience_s)
    if backend in ("postgresql", "postgres"):
        server = parsed.set(drivername="postgresql+psycopg")
        return Postgres(server, durability, patience_s, reader_patience_s, what)
    raise OperatorError(f"{what} {shown}", f"{backend} is no known database", _URL_FORMS)


_URL_FORMS = "Use sqlite:////path/to/audit.db, postgresql://user@host/database, or the path of a file."


def _shown(url: URL) -> str:
    """Return a database URL as it may be logged: a driver takes passwords among its options too."""
    return url.set(query={}).render_as_string(hide_password=True)


class Sqlite:
    """A file in WAL mode. BEGIN IMMEDIATE, because a read lock cannot wait to become a write lock."""

    def __init__(self, path: Path, durability: Durability, patience_s: float) -> None:
        self.path = path
        self.name = f"sqlite:{path}"
        self._identity: tuple[int, int] | None = None
        url = URL.create("sqlite", database=str(path))
        self.writer = create_engine(
            url, pool_size=1, max_overflow=0, hide_parameters=True, connect_args={"timeout": patience_s}
        )
        self.reader = create_engine(url, hide_parameters=True, connect_args={"timeout": 5.0})

        @event.listens_for(self.writer, "connect")
        def prepare_writer(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None
            use_wal(connection, patience_s)
            connection.execute(f"PRAGMA synchronous = {durability.name}")

        @event.listens_for(self.writer, "begin")
        def begin_writer(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        @event.listens_for(self.reader, "connect")
        def prepare_reader(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA query_only = ON")

        @event.listens_for(self.reader, "begin")
        def begin_reader(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    def make_place(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                own_as_folder(handle, self.path.parent)
            finally:
                os.close(handle)
        self._identity = self._find()

    def is_there(self) -> bool:
        self._identity = self._find()
        return self._identity is not None

    def was_replaced(self) -> bool:
        """As above. A file that was emptied in its place is another one: what is written goes into its
        write-ahead log, as pages of a database that is not there any more, and only this process could read them.
        """
        try:
            found = self.path.stat()
        except OSError:
            return self._identity is not None
        return (found.st_dev, found.st_ino) != self._identity or found.st_size == 0

    def lock_schema(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE has done it."""

    def settle(self) -> None:
        """Copy the whole write-ahead log into the database file.

        A commit whose fsync failed leaves its frames in the log's page cache, where the reopened database
        finds them as if they were safe. Writing them anew through the checkpoint gives the fsync a second
        page to fail on (https://lwn.net/Articles/752063/).
        """
        with self.writer.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            try:
                busy, frames, copied = driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error:
                raise NotDurable from None
        if busy or frames != copied:
            raise NotDurable

    def _find(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


class Postgres:
    """A server reached through psycopg (3.3 or newer).

    Waiting ends on this side too, because a stopped server keeps no time-out.
    """

    def __init__(
        self,
        url: URL,
        durability: Durability,
        patience_s: float,
        reader_patience_s: float | None = None,
        what: str = "audit store",
    ) -> None:
        try:
            import psycopg
        except ImportError:
            raise OperatorError(
                what,
                "the PostgreSQL driver is not installed",
                "Install sallyport[postgres].",
                exit_code=3,
            ) from None

        self.name = _shown(url)
        program = f"sallyport-{what.partition(' ')[0]}"
        url = url.update_query_dict({"connect_timeout": "2", "application_name": program})
        self.writer = create_engine(url, pool_size=1, max_overflow=0, hide_parameters=True)
        self.reader = create_engine(url, hide_parameters=True)
        _hurry(self.writer, psycopg, patience_s)
        if reader_patience_s is not None:
            _hurry(self.reader, psycopg, reader_patience_s)

        @event.listens_for(self.writer, "connect")
        def prepare(connection: Any, _: object) -> None:
            (confirms,) = connection.execute("SELECT current_setting('synchronous_commit')").fetchone()
            if durability is Durability.NORMAL:
                connection.execute("SET synchronous_commit = off")
            elif confirms == "off":
                connection.execute("SET synchronous_commit = on")
            connection.commit()

    def make_place(self) -> None:
        """The database is the operator's to create."""

    def is_there(self) -> bool:
        return True

    def was_replaced(self) -> bool:
        return False

    def lock_schema(self, connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('sallyport_schema'))"))

    def settle(self) -> None:
        """PostgreSQL panics when an fsync fails; what it shows after a restart is on its disk."""


def _hurry(engine: Engine, psycopg: Any, patience_s: float) -> None:
    """Let no statement of an engine wait longer, whether the server is slow or silent."""

    class Impatient(psycopg.Connection):  # type: ignore[misc]
        """Closes itself when the server does not answer in time."""

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            try:
                return super().wait(gen, interval, patience_s if timeout is None else timeout)
            except psycopg.OperationalError:
                if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    self.pgconn.finish()
                raise

    patience_ms = max(1, int(patience_s * 1000))

    @event.listens_for(engine, "do_connect")
    def connect(_: object, __: object, args: list[Any], options: dict[str, Any]) -> Any:
        return Impatient.connect(*args, **options)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.execute(f"SET statement_timeout = {patience_ms}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {patience_ms * 5}")
        connection.commit()

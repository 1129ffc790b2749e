"""Adding chained rows of one writer with as few steps as the driver allows: nothing of SQLAlchemy's stands between.

A commit is made for a few events and hundreds of times a second, beside a busy event loop. What it costs is processor
time and the interpreter lock, not the disk: SQLAlchemy's part of it is as much as the driver's, and whoever gives the
lock away, as both drivers do with every statement, waits to get it back (docs/performance.md).
"""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from sallyport.audit import partitions
from sallyport.audit.adding import INSERT_JSON, PlaceTaken
from sallyport.audit.chain import START, Head
from sallyport.audit.schema import Row, events

_ROWS_PER_STATEMENT = 32
"""More save little, and each number of rows is a statement of its own that the driver keeps."""

_INSERT_AND_MOVE = (
    f"WITH moved AS (UPDATE {partitions.heads.name} SET seq = %s, hash = %s "  # noqa: S608
    "WHERE gateway = %s AND seq = %s AND hash = %s RETURNING seq) "
    f"{INSERT_JSON} WHERE EXISTS (SELECT FROM moved)"
)


def insert_into_postgres(engine: Engine, rows: Sequence[Row], before: Head, after: Head) -> None:
    """Insert with one statement, which is a transaction of its own: every other is a way to the server and back.

    rows: with their periods. Raises PlaceTaken where the head is elsewhere by now, and SQLAlchemy's errors.
    """
    moved = (after.seq, after.hash, str(rows[0]["gateway"]), before.seq, before.hash)
    # What is NULL costs the server more to read than us to leave out.
    full = [{name: value for name, value in row.items() if value is not None} for row in rows]
    written = orjson.dumps(full).decode()
    pooled = engine.raw_connection()
    driver: Any = pooled.driver_connection
    known: Any = engine.dialect.loaded_dbapi
    try:
        driver.autocommit = True
        try:
            done = driver.execute(_INSERT_AND_MOVE, (*moved, written)).rowcount
        finally:
            if not driver.closed:
                driver.autocommit = False
    except known.Error as error:
        is_gone = engine.dialect.is_disconnect(error, driver, None)
        if is_gone:
            pooled.invalidate(error)
        raise DBAPIError.instance(
            *(None, None, error, known.Error),
            hide_parameters=True,
            connection_invalidated=is_gone,
            dialect=engine.dialect,
        ) from None
    finally:
        pooled.close()
    if done != len(rows):
        raise PlaceTaken


def insert_into_sqlite(engine: Engine, rows: Sequence[Row], before: Head) -> bool:
    """Insert in one transaction, and a few rows with one statement. Raises sqlite3's errors.

    Returns False, and inserts nothing, where the event before them is gone.
    """
    pooled = engine.raw_connection()
    driver = pooled.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    # Before 3.32, SQLite takes 999 values in a statement.
    fitting = (driver.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) - 3) // len(rows[0])
    step = min(_ROWS_PER_STATEMENT, fitting)
    try:
        if len(rows) <= step:
            return _added(driver, rows, before)
        driver.execute("BEGIN IMMEDIATE")
        if is_there := _added(driver, rows[:step], before):
            for first in range(step, len(rows), step):
                _added(driver, rows[first : first + step], START)
            driver.execute("COMMIT")
        return is_there
    finally:
        pooled.close()  # which rolls back what was not committed


def _added(driver: sqlite3.Connection, rows: Sequence[Row], before: Head) -> bool:
    """Insert with one statement. before: the event that must be there; START where none has to be."""
    place = (rows[0]["gateway"], before.seq, before.hash) if before != START else ()
    values = [value for row in rows for value in row.values()]
    done = driver.execute(_statement(tuple(rows[0]), len(rows), bool(place)), (*values, *place))
    return done.rowcount == len(rows)


@lru_cache(2 * _ROWS_PER_STATEMENT)
def _statement(columns: tuple[str, ...], rows: int, is_behind: bool) -> str:
    """Return SQLite's insert of several rows, in the order of the columns.

    is_behind: only where an event is there whose gateway, number and hash follow the values.
    """
    one = f"({', '.join('?' * len(columns))})"
    values = ", ".join([one] * rows)
    insert = f"INSERT INTO {events.name} ({', '.join(columns)})"
    if not is_behind:
        return f"{insert} VALUES {values}"
    place = f"SELECT 1 FROM {events.name} WHERE gateway = ? AND seq = ? AND hash = ?"  # noqa: S608
    return f"{insert} SELECT * FROM (VALUES {values}) WHERE EXISTS ({place})"  # noqa: S608

"""Putting a SQLite file into WAL mode while others open it too."""

import sqlite3
import time

_PAUSE_S = 0.005


def use_wal(connection: sqlite3.Connection, patience_s: float) -> None:
    """Put the file of a connection into WAL mode, where it stays. Raises sqlite3.OperationalError.

    A file that can have no WAL keeps its own mode. The change needs the file for itself, and SQLite does not wait for
    that as it does for other locks: of several that open a new file at the same moment, some would be told at once
    that it is locked. source: sqlite.org/wal.html.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(_PAUSE_S)
        else:
            return

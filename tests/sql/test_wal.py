"""SQLite files that several open at the same moment."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from sallyport.sql.engines import Durability, Sqlite
from sallyport.sql.wal import use_wal

AT_ONCE = 4
FILES = 150
"""Of so many, ten or so had somebody who was told that the file is locked."""


def opened(path: Path, start: Barrier) -> None:
    database = Sqlite(path, Durability.FULL, 10.0)
    start.wait()
    with database.writer.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS seen (a INT)")
        connection.exec_driver_sql("INSERT INTO seen VALUES (1)")
    database.writer.dispose()


def test_of_those_who_open_a_new_file_at_once_all_come_to_write(tmp_path: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for number in range(FILES):
            path, start = tmp_path / f"{number}.db", Barrier(AT_ONCE)
            for done in [threads.submit(opened, path, start) for _ in range(AT_ONCE)]:
                done.result()
            connection = sqlite3.connect(path)
            assert connection.execute("SELECT count(*) FROM seen").fetchone() == (AT_ONCE,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            connection.close()


def test_whoever_finds_it_locked_for_longer_is_told(tmp_path: Path) -> None:
    path = tmp_path / "made.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE seen (a INT)")
    holder.execute("BEGIN EXCLUSIVE")
    connection = sqlite3.connect(path, timeout=0.01)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        use_wal(connection, 0.05)
    holder.close()
    use_wal(connection, 0.05)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()

"""What operators read when a database fails: errors of real databases, and full disks where one can be mounted."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from sallyport.errors import OperatorError
from sallyport.sql.engines import database
from sallyport.sql.failures import cure_of, name_of
from servers import Postgres


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root to mount a small disk")
    mounting = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path]
    if subprocess.run(mounting, check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        connection = sqlite3.connect(tmp_path / "some.db", isolation_level=None)
        connection.execute("CREATE TABLE some (a BLOB)")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("INSERT INTO some VALUES (zeroblob(1000000))")
        connection.close()
        assert name_of(caught.value) == "OperationalError SQLITE_FULL"
        assert cure_of(caught.value, "") == "Its disk is full: make room there"
        with pytest.raises(OSError, match="No space") as written:
            (tmp_path / "more").write_bytes(bytes(1_000_000))
        assert name_of(written.value) == "OSError ENOSPC"
        assert cure_of(written.value, "") == "Its disk is full: make room there"
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def failing(path: Path, statement: str) -> DBAPIError:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.05})
    try:
        with pytest.raises(DBAPIError) as caught, engine.connect() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
    return caught.value


@pytest.mark.parametrize(
    ("fault", "name", "cure"),
    [
        ("no folder", "SQLITE_CANTOPEN", "this user may write both"),
        ("garbage", "SQLITE_NOTADB", "bring it back from a backup"),
        ("locked", "SQLITE_BUSY", "Another process holds it"),
        ("another mistake", "SQLITE_ERROR", "what stands there else"),
    ],
)
def test_a_file_that_fails_is_explained(tmp_path: Path, fault: str, name: str, cure: str) -> None:
    path = tmp_path / ("none/some.db" if fault == "no folder" else "some.db")
    if fault == "garbage":
        path.write_bytes(b"not a database " * 1000)
    holder = sqlite3.connect(tmp_path / ("some.db" if fault == "locked" else "other.db"))
    holder.execute("BEGIN EXCLUSIVE")
    error = failing(path, "BEGIN IMMEDIATE" if fault != "another mistake" else "SELECT * FROM nothing")
    holder.close()
    assert name in name_of(error)
    assert cure in cure_of(error, "what stands there else")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    try:
        made = Postgres(folder / "server")
        yield made
        made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refused(url: str, statement: str = "SELECT 1") -> DBAPIError:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
    return caught.value


def test_a_server_that_does_not_let_us_in_says_which_way(server: Postgres) -> None:
    admin = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    with admin.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE limited LOGIN PASSWORD 'right' CONNECTION LIMIT 0")
        connection.exec_driver_sql("CREATE ROLE guest LOGIN")
        connection.exec_driver_sql("CREATE TABLE owned (a INT)")
        data = Path(connection.exec_driver_sql("SHOW data_directory").scalar_one())
    limited, guest, nobody = (
        server.url.replace("postgres@", name) for name in ("limited@", "guest@", "nobody@")
    )
    assert "are in use" in cure_of(refused(limited), "")
    assert "no such database or role" in cure_of(refused(nobody), "")
    assert "no such database or role" in cure_of(refused(server.url.replace("/postgres?", "/none?")), "")
    assert "audit roles" in cure_of(refused(guest, "SELECT * FROM owned"), "")
    read_only = cure_of(
        refused(f"{server.url}&options=-cdefault_transaction_read_only%3Don", "DELETE FROM owned"), ""
    )
    assert "standby" in read_only
    rules = data / "pg_hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    with admin.begin() as connection:
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    admin.dispose()
    for wrong in (limited.replace("limited@", "limited:wrong@"), guest):
        error = refused(wrong)
        assert "check name, password and pg_hba.conf" in cure_of(error, "")
        assert name_of(error) == "OperationalError", "not what the server wrote, which names the user"


@pytest.mark.parametrize("address", ["/?host={here}", "127.0.0.1:1/some", "no.such.host.invalid/some"])
def test_that_nobody_answers_is_said(tmp_path: Path, address: str) -> None:
    url = f"postgresql://u:hunter2@{address.format(here=tmp_path)}"
    error = refused(url)
    assert "No server answers there" in cure_of(error, "")
    assert name_of(error) == "OperationalError"


def test_the_name_of_a_database_shows_no_password_wherever_the_address_has_it() -> None:
    made = database(
        "postgresql://ann:hunter2@h/db?password=hunter3&sslpassword=hunter4&sslmode=require", None, 1.0
    )
    assert "hunter" not in made.name
    assert "ann" in made.name
    with pytest.raises(OperatorError) as caught:
        database("mysql://ann:hunter2@h/db?password=hunter3", None, 1.0)
    assert "hunter" not in str(caught.value)

"""A store of an earlier schema is brought up to date with what it holds, and by nobody who only reads."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, select, text

from audit.chains import path_of_url
from audit.samples import event
from sallyport.audit.events import Event, EventKind, interrupted
from sallyport.audit.exporting import StoreSource
from sallyport.audit.schema import SCHEMA_VERSION, events
from sallyport.audit.store import Store
from sallyport.audit.verifier import read_keys, verify
from sallyport.cli.reading import open_to_read
from sallyport.errors import OperatorError
from sallyport.exchange import Usage
from sallyport.state.directory.store import DirectoryStore

ADDED_BY_2 = (
    *("cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens", "searches"),
    *("service_tier", "usage_source", "cost_micro_usd"),
)
ADDED_BY_5 = ("coverage", "content_type", "unread")


def back_to_version_5(connection: Connection) -> None:
    """Take from a store what version 6 added, as an earlier Sallyport had left it."""
    connection.execute(text("DROP TABLE audit_prunings"))
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP TABLE audit_heads, audit_spans"))
        connection.execute(text("DROP FUNCTION audit_events_drop_weeks"))
        connection.execute(text("ALTER TABLE audit_events RENAME TO later"))
        for index in events.indexes:
            connection.execute(text(f"DROP INDEX {index.name}"))
        connection.execute(text("ALTER TABLE later DROP CONSTRAINT audit_events_pkey"))
        events.create(connection)
        columns = ", ".join(column.name for column in events.columns)
        connection.execute(text(f"INSERT INTO audit_events ({columns}) SELECT {columns} FROM later"))
        connection.execute(text("DROP TABLE later"))
    connection.execute(text("UPDATE sallyport_schema SET version = 5 WHERE part = 'audit'"))


def back_to_version_1(url: str) -> None:
    """Take from a store what version 2 added, as an earlier Sallyport had left it."""
    engine = create_engine(url)
    with engine.begin() as connection:
        back_to_version_5(connection)
        for name in ADDED_BY_5:
            connection.execute(text(f"ALTER TABLE audit_events DROP COLUMN {name}"))
        connection.execute(text("DROP TABLE audit_checkpoints"))  # of version 4
        connection.execute(text("DROP INDEX audit_chain"))
        for name in ("seq", "hash"):
            connection.execute(text(f"ALTER TABLE audit_events DROP COLUMN {name}"))
        connection.execute(text("DROP INDEX audit_key_use"))  # of version 3
        for name in ADDED_BY_2:
            connection.execute(text(f"ALTER TABLE audit_events DROP COLUMN {name}"))
        connection.execute(text("UPDATE sallyport_schema SET version = 1"))
    engine.dispose()


def written_by_version_1(url: str) -> list[Event]:
    store = Store.open(url)
    admitted = event(EventKind.ADMITTED, "x1", principal="ann", model="gpt-4o", provider="openai")
    done = admitted.followed_by(EventKind.COMPLETED, status=200, usage=Usage(100, 20, 0, 30, 5))
    store.write([admitted, done])
    store.close()
    back_to_version_1(url)
    return [admitted, done]


def test_a_store_of_version_1_keeps_its_events_and_takes_new_ones(
    url: str, open_store: Callable[[str], Store]
) -> None:
    before = written_by_version_1(url)
    store = open_store(url)
    assert store.exchange("x1") == before
    priced = replace(
        event(EventKind.COMPLETED, "x2"),
        usage=Usage(1, 2, 3, 4, 5, 6, 7, 8, 9, tier="flex"),
        usage_source="provider",
        cost_micro_usd=1234,
    )
    store.write([priced])
    assert store.exchange("x2") == [priced]
    assert sum(s.cost_micro_usd for s in store.spend()) == 1234
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version FROM sallyport_schema")) == SCHEMA_VERSION
    engine.dispose()


def test_who_brings_a_store_up_to_date_says_so_before_and_after(
    url: str, open_store: Callable[[str], Store], caplog: pytest.LogCaptureFixture
) -> None:
    """It takes minutes where there is much, in which nothing listens: whoever ends it gets nowhere."""
    written_by_version_1(url)
    caplog.clear()
    store = open_store(url)
    before, after = [record.getMessage() for record in caplog.records]
    assert before.startswith(
        f"the audit store {store.name} is brought from schema 1 to {SCHEMA_VERSION}: 2 events. "
    )
    assert after == f"the audit store {store.name} is at schema {SCHEMA_VERSION}"
    caplog.clear()
    open_store(url)
    assert not caplog.records


def test_a_reader_changes_nothing_and_says_what_to_do(url: str) -> None:
    written_by_version_1(url)
    with pytest.raises(OperatorError, match="schema version 1") as caught:
        Store.open(url, create=False)
    assert "Start the gateway once" in caught.value.todo
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version FROM sallyport_schema")) == 1
    engine.dispose()


def test_tables_of_people_that_are_old_are_not_taken_for_the_log(
    sqlite_url: str, open_store: Callable[[str], Store]
) -> None:
    """A command that reads the log looks first who may."""
    open_store(sqlite_url)
    directory = DirectoryStore.open(sqlite_url)
    with directory.change() as connection:
        connection.execute(text("UPDATE directory_state SET version = 1"))
    directory.close()
    with pytest.raises(OperatorError, match="its tables of people have schema version 1, and"):
        open_to_read(sqlite_url, None)


# -- a store that version 5 really wrote ---------------------------------------------------------------

STORES = Path(__file__).parent / "stores"
"""Dumps of stores that the program of version 5 wrote, in SQLite and PostgreSQL, and the key it signed with."""

KEY = read_keys(STORES / "version5.pem")


def load_version_5(url: str) -> None:
    if url.startswith("sqlite"):
        path = path_of_url(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(path) as raw:
            raw.executescript((STORES / "version5.sqlite.sql").read_text("utf-8"))
        raw.close()
        return
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql((STORES / "version5.postgres.sql").read_text("utf-8").replace("%", "%%"))
    engine.dispose()


def rows_of(url: str) -> list[dict[str, object]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(select(events).order_by(events.c.id)).mappings()]
    engine.dispose()
    return found


def version_of(url: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT version FROM sallyport_schema WHERE part = 'audit'"))
    engine.dispose()
    return int(found or 0)


def sound_before(url: str) -> int:
    """Verify a store of version 5 by its rows alone."""
    engine = create_engine(url)
    with engine.connect() as connection:
        source = StoreSource(connection)
        source.prunings = lambda: iter(())  # type: ignore[method-assign]
        report = verify(source, keys=KEY)
    engine.dispose()
    assert report.is_sound, report.findings
    return report.events


def test_a_store_of_version_5_is_the_same_log_afterwards(
    url: str, open_store: Callable[[str], Store]
) -> None:
    load_version_5(url)
    before, count = rows_of(url), sound_before(url)
    assert count == len(before) == 71
    store = open_store(url)
    assert version_of(url) == SCHEMA_VERSION == 6
    assert rows_of(url) == before
    with store.whole() as connection:
        report = verify(StoreSource(connection), keys=KEY)
    assert report.is_sound, report.findings
    assert (report.events, report.checkpoints) == (71, 3)
    for admitted in (left := store.open_exchanges()):
        store.write([interrupted(admitted)])
    assert [one.gateway for one in left] == ["gw-1", "zürich"]
    store.write([Event(kind=EventKind.STARTED, gateway=gateway) for gateway in ("gw-1", "zürich", "cli")])
    with store.whole() as connection:
        report = verify(StoreSource(connection), keys=KEY)
    assert report.is_sound, report.findings
    assert report.events == 76
    day = datetime(2026, 4, 5, tzinfo=UTC)
    dated = {one.id for one in store.events(1000) if one.at >= day}
    assert {one.id for one in store.events(1000, since=day)} == dated


def test_rights_on_a_store_of_version_5_are_those_on_the_new_one(postgres_url: str) -> None:
    load_version_5(postgres_url)
    engine = create_engine(postgres_url)
    name = f"kept_{time.monotonic_ns()}"
    with engine.begin() as connection:
        for statement in (
            f'CREATE ROLE "{name}" LOGIN',
            f'CREATE ROLE "{name}_r" LOGIN',
            "ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY",
            f'GRANT SELECT, INSERT ON audit_events TO "{name}"',
            f'CREATE POLICY one ON audit_events FOR SELECT TO "{name}" USING (true)',
            f'CREATE POLICY two ON audit_events FOR INSERT TO "{name}" WITH CHECK (true)',
            f'GRANT SELECT ON audit_events TO "{name}_r"',
            f"""CREATE POLICY "the third" ON audit_events FOR SELECT TO "{name}_r" USING (tenant = E'b%mw')""",
        ):
            connection.exec_driver_sql(statement.replace("%", "%%"))
        schema = connection.scalar(text("SELECT current_schema()"))
        connection.execute(text(f'GRANT USAGE ON SCHEMA {schema} TO "{name}", "{name}_r"'))
        connection.execute(text(f'GRANT SELECT ON sallyport_schema TO "{name}"'))
    Store.open(postgres_url).close()
    writer = Store.open(postgres_url.replace("postgres@", f"{name}@"))
    writer.write([Event(kind=EventKind.STARTED, gateway="gw-1")])
    assert len(writer.events(1000)) == 72
    writer.close()
    reader = create_engine(
        postgres_url.replace("postgres@", f"{name}_r@").replace("postgresql:", "postgresql+psycopg:")
    )
    with reader.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM audit_events")) == 0
    reader.dispose()
    engine.dispose()


_UPGRADER = """
import sys
from sallyport.audit.store import Store
import alembic.operations, alembic.migration, sqlalchemy.dialects.sqlite, psycopg
print("ready", flush=True)
sys.stdin.readline()
Store.open(sys.argv[1]).close()
"""


def test_an_upgrade_that_is_killed_leaves_the_old_store_or_the_new_one(url: str) -> None:
    load_version_5(url)
    before = rows_of(url)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    versions = set()
    for wait_s in (0.0, 0.01, 0.03, 0.06, 0.1):
        upgrader = subprocess.Popen(
            [sys.executable, "-c", _UPGRADER, url],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert upgrader.stdin is not None
        assert upgrader.stdout is not None
        assert upgrader.stdout.readline() == "ready\n"
        upgrader.stdin.write("go\n")
        upgrader.stdin.flush()
        time.sleep(wait_s)
        upgrader.kill()
        upgrader.communicate()
        versions.add(version_of(url))
        assert rows_of(url) == before
        assert versions <= {5, 6}
    store = Store.open(url)
    with store.whole() as connection:
        assert verify(StoreSource(connection), keys=KEY).is_sound
    store.close()


def test_a_store_of_a_later_version_is_refused_and_left_alone(url: str) -> None:
    Store.open(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE sallyport_schema SET version = 7 WHERE part = 'audit'"))
    engine.dispose()
    for create in (True, False):
        with pytest.raises(OperatorError, match="schema version 7") as caught:
            Store.open(url, create=create)
        assert "newer" in caught.value.todo
    assert version_of(url) == 7

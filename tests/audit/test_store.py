"""The store on real SQLite files and a real PostgreSQL: what goes in comes out, once."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, func, select, text

from audit.samples import event, exchanges, hostile_texts, verdicts
from sallyport.audit.events import END_KINDS, EventKind, about, interrupted
from sallyport.audit.ids import SHORT_CHARS, new_id
from sallyport.audit.schema import events, to_row
from sallyport.audit.store import Store, StoreUnavailable
from sallyport.audit.stored import Outcome
from sallyport.decision import Action
from sallyport.errors import OperatorError
from servers import Postgres

OpenStore = Callable[[str], Store]


def test_events_come_back_newest_first(store: Store) -> None:
    told = [event(exchange=f"e{i}") for i in range(5)]
    store.write(told)
    assert store.events() == told[::-1]
    assert store.events(2) == told[:2:-1]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_poison_is_stored_and_read_back(store: Store, data: st.DataObject) -> None:
    exchange = replace(data.draw(exchanges()), id=data.draw(hostile_texts) + new_id())
    told = about(EventKind.ADMITTED, exchange, data.draw(verdicts(exchange)), gateway="gw-1")
    store.write([told])
    assert store.events(1) == [told]


def test_a_value_the_database_refuses_costs_its_row_the_details_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(one: object) -> object:
        row = to_row(one)  # type: ignore[arg-type]
        if row["exchange"] == "bad":
            row["model"] = "lone \ud800 surrogate and \0"
        return row

    monkeypatch.setattr("sallyport.audit.store.to_row", poisoned)
    store.write([event(exchange="good", model="m"), event(exchange="bad", model="m"), event(exchange="fine")])
    monkeypatch.undo()
    assert [(e.exchange, e.detail) for e in store.events()] == [
        ("fine", ""),
        ("bad", "unstorable"),
        ("good", ""),
    ]


@pytest.mark.parametrize("second", sorted(END_KINDS))
def test_an_exchange_ends_once(store: Store, second: EventKind) -> None:
    admitted = event(exchange="e1")
    first = admitted.followed_by(EventKind.COMPLETED)
    store.write([admitted, first])
    store.write([first, admitted.followed_by(second), event(EventKind.ADMITTED, "e1")])
    store.write([event(EventKind.STARTED), event(EventKind.STARTED)])
    assert store.exchange("e1") == [admitted, first]
    assert len(store.events(kind=EventKind.STARTED)) == 2


def test_filters_narrow_what_is_listed(store: Store) -> None:
    now = datetime.now(UTC)
    old = event(exchange="old", principal="ann", at=now - timedelta(hours=2), action=Action.ALLOW)
    refused = event(EventKind.REFUSED, "no", principal="bob", action=Action.DENY, would_be=Action.DENY)
    watched = event(exchange="watched", principal="ann", action=Action.ALLOW, would_be=Action.DENY)
    masked = event(exchange="masked", principal="DOMAIN\\eve\0", action=Action.MODIFY, would_be=Action.MODIFY)
    store.write([old, refused, watched, masked])
    assert store.events(since=now - timedelta(hours=1)) == [masked, watched, refused]
    assert store.events(principal="ann") == [watched, old]
    assert store.events(principal="DOMAIN\\eve\0") == [masked]
    assert store.events(kind=EventKind.REFUSED) == store.events(outcome=Outcome.REFUSED) == [refused]
    assert store.events(exchange="old") == [old]
    assert store.events(outcome=Outcome.WOULD_REFUSE) == [watched]
    assert store.events(outcome=Outcome.MODIFIED) == [masked]


def test_a_decision_is_found_by_any_unique_prefix(store: Store) -> None:
    admitted = event(exchange="0a1b-exchange")
    ended = admitted.followed_by(EventKind.COMPLETED)
    tunnel = event(EventKind.TUNNELLED)
    store.write([admitted, ended, tunnel])
    for prefix in ("0a1b", admitted.exchange, admitted.id, ended.id[:SHORT_CHARS]):
        assert store.decision(prefix) == [admitted, ended]
    assert store.decision(tunnel.id[:SHORT_CHARS]) == [tunnel]


@pytest.mark.parametrize("prefix", ["", "nope", "%", "_", "\0", "\ud800", "0' OR 1=1"])
def test_an_unknown_id_is_the_operators_error(store: Store, prefix: str) -> None:
    store.write([event(exchange="e1")])
    with pytest.raises(OperatorError, match="audit list") as caught:
        store.decision(prefix)
    assert caught.value.exit_code == 2


def test_an_ambiguous_id_is_the_operators_error(store: Store) -> None:
    store.write([event(exchange="ab1"), event(exchange="ab2")])
    with pytest.raises(OperatorError, match="more characters"):
        store.decision("ab")


def test_open_exchanges_are_those_without_an_end(store: Store) -> None:
    admitted = [event(exchange=f"e{i}") for i in range(4)]
    foreign = event(exchange="f").followed_by(EventKind.ADMITTED)
    other = type(foreign)(kind=EventKind.ADMITTED, gateway="gw-2", exchange="x")
    ends = [one.followed_by(kind) for one, kind in zip(admitted, sorted(END_KINDS), strict=False)]
    store.write([*admitted, *ends, other])
    assert store.open_exchanges() == [admitted[3], other]
    assert store.open_exchanges("gw-1") == [admitted[3]]
    assert store.open_exchanges("gw-1", before=admitted[3].at) == []
    store.write([interrupted(one) for one in store.open_exchanges()])
    assert store.open_exchanges() == []
    assert store.exchange("x")[-1].detail == "interrupted"


def test_a_file_of_the_audit_is_readable_by_its_owner_only(sqlite_url: str, open_store: OpenStore) -> None:
    open_store(sqlite_url).write([event()])
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes) == {"audit.db", "audit.db-wal", "audit.db-shm"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(("query", "level"), [("", 2), ("?durability=normal", 1), ("?durability=full", 2)])
def test_sqlite_syncs_every_commit_unless_told_otherwise(
    sqlite_url: str, open_store: OpenStore, query: str, level: int
) -> None:
    store = open_store(sqlite_url + query)
    with store._at.writer.connect() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == level
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"


def test_postgres_confirms_only_what_is_on_disk(postgres_url: str, open_store: OpenStore) -> None:
    with create_engine(postgres_url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("ALTER ROLE postgres SET synchronous_commit = off"))
        try:
            store = open_store(postgres_url)
            with store._at.writer.connect() as mine:
                assert mine.scalar(text("SELECT current_setting('synchronous_commit')")) == "on"
        finally:
            connection.execute(text("ALTER ROLE postgres RESET synchronous_commit"))


def test_a_newer_schema_is_refused_and_left_alone(url: str, open_store: OpenStore) -> None:
    store = open_store(url)
    store.write([event()])
    with store._at.writer.begin() as connection:
        connection.execute(text("UPDATE sallyport_schema SET version = 99"))
    for create in (True, False):
        with pytest.raises(OperatorError, match="schema version 99") as caught:
            Store.open(url, create=create)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sqlite:///{here}/none.db", "is not there"),
        ("{here}/none.db", "is not there"),
        ("sqlite:///{here}/empty.db", "holds no audit"),
        ("sqlite:///{here}/garbage.db", "cannot be opened"),
        ("sqlite://", "proves nothing"),
        ("mysql://host/name", "no known database"),
        ("sqlite:///{here}/x.db?durability=maybe", "neither full nor normal"),
        ("postgresql://u:hunter2@/none?host={here}", "cannot be opened"),
    ],
)
def test_what_cannot_be_opened_is_explained(tmp_path: Path, address: str, words: str) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "garbage.db").write_bytes(b"not a database " * 1000)
    with pytest.raises(OperatorError, match=words) as caught:
        Store.open(address.format(here=tmp_path), create=False)
    assert "hunter2" not in str(caught.value)
    assert not (tmp_path / "none.db").exists()


def test_errors_name_no_values(store: Store) -> None:
    store.write([])
    with store._at.writer.begin() as connection:
        connection.execute(text("DROP TABLE audit_events"))
    with pytest.raises(StoreUnavailable) as caught:
        store.write([event(principal="somebody@example.com")])
    assert "somebody" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_deleted_file_is_not_written_to_any_more(sqlite_url: str, open_store: OpenStore) -> None:
    store = open_store(sqlite_url)
    store.write([event(exchange="before")])
    for path in Path(sqlite_url.removeprefix("sqlite:///")).parent.iterdir():
        path.unlink()
    store.write([event(exchange="after")])
    assert [e.exchange for e in open_store(sqlite_url).events()] == ["after"]


@pytest.mark.parametrize("endings", [("",), ("", "-wal")], ids=["the file", "and its log"])
def test_a_file_that_is_emptied_in_its_place_begins_anew_and_is_told(
    sqlite_url: str, open_store: OpenStore, endings: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(sqlite_url)
    store.write([event(exchange="before")])
    for ending in endings:
        os.truncate(sqlite_url.removeprefix("sqlite:///") + ending, 0)
    store.write([event(exchange="after")])
    store.write([event(exchange="later")])
    assert {e.exchange for e in open_store(sqlite_url).events()} >= {"after", "later"}
    assert caplog.text.count("was removed, emptied or replaced") == 1


def test_a_database_that_is_found_empty_begins_anew_and_is_told(
    postgres_url: str, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a failover to a server that has nothing, or a restore that was forgotten."""
    store = open_store(postgres_url)
    store.write([event(exchange="before")])
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as admin:
        schema = admin.scalar(text("SELECT current_schema()"))
        admin.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        admin.execute(text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    with pytest.raises(StoreUnavailable):
        store.write([event(exchange="lost")])
    store.write([event(exchange="after")])
    store.write([event(exchange="later")])
    assert {e.exchange for e in open_store(postgres_url).events()} == {"after", "later"}
    assert caplog.text.count("was removed, emptied or replaced") == 1


def test_a_restarted_server_is_reached_again(
    postgres: Postgres, postgres_url: str, open_store: OpenStore
) -> None:
    store = open_store(postgres_url)
    store.write([event(exchange="before")])
    postgres.stop()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.write([event(exchange="lost")])
    postgres.start()
    after = event(exchange="after")
    store.write([after])
    assert [e.exchange for e in store.events()] == ["after", "before"]


def test_two_processes_write_one_file(sqlite_url: str, open_store: OpenStore) -> None:
    store = open_store(sqlite_url)
    program = (
        "import sys; from sallyport.audit.store import Store; from sallyport.audit.events import *\n"
        "store = Store.open(sys.argv[1])\n"
        "for i in range(200):\n"
        "    store.write([Event(kind=EventKind.ADMITTED, gateway='g', exchange=f'{sys.argv[2]}-{i}')])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    address = sqlite_url + "?durability=normal"
    children = [subprocess.Popen([sys.executable, "-c", program, address, n], env=environment) for n in "ab"]
    assert [child.wait(30) for child in children] == [0, 0]
    with store._at.reader.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(events)) == 400
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_two_processes_create_one_store(url: str) -> None:
    program = "import sys; from sallyport.audit.store import Store; Store.open(sys.argv[1]).close()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    children = [subprocess.Popen([sys.executable, "-c", program, url], env=environment) for _ in range(3)]
    assert [child.wait(30) for child in children] == [0] * 3

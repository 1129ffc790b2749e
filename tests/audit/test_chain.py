"""The chain of every writer stays whole: through retries, doubles, poison, faults, kills and several writers."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from random import Random

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from audit.chains import assert_sound, some_events
from audit.samples import event, exchanges, verdicts
from audit.test_faults import _NURSERY
from audit.test_migrations import back_to_version_1
from sallyport.audit import verifier
from sallyport.audit.adding import add_within
from sallyport.audit.chain import EVENT_TAG, START, canonical, linked
from sallyport.audit.events import EventKind, about
from sallyport.audit.schema import events, to_row
from sallyport.audit.store import Store, StoreUnavailable

OpenStore = Callable[[str], Store]
KILLS = 15
"""For each database."""


def chain_of(store: Store, gateway: str = "gw-1") -> list[tuple[int, str]]:
    with store._at.reader.connect() as connection:
        query = select(events.c.seq, events.c.id).where(events.c.gateway == gateway).order_by(events.c.seq)
        return [(seq, id) for seq, id in connection.execute(query)]


def test_the_form_of_the_hash_is_what_the_page_says() -> None:
    row = to_row(event(exchange="x", principal='Zoë "\\\u2028', at=event().at, confidence=1.0))
    linked(row, START)
    members = {name: value for name, value in row.items() if value is not None and name != "hash"}
    members["confidence"] = "1.0"
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert row["hash"] == sha256(EVENT_TAG + bytes(32) + text.encode()).hexdigest()
    assert row["seq"] == 1


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_writer_and_verifier_make_the_same_bytes(data: st.DataObject) -> None:
    exchange = data.draw(exchanges())
    row = to_row(about(EventKind.ADMITTED, exchange, data.draw(verdicts(exchange)), gateway="gw-1"))
    row["confidence"] = data.draw(st.floats(allow_nan=False, allow_infinity=False))
    assert canonical(row) == verifier.canonical(json.loads(orjson.dumps(row)))


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(confidence=st.floats(allow_nan=False, allow_infinity=False), name=st.text(max_size=30))
def test_what_a_database_gives_back_has_the_hash_it_was_given(
    store: Store, confidence: float, name: str
) -> None:
    store.write([event(EventKind.STARTED, principal=name, confidence=confidence)])
    assert_sound(store)


def test_what_is_left_out_leaves_no_gap(store: Store) -> None:
    admitted = event(exchange="e1")
    done = admitted.followed_by(EventKind.COMPLETED)
    store.write([admitted])
    store.write(
        [admitted, done, admitted.followed_by(EventKind.BROKEN), event(EventKind.ADMITTED, "e1"), done]
    )
    store.write([done])
    late = event(exchange="e2")
    store.write([late])
    assert chain_of(store) == [(1, admitted.id), (2, done.id), (3, late.id)]
    assert_sound(store)


def test_a_refused_value_leaves_no_gap(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(one: object) -> object:
        row = to_row(one)  # type: ignore[arg-type]
        if row["exchange"] == "bad":
            row["model"] = "lone \ud800 surrogate"
        return row

    monkeypatch.setattr("sallyport.audit.store.to_row", poisoned)
    store.write([event(exchange="good"), event(exchange="bad"), event(exchange="fine")])
    assert [seq for seq, _ in chain_of(store)] == [1, 2, 3]
    assert_sound(store)


@pytest.mark.parametrize("size", [1, 5, 60])
def test_a_commit_that_came_through_and_was_reported_lost_is_written_once(
    store: Store, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([event(exchange="before")])
    batch = [event(exchange=f"e{number}") for number in range(size)]
    real = store._write_together

    def lost(rows: object) -> None:
        real(rows)  # type: ignore[arg-type]
        raise OperationalError("", None, Exception())

    monkeypatch.setattr(store, "_write_together", lost)
    with pytest.raises(StoreUnavailable):
        store.write(batch)
    monkeypatch.undo()
    more = [event(exchange=f"m{number}") for number in range(size)]
    store.write([*batch, *more])
    assert [id for _, id in chain_of(store)][1:] == [one.id for one in (*batch, *more)]
    assert_sound(store)


def test_a_commit_that_failed_leaves_no_gap(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write([event(exchange="before")])

    def failing(rows: list[object]) -> None:
        store._chain(rows)  # type: ignore[arg-type]
        raise OperationalError("", None, Exception())

    monkeypatch.setattr(store, "_write_together", failing)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            store.write([event(exchange="lost")])
    monkeypatch.undo()
    store.write([event(exchange="after")])
    assert [seq for seq, _ in chain_of(store)] == [1, 2]
    assert_sound(store)


def test_two_stores_and_transactions_of_others_write_one_chain(url: str, open_store: OpenStore) -> None:
    stores = [open_store(url) for _ in range(2)]

    def through(store: Store, name: str) -> None:
        for number in range(40):
            store.write([event(exchange=f"{name}-{number}"), event(EventKind.STARTED)])

    def within(name: str) -> None:
        engine = open_store(url)._at.writer
        for number in range(40):
            with engine.begin() as connection:
                add_within(connection, [event(exchange=f"{name}-{number}")])

    threads = [threading.Thread(target=through, args=(store, f"s{n}")) for n, store in enumerate(stores)]
    threads.append(threading.Thread(target=within, args=("w",)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [seq for seq, _ in chain_of(stores[0])] == list(range(1, 201))
    assert_sound(stores[0])


def test_a_transaction_that_is_undone_takes_its_place_in_the_chain_with_it(store: Store) -> None:
    store.write([event(exchange="first")])
    with store._at.writer.connect() as connection:
        add_within(connection, [event(exchange="undone")])
        connection.rollback()
    store.write([event(exchange="second")])
    again = event(exchange="third")
    with store._at.writer.begin() as connection:
        add_within(connection, [again, event(EventKind.STARTED)])
    with pytest.raises(IntegrityError), store._at.writer.begin() as connection:
        add_within(connection, [again])
    store.write([event(exchange="fourth")])
    assert [seq for seq, _ in chain_of(store)] == [1, 2, 3, 4, 5]
    assert_sound(store)


def test_the_chain_is_whole_after_every_kill(url: str, open_store: OpenStore) -> None:
    store = open_store(url)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    nursery = subprocess.Popen(
        [sys.executable, "-c", _NURSERY, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    waits, total = Random(11), 0
    for _ in range(KILLS):
        nursery.stdin.write("go\n")
        nursery.stdin.flush()
        word, pid = nursery.stdout.readline().split()
        assert word == "ready"
        time.sleep(waits.uniform(0, 0.1))
        os.kill(int(pid), signal.SIGKILL)
        while nursery.stdout.readline() != "dead\n":
            pass
        total = assert_sound(store).events
    nursery.communicate(timeout=10)
    assert total > KILLS


def test_a_store_of_an_earlier_schema_is_chained_as_it_lies_there(url: str, open_store: OpenStore) -> None:
    store = open_store(url)
    for writer in ("gw-1", "gw-2"):
        store.write(some_events(writer, 7, "old"))
    before = {writer: chain_of(store, writer) for writer in ("gw-1", "gw-2")}
    store.close()
    back_to_version_1(url)
    store = open_store(url)
    assert {writer: chain_of(store, writer) for writer in before} == before
    store.write(some_events("gw-1", 3, "new"))
    assert assert_sound(store).events == 17


def test_the_database_lets_nobody_take_a_place_twice(store: Store) -> None:
    store.write([event()])
    engine = create_engine(store._at.writer.url)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_events (id, kind, at_us, gateway, confidence, seq, hash) "
                "VALUES ('z', 'started', 0, 'gw-1', 0, 1, 'x')"
            )
        )
    engine.dispose()

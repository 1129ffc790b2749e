"""In PostgreSQL events lie in weeks: nothing is doubled across them, and who asks for a time reads few of them."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from audit.chains import assert_sound
from audit.test_retention import id_at
from sallyport.audit import partitions
from sallyport.audit.adding import add_within
from sallyport.audit.events import Event, EventKind
from sallyport.audit.ids import new_id
from sallyport.audit.maintaining import keep_ahead, look
from sallyport.audit.store import Store

OpenStore = Callable[[str], Store]
NOW = datetime.now(UTC)


@pytest.fixture
def store(postgres_url: str, open_store: OpenStore) -> Store:
    return open_store(postgres_url)


def ask(store: Store, query: str) -> list[tuple[object, ...]]:
    with store._at.reader.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def parts(store: Store) -> dict[str, str]:
    return dict(ask(store, "SELECT id, tableoid::regclass::text FROM audit_events"))  # type: ignore[arg-type]


def admitted(at: datetime, number: int = 1) -> Event:
    exchange = id_at(at, number)
    return Event(
        kind=EventKind.ADMITTED, gateway="gw-1", exchange=exchange, id=id_at(at, number + 500), at=at
    )


def end(of: Event, at: datetime, number: int = 900) -> Event:
    return Event(kind=EventKind.COMPLETED, gateway="gw-1", exchange=of.exchange, id=id_at(at, number), at=at)


def test_the_period_of_an_id_is_its_day_in_both_languages(store: Store) -> None:
    ids = [new_id(), id_at(NOW, 1), "x-undated", "ffffffff-ffff-7000-8000-000000000000", "0" * 36]
    for id in ids:
        mine = partitions.period_of({"exchange": id, "id": "other"})
        with store._at.reader.connect() as connection:
            query = f"SELECT {partitions.PERIOD_IN_SQL} FROM (SELECT CAST(:id AS text) AS exchange, '' AS id) AS one"
            assert connection.scalar(text(query), {"id": id}) == mine
    assert partitions.period_of({"exchange": None, "id": new_id()}) == partitions.this_day()
    assert partitions.period_of({"exchange": "x-undated", "id": new_id()}) == 0


def test_an_exchange_that_ends_weeks_later_lies_in_one_partition_and_ends_once(store: Store) -> None:
    start = admitted(NOW)
    late = end(start, NOW + timedelta(days=15))
    store.write([start])
    store.write([late])
    store.write([end(start, NOW + timedelta(days=16), 901)])
    assert [one.id for one in store.exchange(start.exchange)] == [start.id, late.id]
    found = parts(store)
    assert found[start.id] == found[late.id] == partitions.name_of(partitions.week_of(partitions.this_day()))
    for kind in ("completed", "admitted"):
        with pytest.raises(IntegrityError), store._at.writer.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO audit_events (id, kind, at_us, gateway, confidence, seq, hash, exchange, period) "
                    "SELECT 'z', :kind, 0, 'other', 0, 1, 'x', exchange, period FROM audit_events WHERE id = :id"
                ),
                {"kind": kind, "id": start.id},
            )
    assert_sound(store)


def test_two_writers_of_one_name_in_different_weeks_make_one_chain(
    postgres_url: str, open_store: OpenStore
) -> None:
    """No unique index spans the two; the head does."""
    stores = [open_store(postgres_url) for _ in range(2)]

    def write(number: int) -> None:
        for each in range(40):
            stores[number].write([admitted(NOW + timedelta(days=7 * number), number * 1000 + each)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(parts(stores[0]).values())) == 2
    assert assert_sound(stores[0]).events == 80


def test_a_writer_that_lost_its_place_while_it_waited_takes_the_next(
    store: Store, open_store: OpenStore
) -> None:
    store.write([admitted(NOW, 1)])
    other = open_store(store._at.writer.url.render_as_string(hide_password=False))
    with other._at.writer.begin() as connection:
        add_within(connection, [admitted(NOW + timedelta(days=7), 2)])
        waiting = threading.Thread(target=store.write, args=([admitted(NOW + timedelta(days=14), 3)],))
        waiting.start()
        time.sleep(0.2)
    waiting.join(10)
    assert assert_sound(store).events == 3
    assert ask(store, "SELECT seq FROM audit_heads WHERE gateway = 'gw-1'") == [(3,)]


@pytest.mark.parametrize("since_days", [1, 10])
def test_who_asks_since_a_time_reads_only_the_weeks_that_hold_it(store: Store, since_days: int) -> None:
    for week in range(4):
        store.write([admitted(NOW + timedelta(days=7 * week), week + 1)])
    since = NOW + timedelta(days=21 - since_days)
    seen = []
    real = store._rows

    def rows(query: object) -> object:
        seen.append(query)
        return real(query)  # type: ignore[arg-type]

    store._rows = rows  # type: ignore[method-assign,assignment]
    assert len(store.events(since=since)) == 1 + since_days // 7
    with store._at.reader.connect() as connection:
        plan = connection.execute(
            text(
                "EXPLAIN (ANALYZE, COSTS OFF) "
                + str(seen[0].compile(connection, compile_kwargs={"literal_binds": True})).replace("%%", "%")
            )
        )  # type: ignore[attr-defined]
        lines = [row[0] for row in plan]
    removed = [line for line in lines if "Subplans Removed" in line]
    unread = [line for line in lines if "audit_events_2" in line and "never executed" in line]
    weeks = partitions.AHEAD
    read = [line for line in lines if "audit_events_2" in line and "never executed" not in line]
    assert removed or unread, lines
    assert len(read) < weeks, lines


def test_an_end_that_came_weeks_late_is_found_by_its_time(store: Store) -> None:
    start = admitted(NOW - timedelta(days=30))
    late = end(start, NOW)
    store.write([start, admitted(NOW, 2)])
    assert late.id not in {one.id for one in store.events(since=NOW - timedelta(hours=1))}
    store.write([late])
    assert late.id in {one.id for one in store.events(since=NOW - timedelta(hours=1))}
    assert late.id in {one.id for one in store.ended(NOW - timedelta(hours=1), 10)}
    hour = timedelta(hours=1)
    assert late.id in {one.id for one in store.between(NOW - hour, NOW + hour)}
    assert late.id not in {one.id for one in store.between(NOW - 48 * hour, NOW - hour)}
    assert sum(spend.exchanges for spend in store.spend(since=NOW - hour)) == 1


def test_what_fell_into_no_week_is_moved_when_its_week_is_made(store: Store) -> None:
    far = NOW + timedelta(days=300)
    store.write([admitted(NOW), admitted(far, 2)])
    assert partitions.OTHER in parts(store).values()
    with store._at.reader.connect() as connection:
        assert look(connection).outside == 1
        assert look(connection).is_short
    ahead = keep_ahead(store._at)
    assert ahead is not None
    assert (ahead.made, ahead.outside, ahead.is_short) == (1, 0, False)
    assert partitions.OTHER not in parts(store).values()
    store.write([end(admitted(far, 2), far)])
    assert assert_sound(store).events == 3


def test_partitions_are_made_while_others_write(
    store: Store, postgres_url: str, open_store: OpenStore
) -> None:
    other = open_store(postgres_url)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            other.write([admitted(NOW + timedelta(days=100 + number % 60), number)])

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(6):
            keep_ahead(store._at)
            time.sleep(0.05)
    finally:
        stop.set()
        writing.join(20)
    keep_ahead(store._at)
    assert partitions.OTHER not in parts(store).values()
    assert_sound(store)


def test_an_older_program_cannot_write_into_partitions(store: Store) -> None:
    """It knows no period, and would not move the head."""
    engine = create_engine(store._at.writer.url)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_events (id, kind, at_us, gateway, confidence, seq, hash) "
                "VALUES ('z', 'started', 0, 'gw-1', 0, 1, 'x')"
            )
        )
    engine.dispose()

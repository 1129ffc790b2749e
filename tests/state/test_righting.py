"""A ledger whose clock was ahead, or behind, is set right: nothing opens by it, and windows end in time again."""

import asyncio
import logging
from pathlib import Path

import pytest

from sallyport.stages.ledger import (
    Booking,
    Calendar,
    Claim,
    Concurrent,
    Denied,
    RollingWindow,
    TokenBucket,
    Unit,
)
from sallyport.state.ledger.righting import Rightable, moves_of
from state.stores import MemoryStore, RedisStore, SqliteStore

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
LEASE_MS = 60_000
DAY, MONTH = Calendar(Unit.DAY, "Europe/Berlin"), Calendar(Unit.MONTH)
CALENDARS = {"day": DAY, "month": MONTH}
BUCKET, ROLLING = TokenBucket(10, 3_600_000), RollingWindow(3_600_000)


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest):
    if request.param == "redis":
        made = RedisStore(request.getfixturevalue("redis_url"))
        await made.start()
    else:
        made = SqliteStore()
    yield made
    await made.close()


async def leap(store: MemoryStore, ms: int) -> None:
    """Have the ledger's clock ahead by so much, and the clock that it follows right again."""
    if isinstance(store, RedisStore):
        await store.step_server(ms)
        await store.ledger.now_ms()
        await store.step_server(-ms)
        return
    store.clock.booted = "second"
    store.clock.wall += ms
    await store.ledger.now_ms()
    store.clock.wall -= ms


async def set_right(store: MemoryStore) -> None:
    assert isinstance(store.ledger, Rightable)
    clocks = await store.ledger.clocks()
    moves = moves_of(await store.ledger.levels(ended=True), CALENDARS, clocks)
    await store.ledger.set_right(moves)
    after = await store.ledger.clocks()
    assert after.apart_ms == 0
    assert after.right_ms == clocks.right_ms


def claims(amount: int = 1) -> list[Claim]:
    return [
        Claim("day/principal=ann", 10, amount, DAY),
        Claim("month", 100, amount, MONTH),
        Claim("bucket", 10, amount, BUCKET),
        Claim("rolling", 10, amount, ROLLING),
        Claim("streams", 10, 1, Concurrent()),
    ]


async def used(store: MemoryStore) -> dict[str, tuple[int, int]]:
    return {
        level.key.partition("/")[0]: (level.used, level.reserved) for level in await store.ledger.levels()
    }


async def test_what_was_counted_by_a_clock_that_was_ahead_counts_by_the_right_one(store: MemoryStore) -> None:
    await store.ledger.reserve("before", claims(2), LEASE_MS)
    await store.ledger.settle("before", {})
    await leap(store, DAY_MS)
    await store.ledger.reserve("ahead", claims(3), LEASE_MS)
    await store.ledger.settle("ahead", {})
    await store.ledger.reserve("open", claims(4), LEASE_MS)
    assert (await used(store))["day"] == (3, 4)
    await set_right(store)
    assert await used(store) == {
        "day": (5, 4),
        "month": (5, 4),
        "bucket": (3, 4),
        "rolling": (3, 4),
        "streams": (0, 1),
    }
    assert isinstance(await store.ledger.reserve("more", claims(2), LEASE_MS), Denied)
    assert (await store.ledger.settle("open", {})).booking is Booking.BOOKED
    assert (await used(store))["day"] == (9, 0)


async def test_set_right_windows_end_when_the_right_clock_says_so(store: MemoryStore) -> None:
    await leap(store, 10 * DAY_MS)
    await store.ledger.reserve("ahead", claims(10), LEASE_MS)
    await store.ledger.settle("ahead", {})
    await set_right(store)
    (level,) = await store.ledger.levels("day")
    assert level.start_ms == DAY.at(store.clock.wall).start_ms
    assert level.resets_in_ms == DAY.at(store.clock.wall).end_ms - store.clock.wall
    await store.pass_ms(DAY_MS)
    assert (await used(store)).keys() == {"month"}
    assert not isinstance(await store.ledger.reserve("later", claims(10), LEASE_MS), Denied)


async def test_leases_grants_and_what_expired_last_as_long_as_before(store: MemoryStore) -> None:
    await leap(store, YEAR_MS)
    ahead_ms = await store.ledger.now_ms()
    await store.ledger.grant("day/principal=ann", 5, ahead_ms + DAY_MS // 4)
    await store.ledger.reserve("dead", claims(1), LEASE_MS)
    await store.pass_ms(LEASE_MS + 1)
    assert await store.ledger.sweep() == 1
    await store.ledger.reserve("open", claims(4), LEASE_MS)
    await set_right(store)
    (level,) = await store.ledger.levels("day")
    assert level.granted == 5
    await store.pass_ms(LEASE_MS - 1)
    assert (await used(store))["streams"] == (0, 1)
    await store.pass_ms(1)
    assert "streams" not in await used(store)
    assert {each.reservation_id for each in await store.ledger.expired()} == {"dead", "open"}
    assert (await store.ledger.settle("dead", {"month": 7})).booking is Booking.LATE
    (month,) = await store.ledger.levels("month")
    assert month.start_ms == MONTH.at(store.clock.wall).start_ms
    assert month.used == 7
    await store.pass_ms(DAY_MS // 4)
    await store.ledger.reserve("seen", claims(0), LEASE_MS)
    assert all(level.granted == 0 for level in await store.ledger.levels("day"))


async def test_buckets_and_rolling_windows_are_as_full_as_before(store: MemoryStore) -> None:
    await leap(store, YEAR_MS)
    await store.ledger.reserve("ahead", claims(10), LEASE_MS)
    await store.ledger.settle("ahead", {})
    await store.pass_ms(1_800_000)
    await set_right(store)
    assert [level.remaining for level in await store.ledger.levels("bucket")] == [5]
    assert [level.remaining for level in await store.ledger.levels("rolling")] == [0]
    await store.pass_ms(1_800_000 + 2 * ROLLING.slice_ms)
    assert not await store.ledger.levels("bucket")
    assert not await store.ledger.levels("rolling")


async def test_what_was_used_since_a_clock_leapt_late_in_a_month_counts_in_the_month_under_way(
    store: MemoryStore,
) -> None:
    await store.pass_ms(MONTH.at(store.clock.wall).end_ms + DAY_MS - store.clock.wall)  # the 2nd
    await leap(store, 48 * DAY_MS)
    await store.ledger.reserve("ahead", [Claim("month", 100, 100, MONTH)], LEASE_MS)
    await store.ledger.settle("ahead", {})
    await store.pass_ms(2 * DAY_MS)
    await set_right(store)
    assert isinstance(await store.ledger.reserve("more", [Claim("month", 100, 1, MONTH)], LEASE_MS), Denied)


async def test_a_limit_that_was_used_up_before_a_leap_stays_so_to_the_end_of_its_window(
    store: MemoryStore,
) -> None:
    day = Calendar(Unit.DAY)
    await store.pass_ms(
        day.at(store.clock.wall).end_ms + DAY_MS // 4 - store.clock.wall
    )  # six in the morning
    await store.ledger.reserve("before", [Claim("day", 10, 10, day)], LEASE_MS)
    await store.ledger.settle("before", {})
    await leap(store, DAY_MS + DAY_MS // 4)
    await set_right(store)
    await store.pass_ms(DAY_MS // 2 + DAY_MS // 8)
    await store.ledger.sweep()
    assert isinstance(await store.ledger.reserve("more", [Claim("day", 10, 1, day)], LEASE_MS), Denied)


async def test_what_was_used_in_a_window_that_ended_unseen_stays_in_it(tmp_path: Path) -> None:
    store = SqliteStore()
    day = Calendar(Unit.DAY)
    await store.pass_ms(
        day.at(store.clock.wall).end_ms - DAY_MS // 6 - store.clock.wall
    )  # eight in the evening
    await store.ledger.reserve("early", [Claim("day", 10, 3, day)], LEASE_MS)
    await store.ledger.settle("early", {})
    store.clock.wall += DAY_MS // 5
    clocks = await store.ledger.clocks()
    await store.ledger.set_right(moves_of(await store.ledger.levels(ended=True), {"day": day}, clocks))
    assert [(level.used, level.resets_in_ms) for level in await store.ledger.levels(ended=True)] == [(3, 0)]
    await store.close()


async def test_once_more_changes_nothing(store: MemoryStore) -> None:
    await leap(store, YEAR_MS)
    await store.ledger.reserve("ahead", claims(3), LEASE_MS)
    await set_right(store)
    levels = await store.ledger.levels(ended=True)
    await set_right(store)
    assert await store.ledger.levels(ended=True) == levels


async def test_a_ledger_that_began_in_1970_is_set_to_the_present(tmp_path: Path) -> None:
    store = SqliteStore()
    present, store.clock.wall = store.clock.wall, 3_600_000
    await store.ledger.reserve("early", claims(3), LEASE_MS)
    await store.ledger.settle("early", {})
    store.clock.wall = present
    await set_right(store)
    (level,) = await store.ledger.levels("month")
    assert (level.used, level.start_ms) == (3, MONTH.at(present).start_ms)
    await store.close()


async def test_another_gateway_on_the_same_redis_takes_it_for_no_loss(redis_url: str) -> None:
    store, told = RedisStore(redis_url), list[str]()
    await store.start()
    store.ledger._lost = lambda: told.append("lost")
    other = RedisStore(redis_url)
    other.server_ms, other.namespace = store.server_ms, store.namespace
    other.ledger._key, other.ledger._index = store.ledger._key, store.ledger._index
    await leap(other, YEAR_MS)
    await store.ledger.reserve("ahead", claims(1), LEASE_MS)
    await set_right(other)
    assert (await store.ledger.settle("ahead", {})).booking is Booking.BOOKED
    assert told == []
    # A loss is told as ever, also of a server that knows nothing of the setting any more.
    await store.ledger._client.flushdb()
    await store._set()
    await store.ledger.reserve("after", claims(1), LEASE_MS)
    assert told == ["lost"]
    await store.ledger.settle("after", {})
    assert told == ["lost"]
    await asyncio.gather(store.close(), other.close())


async def test_a_server_that_goes_back_to_before_its_clock_was_set_right_has_lost_counts(
    redis_url: str,
) -> None:
    store, told = RedisStore(redis_url), list[str]()
    await store.start()
    store.ledger._lost = lambda: told.append("lost")
    await leap(store, YEAR_MS)
    await store.ledger.reserve("before", claims(1), LEASE_MS)
    old = await store.ledger._client.dump(store.ledger._key)
    await set_right(store)
    await store.ledger.reserve("after", claims(2), LEASE_MS)
    assert told == []
    await store.ledger._client.restore(store.ledger._key, 0, old, replace=True)
    for _ in range(2):
        await store.ledger.now_ms()
    assert told == ["lost"]
    await store.close()


async def test_clocks_that_come_apart_are_told_of_once(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "sallyport.ledger")
    await store.ledger.now_ms()
    assert not caplog.records
    await leap(store, YEAR_MS)
    for _ in range(3):
        await store.pass_ms(2000)
        await store.ledger.now_ms()
    assert [record.getMessage().count("sallyport limits clock") for record in caplog.records] == [1]
    await set_right(store)
    await store.pass_ms(2000)
    await store.ledger.now_ms()
    assert len(caplog.records) == 1

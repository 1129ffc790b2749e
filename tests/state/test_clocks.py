"""Clocks that jump: no more than the limit passes, and nothing is blocked for longer than its window."""

from pathlib import Path

import pytest

from sallyport.stages.ledger import (
    Calendar,
    Claim,
    Concurrent,
    Denied,
    Reserved,
    RollingWindow,
    TokenBucket,
    Unit,
)
from sallyport.state.ledger.sqlite import SqliteLedger
from state.stores import FakeClock, MemoryStore, RedisStore, SqliteStore

HOUR_MS = 3_600_000
TEN_YEARS_MS = 3652 * 86_400_000
STEPS = [-TEN_YEARS_MS, -HOUR_MS, HOUR_MS, TEN_YEARS_MS]
LEASE_MS = 60_000
WINDOWS = {
    "minute": Calendar(Unit.MINUTE),
    "day": Calendar(Unit.DAY, "Europe/Berlin"),
    "bucket": TokenBucket(10, 60_000),
    "rolling": RollingWindow(60_000),
    "streams": Concurrent(),
}
FREE_AFTER_MS = {
    "minute": 60_000,
    "day": 86_400_000,
    "bucket": 60_000,
    "rolling": 63_000,
    "streams": LEASE_MS,
}


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def store(request: pytest.FixtureRequest):
    if request.param == "redis":
        made = RedisStore(request.getfixturevalue("redis_url"))
        await made.start()
    else:
        made = {"memory": MemoryStore, "sqlite": SqliteStore}[request.param]()
    yield made
    await made.close()


async def fill(store: MemoryStore, name: str, tag: str) -> int:
    """Take one at a time until denied; return how many passed."""
    for passed in range(20):
        claim = Claim(name, 10, 1, WINDOWS[name])
        if isinstance(await store.ledger.reserve(f"{tag}/{passed}", [claim], LEASE_MS), Denied):
            return passed
    raise AssertionError("never denied")


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("step_ms", STEPS)
async def test_setting_the_wall_clock_of_a_gateway_changes_no_limit(
    store: MemoryStore, name: str, step_ms: int
) -> None:
    assert await fill(store, name, "before") == 10
    store.clock.step(step_ms)
    assert await fill(store, name, "after") == 0
    await store.pass_ms(FREE_AFTER_MS[name])
    assert await fill(store, name, "later") == 10
    store.clock.step(-step_ms)
    assert await fill(store, name, "back") == 0
    await store.pass_ms(FREE_AFTER_MS[name])
    assert await fill(store, name, "at last") == 10


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("step_ms", [-1, -HOUR_MS, -TEN_YEARS_MS])
async def test_a_redis_server_set_back_opens_nothing_and_blocks_nothing(
    redis_url: str, name: str, step_ms: int
) -> None:
    store = RedisStore(redis_url)
    await store.start()
    assert await fill(store, name, "before") == 10
    await store.step_server(step_ms)
    assert await fill(store, name, "after") == 0
    await store.pass_ms(FREE_AFTER_MS[name])
    assert await fill(store, name, "later") == 10
    await store.close()


@pytest.mark.parametrize("name", WINDOWS)
async def test_a_redis_server_that_was_ahead_and_is_set_right_blocks_nothing(
    redis_url: str, name: str
) -> None:
    store = RedisStore(redis_url)
    await store.start()
    await store.step_server(TEN_YEARS_MS)
    assert await fill(store, name, "ahead") == 10
    await store.step_server(-TEN_YEARS_MS)
    assert await fill(store, name, "right") == 0
    await store.pass_ms(FREE_AFTER_MS[name])
    assert await fill(store, name, "later") == 10
    await store.close()


async def test_a_gateway_ten_years_off_uses_the_calendar_window_of_the_server(redis_url: str) -> None:
    store = RedisStore(redis_url)
    await store.start()
    store.ledger._ahead_ms += TEN_YEARS_MS
    reply = await store.ledger.reserve("a", [Claim("day", 10, 1, WINDOWS["day"])], LEASE_MS)
    assert isinstance(reply, Reserved)
    (level,) = reply.levels
    assert level.start_ms <= reply.now_ms == store.server_ms < level.end_ms
    store.ledger._ahead_ms -= TEN_YEARS_MS
    booked = await store.ledger.book("b", [Claim("day", 10, 4, WINDOWS["day"])])
    assert booked.levels[0].used == 4
    assert booked.levels[0].reserved == 1
    await store.close()


@pytest.mark.parametrize("step_ms", STEPS)
@pytest.mark.parametrize("name", WINDOWS)
async def test_a_reboot_with_a_wrong_wall_clock_blocks_nothing(
    tmp_path: Path, name: str, step_ms: int
) -> None:
    """A clock ahead at boot opens windows early, once; a clock behind opens none."""
    clock = FakeClock()
    store = MemoryStore()
    store.clock = clock
    store.ledger = SqliteLedger(tmp_path / "ledger.db", clock=clock, patience_s=20)
    assert await fill(store, name, "before") == 10
    clock.booted, clock.uptime, clock.wall = "second", 1000, clock.wall + step_ms
    passed = await fill(store, name, "after")
    if step_ms < 0:
        assert passed == 0
    clock.pass_ms(FREE_AFTER_MS[name])
    assert await fill(store, name, "later") == 10
    await store.close()


async def test_processes_of_one_boot_share_one_time_whatever_their_wall_clocks_say(tmp_path: Path) -> None:
    one, other = FakeClock(), FakeClock(wall=TEN_YEARS_MS)
    first = SqliteLedger(tmp_path / "ledger.db", clock=one, patience_s=20)
    second = SqliteLedger(tmp_path / "ledger.db", clock=other, patience_s=20)
    start = await first.now_ms()
    assert await second.now_ms() == start
    one.pass_ms(5000)
    other.pass_ms(5000)
    assert await second.now_ms() == await first.now_ms() == start + 5000
    await first.close()
    await second.close()

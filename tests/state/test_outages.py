"""Stores that are frozen, killed, locked or full in the middle of traffic."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sallyport.stages.ledger import (
    Booking,
    Calendar,
    Claim,
    Concurrent,
    Denied,
    LedgerUnavailable,
    Reserved,
    RollingWindow,
    TokenBucket,
    Unit,
)
from sallyport.state.ledger.fallback import Allowance, Fallback
from sallyport.state.ledger.redis import RedisLedger
from sallyport.state.ledger.sqlite import SqliteLedger
from state.redisserver import RedisServer

LEASE_MS = 60_000
PATIENCE_S = 0.25
HANG_S = 20
ROOT = Path(__file__).parent.parent.parent


def claims(key: str, amount: int, limit: int = 1000) -> list[Claim]:
    return [
        Claim(f"budget/{key}", limit, amount, Calendar(Unit.MONTH)),
        Claim(f"tokens/{key}", 10**6, amount, RollingWindow(3_600_000)),
        Claim(f"rate/{key}", 10**6, 1, TokenBucket(1, 3_600_000)),
        Claim(f"streams/{key}", 100, 1, Concurrent()),
    ]


async def used(ledger: RedisLedger | SqliteLedger, key: str) -> tuple[int, int]:
    (level,) = await ledger.levels(f"budget/{key}")
    return level.used, level.reserved


class Outage:
    """One store, and what takes it away and gives it back without losing its memory."""

    def __init__(self, kind: str, server: RedisServer | None, path: Path) -> None:
        self.kind = kind
        self.server = server
        self.path = path
        self.blocker: sqlite3.Connection | None = None

    def open(self, patience_s: float = PATIENCE_S) -> RedisLedger | SqliteLedger:
        if self.server is not None:
            return RedisLedger(self.server.url, patience_s=patience_s)
        return SqliteLedger(self.path, patience_s=patience_s)

    def begin(self) -> None:
        if self.server is not None:
            self.server.freeze()
        else:
            self.blocker = sqlite3.connect(self.path, isolation_level=None)
            self.blocker.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        if self.server is not None:
            self.server.resume()
        elif self.blocker is not None:
            self.blocker.execute("ROLLBACK")
            self.blocker.close()


@pytest.fixture(params=["redis", "sqlite"])
def outage(request: pytest.FixtureRequest, tmp_path: Path) -> Outage:
    server = request.getfixturevalue("redis_server") if request.param == "redis" else None
    return Outage(request.param, server, tmp_path / "ledger.db")


async def test_a_store_that_does_not_answer_is_unavailable_and_then_goes_on(outage: Outage) -> None:
    ledger = outage.open()
    assert isinstance(await ledger.reserve("before", claims("a", 10), LEASE_MS), Reserved)
    outage.begin()
    async with asyncio.timeout(HANG_S):
        replies = await asyncio.gather(
            *(ledger.reserve(f"during-{n}", claims("a", 1), LEASE_MS) for n in range(50)),
            ledger.settle("before"),
            ledger.levels(),
            return_exceptions=True,
        )
    assert {type(reply) for reply in replies} == {LedgerUnavailable}
    outage.end()
    async with asyncio.timeout(HANG_S):
        patient = outage.open(HANG_S)
        assert (await patient.settle("before", {"budget/a": 7})).booking in (Booking.BOOKED, Booking.ALREADY)
        for n in range(50):
            await patient.release(f"during-{n}")
    assert (await used(patient, "a"))[1] == 0
    await patient.close()
    await ledger.close()


async def test_after_an_outage_no_caller_gets_the_reply_of_another(outage: Outage) -> None:
    ledger = outage.open()
    await ledger.now_ms()
    for number in range(3):
        outage.begin()
        await asyncio.gather(
            *(ledger.reserve(f"{number}/{n}", claims(f"k{n}", n), LEASE_MS) for n in range(40)),
            return_exceptions=True,
        )
        outage.end()
        patient = outage.open(HANG_S)
        await patient.now_ms()
        ledger_after = ledger if outage.kind == "redis" else patient
        replies = await asyncio.gather(
            *(ledger_after.reserve(f"{number}/{n}", claims(f"k{n}", n), LEASE_MS) for n in range(40)),
            return_exceptions=True,
        )
        for n, reply in enumerate(replies):
            if isinstance(reply, LedgerUnavailable):
                continue
            assert isinstance(reply, Reserved)
            assert reply.levels[0].key == f"budget/k{n}"
        assert any(isinstance(reply, Reserved) for reply in replies)
        await patient.close()
    await ledger.close()


async def test_a_blocked_store_does_not_block_the_loop(outage: Outage) -> None:
    ledger = outage.open()
    await ledger.now_ms()
    outage.begin()
    call = asyncio.create_task(ledger.reserve("a", claims("a", 1), LEASE_MS))
    turns = 0
    while not call.done():
        await asyncio.sleep(0)
        turns += 1
    outage.end()
    assert turns > 100
    with pytest.raises(LedgerUnavailable):
        await call
    await ledger.close()


async def test_what_was_not_booked_in_time_by_a_locked_file_is_not_booked_later(tmp_path: Path) -> None:
    outage = Outage("sqlite", None, tmp_path / "ledger.db")
    ledger = outage.open()
    await ledger.now_ms()
    outage.begin()
    calls = [ledger.reserve(f"{n}", claims("a", 1), LEASE_MS) for n in range(30)]
    await asyncio.gather(*calls, return_exceptions=True)
    outage.end()
    patient = outage.open(HANG_S)
    assert await patient.levels() == ()
    await patient.close()
    await ledger.close()


FULL = """
import asyncio, resource, sys
from pathlib import Path
from sallyport.stages.ledger import *
from sallyport.state.ledger.sqlite import SqliteLedger

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]), patience_s=20)
    passed = 0
    await ledger.now_ms()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
    try:
        while True:
            claim = Claim(f"key/{passed}", 10, 1, RollingWindow(60_000))
            await ledger.reserve(f"{passed}", [claim], 600_000)
            passed += 1
    except LedgerUnavailable as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await ledger.reserve("after", [Claim("after", 10, 1, RollingWindow(60_000))], 600_000)
    levels = await ledger.levels()
    assert len(levels) == passed + 1, (len(levels), passed)
    assert passed > 10
    await ledger.close()

asyncio.run(main())
"""


def test_a_full_disk_is_unavailable_loses_nothing_and_is_recovered_from(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "ledger.db")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "addons")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "SQLite ledger: OperationalError" in done.stdout


async def test_a_replaced_file_is_opened_anew_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    told: list[str] = []
    ledger = SqliteLedger(path, patience_s=HANG_S, replaced=lambda: told.append("replaced"))
    await ledger.reserve("a", claims("a", 1), LEASE_MS)
    assert (told, caplog.messages) == ([], [])
    path.unlink()
    await ledger.reserve("b", claims("b", 1), LEASE_MS)
    await ledger.reserve("c", claims("b", 1), LEASE_MS)
    assert told == ["replaced"]
    assert [f"{path} was removed or replaced" in line for line in caplog.messages] == [True]
    other = SqliteLedger(path, patience_s=HANG_S)
    assert {level.key for level in await other.levels("budget/")} == {"budget/b"}
    await other.close()
    await ledger.close()


async def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "new" / "ledger.db", patience_s=HANG_S)
    await ledger.now_ms()
    assert (tmp_path / "new" / "ledger.db").stat().st_mode & 0o077 == 0
    await ledger.close()


async def test_without_an_allowance_an_outage_refuses_and_settlements_are_owed(outage: Outage) -> None:
    ledger = Fallback(outage.open(), None, probe_every_ms=10)
    await ledger.reserve("before", claims("a", 100), LEASE_MS)
    await ledger.reserve("other", claims("a", 50), LEASE_MS)
    outage.begin()
    with pytest.raises(LedgerUnavailable):
        await ledger.reserve("during", claims("a", 1), LEASE_MS)
    assert ledger.away
    assert (await ledger.settle("before", {"budget/a": 30})).booking is Booking.OWED
    assert (await ledger.settle("before", {"budget/a": 31})).booking is Booking.ALREADY
    assert (await ledger.release("other", {"budget/a": 1})).booking is Booking.OWED
    outage.end()
    await come_back(ledger)
    assert ledger.owed == 0
    patient = outage.open(HANG_S)
    assert await used(patient, "a") == (31, 0)
    await patient.close()
    await ledger.close()


async def come_back(ledger: Fallback) -> None:
    async with asyncio.timeout(HANG_S):
        while ledger.away or ledger.owed:
            await asyncio.sleep(0.05)
            try:
                await ledger.sweep()
            except LedgerUnavailable:
                continue


async def test_an_allowance_passes_its_share_and_is_booked_once_when_the_store_is_back(
    outage: Outage,
) -> None:
    ledger = Fallback(outage.open(), Allowance(share_permille=250), probe_every_ms=10)
    assert isinstance(await ledger.reserve("before", claims("a", 100), LEASE_MS), Reserved)
    outage.begin()
    replies = await asyncio.gather(
        *(ledger.reserve(f"during-{n}", claims("a", 10), LEASE_MS) for n in range(40))
    )
    passed = [f"during-{n}" for n, reply in enumerate(replies) if isinstance(reply, Reserved)]
    assert len(passed) == 25
    assert all(reply.local for reply in replies)
    for name in passed[:20]:
        assert (await ledger.settle(name, {"budget/a": 9})).booking is Booking.OWED
    await ledger.release(passed[20])
    outage.end()
    await come_back(ledger)
    for name in passed[21:]:
        # Begun without the store, ended with it.
        assert (await ledger.settle(name)).booking is Booking.BOOKED
    await ledger.settle("before", {"budget/a": 5})
    patient = outage.open(HANG_S)
    assert await used(patient, "a") == (5 + 20 * 9 + 4 * 10, 0)
    assert (await patient.book(passed[0], claims("a", 9))).booking is Booking.ALREADY
    assert await used(patient, "a") == (5 + 20 * 9 + 4 * 10, 0)
    reply = await ledger.reserve("after", claims("a", 10), LEASE_MS)
    assert not reply.local
    await patient.close()
    await ledger.close()


async def test_traffic_through_a_killed_and_restarted_server_passes_no_more_than_both_budgets(
    redis_server: RedisServer,
) -> None:
    """A server without persistence counts from zero after it died: the budget, a share, and the budget again."""
    ledger = Fallback(
        RedisLedger(redis_server.url, patience_s=PATIENCE_S), Allowance(share_permille=200), probe_every_ms=20
    )
    passed = denied = 0

    async def traffic(name: str, count: int) -> None:
        nonlocal passed, denied
        for n in range(count):
            reply = await ledger.reserve(f"{name}-{n}", claims("a", 1, limit=100), LEASE_MS)
            if isinstance(reply, Denied):
                denied += 1
            else:
                passed += 1
                await ledger.settle(f"{name}-{n}")

    await asyncio.gather(*(traffic(f"one-{n}", 15) for n in range(10)))
    assert passed == 100
    redis_server.kill()
    await asyncio.gather(*(traffic(f"two-{n}", 15) for n in range(10)))
    assert passed == 120
    redis_server.start()
    await come_back(ledger)
    await asyncio.gather(*(traffic(f"three-{n}", 15) for n in range(10)))
    assert passed == 200  # 20 of the second budget had passed locally.
    assert denied == 450 - 200
    await ledger.close()


async def test_errors_quote_no_key_and_no_address(outage: Outage) -> None:
    ledger = outage.open()
    await ledger.now_ms()
    outage.begin()
    with pytest.raises(LedgerUnavailable) as caught:
        await ledger.reserve("some-id", claims("some-principal", 1), LEASE_MS)
    outage.end()
    assert "some" not in str(caught.value)
    assert str(outage.path) not in str(caught.value)
    await ledger.close()

"""What the windows promise, checked on histories of what really passed, without knowing how they count."""

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sallyport.stages.ledger import Calendar, Claim, Concurrent, Reserved, RollingWindow, TokenBucket, Unit
from state.stores import MemoryStore

MINUTE_MS = 60_000


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("unit", "zone", "now", "start", "end"),
    [
        (Unit.DAY, "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        (Unit.DAY, "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        (Unit.HOUR, "Europe/Berlin", "2026-03-29T00:59", "2026-03-29T00:00", "2026-03-29T01:00"),
        (Unit.HOUR, "Europe/Berlin", "2026-10-25T01:30", "2026-10-25T01:00", "2026-10-25T02:00"),
        (Unit.HOUR, "Asia/Kathmandu", "2026-05-01T00:20", "2026-05-01T00:15", "2026-05-01T01:15"),
        (Unit.MINUTE, "UTC", "2026-05-01T00:20:59", "2026-05-01T00:20", "2026-05-01T00:21"),
        (Unit.WEEK, "UTC", "2027-01-01T08:00", "2026-12-28T00:00", "2027-01-04T00:00"),
        (Unit.MONTH, "America/New_York", "2026-12-31T23:00", "2026-12-01T05:00", "2027-01-01T05:00"),
        (Unit.MONTH, "Pacific/Kiritimati", "2028-02-28T12:00", "2028-01-31T10:00", "2028-02-29T10:00"),
        (Unit.DAY, "Asia/Beirut", "2026-03-28T23:00", "2026-03-28T22:00", "2026-03-29T21:00"),
    ],
)
def test_calendar_windows(unit: Unit, zone: str, now: str, start: str, end: str) -> None:
    window = Calendar(unit, zone).at(instant(now))
    assert (window.start_ms, window.end_ms) == (instant(start), instant(end))


@given(
    st.sampled_from(Unit),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Beirut", "Africa/Cairo", "Asia/Kathmandu"]
    ),
    st.integers(instant("1990-01-01"), instant("2037-01-01")),
)
def test_calendar_windows_follow_each_other_without_gap_or_overlap(unit: Unit, zone: str, now: int) -> None:
    calendar = Calendar(unit, zone)
    window = calendar.at(now)
    assert window.start_ms <= now < window.end_ms
    assert calendar.at(window.start_ms) == calendar.at(window.end_ms - 1) == window
    assert calendar.at(window.end_ms).start_ms == window.end_ms


steps = st.lists(
    st.tuples(
        st.integers(0, 20_000),
        st.integers(1, 40),
        st.one_of(st.none(), st.integers(0, 100)),
        st.integers(0, 30_000),
    ),
    min_size=1,
    max_size=40,
)


async def passed(claim_of, history) -> list[tuple[int, int]]:
    """Return (when, amount) of what really passed: settled with a share in per cent, some time later.

    What is not used counts for nothing; what is used counts from when it was admitted.
    """
    store = MemoryStore()
    now, events = 0, []
    open_ends: list[tuple[int, str, int, int, int]] = []

    async def settle_until(instant: int) -> None:
        nonlocal now
        for at, name, admitted, amount, share in sorted(e for e in open_ends if e[0] <= instant):
            open_ends.remove((at, name, admitted, amount, share))
            await store.pass_ms(at - now)
            now = at
            await store.ledger.settle(name, {"key": amount * share // 100})
            events.append((admitted, amount * share // 100))
        await store.pass_ms(instant - now)
        now = instant

    for number, (pause, amount, share, later) in enumerate(history):
        await settle_until(now + pause)
        reply = await store.ledger.reserve(f"{number}", [claim_of(amount)], 10**9)
        if isinstance(reply, Reserved):
            open_ends.append((now + later, f"{number}", now, amount, 100 if share is None else share))
    await settle_until(now + 10**6)
    return sorted(events)


@settings(max_examples=300)
@given(steps)
async def test_a_rolling_window_never_passes_more_than_its_limit_in_any_interval(history) -> None:
    events = await passed(lambda amount: Claim("key", 50, amount, RollingWindow(30_000, 2)), history)
    for begin, _ in events:
        assert sum(amount for when, amount in events if begin <= when < begin + 30_000) <= 50


@settings(max_examples=300)
@given(steps)
async def test_a_token_bucket_never_passes_more_than_its_size_and_inflow_in_any_interval(history) -> None:
    events = await passed(lambda amount: Claim("key", 50, amount, TokenBucket(7, 3000)), history)
    for begin, _ in events:
        for end, _ in events:
            total = sum(amount for when, amount in events if begin <= when <= end)
            assert end < begin or total <= 50 + (end - begin) * Fraction(7, 3000)


async def test_a_bucket_gives_back_everything_that_could_not_have_overflowed() -> None:
    store = MemoryStore()
    bucket = TokenBucket(1, 1000)
    await store.ledger.reserve("busy", [Claim("key", 100, 60, bucket)], MINUTE_MS)
    await store.ledger.reserve("big", [Claim("key", 100, 40, bucket)], MINUTE_MS)
    await store.pass_ms(10_000)
    settled = await store.ledger.settle("big", {"key": 1})
    assert settled.levels[0].remaining == 10 + 39


async def test_what_younger_requests_give_back_costs_an_older_one_nothing() -> None:
    store = MemoryStore()
    bucket = TokenBucket(1, 1000)
    await store.ledger.reserve("used", [Claim("key", 100, 20, bucket)], MINUTE_MS)
    await store.ledger.settle("used")
    await store.ledger.reserve("long", [Claim("key", 100, 40, bucket)], MINUTE_MS)
    for number in range(10):
        await store.ledger.reserve(f"{number}", [Claim("key", 100, 40, bucket)], MINUTE_MS)
        await store.ledger.release(f"{number}")
    await store.pass_ms(5_000)
    settled = await store.ledger.settle("long", {"key": 1})
    assert settled.levels[0].used == 20 + 1 - 5


async def test_two_refunds_never_give_back_one_overflow_twice() -> None:
    store = MemoryStore()
    bucket = TokenBucket(1, 1000)
    await store.ledger.reserve("one", [Claim("key", 100, 5, bucket)], MINUTE_MS)
    await store.ledger.reserve("two", [Claim("key", 100, 8, bucket)], MINUTE_MS)
    await store.ledger.release("one")
    await store.pass_ms(4_000)
    await store.ledger.book("more", [Claim("key", 100, 50, bucket)])
    released = await store.ledger.release("two")
    assert released.levels[0].used == 50


async def test_a_refund_of_what_would_have_overflowed_is_no_second_burst() -> None:
    store = MemoryStore()
    bucket = TokenBucket(10, 1000)
    await store.ledger.reserve("held", [Claim("key", 10, 10, bucket)], MINUTE_MS)
    await store.pass_ms(1000)
    await store.ledger.reserve("used", [Claim("key", 10, 10, bucket)], MINUTE_MS)
    await store.ledger.settle("used")
    released = await store.ledger.release("held")
    assert released.levels[0].remaining == 0


async def test_a_refund_goes_to_the_window_it_was_taken_from() -> None:
    store = MemoryStore()
    day = Calendar(Unit.DAY)
    await store.ledger.reserve("late", [Claim("key", 100, 80, day)], 10**9)
    await store.pass_ms(86_400_000)
    await store.ledger.reserve("today", [Claim("key", 100, 30, day)], 10**9)
    await store.ledger.settle("late", {"key": 5})
    before, today = await store.ledger.levels(ended=True)
    assert (before.used, before.reserved) == (5, 0)
    assert (today.used, today.reserved) == (0, 30)


async def test_who_renews_to_the_same_instant_gives_back_once() -> None:
    store = MemoryStore()
    streams = [Claim("key", 2, 1, Concurrent())]
    await store.ledger.reserve("gone", streams, 500)
    assert await store.ledger.renew("gone", 500)
    await store.ledger.reserve("open", streams, MINUTE_MS)
    await store.pass_ms(999)
    (level,) = await store.ledger.levels()
    assert level.reserved == 1


@pytest.mark.parametrize(
    ("refill", "period_ms"),
    [(1, 1), (10**15, 5), (10**15 + 1, 2**45 + 1), (10_000_019, 2_678_400_000), (2**50, 3)],
)
def test_a_rate_is_exact_in_a_double_and_never_faster_than_asked(refill: int, period_ms: int) -> None:
    tokens, period = TokenBucket(refill, period_ms).rate
    assert tokens * period <= 2**52
    asked = Fraction(refill, period_ms)
    assert asked * (1 - Fraction(1, 1_000_000)) <= Fraction(tokens, period) <= asked


@pytest.mark.parametrize(
    ("key", "limit", "amount"),
    [("", 1, 1), ("a\x1fb", 1, 1), ("\ud800", 1, 1), ("a" * 513, 1, 1), ("a", -1, 1), ("a", 1, 2**51)],
)
def test_a_claim_that_no_store_could_count_is_refused(key: str, limit: int, amount: int) -> None:
    with pytest.raises(ValueError):
        Claim(key, limit, amount, TokenBucket(1, 1))

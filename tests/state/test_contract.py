"""One contract for all stores: random histories, answered by a store and by the model, must agree everywhere."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from sallyport.stages.ledger import (
    MAX_AMOUNT,
    AlreadySettled,
    Calendar,
    Claim,
    Concurrent,
    Denied,
    FixedWindow,
    Level,
    Reserved,
    RollingWindow,
    TokenBucket,
    Unit,
)
from state.model import Model
from state.stores import START_MS, MemoryStore, RedisStore, SqliteStore

WINDOWS = {
    "minute": Calendar(Unit.MINUTE, "Asia/Kathmandu"),
    "month": Calendar(Unit.MONTH, "Europe/Berlin"),
    "offer": FixedWindow(START_MS + 40_000, START_MS + 3_000_000),
    "bucket": TokenBucket(7, 3_000),
    "slow": TokenBucket(1_000_003, 86_400_000),
    "rolling": RollingWindow(60_000, 7),
    "seconds": RollingWindow(1_000, 20),
    "streams": Concurrent(),
}
LIMITS = {"month": 10**15, "slow": 10**6, "streams": 4}
IDS = ("a", "b", "c", "d", "e", "f")

keys = st.sampled_from(sorted(WINDOWS))
amounts = st.one_of(st.integers(0, 12), st.integers(0, 30), st.sampled_from([10**6, 10**15]))
times = st.one_of(
    st.sampled_from([1, 999, 1_000, 60_000, 3_600_000, 86_400_000, 8 * 86_400_000]), st.integers(1, 120_000)
)
claims = st.builds(
    lambda key, amount, enforced: Claim(key, LIMITS.get(key, 20), amount, WINDOWS[key], enforced),
    keys,
    amounts,
    st.sampled_from([True, True, True, False]),
)
requests = st.lists(claims, min_size=1, max_size=5, unique_by=lambda claim: claim.key)
used = st.dictionaries(keys, amounts, max_size=4)


class History(RuleBasedStateMachine):
    """store: makes the store under test."""

    store: Callable[[], MemoryStore]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store_under_test = type(self).store()
        if isinstance(self.store_under_test, RedisStore):
            self.run(self.store_under_test.start())
        self.ledger = self.store_under_test.ledger
        self.model = Model(START_MS)

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        self.run(self.store_under_test.close())
        self.runner.close()

    @rule(ms=times)
    def time_passes(self, ms: int) -> None:
        self.run(self.store_under_test.pass_ms(ms))
        self.model.advance(self.model.now + ms)

    @rule(name=st.sampled_from(IDS), request=requests, lease_ms=st.sampled_from([500, 60_000, 700_000]))
    def reserve(self, name: str, request: list[Claim], lease_ms: int) -> None:
        outcome, denied = self.model.reserve(name, request, lease_ms)
        if outcome == "over":
            with pytest.raises(AlreadySettled):
                self.run(self.ledger.reserve(name, request, lease_ms))
            return
        reply = self.run(self.ledger.reserve(name, request, lease_ms))
        assert reply.now_ms == self.model.now
        if outcome == "denied":
            assert isinstance(reply, Denied)
            assert [request.index(denial.claim) for denial in reply.denials] == denied
            for denial in reply.denials:
                self.check_wait(denial.claim, denial.fits_in_ms)
            self.check_levels(reply.levels)
            return
        assert isinstance(reply, Reserved)
        assert reply.repeated == (outcome == "repeated")
        assert reply.lease_until_ms == self.model.records[name].lease_until
        expected = [hold.claim.key for hold in self.model.records[name].holds]
        assert [level.key for level in reply.levels] == expected
        self.check_levels(reply.levels)

    @rule(name=st.sampled_from(IDS), lease_ms=st.sampled_from([500, 60_000]))
    def renew(self, name: str, lease_ms: int) -> None:
        assert self.run(self.ledger.renew(name, lease_ms)) == self.model.renew(name, lease_ms)

    @rule(name=st.sampled_from(IDS), by_key=used, whole=st.booleans())
    def settle(self, name: str, by_key: dict[str, int], whole: bool) -> None:
        finish = self.ledger.settle if whole else self.ledger.release
        reply = self.run(finish(name, by_key))
        assert reply.booking == self.model.settle(name, by_key, whole=whole)
        self.check_levels(reply.levels)

    @rule(name=st.sampled_from(IDS), request=requests)
    def book(self, name: str, request: list[Claim]) -> None:
        reply = self.run(self.ledger.book(name, request))
        assert reply.booking == self.model.book(name, request)
        self.check_levels(reply.levels)

    @rule(key=keys)
    def reset(self, key: str) -> None:
        self.run(self.ledger.reset(key))
        self.model.reset(key)

    @rule(key=keys, amount=st.integers(1, 20), ms=times)
    def grant(self, key: str, amount: int, ms: int) -> None:
        self.run(self.ledger.grant(key, amount, self.model.now + ms))
        self.model.sweep()
        self.model.grants.append((key, amount, self.model.now + ms))

    @rule()
    def sweep(self) -> None:
        assert self.run(self.ledger.sweep()) == self.model.sweep()

    @rule(count=st.integers(1, 4))
    def top(self, count: int) -> None:
        found = self.run(self.ledger.top(count))
        everything = self.model.levels()

        def fullness(amounts: tuple[int, int], ceiling: int) -> float:
            return sum(amounts) / ceiling if ceiling else float("inf")

        expected = sorted(
            (
                fullness(amounts, self.model.limits[a] + self.model.granted(a[0]))
                for a, amounts in everything.items()
            ),
            reverse=True,
        )
        shown = [fullness((level.used, level.reserved), level.limit + level.granted) for level in found]
        assert shown == expected[:count]

    @invariant()
    def levels_and_expired_agree(self) -> None:
        expected = {(account[0], *amounts) for account, amounts in self.model.levels().items()}
        levels = self.run(self.ledger.levels())
        assert {(level.key, level.used, level.reserved) for level in levels} == expected
        for level in levels:
            assert level.granted == self.model.granted(level.key)
        expired = {
            name: ({hold.claim.key: hold.amount for hold in record.holds}, record.lease_until)
            for name, record in self.model.records.items()
            if record.state == "expired"
        }
        found = self.run(self.ledger.expired())
        assert {e.reservation_id: (e.amounts, e.expired_at_ms) for e in found} == expired

    def check_levels(self, levels: tuple[Level, ...]) -> None:
        for level in levels:
            window = WINDOWS[level.key]
            if level.start_ms is not None:
                window = FixedWindow(level.start_ms, level.end_ms)
                if self.model.now >= 2 * level.end_ms - level.start_ms:
                    continue  # Forgotten windows begin anew; nothing counts in them any more.
            account = (level.key, "bucket" if isinstance(window, TokenBucket) else window)
            assert (level.used, level.reserved) == self.model.amounts(account), level
            assert level.granted == self.model.granted(level.key)
            assert level.resets_in_ms == self.resets_in(account), level

    def resets_in(self, account: tuple) -> int | None:
        model, window = self.model, account[1]
        if isinstance(window, Concurrent):
            return None
        if isinstance(window, FixedWindow):
            return max(0, window.end_ms - model.now)
        now = model.now
        if window == "bucket":
            bucket = model.buckets[account]
            return min(MAX_AMOUNT, -(-bucket.missing // bucket.rate)) if bucket.missing else 0
        taken = sum(model.amounts(account))
        if not taken:
            return 0
        low, high = 0, 10 * window.length_ms
        while high - low > 1:
            middle = (low + high) // 2
            model.now = now + middle
            low, high = (low, middle) if sum(model.amounts(account)) < taken else (middle, high)
        model.now = now
        return high

    def check_wait(self, claim: Claim, fits_in_ms: int | None) -> None:
        """The claim fits after the wait, and did not a millisecond before."""
        model, now = self.model, self.model.now
        account = model.account(claim, now)
        if fits_in_ms is None:
            over = claim.amount > claim.limit + model.granted(claim.key)
            assert over or isinstance(claim.window, FixedWindow)
            return
        assert claim.amount <= claim.limit + model.granted(claim.key)
        if isinstance(claim.window, Concurrent) or fits_in_ms == MAX_AMOUNT:
            assert fits_in_ms > 0
            return
        if isinstance(claim.window, TokenBucket):
            bucket = model.buckets[account]
            room = claim.limit + model.granted(claim.key) - claim.amount
            assert bucket.missing - fits_in_ms * bucket.rate <= room
            assert bucket.missing - (fits_in_ms - 1) * bucket.rate > room
            return
        grants, model.grants = model.grants, [(k, a, 2**60) for k, a, until in model.grants if until > now]
        for wait, fits in ((fits_in_ms, True), (fits_in_ms - 1, False)):
            model.now = now + wait
            if isinstance(claim.window, RollingWindow):
                assert model.fits(claim, account) is fits
            else:
                window = model.account(claim, now)[1]
                assert (window.start_ms <= model.now < window.end_ms) is (
                    fits if now < window.start_ms else not fits
                )
        model.now, model.grants = now, grants


EXAMPLES = {"memory": 400, "sqlite": 60, "redis": 80}


@pytest.mark.parametrize("name", ["memory", "sqlite", "redis"])
def test_every_history_is_answered_as_the_model_answers_it(name: str, request: pytest.FixtureRequest) -> None:
    makers: dict[str, Callable[[], MemoryStore]] = {"memory": MemoryStore, "sqlite": SqliteStore}
    if name == "redis":
        url = request.getfixturevalue("redis_url")
        makers["redis"] = lambda: RedisStore(url)

    class Chosen(History):
        store = staticmethod(makers[name])

    run_state_machine_as_test(
        Chosen,
        settings=settings(
            max_examples=EXAMPLES[name],
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )

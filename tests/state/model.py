"""A tiny ledger that remembers every event and counts from the start each time: what the stores must agree with.

It shares no code with them: fractions instead of carries, lists instead of counters.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from sallyport.stages.ledger import Calendar, Claim, Concurrent, FixedWindow, RollingWindow, TokenBucket

EXPIRED_KEEP_MS = 7 * 86_400_000
BOOKED_KEEP_MS = 86_400_000
SETTLED_KEEP_MS = 300_000


@dataclass
class Hold:
    """What one reservation has in one account. at: when taken."""

    claim: Claim
    account: tuple
    at: int
    amount: int
    missing: int = 0
    held_before: int = 0
    returned: int = 0


@dataclass
class Record:
    state: str
    lease_until: int
    holds: list[Hold]


@dataclass
class BucketState:
    """missing: tokens to full, exact; returned: what was given back so far."""

    missing: Fraction = Fraction(0)
    at: int = 0
    returned: int = 0
    rate: Fraction = Fraction(0)

    def advance(self, now: int) -> None:
        self.missing = max(Fraction(0), self.missing - (now - self.at) * self.rate)
        self.at = now


@dataclass
class Model:
    """Limits as lists of (when, amount); only buckets keep a running sum, as a fraction."""

    now: int
    records: dict[str, Record] = field(default_factory=dict)
    used: dict[tuple, list[tuple[int, int]]] = field(default_factory=dict)
    buckets: dict[tuple, BucketState] = field(default_factory=dict)
    grants: list[tuple[str, int, int]] = field(default_factory=list)
    limits: dict[tuple, int] = field(default_factory=dict)

    def account(self, claim: Claim, now: int) -> tuple:
        window = claim.window
        if isinstance(window, Calendar):
            window = window.at(now)
        if isinstance(window, TokenBucket):
            return claim.key, "bucket"
        return claim.key, window

    def open_holds(self, account: tuple) -> list[Hold]:
        return [
            hold
            for record in self.records.values()
            if record.state == "open"
            for hold in record.holds
            if hold.account == account
        ]

    def counts(self, account: tuple, when: int, window: RollingWindow) -> bool:
        """Say whether something of an instant still counts in a rolling window."""
        width = ceil(Fraction(window.length_ms, window.slices))
        return (when // width + 1) * width + window.length_ms > self.now

    def amounts(self, account: tuple) -> tuple[int, int]:
        """Return (used, reserved) of an account now."""
        window = account[1]
        holds = self.open_holds(account)
        if window == "bucket":
            bucket = self.buckets.setdefault(account, BucketState(at=self.now))
            bucket.advance(self.now)
            missing = ceil(bucket.missing)
            reserved = min(missing, sum(hold.amount for hold in holds))
            return missing - reserved, reserved
        if isinstance(window, Concurrent):
            return 0, sum(hold.amount for hold in holds)
        used = self.used.get(account, [])
        if isinstance(window, FixedWindow):
            return sum(amount for _, amount in used), sum(hold.amount for hold in holds)
        return (
            sum(amount for when, amount in used if self.counts(account, when, window)),
            sum(hold.amount for hold in holds if self.counts(account, hold.at, window)),
        )

    def granted(self, key: str) -> int:
        return sum(amount for k, amount, until in self.grants if k == key and until > self.now)

    def fits(self, claim: Claim, account: tuple) -> bool:
        window = account[1]
        if not claim.enforced or not claim.amount:
            return True
        if isinstance(window, FixedWindow) and not window.start_ms <= self.now < window.end_ms:
            return False
        return sum(self.amounts(account)) + claim.amount <= claim.limit + self.granted(claim.key)

    def advance(self, to: int) -> None:
        self.now = to

    def sweep(self) -> int:
        """Expire what is overdue, in the order of leases and ids."""
        overdue = sorted(
            (record.lease_until, name)
            for name, record in self.records.items()
            if record.state == "open" and record.lease_until <= self.now
        )
        for _, name in overdue:
            self.expire(self.records[name])
        for name, record in list(self.records.items()):
            keep = EXPIRED_KEEP_MS if record.state == "expired" else 0
            if record.state != "open" and record.lease_until + keep <= self.now:
                del self.records[name]
        return len(overdue)

    def expire(self, record: Record) -> None:
        for hold in record.holds:
            self.settle_hold(hold, hold.amount, 0)
        record.state = "expired"

    def settle_hold(self, hold: Hold, held: int, actual: int) -> None:
        window = hold.account[1]
        if isinstance(window, Concurrent):
            return
        if window != "bucket":
            there = actual if isinstance(window, FixedWindow) else min(actual, held)
            self.used.setdefault(hold.account, []).append((hold.at, there))
            self.used[hold.account].append((self.now, actual - there))
            return
        bucket = self.buckets.setdefault(hold.account, BucketState(at=self.now))
        bucket.advance(self.now)
        if actual >= held:
            bucket.missing += actual - held
            return
        inflow = ceil((self.now - hold.at) * bucket.rate)
        others = min(hold.held_before, bucket.returned - hold.returned)
        back = max(0, min(held - actual, hold.missing - inflow - others, ceil(bucket.missing)))
        bucket.missing = max(Fraction(0), bucket.missing - back)
        bucket.returned += back

    def reserve(self, name: str, claims: list[Claim], lease_ms: int) -> tuple[str, list[int]]:
        """Return the outcome and the indices of claims that were denied."""
        self.sweep()
        record = self.records.get(name)
        if record is not None and record.state != "expired":
            return {"open": "repeated", "over": "over"}[record.state], []
        accounts = [self.account(claim, self.now) for claim in claims]
        for claim, account in zip(claims, accounts, strict=True):
            if account[1] == "bucket":
                bucket = self.buckets.setdefault(account, BucketState(at=self.now))
                bucket.advance(self.now)
                bucket.rate = Fraction(claim.window.refill, claim.window.period_ms)
        denied = [
            index
            for index, (claim, account) in enumerate(zip(claims, accounts, strict=True))
            if not self.fits(claim, account)
        ]
        if denied:
            return "denied", denied
        holds = []
        for claim, account in zip(claims, accounts, strict=True):
            hold = Hold(claim, account, self.now, claim.amount)
            if account[1] == "bucket":
                bucket = self.buckets[account]
                bucket.missing += claim.amount
                hold.missing, hold.returned = ceil(bucket.missing), bucket.returned
                hold.held_before = sum(other.amount for other in self.open_holds(account))
            holds.append(hold)
            self.limits[account] = claim.limit
        self.records[name] = Record("open", self.now + lease_ms, holds)
        return "reserved", []

    def renew(self, name: str, lease_ms: int) -> bool:
        self.sweep()
        record = self.records.get(name)
        if record is None or record.state != "open":
            return False
        record.lease_until = self.now + lease_ms
        return True

    def settle(self, name: str, amounts: dict[str, int], *, whole: bool) -> str:
        self.sweep()
        record = self.records.get(name)
        if record is None:
            return "unknown"
        if record.state == "over":
            return "already"
        was, record.state = record.state, "over"
        record.lease_until = self.now + (SETTLED_KEEP_MS if was == "open" else BOOKED_KEEP_MS)
        for hold in record.holds:
            actual = amounts.get(hold.claim.key, hold.amount if whole else 0)
            self.settle_hold(hold, hold.amount if was == "open" else 0, actual)
        return "booked" if was == "open" else "late"

    def book(self, name: str, claims: list[Claim]) -> str:
        self.sweep()
        if name in self.records:
            return self.settle(name, {claim.key: claim.amount for claim in claims}, whole=True)
        for claim in claims:
            account = self.account(claim, self.now)
            if account[1] == "bucket":
                bucket = self.buckets.setdefault(account, BucketState(at=self.now))
                bucket.advance(self.now)
                bucket.rate = Fraction(claim.window.refill, claim.window.period_ms)
            self.settle_hold(Hold(claim, account, self.now, 0), 0, claim.amount)
            self.limits[account] = claim.limit
        self.records[name] = Record("over", self.now + BOOKED_KEEP_MS, [])
        return "booked"

    def reset(self, key: str) -> None:
        self.sweep()
        for account in self.used:
            if account[0] == key:
                self.used[account] = []
        for account, bucket in self.buckets.items():
            if account[0] == key:
                bucket.advance(self.now)
                held = sum(hold.amount for hold in self.open_holds(account))
                back = ceil(bucket.missing) - min(ceil(bucket.missing), held)
                bucket.missing = max(Fraction(0), bucket.missing - back)
                bucket.returned += back

    def levels(self) -> dict[tuple, tuple[int, int]]:
        """Return (used, reserved) of every account on which there is something now."""
        self.sweep()
        accounts = {*self.used, *self.buckets, *self.limits}
        found = {}
        for account in accounts:
            window = account[1]
            if isinstance(window, FixedWindow) and not window.start_ms <= self.now < window.end_ms:
                continue
            amounts = self.amounts(account)
            if any(amounts):
                found[account] = amounts
        return found

"""What is counted, in which window, and the port through which it is reserved, settled and shown.

All amounts are integers: requests, tokens, bytes, or millionths of a currency unit. All instants are
milliseconds since 1970 in UTC by the *ledger's* clock, which never goes back; durations are milliseconds.

A request makes one Claim per limit it touches and reserves them together, all or nothing. When it is over, it
settles what it really used, or releases. A reservation that nobody settles, renews or releases expires with
its lease: the room is free again, and the reservation waits in expired() for a late settle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from math import gcd
from types import MappingProxyType
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

MAX_AMOUNT = 2**50
"""No amount and no limit is greater: sums stay exact where a store counts in doubles (Lua)."""

MAX_KEY_CHARS = 512

SHADOWED = "~"
"""How the counters of a limit in shadow begin: they are its own, so that it spends nothing that is in force."""

MAX_RATE_PRODUCT = 2**52
"""Tokens times milliseconds of a rate in lowest terms, so that a refill is exact in a double."""
NOTHING: Mapping[str, int] = MappingProxyType({})


class LedgerUnavailable(Exception):
    """The store did not answer in its time; whether it has booked is unknown. Retry with the same id."""


class AlreadySettled(Exception):
    """A reservation of this id was settled or released before; an id names one request only."""


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A bucket of `Claim.limit` tokens into which `refill` tokens flow per `period_ms`, evenly.

    Never more than limit + the inflow passes in any interval. What a settled request gives back counts from
    when it was taken: what would have overflowed meanwhile is not given back.
    """

    refill: int
    period_ms: int
    shape: str = field(init=False, repr=False, compare=False, default="b")
    """Tells states of one key apart that cannot be read as each other's; a bucket's rate may change freely."""
    rate: tuple[int, int] = field(init=False, repr=False, compare=False)
    """(tokens, milliseconds) in lowest terms, rounded down by less than a millionth if large."""

    def __post_init__(self) -> None:
        if not (0 < self.refill <= MAX_AMOUNT and 0 < self.period_ms <= MAX_AMOUNT):
            raise ValueError("a token bucket needs a refill and a period above zero")
        object.__setattr__(self, "rate", _lowest_terms(self.refill, self.period_ms))


@dataclass(frozen=True, slots=True)
class FixedWindow:
    """One window from start_ms up to, not including, end_ms. Outside of it nothing fits."""

    start_ms: int
    end_ms: int
    shape: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.start_ms < self.end_ms:
            raise ValueError("a window ends after it starts")
        object.__setattr__(self, "shape", f"f{self.start_ms}:{self.end_ms}")


class Unit(StrEnum):
    """Calendar windows. A week starts on Monday (ISO 8601)."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Calendar:
    """The current minute, hour, day, week or month in a time zone; the store finds it by its own clock.

    zone: a key of the IANA data base; ZoneInfoNotFoundError if it is unknown.
    """

    unit: Unit
    zone: str = "UTC"

    def __post_init__(self) -> None:
        ZoneInfo(self.zone)

    def at(self, now_ms: int) -> FixedWindow:
        """Return the window that holds an instant. A local day may last 23 or 25 hours."""
        if self.unit in (Unit.MINUTE, Unit.HOUR):
            return self._by_offset(now_ms)
        zone = ZoneInfo(self.zone)
        local = datetime.fromtimestamp(now_ms / 1000, zone)
        start = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
        if self.unit is Unit.DAY:
            end = start + timedelta(days=1)
        elif self.unit is Unit.WEEK:
            start -= timedelta(days=start.weekday())
            end = start + timedelta(days=7)
        else:
            start = start.replace(day=1)
            end = (start + timedelta(days=32)).replace(day=1)
        return FixedWindow(_instant_ms(start, zone), _instant_ms(end, zone))

    def _by_offset(self, now_ms: int) -> FixedWindow:
        """Count from the offset in force: local arithmetic would skip or repeat the hour of a change."""
        length_ms = 60_000 if self.unit is Unit.MINUTE else 3_600_000
        offset = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(self.zone)).utcoffset() or timedelta()
        offset_ms = offset // timedelta(milliseconds=1)
        start_ms = (now_ms + offset_ms) // length_ms * length_ms - offset_ms
        return FixedWindow(start_ms, start_ms + length_ms)


@dataclass(frozen=True, slots=True)
class RollingWindow:
    """Never more than the limit in any interval of length_ms, wherever it begins.

    Kept in slices: an amount counts for at least length_ms and at most one slice longer.
    """

    length_ms: int
    slices: int = 20
    shape: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (0 < self.length_ms <= MAX_AMOUNT and 1 <= self.slices <= 100):
            raise ValueError("a rolling window needs a length above zero and 1 to 100 slices")
        object.__setattr__(self, "shape", f"r{self.length_ms}/{self.slices}")

    @property
    def slice_ms(self) -> int:
        return -(-self.length_ms // self.slices)


@dataclass(frozen=True, slots=True)
class Concurrent:
    """Held until the request is settled or released, or its lease expires; never used up."""

    shape: str = field(init=False, repr=False, compare=False, default="c")


type Window = TokenBucket | FixedWindow | Calendar | RollingWindow | Concurrent


def limit_of(key: str) -> str:
    """Return the id of the limit that a counter counts."""
    return key.partition("/")[0].removeprefix(SHADOWED)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one request takes from one limit.

    key: names the limit and whom it counts (`budget.monthly/tenant=acme/principal=ann`), printable; never a
    prompt or a credential. amount: the estimate; 0 always fits and shows the level. enforced: False counts and
    reports, but never denies (observe mode, soft limits). tried: of a limit in shadow, of which nobody is told.
    model: whose counter it is, where models are counted apart: of several that may answer, one is booked on.
    """

    key: str
    limit: int
    amount: int
    window: Window
    enforced: bool = True
    tried: bool = False
    model: str | None = None

    def __post_init__(self) -> None:
        if not (self.key and len(self.key) <= MAX_KEY_CHARS and self.key.isprintable()):
            raise ValueError("a claim needs a printable key of 1 to 512 characters")
        if not (0 <= self.limit <= MAX_AMOUNT and 0 <= self.amount <= MAX_AMOUNT):
            raise ValueError("a limit and an amount lie between 0 and 2**50")


class Level(NamedTuple):
    """How full one limit is. (A tuple, because every request makes one per claim, twice.)

    limit: as last claimed; granted: top-ups in force on top of it; used may exceed both (debt).
    resets_in_ms: until a window ends, the oldest slice goes or the bucket is full again, 0 if there is nothing
    to reset; None for concurrent limits. start_ms and end_ms: of a fixed window, otherwise None.
    """

    key: str
    limit: int
    used: int
    reserved: int
    granted: int
    resets_in_ms: int | None
    start_ms: int | None = None
    end_ms: int | None = None

    @property
    def remaining(self) -> int:
        return max(0, self.limit + self.granted - self.used - self.reserved)


@dataclass(frozen=True, slots=True)
class Denial:
    """One claim that does not fit.

    fits_in_ms: when the amount fits if nobody else comes; None if never (more than the limit, or the window is
    over). For a concurrent limit a guess: nobody knows when a request ends.
    """

    claim: Claim
    level: Level
    fits_in_ms: int | None


@dataclass(frozen=True, slots=True)
class Reserved:
    """Everything is held until lease_until_ms. levels: in the order of the claims, this request included.

    repeated: the same id was reserved before and still is; nothing was added, levels are as they are now.
    local: held by this process alone while the store is away; levels are of its allowance.
    """

    levels: tuple[Level, ...]
    now_ms: int
    lease_until_ms: int
    repeated: bool = False
    local: bool = False


@dataclass(frozen=True, slots=True)
class Denied:
    """Nothing was reserved. denials: every claim that does not fit. levels: of all claims, in order.

    local: refused by this process alone while the store is away; levels are of its allowance.
    """

    denials: tuple[Denial, ...]
    levels: tuple[Level, ...]
    now_ms: int
    local: bool = False

    @property
    def fits_in_ms(self) -> int | None:
        """When all of them fit, None if one never does."""
        waits = [denial.fits_in_ms for denial in self.denials]
        return None if None in waits else max(wait for wait in waits if wait is not None)


class Booking(StrEnum):
    """BOOKED: now. LATE: now, after its lease had expired. ALREADY: before. UNKNOWN: no such reservation.

    OWED: noted, to be booked when the store is back.
    """

    BOOKED = "booked"
    LATE = "late"
    ALREADY = "already"
    UNKNOWN = "unknown"
    OWED = "owed"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a settle, release or book. levels: of its claims after it; empty unless BOOKED or LATE."""

    booking: Booking
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class Expired:
    """A reservation whose lease ran out unsettled. amounts: what it had reserved, by key."""

    reservation_id: str
    amounts: Mapping[str, int]
    expired_at_ms: int


class Ledger(Protocol):
    """Counters of all limits, changed atomically. Every method may raise LedgerUnavailable."""

    async def reserve(self, reservation_id: str, claims: Sequence[Claim], lease_ms: int) -> Reserved | Denied:
        """Hold all claims or none. Repeating the call with the same id holds nothing twice.

        Keys must differ (ValueError). An id whose lease expired is reserved anew. AlreadySettled if it is over.
        """
        ...

    async def renew(self, reservation_id: str, lease_ms: int) -> bool:
        """Hold for lease_ms from now; False if nothing is held any more (settle it late all the same)."""
        ...

    async def settle(self, reservation_id: str, amounts: Mapping[str, int] = NOTHING) -> Settlement:
        """Replace the estimates by what was used, exactly once, also after the lease expired.

        A key that is not named used its estimate. Less goes back to the window it was taken from; more is
        booked in a fixed window where it was reserved, elsewhere now. Unknown keys are ignored.
        """
        ...

    async def release(self, reservation_id: str, kept: Mapping[str, int] = NOTHING) -> Settlement:
        """Settle with nothing used, except what is kept by key (such as the request itself)."""
        ...

    async def book(self, reservation_id: str, claims: Sequence[Claim]) -> Settlement:
        """Book amounts that are known, exactly once and whatever the limits say.

        Settles the reservation of this id if there is one; the claims count for nothing else then.
        """
        ...

    async def levels(self, prefix: str = "", *, ended: bool = False) -> tuple[Level, ...]:
        """Return the levels of all keys that start with prefix, by key. ended: past windows still known too."""
        ...

    async def top(self, count: int) -> tuple[Level, ...]:
        """Return the fullest limits, by (used + reserved) / (limit + granted)."""
        ...

    async def reset(self, key: str) -> bool:
        """Forget what was used under a key; what is reserved stays. False if the key is unknown."""
        ...

    async def grant(self, key: str, amount: int, until_ms: int) -> None:
        """Add to the limit of a key until an instant. Grants add up."""
        ...

    async def sweep(self, at_most: int = 1000) -> int:
        """Expire overdue leases and forget what is over; return how many leases expired.

        Every reserve sweeps a few of its own accord; a gateway calls this now and then.
        """
        ...

    async def expired(self, at_most: int = 1000) -> tuple[Expired, ...]:
        """Return reservations that expired unsettled, oldest first. They go when settled or released."""
        ...

    async def now_ms(self) -> int:
        """Return the instant by the ledger's clock."""
        ...

    async def close(self) -> None: ...


@lru_cache(maxsize=4096)
def _lowest_terms(refill: int, period_ms: int) -> tuple[int, int]:
    divisor = gcd(refill, period_ms)
    tokens, period = refill // divisor, period_ms // divisor
    shorter, fewer = period, tokens
    while shorter * fewer > MAX_RATE_PRODUCT:
        shorter //= 2
        fewer = tokens * shorter // period
    return fewer, shorter


def _instant_ms(local: datetime, zone: ZoneInfo) -> int:
    """Return the instant of a wall clock time; of one that a change of clocks skips, when the clocks change."""
    return (local.replace(tzinfo=zone).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    )

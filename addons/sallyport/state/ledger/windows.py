"""The arithmetic of every kind of window: integers in, integers out, no clock and no I/O.

An account is the state of one key in one window. Memory and SQLite count with these classes; ledger.lua does
the same sums for Redis, and the contract tests hold all of them to one model. Instants never go back.
"""

from typing import Protocol

from sallyport.stages.ledger import MAX_AMOUNT, Concurrent, FixedWindow, Level, RollingWindow, TokenBucket

type Resolved = TokenBucket | FixedWindow | RollingWindow | Concurrent
type Mark = tuple[int, ...]
"""Where a reservation was taken from; each kind of account reads its own."""

MARGIN_MS = 600_000
"""An account is kept so long after it could matter, so that a late settle still finds it."""

CONCURRENT_RETRY_MS = 1000
"""Nobody knows when a request ends; a second is a sensible time to ask again."""


class Account(Protocol):
    """Used and reserved amounts of one key in one window."""

    key: str
    limit: int
    keep_ms: int
    """The account may be forgotten from this instant on."""

    @property
    def held(self) -> int:
        """Return what is reserved and not settled."""
        ...

    def advance(self, now: int) -> None:
        """Let time pass: refill, drop old slices."""
        ...

    def taken(self) -> int:
        """Return used and reserved together, as of the last advance."""
        ...

    def fits_in(self, amount: int, ceiling: int, now: int) -> int | None: ...

    def take(self, amount: int, now: int) -> Mark:
        """Reserve an amount and say where it was taken from."""
        ...

    def settle(self, mark: Mark, held: int, actual: int, now: int) -> None:
        """Replace what is held by what was used; held is 0 where nothing was, or not any more."""
        ...

    def forget_used(self) -> None: ...

    def level(self, granted: int, now: int) -> Level: ...

    def useful_until(self, now: int) -> int: ...

    def dump(self) -> list[int]:
        """Return the state as numbers, for load of the same window."""
        ...

    def load(self, state: list[int]) -> None: ...


class Bucket:
    """A token bucket, counted from the top: how many tokens are missing to full, debt included.

    What a request gives back counts from when it was taken, so it is lost as far as the bucket would have
    overflowed without it. Since then the inflow has filled the bucket, and what older requests gave back (at most
    what they held then, and what was given back since); younger ones gave back less than they took. So at least
    missing(then) - inflow - min(held before, returned since) of the amount still has room: that comes back.
    """

    __slots__ = (
        "carry",
        "held",
        "keep_ms",
        "key",
        "limit",
        "missing",
        "period",
        "returned",
        "tokens",
        "updated",
    )

    def __init__(self, key: str, window: TokenBucket, now: int) -> None:
        self.key = key
        self.limit = 0
        self.keep_ms = 0
        self.tokens, self.period = window.rate
        self.missing = 0
        self.carry = 0
        self.updated = now
        self.held = 0
        self.returned = 0

    def advance(self, now: int) -> None:
        elapsed = now - self.updated
        if elapsed <= 0:
            return
        self.updated = now
        if not self.missing:
            return
        periods, rest = divmod(elapsed, self.period)
        extra, carry = divmod(rest * self.tokens + self.carry, self.period)
        self.missing -= periods * self.tokens + extra
        if self.missing > 0:
            self.carry = carry
        else:
            self.missing = self.carry = 0

    def adopt(self, window: TokenBucket) -> None:
        """Refill at this rate from now on."""
        rate = window.rate
        if rate != (self.tokens, self.period):
            self.tokens, self.period = rate
            self.carry = 0

    def taken(self) -> int:
        return self.missing

    def fits_in(self, amount: int, ceiling: int, now: int) -> int | None:
        if amount > ceiling:
            return None
        return self._refilled_in(self.missing + amount - ceiling)

    def take(self, amount: int, now: int) -> Mark:
        held_before = self.held
        self.missing += amount
        self.held += amount
        return self.missing, now, held_before, self.returned

    def settle(self, mark: Mark, held: int, actual: int, now: int) -> None:
        self.held = max(0, self.held - held)
        if actual >= held:
            self.missing += actual - held
            return
        missing, then, held_before, returned = mark
        periods, rest = divmod(max(0, now - then), self.period)
        inflow = periods * self.tokens - (-rest * self.tokens // self.period)
        room = missing - inflow - min(held_before, self.returned - returned)
        self._give_back(max(0, min(held - actual, room, self.missing)))

    def forget_used(self) -> None:
        self._give_back(self.missing - min(self.missing, self.held))

    def _give_back(self, tokens: int) -> None:
        self.missing -= tokens
        self.returned += tokens
        if not self.missing:
            self.carry = 0

    def level(self, granted: int, now: int) -> Level:
        reserved = min(self.held, self.missing)
        resets = self._refilled_in(self.missing)
        return Level(self.key, self.limit, self.missing - reserved, reserved, granted, resets)

    def useful_until(self, now: int) -> int:
        return now + self._refilled_in(self.missing) + MARGIN_MS

    def _refilled_in(self, tokens: int) -> int:
        """Return the milliseconds until so many tokens have flowed in, at most MAX_AMOUNT."""
        if tokens <= 0:
            return 0
        periods, rest = divmod(tokens, self.tokens)
        return min(periods * self.period - (self.carry - rest * self.period) // self.tokens, MAX_AMOUNT)

    def dump(self) -> list[int]:
        return [self.tokens, self.period, self.missing, self.carry, self.updated, self.held, self.returned]

    def load(self, state: list[int]) -> None:
        self.tokens, self.period, self.missing, self.carry, self.updated, self.held, self.returned = state


class Fixed:
    """One calendar window. What was reserved in it is booked in it, also after it has ended."""

    __slots__ = ("end", "held", "keep_ms", "key", "limit", "start", "used")

    def __init__(self, key: str, window: FixedWindow) -> None:
        self.key = key
        self.limit = 0
        self.keep_ms = 0
        self.start = window.start_ms
        self.end = window.end_ms
        self.used = 0
        self.held = 0

    def advance(self, now: int) -> None:
        """A window that has ended stays as it was."""

    def taken(self) -> int:
        return self.used + self.held

    def fits_in(self, amount: int, ceiling: int, now: int) -> int | None:
        """Return when the window ends, or begins if it has not begun."""
        if amount > ceiling or now >= self.end:
            return None
        return (self.end if now >= self.start else self.start) - now

    def take(self, amount: int, now: int) -> Mark:
        self.held += amount
        return ()

    def settle(self, mark: Mark, held: int, actual: int, now: int) -> None:
        self.held = max(0, self.held - held)
        self.used += actual

    def forget_used(self) -> None:
        self.used = 0

    def level(self, granted: int, now: int) -> Level:
        resets = max(0, self.end - now)
        return Level(self.key, self.limit, self.used, self.held, granted, resets, self.start, self.end)

    def useful_until(self, now: int) -> int:
        """Keep a window for its own length after its end, so that last month can be compared this month."""
        return max(now, 2 * self.end - self.start) + MARGIN_MS

    def dump(self) -> list[int]:
        return [self.used, self.held]

    def load(self, state: list[int]) -> None:
        self.used, self.held = state


class Rolling:
    """A sliding window in slices: number of the slice -> [used, held], oldest first."""

    __slots__ = ("keep_ms", "key", "length", "limit", "slice", "slices", "total")

    def __init__(self, key: str, window: RollingWindow) -> None:
        self.key = key
        self.limit = 0
        self.keep_ms = 0
        self.length = window.length_ms
        self.slice = window.slice_ms
        self.slices: dict[int, list[int]] = {}
        self.total = 0

    @property
    def held(self) -> int:
        return sum(held for _, held in self.slices.values())

    def advance(self, now: int) -> None:
        gone = [number for number in self.slices if self._leaves(number) <= now]
        for number in gone:
            used, held = self.slices.pop(number)
            self.total -= used + held

    def taken(self) -> int:
        return self.total

    def fits_in(self, amount: int, ceiling: int, now: int) -> int | None:
        if amount > ceiling:
            return None
        over = self.total + amount - ceiling
        for number, (used, held) in self.slices.items():
            over -= used + held
            if over <= 0:
                return self._leaves(number) - now
        return 0

    def take(self, amount: int, now: int) -> Mark:
        number = now // self.slice
        self.slices.setdefault(number, [0, 0])[1] += amount
        self.total += amount
        return (number,)

    def settle(self, mark: Mark, held: int, actual: int, now: int) -> None:
        """Book up to the estimate where it was taken, if that slice still counts; the rest now."""
        origin = self.slices.get(mark[0]) if mark else None
        if origin is not None:
            held_there = min(held, origin[1])
            origin[1] -= held_there
            origin[0] += min(actual, held)
            self.total += min(actual, held) - held_there
        if actual > held:
            self.slices.setdefault(now // self.slice, [0, 0])[0] += actual - held
            self.total += actual - held

    def forget_used(self) -> None:
        for counts in self.slices.values():
            self.total -= counts[0]
            counts[0] = 0

    def level(self, granted: int, now: int) -> Level:
        held = self.held
        live = (
            self._leaves(number) - now for number, counts in self.slices.items() if counts[0] or counts[1]
        )
        return Level(self.key, self.limit, self.total - held, held, granted, next(live, 0))

    def useful_until(self, now: int) -> int:
        return now + self.length + self.slice + MARGIN_MS

    def _leaves(self, number: int) -> int:
        """Return when the last instant of a slice is a whole length ago."""
        return (number + 1) * self.slice + self.length

    def dump(self) -> list[int]:
        return [value for number, counts in self.slices.items() for value in (number, *counts)]

    def load(self, state: list[int]) -> None:
        for at in range(0, len(state), 3):
            self.slices[state[at]] = [state[at + 1], state[at + 2]]
            self.total += state[at + 1] + state[at + 2]


class Gauge:
    """What is held at this moment; nothing is ever used up."""

    __slots__ = ("held", "keep_ms", "key", "limit")

    def __init__(self, key: str) -> None:
        self.key = key
        self.limit = 0
        self.keep_ms = 0
        self.held = 0

    def advance(self, now: int) -> None:
        """Time alone frees nothing; leases do."""

    def taken(self) -> int:
        return self.held

    def fits_in(self, amount: int, ceiling: int, now: int) -> int | None:
        return CONCURRENT_RETRY_MS if amount <= ceiling else None

    def take(self, amount: int, now: int) -> Mark:
        self.held += amount
        return ()

    def settle(self, mark: Mark, held: int, actual: int, now: int) -> None:
        self.held = max(0, self.held - held)

    def forget_used(self) -> None:
        """Nothing is used here."""

    def level(self, granted: int, now: int) -> Level:
        return Level(self.key, self.limit, 0, self.held, granted, None)

    def useful_until(self, now: int) -> int:
        return now + MARGIN_MS

    def dump(self) -> list[int]:
        return [self.held]

    def load(self, state: list[int]) -> None:
        (self.held,) = state


def blank(key: str, window: Resolved, now: int) -> Account:
    """Return an account on which nothing was booked."""
    match window:
        case TokenBucket():
            return Bucket(key, window, now)
        case FixedWindow():
            return Fixed(key, window)
        case RollingWindow():
            return Rolling(key, window)
        case Concurrent():
            return Gauge(key)


def window_numbers(window: Resolved) -> tuple[int, int]:
    """Return the two numbers that make a window of its kind, as ledger.lua reads them."""
    if type(window) is TokenBucket:
        return window.rate
    if type(window) is FixedWindow:
        return window.start_ms, window.end_ms
    if type(window) is RollingWindow:
        return window.length_ms, window.slices
    return 0, 0


def account_name(key: str, window: Resolved) -> str:
    """Return the name of the account of a key in a window; no key holds the separator (not printable)."""
    return f"{key}\x1f{window.shape}"

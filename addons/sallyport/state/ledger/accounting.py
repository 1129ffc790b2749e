"""The rules of the ledger over any shelf: reserve, settle, expire. Plain calls, no I/O of its own, no clock.

Everything here runs to its end without interruption (one thread, or one write transaction), which is what
makes a reservation atomic. Each call first expires what is overdue, a few at a time.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sallyport.stages.ledger import (
    MAX_AMOUNT,
    AlreadySettled,
    Booking,
    Calendar,
    Claim,
    Denial,
    Denied,
    Expired,
    FixedWindow,
    Level,
    Reserved,
    Settlement,
    TokenBucket,
)
from sallyport.state.ledger.windows import MARGIN_MS, Account, Bucket, Mark, Resolved, account_name, blank

SWEEP_PER_CALL = 16
SETTLED_KEEP_MS = 300_000
"""So long a repeated settle is known as one, and a reserve with the same id is refused."""

BOOKED_KEEP_MS = 86_400_000
"""So long a booking from outside (recovery, fallback) may be repeated without being booked twice."""

EXPIRED_KEEP_MS = 7 * 86_400_000
"""So long an expired reservation waits to be reconciled."""


class State(StrEnum):
    OPEN = "open"
    EXPIRED = "expired"
    OVER = "over"


@dataclass(slots=True)
class Entry:
    """What a reservation took from one account."""

    name: str
    key: str
    window: Resolved
    limit: int
    amount: int
    mark: Mark


@dataclass(slots=True)
class Reservation:
    """due_ms: when the lease of an open one runs out; when any other may be forgotten."""

    reservation_id: str
    state: State
    due_ms: int
    entries: Sequence[Entry]


@dataclass(slots=True)
class Grant:
    amount: int
    until_ms: int


class Shelf(Protocol):
    """Where accounts and reservations lie. What was changed must be kept again."""

    def account(self, name: str) -> Account | None: ...

    def keep_account(self, name: str, account: Account) -> None: ...

    def accounts(self, prefix: str) -> Iterable[tuple[str, Account]]:
        """Return name and account of all keys that start with prefix."""
        ...

    def reservation(self, reservation_id: str) -> Reservation | None: ...

    def keep_reservation(self, reservation: Reservation) -> None: ...

    def forget_reservation(self, reservation_id: str) -> None: ...

    def due(self, now: int, at_most: int) -> Sequence[Reservation]:
        """Return reservations with due_ms <= now, by due_ms and id."""
        ...

    def expired(self, at_most: int) -> Sequence[Reservation]:
        """Return those in state EXPIRED, by due_ms and id."""
        ...

    def forget_dead(self, now: int, at_most: int) -> None:
        """Drop accounts with keep_ms <= now on which nothing is held, and grants that are over."""
        ...

    def grants(self, key: str) -> Sequence[Grant]: ...

    def add_grant(self, key: str, grant: Grant) -> None: ...


class Accounting:
    """The port's methods as plain calls that are told the time."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._current: dict[Calendar, FixedWindow] = {}

    def reserve(
        self, now: int, reservation_id: str, claims: Sequence[Claim], lease_ms: int
    ) -> Reserved | Denied:
        check_claims(claims)
        check_lease(lease_ms)
        self.sweep(now, SWEEP_PER_CALL)
        known = self._find(reservation_id, now)
        if known is not None and known.state is State.OVER:
            raise AlreadySettled("this reservation is over")
        if known is not None and known.state is State.OPEN:
            return Reserved(self._levels_of(known, now), now, known.due_ms, repeated=True)
        found = [self._open(claim, now) for claim in claims]
        over = [
            index
            for index, (claim, (window, _, account, granted)) in enumerate(zip(claims, found, strict=True))
            if claim.enforced
            and claim.amount
            and (
                account.taken() + claim.amount > claim.limit + granted
                or (type(window) is FixedWindow and not window.start_ms <= now < window.end_ms)
            )
        ]
        if over:
            return self._deny(now, claims, found, over)
        entries: list[Entry] = []
        levels: list[Level] = []
        due = now + lease_ms
        for claim, (window, name, account, granted) in zip(claims, found, strict=True):
            mark = account.take(claim.amount, now)
            entries.append(Entry(name, claim.key, window, claim.limit, claim.amount, mark))
            self._keep(name, account, now, due)
            levels.append(account.level(granted, now))
        self._shelf.keep_reservation(Reservation(reservation_id, State.OPEN, due, entries))
        return Reserved(tuple(levels), now, due)

    def renew(self, now: int, reservation_id: str, lease_ms: int) -> bool:
        check_lease(lease_ms)
        self.sweep(now, SWEEP_PER_CALL)
        known = self._find(reservation_id, now)
        if known is None or known.state is not State.OPEN:
            return False
        known.due_ms = now + lease_ms
        self._shelf.keep_reservation(known)
        for entry in known.entries:
            account = self._account(entry, now)
            self._keep(entry.name, account, now, known.due_ms)
        return True

    def settle(self, now: int, reservation_id: str, amounts: Mapping[str, int]) -> Settlement:
        return self._finish(now, reservation_id, amounts, whole=True)

    def release(self, now: int, reservation_id: str, kept: Mapping[str, int]) -> Settlement:
        return self._finish(now, reservation_id, kept, whole=False)

    def book(self, now: int, reservation_id: str, claims: Sequence[Claim]) -> Settlement:
        check_claims(claims)
        self.sweep(now, SWEEP_PER_CALL)
        if self._find(reservation_id, now) is not None:
            return self._finish(now, reservation_id, {c.key: c.amount for c in claims}, whole=True)
        levels = []
        for claim in claims:
            _, name, account, granted = self._open(claim, now)
            account.settle((), 0, claim.amount, now)
            self._keep(name, account, now, now)
            levels.append(account.level(granted, now))
        self._shelf.keep_reservation(Reservation(reservation_id, State.OVER, now + BOOKED_KEEP_MS, ()))
        return Settlement(Booking.BOOKED, tuple(levels))

    def levels(self, now: int, prefix: str, *, ended: bool) -> tuple[Level, ...]:
        self.sweep(now, SWEEP_PER_CALL)
        found = [level for level in self._all_levels(now, prefix) if ended or _is_current(level, now)]
        return tuple(sorted(found, key=lambda level: (level.key, level.start_ms or 0, level.end_ms or 0)))

    def top(self, now: int, count: int) -> tuple[Level, ...]:
        self.sweep(now, SWEEP_PER_CALL)
        current = (level for level in self._all_levels(now, "") if _is_current(level, now))
        return tuple(heapq.nsmallest(count, current, key=fullest_first))

    def reset(self, now: int, key: str) -> bool:
        self.sweep(now, SWEEP_PER_CALL)
        found = [(name, account) for name, account in self._shelf.accounts(key) if account.key == key]
        for name, account in found:
            account.advance(now)
            account.forget_used()
            self._shelf.keep_account(name, account)
        return bool(found)

    def grant(self, now: int, key: str, amount: int, until_ms: int) -> None:
        check_grant(amount)
        self.sweep(now, SWEEP_PER_CALL)
        if until_ms > now:
            self._shelf.add_grant(key, Grant(amount, until_ms))

    def sweep(self, now: int, at_most: int) -> int:
        expired = 0
        for reservation in self._shelf.due(now, at_most):
            if reservation.state is State.OPEN:
                self._expire(reservation, now)
                expired += 1
            else:
                self._shelf.forget_reservation(reservation.reservation_id)
        self._shelf.forget_dead(now, at_most)
        return expired

    def expired(self, now: int, at_most: int) -> tuple[Expired, ...]:
        self.sweep(now, SWEEP_PER_CALL)
        return tuple(
            Expired(r.reservation_id, {e.key: e.amount for e in r.entries}, r.due_ms - EXPIRED_KEEP_MS)
            for r in self._shelf.expired(at_most)
        )

    def _open(self, claim: Claim, now: int) -> tuple[Resolved, str, Account, int]:
        """Return window, name and account of a claim, as of now, and what was granted on top."""
        window = claim.window
        resolved = self._resolve(window, now) if type(window) is Calendar else window
        assert not isinstance(resolved, Calendar)
        name = account_name(claim.key, resolved)
        account = self._shelf.account(name)
        if account is None:
            account = blank(claim.key, resolved, now)
        else:
            account.advance(now)
        if type(account) is Bucket and type(resolved) is TokenBucket:
            account.adopt(resolved)
        account.limit = claim.limit
        return resolved, name, account, self._granted(claim.key, now)

    def _resolve(self, calendar: Calendar, now: int) -> FixedWindow:
        window = self._current.get(calendar)
        if window is None or not window.start_ms <= now < window.end_ms:
            window = self._current[calendar] = calendar.at(now)
        return window

    def _granted(self, key: str, now: int) -> int:
        grants = self._shelf.grants(key)
        return sum(grant.amount for grant in grants if grant.until_ms > now) if grants else 0

    def _deny(
        self,
        now: int,
        claims: Sequence[Claim],
        found: Sequence[tuple[Resolved, str, Account, int]],
        over: Sequence[int],
    ) -> Denied:
        levels = tuple(account.level(granted, now) for _, _, account, granted in found)
        denials = []
        for index in over:
            claim, (window, _, account, granted) = claims[index], found[index]
            fits_in = account.fits_in(claim.amount, claim.limit + granted, now)
            if claim.window is window and type(window) is FixedWindow and now >= window.start_ms:
                fits_in = None  # No next window follows one that is not of a calendar.
            denials.append(Denial(claim, levels[index], fits_in))
        return Denied(tuple(denials), levels, now)

    def _finish(
        self, now: int, reservation_id: str, amounts: Mapping[str, int], *, whole: bool
    ) -> Settlement:
        """Book amounts by key; of a key that is missing the whole estimate or nothing."""
        check_amounts(amounts)
        self.sweep(now, SWEEP_PER_CALL)
        known = self._find(reservation_id, now)
        if known is None:
            return Settlement(Booking.UNKNOWN)
        if known.state is State.OVER:
            return Settlement(Booking.ALREADY)
        is_open = known.state is State.OPEN
        levels = []
        for entry in known.entries:
            account = self._account(entry, now)
            actual = amounts.get(entry.key, entry.amount if whole else 0)
            account.settle(entry.mark, entry.amount if is_open else 0, actual, now)
            self._keep(entry.name, account, now, now)
            levels.append(account.level(self._granted(entry.key, now), now))
        keep = SETTLED_KEEP_MS if is_open else BOOKED_KEEP_MS
        self._shelf.keep_reservation(Reservation(reservation_id, State.OVER, now + keep, ()))
        return Settlement(Booking.BOOKED if is_open else Booking.LATE, tuple(levels))

    def _find(self, reservation_id: str, now: int) -> Reservation | None:
        """Return a reservation, expired if its lease is over and no sweep has come by yet."""
        known = self._shelf.reservation(reservation_id)
        if known is None or known.due_ms > now:
            return known
        if known.state is State.OPEN:
            return self._expire(known, now)
        self._shelf.forget_reservation(reservation_id)
        return None

    def _expire(self, reservation: Reservation, now: int) -> Reservation:
        for entry in reservation.entries:
            account = self._account(entry, now)
            account.settle(entry.mark, entry.amount, 0, now)
            self._keep(entry.name, account, now, now)
        expired = Reservation(
            reservation.reservation_id,
            State.EXPIRED,
            reservation.due_ms + EXPIRED_KEEP_MS,
            reservation.entries,
        )
        self._shelf.keep_reservation(expired)
        return expired

    def _account(self, entry: Entry, now: int) -> Account:
        account = self._shelf.account(entry.name)
        if account is None:
            account = blank(entry.key, entry.window, now)
            account.limit = entry.limit
        account.advance(now)
        return account

    def _keep(self, name: str, account: Account, now: int, needed_until: int) -> None:
        account.keep_ms = max(account.keep_ms, account.useful_until(now), needed_until + MARGIN_MS)
        self._shelf.keep_account(name, account)

    def _levels_of(self, reservation: Reservation, now: int) -> tuple[Level, ...]:
        return tuple(
            self._account(entry, now).level(self._granted(entry.key, now), now)
            for entry in reservation.entries
        )

    def _all_levels(self, now: int, prefix: str) -> Iterator[Level]:
        """Yield the levels on which there is something."""
        for _, account in self._shelf.accounts(prefix):
            account.advance(now)
            level = account.level(self._granted(account.key, now), now)
            if level.used or level.reserved:
                yield level


def check_claims(claims: Sequence[Claim]) -> None:
    if not claims or len({claim.key for claim in claims}) != len(claims):
        raise ValueError("a reservation needs claims, and every key once")


def check_lease(lease_ms: int) -> None:
    if not 0 < lease_ms <= MAX_AMOUNT:
        raise ValueError("a lease is longer than zero")


def check_amounts(amounts: Mapping[str, int]) -> None:
    if any(not 0 <= amount <= MAX_AMOUNT for amount in amounts.values()):
        raise ValueError("an amount lies between 0 and 2**50")


def check_grant(amount: int) -> None:
    if not 0 < amount <= MAX_AMOUNT:
        raise ValueError("a grant lies between 1 and 2**50")


def fullest_first(level: Level) -> tuple[float, str]:
    """Sort by how much of the limit is taken; a limit of nothing on which there is something comes first."""
    ceiling = level.limit + level.granted
    taken = level.used + level.reserved
    return -(taken / ceiling if ceiling else float("inf")), level.key


def _is_current(level: Level, now: int) -> bool:
    return level.start_ms is None or level.end_ms is None or level.start_ms <= now < level.end_ms

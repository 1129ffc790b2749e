"""What happens while the store is away: refuse, or pass a share of every limit from memory and book it later.

Settlements are never refused: they are owed, and booked when the store is back, each once, because the store
knows ids. What is owed is in the memory of this process; after a crash the audit events are the source
(recovery.py). The allowance is per process: with four workers, a share of 250 of 1000 is the whole limit.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sallyport.stages.ledger import (
    NOTHING,
    AlreadySettled,
    Booking,
    Calendar,
    Claim,
    Denied,
    Expired,
    Ledger,
    LedgerUnavailable,
    Level,
    Reserved,
    Settlement,
)
from sallyport.state.ledger.accounting import EXPIRED_KEEP_MS, check_amounts
from sallyport.state.ledger.clocks import Clock, SystemClock
from sallyport.state.ledger.memory import MemoryLedger

logger = logging.getLogger("sallyport.ledger")

PROBE_EVERY_MS = 1000
MAX_OWED = 100_000
DRAIN_TOGETHER = 16


@dataclass(frozen=True, slots=True)
class Allowance:
    """share_permille: of every limit, per process, that may pass while the store is away."""

    share_permille: int

    def __post_init__(self) -> None:
        if not 0 < self.share_permille <= 1000:
            raise ValueError("a share lies between 1 and 1000")


@dataclass(frozen=True, slots=True)
class Booked:
    """Amounts that passed locally, in the windows of their time."""

    claims: Sequence[Claim]


@dataclass(frozen=True, slots=True)
class Finished:
    """A settle or release of a reservation that lies in the store."""

    amounts: Mapping[str, int]
    whole: bool


MAYBE_HELD = Finished(NOTHING, whole=False)
"""Owed for a reserve without an answer: the store may have booked it, and nobody will settle it."""


@dataclass(frozen=True, slots=True)
class Held:
    claims: Sequence[Claim]
    since_ms: int


class Fallback:
    """A store and what to do without it. allowance None: refuse, which is to raise LedgerUnavailable.

    After a failure the store is asked again every probe_every_ms, by one request at a time; what is owed is
    booked before new requests are reserved there.
    """

    def __init__(
        self,
        store: Ledger,
        allowance: Allowance | None,
        *,
        probe_every_ms: int = PROBE_EVERY_MS,
        max_owed: int = MAX_OWED,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._allowance = allowance
        self._probe_every_ms = probe_every_ms
        self._max_owed = max_owed
        self._clock = clock or SystemClock()
        self._local = MemoryLedger(self._clock)
        self._held: dict[str, Held] = {}
        self._owed: dict[str, Booked | Finished] = {}
        self._away = False
        self._probe_at_ms = 0
        self._draining = asyncio.Lock()

    @property
    def allowance(self) -> Allowance | None:
        """What may pass while the store is away; may be changed at any time."""
        return self._allowance

    @allowance.setter
    def allowance(self, allowance: Allowance | None) -> None:
        self._allowance = allowance

    @property
    def away(self) -> bool:
        """True from a failure of the store until it has answered again and what was owed is booked."""
        return self._away

    @property
    def owed(self) -> int:
        """How many settlements wait for the store."""
        return len(self._owed)

    async def reserve(self, reservation_id: str, claims: Sequence[Claim], lease_ms: int) -> Reserved | Denied:
        if reservation_id in self._owed and self._draining.locked():
            raise AlreadySettled("what the store may hold of this reservation is being given back")
        if reservation_id not in self._held and await self._is_back():
            try:
                return await self._store.reserve(reservation_id, claims, lease_ms)
            except LedgerUnavailable as error:
                self._note_away(error)
                self._owed.setdefault(reservation_id, MAYBE_HELD)
        return await self._reserve_locally(reservation_id, claims, lease_ms)

    async def renew(self, reservation_id: str, lease_ms: int) -> bool:
        """Renew; True as well if the store is away, since nobody can say that the hold is lost."""
        if reservation_id in self._held:
            return await self._local.renew(reservation_id, lease_ms)
        if await self._is_back():
            try:
                return await self._store.renew(reservation_id, lease_ms)
            except LedgerUnavailable as error:
                self._note_away(error)
        return True

    async def settle(self, reservation_id: str, amounts: Mapping[str, int] = NOTHING) -> Settlement:
        return await self._finish(reservation_id, amounts, whole=True)

    async def release(self, reservation_id: str, kept: Mapping[str, int] = NOTHING) -> Settlement:
        return await self._finish(reservation_id, kept, whole=False)

    async def book(self, reservation_id: str, claims: Sequence[Claim]) -> Settlement:
        if reservation_id in self._held:
            return await self._finish(reservation_id, {c.key: c.amount for c in claims}, whole=True)
        if await self._is_back():
            try:
                return await self._store.book(reservation_id, claims)
            except LedgerUnavailable as error:
                self._note_away(error)
        return self._owe(reservation_id, Booked(await self._in_their_windows(claims)))

    async def levels(self, prefix: str = "", *, ended: bool = False) -> tuple[Level, ...]:
        return await self._store.levels(prefix, ended=ended)

    async def top(self, count: int) -> tuple[Level, ...]:
        return await self._store.top(count)

    async def reset(self, key: str) -> bool:
        return await self._store.reset(key)

    async def grant(self, key: str, amount: int, until_ms: int) -> None:
        await self._store.grant(key, amount, until_ms)

    async def sweep(self, at_most: int = 1000) -> int:
        """Sweep the store, and book what is owed if it is back. Call it now and then, also without traffic."""
        await self._local.sweep(at_most)
        before = await self._local.now_ms() - EXPIRED_KEEP_MS
        for reservation_id in [i for i, held in self._held.items() if held.since_ms < before]:
            del self._held[reservation_id]
        if not await self._is_back():
            raise LedgerUnavailable("the ledger's store is away")
        try:
            return await self._store.sweep(at_most)
        except LedgerUnavailable as error:
            self._note_away(error)
            raise

    async def expired(self, at_most: int = 1000) -> tuple[Expired, ...]:
        return await self._store.expired(at_most)

    async def now_ms(self) -> int:
        return await self._store.now_ms()

    async def close(self) -> None:
        """Book what is owed, if that can be done, and close the store."""
        await self._drain()
        await self._store.close()

    async def _reserve_locally(
        self, reservation_id: str, claims: Sequence[Claim], lease_ms: int
    ) -> Reserved | Denied:
        if self._allowance is None:
            raise LedgerUnavailable("the ledger's store is away")
        if reservation_id not in self._held and len(self._held) + len(self._owed) >= self._max_owed:
            raise LedgerUnavailable("the ledger's store is away, and too much is owed to it")
        share = self._allowance.share_permille
        now = await self._local.now_ms()
        resolved = await self._in_their_windows(claims)
        scaled = [replace(claim, limit=claim.limit * share // 1000) for claim in claims]
        reply = await self._local.reserve(reservation_id, scaled, lease_ms)
        if isinstance(reply, Reserved) and not reply.repeated:
            self._held[reservation_id] = Held(resolved, now)
            self._owed.pop(reservation_id, None)
        return replace(reply, local=True)

    async def _finish(self, reservation_id: str, amounts: Mapping[str, int], *, whole: bool) -> Settlement:
        check_amounts(amounts)
        held = self._held.pop(reservation_id, None)
        if held is not None:
            finish = self._local.settle if whole else self._local.release
            settled = await finish(reservation_id, amounts)
            used = [
                replace(c, amount=amounts.get(c.key, c.amount if whole else 0), enforced=False)
                for c in held.claims
            ]
            self._owed[reservation_id] = Booked(used)
            if not self._away and not self._draining.locked():
                await self._drain()
            return settled if reservation_id not in self._owed else replace(settled, booking=Booking.OWED)
        if reservation_id not in self._owed and await self._is_back():
            finish = self._store.settle if whole else self._store.release
            try:
                return await finish(reservation_id, amounts)
            except LedgerUnavailable as error:
                self._note_away(error)
        return self._owe(reservation_id, Finished(dict(amounts), whole))

    def _owe(self, reservation_id: str, owed: Booked | Finished) -> Settlement:
        """Note what is to be booked; the first that was said of an id stands."""
        if reservation_id in self._owed:
            return Settlement(Booking.ALREADY)
        if len(self._owed) >= self._max_owed:
            raise LedgerUnavailable("the ledger's store is away, and too much is owed to it")
        self._owed[reservation_id] = owed
        return Settlement(Booking.OWED)

    async def _in_their_windows(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return the claims with the calendar windows of now, so that a later booking finds them."""
        now = await self._local.now_ms()
        return [
            replace(claim, window=claim.window.at(now)) if isinstance(claim.window, Calendar) else claim
            for claim in claims
        ]

    def _note_away(self, error: LedgerUnavailable) -> None:
        if not self._away:
            done = (
                "requests under limits are refused"
                if self._allowance is None
                else "a share passes from memory"
            )
            logger.warning("the store of the counters does not answer: %s (%s)", done, error)
        self._away = True
        self._probe_at_ms = self._clock.uptime_ms() + self._probe_every_ms

    async def _is_back(self) -> bool:
        """Say whether to ask the store; where it was away, after what is owed has been booked."""
        if not self._away:
            return True
        if self._clock.uptime_ms() < self._probe_at_ms or self._draining.locked():
            return False
        self._probe_at_ms = self._clock.uptime_ms() + self._probe_every_ms
        return await self._drain()

    async def _drain(self) -> bool:
        """Book what is owed; True if the store answered and nothing is owed any more."""
        async with self._draining:
            try:
                await self._store.now_ms()
                while self._owed:
                    some = list(self._owed.items())[:DRAIN_TOGETHER]
                    done = await asyncio.gather(
                        *(self._pay(i, owed) for i, owed in some), return_exceptions=True
                    )
                    for (reservation_id, owed), outcome in zip(some, done, strict=True):
                        paid = not isinstance(outcome, BaseException)
                        if paid and self._owed.get(reservation_id) is owed:
                            del self._owed[reservation_id]
                    for outcome in done:
                        if isinstance(outcome, BaseException):
                            raise outcome
            except LedgerUnavailable as error:
                self._note_away(error)
                return False
            if self._away:
                logger.warning("the store of the counters answers again")
            self._away = False
            return True

    async def _pay(self, reservation_id: str, owed: Booked | Finished) -> Settlement:
        if isinstance(owed, Booked):
            return await self._store.book(reservation_id, owed.claims)
        finish = self._store.settle if owed.whole else self._store.release
        return await finish(reservation_id, owed.amounts)

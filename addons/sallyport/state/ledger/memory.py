"""The ledger of one process: dictionaries, and no await between looking and booking."""

import heapq
from collections.abc import Iterator, Mapping, Sequence

from sallyport.stages.ledger import NOTHING, Claim, Denied, Expired, Level, Reserved, Settlement
from sallyport.state.ledger.accounting import Accounting, Grant, Reservation, State
from sallyport.state.ledger.clocks import AnchoredClock, Clock, SystemClock
from sallyport.state.ledger.windows import Account


class MemoryLedger:
    """All counts of one process; they begin anew with it.

    The wall clock is read once: setting it later changes nothing before the next start.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = AnchoredClock(clock or SystemClock())
        self._accounting = Accounting(MemoryShelf())

    async def reserve(self, reservation_id: str, claims: Sequence[Claim], lease_ms: int) -> Reserved | Denied:
        return self._accounting.reserve(self._clock.now_ms(), reservation_id, claims, lease_ms)

    async def renew(self, reservation_id: str, lease_ms: int) -> bool:
        return self._accounting.renew(self._clock.now_ms(), reservation_id, lease_ms)

    async def settle(self, reservation_id: str, amounts: Mapping[str, int] = NOTHING) -> Settlement:
        return self._accounting.settle(self._clock.now_ms(), reservation_id, amounts)

    async def release(self, reservation_id: str, kept: Mapping[str, int] = NOTHING) -> Settlement:
        return self._accounting.release(self._clock.now_ms(), reservation_id, kept)

    async def book(self, reservation_id: str, claims: Sequence[Claim]) -> Settlement:
        return self._accounting.book(self._clock.now_ms(), reservation_id, claims)

    async def levels(self, prefix: str = "", *, ended: bool = False) -> tuple[Level, ...]:
        return self._accounting.levels(self._clock.now_ms(), prefix, ended=ended)

    async def top(self, count: int) -> tuple[Level, ...]:
        return self._accounting.top(self._clock.now_ms(), count)

    async def reset(self, key: str) -> bool:
        return self._accounting.reset(self._clock.now_ms(), key)

    async def grant(self, key: str, amount: int, until_ms: int) -> None:
        self._accounting.grant(self._clock.now_ms(), key, amount, until_ms)

    async def sweep(self, at_most: int = 1000) -> int:
        return self._accounting.sweep(self._clock.now_ms(), at_most)

    async def expired(self, at_most: int = 1000) -> tuple[Expired, ...]:
        return self._accounting.expired(self._clock.now_ms(), at_most)

    async def now_ms(self) -> int:
        return self._clock.now_ms()

    async def close(self) -> None:
        """Nothing to close."""


class MemoryShelf:
    """Accounts and reservations in dictionaries; heaps say which is due next, and may hold stale entries."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._accounts_due: list[tuple[int, str]] = []
        self._reservations: dict[str, Reservation] = {}
        self._reservations_due: list[tuple[int, str]] = []
        self._expired: dict[str, Reservation] = {}
        self._grants: dict[str, list[Grant]] = {}
        self._grants_due: list[tuple[int, str]] = []

    def account(self, name: str) -> Account | None:
        return self._accounts.get(name)

    def keep_account(self, name: str, account: Account) -> None:
        if name not in self._accounts:
            self._accounts[name] = account
            heapq.heappush(self._accounts_due, (account.keep_ms, name))

    def accounts(self, prefix: str) -> Iterator[tuple[str, Account]]:
        return ((name, account) for name, account in self._accounts.items() if account.key.startswith(prefix))

    def reservation(self, reservation_id: str) -> Reservation | None:
        return self._reservations.get(reservation_id)

    def keep_reservation(self, reservation: Reservation) -> None:
        self._reservations[reservation.reservation_id] = reservation
        heapq.heappush(self._reservations_due, (reservation.due_ms, reservation.reservation_id))
        if reservation.state is State.EXPIRED:
            self._expired[reservation.reservation_id] = reservation
        else:
            self._expired.pop(reservation.reservation_id, None)

    def forget_reservation(self, reservation_id: str) -> None:
        self._reservations.pop(reservation_id, None)
        self._expired.pop(reservation_id, None)

    def due(self, now: int, at_most: int) -> Sequence[Reservation]:
        found: dict[str, Reservation] = {}  # who renews within a millisecond is in the heap twice
        heap = self._reservations_due
        while heap and heap[0][0] <= now and len(found) < at_most:
            due_ms, reservation_id = heapq.heappop(heap)
            reservation = self._reservations.get(reservation_id)
            if reservation is not None and reservation.due_ms == due_ms:
                found[reservation_id] = reservation
        return [*found.values()]

    def expired(self, at_most: int) -> Sequence[Reservation]:
        return heapq.nsmallest(at_most, self._expired.values(), key=lambda r: (r.due_ms, r.reservation_id))

    def forget_dead(self, now: int, at_most: int) -> None:
        heap = self._accounts_due
        for _ in range(at_most):
            if not heap or heap[0][0] > now:
                break
            name = heap[0][1]
            account = self._accounts[name]
            if account.keep_ms > now or account.held:
                heapq.heapreplace(heap, (max(account.keep_ms, now + 1), name))
            else:
                heapq.heappop(heap)
                del self._accounts[name]
        while self._grants_due and self._grants_due[0][0] <= now:
            key = heapq.heappop(self._grants_due)[1]
            left = [grant for grant in self._grants.pop(key, ()) if grant.until_ms > now]
            if left:
                self._grants[key] = left

    def grants(self, key: str) -> Sequence[Grant]:
        return self._grants.get(key, ())

    def add_grant(self, key: str, grant: Grant) -> None:
        self._grants.setdefault(key, []).append(grant)
        heapq.heappush(self._grants_due, (grant.until_ms, key))

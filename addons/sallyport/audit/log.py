"""The writing side of the audit: one thread, group commit, and a clear no when nothing can be stored.

The rules of this file:

- Only the writer thread touches the sink; an event loop only takes a lock that is never held during I/O.
- append() returns when the event is durable, or raises AuditUnavailable within deadline_s.
- An admission whose caller was told AuditUnavailable is followed by REFUSED, or was never written; in the
  latter case a REFUSED is recorded too while half the queue is free.
- Every other accepted event is kept and written again until it is stored, across failures and reconnects.
- While the store fails, callers get their no at once; the kept events are the probe of its recovery.
- An event that nobody waits for goes with the next that somebody waits for, at the latest after linger_s.
- An event that somebody waits for is written as soon as its event loop has nothing else to do, at the latest after
  gather_s: while the loop is busy with others, nobody it tells would go on any sooner, and theirs go with it.
- An operator reads in the gateway's log when callers begin to get their no, when events are lost, and when it is over:
  once each, and never under the lock.
"""

import asyncio
import atexit
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from time import monotonic
from typing import Protocol

from sallyport.audit.events import AUDIT_UNAVAILABLE, CANCELLED, Event, EventKind
from sallyport.audit.store import StoreUnavailable

__all__ = ["AuditLog", "AuditUnavailable", "Health", "Sink", "Status"]

logger = logging.getLogger("sallyport.audit")

_IDLE_TURN_S = 50e-6
"""A turn of an event loop that takes no longer had nothing to do but look."""

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


class AuditUnavailable(Exception):
    """The event is not known to be durable; without it nothing may leave. The text is a short code."""


class Sink(Protocol):
    """What the writer thread writes to; in production a Store."""

    def write(self, batch: Sequence[Event]) -> None:
        """Store a batch in one durable transaction; events stored already are left out silently.

        Raises StoreUnavailable, after which the batch may or may not be stored; the next call reconnects.
        """
        ...


class Health(StrEnum):
    """READY: written as they come. DEGRADED: the store fails, callers wait. REFUSING: callers get a no."""

    READY = "ready"
    DEGRADED = "degraded"
    REFUSING = "refusing"


@dataclass(frozen=True, slots=True)
class Status:
    """The state of an audit log at one moment.

    pending: accepted events that are not durable yet. lost: events refused since the start, because the
    queue was full or the log closed. transactions, written: commits and events since the start.
    problem: name of the last error while it lasts, else "".
    """

    health: Health
    pending: int
    lost: int
    transactions: int
    written: int
    problem: str


class _State(StrEnum):
    QUEUED = auto()
    WRITING = auto()
    DURABLE = auto()
    GIVEN_UP = auto()


class _Entry:
    """An event on its way. tried: it was part of a transaction whose outcome may be unknown."""

    __slots__ = ("event", "loop", "state", "tried", "waiter", "withdrawable")

    def __init__(self, event: Event, waiter: asyncio.Future[None] | None, withdrawable: bool) -> None:
        self.event = event
        self.waiter = waiter
        self.loop = waiter.get_loop() if waiter is not None else None
        self.withdrawable = withdrawable
        self.state = _State.QUEUED
        self.tried = False


class AuditLog:
    """Events on their way into one store. May be used from any thread and any number of event loops.

    deadline_s: the longest append() waits. capacity: events that may wait; ends of admitted exchanges may
    use as many places again, so that a burst of refusals cannot cost an exchange its end. linger_s: how long
    an event that nobody waits for may wait for others; a transaction costs the same for one as for many.
    gather_s: how long one that somebody waits for may, while its event loop is busy.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        deadline_s: float = 2.0,
        capacity: int = 10_000,
        max_batch: int = 500,
        linger_s: float = 0.02,
        gather_s: float = 0.01,
    ) -> None:
        self._sink = sink
        self._deadline_s = deadline_s
        self._capacity = capacity
        self._max_batch = max_batch
        self._linger_s = linger_s
        self._gather_s = gather_s
        self._changed = threading.Condition()
        self._queue: deque[_Entry] = deque()
        self._queued = 0
        self._urgent = False
        self._idle = False
        self._hurrying: set[asyncio.AbstractEventLoop] = set()
        self._in_hand = 0
        self._writing_since: float | None = None
        self._failing_since: float | None = None
        self._failures = 0
        self._problem = ""
        self._lost = self._lost_before = 0
        self._is_away_told = self._is_loss_told = False
        self._transactions = 0
        self._written = 0
        self._closing = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="sallyport-audit", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    async def append(self, event: Event, *, required: bool = True) -> None:
        """Return when the event is durable; raise AuditUnavailable when that is not so within deadline_s.

        required: what the policy says (audit.required). True: a caller that gets AuditUnavailable for an
        ADMITTED or TUNNELLED must not let it leave. The log records the refusal of an ADMITTED itself, and
        drops a TUNNELLED that was in no transaction; the caller records the refusal of that connection.
        False: the caller goes on in any case, and the event stays queued until it can be stored.
        """
        withdrawable = required and event.kind in (EventKind.ADMITTED, EventKind.TUNNELLED)
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        entry = _Entry(event, waiter, withdrawable)
        try:
            self._accept(entry)
        except AuditUnavailable:
            self._tell()  # of a write that hangs only who waits for it learns
            raise
        if loop not in self._hurrying:
            self._hurrying.add(loop)
            now = monotonic()
            loop.call_soon(self._gather, loop, now, now)
        timer = loop.call_later(self._deadline_s, _resolve, (waiter,))
        try:
            await waiter
        except asyncio.CancelledError:
            self._cancel(entry)
            raise
        finally:
            timer.cancel()
        problem = self._give_up(entry, AUDIT_UNAVAILABLE)
        if problem:
            self._tell()
            raise AuditUnavailable(problem)

    def append_nowait(self, event: Event) -> None:
        """Queue an event; it is durable some time later, and at the latest when close() returns True.

        Raises AuditUnavailable at once when the queue is full or the log closed.
        """
        try:
            self._accept(_Entry(event, None, withdrawable=False))
        except AuditUnavailable:
            self._tell()
            raise

    def status(self) -> Status:
        """Return the state of this moment; takes no I/O."""
        with self._changed:
            return Status(
                self._health(),
                self._queued + self._in_hand,
                self._lost,
                self._transactions,
                self._written,
                self._problem,
            )

    def close(self, timeout_s: float = 10.0) -> bool:
        """Take no more events, store what is waiting, and say whether all of it is durable.

        Blocks for up to timeout_s; on an event loop use aclose(). Calling it again waits again.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped, timeout_s)
            durable = self._stopped
        if durable:
            self._thread.join()
        atexit.unregister(self.close)
        return durable

    async def aclose(self, timeout_s: float = 10.0) -> bool:
        """Close without blocking the event loop."""
        return await asyncio.to_thread(self.close, timeout_s)

    # What event loops do, under the lock and without I/O.

    def _accept(self, entry: _Entry) -> None:
        event = entry.event
        ends_admitted = event.kind in (EventKind.COMPLETED, EventKind.BROKEN)
        with self._changed:
            refusing = self._health() is Health.REFUSING
            if refusing and entry.withdrawable and not self._closing:
                self._refuse(entry, AUDIT_UNAVAILABLE, certain=False)
                raise AuditUnavailable(self._problem or "stalled")
            if self._closing or self._queued >= (self._capacity * 2 if ends_admitted else self._capacity):
                self._lost += 1
                raise AuditUnavailable("closed" if self._closing else "full")
            self._enqueue(entry)
            if refusing and entry.waiter is not None:
                entry.waiter = None
                raise AuditUnavailable(self._problem or "stalled")

    def _enqueue(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self._queued += 1
        if self._idle or self._in_haste():
            self._changed.notify_all()

    def _gather(self, loop: asyncio.AbstractEventLoop, since: float, turn: float) -> None:
        """Have written what is queued and waited for, unless more may come soon.

        since: when the first of it came. turn: when this turn of the loop began.
        """
        now = monotonic()
        if now - turn > _IDLE_TURN_S and now - since < self._gather_s:
            loop.call_soon(self._gather, loop, since, now)
            return
        self._hurrying.discard(loop)
        with self._changed:
            self._urgent = self._queued > 0
            self._changed.notify_all()

    def _give_up(self, entry: _Entry, because: str) -> str:
        """Stop waiting for an entry; return "" where it is durable, else the problem."""
        with self._changed:
            if entry.state is _State.DURABLE:
                return ""
            entry.waiter = None
            if entry.withdrawable and entry.state is not _State.GIVEN_UP:
                self._abandon(entry, because)
            return self._problem or "deadline"

    def _cancel(self, entry: _Entry) -> None:
        """Withdraw an admission whose caller went away, also when it was just becoming durable."""
        with self._changed:
            if entry.state is not _State.DURABLE:
                self._give_up(entry, CANCELLED)
            elif entry.withdrawable:
                self._refuse(entry, CANCELLED, certain=True)

    def _abandon(self, entry: _Entry, because: str) -> None:
        """Keep an admission from being written, and see that a REFUSED is."""
        writing = entry.state is _State.WRITING
        entry.state = _State.GIVEN_UP
        if not writing:
            self._queued -= 1  # _take() drops it; removing it here would be quadratic when all give up
        self._refuse(entry, because, certain=writing or entry.tried)

    def _refuse(self, entry: _Entry, because: str, *, certain: bool) -> None:
        """Queue the REFUSED of an admission.

        certain: the admission may be in the store, now or in a moment, so no bound applies. There is at most
        one for every admission that was in a transaction, and a failing store gets no new admissions.
        """
        if entry.event.kind is not EventKind.ADMITTED:
            return
        if not certain and self._queued >= self._capacity // 2:
            self._lost += 1
            return
        refused = entry.event.followed_by(EventKind.REFUSED, detail=because)
        self._enqueue(_Entry(refused, None, withdrawable=False))

    def _health(self) -> Health:
        now = monotonic()
        if self._writing_since is not None and now - self._writing_since > self._deadline_s:
            return Health.REFUSING
        if self._failing_since is None:
            return Health.READY
        patience_s = self._deadline_s if self._failures < 2 else self._deadline_s / 2
        return Health.REFUSING if now - self._failing_since >= patience_s else Health.DEGRADED

    def _tell(self) -> None:
        """Say what changed since it was last said: whether the store takes events, and whether any are lost."""
        with self._changed:
            health, problem = self._health(), self._problem or "it does not answer"
            lost = self._lost - self._lost_before
            tells_away = health is Health.REFUSING and not self._is_away_told
            tells_loss = lost > 0 and not self._is_loss_told and not self._closing
            self._is_away_told |= tells_away
            self._is_loss_told |= tells_loss
            has_room = health is Health.READY and self._queued < self._capacity // 2
            is_over = has_room and (self._is_away_told or self._is_loss_told)
            if is_over:
                self._is_away_told = self._is_loss_told = False
                self._lost_before = self._lost
        if tells_away:
            logger.warning(
                "the audit store takes no events (%s). Until it does, what must be recorded before it leaves is "
                "refused with 503 audit.unavailable; other events wait in memory",
                problem,
            )
        if tells_loss:
            logger.error("too many events wait for the audit store: further ones are lost")
        if is_over:
            logger.warning("the audit store takes events again; %d were lost meanwhile", lost)

    def _in_haste(self) -> bool:
        return self._urgent or self._closing or self._queued >= self._max_batch

    # What the writer thread does.

    def _run(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                return
            try:
                self._sink.write([entry.event for entry in batch])
            except StoreUnavailable as error:
                pause_s = self._put_back(batch, str(error))
            except Exception as error:  # a border: a writer that dies silently would stop every exchange
                pause_s = self._put_back(batch, type(error).__name__)
            else:
                self._finish(batch)
                self._tell()
                continue
            self._tell()
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, pause_s)

    def _take(self) -> list[_Entry]:
        """Wait for events and take a batch of them; an empty one means that the log is closed and drained."""
        batch: list[_Entry] = []
        with self._changed:
            while not self._changed.wait_for(self._in_haste, self._linger_s) and not self._queued:
                self._idle = True
                self._changed.wait_for(lambda: self._queued or self._closing)
                self._idle = False
            while self._queue and len(batch) < self._max_batch:
                entry = self._queue.popleft()
                if entry.state is _State.QUEUED:
                    entry.state = _State.WRITING
                    batch.append(entry)
            self._queued -= len(batch)
            self._urgent = bool(self._queue)
            self._in_hand = len(batch)
            self._writing_since = monotonic() if batch else None
            if not batch:
                self._stopped = True
                self._changed.notify_all()
            return batch

    def _finish(self, batch: list[_Entry]) -> None:
        with self._changed:
            self._in_hand = 0
            self._writing_since = self._failing_since = None
            self._failures = 0
            self._problem = ""
            self._transactions += 1
            self._written += len(batch)
            done = [entry for entry in batch if entry.state is _State.WRITING]
            for entry in done:
                entry.state = _State.DURABLE
            _wake(done)

    def _put_back(self, batch: list[_Entry], problem: str) -> float:
        """Queue a failed batch again, wake callers that waited long enough, return the pause in seconds."""
        with self._changed:
            self._failing_since = self._failing_since or self._writing_since
            self._writing_since = None
            self._in_hand = 0
            self._failures += 1
            self._problem = problem
            kept = [entry for entry in batch if entry.state is _State.WRITING]
            for entry in kept:
                entry.state = _State.QUEUED
                entry.tried = True
            self._queue.extendleft(reversed(kept))
            self._queued += len(kept)
            self._urgent = True
            if self._health() is Health.REFUSING:
                waiting = [entry for entry in self._queue if entry.waiter is not None]
                for entry in waiting:
                    if entry.withdrawable and entry.state is _State.QUEUED:
                        self._abandon(entry, AUDIT_UNAVAILABLE)
                _wake(waiting)
                self._queue = deque(entry for entry in self._queue if entry.state is _State.QUEUED)
            return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 8))


def _wake(entries: list[_Entry]) -> None:
    """Resolve the futures of all entries, with one call per event loop."""
    waiters: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for entry in entries:
        if entry.waiter is not None and entry.loop is not None:
            waiters.setdefault(entry.loop, []).append(entry.waiter)
    for loop, futures in waiters.items():
        try:
            loop.call_soon_threadsafe(_resolve, futures)
        except RuntimeError:  # the loop was closed; nobody waits there any more
            continue


def _resolve(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)

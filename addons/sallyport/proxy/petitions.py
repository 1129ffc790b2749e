"""Registering what people are to approve, in the directory and off the event loop.

What waits is bounded, for each principal as well, and asked for once however often a client tries. While the
store fails it is tried again, later and later; what the store will not take is dropped. A request and its
APPROVAL_REQUESTED event are written in one transaction, by whichever gateway comes first: the event is there
exactly once.
"""

import asyncio
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from sallyport.audit.events import Event
from sallyport.audit.store import add_within
from sallyport.decision import Need
from sallyport.sql.engines import Unreachable
from sallyport.state.directory.approvals import MAX_OPEN, Registered, register, standing
from sallyport.state.directory.store import DirectoryStore

logger = logging.getLogger("sallyport.approvals")

MAX_WAITING = 1000
MAX_REMEMBERED = 10_000
AGAIN_S = 10.0
"""For how long a request is not asked about again: a client that retries costs the store nothing."""

LONGEST_PAUSE_S = 15.0
CLOSE_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Petition:
    """A need with the event that tells of it, if the store does not know it yet."""

    need: Need
    event: Event


class Petitions:
    """A queue and a thread. ask() belongs to the event loop.

    opened: opens the directory; None where there is none. told: called on the loop for each new request.
    alias: gives an event what is written in the place of its person, and returns it; may wait.
    """

    def __init__(
        self,
        opened: Callable[[], DirectoryStore] | None,
        told: Callable[[Petition], None],
        alias: Callable[[Event], Event] = lambda event: event,
    ) -> None:
        self._opened = opened
        self._told = told
        self._alias = alias
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._waiting: deque[Petition] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self, petition: Petition) -> None:
        """Queue a request, unless it was asked a moment ago. Returns at once; beyond the bound it is dropped."""
        if self._opened is None:
            return
        now, id = time.monotonic(), petition.need.id
        if now - self._asked.get(id, -AGAIN_S) < AGAIN_S or len(self._waiting) >= MAX_WAITING:
            return
        self._asked[id] = now
        self._asked.move_to_end(id)
        if len(self._asked) > MAX_REMEMBERED:
            self._asked.popitem(last=False)
        own = self._waiting_of(petition.need)
        if id not in own and len(own) < MAX_OPEN:
            self._waiting.append(petition)
        self._wake.set()
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="sallyport-approvals", daemon=True)
            self._thread.start()

    def _waiting_of(self, need: Need) -> set[str]:
        """Return the ids that wait for the same principal: one who asks for much keeps nobody else out."""
        waiting = tuple(self._waiting)  # the thread takes from it meanwhile
        return {
            p.need.id for p in waiting if (p.need.tenant, p.need.principal) == (need.tenant, need.principal)
        }

    def close(self) -> None:
        """Register what waits if that is quick. Blocks; not for the event loop."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_WITHIN_S)

    def _run(self) -> None:
        store: DirectoryStore | None = None
        failures = 0
        while self._waiting or not self._closing.is_set():
            if not self._waiting:
                self._wake.wait()
                self._wake.clear()
                continue
            opening = store is None
            try:
                store = store or self._open()
                opening = False
                self._register(store, self._waiting[0])
                self._waiting.popleft()
                failures = 0
            except Exception as error:
                # The border of the thread: without it no request would be registered any more.
                if not failures:
                    logger.warning("requests for approvals wait for the store (%s)", type(error).__name__)
                failures += 1
                if store is not None:
                    store.close()
                    store = None
                if self._closing.is_set():
                    break
                if not opening and not isinstance(error, Unreachable):
                    self._waiting.popleft()  # one that can never be written must not hold up the rest
                self._closing.wait(min(LONGEST_PAUSE_S, 0.25 * 2.0 ** min(failures, 8)))
        if store is not None:
            store.close()

    def _open(self) -> DirectoryStore:
        assert self._opened is not None
        return self._opened()

    def _register(self, store: DirectoryStore, petition: Petition) -> None:
        need, event = petition.need, petition.event
        with store.read() as connection:
            if standing(connection, need, event.at) is not Registered.NEW:
                return
        event = self._alias(event)  # before the change, which must not wait for anything
        with store.change() as connection:
            done = register(connection, need, event.exchange, event.at)
            if done is Registered.NEW:
                add_within(connection, [event])
        if done is Registered.NEW and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._told, petition)

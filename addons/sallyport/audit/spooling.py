"""A store with a spool before it: while the store is away, or anything still waits, events go to the disk.

The rules of this file:

- Every event goes into the store in the order it came, whichever way it took.
- The writer thread of AuditLog uses the store while the spool is empty, and the thread of this file while it is not:
  never both.
- Nothing leaves the spool before the store has it. The store leaves out what it has already, so nothing is doubled.
"""

import errno
import logging
import threading
from collections.abc import Callable, Sequence
from itertools import islice

from sallyport.audit.events import Event, EventKind
from sallyport.audit.log import Sink
from sallyport.audit.spool import Damaged, Spool, SpoolFull
from sallyport.audit.store import StoreUnavailable

logger = logging.getLogger("sallyport.audit")

_AT_ONCE = 500
_PAUSE_S = 0.5


class SpoolingSink:
    """What AuditLog writes to where a policy may want a spool.

    wanted: whether the policy does, now. gateway: whose events these are. away: whether the store is known not to
    answer, so that the first event need not wait to find out.
    """

    def __init__(
        self, store: Sink, spool: Spool, wanted: Callable[[], bool], gateway: str, *, away: bool = False
    ) -> None:
        self._store = store
        self._spool = spool
        self._wanted = wanted
        self._gateway = gateway
        self._earlier = spool.files
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._waiting = bool(self._earlier) or away
        self._at, self._done, self._drained, self._damaged = 0, 0, 0, False
        """The file in hand, how many of its events the store has, and what is to be told of when all are through."""
        self._thread: threading.Thread | None = None
        self._problem = ""

    @property
    def is_waiting(self) -> bool:
        """Whether events wait on the disk, or the store is away."""
        return self._waiting

    @property
    def holds_earlier(self) -> bool:
        """Whether events of an earlier process wait: which of its exchanges ended, only they tell."""
        with self._lock:
            return bool(set(self._earlier) & set(self._spool.files))

    def start(self) -> None:
        """Put what an earlier process left into the store, as far as the store takes it, and go on in a thread."""
        if self._earlier:
            while self._waiting and self._move():
                pass
        self._thread = threading.Thread(target=self._run, name="sallyport-spool", daemon=True)
        self._thread.start()

    def write(self, batch: Sequence[Event]) -> None:
        """Store a batch, or have it on the disk. Raises StoreUnavailable where neither is possible."""
        away = ""
        if not self._waiting:
            try:
                self._store.write(batch)
                return
            except StoreUnavailable as error:
                if not batch or not self._wanted():
                    raise
                away = str(error)
        elif not self._wanted():
            raise StoreUnavailable("spool is being emptied")
        with self._lock:
            try:
                self._spool.append(batch)
            except SpoolFull:
                raise StoreUnavailable("spool is full") from None
            except OSError as error:
                code = errno.errorcode.get(error.errno or 0, "")
                raise StoreUnavailable(
                    f"{away and f'{away}, '}spool: {type(error).__name__} {code}"
                ) from None
            finally:
                self._waiting = self._waiting or bool(self._spool.files)
        if away:
            logger.warning("the audit store is away (%s): events wait on the disk", away)
        self._wake.set()

    def close(self) -> None:
        """Stop; call it when nobody writes any more. What waits is stored after the next start."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self._spool.close()

    # What the thread does, and start() before there is one.

    def _run(self) -> None:
        while not self._closing:
            if not self._waiting:
                self._wake.wait()
                self._wake.clear()
            elif not self._move():
                self._wake.clear()
                self._wake.wait(_PAUSE_S)

    def _move(self) -> bool:
        """Put some events into the store; False where it does not take them. The last one lets the writer go direct."""
        try:
            batch = self._next()
            if batch:
                self._store.write(batch)
                self._done += len(batch)
                self._drained += len(batch)
            else:
                self._finish()
            self._problem = ""
        except StoreUnavailable:
            return False
        except Damaged:
            logger.error("file %d of the audit spool was changed, and is put aside", self._at)
            self._damaged = True
            with self._lock:
                self._spool.remove(self._at, damaged=True)
        except Exception as error:
            # The border of the thread: without it nothing that waits would ever be stored.
            if self._problem != type(error).__name__:
                self._problem = type(error).__name__
                logger.error("the audit spool cannot be emptied (%s)", self._problem)
            return False
        return True

    def _next(self) -> list[Event]:
        with self._lock:
            while files := self._spool.files:
                if files[0] != self._at:
                    self._at, self._done = files[0], 0
                batch = list[Event]()
                try:
                    batch.extend(islice(self._spool.read(self._at, self._done), _AT_ONCE))
                except Damaged:
                    if not batch:  # what stands before it is sound
                        raise
                if batch:
                    return batch
                self._spool.remove(self._at)
                self._at = 0
        return []

    def _finish(self) -> None:
        """Tell of what waited, and let the writer go to the store itself, unless more has come meanwhile."""
        told = "damaged" if self._damaged else f"events_{self._drained}"
        if self._drained or self._damaged:
            self._store.write([Event(kind=EventKind.SPOOLED, gateway=self._gateway, detail=told)])
        else:
            self._store.write([])
        with self._lock:
            self._waiting = bool(self._spool.files)
        if self._drained:
            logger.warning("the audit store answers; %d events that waited are stored", self._drained)
        self._drained, self._damaged = 0, False

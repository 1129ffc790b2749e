"""Work that follows traffic and must not hold it up: a bounded queue, one thread, and losses that are told."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from sallyport.errors import OperatorError

QUEUED = 256
MAX_WAITING_BYTES = 256 * 1024 * 1024
_TOLD_EVERY_S = 60


class Background[Task]:
    """Does tasks in their order. put() never waits; what does not fit, or fails, is counted and told.

    name: of the thread. lost_message: of the log, with %d for the number and %s for why.
    do: called in the thread with what is waiting, at_once tasks at most; what it raises costs all of these.
    failed: called there after a disk or a database has failed. idle: called there when nothing came for idle_s
    seconds, and at times between tasks. over: called there at the end.
    """

    def __init__(
        self,
        name: str,
        logger: logging.Logger,
        lost_message: str,
        do: Callable[[Sequence[Task]], None],
        *,
        at_once: int = 1,
        failed: Callable[[], None] = lambda: None,
        idle: Callable[[], None] = lambda: None,
        idle_s: float | None = None,
        over: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._logger = logger
        self._lost_message = lost_message
        self._do, self._failed, self._idle, self._over = do, failed, idle, over
        self._idle_s = idle_s
        self._at_once = at_once
        self._closing = False
        self._idled_s = time.monotonic()
        self._queue: queue.Queue[tuple[Task, int] | None] = queue.Queue(QUEUED)
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told_at = 0.0
        self.lost, self._told, self._why = 0, 0, ""

    def start(self) -> None:
        """Start the thread, which the first task does otherwise."""
        if self._thread is None:
            self._closing = False
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def put(self, task: Task, size: int = 0) -> bool:
        """Have a task done; False if there is no room. size: bytes that are held for it until then."""
        self.start()
        with self._lock:
            if self._waiting_bytes and self._waiting_bytes + size > MAX_WAITING_BYTES:
                self.lose("too much at once")
                return False
            self._waiting_bytes += size
        try:
            self._queue.put_nowait((task, size))
        except queue.Full:
            self._hold_less(size)
            self.lose("too many at once")
            return False
        return True

    def close(self, within_s: float = 10.0) -> None:
        """Do what is waiting, and end."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=within_s)
            self._thread.join(within_s)
            self._thread = None

    def lose(self, why: str, count: int = 1) -> None:
        """Count losses, and tell of all of them now and then. why: holds no content."""
        self.lost += count
        self._why = why
        self._tell_lost()

    def _tell_lost(self, *, at_once: bool = False) -> None:
        """Tell how many were lost in all, if that is not known yet, at most once in a while."""
        if self.lost > self._told and (at_once or time.monotonic() - self._told_at > _TOLD_EVERY_S):
            self._told, self._told_at = self.lost, time.monotonic()
            self._logger.warning(self._lost_message, self.lost, self._why)

    def _run(self) -> None:
        while waiting := self._some():
            try:
                self._do([task for task, _ in waiting])
                self._tell_lost()
            except (OSError, OperatorError) as error:
                self._failed()
                why = error.strerror or "" if isinstance(error, OSError) else str(error)
                self.lose(why, len(waiting))
            except Exception as error:
                # The border to what makes a record: its texts must not be in a message.
                self.lose(type(error).__name__, len(waiting))
            finally:
                self._hold_less(sum(size for _, size in waiting))
                del waiting
        self._tell_lost(at_once=True)
        self._over()

    def _some(self) -> list[tuple[Task, int]]:
        """Return what is waiting, at least one task; none at the end."""
        found: list[tuple[Task, int]] = []
        while not self._closing and len(found) < self._at_once:
            try:
                one = self._queue.get_nowait() if found else self._next()
            except queue.Empty:
                break
            if one is None:
                self._closing = True
            else:
                found.append(one)
        return found

    def _next(self) -> tuple[Task, int] | None:
        if self._idle_s is None:
            return self._queue.get()
        while True:
            if time.monotonic() - self._idled_s >= self._idle_s:
                self._rest()
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=self._idle_s)

    def _rest(self) -> None:
        try:
            self._idle()
        except Exception as error:
            # The border of the thread: what is done in between must not end it.
            self._logger.warning("%s: %s", self._name, type(error).__name__)
        self._idled_s = time.monotonic()

    def _hold_less(self, size: int) -> None:
        with self._lock:
            self._waiting_bytes -= size

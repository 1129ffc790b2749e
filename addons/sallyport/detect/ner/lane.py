"""One worker and the thread that owns it: it starts the worker, asks it, and replaces it.

A worker that crashes, hangs or answers nonsense is killed and replaced at once; one that keeps doing so rests.
"""

import logging
import os
import select
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

from sallyport.detect.ner.job import Batch
from sallyport.detect.ner.process import Lost, Worker
from sallyport.errors import OperatorError

if TYPE_CHECKING:
    from sallyport.detect.ner.pool import Pool

logger = logging.getLogger("sallyport.ner")

BATCH_S = 0.1
"""A batch is as large as the worker is expected to answer in this time."""

BATCH_CHARS = (2_000, 32_000)
"""Characters of the first batch, before the worker's speed is known, and of the largest."""

FAILURES_S = 30.0
FREE_FAILURES = 2
LONGEST_REST_S = 60.0
"""Within FAILURES_S so many failures cost no pause; each further one rests a worker 2, 4, 8 ... seconds."""


class Lane:
    """One worker and the thread that owns it. The thread lives as long as the worker's place.

    The kernel kills a worker when the thread that started it ends, so no other thread may start one.
    """

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._worker: Worker | None = None
        self._is_up = False
        self._signal_out, self._signal_in = os.pipe()
        os.set_blocking(self._signal_in, False)
        os.set_blocking(self._signal_out, False)
        self._failures: deque[float] = deque()
        self._rests_until = 0.0
        self._s_per_char = 0.0
        self._ended = False
        self._guard = threading.Lock()
        self.ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="ner", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def pid(self) -> int:
        worker = self._worker
        return worker.pid if worker is not None and self._is_up else 0

    @property
    def rests(self) -> bool:
        return self._rests_until > time.monotonic()

    def wake(self) -> None:
        """Make the thread look at the queue; harmless when it is busy."""
        with self._guard:
            if not self._ended:
                try:
                    os.write(self._signal_in, b".")
                except BlockingIOError:
                    return

    def stop(self) -> None:
        """Kill the worker, whatever it does, and wait for the thread."""
        worker = self._worker
        if worker is not None:
            worker.kill()
        self.wake()
        self._thread.join(10.0)

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._pool.left(self)
            self._set_ready(OperatorError(self._pool.engine, "it was stopped", "Start again"))
            if self._worker is not None:
                self._worker.close()
                self._worker = None
            with self._guard:
                self._ended = True
                os.close(self._signal_in)
                os.close(self._signal_out)

    def _serve(self) -> None:
        idle_since = time.monotonic()
        while True:
            if self._pool.may_end(self, time.monotonic() - idle_since):
                return
            if self.rests:
                self._wait(self._rests_until - time.monotonic())
                continue
            if self._worker is None:
                self._begin()
                continue
            batch = self._pool.take(self._batch_chars())
            if batch:
                self._ask(self._worker, batch)
                idle_since = time.monotonic()
                continue
            self._wait(self._pool.idle_limit_s)
            if self._worker is not None and self._worker.gone():
                self._failed("it ended")

    def _begin(self) -> None:
        """Start a worker and wait for its engine."""
        began = time.monotonic()
        try:
            self._worker = Worker(self._pool.engine)
            if self._pool.closed:  # close() may not have seen it
                return
            self._pool.greeted(*self._worker.hello(self._pool.start_limit_s))
            self._is_up = True
        except OperatorError as error:
            self._set_ready(error)
            self._failed(f"its engine cannot be loaded: {error.what}")
        except Lost as lost:
            what = f"its worker process was lost while it started ({lost.why})"
            self._set_ready(OperatorError(self._pool.engine, what, "Try the engine outside the gateway"))
            self._failed(lost.why)
        else:
            logger.info("%s is ready after %.1f s", self._pool.name, time.monotonic() - began)
            self._set_ready(None)

    def _ask(self, worker: Worker, batch: Batch) -> None:
        texts = [job.texts[index] for job, index in batch]
        began = time.monotonic()
        try:
            # A batch is small: a worker that needs the whole time of a request for it hangs.
            answers = worker.ask(texts, max(job.deadline_s for job, _ in batch))
        except Lost as lost:
            self._failed(lost.why)
            self._pool.unanswered(batch)
            self._pool.give_up()
            return
        pace = (time.monotonic() - began) / max(1, sum(map(len, texts)))
        self._s_per_char = pace if not self._s_per_char else 0.7 * self._s_per_char + 0.3 * pace
        self._pool.answered(batch, answers)

    def _batch_chars(self) -> int:
        low, high = BATCH_CHARS
        return low if not self._s_per_char else min(high, max(low, int(BATCH_S / self._s_per_char)))

    def _failed(self, why: str) -> None:
        """Give the worker up; rest if that happened too often lately."""
        self._is_up = False
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        now = time.monotonic()
        self._failures.append(now)
        while self._failures[0] < now - FAILURES_S:
            self._failures.popleft()
        beyond = len(self._failures) - FREE_FAILURES
        then = ""
        if beyond > 0:
            rest_s = min(LONGEST_REST_S, 2.0**beyond)
            self._rests_until = now + rest_s
            self._pool.give_up()
            then = f"; its place rests for {rest_s:g} s. While all do, what is to be searched for names is refused"
        if not self._pool.closed:
            logger.warning("a worker of %s was lost: %s%s", self._pool.engine, why, then)

    def _set_ready(self, error: OperatorError | None) -> None:
        if self.ready.done():
            return
        if error is None:
            self.ready.set_result(None)
        else:
            self.ready.set_exception(error)

    def _wait(self, limit_s: float | None) -> None:
        """Sleep until there may be work, the worker speaks unasked (that is: dies), or time is over."""
        poll = select.poll()
        poll.register(self._signal_out, select.POLLIN)
        if self._worker is not None:
            poll.register(self._worker.fileno(), select.POLLIN)
        poll.poll(None if limit_s is None else max(1, int(limit_s * 1000) + 1))
        try:
            while os.read(self._signal_out, 4096):
                continue
        except BlockingIOError:
            return

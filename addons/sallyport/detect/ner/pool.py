"""Worker processes behind a bounded queue: one thread per worker, which starts it, asks it, and replaces it.

Texts of all callers share the workers fairly: each turn takes a text of every caller in line, so that a long
request delays a short one by a batch at most. A worker that crashes, hangs or answers nonsense is killed and
replaced at once; one that keeps doing so rests, and what asks meanwhile is refused without waiting.
Results are kept under a keyed digest, also those of a request that was not finished in time.
"""

import logging
import os
import select
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from sallyport.detect.cache import Cache, Hit
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.ner.process import Lost, Worker
from sallyport.errors import OperatorError

logger = logging.getLogger("sallyport.ner")

START_LIMIT_S = 60.0
"""Time for a worker to load its engine."""

BATCH_S = 0.1
"""A batch is as large as the worker is expected to answer in this time."""

BATCH_CHARS = (2_000, 32_000)
"""Characters of the first batch, before the worker's speed is known, and of the largest."""

FAILURES_S = 30.0
FREE_FAILURES = 2
LONGEST_REST_S = 60.0
"""Within FAILURES_S so many failures cost no pause; each further one rests a worker 2, 4, 8 ... seconds."""

RETIRED_IDLE_S = 10.0
"""A pool that was replaced ends its workers after so long without work; work that still comes starts one."""

type Answer = Future[list[tuple[Hit, ...]]]


@dataclass(eq=False, slots=True)
class _Job:
    """The texts of one caller that were not known. waiting: indexes of those not yet sent to a worker."""

    texts: list[str]
    keys: list[bytes]
    waiting: deque[int]
    deadline_s: float
    future: Answer
    hits: list[tuple[Hit, ...] | None]
    places: list[int]
    alone: bool = False
    left: int = field(init=False)
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.texts)
        self.deadline = time.monotonic() + self.deadline_s

    @property
    def over(self) -> bool:
        return self.future.done() or time.monotonic() >= self.deadline

    def fail(self, why: str) -> None:
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(ScanIncomplete(why))

    def finish(self) -> None:
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_result([hits or () for hits in self.hits])


type _Batch = list[tuple[_Job, int]]
"""Jobs and the index of a text in each."""


class Pool:
    """Workers of one engine. Thread-safe.

    engine: as detect.ner.engines.load takes it. start() before the first ask().
    name, revision: what the engine calls itself; empty before start() has returned.
    """

    def __init__(
        self,
        engine: str,
        workers: int = 1,
        *,
        cache_entries: int = 50_000,
        cache_bytes: int = 32_000_000,
        start_limit_s: float = START_LIMIT_S,
    ) -> None:
        self.engine = engine
        self.workers = workers
        self.name = ""
        self.revision = ""
        self.start_limit_s = start_limit_s
        self._cache = Cache(cache_entries, cache_bytes)
        self._lock = threading.Lock()
        self._line: OrderedDict[_Job, None] = OrderedDict()
        self._waiting_chars = 0
        self._lanes: list[_Lane] = []
        self._closed = False
        self._retired = False

    def start(self) -> None:
        """Start the workers and wait until all are ready. Raises OperatorError, and leaves nothing behind."""
        with self._lock:
            self._lanes = [_Lane(self) for _ in range(self.workers)]
            lanes = list(self._lanes)
        for lane in lanes:
            lane.start()
        try:
            for lane in lanes:
                lane.ready.result()
        except BaseException:
            self.close()
            raise

    def ask(self, texts: Sequence[str], deadline_s: float, max_queue_chars: int) -> Answer:
        """Return a future with the hits of every text, in order. Never blocks for a worker.

        It fails with ScanIncomplete when a text could not be looked at, or when more than max_queue_chars
        would wait. The caller gives up at its deadline and cancels it; a text not sent by then never is.
        """
        future: Answer = Future()
        keys = [self._cache.digest(text) for text in texts]
        hits = [self._cache.get(key) for key in keys]
        missing = [index for index, found in enumerate(hits) if found is None]
        if not missing:
            future.set_result([found or () for found in hits])
            return future
        job = _Job(
            texts=[texts[index] for index in missing],
            keys=[keys[index] for index in missing],
            waiting=deque(range(len(missing))),
            deadline_s=deadline_s,
            future=future,
            hits=hits,
            places=missing,
        )
        self._enqueue(job, max_queue_chars)
        future.add_done_callback(lambda _: self._forget(job))
        return future

    def retire(self) -> None:
        """End the workers once they have been idle; what is still asked is answered all the same."""
        with self._lock:
            self._retired = True
            lanes = list(self._lanes)
        for lane in lanes:
            lane.wake()

    def close(self) -> None:
        """Kill the workers and fail what waits. Returns when they are gone."""
        with self._lock:
            self._closed = True
            lanes, self._lanes = self._lanes, []
            jobs = self._emptied()
        for job in jobs:
            job.fail("the engine for names is being stopped")
        for lane in lanes:
            lane.stop()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers whose engine is loaded."""
        return tuple(lane.pid for lane in list(self._lanes) if lane.pid)

    @property
    def waiting_chars(self) -> int:
        """Characters that were asked and not yet sent to a worker."""
        return self._waiting_chars

    # -- for the lanes -------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._closed

    def greeted(self, name: str, revision: str) -> None:
        """Take note of an engine. Raises Lost if it is not the one that the others run."""
        with self._lock:
            if self.revision and revision != self.revision:
                raise Lost("its model was changed on disk; reload the policy to use the new one")
            self.name, self.revision = name, revision

    def take(self, max_chars: int) -> _Batch:
        """Return the next texts to ask, one of every job in line; empty if there are none."""
        batch: _Batch = []
        chars = 0
        late: list[_Job] = []
        with self._lock:
            while self._line and (not batch or chars < max_chars):
                job = next(iter(self._line))
                if job.over:
                    self._drop(job)
                    late.append(job)
                    continue
                if batch and job.alone and batch[0][0] is not job:
                    break
                index = job.waiting.popleft()
                chars += len(job.texts[index])
                self._waiting_chars -= len(job.texts[index])
                batch.append((job, index))
                if job.waiting:
                    self._line.move_to_end(job, last=not job.alone)
                else:
                    del self._line[job]
                    if job.alone:
                        break
        for job in late:
            job.fail("names were not found in time")
        return batch

    def answered(self, batch: _Batch, answers: Sequence[tuple[Hit, ...] | None]) -> None:
        done: list[_Job] = []
        failed: list[_Job] = []
        with self._lock:
            for (job, index), hits in zip(batch, answers, strict=True):
                if hits is None:
                    self._drop(job)
                    failed.append(job)
                    continue
                self._cache.put(job.keys[index], hits)
                job.hits[job.places[index]] = hits
                job.left -= 1
                if job.left == 0:
                    done.append(job)
        for job in failed:
            job.fail("the engine for names failed on a text")
        for job in done:
            job.finish()

    def unanswered(self, batch: _Batch) -> None:
        """Fail the one job of a lost batch; of several, ask each again by itself: one of them is to blame."""
        jobs = list({id(job): job for job, _ in batch}.values())
        if len(jobs) == 1 or self._closed:
            with self._lock:
                for job in jobs:
                    self._drop(job)
            for job in jobs:
                job.fail("the engine for names was lost")
            return
        with self._lock:
            for job, index in reversed(batch):
                job.alone = True
                job.waiting.appendleft(index)
                self._waiting_chars += len(job.texts[index])
                self._line[job] = None
            for job in reversed(jobs):
                self._line.move_to_end(job, last=False)

    def give_up(self) -> None:
        """Refuse what waits if no worker is left to do it."""
        with self._lock:
            jobs = self._emptied() if self._all_rest() else []
        for job in jobs:
            job.fail("the engine for names keeps failing")

    def may_end(self, lane: "_Lane", idle_s: float) -> bool:
        """Say whether an idle lane shall end; if so it is no longer one of this pool's."""
        with self._lock:
            if self._closed or (self._retired and idle_s >= RETIRED_IDLE_S and not self._line):
                if lane in self._lanes:
                    self._lanes.remove(lane)
                return True
            return False

    @property
    def idle_for_good(self) -> bool:
        """Whether it was retired and its workers have ended; a late text would start one again."""
        return self._retired and not self._lanes

    @property
    def idle_limit_s(self) -> float | None:
        return RETIRED_IDLE_S if self._retired else None

    def _enqueue(self, job: _Job, max_queue_chars: int) -> None:
        chars = sum(map(len, job.texts))
        with self._lock:
            why = ""
            if self._closed:
                why = "the engine for names is being stopped"
            elif self._lanes and self._all_rest():
                why = "the engine for names keeps failing"
            elif self._waiting_chars + chars > max_queue_chars:
                why = "more text waits for the engine for names than the policy allows"
            else:
                self._line[job] = None
                self._waiting_chars += chars
            if not why and not self._lanes:
                self._lanes.append(_Lane(self))
                self._lanes[0].start()
            lanes = list(self._lanes)
        if why:
            job.fail(why)
            return
        for lane in lanes:
            lane.wake()

    def _forget(self, job: _Job) -> None:
        """Take a job that was answered or given up out of the line, so that it makes no room scarce."""
        with self._lock:
            self._drop(job)

    def _drop(self, job: _Job) -> None:
        if self._line.pop(job, self) is None:
            self._waiting_chars -= sum(len(job.texts[index]) for index in job.waiting)

    def _emptied(self) -> list[_Job]:
        jobs = list(self._line)
        self._line.clear()
        self._waiting_chars = 0
        return jobs

    def _all_rest(self) -> bool:
        return all(lane.rests for lane in self._lanes)


class _Lane:
    """One worker and the thread that owns it. The thread lives as long as the worker's place.

    The kernel kills a worker when the thread that started it ends, so no other thread may start one.
    """

    def __init__(self, pool: Pool) -> None:
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
                self._set_ready(OperatorError(self._pool.engine, "it was stopped", "Start again"))
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

    def _ask(self, worker: Worker, batch: _Batch) -> None:
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
        if beyond > 0:
            self._rests_until = now + min(LONGEST_REST_S, 2.0**beyond)
            self._pool.give_up()
        if not self._pool.closed:
            logger.warning("a worker of %s was lost: %s", self._pool.engine, why)

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

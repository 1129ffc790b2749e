"""Worker processes behind a bounded queue: one thread per worker, which starts it, asks it, and replaces it.

Texts of all callers share the workers fairly: each turn takes a text of every caller in line, so that a long
request delays a short one by a batch at most. A worker that crashes, hangs or answers nonsense is killed and
replaced at once; one that keeps doing so rests, and what asks meanwhile is refused without waiting.
Results are kept under a keyed digest, also those of a request that was not finished in time.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future

from sallyport.detect.cache import Cache, Hit
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.ner.job import Answer, Batch, Job
from sallyport.detect.ner.lane import Lane
from sallyport.detect.ner.process import Lost

START_LIMIT_S = 60.0
"""Time for a worker to load its engine."""

RETIRED_IDLE_S = 10.0
"""A pool that was replaced ends its workers after so long without work; work that still comes starts one."""


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
        self._line: OrderedDict[Job, None] = OrderedDict()
        self._waiting_chars = 0
        self._lanes: list[Lane] = []
        self._closed = False
        self._retired = False

    def start(self) -> None:
        """Start the workers and wait until all are ready. Raises OperatorError, and leaves nothing behind."""
        with self._lock:
            self._lanes = [Lane(self) for _ in range(self.workers)]
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

        It fails with ScanIncomplete when a text could not be looked at, and with ScanLate when there was no time
        or no worker for it, or more than max_queue_chars would wait. The caller gives up at its deadline and
        cancels it; a text not sent by then never is.
        """
        future: Answer = Future()
        keys = [self._cache.digest(text) for text in texts]
        hits = [self._cache.get(key) for key in keys]
        missing = [index for index, found in enumerate(hits) if found is None]
        if not missing:
            future.set_result([found or () for found in hits])
            return future
        job = Job(
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

    def take(self, max_chars: int) -> Batch:
        """Return the next texts to ask, one of every job in line; empty if there are none."""
        batch: Batch = []
        chars = 0
        late: list[Job] = []
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

    def answered(self, batch: Batch, answers: Sequence[tuple[Hit, ...] | None]) -> None:
        done: list[Job] = []
        failed: list[Job] = []
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
            job.fail("the engine for names failed on a text", ScanIncomplete)
        for job in done:
            job.finish()

    def unanswered(self, batch: Batch) -> None:
        """Fail the one job of a lost batch; of several, ask each again by itself: one of them is to blame."""
        jobs = list({id(job): job for job, _ in batch}.values())
        if len(jobs) == 1 or self._closed:
            with self._lock:
                for job in jobs:
                    self._drop(job)
            for job in jobs:
                job.fail("the engine for names was lost", ScanIncomplete)
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

    def may_end(self, lane: "Lane", idle_s: float) -> bool:
        """Say whether an idle lane shall end; if so it is no longer one of this pool's."""
        with self._lock:
            ends = self._closed or (self._retired and idle_s >= RETIRED_IDLE_S and not self._line)
            if ends and lane in self._lanes:
                self._lanes.remove(lane)
            return ends

    def left(self, lane: Lane) -> None:
        """Forget a lane whose thread has ended, for whatever reason; the next text starts another."""
        with self._lock:
            if lane in self._lanes:
                self._lanes.remove(lane)

    @property
    def idle_for_good(self) -> bool:
        """Whether it was retired and its workers have ended; a late text would start one again."""
        return self._retired and not self._lanes

    @property
    def idle_limit_s(self) -> float | None:
        return RETIRED_IDLE_S if self._retired else None

    def _enqueue(self, job: Job, max_queue_chars: int) -> None:
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
                self._lanes.append(Lane(self))
                self._lanes[0].start()
            lanes = list(self._lanes)
        if why:
            job.fail(why)
            return
        for lane in lanes:
            lane.wake()

    def _forget(self, job: Job) -> None:
        """Take a job that was answered or given up out of the line, so that it makes no room scarce."""
        with self._lock:
            self._drop(job)

    def _drop(self, job: Job) -> None:
        if self._line.pop(job, self) is None:
            self._waiting_chars -= sum(len(job.texts[index]) for index in job.waiting)

    def _emptied(self) -> list[Job]:
        jobs = list(self._line)
        self._line.clear()
        self._waiting_chars = 0
        return jobs

    def _all_rest(self) -> bool:
        return all(lane.rests for lane in self._lanes)

"""Worker processes that share work and give the answers back in the order of the tasks.

They are forked, so that rules and models are loaded once and shared. Memory is bounded: a task is taken from
its source only while fewer than WINDOW tasks per worker wait for their turn. Nobody but this module talks to
the pipes: a worker is sent a task only while it waits for one, so that neither end can block the other.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Protocol

from sallyport.errors import OperatorError

WINDOW = 4
"""Tasks per worker that are under way or wait for an earlier one."""


class Source[Task](Protocol):
    """Where tasks come from. take() returns the next, or None where there is none yet; ended says whether
    there will be more. waits_on: the descriptor that is readable when take() has something, None for always.
    """

    @property
    def ended(self) -> bool: ...

    @property
    def waits_on(self) -> int | None: ...

    def take(self) -> Task | None: ...


class Crew[Task, Answer]:
    """Some workers that run one function. A context manager: at its end, however it ends, they are gone.

    Raises OperatorError when a worker dies, which happens when the machine has no memory left.
    """

    def __init__(self, work: Callable[[Task], Answer], processes: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        context = multiprocessing.get_context("fork")
        self._ours: list[Connection] = []
        self._processes = []
        # An interrupt waits until all have begun: one that is met before it ignores interrupts would tell of it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(processes):
                ours, theirs = context.Pipe()
                self._ours.append(ours)
                process = context.Process(target=_serve, args=(work, theirs, tuple(self._ours)), daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._idle = list(self._ours)
        self._busy: dict[Connection, int] = {}
        self._done: dict[int, Answer] = {}
        self._given = self._due = 0

    def __enter__(self) -> "Crew[Task, Answer]":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
        for connection in self._ours:
            connection.close()

    def answers(self, source: Source[Task]) -> Iterator[Answer]:
        """Yield the answer of every task of a source, in their order, as soon as it and all before are there."""
        while True:
            while self._idle and not source.ended and self._room() and source.waits_on is None:
                self._give(source.take())
            if not self._busy and source.ended:
                return
            listening = bool(self._idle) and not source.ended and self._room()
            self._collect(source, source.waits_on if listening else None)
            while self._due in self._done:
                answer = self._done.pop(self._due)
                self._due += 1
                yield answer

    def _room(self) -> bool:
        return self._given - self._due < WINDOW * len(self._ours)

    def _give(self, task: Task | None) -> None:
        if task is None:
            return
        worker = self._idle.pop()
        try:
            worker.send(task)
        except OSError:
            raise _dead() from None
        self._busy[worker] = self._given
        self._given += 1

    def _collect(self, source: Source[Task], descriptor: int | None) -> None:
        """Wait until an answer or a task is there, and take it."""
        waiting: list[Connection | int] = [*self._busy]
        if descriptor is not None:
            waiting.append(descriptor)
        for ready in wait(waiting):
            if ready == descriptor:
                self._give(source.take())
            elif isinstance(ready, Connection):
                number = self._busy.pop(ready)
                try:
                    answer = ready.recv()
                except (EOFError, OSError):
                    raise _dead() from None
                if isinstance(answer, _Failed):
                    raise OperatorError("scan", answer.why, "Please report it", exit_code=4)
                self._done[number] = answer
                self._idle.append(ready)


@dataclass(frozen=True, slots=True)
class _Failed:
    """An unforeseen exception of a worker: its type and place, for its text may quote what it worked on."""

    why: str

    @classmethod
    def of(cls, error: Exception) -> "_Failed":
        trace, place = error.__traceback__, ""
        while trace is not None:
            place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
            trace = trace.tb_next
        return cls(f"internal error: {type(error).__name__} at {place}")


def _dead() -> OperatorError:
    todo = "Look whether the machine ran out of memory, or use fewer of them: --jobs 1"
    return OperatorError("scan", "a worker process ended before its work was done", todo, exit_code=3)


def _serve[Task, Answer](
    work: Callable[[Task], Answer], tasks: Connection, others: tuple[Connection, ...]
) -> None:
    """Answer tasks until the other end has gone. A terminal's interrupt is the parent's to deal with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for other in others:  # or a sibling would keep open what must close when the parent ends
        other.close()
    with suppress(EOFError, OSError):
        while True:
            tasks.send(_done(work, tasks.recv()))


def _done[Task, Answer](work: Callable[[Task], Answer], task: Task) -> Answer | _Failed:
    try:
        return work(task)
    except Exception as error:
        return _Failed.of(error)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

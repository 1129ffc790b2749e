"""The processes that share a replay: they end with it, however it ends, and one that is lost is told of."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Any

from sallyport.errors import OperatorError

_PR_SET_PDEATHSIG = 1

type Submit = Callable[..., Future[Any]]


@contextmanager
def processes(count: int) -> Iterator[Submit]:
    """Yield what has a function called in one of so many processes. Only the main thread may call it.

    An error that leaves the block, an interrupt too, ends them at once. Raises OperatorError where one is lost.
    """
    before = {child.pid for child in active_children()}
    pool = ProcessPoolExecutor(count, get_context("spawn"), _tied, (os.getpid(),))

    def submit(work: Callable[..., Any], *given: Any) -> Future[Any]:
        # An interrupt of the terminal is for whoever began all this: what begins here never hears of it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(work, *given)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    try:
        yield submit
    except BaseException as error:
        for child in active_children():
            if child.pid not in before:
                child.kill()
        if isinstance(error, BrokenProcessPool):
            todo = "Look whether the machine ran out of memory, or use fewer of them: --jobs 1"
            what = "a worker process ended before its work was done"
            raise OperatorError("replay", what, todo, exit_code=3) from None
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Have an interrupt end an event loop at once.

    asyncio cancels the task at the first one, of which a task that never waits hears nothing.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _tied(parent: int) -> None:
    """Have the kernel end this process with the one that began it, which may be killed without a word."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)

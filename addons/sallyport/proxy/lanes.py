"""Where texts are searched that would hold up the event loop: threads, of which one works at a time.

A search gives the interpreter lock away a thousand times, and several at once wait for each other: six threads took
twice the processor time of one. But a search that takes long lets the next begin beside it, so that nobody waits long
for somebody else's text.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from weakref import WeakKeyDictionary

THREADS = 6


class Lane:
    """Searches one after another, as long as none takes long. For any number of event loops.

    alone_s: how long a search has the lane for itself; it may have a hostile text in hand.
    """

    def __init__(self, name: str, alone_s: float) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)
        self._alone_s = alone_s
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    async def run[T](self, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises. Who waits has the lane in the order of asking."""
        loop = asyncio.get_running_loop()
        turn = self._turns.setdefault(loop, asyncio.Semaphore())
        await turn.acquire()
        has_turn = True

        def next_one() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                turn.release()

        def over() -> None:
            timer.cancel()
            next_one()

        timer = loop.call_later(self._alone_s, next_one)
        searching = self._threads.submit(work)
        searching.add_done_callback(lambda _: _tell(loop, over))
        # A search that is given up goes on in its thread, and keeps its turn until it ends.
        return await asyncio.wrap_future(searching)


def _tell(loop: asyncio.AbstractEventLoop, over: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(over)

"""Where texts are searched that would hold up the event loop: threads, of which one works at a time.

A search gives the interpreter lock away a thousand times, and several at once wait for each other: six threads took
twice the processor time of one. But nobody waits long for somebody else's text.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

THREADS = 6


class Lane:
    """Searches one after another, as long as none takes long. For any number of event loops."""

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)
        self._last: asyncio.Future[None] | None = None

    async def run[T](self, work: Callable[[], T], patience_s: float) -> T:
        """Return what the work returns, or raise what it raises.

        patience_s: how long it waits for the one before it, which may have a hostile text in hand.
        """
        loop = asyncio.get_running_loop()
        before, mine = self._last, loop.create_future()
        self._last = mine
        try:
            if before is not None and not before.done() and before.get_loop() is loop:
                await asyncio.wait([before], timeout=patience_s)
            return await loop.run_in_executor(self._threads, work)
        finally:
            mine.set_result(None)

"""Deadlines of peers, who are not to blame for the time in which the gateway itself stood still."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

LATE_S = 0.5
"""A deadline that is met later than this says nothing of the peer: what it sent in time may lie unread."""

MOST_LATE = 3
"""So often a deadline begins again: a loop that is late every time would keep those who send nothing for ever."""


class Deadline:
    """Calls once a time has passed, unless it was cancelled before; begins again where the loop could not look, at most
    MOST_LATE times.
    """

    def __init__(self, within_s: float, missed: Callable[[], object]) -> None:
        self._within_s = within_s
        self._missed = missed
        self._again = MOST_LATE
        self._begin()

    def cancel(self) -> None:
        self._timer.cancel()

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + self._within_s
        self._timer = self._loop.call_at(self._due, self._pass)

    def _pass(self) -> None:
        if self._again and self._loop.time() - self._due > LATE_S:
            self._again -= 1
            self._begin()
        else:
            self._missed()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError, as asyncio.timeout does, where what is done here takes longer than a Deadline allows."""
    async with asyncio.timeout(None) as limit:
        deadline = Deadline(seconds, lambda: limit.reschedule(0))
        try:
            yield
        finally:
            deadline.cancel()

"""A deadline that an event loop which is busy elsewhere does not eat up.

asyncio.timeout reads the clock: where a burst of requests keeps the loop for half a second, it cancels calls
whose answer has long been there, and a store that is well counts as down. Here the time is counted in steps, of
which the loop must come round for each.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STEPS = 10


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError from the block after STEPS rounds of the loop that took seconds or more together."""
    loop = asyncio.get_running_loop()
    step_s, left = seconds / STEPS, STEPS

    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(step_s, lambda: tick())

        def tick() -> None:
            nonlocal left, timer
            left -= 1
            if left:
                timer = loop.call_later(step_s, tick)
            else:
                limit.reschedule(loop.time())

        try:
            yield
        finally:
            timer.cancel()

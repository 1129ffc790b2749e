"""Searches in threads: one at a time, and nobody waits long for somebody else's."""

import asyncio
import threading

import pytest

from sallyport.proxy.lanes import Lane


async def test_one_works_at_a_time() -> None:
    lane, at_once, most = Lane("test"), 0, 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        threading.Event().wait(0.002)
        with lock:
            at_once -= 1
        return number

    async with asyncio.timeout(20):
        found = await asyncio.gather(*(lane.run(lambda n=n: work(n), 15.0) for n in range(8)))  # type: ignore[misc]
    assert found == [*range(8)]
    assert most == 1


async def test_a_search_that_hangs_holds_nobody_up() -> None:
    lane, over = Lane("test"), threading.Event()
    hangs = asyncio.ensure_future(lane.run(lambda: over.wait(20), 0.0))
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            assert [await lane.run(lambda n=n: n, 0.05) for n in range(3)] == [0, 1, 2]  # type: ignore[misc]
        assert not hangs.done()
    finally:
        over.set()
    assert await hangs


async def test_what_fails_or_is_given_up_lets_the_next_begin() -> None:
    lane = Lane("test")
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0, 15.0)
    waits = asyncio.ensure_future(lane.run(lambda: 1, 15.0))
    waits.cancel()
    assert await lane.run(lambda: 2, 15.0) == 2


def test_two_loops_share_a_lane() -> None:
    lane = Lane("test")
    for _ in range(2):
        assert asyncio.run(lane.run(lambda: 3, 15.0)) == 3

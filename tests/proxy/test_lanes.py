"""Searches in threads: one at a time, and nobody waits long for somebody else's."""

import asyncio
import threading

import pytest

from sallyport.proxy.lanes import Lane


async def test_one_works_at_a_time() -> None:
    lane, at_once, most = Lane("test", alone_s=15.0), 0, 0
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
        found = await asyncio.gather(*(lane.run(lambda n=n: work(n)) for n in range(8)))  # type: ignore[misc]
    assert found == [*range(8)]
    assert most == 1


async def test_a_search_that_hangs_holds_nobody_up() -> None:
    lane, over = Lane("test", alone_s=0.05), threading.Event()
    hangs = asyncio.ensure_future(lane.run(lambda: over.wait(20)))
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            assert [await lane.run(lambda n=n: n) for n in range(3)] == [0, 1, 2]  # type: ignore[misc]
        assert not hangs.done()
    finally:
        over.set()
    assert await hangs


async def test_what_fails_or_is_given_up_lets_the_next_begin() -> None:
    lane = Lane("test", alone_s=15.0)
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0)
    waits = asyncio.ensure_future(lane.run(lambda: 1))
    waits.cancel()
    assert await lane.run(lambda: 2) == 2


async def test_one_that_is_given_up_while_it_waits_lets_nobody_past_the_one_at_work() -> None:
    lane, over, began = Lane("test", alone_s=15.0), threading.Event(), threading.Event()
    first = asyncio.ensure_future(lane.run(lambda: over.wait(20)))
    given_up = asyncio.ensure_future(lane.run(lambda: None))
    third = asyncio.ensure_future(lane.run(began.set))
    await asyncio.sleep(0.01)
    given_up.cancel()
    await asyncio.sleep(0.05)
    assert not began.is_set()
    over.set()
    async with asyncio.timeout(10):
        await asyncio.gather(first, third)
    assert began.is_set()


async def test_a_search_that_is_given_up_keeps_its_turn_until_it_ends() -> None:
    lane, over, began = Lane("test", alone_s=15.0), threading.Event(), threading.Event()
    first = asyncio.ensure_future(lane.run(lambda: over.wait(20)))
    await asyncio.sleep(0.01)
    first.cancel()
    second = asyncio.ensure_future(lane.run(began.set))
    await asyncio.sleep(0.05)
    assert not began.is_set()
    over.set()
    async with asyncio.timeout(10):
        await second


def test_two_loops_share_a_lane() -> None:
    lane = Lane("test", alone_s=15.0)
    for _ in range(2):
        assert asyncio.run(lane.run(lambda: 3)) == 3

"""A store that does not answer is given up in time; a loop that is busy elsewhere is not mistaken for one."""

import asyncio
import time

import pytest

from sallyport.state.ledger.patience import patience


async def test_a_call_that_never_answers_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        async with patience(0.05):
            await asyncio.Event().wait()


async def test_an_answer_that_lay_ready_while_the_loop_was_busy_is_taken() -> None:
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, answer.set_result, 7)
    asyncio.get_running_loop().call_soon(time.sleep, 0.15)
    async with patience(0.05):
        assert await answer == 7


async def test_who_is_cancelled_is_cancelled_and_what_is_raised_is_raised() -> None:
    async def wait() -> None:
        async with patience(10):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(KeyError):
        async with patience(10):
            raise KeyError

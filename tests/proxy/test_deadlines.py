"""A peer is late only by time in which the gateway could have listened."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

import pytest

from sallyport.proxy.deadlines import MOST_LATE, Deadline, within


class Clock:
    """A loop of nothing but timers. stand_still: time passes in which it does not look at them."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Any, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> Any:
        timer = asyncio.TimerHandle(when, call, (), self)  # type: ignore[arg-type]
        heapq.heappush(self._timers, (when, len(self._timers), timer, call))
        return timer

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: Any) -> None:
        pass

    def run_until(self, end: float) -> None:
        while self._timers and self._timers[0][0] <= end:
            when, _, timer, call = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled():
                call()
        self.now = max(self.now, end)

    def stand_still(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


def test_who_sends_nothing_is_late_when_the_time_is_over(clock: Clock) -> None:
    missed: list[float] = []
    Deadline(10, lambda: missed.append(clock.now))
    clock.run_until(9.9)
    assert missed == []
    clock.run_until(30)
    assert missed == [10]


def test_time_in_which_nobody_listened_does_not_count(clock: Clock) -> None:
    missed: list[float] = []
    Deadline(10, lambda: missed.append(clock.now))
    clock.run_until(4)
    clock.stand_still(8)
    clock.run_until(12)
    assert missed == []
    clock.run_until(40)
    assert missed == [22]


def test_a_loop_that_is_always_late_keeps_nobody_for_ever(clock: Clock) -> None:
    missed: list[float] = []
    Deadline(10, lambda: missed.append(clock.now))
    for _ in range(20):
        clock.stand_still(12)
        clock.run_until(clock.now)
    assert missed == [12 * (MOST_LATE + 1)]


def test_one_that_began_again_can_still_be_cancelled(clock: Clock) -> None:
    missed: list[float] = []
    deadline = Deadline(10, lambda: missed.append(clock.now))
    clock.stand_still(12)
    clock.run_until(12)
    deadline.cancel()
    clock.run_until(60)
    assert missed == []


async def test_what_takes_too_long_is_stopped_as_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with within(0.01):
            await asyncio.Event().wait()
    async with within(30):
        await asyncio.sleep(0)

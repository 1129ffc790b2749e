"""What a scan may take, and that it lets other threads run meanwhile."""

import pytest

from sallyport.detect import deadline
from sallyport.detect.deadline import Deadline
from sallyport.detect.errors import ScanIncomplete


class Clock:
    """Stands for the clocks of a thread that is looked at; sleeping is written down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rests: list[float] = []

    def monotonic(self) -> float:
        return self.now

    thread_time = monotonic

    def sleep(self, seconds: float) -> None:
        self.rests.append(self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(deadline, "time", clock)
    return clock


def test_a_scan_that_looks_often_rests_now_and_then_so_that_others_get_the_lock(clock: Clock) -> None:
    limit = Deadline(5.0, 5.0)
    for step in range(1, 10_000):
        clock.now = step / 1_000_000
        limit.check()
    gaps = [later - before for before, later in zip(clock.rests, clock.rests[1:], strict=False)]
    assert len(clock.rests) >= 3
    assert max(gaps) < 0.005


def test_a_short_scan_does_not_rest(clock: Clock) -> None:
    limit = Deadline(5.0, 5.0)
    for step in range(100):
        clock.now = step / 1_000_000
        limit.look()
    assert clock.rests == []


def test_time_that_is_over_is_told(clock: Clock) -> None:
    limit = Deadline(1.0, 5.0)
    clock.now = 1.0
    with pytest.raises(ScanIncomplete):
        limit.left()


def test_processor_time_that_is_over_is_told_with_what_is_set_aside(clock: Clock) -> None:
    limit = Deadline(5.0, 1.0)
    clock.now = 0.9
    limit.look()
    with pytest.raises(ScanIncomplete):
        limit.look(set_aside_s=0.2)

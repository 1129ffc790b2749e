"""The time by which what is old is removed goes on with the time that passes, whatever the clock is set to."""

import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sallyport.state.elapsed import DAY_MS, HOUR_MS, SETTLED_MS, Elapsed


class SetClock:
    """A host: its clock may be set, time passes, and it may be off."""

    def __init__(self) -> None:
        self.wall = time.time_ns() // 1_000_000
        self.uptime = HOUR_MS
        self.boots = 1

    def wall_ms(self) -> int:
        return self.wall

    def uptime_ms(self) -> int:
        return self.uptime

    def boot(self) -> str:
        return str(self.boots)

    def pass_by(self, ms: int) -> None:
        self.wall += ms
        self.uptime += ms

    def off(self, ms: int) -> None:
        self.wall += ms
        self.uptime = 1000
        self.boots += 1


def at(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def made(folder: Path, clock: SetClock, latest: datetime | None = None) -> Elapsed:
    return Elapsed(folder / "elapsed", latest, clock)


def test_it_is_the_time_of_day_as_long_as_that_goes_as_time_does(tmp_path: Path, clock: SetClock) -> None:
    elapsed = made(tmp_path, clock)
    for step in (0, 1, HOUR_MS, 9 * DAY_MS):
        clock.pass_by(step)
        clock.wall += HOUR_MS // 2  # a little off, as NTP mends it
        assert elapsed.now() == at(clock.wall)


def test_a_clock_set_ahead_counts_when_it_has_stood_for_days(
    tmp_path: Path, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    elapsed, began = made(tmp_path, clock), clock.wall
    elapsed.now()
    clock.wall += 400 * DAY_MS
    with caplog.at_level(logging.WARNING, logger="sallyport.clock"):
        for passed in range(3):
            assert elapsed.now() == at(began + passed * DAY_MS)
            clock.pass_by(DAY_MS)
    assert len(caplog.records) == 1
    assert "72 hours" in caplog.records[0].getMessage()
    assert elapsed.now() == at(clock.wall)


def test_a_clock_set_ahead_and_back_has_changed_nothing(tmp_path: Path, clock: SetClock) -> None:
    elapsed = made(tmp_path, clock)
    elapsed.now()
    clock.wall += 400 * DAY_MS
    elapsed.now()
    clock.pass_by(2 * DAY_MS)
    clock.wall -= 400 * DAY_MS
    assert elapsed.now() == at(clock.wall)
    clock.wall += 400 * DAY_MS
    clock.pass_by(2 * DAY_MS)
    assert elapsed.now() == at(clock.wall - 400 * DAY_MS), "it had to stand for three days anew"


def test_a_clock_set_back_counts_at_once(tmp_path: Path, clock: SetClock) -> None:
    elapsed = made(tmp_path, clock)
    elapsed.now()
    clock.wall -= 400 * DAY_MS
    assert elapsed.now() == at(clock.wall)


@pytest.mark.parametrize("removed", [False, True], ids=["its file is there", "its file was removed"])
def test_a_restart_under_a_clock_set_ahead_makes_nothing_old(
    removed: bool, tmp_path: Path, clock: SetClock
) -> None:
    made(tmp_path, clock).now()
    latest = at(clock.wall)
    clock.wall += 400 * DAY_MS
    if removed:
        (tmp_path / "elapsed").unlink()
    again = made(tmp_path, clock, latest)
    assert again.now() == latest
    clock.pass_by(SETTLED_MS)
    assert again.now() == at(clock.wall)


def test_days_in_which_the_gateway_is_down_and_the_host_is_not_have_passed(
    tmp_path: Path, clock: SetClock
) -> None:
    made(tmp_path, clock).now()
    clock.pass_by(40 * DAY_MS)
    assert made(tmp_path, clock).now() == at(clock.wall)
    clock.pass_by(40 * DAY_MS)
    clock.wall += 2 * HOUR_MS
    assert made(tmp_path, clock).now() == at(clock.wall - 2 * HOUR_MS), (
        "a leap just now has not stood for days"
    )


def test_a_host_that_was_off_for_long_waits_and_for_a_night_does_not(tmp_path: Path, clock: SetClock) -> None:
    made(tmp_path, clock).now()
    clock.off(DAY_MS // 2)
    assert made(tmp_path, clock).now() == at(clock.wall)
    was = clock.wall
    clock.off(60 * DAY_MS)
    assert made(tmp_path, clock).now() == at(was)
    for _ in range(7):  # on by day, off by night
        elapsed = made(tmp_path, clock)
        for _ in range(12):
            elapsed.now()
            clock.pass_by(HOUR_MS)
        now = elapsed.now()
        clock.off(DAY_MS // 2)
    assert now == at(clock.wall - DAY_MS // 2)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"boot": 1}', b"\xff", b'{"counted_ms": -9e99}'])
def test_a_file_that_is_none_is_written_anew(content: bytes, tmp_path: Path, clock: SetClock) -> None:
    file = tmp_path / "elapsed"
    file.write_bytes(content)
    assert made(tmp_path, clock).now() == at(clock.wall)
    assert b"counted_ms" in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0

"""The time by which what is old is removed goes on with the time that passes, whatever the clock is set to."""

import json
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


def test_a_later_leap_has_to_stand_as_long_itself(tmp_path: Path, clock: SetClock) -> None:
    """The first one, of two hours, has stood when the second comes: that would have taken everything with it."""
    elapsed = made(tmp_path, clock)
    elapsed.now()
    clock.wall += 2 * HOUR_MS
    for _ in range(72):
        elapsed.now()
        clock.pass_by(HOUR_MS)
    clock.wall += 400 * DAY_MS
    first = clock.wall - 400 * DAY_MS
    for hour in range(72):
        elapsed = elapsed if hour % 9 else made(tmp_path, clock)  # restarts change nothing
        assert elapsed.now() == at(first + hour * HOUR_MS)
        clock.pass_by(HOUR_MS)
    assert elapsed.now() == at(clock.wall)


def test_a_later_leap_is_told_of_with_the_time_that_it_takes(
    tmp_path: Path, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    elapsed = made(tmp_path, clock)
    elapsed.now()
    with caplog.at_level(logging.WARNING, logger="sallyport.clock"):
        clock.wall += 2 * HOUR_MS
        elapsed.now()
        clock.pass_by(DAY_MS)
        clock.wall += 400 * DAY_MS
        elapsed.now()
        for _ in range(119):
            clock.pass_by(HOUR_MS)
            assert elapsed.now() < at(clock.wall - 300 * DAY_MS)
    for record, hours in zip(caplog.records, (72, 120, 72), strict=True):
        assert f"{hours} hours more" in record.getMessage()
    clock.pass_by(HOUR_MS)
    assert elapsed.now() == at(clock.wall)


def test_a_clock_that_dips_for_a_moment_has_changed_nothing(tmp_path: Path, clock: SetClock) -> None:
    elapsed = made(tmp_path, clock)
    elapsed.now()
    for _ in range(5):
        right, clock.wall = clock.wall, 0
        assert elapsed.now() == at(0), "nothing is older than the clock says"
        clock.wall = right
        assert elapsed.now() == at(clock.wall)
        clock.pass_by(DAY_MS)
        assert elapsed.now() == at(clock.wall)


def test_a_leap_seen_before_and_after_a_clock_that_was_set_back_stands_anew(
    tmp_path: Path, clock: SetClock
) -> None:
    elapsed, began = made(tmp_path, clock), clock.wall
    elapsed.now()
    clock.wall += 400 * DAY_MS
    elapsed.now()
    clock.pass_by(2 * DAY_MS)
    elapsed.now()
    clock.wall -= 500 * DAY_MS
    elapsed.now()
    clock.wall += 500 * DAY_MS
    elapsed.now()
    clock.pass_by(2 * DAY_MS)
    assert elapsed.now() == at(began + 4 * DAY_MS)


def test_the_count_follows_a_clock_that_was_set_back_for_days(tmp_path: Path, clock: SetClock) -> None:
    elapsed = made(tmp_path, clock)
    elapsed.now()
    clock.wall -= 400 * DAY_MS
    for hour in range(73):
        elapsed = elapsed if hour % 9 else made(tmp_path, clock)
        assert elapsed.now() == at(clock.wall)
        clock.pass_by(HOUR_MS)
    clock.wall += 300 * DAY_MS
    assert elapsed.now() == at(clock.wall - 300 * DAY_MS), "a leap from where it stood"


def test_a_host_that_begins_in_1970_at_each_boot_goes_on(tmp_path: Path, clock: SetClock) -> None:
    def boot(off: int) -> None:
        clock.off(off)
        right, clock.wall = clock.wall, 1000
        elapsed = made(tmp_path, clock)
        assert elapsed.now() == at(1000)
        clock.pass_by(60_000)
        elapsed.now()
        clock.wall = right + 60_000  # NTP has set it

    made(tmp_path, clock).now()
    for _ in range(9):  # on by day, off by night
        boot(DAY_MS // 2)
        assert made(tmp_path, clock).now() == at(clock.wall)
        clock.pass_by(DAY_MS // 2)
    made(tmp_path, clock).now()
    was = clock.wall
    boot(60 * DAY_MS)
    assert made(tmp_path, clock).now() < at(was + HOUR_MS)
    for _ in range(7):
        clock.pass_by(DAY_MS // 2)
        made(tmp_path, clock).now()
        boot(DAY_MS // 2)
        now = made(tmp_path, clock).now()
        if now == at(clock.wall):
            break
    assert now == at(clock.wall), "nights do not begin its three days anew"


def test_a_leap_after_a_boot_is_no_night(tmp_path: Path, clock: SetClock) -> None:
    made(tmp_path, clock).now()
    clock.off(DAY_MS // 2)
    made(tmp_path, clock).now()
    clock.wall += DAY_MS // 2
    again = made(tmp_path, clock)
    assert again.now() == at(clock.wall - DAY_MS // 2)


def test_a_host_that_is_off_each_weekend_lags_behind_by_a_fortnight_at_most(
    tmp_path: Path, clock: SetClock
) -> None:
    """A leap that begins anew whatever has stood already would never count here: nothing would be removed."""
    made(tmp_path, clock).now()
    for _ in range(30):
        for day in range(5):
            elapsed = made(tmp_path, clock)
            for _ in range(10):
                clock.pass_by(HOUR_MS)
                now = elapsed.now()
            assert at(clock.wall - 14 * DAY_MS) <= now <= at(clock.wall)
            clock.off((14 if day < 4 else 62) * HOUR_MS)


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


def test_a_file_of_an_earlier_version_is_read_and_its_leap_stands_anew(
    tmp_path: Path, clock: SetClock
) -> None:
    began = clock.wall
    said = {"boot": clock.boot(), "uptime_ms": clock.uptime, "counted_ms": began, "ahead_ms": SETTLED_MS - 1}
    (tmp_path / "elapsed").write_text(json.dumps(said))
    clock.wall += 400 * DAY_MS
    clock.pass_by(HOUR_MS)
    elapsed = made(tmp_path, clock)
    assert elapsed.now() == at(began + HOUR_MS)
    clock.pass_by(SETTLED_MS)
    assert elapsed.now() == at(clock.wall)


@pytest.mark.parametrize(
    "forged",
    [
        {"ahead_ms": SETTLED_MS, "least_ms": 400 * DAY_MS},
        {"ahead_ms": 1 << 80, "least_ms": 1 << 80},
        {"uptime_ms": -(1 << 60)},
        {"beyond_ms": 400 * DAY_MS, "booting": True, "boot": "another"},
        {"beyond_ms": -400 * DAY_MS, "booting": True},
        {"behind_ms": SETTLED_MS, "lack_ms": -400 * DAY_MS},
        {"behind_ms": "x", "lack_ms": []},
        {"least_ms": None, "ahead_ms": 1},
        {"beyond_ms": None},
    ],
    ids=str,
)
def test_a_file_that_was_changed_makes_nothing_old(
    forged: dict[str, object], tmp_path: Path, clock: SetClock
) -> None:
    made(tmp_path, clock).now()
    file, began = tmp_path / "elapsed", clock.wall
    file.write_text(json.dumps(json.loads(file.read_text()) | forged))
    clock.wall += 400 * DAY_MS
    elapsed = made(tmp_path, clock, at(began))
    for _ in range(3):
        assert elapsed.now() <= at(began + DAY_MS)
        clock.pass_by(HOUR_MS)


def test_a_file_that_says_nothing_of_a_key_is_read_without_it(tmp_path: Path, clock: SetClock) -> None:
    made(tmp_path, clock).now()
    file, began = tmp_path / "elapsed", clock.wall
    whole = json.loads(file.read_text())
    clock.wall += 400 * DAY_MS
    for key in whole:
        file.write_text(json.dumps({name: value for name, value in whole.items() if name != key}))
        assert made(tmp_path, clock, at(began)).now() == at(began), key

"""The time by which a gateway removes what is old: a clock that leaps makes nothing old at once.

Whoever sets the clock ahead, by mistake or through NTP, would else have the audit, kept content and captures removed
within the hour, and nothing brings them back. So what counts is the time that passes on this host, in which the
gateway may be down. What the time of day has beyond that (it was set, or the host was off) counts as soon as it has
stood for SETTLED_MS of the time that passes; what a later leap adds has to stand as long itself. Nothing is older than
the time of day says, so a clock that is set back counts at once; but the count goes on beside it, and follows it when
it has stood as long. Hosts without a clock of their own begin in 1970 at each boot, until NTP sets them.
"""

import json
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sallyport.files import PRIVATE, write_file
from sallyport.state.ledger.clocks import Clock, SystemClock

logger = logging.getLogger("sallyport.clock")

FILE = "elapsed"
"""Its name in the confdir of a gateway."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SETTLED_MS = 3 * DAY_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What is known. counted_ms: the time that counts, as far as the time of day is no earlier.

    ahead_ms: for how long the time of day has been seen more than an hour beyond it, None where it is not; least_ms:
    the least that it has been beyond in that time. beyond_ms: how far it was beyond when it was last seen not to be
    behind. behind_ms, lack_ms: the same as the first two, of a time of day more than an hour behind. booting: it has
    been nothing else since this boot.
    """

    boot: str
    uptime_ms: int
    counted_ms: int
    ahead_ms: int | None = None
    least_ms: int = 0
    beyond_ms: int = 0
    behind_ms: int | None = None
    lack_ms: int = 0
    booting: bool = False


class Elapsed:
    """Gives the time that counts. Thread-safe; now() may write a small file.

    latest: when the newest event of the log was written, None where there is none; where there is no file yet, the
    time is counted from there.
    was_noted: whether the file told how much has passed.
    """

    def __init__(self, file: Path, latest: datetime | None, clock: Clock | None = None) -> None:
        self._file = file
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._written: _Counted | None = self._read()
        self.was_noted = self._written is not None
        self._known = self._written or self._first(latest)
        self._told = False

    def now(self) -> datetime:
        """Return the time of day, or an earlier time where that has leapt."""
        with self._lock:
            wall = self._clock.wall_ms()
            self._known = self._next(self._known, wall)
            self._keep()
            return _instant(min(self._known.counted_ms, wall))

    def _next(self, last: _Counted, wall: int) -> _Counted:
        uptime, boot = self._clock.uptime_ms(), self._clock.boot()
        same = last.boot == boot and uptime >= last.uptime_ms
        passed = uptime - last.uptime_ms if same else 0
        now = replace(
            last,
            boot=boot,
            uptime_ms=uptime,
            counted_ms=last.counted_ms + passed,
            booting=last.booting or not same,
        )
        if wall < now.counted_ms - HOUR_MS:
            return _behind(now, now.counted_ms - wall, passed)
        beyond = wall - now.counted_ms
        if now.booting and 0 < beyond - last.beyond_ms <= DAY_MS:
            # Nobody knows for how long a host was off; a night of it is nothing to wait for.
            now = replace(now, counted_ms=wall - last.beyond_ms)
            beyond = last.beyond_ms
        now = _ahead(now, beyond, passed)
        if now.ahead_ms is None or now.ahead_ms < (last.ahead_ms or 0) or beyond - last.beyond_ms > HOUR_MS:
            self._told = False
        if now.ahead_ms is not None and not self._told:
            self._told = True
            self._tell(now, wall)
        return now

    def _tell(self, now: _Counted, wall: int) -> None:
        assert now.ahead_ms is not None
        # What came to an earlier leap begins to stand when that counts.
        left = SETTLED_MS - now.ahead_ms + (SETTLED_MS if now.beyond_ms - now.least_ms > HOUR_MS else 0)
        logger.warning(
            "the clock says %s, and by the time that has passed here it would be %s: it was set, or this host was off. "
            "Nothing that the policy keeps for a time is removed by that clock before it has stood for %d hours more; "
            "if it is wrong, set it right",
            _shown(wall),
            _shown(now.counted_ms),
            -(-left // HOUR_MS),
        )

    def _first(self, latest: datetime | None) -> _Counted:
        wall = self._clock.wall_ms()
        seen = wall if latest is None else (latest - _EPOCH) // timedelta(milliseconds=1)
        return _Counted("", 0, min(seen, wall))

    def _read(self) -> _Counted | None:
        """Return what the file holds, None where there is none that can be read: it is written anew then."""
        try:
            said = json.loads(self._file.read_bytes())
            ahead, least = _stood(said, "ahead_ms", "least_ms")
            behind, lack = _stood(said, "behind_ms", "lack_ms")
            return _Counted(
                str(said["boot"]),
                max(0, int(said["uptime_ms"])),
                max(0, int(said["counted_ms"])),
                ahead,
                least,
                max(0, int(said.get("beyond_ms", 0))),
                behind,
                lack,
                said.get("booting") is True,
            )
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def _keep(self) -> None:
        """Write what is known where it is another hour, or the clock has leapt or settled since."""
        last, now = self._written, self._known
        if last is not None and _is_near(last, now):
            return
        with suppress(
            OSError
        ):  # on the same boot nothing is lost by it, and a disk that is full is told elsewhere
            write_file(self._file, json.dumps(asdict(now)).encode(), PRIVATE)
            self._written = now


def _ahead(now: _Counted, beyond: int, passed: int) -> _Counted:
    """Return what is known of a time of day that is not behind."""
    counted, ahead, least = now.counted_ms, 0, beyond
    if now.ahead_ms is not None:
        ahead, least = now.ahead_ms + passed, min(now.least_ms, beyond)
    if ahead >= SETTLED_MS:
        counted, beyond, ahead, least = counted + least, beyond - least, 0, beyond - least
    if beyond <= HOUR_MS:
        return _Counted(now.boot, now.uptime_ms, counted + beyond)
    return _Counted(now.boot, now.uptime_ms, counted, ahead, least, beyond)


def _behind(now: _Counted, lack: int, passed: int) -> _Counted:
    """Return what is known where the time of day is behind; what it was ahead stays where it just began anew."""
    behind, least = 0, lack
    if now.behind_ms is not None:
        behind, least = now.behind_ms + passed, min(now.lack_ms, lack)
    if behind >= SETTLED_MS:
        counted, lack, behind, least = now.counted_ms - least, lack - least, 0, lack - least
        now = _Counted(now.boot, now.uptime_ms, counted)
        if lack <= HOUR_MS:
            return replace(now, counted_ms=counted - lack)
    if not now.booting:
        now = replace(now, ahead_ms=None, least_ms=0, beyond_ms=0)
    return replace(now, behind_ms=behind, lack_ms=least)


def _is_near(last: _Counted, now: _Counted) -> bool:
    """Say whether a file that holds the first is as good as one that holds the second."""
    return (
        last.boot == now.boot
        and now.uptime_ms - last.uptime_ms < HOUR_MS // 2
        and abs(now.beyond_ms - last.beyond_ms) <= HOUR_MS
        and (last.ahead_ms is None, last.behind_ms is None, last.booting)
        == (now.ahead_ms is None, now.behind_ms is None, now.booting)
    )


def _stood(said: Mapping[str, Any], name: str, least: str) -> tuple[int | None, int]:
    """Return for how long a file says that the clock stood elsewhere, and by how much at least.

    A file of an earlier version does not say how much, and none says longer than it takes: that begins anew.
    """
    stood = said[name] if name == "ahead_ms" else said.get(name)
    if stood is None or least not in said or not 0 <= int(stood) < SETTLED_MS:
        return None, 0
    return int(stood), max(0, int(said[least]))


def _instant(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def _shown(ms: int) -> str:
    return f"{_instant(ms):%Y-%m-%d %H:%M} UTC"

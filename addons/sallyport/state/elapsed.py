"""The time by which a gateway removes what is old: a clock that leaps makes nothing old at once.

Whoever sets the clock ahead, by mistake or through NTP, would else have the audit, kept content and captures removed
within the hour, and nothing brings them back. So what counts is the time that passes on this host, in which the
gateway may be down. What the time of day has beyond that (it was set, or the host was off) counts as soon as it has
stood for SETTLED_MS of the time that passes; a clock that is set back counts at once.
"""

import json
import logging
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
    """What is known. counted_ms: the time that counts. ahead_ms: for how long the time of day has been seen beyond it,
    None where it is not.
    """

    boot: str
    uptime_ms: int
    counted_ms: int
    ahead_ms: int | None = None


class Elapsed:
    """Gives the time that counts. Thread-safe; now() may write a small file.

    latest: when the newest event of the log was written, None where there is none; where there is no file yet, the
    time is counted from there.
    """

    def __init__(self, file: Path, latest: datetime | None, clock: Clock | None = None) -> None:
        self._file = file
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._written: _Counted | None = self._read()
        self._known = self._written or self._first(latest)
        self._told = False

    def now(self) -> datetime:
        """Return the time of day, or an earlier time where that has leapt."""
        with self._lock:
            self._known = self._next(self._known)
            self._keep()
            return _instant(self._known.counted_ms)

    def _next(self, last: _Counted) -> _Counted:
        wall, uptime, boot = self._clock.wall_ms(), self._clock.uptime_ms(), self._clock.boot()
        same = last.boot == boot and uptime >= last.uptime_ms
        passed = uptime - last.uptime_ms if same else 0
        counted = min(last.counted_ms + passed, wall)
        # Nobody knows for how long a host was off; a night of it is nothing to wait for.
        ahead = None if last.ahead_ms is None else last.ahead_ms + passed
        if wall - counted <= (HOUR_MS if same else DAY_MS) or (ahead or 0) >= SETTLED_MS:
            self._told = False
            return _Counted(boot, uptime, wall)
        now = _Counted(boot, uptime, counted, ahead or 0)
        if not self._told:
            self._told = True
            self._tell(now, wall)
        return now

    def _tell(self, now: _Counted, wall: int) -> None:
        assert now.ahead_ms is not None
        logger.warning(
            "the clock says %s, and by the time that has passed here it would be %s: it was set, or this host was off. "
            "Nothing that the policy keeps for a time is removed by that clock before it has stood for %d hours more; "
            "if it is wrong, set it right",
            _shown(wall),
            _shown(now.counted_ms),
            -(-(SETTLED_MS - now.ahead_ms) // HOUR_MS),
        )

    def _first(self, latest: datetime | None) -> _Counted:
        wall = self._clock.wall_ms()
        seen = wall if latest is None else (latest - _EPOCH) // timedelta(milliseconds=1)
        return _Counted("", 0, min(seen, wall))

    def _read(self) -> _Counted | None:
        """Return what the file holds, None where there is none that can be read: it is written anew then."""
        try:
            said = json.loads(self._file.read_bytes())
            ahead = said["ahead_ms"]
            return _Counted(
                str(said["boot"]),
                int(said["uptime_ms"]),
                max(0, int(said["counted_ms"])),
                None if ahead is None else int(ahead),
            )
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def _keep(self) -> None:
        """Write what is known where it is another hour, or the clock has leapt or settled since."""
        last, now = self._written, self._known
        is_near = last is not None and last.boot == now.boot and now.uptime_ms - last.uptime_ms < HOUR_MS // 2
        if is_near and last is not None and (last.ahead_ms is None) == (now.ahead_ms is None):
            return
        with suppress(
            OSError
        ):  # on the same boot nothing is lost by it, and a disk that is full is told elsewhere
            write_file(self._file, json.dumps(asdict(now)).encode(), PRIVATE)
            self._written = now


def _instant(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def _shown(ms: int) -> str:
    return f"{_instant(ms):%Y-%m-%d %H:%M} UTC"

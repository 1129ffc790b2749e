"""Clocks that never go back and never jump while the machine runs, in milliseconds since 1970 (UTC)."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """What a store reads the time from; tests give it what they like."""

    def wall_ms(self) -> int:
        """Return the time of day, which an operator or NTP may set to anything."""
        ...

    def uptime_ms(self) -> int:
        """Return a count that only time advances, the same for all processes since one boot."""
        ...

    def boot(self) -> str:
        """Return what differs after a reboot."""
        ...


class SystemClock:
    """The clocks of Linux; elsewhere every process counts as a boot of its own."""

    def __init__(self) -> None:
        try:
            self._boot = _BOOT_ID.read_text().strip()
        except OSError:
            self._boot = f"process-{time.time_ns()}"
        source = getattr(time, "CLOCK_BOOTTIME", None)
        self._uptime: Callable[[], float] = (
            time.monotonic if source is None else lambda: time.clock_gettime(source)
        )

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def uptime_ms(self) -> int:
        return int(self._uptime() * 1000)

    def boot(self) -> str:
        return self._boot


class AnchoredClock:
    """The wall time at the start of the process, and from then on only what has elapsed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anchor_ms = clock.wall_ms() - clock.uptime_ms()

    def now_ms(self) -> int:
        return self._anchor_ms + self._clock.uptime_ms()

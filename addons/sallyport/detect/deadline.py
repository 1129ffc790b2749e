"""What one scan may take. A scan that takes more has not looked at everything, and says so."""

from __future__ import annotations

import time

from sallyport.detect.errors import ScanIncomplete, ScanLate
from sallyport.detect.settings import DetectionSettings

_LOOK_AT_CLOCK = 32

_HOLDS_S = 0.002
"""How long a thread may keep the interpreter lock from others, and then rests, so that they get it."""

_RESTS_S = 20e-6
"""An engine that gives the lock back for every match takes it again before a waiting thread has woken, which then
begins to wait anew; only a rest is long enough."""

MAX_FOUND = 20_000
"""Findings of one scan: as many originals as the vault keeps for a conversation. Behind the scan that many take
0.4 s of processor time."""

TOO_MANY = f"the texts hold more than {MAX_FOUND} findings"


class Deadline:
    """What one scan may take: time on the clock, processor time of the thread that makes it, and hits."""

    def __init__(self, seconds: float, cpu_s: float) -> None:
        self._end = time.monotonic() + seconds
        self._cpu_end = time.thread_time() + cpu_s
        self._asked = 0
        self._hits = 0
        self._rests_at = time.monotonic() + _HOLDS_S

    @classmethod
    def of(cls, settings: DetectionSettings, chars: int) -> Deadline:
        """chars: of all texts together."""
        return cls(settings.deadline_s, settings.cpu_s * max(1.0, chars / 1_000_000))

    def check(self) -> None:
        """Look at the clocks now and then. Raises ScanIncomplete when the time is over."""
        self._asked += 1
        if self._asked % _LOOK_AT_CLOCK == 1:
            self.look()

    def count(self) -> None:
        """Count a hit. Raises ScanIncomplete when there are more than anybody could look through."""
        self._hits += 1
        if self._hits > MAX_FOUND:
            raise ScanIncomplete(TOO_MANY)

    def look(self, set_aside_s: float = 0.0) -> None:
        """Look at both clocks. set_aside_s: processor time still needed. Raises ScanIncomplete."""
        self.left()
        if time.thread_time() + set_aside_s > self._cpu_end:
            raise ScanIncomplete("the scan used up its processor time")

    def left(self) -> float:
        """Return the seconds left on the clock. Raises ScanLate."""
        now = time.monotonic()
        if now >= self._rests_at:
            time.sleep(_RESTS_S)
            self._rests_at = now + _HOLDS_S
        left = self._end - now
        if left <= 0:
            raise ScanLate("the scan exceeded its deadline")
        return left

"""Ids that sort by the time they were made: UUID version 7 (RFC 9562, method 3), with hyphens, 36 characters.

The first 18 characters hold milliseconds and a fraction of one; they differ between any two ids of a process.
"""

import os
import threading
import time

SHORT_CHARS = 18

_lock = threading.Lock()
_latest = 0


def new_id() -> str:
    """Return an id greater than every id this process made before, also when the clock went back."""
    global _latest
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    stamp = milliseconds << 12 | rest * 4096 // 1_000_000
    with _lock:
        _latest = stamp = max(stamp, _latest + 1)
    random = int.from_bytes(os.urandom(8), "big") & (1 << 62) - 1
    number = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

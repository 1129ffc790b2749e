"""Ids that sort by the time they were made: UUID version 7 (RFC 9562, method 3), with hyphens, 36 characters.

The first 18 characters hold milliseconds and a fraction of one; they differ between any two ids of a process.
"""

import os
import struct
import threading
import time
from datetime import datetime

SHORT_CHARS = 18

_lock = threading.Lock()
_latest = 0
_pool: list[int] = []
"""Random numbers not used yet: to ask the kernel for each costs more than the rest of an id."""

os.register_at_fork(after_in_child=_pool.clear)


def new_id() -> str:
    """Return an id greater than every id this process made before, also when the clock went back."""
    global _latest
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    stamp = milliseconds << 12 | rest * 4096 // 1_000_000
    with _lock:
        _latest = stamp = max(stamp, _latest + 1)
        if not _pool:
            _pool.extend(struct.unpack("128Q", os.urandom(1024)))
        random = _pool.pop() & (1 << 62) - 1
    number = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def first_id(at: datetime) -> str:
    """Return an id that sorts before all ids made from a time on."""
    milliseconds = max(0, int(at.timestamp() * 1000))
    digits = f"{milliseconds << 80:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

"""Many flows by the time at which they began, in memory that does not grow with them: sorted runs in a file, merged."""

import heapq
import os
import struct
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

_ENTRY = struct.Struct(">dIQ")
"""Seconds (not negative, so that bytes sort as numbers do), number of the file, place in it."""

RUN = 65_536
"""Entries that are sorted in memory: 6 MiB."""

_READ = 4096 * _ENTRY.size


class Order:
    """Takes flows in any order, and gives them back by time, file and place. Close it, or use it in `with`."""

    def __init__(self, run: int = RUN) -> None:
        self._run = run
        self._last: list[bytes] = []
        self._runs: list[tuple[int, int]] = []
        self._handle, name = tempfile.mkstemp(prefix="sallyport-replay-")
        os.unlink(name)  # it holds times and offsets, and goes with the process
        self._written = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, seconds: float, file: int, at: int) -> None:
        """Take a flow. seconds: not negative."""
        self._last.append(_ENTRY.pack(seconds + 0.0, file, at))  # -0.0 would be the last of all
        self._count += 1
        if len(self._last) >= self._run:
            self._spill()

    def _spill(self) -> None:
        self._last.sort()
        data = b"".join(self._last)
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]
        self._runs.append((self._written, len(data)))
        self._written += len(data)
        self._last = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield file and place of each."""
        self._last.sort()
        for entry in heapq.merge(*(self._entries(*run) for run in self._runs), self._last):
            _, file, at = _ENTRY.unpack(entry)
            yield file, at

    def _entries(self, start: int, size: int) -> Iterator[bytes]:
        for begin in range(start, start + size, _READ):
            data = os.pread(self._handle, min(_READ, start + size - begin), begin)
            for at in range(0, len(data), _ENTRY.size):
                yield data[at : at + _ENTRY.size]

    def close(self) -> None:
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""A bar on the terminal while files are scanned; nothing anywhere else."""

import sys
import time
from collections.abc import Callable

_WIDTH = 24
_EVERY_S = 0.1


class Progress:
    """Draws on stderr where that is a terminal. A context manager: the bar is gone at its end.

    total: counts the files, asked once and only where there is a terminal.
    """

    def __init__(self, total: Callable[[], int]) -> None:
        self._on = sys.stderr.isatty()
        self._total = max(1, total()) if self._on else 1
        self._next = 0.0
        self._drawn = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the bar away, so that a line can be printed."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False

    def show(self, files: int, findings: int) -> None:
        """Draw how many files are done."""
        if not self._on or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_S
        filled = min(_WIDTH, _WIDTH * files // self._total)
        bar = "#" * filled + "." * (_WIDTH - filled)
        sys.stderr.write(f"\r\x1b[K[{bar}] {files}/{self._total} files, {findings} findings")
        sys.stderr.flush()
        self._drawn = True

"""Files that an operator may replace while the gateway runs: whether they are what they were."""

from collections.abc import Iterable
from pathlib import Path

type _Mark = tuple[int, int, int] | None


class WatchedFiles:
    """Remembers what its files looked like. A file that is gone looks different from one that is there."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._marks = self._look()

    def changed(self) -> bool:
        """Say whether a file was written, replaced or removed since this was asked last."""
        if not self._paths:
            return False
        marks = self._look()
        changed = marks != self._marks
        self._marks = marks
        return changed

    def _look(self) -> tuple[_Mark, ...]:
        return tuple(_mark(path) for path in self._paths)


def _mark(path: Path) -> _Mark:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

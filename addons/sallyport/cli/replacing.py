"""A file is replaced as a whole or not at all; a link to it stays a link."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sallyport.files import sync_folder


@contextmanager
def replacement(path: Path, text: str) -> Iterator["Draft"]:
    """Write a text beside the file that a path leads to, links followed; put() moves it there. Raises OSError.

    Who and what may read it is as with the file that is there, from the first byte on; another's file stays the
    other's where this account may give it away. A draft that was not put is removed.
    """
    target = Path(os.path.realpath(path))
    place = target.with_name(f".{target.name}.{os.getpid()}.put")
    there = target.stat() if target.exists() else None
    place.unlink(missing_ok=True)
    mode = 0o666 if there is None else 0o600
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            if there is not None:
                with suppress(PermissionError):
                    os.fchown(file.fileno(), there.st_uid, there.st_gid)
                os.fchmod(file.fileno(), there.st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield Draft(place, target)
    finally:
        place.unlink(missing_ok=True)


class Draft:
    """A text that lies beside the file it is to replace."""

    def __init__(self, place: Path, target: Path) -> None:
        self._place, self._target = place, target

    def put(self) -> None:
        """Replace the file; after a crash it is the old one or the new one. Raises OSError."""
        self._place.replace(self._target)
        sync_folder(self._target.parent)

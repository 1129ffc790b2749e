"""A file is replaced as a whole or not at all; a link to it stays a link."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sallyport.files import clear_drafts, new_draft, sync_folder


@contextmanager
def replacement(path: Path, text: str) -> Iterator["Draft"]:
    """Write a text beside the file that a path leads to, links followed; put() moves it there. Raises OSError.

    Who and what may read it is as with the file that is there, from the first byte on; another's file stays the
    other's where this account may give it away. A draft that was not put is removed, also
    that of a process that was killed.
    """
    target = Path(os.path.realpath(path))
    there = target.stat() if target.exists() else None
    clear_drafts(target.parent)
    place, handle = new_draft(target)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="", closefd=False) as file:
            if there is None:
                os.fchmod(handle, 0o666 & ~_umask())
            else:
                with suppress(PermissionError):
                    os.fchown(handle, there.st_uid, there.st_gid)
                os.fchmod(handle, there.st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(handle)
        yield Draft(place, target)
    finally:
        place.unlink(missing_ok=True)
        os.close(handle)  # and with it the lock by which others know that it is being written


def _umask() -> int:
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    return mask


class Draft:
    """A text that lies beside the file it is to replace."""

    def __init__(self, place: Path, target: Path) -> None:
        self._place, self._target = place, target

    def put(self) -> None:
        """Replace the file; after a crash it is the old one or the new one. Raises OSError."""
        self._place.replace(self._target)
        sync_folder(self._target.parent)

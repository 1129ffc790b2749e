"""A file is replaced as a whole or not at all; a link to it stays a link."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from sallyport.errors import OperatorError
from sallyport.files import clear_drafts, new_draft, sync_folder

_STREAMS = {"stdout": 1, "stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(?P<stream>stdout|stderr)|/(?:dev|proc/self)/fd/(?P<number>\d{1,9})")


@contextmanager
def replacement(path: Path, text: str) -> Iterator["Draft"]:
    """Write a text beside the file that a path leads to, links followed; put() moves it there. Raises OSError.

    Who and what may read it is as with the file that is there, from the first byte on; another's file stays the
    other's where this account may give it away. A draft that was not put is removed, also
    that of a process that was killed.
    """
    with _beside(path) as (file, draft):
        file.write(text)
        _kept(file)
        yield draft


@contextmanager
def output(path: Path, option: str, *, private: bool = False) -> Iterator[TextIO]:
    """Give the file that an option names for results, which takes its place in the end, and only if nothing was raised.

    Until then, and after any failure, what stood there before stands there. What is no file (a pipe, a terminal, a
    device) or has been opened by somebody (/dev/stdout) is written as it comes. private: one that is new is for its
    owner alone. Raises OperatorError.
    """
    try:
        if (handle := _opened(path)) is not None:
            with os.fdopen(os.dup(handle), "w", encoding="utf-8", newline="\n") as stream:
                yield stream
            return
        if path.exists() and not os.access(path, os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # a rename asks its folder alone
        if path.exists() and not Path(os.path.realpath(path)).is_file():
            with path.open("w", encoding="utf-8", newline="\n") as stream:
                yield stream
            return
        with _beside(path, 0o600 if private else 0o666) as (file, draft):
            yield file
            _kept(file)
            draft.put()
    except OSError as error:
        misnamed = isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError)
        raise OperatorError(
            option,
            f"it cannot be written ({error.strerror})",
            "Name another file",
            exit_code=2 if misnamed else 3,
        ) from None


def _opened(path: Path) -> int | None:
    """Return the descriptor of this process that a path stands for, None where it is a path of files."""
    named = _DESCRIPTOR.fullmatch(str(path))
    if named is None:
        return None
    return _STREAMS[named["stream"]] if named["number"] is None else int(named["number"])


@contextmanager
def _beside(path: Path, mode: int = 0o666) -> Iterator[tuple[TextIO, "Draft"]]:
    """Give a draft of the file that a path leads to, removed in the end unless it was put. mode: of one that is new."""
    target = Path(os.path.realpath(path))
    there = target.stat() if target.exists() else None
    clear_drafts(target.parent)
    place, handle = new_draft(target)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n", closefd=False) as file:
            if there is None:
                os.fchmod(handle, mode & ~_umask())
            else:
                with suppress(PermissionError):
                    os.fchown(handle, there.st_uid, there.st_gid)
                os.fchmod(handle, there.st_mode & 0o777)
            yield file, Draft(place, target)
    finally:
        place.unlink(missing_ok=True)
        os.close(handle)  # and with it the lock by which others know that it is being written


def _kept(file: TextIO) -> None:
    """Have on the disk what was written. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


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

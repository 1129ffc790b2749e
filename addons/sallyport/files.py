"""Files that are whole or absent, with the mode they were asked for from their first byte on.

What is written lies in a draft until it is whole, and who writes a draft holds its lock. So a draft without one is
that of a process that died, and clear_drafts may take it away while others write.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644

_DRAFT = re.compile(r"\..+\.[0-9a-f]{16}\.draft")
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Replace a file in one step; durable when this returns. Raises OSError, and then the old one is there.

    The file is this user's, or of the one whose folder it is: see own_as_folder. A link at its place is replaced, not
    followed. The umask takes nothing away and adds nothing.
    """
    with drafted(path, content, mode) as draft:
        draft.replace(path)
    sync_folder(path.parent)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Make a file that is not there yet; durable when this returns. Raises OSError.

    Of two who come at once, the second gets FileExistsError, and then the first one's file is whole.
    """
    if not _born(path, content, mode):
        with drafted(path, content, mode) as draft:
            os.link(draft, path)
    sync_folder(path.parent)


def clear_drafts(folder: Path) -> None:
    """Remove what writers that were killed left in a folder and the folders in it, and nothing else.

    Any number may clear and write at once: a draft that is being written is locked, and is left. So is one that
    cannot be removed.
    """
    with suppress(OSError):
        within = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        for place in (os.fspath(folder), *within):
            with suppress(OSError):
                for name in os.listdir(place):
                    if _DRAFT.fullmatch(name):
                        _remove_if_left(Path(place, name))


@contextmanager
def drafted(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """Write a file beside the one it is to become, to the disk; it is removed unless it was moved away.

    Raises OSError.
    """
    draft, handle = new_draft(path)
    try:
        _fill(handle, content, mode)
        yield draft
    finally:
        draft.unlink(missing_ok=True)
        os.close(handle)


def new_draft(path: Path) -> tuple[Path, int]:
    """Return a new draft of a file, locked and empty, and its handle. Raises OSError.

    O_EXCL: no link that someone laid out is followed.
    """
    while True:
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.draft")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, PRIVATE)
        own_as_folder(handle, draft.parent)
        with suppress(OSError):  # a file system without locks: nobody can clear this draft either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return draft, handle
        os.close(handle)  # it was cleared away before it was locked


def read_file(path: Path, most: int | None = None) -> bytes:
    """Return the bytes of a file, of one that is longer than `most` one byte more. Raises OSError.

    A pipe or a device is refused: who reads one may wait for ever, and a gateway reads its files again while it runs.
    """
    handle = os.open(
        path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    )  # to open a pipe waits for its writer else
    try:
        with os.fdopen(handle, "rb", closefd=False) as file:  # which leaves that of a folder open, and raises
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "a pipe or a device, and no file", str(path))
            return file.read() if most is None else file.read(most + 1)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder closed to others if it is absent; it is owned as its files are. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
    try:
        own_as_folder(handle, path.parent)
    finally:
        os.close(handle)


def own_as_folder(handle: int, folder: Path) -> None:
    """Give a file that root has made to the user whose folder it lies in, where root may. Raises OSError.

    Who runs a command with sudo in the gateway's folder would leave there what the gateway itself cannot read.
    """
    if os.geteuid() == 0 and (found := folder.stat()).st_uid:
        with suppress(PermissionError):  # a container may take the right from root
            os.fchown(handle, found.st_uid, found.st_gid)


def sync_folder(folder: Path) -> None:
    """Have on the disk which files a folder holds. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _born(path: Path, content: bytes, mode: int) -> bool:
    """Make a file that has no name before it is whole. False where the system cannot, and then nothing was made.

    Raises OSError, FileExistsError among them.
    """
    try:
        handle = os.open(path.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, PRIVATE)
    except (OSError, AttributeError):
        return False
    try:
        own_as_folder(handle, path.parent)
        _fill(handle, content, mode)
        try:
            # With a folder named, os.link follows the link of /proc to the file: open(2), O_TMPFILE.
            os.link(f"/proc/self/fd/{handle}", path, src_dir_fd=handle)
        except FileExistsError:
            raise
        except OSError:
            return False
    finally:
        os.close(handle)
    return True


def _fill(handle: int, content: bytes, mode: int) -> None:
    os.fchmod(handle, mode)
    with os.fdopen(handle, "wb", closefd=False) as file:
        file.write(content)
    os.fsync(handle)


def _remove_if_left(draft: Path) -> None:
    """Remove a draft of this user that nobody is writing, if that can be done; root writes drafts for others too."""
    with suppress(OSError):
        handle = os.open(draft, os.O_RDWR | os.O_NONBLOCK | _NO_LINK)
        try:
            found = os.fstat(handle)
            if stat.S_ISREG(found.st_mode) and os.geteuid() in (0, found.st_uid):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()
        finally:
            os.close(handle)

"""Files that are whole or absent, with the mode they were asked for from their first byte on."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Replace a file in one step; durable when this returns. Raises OSError, and then the old one is there.

    The file is this user's. A link at its place is replaced, not followed. The umask takes nothing away and adds
    nothing.
    """
    with _draft(path, content, mode) as draft:
        draft.replace(path)
    sync_folder(path.parent)


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Make a file that is not there yet; durable when this returns. Raises OSError.

    Of two who come at once, the second gets FileExistsError, and then the first one's file is whole.
    """
    with _draft(path, content, mode) as draft:
        os.link(draft, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have on the disk which files a folder holds. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _draft(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """Write a file beside the one it is to become, to the disk; it is removed unless it was moved away.

    O_EXCL: no link that someone laid out is followed.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)

"""Files that are whole or absent, with the mode they were asked for from their first byte on."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from sallyport.errors import OperatorError

PRIVATE = 0o600
PUBLIC = 0o644
_WRITABLE_BY_OTHERS = 0o022


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Replace a file in one step.

    The bytes are written to a new file beside it (O_EXCL, so no link that someone laid out is followed),
    made durable, and renamed. The umask takes nothing away and adds nothing.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder for secrets (0700) if it is absent, and hold it against other writers meanwhile.

    A folder that others may write to is refused: they could put their own key in place of ours.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OperatorError(
            str(folder),
            f"the folder cannot be opened ({error.strerror})",
            "Choose another one with SALLYPORT_CONFDIR, or give it to the user that runs the gateway.",
            exit_code=3,
        ) from error
    try:
        if os.fstat(fd).st_mode & _WRITABLE_BY_OTHERS:
            raise OperatorError(
                str(folder),
                "other users may write into the folder of the certificate authority",
                f"Run: chmod 700 {folder}",
            )
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    except PermissionError as error:
        raise OperatorError(
            str(error.filename or folder),
            "permission denied",
            "Run this as the user that owns the folder.",
            exit_code=3,
        ) from error
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

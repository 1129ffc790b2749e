"""A folder for secrets, which one writer at a time holds."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.files import clear_drafts

_WRITABLE_BY_OTHERS = 0o022


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder for secrets (0700) if it is absent, and hold it against other writers meanwhile.

    A folder that others may write to is refused, and so is one that belongs to another user than this one or root:
    they could put their own key in place of ours.
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
        found = os.fstat(fd)
        if found.st_uid not in (0, os.geteuid()):
            raise OperatorError(
                str(folder),
                f"the folder of the certificate authority belongs to another user (uid {found.st_uid})",
                "Run this as that user, or give the folder to the user that runs the gateway (chown).",
            )
        if found.st_mode & _WRITABLE_BY_OTHERS:
            raise OperatorError(
                str(folder),
                "other users may write into the folder of the certificate authority",
                f"Run: chmod 700 {folder}",
            )
        fcntl.flock(fd, fcntl.LOCK_EX)
        clear_drafts(folder)
        yield
    except OSError as error:
        raise OperatorError(
            str(error.filename2 or error.filename or folder),
            f"it cannot be read or written ({error.strerror or type(error).__name__})",
            "Run this as the user that owns the folder, where there is room to write.",
            exit_code=3,
        ) from error
    finally:
        os.close(fd)

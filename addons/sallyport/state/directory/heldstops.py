"""Kill switches that the store could not take: a file beside the gateway's key, of that gateway alone.

Somebody who stops something in an emergency must not first bring a database back. What is in the file is in force
besides what the store or its copy says, until it is let go. A file that cannot be read stops everything: somebody
wanted something stopped, and nobody can say what.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, write_file
from sallyport.stages.directory import Stop, StopKind
from sallyport.state.directory.stops import Pulled

FILE = "stops.here"
"""Its name in the confdir of a gateway."""

UNREADABLE = Stop("stop-unreadable", StopKind.EVERYTHING, reason=f"{FILE} cannot be read")

_ADAPTER = TypeAdapter(tuple[Pulled, ...])


def read_held(path: Path) -> tuple[Pulled, ...]:
    """Return what the file stops, nothing where there is none. Raises OperatorError."""
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except OSError as error:
        what = f"it cannot be read ({error.strerror})"
    except ValidationError:
        what = "it is no list of kill switches"
    todo = "See who owns it. Until it can be read the gateway refuses everything; removed, it stops nothing"
    raise OperatorError(str(path), what, todo, exit_code=3)


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Let nobody else change the file meanwhile: who reads it and writes it back would undo what another has stopped.

    Raises OperatorError.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        what = f"its folder cannot be opened ({error.strerror})"
        raise OperatorError(str(path), what, "See who owns the folder", exit_code=3) from None
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write_held(path: Path, pulled: tuple[Pulled, ...]) -> None:
    """Put a list in the place of the last, for whoever owns the folder. Raises OperatorError."""
    try:
        if not pulled:
            path.unlink(missing_ok=True)
            return
        write_file(path, _ADAPTER.dump_json(pulled), PRIVATE)
        if os.geteuid() == 0:
            owner = path.parent.stat()  # the gateway runs as its own user, who stops it often as root
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    except OSError as error:
        raise OperatorError(
            str(path),
            f"it cannot be written ({error.strerror})",
            "See who owns the folder, and whether there is room; or stop the gateway itself",
            exit_code=3,
        ) from None


class Held:
    """The file as a gateway follows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = ()
        self._looked: tuple[int, ...] = ()
        self._is_whole = True

    def look(self) -> tuple[Stop, ...] | None:
        """Return what the file stops, None if it is the file that was taken last. One that cannot be read is read
        again at the next look.
        """
        seen: tuple[int, ...]
        try:
            at = os.stat(self.path)
            seen = (at.st_ino, at.st_mtime_ns, at.st_ctime_ns, at.st_size)
        except FileNotFoundError:
            seen = ()
        except OSError:
            seen = (0,)
        if seen == self._seen:
            return None
        try:
            found = tuple(pulled.stop for pulled in read_held(self.path)) if seen else ()
        except OperatorError:
            self._looked, self._is_whole = seen, False
            return (UNREADABLE,)
        self._looked, self._is_whole = seen, True
        return found

    def taken(self) -> None:
        """Note that what was looked at last is in force."""
        self._seen = self._looked if self._is_whole else None

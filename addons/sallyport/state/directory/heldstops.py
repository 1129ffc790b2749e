"""Kill switches that the store could not take: a file beside the gateway's key, of that gateway alone.

Somebody who stops something in an emergency must not first bring a database back. What is in the file is in force
besides what the store or its copy says, until it is let go. A file that cannot be read as it was meant stops
everything: somebody wanted something stopped, and nobody can say what. People write it by hand, too: a name that is
misspelt, said twice or of nothing that could be stopped is one of those.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, write_file
from sallyport.stages.directory import Stop, StopKind
from sallyport.state.directory.stops import Pulled

FILE = "stops.here"
"""Its name in the confdir of a gateway."""

UNREADABLE = Stop("stop-unreadable", StopKind.EVERYTHING, reason=f"{FILE} cannot be read")

FINGERPRINT = re.compile(r"key_[0-9a-f]{24}")
_MOST_CHARS = 200
_ADAPTER = TypeAdapter(tuple[Pulled, ...], config=ConfigDict(extra="forbid"))

type Providers = Callable[[], Collection[str]]
"""Returns the names of the providers in the catalogue in force."""


def read_held(path: Path, providers: Providers | None = None) -> tuple[Pulled, ...]:
    """Return what the file stops, nothing where there is none. Raises OperatorError, which shows nothing of a value.

    providers: None where nobody knows which there are.
    """
    todo = "See who owns it. Until it can be read the gateway refuses everything; removed, it stops nothing"
    try:
        return _pulled(path.read_bytes(), providers)
    except FileNotFoundError as error:
        if not path.is_symlink():
            return ()
        what = f"it cannot be read ({error.strerror})"
    except OSError as error:
        what = f"it cannot be read ({error.strerror})"
    except ValueError as error:  # pydantic's are among them
        what = f"it is no list of kill switches: {_told(error)}"
        todo = "Mend it (docs/approvals.md), or remove it: it then stops nothing. Until then everything is refused"
    raise OperatorError(str(path), what, todo, exit_code=3)


def _pulled(content: bytes, providers: Providers | None) -> tuple[Pulled, ...]:
    """Return what a file stops. Raises ValueError."""
    found = _ADAPTER.validate_json(content)
    json.loads(content, object_pairs_hook=_each_once)
    for number, pulled in enumerate(found):
        if flaw := _flaw(pulled.stop, providers):
            raise ValueError(f"{number}.stop: {flaw}")
    return found


def _flaw(stop: Stop, providers: Providers | None) -> str:
    """Return why a kill switch would not stop what was meant, "" where it would."""
    value = stop.value
    if not stop.id.strip() or not stop.id.isprintable() or len(stop.id) > _MOST_CHARS:
        return "the id is missing, too long or not plain text"
    if (stop.kind is StopKind.EVERYTHING) is bool(value):
        return "everything takes no value" if value else "the value is missing, which says what is stopped"
    if value != value.strip() or not value.isprintable() or len(value) > _MOST_CHARS:
        return "the value is too long, not plain text, or has blanks around it"
    if (stop.kind is StopKind.PRINCIPAL) is not bool(stop.tenant):
        return (
            "the tenant of the principal is missing" if not stop.tenant else "only a principal takes a tenant"
        )
    if stop.kind is StopKind.KEY and not FINGERPRINT.fullmatch(value.casefold()):
        return "the value is no fingerprint of a key"
    known = providers() if providers is not None and stop.kind is StopKind.PROVIDER else (value,)
    if value.casefold() not in {name.casefold() for name in known}:
        return "the catalogue has no such provider"
    return ""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _told(error: ValueError) -> str:
    """Return what is wrong, and at which entry, counted from 0."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    at = ".".join(ascii(part).strip("'") for part in first["loc"])
    return f"{at}: {first['msg']}" if at else first["msg"]


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

    def __init__(self, path: Path, providers: Providers | None = None) -> None:
        self.path = path
        self.problem = ""
        """Why the file that was looked at last stops everything, "" where it could be read."""
        self._providers = providers
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
            seen = (0,) if self.path.is_symlink() else ()
        except OSError:
            seen = (0,)
        if seen == self._seen:
            return None
        try:
            found = tuple(pulled.stop for pulled in read_held(self.path, self._providers)) if seen else ()
        except OperatorError as error:
            self._looked, self._is_whole, self.problem = seen, False, str(error)
            return (UNREADABLE,)
        self._looked, self._is_whole, self.problem = seen, True, ""
        return found

    def taken(self) -> None:
        """Note that what was looked at last is in force."""
        self._seen = self._looked if self._is_whole else None

"""The present directory of a running gateway, kept by a thread of its own.

- The thread alone touches the store; who asks for `current` reads a variable.
- A revision is looked for every poll_s; a new one is read whole before it takes the place of the last.
- While the store fails, the last good directory stays in force, and across a restart its copy in a file.
- A store without a directory never takes the place of a copy: kill switches do not vanish with a file.
- Kill switches that the store could not take stand in a file of their own, which a second thread follows: it
  waits for no database.
"""

import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.heap import no_collection
from sallyport.sql.engines import Unreachable
from sallyport.stages.directory import NOBODY, Directory, Stop
from sallyport.state.directory.credentials import StoredCredential
from sallyport.state.directory.heldstops import FILE, Held, Providers
from sallyport.state.directory.lastgood import LastGood, Unreadable
from sallyport.state.directory.snapshot import Snapshot
from sallyport.state.directory.store import DirectoryStore

logger = logging.getLogger("sallyport.directory")

POLL_S = 0.25
LONGEST_PAUSE_S = 1.0


class Source(StrEnum):
    """What `current` came from. STORE: as it is now. LAST: the store fails. COPY: it failed at the start."""

    STORE = "store"
    LAST = "last"
    COPY = "copy"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Standing:
    """source: what is in force. problem: why the store is not, else "". unsaved: why there is no new copy."""

    source: Source
    revision: int
    problem: str = ""
    unsaved: str = ""


class Keeper:
    """Keeps `current` as new as the store.

    open_store: opens the directory, and creates it where the argument says so; raises OperatorError.
    last_good_file: the copy; the kill switches of this gateway alone stand beside it. key: the gateway's secret
    key. required: refuse to start where neither store nor copy can be read; else the gateway starts with a
    directory that knows nobody. providers: what a kill switch of this gateway alone may name.
    """

    def __init__(
        self,
        open_store: Callable[[bool], DirectoryStore],
        last_good_file: Path,
        key: bytes,
        *,
        required: bool = True,
        poll_s: float = POLL_S,
        providers: Providers | None = None,
    ) -> None:
        self._open_store = open_store
        self._copy = LastGood(last_good_file, key)
        self._held = Held(last_good_file.with_name(FILE), providers)
        self._stopped: tuple[Stop, ...] = ()
        self._problem = ""
        self._putting = threading.Lock()
        self._required = required
        self._poll_s = poll_s
        self._store: DirectoryStore | None = None
        self._opened = 0
        self._snapshot: Snapshot | None = None
        self._current: Directory = NOBODY
        self._standing = Standing(Source.NONE, 0)
        self._failures = 0
        self._asked = threading.Event()
        self._looked = threading.Condition()
        self._looks = 0
        self._closing = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sallyport-directory", daemon=True)
        self._follower = threading.Thread(target=self._follow, name="sallyport-stops", daemon=True)

    @property
    def current(self) -> Directory:
        """The directory in force."""
        return self._current

    def credential(self, name: str) -> StoredCredential | None:
        """Return where a real credential comes from, by the directory in force."""
        return None if self._snapshot is None else self._snapshot.credential(name)

    @property
    def standing(self) -> Standing:
        """Where the directory in force came from."""
        return self._standing

    def start(self) -> None:
        """Load the directory, then keep it. Raises OperatorError where a required one cannot be had."""
        try:
            self._open(create=not self._copy.path.exists())
            self._load()
        except OperatorError as error:
            self._drop()
            kept = self._read_copy()
            if kept is None and (self._required or not isinstance(error, Unreachable)):
                raise
            if kept is not None:
                self._put(kept)
            self._standing = Standing(
                Source.COPY if kept else Source.NONE, self._current.revision, error.what
            )
            logger.warning("%s %s", error, _STARTS_FROM_COPY if kept else _STARTS_EMPTY)
        self._take_held()
        self._thread.start()
        self._follower.start()

    def refresh(self, timeout_s: float = 5.0) -> bool:
        """Look now, and return when that is done; False if it took too long. Blocks."""
        with self._looked:
            wanted = self._looks + 2  # a look that is under way may have begun before
            self._asked.set()
            while self._looks < wanted and not self._closing:
                self._asked.set()
                if not self._looked.wait(timeout_s):
                    return False
        return True

    def close(self) -> None:
        """Stop keeping; the last directory stays."""
        self._closing = True
        self._closed.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(timeout=15)
        self._drop()

    def _run(self) -> None:
        while not self._closing:
            pause_s = min(LONGEST_PAUSE_S, self._poll_s * 2.0 ** min(self._failures, 4))
            self._asked.wait(pause_s)
            self._asked.clear()
            if not self._closing:
                self._look()
            with self._looked:
                self._looks += 1
                self._looked.notify_all()

    def _follow(self) -> None:
        while not self._closed.wait(self._poll_s):
            try:
                self._take_held()
            except Exception as error:
                # The border of the thread: without it nothing would be stopped any more while the store is away.
                logger.warning("%s could not be looked at (%s)", self._held.path, type(error).__name__)

    def _take_held(self) -> None:
        """Put in force what the file beside the copy stops, if it is another one than before."""
        found = self._held.look()
        if found is None:
            return
        with self._putting:
            is_other, self._stopped = found != self._stopped, found
            self._combine()
        self._held.taken()  # not before it is in force: what raises is done again
        problem = self._held.problem
        is_other, self._problem = is_other or problem != self._problem, problem
        if is_other:
            logger.warning("%s", problem or f"{self._held.path}: {_told(found)}")

    def _put(self, snapshot: Snapshot) -> None:
        """Put a directory in force, with what is stopped on this gateway alone."""
        with self._putting:
            self._snapshot = snapshot
            self._combine()

    def _combine(self) -> None:
        if not self._stopped:
            self._current = NOBODY if self._snapshot is None else self._snapshot
            return
        known = self._snapshot or Snapshot()
        self._current = replace(known, pulled=(*known.pulled, *self._stopped))

    def _look(self) -> None:
        try:
            if self._store is None:
                self._open(create=self._snapshot is None)
            self._load()
        except OperatorError as error:
            self._fail(error.what, str(error))
        except Exception as error:
            # The border of the thread: without it nothing would be read any more, kill switches included.
            self._fail(type(error).__name__, f"directory: {type(error).__name__} while it was read.")

    def _open(self, create: bool) -> None:
        self._store = self._open_store(create)
        self._opened = 0

    def _load(self) -> None:
        """Take over what the store holds, if it is not what is in force."""
        assert self._store is not None
        again = self._failures > 0 or self._standing.source is not Source.STORE
        revision = self._store.revision()
        again = again or self._opened != self._store.opened
        if not again and revision == self._current.revision:
            return
        with no_collection(), self._store.read() as connection:
            same = not again and self._opened == self._store.opened
            snapshot = Snapshot.read(connection, self._snapshot if same else None)
        _set_apart(snapshot, self._snapshot)
        self._opened = self._store.opened
        if self._failures or self._standing.source is Source.COPY:
            logger.warning("the directory is read from the store again, revision %d", snapshot.revision)
        self._failures = 0
        self._standing = Standing(Source.STORE, snapshot.revision)
        self._put(snapshot)
        if unsaved := self._save(snapshot):
            self._standing = replace(self._standing, unsaved=unsaved)

    def _save(self, snapshot: Snapshot) -> str:
        try:
            self._copy.write(snapshot)
        except OSError as error:
            problem = f"{self._copy.path}: the copy cannot be written ({error.strerror})"
            logger.warning("%s. Make room or give the folder to the gateway's user.", problem)
            return problem
        return ""

    def _fail(self, problem: str, message: str) -> None:
        if not self._failures:
            logger.warning("%s The last good directory stays in force.", message)
        self._failures += 1
        source = Source.LAST if self._standing.source is Source.STORE else self._standing.source
        self._standing = Standing(source, self._current.revision, problem, self._standing.unsaved)
        self._drop()

    def _drop(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _read_copy(self) -> Snapshot | None:
        try:
            with no_collection():
                return self._copy.read()
        except Unreadable as error:
            logger.warning("%s: %s. It is not used.", self._copy.path, error)
        except OSError as error:
            logger.warning("%s: it cannot be read (%s). It is not used.", self._copy.path, error.strerror)
        return None


LARGE = 10_000
"""People from which on a directory is kept out of the collector's rounds."""


def _set_apart(snapshot: Snapshot, last: Snapshot | None) -> None:
    """Let later rounds of the collector pass over a large directory; without cycles, it dies by counting."""
    if len(snapshot.who.people) >= LARGE and (last is None or snapshot.who is not last.who):
        gc.freeze()


def _told(stopped: tuple[Stop, ...]) -> str:
    if not stopped:
        return "nothing is stopped on this gateway alone any more"
    return f"stopped on this gateway alone, until it is resumed: {', '.join(stop.id for stop in stopped)}"


_STARTS_FROM_COPY = "The gateway starts with its last good copy of the directory."
_STARTS_EMPTY = "The gateway starts with a directory that knows nobody."

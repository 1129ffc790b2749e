"""The real credentials that take the place of gateway keys: fetched when needed, held in memory, shown nowhere.

What comes from a variable or a file is looked at again at least every second, so that a rotated credential is
used without a restart; what is sealed is opened again when the store holds another.
"""

import asyncio
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.state.accesskeys import flattened
from sallyport.state.directory.credentials import SEALED, StoredCredential
from sallyport.state.masterkey import MasterKeys, NotOpened, read_private

logger = logging.getLogger("sallyport.credentials")

FRESH_S = 1.0
PATIENCE_S = 5.0
"""How long a call waits for its credential; a command that gives the master key may take its time."""

MAX_CREDENTIAL_CHARS = 8192
_CREDENTIAL = re.compile(r"[\x21-\x7e]{8,8192}")


class CredentialUnavailable(Exception):
    """A credential cannot be had. reason: one word, for the audit; the text names no value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential in clear. Its value is in no representation of it."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "Secret()"


def checked_value(text: str) -> str:
    """Return a credential as it travels in a header; an access key of AWS as ID:SECRET[:TOKEN].

    Raises ValueError, which holds nothing of it.
    """
    value = flattened(text).strip()
    if not _CREDENTIAL.fullmatch(value):
        raise ValueError("it is empty, too short, or has blanks or other than ASCII in it")
    return value


@dataclass(frozen=True, slots=True)
class _Held:
    stored: StoredCredential
    stamp: tuple[int, ...]
    at_s: float
    secret: Secret | None
    reason: str = ""


class Credentials:
    """Gives the credential of a name. Used on one event loop; files and commands are read in a thread.

    find: what the directory in force says of a name. now_s: a clock that only goes forward.
    """

    def __init__(
        self,
        find: Callable[[str], StoredCredential | None],
        masters: MasterKeys,
        variables: Mapping[str, str] = os.environ,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._masters = masters
        self._variables = variables
        self._now_s = now_s
        self._held: dict[str, _Held] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._told: dict[str, str] = {}
        self._threads = ThreadPoolExecutor(4, "sallyport-credentials")

    def stored(self, name: str) -> StoredCredential | None:
        """Return what the directory says of a credential."""
        found = self._find(name)
        if found is None:
            self._tell(name, "missing")
        return found

    async def secret(self, stored: StoredCredential) -> Secret:
        """Return a credential. Raises CredentialUnavailable."""
        held = self._fresh(stored)
        if held is None:
            waiting = asyncio.get_running_loop().run_in_executor(self._threads, self._look, stored)
            try:
                held = await asyncio.wait_for(waiting, PATIENCE_S)
            except TimeoutError:
                self._tell(stored.name, "slow")
                raise CredentialUnavailable("slow") from None
        self._tell(stored.name, held.reason)
        if held.secret is None:
            raise CredentialUnavailable(held.reason)
        return held.secret

    def close(self) -> None:
        """Forget everything."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._held.clear()

    def _tell(self, name: str, reason: str) -> None:
        """Write to the gateway's log when a credential cannot be had, and when it can again: once, not per call."""
        if self._told.get(name, "") == reason:
            return
        self._told[name] = reason
        if reason:
            logger.error("credential %a cannot be had (%s): its calls are refused", name, reason)
        else:
            logger.warning("credential %a can be had again", name)

    def _fresh(self, stored: StoredCredential) -> _Held | None:
        held = self._held.get(stored.name)
        if held is None or held.stored != stored:
            return None
        lasts = stored.source == SEALED and held.secret is not None
        return held if lasts or self._now_s() - held.at_s < FRESH_S else None

    def _look(self, stored: StoredCredential) -> _Held:
        with self._locks.setdefault(stored.name, threading.Lock()):
            held = self._fresh(stored)
            if held is None:
                held = self._held[stored.name] = self._read(stored, self._held.get(stored.name))
            return held

    def _read(self, stored: StoredCredential, last: _Held | None) -> _Held:
        kind, _, place = stored.source.partition(":")
        stamp: tuple[int, ...] = ()
        try:
            if kind == "file":
                stamp = _stamp(Path(place))
                if last is not None and last.secret and (last.stored, last.stamp) == (stored, stamp):
                    return _Held(stored, stamp, self._now_s(), last.secret)
                value = read_file(Path(place))
            elif kind == "env":
                value = checked_value(self._variables[place])
            else:
                value = checked_value(self._masters.open(stored.sealed, *stored.about))
            return _Held(stored, stamp, self._now_s(), Secret(value))
        except KeyError:
            reason = "variable_missing"
        except NotOpened:
            reason = "not_opened"
        except (OperatorError, OSError):
            reason = "unreadable"
        except ValueError:
            reason = "malformed"
        return _Held(stored, stamp, self._now_s(), None, reason)


def read_file(path: Path) -> str:
    """Return the credential in a file. Raises OperatorError, which holds nothing of it."""
    try:
        return checked_value(read_private(path, MAX_CREDENTIAL_CHARS + 2).decode("ascii"))
    except ValueError:
        raise OperatorError(
            str(path), "what is in it is no credential", "Write the credential alone into it, on one line"
        ) from None


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size

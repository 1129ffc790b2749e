"""Where an issuer's keys come from, kept fresh by one thread; who asks for keys gets what is known now.

The last good set stays in use while its address cannot be read: in memory, and in a file under the gateway's
folder, authenticated with the gateway's key, so that a gateway can start while the issuer is down. A token
whose key is not known asks for an early look, at most one in HURRY_S; nobody waits for it.
"""

import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from weakref import WeakValueDictionary

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, read_file, write_file
from sallyport.state.tokens.jwks import MAX_SET_BYTES, KeySet, read_key_set

HURRY_S = 10.0
"""At least this long between two looks at an address, whatever tokens ask for."""

RETRY_S = 30.0
FILE_LOOK_S = 1.0
FETCH_TIMEOUT_S = 5.0
LOOK_TIMEOUT_S = 8.0
"""A look that takes longer has failed; it holds up the other issuers no longer than this."""

ENDING_S = 0.5
"""How long a look waits for one before it that has not ended."""

MAX_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key set is. url: https, or "" for the file. ca_file: what the address must chain to."""

    url: str = ""
    file: Path | None = None
    ca_file: Path | None = None
    refresh_s: float = 300.0
    max_stale_s: float = 86_400.0


_ASKED = {"accept": "application/json", "accept-encoding": "identity"}

type Fetch = Callable[[Place], bytes]


def fetch(place: Place) -> bytes:
    """Read a key set's bytes. Raises OSError or ValueError. Never follows a redirect or a proxy of the environment."""
    if place.file is not None:
        return read_file(place.file, MAX_SET_BYTES)
    import httpx2

    trust = ssl.create_default_context(cafile=str(place.ca_file) if place.ca_file else None)
    deadline = time.monotonic() + FETCH_TIMEOUT_S
    data = bytearray()
    try:
        with (
            httpx2.Client(
                trust_env=False, follow_redirects=False, timeout=FETCH_TIMEOUT_S, verify=trust
            ) as client,
            client.stream("GET", place.url, headers=_ASKED) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError(f"it answers with status {answer.status_code}")
            # As it came: what is packed could unpack to any size before it is counted.
            for piece in answer.iter_raw():
                data += piece
                if len(data) > MAX_SET_BYTES or time.monotonic() > deadline:
                    raise ValueError("it is too large or too slow")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise OSError(type(error).__name__) from None
    return bytes(data)


def local_keys(place: Place, read: Fetch = fetch) -> KeySet | None:
    """Return the keys of a place that is a file; None for an address, which is not asked.

    Raises OperatorError where the file holds no keys, or the `ca_file` of an address is not there.
    """
    if place.file is None:
        if place.ca_file is not None and not place.ca_file.is_file():
            raise OperatorError(
                str(place.ca_file), "there is no such file", "Correct `ca_file` of the issuer's keys"
            )
        return None
    try:
        keys = read_key_set(read(place))
        if not keys:
            raise ValueError("it has no public key for signatures with a kid of its own")
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        todo = "Put the issuer's JWK set there (jwks_uri in its metadata)"
        raise OperatorError(str(place.file), f"no keys of the issuer can be read: {what}", todo) from None
    return keys


@dataclass(slots=True, weakref_slot=True, eq=False)
class Held:
    """A key set as it is known now; kept fresh as long as somebody holds it.

    got_at: monotonic seconds of the last good look; due_at: of the next look. wanted: an early one was asked for.
    tried: there was a look at all. under_way: the last look at an address, which may not have ended.
    """

    place: Place
    keys: KeySet = field(default_factory=dict)
    got_at: float = 0.0
    tried_at: float = -1e18
    due_at: float = 0.0
    stamp: object = None
    wanted: bool = False
    tried: bool = False
    under_way: threading.Thread | None = None


class KeySources:
    """The key sets of all issuers of a gateway. Outlives reloads; belongs to no event loop.

    folder: where last good copies are kept, None for nowhere. key: gives the gateway's key, which authenticates
    them. now: seconds since 1970; ticks: seconds that only grow.
    """

    def __init__(
        self,
        folder: Path | None,
        key: Callable[[], bytes],
        *,
        now: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        read: Fetch = fetch,
    ) -> None:
        self._folder, self._key = folder, key
        self._now, self._ticks, self._read = now, ticks, read
        self._held: WeakValueDictionary[Place, Held] = WeakValueDictionary()
        self._wake = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def use(self, places: Iterable[Place], *, patience_s: float = 3.0) -> tuple[Held, ...]:
        """Return the key sets of places, which are kept fresh until nobody holds them any more.

        Waits up to patience_s for the first look at new addresses; one that does not answer is asked again
        later. Raises OperatorError where a file holds no keys.
        """
        wanted = tuple(places)
        held_at = {place: self._held.get(place) or self._begin(place) for place in dict.fromkeys(wanted)}
        found = tuple(held_at[place] for place in wanted)
        with self._wake:
            self._held.update(held_at)
            if found and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="issuer-keys", daemon=True)
                self._thread.start()
            self._wake.notify_all()
            self._wake.wait_for(lambda: all(held.tried for held in found), patience_s)
        return found

    def keys(self, held: Held) -> KeySet:
        """Return the keys that are believed now; none where the last good copy is too old."""
        place = held.place
        if place.file is None and self._ticks() - held.got_at > place.max_stale_s:
            return {}
        return held.keys

    def hurry(self, held: Held) -> None:
        """Ask for an early look; returns at once."""
        if not held.wanted:
            with self._wake:
                held.wanted = True
                self._wake.notify_all()

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(FETCH_TIMEOUT_S + 1)

    # -- the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._closed:
                    return
                first = min(self._held.values(), key=_due_at, default=None)
                wait_s = MAX_WAIT_S if first is None else min(_due_at(first) - self._ticks(), MAX_WAIT_S)
                if first is None or wait_s > 0:
                    first = None  # what is not held here any more may go while this thread waits
                    self._wake.wait(wait_s)
                    continue
                first.wanted = False
            self._look(first)
            with self._wake:
                first.tried = True
                self._wake.notify_all()

    def _look(self, held: Held) -> None:
        """Read a place once. What cannot be read or used leaves the keys as they are."""
        place = held.place
        held.tried_at = self._ticks()
        if place.file is not None:
            held.due_at = held.tried_at + FILE_LOOK_S
            stamp = _stamp(place.file)
            if stamp is None or stamp == held.stamp:
                return
            held.stamp = stamp
        try:
            data = self._read(place) if place.file is not None else self._read_in_time(held)
            keys = read_key_set(data)
        except Exception:
            # The border to the issuer: whatever it answers, the last good copy stays.
            held.stamp = None
            held.due_at = self._ticks() + (
                FILE_LOOK_S if place.file is not None else min(RETRY_S, place.refresh_s)
            )
            return
        held.keys, held.got_at = keys, self._ticks()
        if place.file is None:
            held.due_at = held.got_at + place.refresh_s
            self._save(place, data)

    def _read_in_time(self, held: Held) -> bytes:
        """Read an address, in a thread of its own: a server that trickles could keep a reader for days.

        Raises TimeoutError after LOOK_TIMEOUT_S, and soon while the look before has not ended.
        """
        if held.under_way is not None:
            held.under_way.join(ENDING_S)
            if held.under_way.is_alive():
                raise TimeoutError("the look before has not ended")
        ended: list[bytes | Exception] = []
        place, read = held.place, self._read

        def look() -> None:
            try:
                ended.append(read(place))
            except Exception as error:
                ended.append(error)

        held.under_way = threading.Thread(target=look, name="issuer-keys-look", daemon=True)
        held.under_way.start()
        held.under_way.join(LOOK_TIMEOUT_S)
        if not ended:
            raise TimeoutError("it is too slow")
        if isinstance(ended[0], Exception):
            raise ended[0]
        return ended[0]

    # -- copies --------------------------------------------------------------------------------------

    def _begin(self, place: Place) -> Held:
        stamp = None if place.file is None else _stamp(place.file)
        keys = local_keys(place, self._read)
        if keys is not None:
            return Held(
                place, keys, self._ticks(), self._ticks(), self._ticks() + FILE_LOOK_S, stamp, tried=True
            )
        copied = self._copied(place)
        if copied is None:
            return Held(place, got_at=self._ticks() - place.max_stale_s - 1)
        keys, age_s = copied
        return Held(place, keys, self._ticks() - age_s)

    def _copy_of(self, place: Place) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{sha256(place.url.encode()).hexdigest()[:24]}.json"

    def _mac(self, place: Place, at: str, data: bytes) -> str:
        message = b"\0".join((b"issuer keys", place.url.encode(), at.encode(), data))
        return hmac.new(self._key(), message, sha256).hexdigest()

    def _save(self, place: Place, data: bytes) -> None:
        path, at = self._copy_of(place), str(int(self._now()))
        if path is None:
            return
        copy = {"url": place.url, "at": at, "mac": self._mac(place, at, data), "keys": data.decode("utf-8")}
        # A disk that is full costs the copy, not the keys in memory.
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(path, json.dumps(copy).encode(), PRIVATE)

    def _copied(self, place: Place) -> tuple[KeySet, float] | None:
        """Return the keys of the copy and how old they are, None where there is no good one.

        Raises nothing: a copy that was tampered with, or has a time in the future, is none.
        """
        path = self._copy_of(place)
        if path is None:
            return None
        try:
            copy = json.loads(path.read_bytes())
            data, at = copy["keys"].encode(), str(copy["at"])
            if not hmac.compare_digest(self._mac(place, at, data), str(copy["mac"])):
                return None
            age_s = self._now() - int(at)
            keys = read_key_set(data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return (keys, age_s) if 0 <= age_s <= place.max_stale_s else None


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _due_at(held: Held) -> float:
    return min(held.due_at, held.tried_at + HURRY_S) if held.wanted else held.due_at

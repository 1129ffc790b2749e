"""People in events: pseudonyms to write, held in memory, and names to read, as long as the person's key exists.

To write takes one look into the keys' database for each person. While that database is away, people who are held
are written as ever; for others there is a passing pseudonym, whose name is put there as soon as it answers.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from itertools import batched

from sallyport.errors import OperatorError
from sallyport.state.content.keys import FRESH_S, SubjectKeys
from sallyport.state.content.naming import PREFIX, SEALED, Person, passing_person, person_of
from sallyport.state.content.subjects import Forgotten, Subject
from sallyport.state.masterkey import NotOpened

logger = logging.getLogger("sallyport.audit")

CLIENT = "client:"
"""What the name of a person begins with whom nobody knows but by its address."""

AWAY_S = 1.0
"""How long a database that failed is not asked again."""

_MAX_HELD = 20_000
_MAX_PASSING = 10_000
_MAX_LOADED = 10_000

type Written = tuple[str, str]
"""What stands in an event for its principal, and for its client's address."""


class KeysAway(Exception):
    """The keys of people cannot be had now. The text names the error, never a value."""


class Pseudonyms:
    """What stands for people in events. For any thread; held() and passing() never wait.

    keys: gives those of this gateway; asked by start(), or when the first person is looked up.
    """

    def __init__(self, keys: Callable[[], SubjectKeys]) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._people: dict[tuple[str, str], Person] = {}
        """By tenant and principal."""
        self._written: dict[tuple[str, str, str], tuple[Written, str]] = {}
        """By tenant, principal and address; the id of the key beside it."""
        self._passing: dict[tuple[str, str], tuple[Person, int]] = {}
        """With the time of the first event, in microseconds."""
        self._erased: set[str] = set()
        self._seen: tuple[int, int] | None = None
        """Which file of keys it was, 0 where there was none, and the last erasure in it."""
        self._away_s = 0.0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to take people into memory who are known already, so that nobody need wait for it."""
        with self._lock:
            self._begin()

    def held(self, tenant: str, principal: str, client: str) -> Written | None:
        """Return what stands for a person where that is in memory; never waits."""
        if (found := self._written.get((tenant, principal, client))) is not None:
            return found[0]
        person = self._people.get((tenant, principal))
        return None if person is None else self._hold(person, tenant, client)

    def find(self, tenant: str, principal: str, client: str) -> Written:
        """Return what stands for a person, from the keys' database or put there. Raises KeysAway."""
        if time.monotonic() < self._away_s:
            raise KeysAway("away")
        try:
            self._watch()
            person = lasting_person(self._keys(), Subject(tenant, principal))
        except (OperatorError, NotOpened, Forgotten) as error:
            self._away_s = time.monotonic() + AWAY_S
            raise KeysAway(type(error).__name__) from None
        return self._hold(person, tenant, client)

    def passing(self, tenant: str, principal: str, client: str) -> Written:
        """Return what stands for a person while the keys are away; whose it is, is put there when they are back."""
        with self._lock:
            whose = tenant, principal
            person, _ = self._passing.get(whose) or (passing_person(Subject(*whose)), 0)
            if len(self._passing) < _MAX_PASSING:
                self._passing.setdefault(whose, (person, time.time_ns() // 1000))
            self._begin()
        return _written(person, client)

    def close(self) -> None:
        """Put away the names of passing pseudonyms, as far as that is quick."""
        self._closing.set()
        with self._lock:  # or it is one that is about to be started
            thread = self._thread
        if thread is not None:
            thread.join(timeout=10)

    # -- inside ------------------------------------------------------------------------------------------

    def _hold(self, person: Person, tenant: str, client: str) -> Written:
        written = _written(person, client)
        with self._lock:
            if person.key not in self._erased:
                self._people[tenant, person.name] = person
                self._written[tenant, person.name, client] = written, person.key
            if len(self._people) > _MAX_HELD:
                del self._people[next(iter(self._people))]
            if len(self._written) > _MAX_HELD:
                del self._written[next(iter(self._written))]
        return written

    def _watch(self) -> None:
        """Begin to follow what is destroyed, before the first person is held. Raises OperatorError."""
        if self._seen is None:
            seen = self._keys().erased_since(0)[:2]
            with self._lock:
                self._seen = self._seen or seen
                self._begin()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sallyport-people", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        told, is_loaded, is_last = False, False, False
        while not is_last:
            try:
                self._watch()
                self._drop_erased()
                self._enter_passing()
                if not is_loaded:  # last: nobody who is forgotten waits for it
                    self._load()
                    is_loaded = True
                told = False
            except Exception as error:
                # The border of the thread: without it nobody who is forgotten would be dropped any more.
                if not told:
                    why = str(error) if isinstance(error, OperatorError) else type(error).__name__
                    logger.warning("pseudonyms of people are not looked after: %s", why)
                told = True
            is_last = self._closing.is_set()
            self._closing.wait(FRESH_S)

    def _load(self) -> None:
        """Take people into memory who have a pseudonym, few at a time: others want the interpreter as well."""
        for some in batched(self._keys().everybody(_MAX_LOADED), 100):
            if self._closing.is_set():
                return
            with self._lock:
                fresh = {
                    (subject.tenant, subject.principal): p for subject, p in some if p.key not in self._erased
                }
                self._people = fresh | self._people
            time.sleep(0.005)

    def _drop_erased(self) -> None:
        assert self._seen is not None
        file, number = self._seen
        at, last, erased = self._keys().erased_since(number)
        is_another = bool(file) and at != file
        if is_another:
            last, erased = self._keys().erased_since(0)[1:]
        with self._lock:
            self._erased.update(erased)
            if is_another or erased:
                gone = None if is_another else self._erased
                self._people = {who: p for who, p in self._people.items() if gone and p.key not in gone}
                self._written = {who: w for who, w in self._written.items() if gone and w[1] not in gone}
            self._seen = at, last

    def _enter_passing(self) -> None:
        """Put names away for a moment; the rest comes with the next look, for who is forgotten must not wait."""
        until = time.monotonic() + FRESH_S / 2
        for whose, (passing, began_us) in list(self._passing.items()):
            try:
                lasting_person(self._keys(), Subject(*whose), passing, began_us)
            except Forgotten:
                logger.info("a person was forgotten before its name could be put away")
            with self._lock:
                del self._passing[whose]
            if time.monotonic() > until:
                return


def lasting_person(
    keys: SubjectKeys, whose: Subject, passing: Person | None = None, began_us: int | None = None
) -> Person:
    """Return who a subject is in events, with rows by which that can be read.

    passing: what stood for it while no key could be had, to be read likewise. began_us: since when it is spoken of.
    Raises OperatorError, NotOpened; Forgotten where the subject was forgotten since.
    """
    for _ in range(2):
        key = keys.key_of(whose, began_us)
        own = person_of(key, whose)
        wanted = [own] if passing is None else [own, passing]
        if keys.is_entered(own.pseudonym):
            wanted.remove(own)
        if not wanted or keys.enter(key, wanted):
            return own
        keys.forget_held()  # the key was destroyed a moment ago
    raise Forgotten


def _written(person: Person, client: str) -> Written:
    """Return what stands for a person and its address; a person known by its address has no other name."""
    if person.name == f"{CLIENT}{client}":
        return "", person.pseudonym
    return person.pseudonym, person.seal(client) if client else ""


class Names:
    """Who pseudonyms stand for, for who reads events. For any thread; all calls block.

    keys: None where there are none here. tell: gets a sentence when names cannot be told, once. closed: called when
    nobody reads any more.
    """

    def __init__(
        self,
        keys: Callable[[], SubjectKeys | None],
        tell: Callable[[str], None] = lambda text: None,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._keys = keys
        self._tell = tell
        self._closed = closed
        self._told = False
        self._lock = threading.Lock()
        self._known: dict[str, Person | None] = {}
        self._looked_s = 0.0
        self._seen: tuple[int, int] | None = None

    def prepare(self, pseudonyms: Iterable[str]) -> None:
        """Look up pseudonyms, so that to ask for each costs nothing."""
        with self._lock:
            self._refresh()
            wanted = [p for p in pseudonyms if p not in self._known]
            if not wanted:
                return
            found: dict[str, Person] = {}
            try:
                keys = self._keys()
                if keys is None:
                    self._say("there is no master key here")
                else:
                    found = keys.entered(wanted)
            except (OperatorError, NotOpened) as error:
                self._say(str(error))
            if len(self._known) > _MAX_HELD:
                self._known.clear()
            self._known.update((pseudonym, found.get(pseudonym)) for pseudonym in wanted)

    def name(self, pseudonym: str) -> str:
        """Return the id of the principal, `client:ADDRESS` of callers nobody knew, "" where nobody can tell."""
        person = self._of(pseudonym)
        return "" if person is None else person.name

    def text(self, pseudonym: str, sealed: str) -> str:
        """Return a text that is sealed under a person's key, "" where nobody can open it."""
        person = self._of(pseudonym)
        return "" if person is None else person.unseal(sealed)

    def pseudonyms(self, principal: str) -> list[str]:
        """Return all that stands for a principal, of any tenant."""
        try:
            keys = self._keys()
            return [] if keys is None else keys.pseudonyms(principal)
        except (OperatorError, NotOpened) as error:
            self._say(str(error))
            return []

    def close(self) -> None:
        """Let go of the keys."""
        self._known.clear()
        self._closed()

    def _say(self, why: str) -> None:
        if not self._told:
            self._told = True
            self._tell(f"names of people are not shown: {why.rstrip('.')}")

    def _of(self, pseudonym: str) -> Person | None:
        if pseudonym not in self._known:
            self.prepare([pseudonym])
        return self._known.get(pseudonym)

    def _refresh(self) -> None:
        """Let go, at least every FRESH_S, of who was forgotten, and ask again for whom nobody could tell."""
        if time.monotonic() - self._looked_s < FRESH_S:
            return
        self._looked_s = time.monotonic()
        try:
            keys = self._keys()
            seen = None if keys is None else keys.erased_since(0)[:2]
        except (OperatorError, NotOpened):
            seen = None
        if seen is None or seen != self._seen:
            self._known.clear()
        self._seen = seen
        self._known = {pseudonym: person for pseudonym, person in self._known.items() if person is not None}


__all__ = ["CLIENT", "PREFIX", "SEALED", "KeysAway", "Names", "Pseudonyms", "Written"]

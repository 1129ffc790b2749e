"""The data keys of subjects: one per person of a tenant, sealed under the master key, in a database of their own.

To forget a person is to destroy the row of its key. Rows name nobody: a subject is there as a keyed digest. What
holds a key in memory looks at least every FRESH_S seconds whether keys were destroyed, by whatever process.
"""

import base64
import contextlib
import math
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import batched
from typing import Any, cast

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from sallyport.errors import OperatorError
from sallyport.state.content import naming
from sallyport.state.content.erasures import Erasure, as_erasures, erasures_of
from sallyport.state.content.naming import Person
from sallyport.state.content.opening import Opened
from sallyport.state.content.schema import (
    KEYS_PART,
    KEYS_VERSION,
    erasures,
    keys,
    keys_versions,
    people,
    settings,
    subject_keys,
)
from sallyport.state.content.subjects import NOBODY, Forgotten, Subject, SubjectKey, UnknownKey
from sallyport.state.keyed import digest
from sallyport.state.masterkey import MasterKeys, NotOpened

VARIABLE = "SALLYPORT_CONTENT_KEYS"
"""Names the database of the keys where it is not the file content-keys.db of the gateway's folder."""

FRESH_S = 1.0
_MAX_HELD = 10_000
_ABOUT = "content key"
_DIGEST = "digest"


class SubjectKeys:
    """All keys of a gateway, or of several that share the database. For any thread; all calls block."""

    def __init__(self, url: str, masters: MasterKeys) -> None:
        self._opened = Opened(url, "content keys", KEYS_PART, KEYS_VERSION, keys, keys_versions)
        self._masters = masters
        self._lock = threading.Lock()
        self._by_subject: OrderedDict[Subject, SubjectKey] = OrderedDict()
        self._by_id: OrderedDict[str, SubjectKey] = OrderedDict()
        self._digest_key = (0, b"")
        """Which file it was in, and the key."""
        self._looked_s = -math.inf
        self._seen = (0, 0)
        """Which file it was, and the last erasure in it; -1 where there was none."""

    @property
    def name(self) -> str:
        """The address of the database, without a password."""
        return self._opened.name

    @property
    def is_there(self) -> bool:
        """Whether the database holds any keys, or did. Raises OperatorError."""
        with self._opened.read() as connection:
            return connection is not None and connection.scalar(select(settings.c.name)) is not None

    # -- in use ------------------------------------------------------------------------------------------

    def key_of(self, subject: Subject, began_us: int | None = None) -> SubjectKey:
        """Return a subject's key, made where there is none. Raises OperatorError, NotOpened.

        began_us: when what is to be sealed was said; Forgotten where the subject was forgotten since.
        """
        with self._lock:
            self._look()
            found = self._by_subject.get(subject)
            if found is None:
                found = self._find_or_make(subject)
                self._hold(found, subject)
            if began_us is not None and began_us <= found.forgotten_us:
                raise Forgotten
            return found

    def open(self, id: str) -> SubjectKey:
        """Return a key by its id. Raises Forgotten, UnknownKey, NotOpened, OperatorError."""
        with self._lock:
            self._look()
            found = self._by_id.get(id)
            if found is None:
                found = self._find(id)
                self._hold(found)
            return found

    def refresh(self) -> None:
        """Drop what is held in memory of keys that were destroyed. Raises OperatorError."""
        with self._lock:
            self._look()

    def forget_held(self) -> None:
        """Drop all that is held in memory."""
        with self._lock:
            self._drop()

    def digest_of(self, subject: Subject) -> str:
        """Return what stands for a subject here and in the audit: 32 hex digits. Raises OperatorError, NotOpened."""
        with self._lock, self._opened.change() as connection:
            return self._digest(connection, subject)

    def make(self) -> None:
        """Make the tables where there are none, and the key of the digests. Raises OperatorError, NotOpened."""
        self.digest_of(NOBODY)
        with self._opened.change() as connection:
            people.create(connection, checkfirst=True)  # an earlier Sallyport made none

    def close(self) -> None:
        """Forget what is held, and close all connections."""
        with self._lock:
            self._drop()
            self._opened.close()

    def enter(self, key: SubjectKey, persons: Iterable[Person]) -> bool:
        """Add rows of a person; False where its key is not there any more, so that no name outlives it.

        Raises OperatorError, NotOpened.
        """
        with self._opened.change() as connection:
            self._opened.alone(connection)  # as destroy() is
            people.create(connection, checkfirst=True)
            if connection.scalar(select(subject_keys.c.id).where(subject_keys.c.id == key.id)) is None:
                return False
            for person in persons:
                if not naming.is_entered(connection, person.pseudonym):
                    naming.enter(connection, self._masters, key, person)
        return True

    def entered(self, pseudonyms: Sequence[str]) -> dict[str, Person]:
        """Return who pseudonyms stand for, as far as anybody can still tell. Raises OperatorError, NotOpened."""
        return {person.pseudonym: person for person, _ in self._entered(pseudonyms)}

    def whose(self, pseudonym: str) -> Subject | None:
        """Return whom a pseudonym stands for, None where nobody can tell. Raises OperatorError, NotOpened."""
        return next((Subject(key.tenant, person.name) for person, key in self._entered([pseudonym])), None)

    def is_entered(self, pseudonym: str) -> bool:
        """Whether it can be read whose a pseudonym is. Raises OperatorError."""
        with self._opened.read() as connection:
            if connection is None or not naming.is_there(connection):
                return False
            return naming.is_entered(connection, pseudonym)

    def everybody(self, most: int) -> Iterator[tuple[Subject, Person]]:
        """Yield people and what stands for them, without passing pseudonyms and who cannot be told.

        Raises OperatorError.
        """
        with self._opened.read() as connection:
            if connection is None or not naming.is_there(connection):
                return
            named = connection.scalars(select(people.c.pseudonym).limit(most)).all()
        for some in batched(named, 100):
            found: list[tuple[Person, SubjectKey]] = []
            with contextlib.suppress(NotOpened):  # of who is asked for by name it is told
                found = self._entered(some)
            for person, key in found:
                subject = Subject(key.tenant, person.name)
                if naming.person_of(key, subject).pseudonym == person.pseudonym:
                    yield subject, person

    def pseudonyms(self, principal: str, tenant: str | None = None) -> list[str]:
        """Return what stands for a principal in events, of one tenant or of any. Raises OperatorError, NotOpened."""
        with self._lock, self._opened.read() as connection:
            if connection is None or not naming.is_there(connection):
                return []
            found: list[str] = []
            every = select(subject_keys.c.tenant).distinct()
            for whose in connection.scalars(every).all() if tenant is None else [tenant]:
                who = self._digest(connection, Subject(whose, principal))
                row = connection.execute(select(subject_keys).where(subject_keys.c.subject == who)).first()
                if row is not None:
                    found += naming.pseudonyms_of(connection, self._unsealed(row.id, row.tenant, row.sealed))
            return found

    def names_people(self) -> bool:
        """Whether pseudonyms of people whose keys are here stand in events somewhere. Raises OperatorError."""
        with self._opened.read() as connection:
            if connection is None or not naming.is_there(connection):
                return False
            return connection.scalar(select(people.c.pseudonym).limit(1)) is not None

    def erased_since(self, number: int) -> tuple[int, int, list[str]]:
        """Return which file it is, the number of its last erasure, and the keys destroyed after a number of it.

        Raises OperatorError.
        """
        with self._opened.read() as connection:
            if connection is None:
                return self._opened.times, 0, []
            later = select(erasures.c.number, erasures.c.key).where(erasures.c.number > number)
            rows = connection.execute(later.order_by(erasures.c.number)).all()
            return self._opened.times, rows[-1].number if rows else number, [row.key for row in rows]

    # -- for people --------------------------------------------------------------------------------------

    def find(self, subject: Subject) -> tuple[str, list[str], list[Erasure]]:
        """Return a subject's digest, the ids of its keys, and its erasures. Changes nothing but a first digest key."""
        with self._lock, self._opened.change() as connection:
            who = self._digest(connection, subject)
            own = select(subject_keys.c.id).where(subject_keys.c.subject == who)
            return who, list(connection.scalars(own)), erasures_of(connection, who)

    def destroy(self, subject: Subject, now_us: int, event: str) -> bool:
        """Destroy a subject's keys, and note which; done at once and for good. event: id of what will tell of it.

        Returns False where somebody who reads kept the write-ahead log from being emptied. Raises OperatorError,
        NotOpened.
        """
        with self._lock:
            with self._opened.change() as connection:
                self._opened.alone(connection)  # or numbers of erasures are not seen in their order
                who = self._digest(connection, subject)
                rows = connection.execute(select(subject_keys).where(subject_keys.c.subject == who)).all()
                for row in rows:
                    connection.execute(
                        insert(erasures).values(
                            key=row.id, subject=who, tenant=row.tenant, at_us=now_us, event=event, done=0
                        )
                    )
                self._remove_people(connection, rows)
                # By their ids: a key that a gateway makes meanwhile is the next one, of which nothing is noted.
                own = subject_keys.c.id.in_([row.id for row in rows])
                connection.execute(update(subject_keys).where(own).values(sealed="0" * 120))
                connection.execute(delete(subject_keys).where(own))
            self._drop()
            return self._scrub()

    def scrub(self) -> bool:
        """Let nothing of destroyed keys stay in the files; for an erasure that was interrupted."""
        with self._lock:
            return self._scrub()

    def settle(self, erased: Sequence[Erasure]) -> None:
        """Note that rows and event have followed the keys. Raises OperatorError."""
        ids = [each.key for each in erased]
        with self._opened.change() as connection:
            connection.execute(update(erasures).where(erasures.c.key.in_(ids)).values(done=1))

    def unfinished(self) -> list[Erasure]:
        """Return the erasures that rows or event have not followed yet. Raises OperatorError."""
        with self._opened.read() as connection:
            if connection is None:
                return []
            query = select(erasures).where(erasures.c.done == 0).order_by(erasures.c.number)
            return as_erasures(connection.execute(query))

    def erased_ids(self) -> list[str]:
        """Return the ids of all keys that were destroyed. Raises OperatorError."""
        with self._opened.read() as connection:
            return [] if connection is None else list(connection.scalars(select(erasures.c.key)))

    def unknown(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Return those of some ids that are of no key here, neither in use nor destroyed. Raises OperatorError."""
        with self._opened.read() as connection:
            if connection is None:
                return tuple(ids)
            known = {
                *connection.scalars(select(subject_keys.c.id)),
                *connection.scalars(select(erasures.c.key)),
            }
        return tuple(id for id in ids if id not in known)

    def each(self, tenant: str | None = None) -> Iterator[SubjectKey]:
        """Yield the keys there are, of one tenant or of all. Raises OperatorError, NotOpened."""
        with self._opened.read() as connection:
            if connection is None:
                return
            query = select(subject_keys).order_by(subject_keys.c.id)
            if tenant is not None:
                query = query.where(subject_keys.c.tenant == tenant)
            rows = connection.execute(query).all()
        for row in rows:
            yield self._unsealed(row.id, row.tenant, row.sealed)

    def rotate(self) -> int:
        """Seal all keys anew under the first master key; return how many were under another.

        Afterwards the other master keys can go, and with them what backups of this database hold. Raises
        OperatorError, NotOpened; nothing is changed then.
        """
        with self._lock, self._opened.change() as connection:
            seal = self._masters.sealer()
            stale = 0
            for row in connection.execute(select(subject_keys)).all():
                if not self._masters.is_under_first(row.sealed, seal.id):
                    value = self._masters.open(row.sealed, _ABOUT, row.id)
                    anew = update(subject_keys).where(subject_keys.c.id == row.id)
                    connection.execute(anew.values(sealed=seal(value, _ABOUT, row.id)))
                    stale += 1
            for row in connection.execute(select(settings)).all():
                if not self._masters.is_under_first(row.sealed, seal.id):
                    value = self._masters.open(row.sealed, _ABOUT, row.name)
                    named = update(settings).where(settings.c.name == row.name)
                    connection.execute(named.values(sealed=seal(value, _ABOUT, row.name)))
                    stale += 1
            if naming.is_there(connection):
                stale += naming.reseal(connection, self._masters)
        self._scrub()
        return stale

    # -- inside ------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if time.monotonic() - self._looked_s < FRESH_S:
            return
        with self._opened.read() as connection:
            erased = -1 if connection is None else int(connection.scalar(_LAST_ERASURE) or 0)
        if (seen := (self._opened.times, erased)) != self._seen:
            self._drop()
            self._seen = seen
        self._looked_s = time.monotonic()

    def _drop(self) -> None:
        self._by_subject.clear()
        self._by_id.clear()
        self._digest_key = (0, b"")
        self._looked_s = -math.inf

    def _hold(self, key: SubjectKey, subject: Subject | None = None) -> None:
        self._by_id[key.id] = key
        if subject is not None:
            self._by_subject[subject] = key
        while len(self._by_id) > _MAX_HELD:
            self._by_id.popitem(last=False)
        while len(self._by_subject) > _MAX_HELD:
            self._by_subject.popitem(last=False)

    def _scrub(self) -> bool:
        done = self._opened.scrub(subject_keys)
        with self._opened.read() as connection:
            # In SQLite one empties the log of all tables.
            if self._opened.is_sqlite or connection is None or not naming.is_there(connection):
                return done
        return self._opened.scrub(people) and done

    def _entered(self, pseudonyms: Sequence[str]) -> list[tuple[Person, SubjectKey]]:
        with self._opened.read() as connection:
            if connection is None or not naming.is_there(connection):
                return []
            rows = list(naming.entries(connection, self._masters, pseudonyms))
            own: dict[str, SubjectKey] = {}
            problem: NotOpened | None = None
            for some in batched({id for _, id, _ in rows}, 400):
                for row in connection.execute(select(subject_keys).where(subject_keys.c.id.in_(some))).all():
                    try:
                        own[row.id] = self._unsealed(row.id, row.tenant, row.sealed)
                    except NotOpened as error:
                        problem = error
            if problem is not None and not own:
                raise problem
        found = ((naming.opened(own[id], name, box), own[id]) for name, id, box in rows if id in own)
        return [(person, key) for person, key in found if person is not None]

    def _remove_people(self, connection: Connection, rows: Sequence[Row[Any]]) -> None:
        """Remove what names the people of keys. What no master key here opens stays sealed under that of elsewhere."""
        if not naming.is_there(connection):
            return
        for row in rows:
            with contextlib.suppress(NotOpened, ValueError):
                naming.remove(connection, self._unsealed(row.id, row.tenant, row.sealed))

    def _find_or_make(self, subject: Subject) -> SubjectKey:
        for _ in range(2):
            try:
                with self._opened.change() as connection:
                    who = self._digest(connection, subject)
                    own = select(subject_keys).where(subject_keys.c.subject == who)
                    row = connection.execute(own).first()
                    ends = select(func.max(erasures.c.at_us)).where(erasures.c.subject == who)
                    forgotten_us = int(connection.scalar(ends) or 0)
                    if row is not None:
                        return replace(
                            self._unsealed(row.id, row.tenant, row.sealed), forgotten_us=forgotten_us
                        )
                    made = SubjectKey(
                        secrets.token_hex(16), subject.tenant, secrets.token_bytes(32), forgotten_us
                    )
                    values = {
                        "id": made.id,
                        "subject": who,
                        "tenant": subject.tenant,
                        "sealed": self._masters.seal(_text(made.secret), _ABOUT, made.id),
                        "made_us": time.time_ns() // 1000,
                    }
                    try:
                        connection.execute(insert(subject_keys).values(values))
                    except IntegrityError:
                        raise _Raced from None
                return made
            except _Raced:
                continue  # another process made one meanwhile
        raise OperatorError(
            f"content keys {self.name}", "a key is made again and again", "See who writes there"
        )

    def _find(self, id: str) -> SubjectKey:
        with self._opened.read() as connection:
            if connection is None:
                raise UnknownKey
            row = connection.execute(select(subject_keys).where(subject_keys.c.id == id)).first()
            if row is None:
                gone = connection.scalar(select(erasures.c.key).where(erasures.c.key == id))
                raise UnknownKey if gone is None else Forgotten
        return self._unsealed(row.id, row.tenant, row.sealed)

    def _unsealed(self, id: str, tenant: str, sealed: str) -> SubjectKey:
        return SubjectKey(id, tenant, base64.b64decode(self._masters.open(sealed, _ABOUT, id)))

    def _digest(self, connection: Connection, subject: Subject) -> str:
        opened, key = self._digest_key
        if not key or opened != self._opened.times:
            query = select(settings.c.sealed).where(settings.c.name == _DIGEST)
            sealed = connection.scalar(query)
            is_there = sealed is not None
            if not is_there:
                made = _text(secrets.token_bytes(32))
                try:
                    with connection.begin_nested():
                        values = {"name": _DIGEST, "sealed": self._masters.seal(made, _ABOUT, _DIGEST)}
                        connection.execute(insert(settings).values(values))
                except IntegrityError:
                    pass  # another process was first
                sealed = connection.scalar(query)
            key = base64.b64decode(self._masters.open(cast(str, sealed), _ABOUT, _DIGEST))
            if is_there:  # one just made goes with its transaction where that fails
                self._digest_key = (self._opened.times, key)
        return digest(key, "subject", subject.tenant, subject.principal)


class _Raced(Exception):
    """Another process made the same key first."""


_LAST_ERASURE = select(func.max(erasures.c.number))


def _text(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


def keys_address(masters: MasterKeys) -> str:
    """Return the address of the keys' database: as the environment says, else a file beside the master key."""
    named = masters.variables.get(VARIABLE) or os.fspath(masters.default_file.with_name("content-keys.db"))
    return named if "://" in named else f"sqlite:///{named}"


@lru_cache(maxsize=8)
def subject_keys_of(masters: MasterKeys) -> SubjectKeys:
    """Return the subjects' keys that lie under master keys, the same for each caller."""
    return SubjectKeys(keys_address(masters), masters)

"""The rows that say whose pseudonym is whose: each sealed under the master key, its name under the person's own key.

A row names no key in clear. A backup of it says nothing once the master key is another, and which rows are a person's
is known only to who has that person's key: whoever destroys the key can find them, nobody afterwards.
"""

import base64
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from sqlalchemy import Connection, delete, insert, inspect, select, update

from sallyport.state.content.schema import people
from sallyport.state.content.subjects import Subject, SubjectKey
from sallyport.state.masterkey import MasterKeys, NotOpened

PREFIX = "person:"
"""What every pseudonym begins with; 32 hex digits follow."""

SEALED = "sealed:"
"""What a text begins with that is sealed under its person's key; base64 follows, the same for the same text."""

_ABOUT = "content person"
_TEXT = [b"sallyport event text 1"]
_NONCE_BYTES = 12
_AT_ONCE = 400


@dataclass(frozen=True, slots=True)
class Person:
    """What stands for a person in events, and what seals the other texts of it there.

    key: id of the person's key, "" where that is not known yet. secret: 64 bytes of AES-256-SIV.
    """

    key: str
    name: str = field(repr=False)
    pseudonym: str
    secret: bytes = field(repr=False)

    def seal(self, text: str) -> str:
        """Return a text sealed: equal for equal texts of this person, so that what is equal can be counted."""
        data = AESSIV(self.secret).encrypt(text.encode("utf-8", "surrogatepass"), _TEXT)
        return SEALED + base64.urlsafe_b64encode(data).decode().rstrip("=")

    def unseal(self, sealed: str) -> str:
        """Return a text that seal() made; "" where it was changed, or made for somebody else."""
        try:
            data = base64.urlsafe_b64decode(sealed.removeprefix(SEALED) + "==")
            return AESSIV(self.secret).decrypt(data, _TEXT).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            return ""


def person_of(key: SubjectKey, subject: Subject) -> Person:
    """Return who a subject is under its key: always the same, and to be computed by nobody without the key."""
    parts = [text.encode("utf-8", "surrogatepass") for text in (subject.tenant, subject.principal)]
    message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    mac = hmac.digest(key.derived("pseudonym"), message, "sha256")
    secret = key.derived("event texts", b"1") + key.derived("event texts", b"2")
    return Person(key.id, subject.principal, PREFIX + mac.hex()[:32], secret)


def passing_person(subject: Subject) -> Person:
    """Return a person of whom no key can be had now: under secrets of this moment, which enter() makes lasting."""
    return Person("", subject.principal, PREFIX + secrets.token_hex(16), secrets.token_bytes(64))


def is_there(connection: Connection) -> bool:
    """Say whether there is the table; an earlier Sallyport made none."""
    return inspect(connection).has_table(people.name)


def is_entered(connection: Connection, pseudonym: str) -> bool:
    """Say whether there is a row of a pseudonym."""
    query = select(people.c.pseudonym).where(people.c.pseudonym == pseudonym)
    return connection.scalar(query) is not None


def enter(connection: Connection, masters: MasterKeys, key: SubjectKey, person: Person) -> None:
    """Add the row of a person. Raises OperatorError where no master key can be had."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    said = json.dumps({"name": person.name, "secret": _text(person.secret)}).encode("ascii")
    box = nonce + AESGCM(key.derived("names")).encrypt(nonce, said, person.pseudonym.encode())
    row = json.dumps({"key": key.id, "box": _text(box)})
    values = {
        "pseudonym": person.pseudonym,
        "owner": owner_of(key),
        "sealed": masters.seal(row, _ABOUT, person.pseudonym),
    }
    connection.execute(insert(people).values(values))


def entries(
    connection: Connection, masters: MasterKeys, pseudonyms: Iterable[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield pseudonym, id of the key and box of those that have a row. Raises OperatorError.

    A row that cannot be opened is left out; NotOpened is raised where there are no others.
    """
    wanted = sorted(set(pseudonyms))
    opens, problem = False, None
    for start in range(0, len(wanted), _AT_ONCE):
        some = people.c.pseudonym.in_(wanted[start : start + _AT_ONCE])
        for row in connection.execute(select(people).where(some)).all():
            try:
                said = json.loads(masters.open(row.sealed, _ABOUT, row.pseudonym))
            except NotOpened as error:
                problem = error
                continue
            except ValueError:
                problem = NotOpened("It was changed in the store.")
                continue
            opens = True
            yield row.pseudonym, said["key"], said["box"]
    if problem is not None and not opens:
        raise problem


def opened(key: SubjectKey, pseudonym: str, box: str) -> Person | None:
    """Return the person that a box names, None where it was changed or put in another's place."""
    data = base64.b64decode(box)
    try:
        plain = AESGCM(key.derived("names")).decrypt(
            data[:_NONCE_BYTES], data[_NONCE_BYTES:], pseudonym.encode()
        )
    except (InvalidTag, ValueError):
        return None
    said = json.loads(plain)
    return Person(key.id, said["name"], pseudonym, base64.b64decode(said["secret"]))


def pseudonyms_of(connection: Connection, key: SubjectKey) -> list[str]:
    """Return all that stands for the person of a key in events."""
    return list(connection.scalars(select(people.c.pseudonym).where(people.c.owner == owner_of(key))))


def remove(connection: Connection, key: SubjectKey) -> None:
    """Overwrite and delete the rows of the person of a key."""
    own = people.c.owner == owner_of(key)
    connection.execute(update(people).where(own).values(sealed="0" * 400))
    connection.execute(delete(people).where(own))


def reseal(connection: Connection, masters: MasterKeys) -> int:
    """Seal all rows anew under the first master key; return how many were under another."""
    seal, stale = masters.sealer(), 0
    for row in connection.execute(select(people)).all():
        if not masters.is_under_first(row.sealed, seal.id):
            said = masters.open(row.sealed, _ABOUT, row.pseudonym)
            own = people.c.pseudonym == row.pseudonym
            anew = seal(said, _ABOUT, row.pseudonym)
            connection.execute(update(people).where(own).values(sealed=anew))
            stale += 1
    return stale


def owner_of(key: SubjectKey) -> str:
    """Return by what the rows of a person are found: known to who has the key."""
    return hmac.digest(key.derived("names of"), b"", "sha256").hex()[:32]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()

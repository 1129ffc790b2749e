"""Keys by their fingerprints, in the tables of the directory."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, insert, or_, select, update

from sallyport.errors import OperatorError
from sallyport.stages.directory import Key, KeyKind
from sallyport.state.directory.schema import keys
from sallyport.state.directory.times import microseconds, moment_or_none

_SCOPES = ("providers", "models", "operations", "networks")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key with what only people ask of it. label: what somebody called it; issued_at: or listed."""

    key: Key
    label: str = ""
    issued_at: datetime | None = None


def load_keys(connection: Connection) -> tuple[Key, ...]:
    """Return all keys, retired ones included, by id."""
    return tuple(record.key for record in load_key_records(connection))


def load_key_records(connection: Connection) -> tuple[KeyRecord, ...]:
    """Return all keys with their labels, by id."""
    return tuple(_record(row) for row in connection.execute(select(keys).order_by(keys.c.id)))


def find_key(connection: Connection, named: str) -> KeyRecord | None:
    """Return the key of an id or a fingerprint."""
    query = select(keys).where(or_(keys.c.id == named, keys.c.fingerprint == named))
    row = connection.execute(query.order_by(keys.c.id == named)).first()
    return None if row is None else _record(row)


def put_key(connection: Connection, record: KeyRecord) -> None:
    """Write a key, new or in place of the one of that fingerprint. Raises OperatorError for an id in use."""
    key = record.key
    taken = select(keys.c.fingerprint).where(keys.c.id == key.id, keys.c.fingerprint != key.fingerprint)
    if connection.execute(taken).first() is not None:
        raise OperatorError("--id", "another key has this id", "Choose another")
    row: dict[str, object] = {
        "id": key.id,
        "kind": key.kind.value,
        "owner": key.owner,
        "tenant": key.tenant,
        "roles": orjson.dumps(list(key.roles)).decode(),
        "personal": key.personal,
        "retired": key.retired,
        "issued_us": None if record.issued_at is None else microseconds(record.issued_at),
        "expires_us": None if key.expires_at is None else microseconds(key.expires_at),
        "credential": key.credential,
        "scopes": orjson.dumps({name: list(getattr(key, name)) for name in _SCOPES}).decode(),
        "label": record.label,
    }
    there = update(keys).where(keys.c.fingerprint == key.fingerprint).values(row)
    if connection.execute(there).rowcount == 0:
        connection.execute(insert(keys).values(fingerprint=key.fingerprint, **row))


def keys_with(connection: Connection, credential: str) -> tuple[str, ...]:
    """Return the ids of the gateway keys, retired ones left out, that a credential takes the place of."""
    query = select(keys.c.id).where(keys.c.credential == credential, keys.c.retired.is_(False))
    return tuple(connection.scalars(query.order_by(keys.c.id)))


def _record(row: Row[Any]) -> KeyRecord:
    scopes = {name: tuple(values) for name, values in orjson.loads(row.scopes).items() if name in _SCOPES}
    key = Key(
        fingerprint=row.fingerprint,
        id=row.id,
        owner=row.owner,
        tenant=row.tenant,
        roles=tuple(orjson.loads(row.roles)),
        kind=KeyKind(row.kind),
        personal=bool(row.personal),
        retired=bool(row.retired),
        expires_at=moment_or_none(row.expires_us),
        credential=row.credential,
        **scopes,
    )
    return KeyRecord(key, row.label, moment_or_none(row.issued_us))

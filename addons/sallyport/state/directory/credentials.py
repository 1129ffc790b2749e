"""Where the real credentials come from, in the tables of the directory. None of them is here in clear."""

import base64
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, insert, select, update

from sallyport.state.directory.schema import credentials
from sallyport.state.directory.times import microseconds, moment

SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A real credential by its name.

    hosts: where it may go; empty: the provider's hosts that nobody else can have a part of.
    source: `env:NAME` or `file:PATH` on the gateway's machine, or `sealed`. sealed: then the credential,
    encrypted under the master key, in base64; else "".
    """

    name: str
    provider: str
    source: str
    changed_at: datetime
    hosts: tuple[str, ...] = ()
    sealed: str = field(default="", repr=False)

    @property
    def about(self) -> tuple[str, ...]:
        """What a sealed credential is bound to: whoever changes the store cannot send it to another's host."""
        return (self.name, self.provider, *self.hosts)


def load_credentials(connection: Connection) -> tuple[StoredCredential, ...]:
    """Return all credentials, by name."""
    return tuple(_stored(row) for row in connection.execute(select(credentials).order_by(credentials.c.name)))


def find_credential(connection: Connection, name: str) -> StoredCredential | None:
    """Return the credential of a name."""
    row = connection.execute(select(credentials).where(credentials.c.name == name)).first()
    return None if row is None else _stored(row)


def put_credential(connection: Connection, stored: StoredCredential) -> None:
    """Write a credential, new or in place of the one of that name."""
    row: dict[str, object] = {
        "provider": stored.provider,
        "source": stored.source,
        "hosts": orjson.dumps(list(stored.hosts)).decode(),
        "sealed": base64.b64decode(stored.sealed) if stored.sealed else None,
        "changed_us": microseconds(stored.changed_at),
    }
    there = update(credentials).where(credentials.c.name == stored.name).values(row)
    if connection.execute(there).rowcount == 0:
        connection.execute(insert(credentials).values(name=stored.name, **row))


def remove_credential(connection: Connection, name: str) -> bool:
    """Remove a credential; False if there was none."""
    return connection.execute(delete(credentials).where(credentials.c.name == name)).rowcount > 0


def _stored(row: Row[Any]) -> StoredCredential:
    sealed = base64.b64encode(row.sealed).decode() if row.sealed is not None else ""
    hosts = tuple(orjson.loads(row.hosts))
    return StoredCredential(row.name, row.provider, row.source, moment(row.changed_us), hosts, sealed)

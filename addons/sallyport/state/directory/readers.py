"""Tokens of those who may read a tenant's events, kept as digests.

A token holds 32 random bytes, so a plain digest of it cannot be guessed backwards. It binds commands and
servers that ask for it; who can open the file of an SQLite store reads what is in it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, insert, select, true, update

from sallyport.state.directory.schema import readers, settings
from sallyport.state.directory.times import microseconds, moment, moment_or_none

EVERY_TENANT = "*"
"""The tenant of a token that may read everything."""

_PREFIX = "sprt_"


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who may read. tenant: EVERY_TENANT for all. The token itself is kept nowhere."""

    id: str
    tenant: str
    by: str
    issued_at: datetime
    expires_at: datetime | None = None
    revoked: bool = False

    def holds(self, now: datetime) -> bool:
        """Say whether the token is good at a time."""
        return not self.revoked and (self.expires_at is None or now < self.expires_at)

    def may_read(self, tenant: str) -> bool:
        """Say whether the events of a tenant may be read with it."""
        return self.tenant in (EVERY_TENANT, tenant)


def issue(
    connection: Connection, tenant: str, by: str, now: datetime, expires_at: datetime | None = None
) -> tuple[Reader, str]:
    """Add a reader; return it and its token, which is shown this once."""
    token = _PREFIX + secrets.token_urlsafe(32)
    reader = Reader("rd_" + secrets.token_hex(5), tenant, by, now, expires_at)
    row = {
        "id": reader.id,
        "tenant": tenant,
        "digest": _digest(token),
        "by": by,
        "issued_us": microseconds(now),
        "expires_us": None if expires_at is None else microseconds(expires_at),
        "revoked": False,
    }
    connection.execute(insert(readers), row)
    return reader, token


def reader_of(connection: Connection, token: str) -> Reader | None:
    """Return whose token this is, also where it does not hold any more."""
    return next(iter(_load(connection, readers.c.digest == _digest(token))), None)


def load_readers(connection: Connection) -> tuple[Reader, ...]:
    """Return all readers, oldest first."""
    return _load(connection, true())


def revoke(connection: Connection, id: str) -> bool:
    """Let a reader's token hold no more; False if there is no such reader."""
    return connection.execute(update(readers).where(readers.c.id == id).values(revoked=True)).rowcount > 0


def reading_needs_token(connection: Connection) -> bool:
    """Say whether events may only be read with a token."""
    return connection.scalar(select(settings.c.value).where(settings.c.name == "readers")) == "required"


def require_tokens(connection: Connection, required: bool) -> None:
    """Say that events may only be read with a token, or that they may be read without."""
    value = "required" if required else "free"
    row = update(settings).where(settings.c.name == "readers").values(value=value)
    if connection.execute(row).rowcount == 0:
        connection.execute(insert(settings), {"name": "readers", "value": value})


def _load(connection: Connection, which: ColumnElement[bool]) -> tuple[Reader, ...]:
    found = select(readers).where(which).order_by(readers.c.issued_us)
    return tuple(
        Reader(r.id, r.tenant, r.by, moment(r.issued_us), moment_or_none(r.expires_us), bool(r.revoked))
        for r in connection.execute(found)
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()

"""Where sealed content is kept: tables of their own, in a file beside the audit's or in its PostgreSQL database.

All calls block. Nothing here can open anything: keys are in state/content/keys.py and in another database.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from sallyport.state.content.opening import Opened
from sallyport.state.content.schema import (
    CONTENT_PART,
    CONTENT_VERSION,
    content,
    content_versions,
    records,
    reveals,
    tokens,
)
from sallyport.state.content.sealing import Part

_ASKED_AT_ONCE = 400
_PAUSE_S = 0.002


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed part. key: id of the subject's key. tokens: of the values found in it."""

    exchange: str
    part: Part
    key: str
    tenant: str
    at_us: int
    until_us: int
    kind: str
    form: str
    sealed: bytes = field(repr=False)
    tokens: frozenset[bytes] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows that went, or are there."""

    records: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to see an exchange. until_us: end of its approval, None where nobody has approved."""

    id: str
    exchange: str
    asked_by: str
    reason: str
    asked_us: int
    approved_by: str = ""
    approved_reason: str = ""
    until_us: int | None = None


class ContentStore:
    """The tables of kept content."""

    def __init__(self, url: str) -> None:
        self._opened = Opened(url, "content store", CONTENT_PART, CONTENT_VERSION, content, content_versions)

    @property
    def name(self) -> str:
        """The address without a password."""
        return self._opened.name

    def close(self) -> None:
        """Close all connections."""
        self._opened.close()

    def make(self) -> None:
        """Make the tables where there are none. Raises OperatorError."""
        self._opened.make()

    def put(self, parts: Sequence[Sealed]) -> None:
        """Store parts, durable when this returns; what is there already stays as it is. Raises OperatorError."""
        if not parts:
            return
        with self._opened.change() as connection:
            exchanges = sorted({each.exchange for each in parts})
            there: set[tuple[str, str]] = set()
            known: set[tuple[bytes, str]] = set()
            for first in range(0, len(exchanges), _ASKED_AT_ONCE):
                some = exchanges[first : first + _ASKED_AT_ONCE]
                rows = connection.execute(
                    select(records.c.exchange, records.c.part).where(records.c.exchange.in_(some))
                )
                there.update((row.exchange, row.part) for row in rows)
                found = connection.execute(
                    select(tokens.c.token, tokens.c.exchange).where(tokens.c.exchange.in_(some))
                )
                known.update((bytes(row.token), row.exchange) for row in found)
            new_records, new_tokens = _rows(parts, there, known)
            if new_records:
                connection.execute(insert(records), new_records)
            if new_tokens:
                connection.execute(insert(tokens), new_tokens)

    def find(self, exchange: str) -> tuple[Sealed, ...]:
        """Return the parts of an exchange, the request first. Raises OperatorError."""
        with self._opened.read() as connection:
            if connection is None:
                return ()
            query = select(records).where(records.c.exchange == exchange).order_by(records.c.part.desc())
            return tuple(_sealed(row) for row in connection.execute(query).mappings())

    def begins(self, prefix: str) -> tuple[str, ...]:
        """Return up to two exchanges of which something is kept and whose id begins so. Raises OperatorError."""
        with self._opened.read() as connection:
            if connection is None or not prefix:
                return ()
            query = (
                select(records.c.exchange)
                .distinct()
                .where(records.c.exchange.startswith(prefix, autoescape=True))
            )
            return tuple(connection.scalars(query.limit(2)))

    def having(self, wanted: Iterable[bytes]) -> tuple[str, ...]:
        """Return the exchanges that one of these tokens stands for. Raises OperatorError."""
        found: set[str] = set()
        asked = list(wanted)
        with self._opened.read() as connection:
            if connection is None:
                return ()
            for first in range(0, len(asked), _ASKED_AT_ONCE):
                some = asked[first : first + _ASKED_AT_ONCE]
                query = select(tokens.c.exchange).where(tokens.c.token.in_(some))
                found.update(connection.scalars(query))
        return tuple(sorted(found))

    def keys(self) -> tuple[str, ...]:
        """Return the ids of all keys that something is sealed under. Raises OperatorError."""
        with self._opened.read() as connection:
            if connection is None:
                return ()
            return tuple(connection.scalars(select(records.c.key).distinct()))

    def count(self, keys: Sequence[str]) -> Counts:
        """Return what is there under keys. Raises OperatorError."""
        with self._opened.read() as connection:
            if connection is None:
                return Counts()
            both = [
                connection.scalar(select(func.count()).where(table.c.key.in_(keys))) or 0
                for table in (records, tokens)
            ]
            return Counts(*both)

    def remove(self, keys: Sequence[str]) -> Counts:
        """Remove all that is sealed under keys. Raises OperatorError."""
        if not self._is_there():
            return Counts()
        gone = [0, 0]
        for first in range(0, len(keys), _ASKED_AT_ONCE):
            some = keys[first : first + _ASKED_AT_ONCE]
            for n, table in enumerate((records, tokens)):
                gone[n] += self._remove(table, table.c.key.in_(some))
        return Counts(*gone)

    def sweep(self, now_us: int, erased: Sequence[str] = ()) -> Counts:
        """Remove what has been kept long enough, and what is under keys that are gone. Raises OperatorError."""
        gone = self.remove(erased) if erased else Counts()
        if not self._is_there():
            return gone
        over = [self._remove(table, table.c.until_us <= now_us) for table in (records, tokens)]
        return Counts(gone.records + over[0], gone.tokens + over[1])

    def _remove(self, table: Table, which: ColumnElement[bool]) -> int:
        """Remove rows, few in one transaction, between which others can write; return how many went."""
        gone = 0
        while True:
            with self._opened.change() as connection:
                some = connection.scalars(select(table.c.exchange).where(which).limit(_ASKED_AT_ONCE)).all()
                if not some:
                    return gone
                gone += connection.execute(
                    delete(table).where(which, table.c.exchange.in_(set(some)))
                ).rowcount
            if len(some) < _ASKED_AT_ONCE:
                return gone
            time.sleep(_PAUSE_S)  # or who waits for SQLite's lock would hardly find it free

    # -- requests to see -----------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> None:
        """Note that somebody asks to see an exchange. Raises OperatorError."""
        with self._opened.change() as connection:
            names = ("id", "exchange", "asked_by", "reason", "asked_us")
            connection.execute(insert(reveals).values({name: getattr(asked, name) for name in names}))

    def approve(self, id: str, by: str, reason: str, until_us: int) -> None:
        """Note that somebody else approves. Raises OperatorError."""
        with self._opened.change() as connection:
            values = {"approved_by": by, "approved_reason": reason, "until_us": until_us}
            connection.execute(update(reveals).where(reveals.c.id == id).values(values))

    def asked(self, *, id: str | None = None, exchange: str | None = None) -> tuple[Asked, ...]:
        """Return requests to see, the latest first. Raises OperatorError."""
        query = select(reveals).order_by(reveals.c.asked_us.desc(), reveals.c.id)
        if id is not None:
            query = query.where(reveals.c.id == id)
        if exchange is not None:
            query = query.where(reveals.c.exchange == exchange)
        with self._opened.read() as connection:
            if connection is None:
                return ()
            return tuple(Asked(**row) for row in connection.execute(query).mappings())

    def _is_there(self) -> bool:
        with self._opened.read() as connection:
            return connection is not None


def _rows(
    parts: Sequence[Sealed], there: set[tuple[str, str]], known: set[tuple[bytes, str]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of what is not there yet, of both tables; and take note of them."""
    new_records: list[dict[str, Any]] = []
    new_tokens: list[dict[str, Any]] = []
    for each in parts:
        if (each.exchange, each.part.value) in there:
            continue
        there.add((each.exchange, each.part.value))
        new_records.append(
            {
                "exchange": each.exchange,
                "part": each.part.value,
                "key": each.key,
                "tenant": each.tenant,
                "at_us": each.at_us,
                "until_us": each.until_us,
                "kind": each.kind,
                "form": each.form,
                "sealed": each.sealed,
            }
        )
        for token in sorted(each.tokens):
            if (token, each.exchange) not in known:
                known.add((token, each.exchange))
                new_tokens.append(
                    {"token": token, "exchange": each.exchange, "key": each.key, "until_us": each.until_us}
                )
    return new_records, new_tokens


def _sealed(row: Any) -> Sealed:
    return Sealed(
        row["exchange"],
        Part(row["part"]),
        row["key"],
        row["tenant"],
        row["at_us"],
        row["until_us"],
        row["kind"],
        row["form"],
        bytes(row["sealed"]),
    )


def content_address(store: str | Path) -> str:
    """Return where the content of an audit store is: content.db beside a file, or the same PostgreSQL database."""
    try:
        parsed = make_url(str(store)) if "://" in str(store) else None
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is not None and parsed.drivername.partition("+")[0] != "sqlite":
        return str(store)
    path = Path((parsed.database if parsed is not None else str(store)) or "audit.db")
    return f"sqlite:///{path.with_name('content.db')}"

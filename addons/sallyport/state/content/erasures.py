"""What is kept of keys that were destroyed: which, of whom, when, and whether all has followed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from sallyport.state.content.schema import erasures


@dataclass(frozen=True, slots=True)
class Erasure:
    """One subject's destroyed key. event: id of the one that tells of it. done: whether all has followed."""

    key: str
    subject: str
    tenant: str
    at_us: int
    event: str
    done: bool


def erasures_of(connection: Connection, subject: str) -> list[Erasure]:
    """Return the erasures of a subject, by its digest, in their order."""
    query = select(erasures).where(erasures.c.subject == subject).order_by(erasures.c.number)
    return as_erasures(connection.execute(query))


def as_erasures(rows: Iterable[Row[Any]]) -> list[Erasure]:
    """Return what rows of the table of erasures say."""
    return [Erasure(row.key, row.subject, row.tenant, row.at_us, row.event, bool(row.done)) for row in rows]

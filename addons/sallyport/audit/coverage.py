"""How much of what went to AI hosts was read: shares over any dimension, and what was not read, with reasons.

Counted are ends of exchanges, and connections to AI hosts that never became one. Exchanges that were recorded before
classes were (schema 4 and earlier) are told apart as unclassified.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, Select, func, or_, select

from sallyport.audit.classes import Coverage
from sallyport.audit.events import END_KINDS
from sallyport.audit.schema import events, microseconds

_DAY_US = 86_400_000_000


class CoverageDimension(StrEnum):
    """What coverage is broken down by. day: UTC, of the end of the exchange."""

    HOST = "host"
    PROVIDER = "provider"
    ENDPOINT = "endpoint"
    OPERATION = "operation"
    CONTENT_TYPE = "content-type"
    TENANT = "tenant"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Shares:
    """How many requests ended in each class.

    by: value by dimension, "" where an event says none. unclassified: recorded before there were classes.
    """

    by: Mapping[str, str]
    counts: Mapping[Coverage, int]
    unclassified: int = 0

    @property
    def total(self) -> int:
        """All that was counted, unclassified included."""
        return sum(self.counts.values()) + self.unclassified

    def covered(self, *, strict: bool = False) -> float | None:
        """Return the share of what left that was read, 0 to 1; None where nothing left.

        strict: what was read in part is not read. What nobody classified is not read either.
        """
        left = self.total - self.counts.get(Coverage.DENIED, 0)
        read = self.counts.get(Coverage.PARSED, 0)
        if not strict:
            read += self.counts.get(Coverage.PARSED_IN_PART, 0)
        return read / left if left else None


@dataclass(frozen=True, slots=True)
class Unparsed:
    """Requests that were not read whole, alike in all that this tells.

    reason: a code of proxy/covering.py, or for what was denied the reason or the detail of its event.
    """

    coverage: Coverage
    host: str
    endpoint: str
    content_type: str
    reason: str
    count: int


def shares_query(
    by: Sequence[CoverageDimension], since: datetime | None, until: datetime | None
) -> Select[Any]:
    """Return the query for the counts; shares_of reads its rows. since is included, until is not."""
    dimensions = [_column(dimension).label(f"by_{dimension.name}") for dimension in by]
    query = select(*dimensions, events.c.coverage.label("class"), func.count().label("count"))
    return _within(query, since, until).group_by(*dimensions, events.c.coverage)


def shares_of(rows: Sequence[RowMapping], by: Sequence[CoverageDimension]) -> tuple[Shares, ...]:
    """Return the counts by dimensions, sorted by their values."""
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for row in rows:
        values = tuple(_value(dimension, row[f"by_{dimension.name}"]) for dimension in by)
        counts = found.setdefault(values, {})
        name = row["class"] or ""
        counts[name] = counts.get(name, 0) + int(row["count"])
    return tuple(
        Shares(
            dict(zip((d.value for d in by), values, strict=True)),
            {each: counts.get(each.value, 0) for each in Coverage},
            counts.get("", 0),
        )
        for values, counts in sorted(found.items())
    )


_REASON = func.coalesce(events.c.unread, events.c.reason, events.c.detail)
_ALIKE = ("coverage", "host", "endpoint", "content_type")


def unparsed_query(since: datetime | None, until: datetime | None) -> Select[Any]:
    """Return the query for what was not read whole; unparsed_of reads its rows."""
    columns = [events.c[name] for name in _ALIKE]
    query = select(*columns, _REASON.label("why"), func.count().label("count"))
    query = query.where(events.c.coverage.is_not(None), events.c.coverage != Coverage.PARSED.value)
    return _within(query, since, until).group_by(*columns, _REASON)


def unparsed_of(rows: Sequence[RowMapping]) -> tuple[Unparsed, ...]:
    """Return what was not read whole: what left before what was denied, then the most frequent first."""
    found = [
        Unparsed(
            coverage=Coverage(row["coverage"]),
            host=row["host"] or "",
            endpoint=row["endpoint"] or "",
            content_type=row["content_type"] or "",
            reason=row["why"] or "",
            count=int(row["count"]),
        )
        for row in rows
    ]
    return tuple(
        sorted(
            found,
            key=lambda u: (
                u.coverage is Coverage.DENIED,
                -u.count,
                u.host,
                u.endpoint,
                u.content_type,
                u.reason,
            ),
        )
    )


def together(shares: Sequence[Shares]) -> Shares:
    """Return the sum over all rows."""
    counts = {each: sum(s.counts.get(each, 0) for s in shares) for each in Coverage}
    return Shares({}, counts, sum(s.unclassified for s in shares))


def _within(query: Select[Any], since: datetime | None, until: datetime | None) -> Select[Any]:
    ends = events.c.kind.in_([kind.value for kind in END_KINDS])
    at_connection = events.c.exchange.is_(None) & events.c.coverage.is_not(None)
    query = query.where(or_(ends, at_connection))
    if since is not None:
        query = query.where(events.c.at_us >= microseconds(since))
    if until is not None:
        query = query.where(events.c.at_us < microseconds(until))
    return query


def _column(dimension: CoverageDimension) -> Any:
    if dimension is CoverageDimension.DAY:
        return events.c.at_us - events.c.at_us % _DAY_US
    return events.c[dimension.name.lower()]


def _value(dimension: CoverageDimension, value: Any) -> str:
    if dimension is CoverageDimension.DAY:
        return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(value)):%Y-%m-%d}"
    return str(value or "")

"""Who used what, for how much: sums over the end events of exchanges, in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, Select, and_, case, func, select

from sallyport.audit.events import EventKind
from sallyport.audit.schema import events, microseconds

_DAY_US = 86_400_000_000


class SpendDimension(StrEnum):
    """What spend is broken down by. day and month: UTC, of the end of the exchange."""

    PRINCIPAL = "principal"
    TENANT = "tenant"
    MODEL = "model"
    PROVIDER = "provider"
    OPERATION = "operation"
    KEY = "key"
    HOST = "host"
    GATEWAY = "gateway"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Spend:
    """What some exchanges used together.

    by: value by dimension, "" where an event says none. unpriced: exchanges with usage and no known price,
    which cost_micro_usd leaves out. counted: exchanges whose usage the provider did not report.
    """

    by: Mapping[str, str]
    exchanges: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    cost_micro_usd: int
    unpriced: int
    counted: int


_SUMS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "cost_micro_usd")
_COLUMNS = {SpendDimension.KEY: "credential"}


def spend_query(by: Sequence[SpendDimension], since: datetime | None, until: datetime | None) -> Select[Any]:
    """Return the query for the sums; spend_of reads its rows. since is included, until is not."""
    dimensions = [_column(dimension).label(f"by_{dimension}") for dimension in by]
    unpriced = and_(events.c.cost_micro_usd.is_(None), events.c.input_tokens.is_not(None))
    query = select(
        *dimensions,
        func.count().label("exchanges"),
        *(func.coalesce(func.sum(events.c[name]), 0).label(name) for name in _SUMS),
        func.sum(case((unpriced, 1), else_=0)).label("unpriced"),
        func.sum(case((events.c.usage_source.in_(("counted", "estimated")), 1), else_=0)).label("counted"),
    ).where(events.c.kind.in_((EventKind.COMPLETED.value, EventKind.BROKEN.value)))
    if since is not None:
        query = query.where(events.c.at_us >= microseconds(since))
    if until is not None:
        query = query.where(events.c.at_us < microseconds(until))
    return query.group_by(*dimensions) if dimensions else query


def spend_of(rows: Sequence[RowMapping], by: Sequence[SpendDimension]) -> tuple[Spend, ...]:
    """Return the sums, the most expensive first, then by use and name."""
    sums: dict[tuple[str, ...], list[int]] = {}
    names = ("exchanges", *_SUMS, "unpriced", "counted")
    for row in rows:
        values = tuple(_value(dimension, row[f"by_{dimension}"]) for dimension in by)
        total = sums.setdefault(values, [0] * len(names))
        for place, name in enumerate(names):
            total[place] += int(row[name] or 0)
    found = [
        Spend(
            dict(zip((d.value for d in by), values, strict=True)),
            **dict(zip(names, total, strict=True)),
        )
        for values, total in sums.items()
        if total[0]
    ]
    return tuple(sorted(found, key=lambda s: (-s.cost_micro_usd, -s.exchanges, tuple(s.by.values()))))


@dataclass(frozen=True, slots=True)
class Booked:
    """What the exchanges that were admitted in a period and have ended used, by everything limits count apart."""

    principal: str
    tenant: str
    credential: str
    provider: str
    host: str
    model: str
    operation: str
    client: str
    requests: int
    input_tokens: int
    output_tokens: int
    request_bytes: int
    response_bytes: int
    cost_micro_usd: int


_APART = ("principal", "tenant", "credential", "provider", "host", "model", "operation", "client")
_BOOKED = ("input_tokens", "output_tokens", "request_bytes", "response_bytes", "cost_micro_usd")


def booked_query(since: datetime, until: datetime) -> Select[Any]:
    """Return the query for what was used by exchanges admitted in [since, until); booked_of reads its rows.

    Where nobody knows the price of what was used, what was reserved for it counts, as limits book it.
    """
    admitted = events.alias("admitted")
    sums: dict[str, Any] = {name: events.c[name] for name in _BOOKED}
    sums["cost_micro_usd"] = func.coalesce(events.c.cost_micro_usd, admitted.c.cost_micro_usd)
    return (
        select(
            *(events.c[name] for name in _APART),
            func.count().label("requests"),
            *(func.coalesce(func.sum(each), 0).label(name) for name, each in sums.items()),
        )
        .select_from(events.join(admitted, admitted.c.exchange == events.c.exchange))
        .where(
            admitted.c.kind == EventKind.ADMITTED.value,
            admitted.c.at_us >= microseconds(since),
            admitted.c.at_us < microseconds(until),
            events.c.kind.in_((EventKind.COMPLETED.value, EventKind.BROKEN.value)),
        )
        .group_by(*(events.c[name] for name in _APART))
    )


def booked_of(rows: Sequence[RowMapping]) -> tuple[Booked, ...]:
    found = []
    for row in rows:
        texts: dict[str, Any] = {name: str(row[name] or "") for name in _APART}
        sums: dict[str, Any] = {name: int(row[name] or 0) for name in ("requests", *_BOOKED)}
        found.append(Booked(**texts, **sums))
    return tuple(found)


def _column(dimension: SpendDimension) -> Any:
    if dimension in (SpendDimension.DAY, SpendDimension.MONTH):
        return events.c.at_us - events.c.at_us % _DAY_US
    return events.c[_COLUMNS.get(dimension, dimension.value)]


def _value(dimension: SpendDimension, value: Any) -> str:
    if dimension in (SpendDimension.DAY, SpendDimension.MONTH):
        day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(value))
        return f"{day:%Y-%m-%d}" if dimension is SpendDimension.DAY else f"{day:%Y-%m}"
    return str(value or "")

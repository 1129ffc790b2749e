"""Which credentials were used, by whom and for what: a fold over the end events of exchanges, in the store.

The index audit_key_use holds all that is asked, so that no event is read; its condition is the query's own,
word for word, or the databases would not use it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Select, case, func, select, text

from sallyport.audit.events import EventKind
from sallyport.audit.schema import IS_KEY_USE, events

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_APART = ("credential", "tenant", "principal", "host", "provider", "model")
_SUMS = ("input_tokens", "output_tokens", "cost_micro_usd")

MAX_NAMES = 100
"""Hosts, models or principals named of one key; there may be more."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What one credential was used for. calls: exchanges that ended, refusals among them.

    principals: as tenant/id. hosts, providers, models, principals: at most MAX_NAMES each.
    """

    fingerprint: str
    first_seen: datetime
    last_seen: datetime
    calls: int
    refusals: int
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int
    hosts: tuple[str, ...]
    providers: tuple[str, ...]
    models: tuple[str, ...]
    principals: tuple[str, ...]


def key_use_query(tenant: str | None = None) -> Select[Any]:
    """Return the query for the use of every credential; key_use_of reads its rows."""
    refused = case((events.c.kind == EventKind.REFUSED.value, 1), else_=0)
    query = (
        select(
            *(events.c[name] for name in _APART),
            func.min(events.c.at_us).label("first_us"),
            func.max(events.c.at_us).label("last_us"),
            func.count().label("calls"),
            func.sum(refused).label("refusals"),
            *(func.coalesce(func.sum(events.c[name]), 0).label(name) for name in _SUMS),
        )
        .where(text(IS_KEY_USE))
        .group_by(*(events.c[name] for name in _APART))
    )
    return query if tenant is None else query.where(events.c.tenant == tenant)


def key_use_of(rows: Iterable[RowMapping]) -> tuple[KeyUse, ...]:
    """Return the use of each credential, the one that was used last first."""
    by_key: dict[str, list[RowMapping]] = {}
    for row in rows:
        by_key.setdefault(str(row["credential"]), []).append(row)
    found = (_folded(fingerprint, parts) for fingerprint, parts in by_key.items())
    return tuple(sorted(found, key=lambda use: (use.last_seen, use.fingerprint), reverse=True))


def _folded(fingerprint: str, rows: Sequence[RowMapping]) -> KeyUse:
    def names(column: str) -> tuple[str, ...]:
        return tuple(sorted({str(row[column]) for row in rows if row[column]})[:MAX_NAMES])

    def total(column: str) -> int:
        return sum(int(row[column] or 0) for row in rows)

    principals = {f"{row['tenant']}/{row['principal']}" for row in rows if row["principal"]}
    return KeyUse(
        fingerprint=fingerprint,
        first_seen=_EPOCH + timedelta(microseconds=min(int(row["first_us"]) for row in rows)),
        last_seen=_EPOCH + timedelta(microseconds=max(int(row["last_us"]) for row in rows)),
        calls=total("calls"),
        refusals=total("refusals"),
        input_tokens=total("input_tokens"),
        output_tokens=total("output_tokens"),
        cost_micro_usd=total("cost_micro_usd"),
        hosts=names("host"),
        providers=names("provider"),
        models=names("model"),
        principals=tuple(sorted(principals)[:MAX_NAMES]),
    )

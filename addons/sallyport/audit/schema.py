"""The one table of events, and the two ways between a row and an Event.

Rows are only ever inserted, and removed only by pruning (audit/retention.py). Two partial unique indexes are the
rule "one admission and one end per exchange": whoever inserts second, after a retry or from another process,
inserts nothing. What PostgreSQL adds to the table is in audit/partitions.py.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, RowMapping, Table, Text, text

from sallyport.audit.classes import Coverage
from sallyport.audit.events import END_KINDS, USAGE_COUNTS, DecisionRecord, Event, EventKind, FindingRecord
from sallyport.audit.text import Stored
from sallyport.decision import Action, Kind, Mode, Severity
from sallyport.exchange import Surface, Usage

SCHEMA_VERSION = 6

_END_LIST = ", ".join(f"'{kind}'" for kind in sorted(END_KINDS))
IS_END = f"kind IN ({_END_LIST})"
IS_ADMISSION = "kind = 'admitted'"
IS_KEY_USE = f"credential IS NOT NULL AND {IS_END}"

metadata = MetaData()

schema_versions = Table(
    "sallyport_schema",
    metadata,
    Column("part", Text, primary_key=True),
    Column("version", Integer, nullable=False),
)

_BytewiseText = Text().with_variant(Text(collation="C"), "postgresql")
"""Compared byte by byte on both databases, so that a prefix is a range of the index."""

events = Table(
    "audit_events",
    metadata,
    Column("id", _BytewiseText, primary_key=True),
    Column("exchange", _BytewiseText),
    Column("kind", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False, doc="microseconds since 1970-01-01 UTC"),
    Column("gateway", Text, nullable=False),
    Column("principal", Text),
    Column("tenant", Text),
    Column("source", Text),
    Column("confidence", Double, nullable=False),
    Column("client", Text),
    Column("client_mode", Text),
    Column("credential", Text),
    Column("host", Text),
    Column("provider", Text),
    Column("dialect", Text),
    Column("operation", Text),
    Column("model", Text),
    Column("endpoint", Text),
    Column("connected_to", Text),
    Column("action", Text),
    Column("would_be", Text),
    Column("stage", Text),
    Column("reason", Text),
    Column("policy_revision", Text),
    Column("rules_revision", Text),
    Column("decisions", Text, doc="JSON list, see decision_json"),
    Column("status", BigInteger),
    Column("finish_reason", Text),
    Column("input_tokens", BigInteger),
    Column("cache_read_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("request_bytes", BigInteger),
    Column("response_bytes", BigInteger),
    Column("duration_us", BigInteger),
    Column("detail", Text),
    Column("cache_write_1h_tokens", BigInteger),
    Column("audio_input_tokens", BigInteger),
    Column("audio_output_tokens", BigInteger),
    Column("searches", BigInteger),
    Column("service_tier", Text),
    Column("usage_source", Text),
    Column("cost_micro_usd", BigInteger),
    Column(
        "seq", BigInteger, nullable=False, doc="from 1 for each gateway, without a gap; see audit/chain.py"
    ),
    Column("hash", Text, nullable=False, doc="over the event before and this row, in hex"),
    Column("coverage", Text),
    Column("content_type", Text),
    Column("unread", Text),
    Index("audit_exchange", "exchange"),
    Index("audit_chain", "gateway", "seq", unique=True),
    Index(
        "audit_one_admission",
        "exchange",
        unique=True,
        sqlite_where=text(IS_ADMISSION),
        postgresql_where=text(IS_ADMISSION),
    ),
    Index("audit_one_end", "exchange", unique=True, sqlite_where=text(IS_END), postgresql_where=text(IS_END)),
    Index(
        "audit_key_use",
        *("credential", "tenant", "principal", "host", "provider", "model"),
        *("at_us", "kind", "input_tokens", "output_tokens", "cost_micro_usd"),
        sqlite_where=text(IS_KEY_USE),
        postgresql_where=text(IS_KEY_USE),
    ),
)

checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False, doc="what is signed, see audit/checkpoints.py"),
    Column("signature", Text, nullable=False, doc="Ed25519, in hex"),
)

prunings = Table(
    "audit_prunings",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("checkpoint", BigInteger, nullable=False, doc="the one that events are gone up to"),
    Column("body", Text, nullable=False, doc="what is signed, see audit/retention.py"),
    Column("signature", Text, nullable=False, doc="Ed25519, in hex"),
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLAIN_TEXTS = (
    *("exchange", "principal", "tenant", "source", "client", "client_mode", "credential", "host", "provider"),
    *("dialect", "operation", "model", "endpoint", "connected_to", "stage", "reason", "policy_revision"),
    *("rules_revision", "finish_reason", "detail", "usage_source", "content_type", "unread"),
)
_PLAIN_NUMBERS = ("status", "cost_micro_usd", "request_bytes", "response_bytes", "duration_us")

_COUNTS = {name if name == "searches" else f"{name}_tokens": name for name in USAGE_COUNTS}
"""The numbers of a Usage by their columns."""

# One call for many attributes: rows are made beside the event loop, and what they take is taken from it.
_texts_of, _numbers_of, _counts_of = (
    attrgetter(*names) for names in (_PLAIN_TEXTS, _PLAIN_NUMBERS, _COUNTS.values())
)
_NAMES = {action: action.name.lower() for action in Action}
_NO_USAGE = Usage()

type Row = dict[str, str | int | float | None]


def microseconds(at: datetime) -> int:
    """Return a time as microseconds since 1970-01-01 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def to_row(event: Event) -> Row:
    """Return the columns of an event, as they are written; empty strings become NULL."""
    usage = event.usage or _NO_USAGE
    row: Row = {
        "id": event.id,
        "kind": event.kind.value,
        "at_us": microseconds(event.at),
        "gateway": event.gateway,
        "confidence": event.confidence,
        "action": None if event.action is None else _NAMES[event.action],
        "would_be": None if event.would_be is None else _NAMES[event.would_be],
        "decisions": orjson.dumps([decision_json(d) for d in event.decisions]).decode()
        if event.decisions
        else None,
        "service_tier": usage.tier or None,
        "coverage": None if event.coverage is None else event.coverage.value,
    }
    row.update(zip(_COUNTS, _counts_of(usage), strict=True))
    row.update(zip(_PLAIN_TEXTS, [text or None for text in _texts_of(event)], strict=True))
    row.update(zip(_PLAIN_NUMBERS, _numbers_of(event), strict=True))
    if event.alias is not None:
        row["principal"], row["client"] = (written or None for written in event.alias)
    return row


def bare_row(event: Event) -> Row:
    """Return the row of an event that the store would not take as it is: what happened, and nothing else."""
    return to_row(
        Event(
            kind=event.kind,
            gateway=event.gateway,
            id=event.id,
            at=event.at,
            exchange=event.exchange,
            action=event.action,
            would_be=event.would_be,
            coverage=event.coverage,
            detail="unstorable",
        )
    )


def from_row(row: RowMapping | Mapping[str, Any]) -> Event:
    """Return the event of a row. alias: what is stored, where the row names people who are not named there."""
    plain: dict[str, Any] = {name: Stored(row[name] or "") for name in _PLAIN_TEXTS}
    plain.update((name, row[name]) for name in _PLAIN_NUMBERS)
    counts: dict[str, Any] = {name: row[column] for column, name in _COUNTS.items()}
    reported = any(number is not None for number in counts.values())
    return Event(
        kind=EventKind(row["kind"]),
        gateway=Stored(row["gateway"]),
        id=Stored(row["id"]),
        at=_EPOCH + timedelta(microseconds=row["at_us"]),
        confidence=row["confidence"],
        action=Action[row["action"].upper()] if row["action"] else None,
        would_be=Action[row["would_be"].upper()] if row["would_be"] else None,
        decisions=tuple(_decision(d) for d in orjson.loads(row["decisions"] or "[]")),
        usage=Usage(**counts, tier=Stored(row["service_tier"] or "")) if reported else None,
        coverage=Coverage(row["coverage"]) if row["coverage"] else None,
        alias=row.get("alias"),
        **plain,
    )


def event_json(event: Event) -> dict[str, object]:
    """Return an event as JSON members, in the order people read them; people are named, what is empty is left out."""
    row = to_row(event)
    row["principal"], row["client"] = event.principal or None, event.client or None
    del row["decisions"], row["at_us"]
    usage = {name.removesuffix("_tokens"): row.pop(name) for name in list(row) if name.endswith("_tokens")}
    members: dict[str, object] = {"id": row.pop("id"), "at": event.at.isoformat().replace("+00:00", "Z")}
    members.update((name, value) for name, value in row.items() if value is not None)
    if event.usage is not None:
        members["usage"] = usage
    if event.decisions:
        members["decisions"] = [decision_json(d) for d in event.decisions]
    return members


def decision_json(decision: DecisionRecord) -> dict[str, object]:
    """Return one stage's decision as JSON members."""
    return {
        "stage": decision.stage,
        "action": _NAMES[decision.action],
        "reason": decision.reason,
        "mode": decision.mode.value,
        "duration_us": decision.duration_us,
        "findings": [
            {
                "rule": f.rule,
                "kind": f.kind.value,
                "entity": f.entity,
                "severity": f.severity.value,
                "score": f.score,
                "surface": f.surface.value if f.surface else None,
                "segment": f.segment,
                "start": f.start,
                "end": f.end,
            }
            for f in decision.findings
        ],
        "omitted": decision.omitted,
    }


def _decision(members: Mapping[str, Any]) -> DecisionRecord:
    return DecisionRecord(
        stage=members["stage"],
        action=Action[members["action"].upper()],
        reason=members["reason"],
        mode=Mode(members["mode"]),
        duration_us=members["duration_us"],
        findings=tuple(_finding(f) for f in members["findings"]),
        omitted=members["omitted"],
    )


def _finding(members: Mapping[str, Any]) -> FindingRecord:
    surface = members["surface"]
    return FindingRecord(
        rule=Stored(members["rule"]),
        kind=Kind(members["kind"]),
        entity=Stored(members["entity"]),
        severity=Severity(members["severity"]),
        score=members["score"],
        surface=Surface(surface) if surface else None,
        segment=members["segment"],
        start=members["start"],
        end=members["end"],
    )

"""What the audit remembers of an exchange: frozen events that hold no text of any segment.

An event is storable whatever the client sent: when it is made, its strings are escaped and bounded and its
numbers clamped. Times are UTC with microseconds, durations microseconds, sizes bytes, offsets code points.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite
from operator import attrgetter
from typing import Any

from sallyport.audit.classes import Coverage
from sallyport.audit.ids import new_id
from sallyport.audit.text import all_storable, code, storable
from sallyport.decision import Action, Decision, Kind, Mode, Severity, Verdict
from sallyport.exchange import Exchange, Segment, Surface, Usage

MAX_FINDINGS = 200
"""Findings kept of one decision; the rest are counted in DecisionRecord.omitted."""

type Alias = tuple[str, str]
"""What is written in the place of a principal, and of its client's address."""

_MAX_INT = (1 << 63) - 1
_MAX_ID_CHARS = 128


class EventKind(StrEnum):
    """What happened. An exchange has at most one ADMITTED and exactly one of END_KINDS."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    COMPLETED = "completed"
    BROKEN = "broken"
    TUNNELLED = "tunnelled"
    CONNECTION_REFUSED = "connection_refused"
    """Refused before HTTP: no server name, QUIC, raw TCP, bad framing."""
    POLICY_CHANGED = "policy_changed"
    POLICY_REJECTED = "policy_rejected"
    POLICY_PROMOTED = "policy_promoted"
    """Somebody let a policy enforce more: reason names what, detail the state and the digest of the replay report."""
    POLICY_DRIFTED = "policy_drifted"
    """A gateway has run something else than its repository holds for too long, or does not any more."""
    LIMIT_CHANGED = "limit_changed"
    """An operator reset a counter, or granted more: detail says which, reason names the limit.

    Or the counters are gone: the ledger's file was removed or replaced (reason ledger.file, detail replaced), or Redis
    lost what it had counted (ledger.redis, lost). By whom the gateway cannot say. Or an operator set the clock of the
    counters right (ledger.clock, set_right).
    """
    ANOMALY = "anomaly"
    """A principal began to behave unlike itself: detail names what is most unusual."""
    DIRECTORY_CHANGED = "directory_changed"
    """Somebody changed who is who: detail says what, reason names the part (directory.keys), id the entry."""
    APPROVAL_REQUESTED = "approval_requested"
    APPROVAL_DECIDED = "approval_decided"
    """Approved, denied or revoked by a person: detail says which."""
    BREAK_GLASS = "break_glass"
    """Somebody took rights for a time without asking: loud, so that it is looked at."""
    KILL_SWITCH = "kill_switch"
    """Traffic of somebody or to something was stopped at once, or let go again: detail says which."""
    NOTIFICATIONS_LOST = "notifications_lost"
    """The webhook did not take some notifications: detail says how many."""
    CONTENT_REVEALED = "content_revealed"
    """Somebody asked to see kept content, approved of it, saw it, or looked for it: detail says which."""
    CONTENT_CHANGED = "content_changed"
    """An operator sealed the keys of kept content anew, or swept away what was old: detail says which."""
    ERASED = "erased"
    """A person's keys were destroyed, and with them all kept content: reason is a keyed digest of whose."""
    PRUNED = "pruned"
    """Old events were removed: reason names the statement (audit/retention.py), detail the checkpoint."""
    SPOOLED = "spooled"
    """Events waited on a disk while the store was away: detail says how many, or that some were damaged."""
    STARTED = "started"
    STOPPED = "stopped"


END_KINDS = frozenset({EventKind.REFUSED, EventKind.COMPLETED, EventKind.BROKEN})

INTERRUPTED = "interrupted"
"""detail of a BROKEN event written at start for an exchange that an earlier process left open."""

AUDIT_UNAVAILABLE = "audit_unavailable"
"""detail of a REFUSED event for an exchange that did not leave because ADMITTED was not durable in time."""

CANCELLED = "cancelled"
"""detail of a REFUSED event for an exchange whose caller went away while ADMITTED was being stored."""


@dataclass(frozen=True, slots=True)
class FindingRecord:
    """A finding without pointer or text.

    segment: ordinal of the segment among the request's segments, or the response's where the request has no
        such pointer; None where neither has. start, end: code points in that segment.
    """

    rule: str
    kind: Kind
    entity: str
    severity: Severity
    score: float
    surface: Surface | None
    segment: int | None
    start: int
    end: int

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "rule", storable(self.rule))
        put(self, "entity", storable(self.entity))
        put(self, "score", _real(self.score))
        put(self, "start", _whole(self.start))
        put(self, "end", _whole(self.end))


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One stage's decision without message, edits and text. omitted: findings beyond MAX_FINDINGS."""

    stage: str
    action: Action
    reason: str
    mode: Mode
    duration_us: int
    findings: tuple[FindingRecord, ...] = ()
    omitted: int = 0

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "stage", code(self.stage))
        put(self, "reason", code(self.reason))
        put(self, "duration_us", _whole(self.duration_us))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. Empty strings and None mean: does not apply or is not known.

    gateway: id of the instance, the same after a restart. credential: keyed fingerprint.
    endpoint: template of the catalogue, never the raw path with its query.
    connected_to: the lab address that took the host's place (--connect-to).
    action: what was enforced; would_be: what it were if every stage enforced.
    stage, reason: of the decision that gave the enforced action, or, where nothing was enforced, of the
        one that would have. detail: a short stable code.
    usage_source: provider where the provider reported the usage, counted where the gateway counted what it
        saw, estimated where it could only guess: of an ADMITTED event, what was reserved of limits.
    cost_micro_usd: the price of that usage, in millionths of a US dollar.
    coverage: how much of a request to an AI host was read; unread: what was not, codes of audit/classes.py.
    content_type: of the request, as classes.media_name tells it.
    alias: what is written in the place of people (audit/people.py); None where they are named.
    """

    kind: EventKind
    gateway: str
    id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    exchange: str = ""
    principal: str = ""
    tenant: str = ""
    source: str = ""
    confidence: float = 0.0
    client: str = ""
    client_mode: str = ""
    credential: str = ""
    host: str = ""
    provider: str = ""
    dialect: str = ""
    operation: str = ""
    model: str = ""
    endpoint: str = ""
    connected_to: str = ""
    action: Action | None = None
    would_be: Action | None = None
    stage: str = ""
    reason: str = ""
    policy_revision: str = ""
    rules_revision: str = ""
    decisions: tuple[DecisionRecord, ...] = ()
    status: int | None = None
    finish_reason: str = ""
    usage: Usage | None = None
    usage_source: str = ""
    cost_micro_usd: int | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    duration_us: int | None = None
    detail: str = ""
    coverage: Coverage | None = None
    content_type: str = ""
    unread: str = ""
    alias: Alias | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.at.tzinfo is not UTC:
            at = self.at if self.at.tzinfo else self.at.replace(tzinfo=UTC)
            put(self, "at", at.astimezone(UTC))
        put(self, "confidence", _real(self.confidence))
        if "?" in self.endpoint or "#" in self.endpoint:
            put(self, "endpoint", self.endpoint.partition("?")[0].partition("#")[0])
        if not all_storable(_texts_of(self), _MAX_ID_CHARS):
            for name in _TEXTS:
                put(self, name, storable(getattr(self, name)))
            for name in _IDS:
                put(self, name, storable(getattr(self, name), _MAX_ID_CHARS))
        for name in _CODES:
            if text := getattr(self, name):
                put(self, name, code(text))
        for name in _NUMBERS:
            if (number := getattr(self, name)) is not None:
                put(self, name, _whole(number))
        put(self, "usage", _reported(self.usage))

    @property
    def is_end(self) -> bool:
        """Say whether this event ends its exchange."""
        return self.kind in END_KINDS

    def followed_by(
        self,
        kind: EventKind,
        *,
        detail: str = "",
        status: int | None = None,
        finish_reason: str = "",
        usage: Usage | None = None,
        usage_source: str = "",
        cost_micro_usd: int | None = None,
        response_bytes: int | None = None,
        duration_us: int | None = None,
        unread: str = "",
        model: str = "",
        decisions: "tuple[DecisionRecord, ...]" = (),
    ) -> "Event":
        """Return a later event on the same exchange: same facts, new id, now, and decisions of its own.

        unread: what of the answer was not read, a code of audit/classes.py; what was refused is denied.
        model: that answered in place of the one that was asked for, "" where none did.
        The decisions stay with the event they belong to; dataclasses.replace would keep the id, and an
        event of a known id is not stored again.
        """
        later = object.__new__(Event)
        put = object.__setattr__
        for name in _LASTING:  # storable already, so __post_init__ need not look again
            put(later, name, getattr(self, name))
        put(later, "kind", kind)
        put(later, "id", new_id())
        put(later, "at", datetime.now(UTC))
        put(later, "decisions", decisions)
        if model:
            put(later, "model", storable(model))
        put(later, "detail", code(detail))
        put(later, "status", _clamped(status))
        put(later, "finish_reason", code(finish_reason))
        put(later, "usage", _reported(usage))
        put(later, "usage_source", code(usage_source))
        put(later, "cost_micro_usd", _clamped(cost_micro_usd))
        put(later, "response_bytes", _clamped(response_bytes))
        put(later, "duration_us", _clamped(duration_us))
        if kind is EventKind.REFUSED:
            put(later, "coverage", Coverage.DENIED)
            put(later, "unread", "")
        elif unread:
            put(later, "coverage", Coverage.PARSED_IN_PART.least(self.coverage))
            put(later, "unread", storable(f"{self.unread} {unread}".strip()))
        return later


def about(
    kind: EventKind,
    exchange: Exchange,
    verdict: Verdict | None = None,
    *,
    gateway: str,
    endpoint: str = "",
    connected_to: str = "",
    policy_revision: str = "",
    rules_revision: str = "",
    usage: Usage | None = None,
    usage_source: str = "",
    cost_micro_usd: int | None = None,
    request_bytes: int | None = None,
    response_bytes: int | None = None,
    duration_us: int | None = None,
    detail: str = "",
    coverage: Coverage | None = None,
    content_type: str = "",
    unread: str = "",
) -> Event:
    """Return the event of an exchange and what the stages said of it.

    The principal is the exchange's, or else the one a stage of the verdict found. Status, finish reason and
    usage are those of the exchange's response, where it has one.
    """
    request, response, client = exchange.request, exchange.response, exchange.client
    principal = exchange.principal
    if principal is None and verdict is not None:
        principal = next((d.principal for d in verdict.decisions if d.principal is not None), None)
    cause = None if verdict is None else cause_of(verdict)
    return Event(
        kind=kind,
        gateway=gateway,
        exchange=exchange.id,
        principal=principal.id if principal else "",
        tenant=principal.tenant if principal else "",
        source=principal.source if principal else "",
        confidence=principal.confidence if principal else 0.0,
        client=client.address,
        client_mode=client.mode,
        credential=client.credential or "",
        host=exchange.host,
        provider=request.provider,
        dialect=request.dialect,
        operation=request.operation,
        model=request.model or "",
        endpoint=endpoint,
        connected_to=connected_to,
        action=verdict.action if verdict else None,
        would_be=verdict.would_be if verdict else None,
        stage=cause.stage if cause else "",
        reason=cause.reason if cause else "",
        policy_revision=policy_revision,
        rules_revision=rules_revision,
        decisions=decisions_of(verdict, exchange) if verdict else (),
        status=response.status if response else None,
        finish_reason=(response.finish_reason or "") if response else "",
        usage=response.usage if response else usage,
        usage_source=usage_source,
        cost_micro_usd=cost_micro_usd,
        request_bytes=request_bytes,
        response_bytes=response_bytes,
        duration_us=duration_us,
        detail=detail,
        coverage=coverage,
        content_type=content_type,
        unread=unread,
    )


def cause_of(verdict: Verdict) -> Decision | None:
    """Return the decision that gave the enforced action, else the first that would have, else None."""
    return verdict.cause or verdict.would_cause


def decisions_of(verdict: Verdict, exchange: Exchange) -> tuple[DecisionRecord, ...]:
    """Return what the stages decided, with pointers turned into ordinals and every text left out."""
    places: dict[str, tuple[int, Surface]] = {}
    if any(d.findings for d in verdict.decisions):
        places = dict(_places(exchange.response.segments if exchange.response else ()))
        places.update(_places(exchange.request.segments))
    return tuple(_record(decision, places) for decision in verdict.decisions)


def interrupted(admitted: Event) -> Event:
    """Return the end of an exchange that a process left open when it died.

    Nobody knows what it used; the estimate it had reserved stands for it.
    """
    return admitted.followed_by(
        EventKind.BROKEN,
        detail=INTERRUPTED,
        usage=admitted.usage,
        usage_source=admitted.usage_source,
        cost_micro_usd=admitted.cost_micro_usd,
    )


def _places(segments: tuple[Segment, ...]) -> Iterator[tuple[str, tuple[int, Surface]]]:
    return ((segment.at, (ordinal, segment.surface)) for ordinal, segment in enumerate(segments))


def _record(decision: Decision, places: dict[str, tuple[int, Surface]]) -> DecisionRecord:
    kept = []
    for finding in decision.findings[:MAX_FINDINGS]:
        ordinal, surface = places.get(finding.at, (None, None))
        kept.append(
            FindingRecord(
                rule=finding.rule,
                kind=finding.kind,
                entity=finding.entity,
                severity=finding.severity,
                score=finding.score,
                surface=surface,
                segment=ordinal,
                start=finding.start,
                end=finding.end,
            )
        )
    return DecisionRecord(
        stage=decision.stage,
        action=decision.action,
        reason=decision.reason,
        mode=decision.mode,
        duration_us=decision.duration_us,
        findings=tuple(kept),
        omitted=len(decision.findings) - len(kept),
    )


def _whole(number: int) -> int:
    return max(-_MAX_INT, min(_MAX_INT, int(number)))


def _clamped(number: int | None) -> int | None:
    return None if number is None else _whole(number)


USAGE_COUNTS = tuple(field.name for field in fields(Usage) if field.name != "tier")
"""The numbers of a Usage, in the order of its fields."""


def _reported(usage: Usage | None) -> Usage | None:
    """Return the numbers within bounds, and None where the provider reported none of them."""
    if usage is None or usage == Usage():
        return None
    counts: dict[str, Any] = {name: _clamped(getattr(usage, name)) for name in USAGE_COUNTS}
    return Usage(**counts, tier=code(usage.tier))


def _real(number: float) -> float:
    return float(number) if isfinite(number) else 0.0


_TEXTS = (
    *("gateway", "principal", "tenant", "source", "client", "client_mode", "credential", "host", "provider"),
    *("dialect", "operation", "model", "endpoint", "connected_to", "policy_revision", "rules_revision"),
    *("content_type", "unread"),
)
_OWN = (
    *("kind", "id", "at", "decisions", "detail", "status", "finish_reason", "usage", "response_bytes"),
    *("usage_source", "cost_micro_usd", "duration_us"),
)
_LASTING = tuple(field.name for field in fields(Event) if field.name not in _OWN)
"""What every event of an exchange says alike; but an end names the model that answered."""

_IDS = ("id", "exchange")
_texts_of = attrgetter(*_TEXTS, *_IDS)
_CODES = ("stage", "reason", "finish_reason", "usage_source", "detail")
_NUMBERS = ("status", "cost_micro_usd", "request_bytes", "response_bytes", "duration_us")

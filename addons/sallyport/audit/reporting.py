"""A period of the log for people who answer for it: who used what, what was refused, which data went where.

A fold over events: nothing is counted anywhere else, and a report of the same events is the same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sallyport.audit.events import END_KINDS, DecisionRecord, Event, EventKind
from sallyport.decision import Action, Mode

ANSWERS = "output"
"""The stage whose findings are in answers."""

MOST_ACTS = 1000
"""Acts that are listed one by one; more are counted."""


class Direction(StrEnum):
    """Where data was found: in a request to the provider, or in its answer."""

    SENT = "sent"
    RECEIVED = "received"


class Treatment(StrEnum):
    """What became of data that a rule found. LEFT: it went on as it was, since policy allowed or observed it."""

    MASKED = "masked"
    REFUSED = "refused"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class DataClass:
    """Findings of one kind that were treated alike on their way to or from one place."""

    direction: Direction
    kind: str
    entity: str
    provider: str
    region: str
    treatment: Treatment


@dataclass(frozen=True, slots=True)
class Act:
    """Something that somebody did to the gateway: a policy, an approval, a kill switch."""

    at: datetime
    kind: EventKind
    by: str
    what: str
    detail: str


@dataclass(slots=True)
class Usage:
    """What some exchanges used together. tokens: input and output. unpriced: exchanges without a known price."""

    exchanges: int = 0
    refused: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0
    unpriced: int = 0


ACTS = frozenset(
    {
        EventKind.POLICY_CHANGED, EventKind.POLICY_REJECTED, EventKind.POLICY_PROMOTED, EventKind.LIMIT_CHANGED,
        EventKind.POLICY_DRIFTED, EventKind.DIRECTORY_CHANGED,
        EventKind.APPROVAL_REQUESTED, EventKind.APPROVAL_DECIDED, EventKind.BREAK_GLASS, EventKind.KILL_SWITCH,
        EventKind.ANOMALY, EventKind.NOTIFICATIONS_LOST, EventKind.STARTED, EventKind.STOPPED,
        EventKind.PRUNED, EventKind.SPOOLED,
        EventKind.CONTENT_REVEALED, EventKind.CONTENT_CHANGED, EventKind.ERASED,
    }
)  # fmt: skip


@dataclass(slots=True)
class Report:
    """All that is told of a period [since, until). tenant: "" for all.

    days: by UTC day, how many exchanges left and how many were refused. identified: exchanges by how the principal
    was known. acts_left_out: beyond MOST_ACTS. not_intercepted: connections by host that were tunnelled.
    """

    since: datetime
    until: datetime
    tenant: str = ""
    events: int = 0
    days: dict[str, list[int]] = field(default_factory=dict)
    by_principal: dict[tuple[str, str], Usage] = field(default_factory=dict)
    by_model: dict[tuple[str, str], Usage] = field(default_factory=dict)
    identified: Counter[str] = field(default_factory=Counter)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    would_refuse: Counter[tuple[str, str]] = field(default_factory=Counter)
    data: Counter[DataClass] = field(default_factory=Counter)
    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    coverage: Counter[str] = field(default_factory=Counter)
    not_intercepted: Counter[str] = field(default_factory=Counter)
    connections_refused: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    policies: dict[str, int] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    acts_left_out: int = 0

    @property
    def exchanges(self) -> int:
        """Exchanges that ended in the period."""
        return sum(usage.exchanges for usage in self.by_principal.values())


def report(
    events: Iterable[Event],
    since: datetime,
    until: datetime,
    *,
    tenant: str = "",
    region: Callable[[Event], str] = lambda event: "",
) -> Report:
    """Fold the events of a period. region: says where the call of an event is processed, "" if nobody knows."""
    found = Report(since, until, tenant)
    for event in events:
        found.events += 1
        if event.kind in END_KINDS:
            _ended(found, event)
        if event.coverage is not None and (event.kind in END_KINDS or not event.exchange):
            found.coverage[event.coverage.value] += 1
        if event.kind in (EventKind.ADMITTED, EventKind.REFUSED, EventKind.COMPLETED, EventKind.BROKEN):
            _data(found, event, region)
        if event.kind is EventKind.TUNNELLED:
            found.not_intercepted[event.host] += 1
        elif event.kind is EventKind.CONNECTION_REFUSED:
            found.connections_refused[event.reason or event.detail] += 1
        elif event.kind in ACTS:
            _act(found, event)
    return found


def _ended(found: Report, event: Event) -> None:
    refused = event.kind is EventKind.REFUSED
    day = found.days.setdefault(f"{event.at:%Y-%m-%d}", [0, 0])
    day[refused] += 1
    found.identified[event.source or "unknown"] += 1
    found.policies[event.policy_revision] = found.policies.get(event.policy_revision, 0) + 1
    if refused:
        found.refusals[event.stage, event.reason or event.detail] += 1
    elif event.would_be is Action.DENY:
        found.would_refuse[event.stage, event.reason] += 1
    if event.kind is EventKind.BROKEN:
        found.broken[event.detail] += 1
    for group, key in (
        (found.by_principal, (event.tenant, event.principal)),
        (found.by_model, (event.provider, event.model)),
    ):
        usage = group.setdefault(key, Usage())
        usage.exchanges += 1
        usage.refused += refused
        if event.usage is not None:
            usage.input_tokens += event.usage.input or 0
            usage.output_tokens += event.usage.output or 0
            usage.unpriced += event.cost_micro_usd is None
        usage.cost_micro_usd += event.cost_micro_usd or 0


def _data(found: Report, event: Event, region: Callable[[Event], str]) -> None:
    for decision in event.decisions:
        if decision.mode is Mode.SHADOW and decision.action is not Action.ALLOW:
            found.tried[decision.stage, decision.reason] += 1
        if not decision.findings:
            continue
        treatment = _treatment(decision, event)
        direction = Direction.RECEIVED if decision.stage == ANSWERS else Direction.SENT
        place = region(event)
        for finding in decision.findings:
            each = DataClass(direction, finding.kind.value, finding.entity, event.provider, place, treatment)
            found.data[each] += 1


def _treatment(decision: DecisionRecord, event: Event) -> Treatment:
    enforced = decision.mode.acts
    if event.kind is EventKind.REFUSED or (enforced and decision.action is Action.DENY):
        return Treatment.REFUSED
    if enforced and decision.action is Action.MODIFY:
        return Treatment.MASKED
    return Treatment.LEFT


def _act(found: Report, event: Event) -> None:
    if len(found.acts) >= MOST_ACTS:
        found.acts_left_out += 1
        return
    what = event.reason or event.policy_revision
    found.acts.append(Act(event.at, event.kind, event.principal, what, event.detail))


@dataclass(frozen=True, slots=True)
class Basis:
    """A part of a report and what it is asked for by. clauses: text by framework."""

    title: str
    clauses: tuple[str, ...]


USE = Basis(
    "Who used what",
    (
        "GDPR Art. 30(1)(b)-(d): purposes, categories, recipients",
        "HIPAA 164.312(b): audit controls; 164.312(d): authentication",
        "SOC 2 CC6.1: logical access",
        "EU AI Act Art. 12(1), 26(6): automatic recording of events",
        "ISO/IEC 42001 A.9: use of AI systems; A.6.2.8: recording of event logs",
    ),
)
REFUSED = Basis(
    "What was refused",
    (
        "HIPAA 164.312(a)(1): access control",
        "SOC 2 CC6.6, CC7.2: boundary protection, monitoring",
        "EU AI Act Art. 12(2)(a): situations that present a risk",
    ),
)
DATA = Basis(
    "Which data went where",
    (
        "GDPR Art. 30(1)(c)-(e): categories of personal data, recipients, transfers to third countries",
        "HIPAA 164.312(e)(1): transmission security",
        "SOC 2 CC6.7, C1.1: transmission and confidentiality",
        "ISO/IEC 42001 A.7: data for AI systems; A.10: third parties",
    ),
)
COVERAGE = Basis(
    "How much was read",
    ("SOC 2 CC7.2: monitoring", "EU AI Act Art. 12(2): completeness of the record", "ISO/IEC 42001 A.6.2.6"),
)
CHANGES = Basis(
    "Policies, approvals and other acts",
    (
        "GDPR Art. 32(1)(d): testing and evaluating measures",
        "HIPAA 164.312(c)(1): integrity",
        "SOC 2 CC8.1: change management; CC6.2, CC6.3: authorisation",
        "ISO/IEC 42001 A.6.2.8",
    ),
)
ERASURES = Basis("Erasures", ("GDPR Art. 17, 30(1)(f): erasure and its time limits",))


def ranked(counts: Counter[tuple[str, str]]) -> Sequence[tuple[str, str, int]]:
    """Return pairs and their counts, the most frequent first."""
    return [(a, b, n) for (a, b), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]

"""What the gateway wrote into a flow it captured: whose it was, and what was decided. Plain captures have none.

It stands in the flow's metadata under one key, as JSON values, so that every tool of mitmproxy keeps it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mitmproxy import http

from sallyport.decision import Action, Finding, Kind, Severity, Verdict
from sallyport.exchange import Exchange, Principal, Request, Response, Surface, Usage
from sallyport.policy.output import OutputAction
from sallyport.stages.outcome import Found, Outcome

KEY = "sallyport"
VERSION = 1

MAX_KEPT_BYTES = 32 * 1024 * 1024
"""Of one answer; of a longer one its beginning is kept."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """One policy's word.

    action: enforced; would_be: if every stage enforced. stage, reason: of what gave it, "" where nothing did.
    masked: entities that are taken out, and how often. cost: of the exchange, in millionths of a dollar, 0 where it
    did not leave, None where nobody knows the price. answer: what became of it, None where there was none or nobody
    knows.
    """

    action: Action
    would_be: Action
    stage: str = ""
    reason: str = ""
    masked: tuple[tuple[str, int], ...] = ()
    cost: int | None = 0
    answer: Outcome | None = None


def cause_reason(verdict: Verdict) -> tuple[str, str]:
    """Return stage and reason of what gave the enforced action, else of what would have."""
    cause = verdict.cause or verdict.would_cause
    return (cause.stage, cause.reason) if cause is not None else ("", "")


def masked_by(verdict: Verdict) -> tuple[tuple[str, int], ...]:
    """Return how many places of the texts are taken out, by entity; none where nothing leaves."""
    counts: Counter[str] = Counter()
    if verdict.action is Action.DENY:
        return ()
    for decision in verdict.decisions:
        if decision.enforced and decision.edits:
            found = {(f.at, f.start, f.end): f.entity for f in decision.findings}
            places = {(e.at, e.start, e.end) for e in decision.edits}
            counts.update(found.get(place, decision.stage) for place in places)
    return tuple(sorted(counts.items()))


@dataclass(slots=True)
class Kept:
    """What is kept of one exchange. request: its bytes as they came, decoded. pieces: of the answer, the same.

    template: the catalogue's spelling of the target. search: gives all findings, also of what no stage asked for;
    it may take its time, and raises where a text was not searched whole. socket: whether request and pieces are
    events of a WebSocket; model: of its session, where the event names none.
    """

    original: bool
    target: str
    template: str
    fields: tuple[tuple[bytes, bytes], ...]
    request: bytes
    search: Callable[[], Sequence[Finding]]
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    socket: bool = False
    model: str = ""

    def keep(self, data: bytes) -> None:
        """Keep a piece of the answer as the provider wrote it, where originals are wanted."""
        if self.original and self.size < MAX_KEPT_BYTES:
            self.pieces.append(data[: MAX_KEPT_BYTES - self.size])
            self.size += len(self.pieces[-1])


@dataclass(frozen=True, slots=True)
class Over:
    """How an exchange ended. answer: None where there was none; cost_micro_usd: None where nobody knows.

    usage: what is booked, reported or counted. detail: of its end event, "" where it came to its end.
    """

    answer: Response | None
    cost_micro_usd: int | None
    usage: Usage | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class KnownThere:
    """What the gateway knew of the things at the provider that a request named by an id: as of a Request.

    makers: of each "own", "other" or "unknown".
    """

    seen: tuple[str, ...] = ()
    tokens: int = 0
    makers: tuple[str, ...] = ()

    def known_of(self, request: Request, who: Principal | None) -> Request:
        """Return the request as it was known then. who: made it."""
        own = (who.tenant, who.id) if who is not None else ("", "")
        told = {"own": own, "other": ("other", "(somebody)")}
        makers = tuple(told.get(maker) for maker in self.makers)
        return replace(request.having_seen(self.seen), kept_tokens=self.tokens, makers=makers)


def _kept(exchange: Exchange) -> dict[str, Any]:
    request, who = exchange.request, exchange.principal
    own = (who.tenant, who.id) if who is not None else None
    makers = ["unknown" if m is None else "own" if m == own else "other" for m in request.makers]
    return {"seen": list(request.seen), "tokens": request.kept_tokens, "makers": makers}


@dataclass(frozen=True, slots=True)
class Record:
    """exchange: its id in the audit. ruling: what was decided then. conversation: its keyed digest, "" if not known.

    findings: of the texts before they were masked, at their places in the masked ones; None where the flow is as it
    came. usage: of the answer, where the answer itself was not kept; found_in_answer: what was found in it, None where
    it was kept, or where there was none. model: of the session, of an event on a WebSocket. rules: revision of those
    that decided then, "" if not known. detail: how it broke off, as its end event says, "" where it did not.
    left_out: findings in headers and the target, of which the text is left out. kept: what was known of things at the
    provider; None of captures made before it was noted.
    """

    exchange: str
    principal: Principal | None
    ruling: Ruling
    findings: tuple[Finding, ...] | None = None
    usage: Usage | None = None
    found_in_answer: tuple[Found, ...] | None = None
    conversation: str = ""
    model: str = ""
    rules: str = ""
    detail: str = ""
    left_out: tuple[Finding, ...] = ()
    kept: KnownThere | None = None

    @property
    def known(self) -> tuple[Finding, ...]:
        """What was found in texts that do not stand in the flow as they came."""
        return (*(self.findings or ()), *self.left_out)


def record_of(
    exchange: Exchange,
    verdict: Verdict,
    cost: int | None,
    findings: Sequence[Finding] | None = None,
    usage: Usage | None = None,
    answer: dict[str, Any] | None = None,
    model: str = "",
    rules: str = "",
    detail: str = "",
    left_out: Sequence[Finding] = (),
) -> dict[str, Any]:
    """Return what is written into a captured flow: no text, no credential. answer: as answer_record gives it.

    model, rules, detail, left_out: as in Record.
    """
    who = exchange.principal
    stage, reason = cause_reason(verdict)
    return {
        "version": VERSION,
        "exchange": exchange.id,
        "conversation": exchange.conversation,
        "principal": who
        and {
            "id": who.id,
            "tenant": who.tenant,
            "roles": list(who.roles),
            "attributes": [list(pair) for pair in who.attributes],
            "source": who.source,
            "confidence": who.confidence,
        },
        "action": verdict.action.name.lower(),
        "would_be": verdict.would_be.name.lower(),
        "stage": stage,
        "reason": reason,
        "masked": [list(pair) for pair in masked_by(verdict)],
        "cost": cost,
        "findings": None if findings is None else [_members(finding) for finding in findings],
        "usage": None if usage is None else {name: getattr(usage, name) for name in Usage.__slots__},
        "answer": answer,
        "model": model,
        "rules": rules,
        "detail": detail,
        "left_out": [_members(finding) for finding in left_out],
        "kept": _kept(exchange),
    }


def answer_record(outcome: Outcome, found: Sequence[Found] | None) -> dict[str, Any]:
    """Return what is written of an answer. found: in it, None where the answer itself is kept."""
    return {
        "action": outcome.action.value,
        "would_be": outcome.would_be.value,
        "rule": outcome.rule,
        "edited": [list(pair) for pair in outcome.edited],
        "findings": None
        if found is None
        # The pointers of an answer may hold names that a model has made up.
        else [[*_members(replace(finding, at="")), surface.value] for finding, surface in found],
    }


def _outcome(said: dict[str, Any] | None) -> Outcome | None:
    if said is None:
        return None
    edited = tuple((str(rule), int(count)) for rule, count in said["edited"])
    return Outcome(OutputAction(said["action"]), OutputAction(said["would_be"]), str(said["rule"]), edited)


def _found(said: dict[str, Any] | None) -> tuple[Found, ...] | None:
    if said is None or said["findings"] is None:
        return None
    return tuple((_finding(members), Surface(surface)) for *members, surface in said["findings"])


def _members(finding: Finding) -> list[Any]:
    what = (finding.rule, finding.kind.value, finding.entity, finding.severity.value)
    return [*what, finding.at, finding.start, finding.end, finding.score]


def _finding(said: list[Any]) -> Finding:
    rule, kind, entity, severity, at, start, end, score = said
    return Finding(
        str(rule), Kind(kind), str(entity), Severity(severity), str(at), int(start), int(end), float(score)
    )


def _read_kept(said: dict[str, Any] | None) -> KnownThere | None:
    if said is None:
        return None
    return KnownThere(tuple(map(str, said["seen"])), int(said["tokens"]), tuple(map(str, said["makers"])))


def read_record(flow: http.HTTPFlow) -> Record | None:
    """Return what was written into a flow; None where there is nothing, or nothing that can be read."""
    said = flow.metadata.get(KEY)
    if not isinstance(said, dict) or said.get("version") != VERSION:
        return None
    try:
        who = said["principal"]
        principal = who and Principal(
            str(who["id"]),
            str(who["tenant"]),
            tuple(str(role) for role in who["roles"]),
            tuple((str(name), str(value)) for name, value in who["attributes"]),
            str(who["source"]),
            float(who["confidence"]),
        )
        ruling = Ruling(
            Action[str(said["action"]).upper()],
            Action[str(said["would_be"]).upper()],
            str(said["stage"]),
            str(said["reason"]),
            tuple((str(entity), int(count)) for entity, count in said["masked"]),
            None if said["cost"] is None else int(said["cost"]),
            _outcome(said.get("answer")),
        )
        findings = said["findings"]
        usage = said["usage"]
        return Record(
            str(said["exchange"]),
            principal or None,
            ruling,
            None if findings is None else tuple(map(_finding, findings)),
            None if usage is None else Usage(**usage),
            _found(said.get("answer")),
            str(said.get("conversation", "")),
            str(said.get("model", "")),
            str(said.get("rules", "")),
            str(said.get("detail", "")),
            tuple(map(_finding, said.get("left_out", ()))),
            _read_kept(said.get("kept")),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None

"""What `policy explain` tells: the verdict, who decided and where it is written, what holds and what does not."""

from collections import Counter
from dataclasses import dataclass

from sallyport.audit.text import printable
from sallyport.decision import Action, Decision, Mode, Need
from sallyport.exchange import Operation
from sallyport.policy.limits import Limit
from sallyport.policy.sections import FILE, Policy, mode_of
from sallyport.policy.states import Stated, place_of
from sallyport.rehearsal.asking import Answered, Rehearsal
from sallyport.rehearsal.given import Given
from sallyport.rehearsal.places import Place, Places
from sallyport.rehearsal.standing import Standing, standings
from sallyport.state.directory.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. store: name of the store the directory is from, "" for none.

    knows_ids: whether the ids of requests for approvals are those that the gateway would give them.
    """

    policy: Policy
    places: Places
    given: Given
    store: str = ""
    directory: Snapshot | None = None
    knows_ids: bool = False


@dataclass(frozen=True, slots=True)
class Explained:
    """An answer, and how every access rule that was asked stands to the call."""

    question: Question
    answered: Answered
    rules: tuple[Standing, ...]

    @property
    def tenant_file(self) -> str:
        """The file of the principal's tenant, "" where it has none of its own."""
        who = self.answered.exchange.principal
        return self.question.policy.tenants.files.get(who.tenant, "") if who is not None else ""

    def place(self, decision: Decision) -> Place:
        """Return where the word stands by which a stage decided."""
        who = self.answered.exchange.principal
        asked = self.answered.asked("access")
        replaced = "access" in self.question.policy.tenants.may_loosen and bool(self.tenant_file)
        by_tenant = decision in asked[1:] or (replaced and decision in asked)
        return self.question.places.of(decision, who.tenant if who is not None else "", by_tenant=by_tenant)

    def canary(self, decision: Decision) -> str | None:
        """Return on which side of a canary the call fell, and why; None where no canary chose."""
        policy, exchange = self.answered.policy, self.answered.exchange
        name, stated = _stated(policy, decision)
        if stated.mode is not Mode.CANARY or stated.canary is None:
            return None
        why = stated.canary.why_not(name, exchange)
        told = why or "in all of it"
        if (share := stated.canary.percent) is not None and why in ("", "percent"):
            told = (
                f"its conversation lies at {place_of(name, exchange.conversation):.2f} of {share:g} percent"
            )
        return f"outside the canary {name}: {told}" if why else f"in the canary {name}: {told}"

    @property
    def limits(self) -> tuple[tuple[Limit, str], ...]:
        """Every limit, with why the call was not counted on it, "" where it was."""
        asked = bool(self.answered.asked("limits"))
        who = self.answered.exchange.principal
        tenant = who.tenant if who is not None else ""
        found = []
        otherwise = "preflight" if self.answered.exchange.request.operation is Operation.PREFLIGHT else "when"
        for rule in self.question.policy.limits.rules:
            why = "" if rule.id in self.answered.counted else otherwise
            if not rule.is_for(tenant):
                why = "tenants"
            found.append((rule, why if asked else "not asked"))
        return tuple(found)

    @property
    def changes(self) -> tuple[str, ...]:
        """What would be changed in the request, in words."""
        request = self.answered.exchange.request
        before = {parameter.at: parameter for parameter in request.parameters}
        unset = {at: name for name, at in request.unset}
        lines = [f"{count} x {entity} masked" for entity, count in self._masked().items()]
        for change in self.answered.verdict.changes:
            old = before.get(change.at)
            name = old.name if old is not None else unset.get(change.at, change.at)
            lines.append(
                f"{name}: {'not set' if old is None else _value(old.value)} -> {_value(change.value)}"
            )
        return tuple(lines)

    def _masked(self) -> Counter[str]:
        edited = {edit.at: 0 for edit in self.answered.verdict.edits}
        found: Counter[str] = Counter()
        for decision in self.answered.verdict.decisions:
            if decision.edits and decision.enforced:
                found.update(f.entity for f in decision.findings if f.at in edited)
        return found


async def explained(rehearsal: Rehearsal, question: Question) -> Explained:
    """Ask. Raises Wrong for a fact that cannot be."""
    answered = await rehearsal.ask(question.policy, question.given, question.directory)
    return Explained(question, answered, await standings(answered))


def _stated(policy: Policy, decision: Decision) -> tuple[str, Stated]:
    """Return what gave a decision its state, with its name: the rule, its section, or the file."""
    extra = policy.tenant_access.rules if policy.tenant_access is not None else ()
    rules: tuple[tuple[str, Stated], ...] = (
        *((f"access.{rule.id}", rule) for rule in (*policy.access.rules, *extra)),
        *((f"limits.{rule.id}", rule) for rule in policy.limits.rules),
    )
    for name, rule in rules:
        if name == decision.reason and rule.mode is not None:
            return name, rule
    section: Stated | None = getattr(policy, decision.stage, None)
    return (decision.stage, section) if section is not None and section.mode is not None else (FILE, policy)


# -- text ----------------------------------------------------------------------------------------------


def as_text(found: Explained) -> str:
    """Return the answer for people. No text of the request is in it."""
    verdict, request = found.answered.verdict, found.answered.exchange.request
    who = found.answered.exchange.principal
    lines = [_headline(found), ""]
    if who is not None:
        lines.append(
            f"who      {printable(who.id)}, tenant {printable(who.tenant)}, "
            f"roles {printable(', '.join(who.roles)) or 'none'}, by {who.source} ({who.confidence:g})"
        )
    lines.append(
        f"call     {request.operation} to {request.provider}, model {printable(request.model or 'none')}, "
        f"{request.endpoint}, region {request.region or 'unknown'}, {found.question.given.at:%Y-%m-%d %H:%M %Z}"
    )
    own = f", and the tenant's file {found.tenant_file}" if found.tenant_file else ""
    policy = found.question.policy
    lines.append(f"policy   {found.question.places.company.name}, {policy.mode}, {policy.revision}{own}")
    lines.append(f"people   {found.question.store or 'no store: only what is given here'}")
    lines += ["", "stages"]
    rows = [_row(found, d) for d in verdict.decisions]
    lines += _aligned(rows)
    denied = [d for d in verdict.decisions if d.action is Action.DENY and d.message]
    messages = [d for d in denied if d.mode is not Mode.SHADOW]
    lines += [f"  {d.stage} would say: {printable(_message(found, d))}" for d in messages]
    if found.rules:
        lines += ["", "access rules"]
        lines += _aligned(
            [(s.rule.effect, s.rule.id, _stands(s), _where(found, "access", s.rule.id)) for s in found.rules]
        )
    if found.limits:
        lines += ["", "limits"]
        lines += _aligned([(r.id, _counted(why), _where(found, "limits", r.id)) for r, why in found.limits])
    if found.changes:
        lines += ["", "changes", *(f"  {printable(line)}" for line in found.changes)]
    if found.answered.needs:
        needed = [need for d in verdict.decisions for need in d.needs]
        lines += ["", "approvals that are lacking: this was only asked, so nothing is registered"]
        lines += [
            "  "
            + " ".join(
                part for part in (need.rule, printable(need.resource), _registered(found, need)) if part
            )
            for need in needed
        ]
    return "\n".join(lines)


def _message(found: Explained, decision: Decision) -> str:
    """Return what a refused caller would read, without ids that no gateway would give."""
    message = decision.message
    if not found.question.knows_ids:
        for need in decision.needs:
            message = message.replace(need.id, _NO_ID)
    return message


_NO_ID = "ID"


def _registered(found: Explained, need: Need) -> str:
    """Say what the call itself would do."""
    if found.question.knows_ids:
        return f"(would be registered as {need.id})"
    return "(would be registered under an ID that the gateway makes; --confdir of the gateway tells it)"


def _headline(found: Explained) -> str:
    verdict = found.answered.verdict
    word = {Action.ALLOW: "ALLOWED", Action.MODIFY: "ALLOWED, CHANGED", Action.DENY: "REFUSED"}[
        verdict.action
    ]
    cause = verdict.cause
    why = "nothing in force objects"
    if cause is not None:
        why = f"{cause.reason}, {_shown(found.place(cause))}"
    would = verdict.would_cause
    if verdict.would_be is not verdict.action and would is not None:
        why += f"; were all enforced: {_WORDS[verdict.would_be]} by {would.reason}"
    return f"{word}: {why}"


_WORDS = {Action.ALLOW: "allowed", Action.MODIFY: "changed", Action.DENY: "refused"}


def _row(found: Explained, decision: Decision) -> tuple[str, ...]:
    place = found.place(decision)
    return decision.stage, _WORDS[decision.action] + _state(found, decision), decision.reason, _shown(place)


def _state(found: Explained, decision: Decision) -> str:
    """Return why a word has no effect, or only for some calls."""
    canary = found.canary(decision)
    if canary is not None:
        return f" ({canary})"
    if decision.mode is Mode.SHADOW:
        return " (only tried)"
    return " (only observed)" if decision.mode is Mode.OBSERVE and decision.action else ""


def _shown(place: Place) -> str:
    return f"{place.where} {place.key}" if place.written else f"{place.key} (not written there: the default)"


def _stands(standing: Standing) -> str:
    if standing.no_answer:
        return "its condition gives no answer, so it refuses"
    return "holds" if standing.holds else f"does not hold: {', '.join(standing.failed)}"


def _counted(why: str) -> str:
    return "counted" if not why else ("not asked" if why == "not asked" else f"not counted: {why}")


def _where(found: Explained, section: str, id: str) -> str:
    place = found.question.places.rule(section, id)
    return place.where if place is not None else ""


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


# -- JSON ----------------------------------------------------------------------------------------------


def as_object(found: Explained) -> dict[str, object]:
    """Return the answer as JSON values."""
    answered, question = found.answered, found.question
    verdict, request, who = answered.verdict, answered.exchange.request, answered.exchange.principal
    return {
        "action": verdict.action.name.lower(),
        "would_be": verdict.would_be.name.lower(),
        "cause": verdict.cause.reason if verdict.cause is not None else None,
        "policy": {
            "file": question.places.company.name,
            "revision": question.policy.revision,
            "mode": mode_of(question.policy).value,
            "tenant_file": found.tenant_file or None,
        },
        "directory": question.store or None,
        "principal": None
        if who is None
        else {
            "id": who.id,
            "tenant": who.tenant,
            "roles": list(who.roles),
            "attributes": dict(who.attributes),
            "source": who.source,
            "confidence": who.confidence,
        },
        "request": {
            "provider": request.provider,
            "host": answered.exchange.host,
            "endpoint": request.endpoint,
            "operation": request.operation.value,
            "model": request.model,
            "region": request.region,
            "at": question.given.at.isoformat(),
        },
        "stages": [_stage(found, decision) for decision in verdict.decisions],
        "rules": [
            {
                "id": s.rule.id,
                "effect": s.rule.effect,
                "mode": s.rule.mode.value if s.rule.mode is not None else None,
                "holds": s.holds,
                "failed": list(s.failed),
                "no_answer": s.no_answer,
                "where": _where(found, "access", s.rule.id),
            }
            for s in found.rules
        ],
        "limits": [
            {
                "id": rule.id,
                "counted": not why,
                "why_not": why or None,
                "where": _where(found, "limits", rule.id),
            }
            for rule, why in found.limits
        ],
        "masked": list(answered.masked),
        "changes": list(found.changes),
        "needs": [
            {
                "rule": need.rule,
                "resource": need.resource,
                "principal": need.principal,
                "tenant": need.tenant,
                "would_be_id": need.id if question.knows_ids else None,
            }
            for decision in verdict.decisions
            for need in decision.needs
        ],
    }


def _stage(found: Explained, decision: Decision) -> dict[str, object]:
    place = found.place(decision)
    return {
        "stage": decision.stage,
        "action": decision.action.name.lower(),
        "mode": decision.mode.value,
        "canary": found.canary(decision),
        "reason": decision.reason,
        "message": _message(found, decision) or None,
        "status": decision.status if decision.action is Action.DENY else None,
        "where": place.where if place.written else None,
        "key": place.key,
        "overridden": list(decision.overridden),
    }

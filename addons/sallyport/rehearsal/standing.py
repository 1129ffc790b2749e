"""Which rules of the access section hold for a call, and what keeps the others from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sallyport.exchange import Exchange, Operation
from sallyport.policy.access import Access
from sallyport.policy.accessrule import OWN_REASONS, AccessRule
from sallyport.policy.condition import ConditionError
from sallyport.policy.inputs import ConditionInput, Facts
from sallyport.policy.rulebook import Rulebook, Subjects
from sallyport.rehearsal.asking import Answered
from sallyport.stages.access_facts import (
    TagError,
    classes_of,
    consents_of,
    networks_of,
    purpose_of,
    subjects_of,
)
from sallyport.stages.asking import input_for
from sallyport.stages.stage import Ports

_SAID_OF_THE_RULE = frozenset(
    ("id", "effect", "when", "message", "mode", "canary", "resource", "approval", "break_glass")
)
MATCHERS = tuple(name for name in AccessRule.model_fields if name not in _SAID_OF_THE_RULE)
"""The keys of a rule that choose calls, beside its condition."""

_AFTER_RULES = frozenset(
    (
        "default",
        "permitted",
        "opaque",
        "parameter",
        "parameters",
        "approved",
        "break_glass",
        "could_not_decide",
    )
)
_BEFORE_RULES = frozenset(f"access.{name}" for name in OWN_REASONS - _AFTER_RULES)
"""Refusals of the section itself, which come before its rules are looked at."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a rule stands to a call. failed: its keys that do not fit; `when` is asked where all others do.

    no_answer: its condition could not be answered, which refuses.
    """

    rule: AccessRule
    failed: tuple[str, ...] = ()
    no_answer: bool = False

    @property
    def holds(self) -> bool:
        return not self.failed


async def holding(answered: Answered) -> frozenset[str]:
    """Return the ids of all access rules that spoke of a call: they hold, and were asked."""
    found: set[str] = set()
    asked = sections(answered)
    for section, decision in zip(asked, answered.asked("access") if asked else (), strict=True):
        book = section.rulebook
        if decision.reason in _BEFORE_RULES and not (book.enforces_itself or book.tries):
            continue
        facts = await _facts(section, answered.exchange, answered.ports)
        if facts is not None and section.rules:
            bits = book.speaking(subjects_of(answered.exchange, facts))
            speaking = [rule for place, rule in enumerate(book.rules) if bits >> place & 1]
            found |= {s.rule.id for s in await _by_conditions(speaking, answered, facts) if s.holds}
    return frozenset(found)


async def standings(answered: Answered) -> tuple[Standing, ...]:
    """Return how every rule that was asked stands; the company's first, then the tenant's."""
    found: list[Standing] = []
    for section in sections(answered):
        facts = await _facts(section, answered.exchange, answered.ports)
        if facts is None:
            continue
        subjects = subjects_of(answered.exchange, facts)
        misfits = {rule.id: _misfits(rule, subjects) for rule in section.rules}
        fitting = [rule for rule in section.rules if not misfits[rule.id]]
        asked = {s.rule.id: s for s in await _by_conditions(fitting, answered, facts)}
        found += [asked.get(rule.id) or Standing(rule, misfits[rule.id]) for rule in section.rules]
    return tuple(found)


def sections(answered: Answered) -> tuple[Access, ...]:
    """Return the access sections whose rules were asked: none, the company's, or that and the tenant's."""
    if answered.exchange.request.operation is Operation.PREFLIGHT:
        return ()
    policy = answered.policy
    both = (policy.access, policy.tenant_access)
    return tuple(s for s in both if s is not None)[: len(answered.asked("access"))]


async def _facts(section: Access, exchange: Exchange, ports: Ports) -> Facts | None:
    """Return the facts of a call, None where its tags keep the rules from being asked."""
    networks = networks_of(exchange.client, section)
    if exchange.request.operation is Operation.LIST_MODELS:
        return Facts(networks=networks)
    try:
        facts = Facts(purpose_of(exchange.client, section), consents_of(exchange.client, section), networks)
    except TagError:
        return (
            Facts(networks=networks) if section.rulebook.enforces_itself or section.rulebook.tries else None
        )
    if section.data_classes:
        facts = replace(facts, data_classes=await classes_of(section, ports))
    return facts


def _misfits(rule: AccessRule, subjects: Subjects) -> tuple[str, ...]:
    """Return the keys of a rule that do not fit, each asked by itself."""
    failed = []
    for name in MATCHERS:
        if getattr(rule, name) is not None:
            others = {other: None for other in (*MATCHERS, "when") if other != name}
            if not Rulebook([rule.model_copy(update=others)]).speaking(subjects):
                failed.append(name)
    return tuple(failed)


async def _by_conditions(rules: Sequence[AccessRule], answered: Answered, facts: Facts) -> list[Standing]:
    conditions = [rule.when for rule in rules if rule.when is not None]
    given: ConditionInput | None = None
    if conditions:
        given = await input_for(conditions, answered.exchange, answered.ports, facts)
    return [_asked(rule, given) for rule in rules]


def _asked(rule: AccessRule, given: ConditionInput | None) -> Standing:
    if rule.when is None or given is None:
        return Standing(rule)
    try:
        return Standing(rule) if rule.when.holds(given) else Standing(rule, ("when",))
    except ConditionError:
        return Standing(rule, no_answer=True)

"""Findings an operator knows and accepts are left out before a stage decides."""

from collections.abc import Iterable, Sequence
from datetime import date

from sallyport.decision import Finding
from sallyport.exchange import Exchange
from sallyport.policy.condition import ConditionError, condition_input
from sallyport.policy.sections import Exclusion


def without_accepted(
    exchange: Exchange, findings: Iterable[Finding], exclusions: Sequence[Exclusion]
) -> tuple[Finding, ...]:
    """Return the findings that no exclusion covers. A condition that fails excludes nothing."""
    if not exclusions:
        return tuple(findings)
    day = exchange.received_at.date()
    return tuple(f for f in findings if not any(_covers(exchange, f, e, day) for e in exclusions))


def _covers(exchange: Exchange, finding: Finding, exclusion: Exclusion, day: date) -> bool:
    if not exclusion.covers(finding.rule, day):
        return False
    if exclusion.when is None:
        return True
    try:
        return exclusion.when.holds(condition_input(exchange, (finding,)))
    except ConditionError:
        return False

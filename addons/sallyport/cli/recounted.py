"""Limits that count something else than before under the same id: their counters hold what was counted before."""

import logging
from collections.abc import Iterator

from sallyport.policy.limits import Limit
from sallyport.policy.sections import Policy

logger = logging.getLogger("sallyport.limits")


def recounted(before: Policy, after: Policy) -> Iterator[str]:
    """Yield the ids of limits that count another measure in both policies' same counters."""
    counted = {rule.id: rule for rule in before.limits.rules}
    for rule in after.limits.rules:
        old = counted.get(rule.id, rule)
        if rule.measure is not old.measure and _counters(rule) == _counters(old):
            yield rule.id


def _counters(rule: Limit) -> tuple[object, ...]:
    """Return what tells counters of one id apart; the rate of a bucket may change freely."""
    return rule.kind, rule.by, None if rule.kind == "bucket" else rule.per


def warn_of_recounted(before: Policy, after: Policy) -> None:
    """Say in the log which limits take amounts of one measure for amounts of another, and what to do."""
    for id in recounted(before, after):
        logger.warning(
            "the limit %s counts something else than in the policy before, and its counters hold what they counted "
            "then. Give it another id, or reset them: sallyport limits status %s, then limits reset",
            id,
            id,
        )

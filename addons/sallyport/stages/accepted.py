"""Findings an operator knows and accepts are left out before a stage decides."""

from collections.abc import Iterable, Sequence

from sallyport.decision import Finding
from sallyport.exchange import Exchange
from sallyport.policy.condition import ConditionError
from sallyport.policy.inputs import condition_input
from sallyport.policy.sections import Exclusion


def without_accepted(
    exchange: Exchange, findings: Iterable[Finding], exclusions: Sequence[Exclusion]
) -> tuple[Finding, ...]:
    """Return the findings that no exclusion covers. A condition that fails excludes nothing.

    Findings of which a condition sees the same are asked about once: describing an exchange takes as long as it
    has texts.
    """
    if not exclusions:
        return tuple(findings)
    accepted = _Accepted(exchange, exclusions)
    return tuple(f for f in findings if not accepted.covers(f))


class _Accepted:
    def __init__(self, exchange: Exchange, exclusions: Sequence[Exclusion]) -> None:
        self._exchange = exchange
        self._exclusions = exclusions
        self._day = exchange.received_at.date()
        self._surfaces = {s.at: s.surface for s in exchange.request.segments}
        self._known: dict[tuple[object, ...], bool] = {}

    def covers(self, finding: Finding) -> bool:
        surface = self._surfaces.get(finding.at)
        alike = (finding.rule, finding.kind, finding.entity, finding.severity, finding.score, surface)
        known = self._known.get(alike)
        if known is None:
            known = self._known[alike] = any(self._holds(e, finding) for e in self._exclusions)
        return known

    def _holds(self, exclusion: Exclusion, finding: Finding) -> bool:
        if not exclusion.covers(finding.rule, self._day):
            return False
        if exclusion.when is None:
            return True
        try:
            return exclusion.when.holds(condition_input(self._exchange, (finding,)))
        except ConditionError:
            return False

"""Personal data in a request becomes placeholders that come back in the answer, or is cut out for good."""

from sallyport.decision import Action, Decision, Edit, Finding, Kind
from sallyport.exchange import Exchange, Surface
from sallyport.policy.sections import Masking, MaskOperator
from sallyport.stages.accepted import without_accepted
from sallyport.stages.places import in_body
from sallyport.stages.stage import Ports

_NETWORK_ENTITIES = frozenset({"IP_ADDRESS", "URL"})
"""Ordinary content of request headers; elsewhere they count like any entity."""


class MaskingStage:
    """Operators per entity; a finding at a place that cannot be edited refuses."""

    name = "masking"

    async def decide(self, exchange: Exchange, section: Masking, ports: Ports) -> Decision:
        found = [f for f in await ports.scanner.findings() if f.kind is Kind.PII]
        found = [f for f in found if f.score >= section.min_score]
        counted = [
            f
            for f in without_accepted(exchange, found, section.exclusions)
            if section.operator(f.entity) is not MaskOperator.ALLOW
            and (in_body(f.at) or f.entity not in _NETWORK_ENTITIES)
        ]
        counted = _without_own_answers(exchange, counted, ports)
        if not counted:
            return Decision(self.name, Action.ALLOW, "masking.none", findings=tuple(found))
        denied = [f for f in counted if section.operator(f.entity) is MaskOperator.DENY]
        if denied:
            kinds = ", ".join(sorted({f.entity for f in denied})[:5])
            return self._deny("masking.denied", f"The request holds personal data ({kinds}).", denied)
        fixed = [f for f in counted if not in_body(f.at)]
        if fixed:
            return self._deny(
                "masking.unmaskable", "A header or the address of the request holds personal data.", fixed
            )
        return Decision(
            self.name,
            Action.MODIFY,
            "masking.masked",
            findings=tuple(counted),
            edits=tuple(_edit(exchange, f, section, ports) for f in counted),
        )

    def _deny(self, reason: str, message: str, findings: list[Finding]) -> Decision:
        return Decision(
            self.name,
            Action.DENY,
            reason,
            message=message + " The policy does not let it leave. Take it out and send again.",
            findings=tuple(findings),
            status=400,
        )


def _without_own_answers(exchange: Exchange, findings: list[Finding], ports: Ports) -> list[Finding]:
    """Leave reasoning alone that the provider itself wrote here: it is signed, and the provider has it."""
    reasoning = {s.at: s.text for s in exchange.request.segments if s.surface is Surface.REASONING}
    if not reasoning:
        return findings
    known = {at for at, text in reasoning.items() if ports.vault.came_from_provider(text)}
    return [f for f in findings if f.at not in known]


def _edit(exchange: Exchange, finding: Finding, section: Masking, ports: Ports) -> Edit:
    text = next(s.text for s in exchange.request.segments if s.at == finding.at)
    value = text[finding.start : finding.end]
    match section.operator(finding.entity):
        case MaskOperator.REDACT:
            replacement = f"[{finding.entity}]"
        case MaskOperator.HASH:
            replacement = ports.vault.digest(finding.entity, value)
        case _:
            replacement = ports.vault.placeholder(finding.entity, value)
    return Edit(finding.at, finding.start, finding.end, replacement)

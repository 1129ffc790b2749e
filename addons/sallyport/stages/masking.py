"""Personal data in a request becomes placeholders that come back in the answer, or is cut out for good."""

from collections.abc import Sequence
from dataclasses import replace

from sallyport.decision import Action, Decision, Edit, Finding, Kind
from sallyport.exchange import Exchange, Surface
from sallyport.policy.sections import Masking, MaskOperator
from sallyport.stages.accepted import without_accepted
from sallyport.stages.everywhere import Replacement, replace_everywhere
from sallyport.stages.excision import told
from sallyport.stages.offloop import off_loop
from sallyport.stages.places import in_body
from sallyport.stages.stage import Ports

_NAMES = "pii.ner."
"""Rules of learned names, which have a threshold of their own: detection.ner.min_score."""

_NETWORK_ENTITIES = frozenset({"IP_ADDRESS", "URL"})
"""Ordinary content of request headers; elsewhere they count like any entity."""


class MaskingStage:
    """Operators per entity; a finding at a place that cannot be edited refuses."""

    name = "masking"

    async def decide(self, exchange: Exchange, section: Masking, ports: Ports) -> Decision:
        found = await ports.scanner.with_names()
        return await off_loop(found, self._decided, exchange, section, ports, found)

    def _decided(
        self, exchange: Exchange, section: Masking, ports: Ports, all_found: Sequence[Finding]
    ) -> Decision:
        found = [f for f in all_found if f.kind is Kind.PII]
        found = [f for f in found if f.score >= section.min_score or f.rule.startswith(_NAMES)]
        counted = [
            f
            for f in without_accepted(exchange, found, section.exclusions)
            if section.operator(f.entity) is not MaskOperator.ALLOW
            and (in_body(f.at) or f.entity not in _NETWORK_ENTITIES)
        ]
        own = _own_answers(exchange, ports)
        counted = [f for f in counted if f.at not in own]
        if not counted:
            return Decision(self.name, Action.ALLOW, "masking.none", findings=tuple(found))
        denied = [f for f in counted if section.operator(f.entity) is MaskOperator.DENY]
        if denied:
            kinds = ", ".join(sorted({f.entity for f in denied})[:5])
            denial = self._deny("masking.denied", f"The request holds personal data ({kinds}).", denied)
            excised = told(denial, exchange, section, ports.vault)
            if excised.action is Action.DENY:
                return excised
            others = [f for f in counted if f not in denied]
            if all(in_body(f.at) for f in others):
                edits = (*excised.edits, *_edits(exchange, others, section, ports, own))
                return replace(excised, findings=tuple(counted), edits=edits)
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
            edits=_edits(exchange, counted, section, ports, own),
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


def _own_answers(exchange: Exchange, ports: Ports) -> frozenset[str]:
    """Return where reasoning stands that the provider itself wrote here: it is signed, and it has it already."""
    reasoning = (s for s in exchange.request.segments if s.surface is Surface.REASONING)
    return frozenset(s.at for s in reasoning if ports.vault.came_from_provider(s.text))


def _edits(
    exchange: Exchange, findings: list[Finding], section: Masking, ports: Ports, own: frozenset[str]
) -> tuple[Edit, ...]:
    vault = ports.vault
    spellings: dict[MaskOperator, Replacement] = {
        MaskOperator.REDACT: lambda entity, value, shared: f"[{entity}]",
        MaskOperator.HASH: vault.digest,
        MaskOperator.PLACEHOLDER: vault.placeholder,
    }
    edits: list[Edit] = []
    for operator, spelling in spellings.items():
        group = [f for f in findings if section.operator(f.entity) is operator]
        edits += replace_everywhere(exchange, group, spelling, taken=findings, untouched=own)
    return tuple(edits)

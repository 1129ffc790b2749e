"""Credentials in a request: refused, or replaced by placeholders, as the policy says."""

from collections.abc import Sequence

from sallyport.decision import Action, Decision, Edit, Finding, Kind, Severity
from sallyport.exchange import Exchange
from sallyport.policy.sections import Secrets
from sallyport.stages.accepted import without_accepted
from sallyport.stages.everywhere import replace_everywhere
from sallyport.stages.excision import told
from sallyport.stages.offloop import off_loop
from sallyport.stages.places import in_body
from sallyport.stages.stage import Ports

_ORDER = list(Severity)


class SecretsStage:
    """Keys, tokens, passwords and private keys never leave as they are."""

    name = "secrets"

    async def decide(self, exchange: Exchange, section: Secrets, ports: Ports) -> Decision:
        found = await ports.scanner.findings()
        return await off_loop(found, self._decided, exchange, section, ports, found)

    def _decided(
        self, exchange: Exchange, section: Secrets, ports: Ports, all_found: Sequence[Finding]
    ) -> Decision:
        found = [f for f in all_found if f.kind is Kind.SECRET]
        counted = without_accepted(exchange, found, section.exclusions)
        counted = tuple(f for f in counted if _ORDER.index(f.severity) >= _ORDER.index(section.min_severity))
        if not counted:
            return Decision(self.name, Action.ALLOW, "secrets.none", findings=tuple(found))
        if section.action == "mask" and all(in_body(f.at) for f in counted):
            edits = mask(exchange, counted, ports)
            return Decision(self.name, Action.MODIFY, "secrets.masked", findings=counted, edits=edits)
        rules = ", ".join(sorted({f.entity for f in counted})[:5])
        denial = Decision(
            self.name,
            Action.DENY,
            "secrets.found",
            message=f"The request holds a credential ({rules}). Take it out, and treat it as leaked if it "
            "was typed by accident.",
            findings=counted,
            status=400,
        )
        return told(denial, exchange, section, ports.vault)


def mask(exchange: Exchange, findings: tuple[Finding, ...], ports: Ports) -> tuple[Edit, ...]:
    """Return placeholder edits for the findings and for what repeats them."""
    return replace_everywhere(exchange, findings, ports.vault.placeholder)

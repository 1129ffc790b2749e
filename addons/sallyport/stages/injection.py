"""Texts that try to command the model: refused when the scores of one segment reach the threshold."""

from collections import defaultdict
from collections.abc import Sequence

from sallyport.decision import Action, Decision, Finding, Kind
from sallyport.exchange import Exchange
from sallyport.policy.sections import Injection
from sallyport.stages.accepted import without_accepted
from sallyport.stages.excision import told
from sallyport.stages.offloop import off_loop
from sallyport.stages.places import in_body
from sallyport.stages.stage import Ports


class InjectionStage:
    """Adds up per segment, so that many small texts do not make one large suspicion."""

    name = "injection"

    async def decide(self, exchange: Exchange, section: Injection, ports: Ports) -> Decision:
        found = await ports.scanner.findings()
        return await off_loop(found, self._decided, exchange, section, ports, found)

    def _decided(
        self, exchange: Exchange, section: Injection, ports: Ports, all_found: Sequence[Finding]
    ) -> Decision:
        found = [f for f in all_found if f.kind is Kind.INJECTION]
        if not found:
            return Decision(self.name, Action.ALLOW, "injection.none")
        surfaces = {s.at: s.surface for s in exchange.request.segments}
        scores: defaultdict[str, float] = defaultdict(float)
        by_segment: defaultdict[str, list[Finding]] = defaultdict(list)
        for finding in without_accepted(exchange, found, section.exclusions):
            # No model reads a header or an address, and `gemini-3-pro:generateContent` sounds like an order.
            if surfaces.get(finding.at) in section.surfaces and in_body(finding.at):
                scores[finding.at] += finding.score
                by_segment[finding.at].append(finding)
        # Floating point: ten times 0.1 must reach 1.0.
        reached = [at for at, score in scores.items() if score >= section.threshold - 1e-9]
        hits = [f for at in reached for f in by_segment[at]]
        if not hits:
            return Decision(self.name, Action.ALLOW, "injection.none", findings=tuple(found))
        denial = Decision(
            self.name,
            Action.DENY,
            "injection.found",
            message="The request holds text that tries to override the model's instructions. If it is quoted "
            "for a reason, ask your security team for an exclusion.",
            findings=tuple(hits),
            status=400,
        )
        return told(denial, exchange, section, ports.vault)

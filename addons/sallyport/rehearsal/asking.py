"""One question to a policy: the real stages in the real pipeline, over a call made of given facts."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sallyport.decision import Decision, Mode, Verdict
from sallyport.exchange import Circumstances, Exchange, Scalar
from sallyport.metering.tariff import Tariff
from sallyport.metering.tokens import TokenCounter
from sallyport.pipeline import decide, stages_of
from sallyport.policy.catalogue import Catalogue
from sallyport.policy.problems import Wrong, nearest
from sallyport.policy.sections import Policy, counts_apart, standing
from sallyport.rehearsal.calling import called
from sallyport.rehearsal.counting import RehearsedMeter
from sallyport.rehearsal.given import Given
from sallyport.rehearsal.searching import Detection, Scan
from sallyport.rehearsal.stating import StatedTokens, directory_of, stated
from sallyport.stages.identity import IdentityStage
from sallyport.stages.stage import Ports
from sallyport.state.directory.snapshot import Snapshot
from sallyport.state.keyed import digest
from sallyport.state.vault import MemoryVault

_KEY = bytes(32)
"""Placeholders of a rehearsal hide nothing from anybody, and go nowhere."""

_TEXT_STAGES = {"secrets", "masking"}


@dataclass(frozen=True, slots=True)
class Answered:
    """What a policy says of a call. policy: the one in force for the principal's tenant.

    ports: what the stages were given. counted: the limits that the call was counted on.
    """

    exchange: Exchange
    verdict: Verdict
    policy: Policy
    ports: Ports
    counted: frozenset[str] = frozenset()

    @property
    def masked(self) -> tuple[str, ...]:
        """The entities that are taken out of the texts, by name."""
        edited = [d for d in self.verdict.decisions if d.edits and d.enforced and d.stage in _TEXT_STAGES]
        return tuple(sorted({finding.entity for d in edited for finding in d.findings}))

    @property
    def needs(self) -> tuple[str, ...]:
        """The resources for which an approval is lacking; "" for a rule as such."""
        return tuple(
            need.resource for d in self.verdict.decisions if d.mode is not Mode.SHADOW for need in d.needs
        )

    @property
    def parameters(self) -> dict[str, Scalar]:
        """The settings with which the call would leave, by name."""
        request = self.exchange.request
        places = {parameter.at: parameter.name for parameter in request.parameters}
        places |= {at: name for name, at in request.unset}
        found = {parameter.name: parameter.value for parameter in request.parameters}
        return found | {places[change.at]: change.value for change in self.verdict.changes}

    def asked(self, stage: str) -> tuple[Decision, ...]:
        """Return the decisions of a stage, none if the call was refused before it; without those of rules in shadow."""
        return tuple(d for d in self.verdict.decisions if d.stage == stage and d.rule_mode is not Mode.SHADOW)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What all questions share. detection: loads the detectors of a policy. tariff: gives its prices.

    key: of the gateway whose ids of requests for approvals are to be told; without it they are nobody's.
    """

    catalogue: Catalogue
    detection: Detection
    tariff: Callable[[Policy], Tariff]
    tokens: TokenCounter = field(default_factory=TokenCounter)
    key: bytes = field(default=_KEY, repr=False)

    async def ask(self, policy: Policy, given: Given, known: Snapshot | None = None) -> Answered:
        """Ask a policy. known: a directory beside the given one.

        Raises Wrong, with the fact it is about, for a fact that cannot be; OperatorError for detection that
        cannot be loaded.
        """
        given.check()
        directory = directory_of(given, known, policy.approvals)
        tokens = StatedTokens(given.tokens, policy)
        call = called(given, policy, self.catalogue, directory, tokens.headers)
        _check_used(given, policy)
        limits = policy.limits
        meter = RehearsedMeter(
            call.exchange,
            limits,
            self.tariff(policy),
            self.tokens,
            given.used,
            request_bytes=call.request_bytes,
        )
        if call.exchange.request.segments:
            self.detection(
                policy
            )  # what cannot be loaded is an error here, and would be a refusal in a stage
        scan = Scan(policy, call.exchange.request.segments, self.detection)
        vault = MemoryVault(_KEY)
        around = Circumstances(
            given.behaviour_score, ("stated",) if given.behaviour_score else (), given.in_flight
        )

        def ports(exchange: Exchange) -> Ports:
            who = exchange.principal
            scope = vault.scope(who.tenant if who else "", who.id if who else "", exchange.conversation)
            return Ports(
                scan,
                scope,
                meter,
                lambda: around,
                directory,
                tokens,
                self._digest,
                policy.approvals,
                standing(policy, limits, exchange),
                counts_apart(policy),
            )

        stages = stages_of(call.exchange.request, IdentityStage(stated(given)))
        exchange, verdict = await decide(call.exchange, policy, ports, stages=stages)
        tenant = exchange.principal.tenant if exchange.principal is not None else ""
        return Answered(exchange, verdict, policy.for_tenant(tenant), ports(exchange), meter.touched)

    def _digest(self, *parts: str) -> str:
        return digest(self.key, "approval", *parts)


def _check_used(given: Given, policy: Policy) -> None:
    known = {rule.id for rule in policy.limits.rules}
    for name in given.used:
        if name not in known:
            near = nearest(name, known)
            todo = f"Did you mean `{near}`?" if near else "Take an `id` of limits.rules"
            raise Wrong("the policy has no such limit", todo, ("used", name))

"""Which findings count under a policy: its own stages are asked, so nothing is decided here a second time."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sallyport.cli.detection import detection_settings, ner_settings, read_policy
from sallyport.decision import Action, Decision, Finding
from sallyport.detect.engine import DetectionSettings
from sallyport.detect.ner.service import NerSettings
from sallyport.exchange import Client, Exchange, Operation, Request, Segment
from sallyport.policy.sections import Masking, MaskOperator, Policy
from sallyport.stages.injection import InjectionStage
from sallyport.stages.masking import MaskingStage
from sallyport.stages.secrets import SecretsStage
from sallyport.stages.stage import Ports


def policed(name: str, min_score: float | None) -> tuple[DetectionSettings, "Policed", NerSettings | None]:
    """Return a policy's detection settings, what counts under it, and how names are looked for.

    min_score: in place of the policy's own for personal data; None keeps it.
    Raises OperatorError for a policy that cannot be used.
    """
    policy = read_policy(name)
    if min_score is not None:
        masking = policy.masking.model_copy(update={"min_score": min_score})
        policy = policy.model_copy(update={"masking": masking})
    return detection_settings(policy), Policed(policy), ner_settings(policy) if policy.uses_names else None


class Policed:
    """Asks the stages of a policy about one text, as if it were all of a request from an unknown caller."""

    def __init__(self, policy: Policy) -> None:
        # Only what counts is wanted, not what becomes of it: one operator for all that is not let through.
        self._secrets = policy.secrets.model_copy(update={"action": "deny"})
        self._masking = policy.masking.model_copy(update=_redacting(policy.masking))
        self._injection = policy.injection

    def counted(self, segment: Segment, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        exchange = _alone(segment)
        ports = Ports(scanner=_Found(tuple(findings)), vault=_NoVault())
        decisions = (
            _now(SecretsStage().decide(exchange, self._secrets, ports)),
            _now(MaskingStage().decide(exchange, self._masking, ports)),
            _now(InjectionStage().decide(exchange, self._injection, ports)),
        )
        counted = {f for d in decisions if d.action is not Action.ALLOW for f in d.findings}
        return tuple(f for f in findings if f in counted)


@dataclass(frozen=True, slots=True)
class _Found:
    """A scanner port that has scanned."""

    found: tuple[Finding, ...]

    async def findings(self) -> Sequence[Finding]:
        return self.found

    async def with_names(self) -> Sequence[Finding]:
        return self.found


class _NoVault:
    """A vault port that keeps nothing: no answer will come back."""

    def digest(self, entity: str, value: str, shared: bool = False) -> str:
        return f"[{entity}]"

    def placeholder(self, entity: str, value: str, shared: bool = False) -> str:
        return f"[{entity}]"

    def came_from_provider(self, text: str) -> bool:
        return False


def _redacting(masking: Masking) -> dict[str, object]:
    def kept(operator: MaskOperator) -> MaskOperator:
        return operator if operator is MaskOperator.ALLOW else MaskOperator.REDACT

    return {
        "unlisted": kept(masking.unlisted),
        "entities": {entity: kept(operator) for entity, operator in masking.entities.items()},
    }


def _alone(segment: Segment) -> Exchange:
    request = Request(
        provider="",
        dialect="",
        operation=Operation.CHAT,
        model=None,
        segments=(segment,),
    )
    return Exchange(
        id="",
        conversation="",
        received_at=datetime.now(UTC),
        host="",
        client=Client("", "scan"),
        request=request,
    )


def _now(decision: Coroutine[object, None, Decision]) -> Decision:
    """Run a stage that has nothing to wait for."""
    try:
        decision.send(None)
    except StopIteration as done:
        result: Decision = done.value
        return result
    decision.close()
    raise RuntimeError("a stage waited for something while a text was scanned")

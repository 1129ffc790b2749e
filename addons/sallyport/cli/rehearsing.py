"""What `policy test` and `policy explain` ask with: detectors are loaded for the first text, and once."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sallyport.cli.detection import detection_settings, ner_settings
from sallyport.decision import Finding
from sallyport.exchange import Segment
from sallyport.metering.tariff import Tariff
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.catalogue import shipped_catalogue
from sallyport.policy.sections import Policy
from sallyport.rehearsal.asking import Rehearsal
from sallyport.stages.places import in_body

if TYPE_CHECKING:
    from sallyport.cli.scanning.names import NamesHere
    from sallyport.detect.engine import DetectionSettings, Detector
    from sallyport.detect.ner.service import NerSettings

DEADLINE_S = 60.0
"""Seconds for one text: a command shares its cores with others, so a policy's deadline is not applied."""


def make_rehearsal(tokens: TokenCounter | None = None, key: bytes | None = None) -> Rehearsal:
    """Return what questions to policies share. tokens: counts; None estimates, which loads nothing.

    key: of the gateway that is asked about, None for no gateway.
    """
    made = Rehearsal(
        catalogue=shipped_catalogue(),
        detection=Detectors().of,
        tariff=_Tariffs().of,
        tokens=tokens or TokenCounter(),
    )
    return made if key is None else replace(made, key=key)


@dataclass(slots=True)
class _Tariffs:
    """Prices, made for policies that limit something."""

    _made: dict[str, Tariff] = field(default_factory=dict)

    def of(self, policy: Policy) -> Tariff:
        if not policy.limits.rules:
            return Tariff()
        if policy.revision not in self._made:
            from sallyport.cli.parts import make_tariff

            self._made[policy.revision] = make_tariff(policy)
        return self._made[policy.revision]


@dataclass(slots=True)
class Detectors:
    """The detectors of all policies that are asked: those with the same settings share one."""

    _rules: "dict[DetectionSettings, Detector]" = field(default_factory=dict)
    _names: "dict[NerSettings, NamesHere]" = field(default_factory=dict)

    def of(self, policy: Policy) -> "Searched":
        """Return the detection of a policy. Raises OperatorError where it cannot be loaded."""
        settings = replace(detection_settings(policy), deadline_s=DEADLINE_S, cpu_s=DEADLINE_S)
        if settings not in self._rules:
            from sallyport.detect.engine import Detector

            detector = Detector(settings)
            detector.warm()
            self._rules[settings] = detector
        return Searched(self._rules[settings], self._named(policy), policy.masking.min_score)

    def _named(self, policy: Policy) -> "NamesHere | None":
        settings = ner_settings(policy) if policy.uses_names else None
        if settings is None:
            return None
        settings = replace(settings, deadline_s=DEADLINE_S)
        if settings not in self._names:
            from sallyport.cli.scanning.names import NamesHere

            self._names[settings] = NamesHere(settings)
        return self._names[settings]


@dataclass(frozen=True, slots=True)
class Searched:
    """The detection of one policy, in this process."""

    detector: "Detector"
    names: "NamesHere | None"
    min_score: float

    def rules(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        return self.detector.scan(segments)

    def named(self, segments: Sequence[Segment], found: Sequence[Finding]) -> tuple[Finding, ...]:
        """Return findings and names, segment by segment; a header holds no prose, as in the gateway."""
        if self.names is None:
            return tuple(found)
        result: list[Finding] = []
        for segment in segments:
            of_it = [f for f in found if f.at == segment.at]
            result += self.names.added(segment, of_it, self.min_score) if in_body(segment.at) else of_it
        return tuple(result)

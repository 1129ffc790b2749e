"""The examples of a rule are its tests: this runs them, each rule alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.packs import Packs, Rule
from sallyport.exchange import Segment

_EVERYTHING = DetectionSettings(
    kinds=frozenset(Kind), paranoia_secrets=4, paranoia_pii=4, paranoia_injection=4, cache_entries=0
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An example that did not do what it says. wanted: match or pass; number: its place, from 1."""

    rule: Rule
    wanted: str
    number: int

    def __str__(self) -> str:
        met = "did not fire" if self.wanted == "match" else "fired"
        return f"{self.rule.where}: the rule {met} on its {self.wanted} example {self.number}"


def prove(rule: Rule) -> Iterator[Failure]:
    """Yield every example of a rule that fails. Raises OperatorError for an unknown recogniser."""
    detector = Detector(_EVERYTHING, Packs((rule,), rule.id))
    for wanted, examples in (("match", rule.match), ("pass", rule.clean)):
        for number, example in enumerate(examples, 1):
            findings = detector.scan([Segment("", example.surface, example.text)])
            if bool(findings) is not (wanted == "match"):
                yield Failure(rule, wanted, number)

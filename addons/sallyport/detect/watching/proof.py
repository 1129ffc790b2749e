"""The examples of a rule for answers are its tests: whole, and in pieces of one and of seven characters."""

from collections.abc import Iterator
from dataclasses import dataclass

from sallyport.detect.watching.rulefile import OutputRule
from sallyport.detect.watching.rules import RuleSet, RuleWatcher
from sallyport.detect.watching.watcher import Match

_PIECES = (1, 7)


@dataclass(frozen=True, slots=True)
class OutputFailure:
    """An example that did not do what it says. wanted: match, pass or pieces; number: its place, from 1."""

    rule: OutputRule
    wanted: str
    number: int

    def __str__(self) -> str:
        met = {"match": "did not fire", "pass": "fired", "pieces": "depends on how the text is cut"}
        example = "match" if self.wanted == "pieces" else self.wanted
        return f"{self.rule.where}: the rule {met[self.wanted]} on its {example} example {self.number}"


def prove_output(rule: OutputRule) -> Iterator[OutputFailure]:
    """Yield every example of a rule that fails."""
    rules = RuleSet([rule])
    for wanted, examples in (("match", rule.match), ("pass", rule.clean)):
        for number, example in enumerate(examples, 1):
            whole = matches(rules, example.text)
            if bool(whole) is not (wanted == "match"):
                yield OutputFailure(rule, wanted, number)
            if any(matches(rules, example.text, size) != whole for size in _PIECES):
                yield OutputFailure(rule, "pieces", number)


def matches(rules: RuleSet, text: str, piece: int = 0) -> list[Match]:
    """Return what the rules find in a text that comes in pieces of so many characters, 0 for at once."""
    watcher = RuleWatcher(rules)
    size = piece or len(text) or 1
    found = [match for at in range(0, len(text), size) for match in watcher.feed(text[at : at + size])]
    return found + watcher.end()

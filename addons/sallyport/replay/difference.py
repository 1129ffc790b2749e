"""What changes from one policy to another, over many flows: a fold, so that memory does not grow with them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sallyport.proxy.recorded import Ruling
from sallyport.replay.costs import Costs
from sallyport.replay.counters import Counters, Waited
from sallyport.replay.ruling import ABOUT_ANSWERS, Change, Judged, Sort, change_of
from sallyport.stages.outcome import Outcome
from sallyport.stages.output import NAME as OUTPUT

DIMENSIONS = ("rule", "stage", "principal", "tenant", "provider", "model", "host", "endpoint")


@dataclass(frozen=True, slots=True)
class Sample:
    """One flow that changes, to be looked up by its id."""

    change: Change
    judged: Judged
    base: Ruling
    candidate: Ruling


@dataclass(slots=True)
class Difference:
    """All that two policies say of the same flows.

    most_samples: kept of each change and rule, the first ones. by: what changes, by dimension and value.
    refused, masked and all below: of base and candidate. spent: in millionths of a dollar. unpriced: flows that leave
    at a price nobody knows. ended: answers that are truncated or refused; edited: places in answers, by rule.
    costs: processor time; no two runs find the same. waited: for room in limits. rules: under which flows were
    recorded, with how many.
    """

    most_samples: int = 5
    flows: int = 0
    period: tuple[float, float] | None = None
    sorts: Counter[Sort] = field(default_factory=Counter)
    changes: Counter[Change] = field(default_factory=Counter)
    by: dict[str, dict[str, Counter[Change]]] = field(default_factory=lambda: {d: {} for d in DIMENSIONS})
    refused: list[int] = field(default_factory=lambda: [0, 0])
    masked: list[Counter[str]] = field(default_factory=lambda: [Counter(), Counter()])
    spent: list[int] = field(default_factory=lambda: [0, 0])
    unpriced: list[int] = field(default_factory=lambda: [0, 0])
    ended: list[int] = field(default_factory=lambda: [0, 0])
    edited: list[Counter[str]] = field(default_factory=lambda: [Counter(), Counter()])
    waited: list[Waited] = field(default_factory=lambda: [Waited(), Waited()])
    costs: list[Costs] = field(default_factory=lambda: [Costs(), Costs()])
    samples: list[Sample] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    _kept: Counter[tuple[Change, str]] = field(default_factory=Counter)

    def add(self, judged: Judged, base: Ruling, candidate: Ruling) -> None:
        """Take one flow in."""
        self.sorts[judged.sort] += 1
        if judged.sort in (Sort.UNREADABLE, Sort.SESSION):
            return
        self.flows += 1
        if judged.rules:
            self.rules[judged.rules] += 1
        since, until = self.period or (judged.began, judged.began)
        self.period = min(since, judged.began), max(until, judged.began)
        for side, ruling in enumerate((base, candidate)):
            self.refused[side] += ruling.action.name == "DENY"
            self.masked[side].update(dict(ruling.masked))
            self.spent[side] += ruling.cost or 0
            self.unpriced[side] += ruling.cost is None
            if ruling.answer is not None:
                self.ended[side] += ruling.answer.ends
                self.edited[side].update(dict(ruling.answer.edited))
            self.costs[side].add(judged.cpu_us[side])
        change = change_of(base, candidate)
        self.changes[change] += 1
        if change is Change.SAME:
            return
        rules = [*_rules(change, base, candidate)]
        for name in rules:
            self._count("rule", name, change)
        self._count("stage", _stage(change, base, candidate), change)
        for dimension in DIMENSIONS[2:]:
            self._count(dimension, getattr(judged, dimension), change)
        if any(self._kept[change, name] < self.most_samples for name in rules):
            self._kept.update((change, name) for name in rules)
            self.samples.append(Sample(change, judged, base, candidate))

    def _count(self, dimension: str, value: str, change: Change) -> None:
        self.by[dimension].setdefault(value, Counter())[change] += 1


def _rules(change: Change, base: Ruling, candidate: Ruling) -> Iterator[str]:
    """Yield the names under which a change is counted: of the rule that speaks now, or spoke and is silent."""
    match change:
        case Change.NEWLY_ALLOWED:
            yield base.reason
        case Change.MASKS_CHANGED:
            before, after = dict(base.masked), dict(candidate.masked)
            for entity in sorted(before.keys() | after.keys()):
                if before.get(entity) != after.get(entity):
                    yield f"masking.{entity}"
        case Change.ANSWER_NEWLY_WHOLE:
            yield _answer(base).rule
        case Change.ANSWER_CHANGED if not _answer(candidate).ends:
            before, after = dict(_answer(base).edited), dict(_answer(candidate).edited)
            for rule in sorted(before.keys() | after.keys()):
                if before.get(rule) != after.get(rule):
                    yield rule
        case Change.ANSWER_NEWLY_ENDED | Change.ANSWER_CHANGED:
            yield _answer(candidate).rule
        case Change.WOULD_CHANGE if base.would_be is candidate.would_be:
            yield _answer(candidate).rule or _answer(base).rule
        case _:
            yield candidate.reason or base.reason


def _stage(change: Change, base: Ruling, candidate: Ruling) -> str:
    """Return the stage under which a change is counted."""
    if change in ABOUT_ANSWERS or (change is Change.WOULD_CHANGE and base.would_be is candidate.would_be):
        return OUTPUT
    if change is Change.MASKS_CHANGED:
        return "masking"
    return (base if change is Change.NEWLY_ALLOWED else candidate).stage or base.stage


def _answer(ruling: Ruling) -> Outcome:
    return ruling.answer or Outcome()


async def difference(judged: Iterable[Judged], most_samples: int) -> Difference:
    """Put limits on what was judged, in its order, and fold it."""
    found = Difference(most_samples)
    base, candidate = Counters(), Counters()
    for each in judged:
        found.add(
            each,
            await base.rule(each.base, each.began, each.ended),
            await candidate.rule(each.candidate, each.began, each.ended),
        )
    found.waited = [base.waited, candidate.waited]
    return found

"""What changes from one policy to another, over many flows: a fold, so that memory does not grow with them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sallyport.errors import OperatorError
from sallyport.proxy.recorded import Ruling
from sallyport.replay.counters import Counters
from sallyport.replay.ruling import Change, Judged, Sort, change_of

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
    spent: of base and candidate, in millionths of a dollar. unpriced: flows that leave at a price nobody knows.
    """

    most_samples: int = 5
    flows: int = 0
    sorts: Counter[Sort] = field(default_factory=Counter)
    changes: Counter[Change] = field(default_factory=Counter)
    by: dict[str, dict[str, Counter[Change]]] = field(default_factory=lambda: {d: {} for d in DIMENSIONS})
    refused: list[int] = field(default_factory=lambda: [0, 0])
    masked: list[Counter[str]] = field(default_factory=lambda: [Counter(), Counter()])
    spent: list[int] = field(default_factory=lambda: [0, 0])
    unpriced: list[int] = field(default_factory=lambda: [0, 0])
    samples: list[Sample] = field(default_factory=list)
    _kept: Counter[tuple[Change, str]] = field(default_factory=Counter)

    def add(self, judged: Judged, base: Ruling, candidate: Ruling) -> None:
        """Take one flow in."""
        self.flows += 1
        self.sorts[judged.sort] += 1
        for side, ruling in enumerate((base, candidate)):
            self.refused[side] += ruling.action.name == "DENY"
            self.masked[side].update(dict(ruling.masked))
            self.spent[side] += ruling.cost or 0
            self.unpriced[side] += ruling.cost is None
        change = change_of(base, candidate)
        self.changes[change] += 1
        if change is Change.SAME:
            return
        rules = [*_rules(change, base, candidate)]
        for name in rules:
            self._count("rule", name, change)
        stage = (base if change is Change.NEWLY_ALLOWED else candidate).stage or base.stage
        self._count("stage", "masking" if change is Change.MASKS_CHANGED else stage, change)
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
        case _:
            yield candidate.reason or base.reason


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
    return found


@dataclass(frozen=True, slots=True)
class Threshold:
    """How much of a change is too much: a count, or a share of all flows."""

    change: Change
    most: float
    is_share: bool

    @classmethod
    def parse(cls, text: str) -> "Threshold":
        """Read newly_refused=0 or newly_refused=0.5%. Raises OperatorError."""
        name, _, amount = text.replace("-", "_").partition("=")
        try:
            share = amount.endswith("%")
            most = float(amount.removesuffix("%")) / (100 if share else 1)
            if not 0 <= most < float("inf"):
                raise ValueError
            return cls(Change(name.strip()), most, share)
        except ValueError:
            names = ", ".join(change for change in Change if change is not Change.SAME)
            raise OperatorError(
                "--fail-on", "it is not CHANGE=AMOUNT", f"Write newly_refused=0 or 0.5%; changes are {names}"
            ) from None

    def is_passed(self, found: Difference) -> bool:
        """Say whether there is more of the change than is wanted."""
        count = found.changes[self.change]
        return count > self.most * found.flows if self.is_share else count > self.most

    def __str__(self) -> str:
        amount = f"{self.most * 100:g} %" if self.is_share else f"{self.most:g}"
        return f"{self.change} above {amount}"


def as_object(found: Difference, about: Mapping[str, object]) -> dict[str, object]:
    """Return all of it as JSON values, the same for the same flows and policies. about: put at the top."""
    return {
        **about,
        "flows": found.flows,
        "sorts": {sort: found.sorts[sort] for sort in Sort},
        "changes": {change: found.changes[change] for change in Change},
        "base": _side(found, 0),
        "candidate": _side(found, 1),
        "by": {
            dimension: {
                value: {change: counts[change] for change in Change if counts[change]}
                for value, counts in sorted(values.items())
            }
            for dimension, values in found.by.items()
        },
        "samples": [
            {
                "id": sample.judged.id,
                "began": sample.judged.began,
                "change": sample.change,
                "host": sample.judged.host,
                "endpoint": sample.judged.endpoint,
                "model": sample.judged.model,
                "principal": sample.judged.principal,
                "tenant": sample.judged.tenant,
                "base": _ruling(sample.base),
                "candidate": _ruling(sample.candidate),
            }
            for sample in found.samples
        ],
    }


def _side(found: Difference, side: int) -> dict[str, object]:
    return {
        "refused": found.refused[side],
        "masked": dict(sorted(found.masked[side].items())),
        "cost_micro_usd": found.spent[side],
        "unpriced": found.unpriced[side],
    }


def _ruling(ruling: Ruling) -> dict[str, object]:
    return {
        "action": ruling.action.name.lower(),
        "would_be": ruling.would_be.name.lower(),
        "stage": ruling.stage,
        "reason": ruling.reason,
        "masked": dict(ruling.masked),
        "cost_micro_usd": ruling.cost,
    }

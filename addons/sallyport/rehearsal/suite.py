"""Running files of tests against their policies, and saying which rules nothing has tested."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sallyport.decision import Mode
from sallyport.policy.load import load_policy
from sallyport.policy.problems import PolicyError, Problem, Wrong
from sallyport.policy.sections import Policy
from sallyport.policy.source import At, Source, dotted
from sallyport.rehearsal.asking import Answered, Rehearsal
from sallyport.rehearsal.cases import Case, CaseFile, policy_of, read_cases
from sallyport.rehearsal.judging import Difference, differences
from sallyport.rehearsal.places import Places
from sallyport.rehearsal.standing import holding


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case. decided: what each stage said. duration_s: without loading."""

    name: str
    where: str
    differences: tuple[Difference, ...]
    decided: tuple[str, ...]
    duration_s: float


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule or limit of a policy. id: as a refusal names it, `access.no-tools`."""

    id: str
    where: str


@dataclass(slots=True)
class UnderTest:
    """A policy and what its cases made speak."""

    path: Path
    policy: Policy
    places: Places
    spoke: set[str] = field(default_factory=set)
    whole: bool = True

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every access rule and limit, the tenants' among them."""
        policies = (self.policy, *self.policy.of_tenants.values())
        sections = [p.access for p in policies] + [p.tenant_access for p in policies if p.tenant_access]
        names = [("access", rule.id) for section in sections if section for rule in section.rules]
        names += [("limits", rule.id) for rule in self.policy.limits.rules]
        found = []
        for section, name in dict.fromkeys(names):
            place = self.places.rule(section, name)
            found.append(Rule(f"{section}.{name}", place.where if place else str(self.path)))
        return tuple(found)

    @property
    def silent(self) -> tuple[Rule, ...]:
        """The rules that no case made speak."""
        return tuple(rule for rule in self.rules if rule.id not in self.spoke)


@dataclass(frozen=True, slots=True)
class Run:
    """A file of tests that was run."""

    path: Path
    policy: Path
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.outcomes if o.differences)


@dataclass(slots=True)
class Suite:
    """Runs files of tests; a policy is read once. only: runs the cases that have this in their name."""

    rehearsal: Rehearsal
    only: str = ""
    tested: dict[Path, UnderTest] = field(default_factory=dict)

    async def run(self, path: Path) -> Run:
        """Run one file. Raises PolicyError where it, or its policy, cannot be used."""
        file, source = read_cases(path)
        about = policy_of(path, file)
        tested = self._tested(about)
        outcomes, problems = [], []
        for index, case in enumerate(file.cases):
            if self.only.casefold() not in case.name.casefold():
                tested.whole = False
                continue
            try:
                outcomes.append(await self._outcome(tested, file, case, source.where(("cases", index))))
            except Wrong as wrong:
                problems.append(_problem(wrong, source, index))
        if problems:
            raise PolicyError(problems)
        return Run(path, about, tuple(outcomes))

    def _tested(self, path: Path) -> UnderTest:
        found = self.tested.get(path.resolve())
        if found is None:
            policy = load_policy(path)
            found = self.tested[path.resolve()] = UnderTest(path, policy, Places.read(path, policy))
        return found

    async def _outcome(self, tested: UnderTest, file: CaseFile, case: Case, where: str) -> Outcome:
        started = time.perf_counter()
        answered = await self.rehearsal.ask(tested.policy, case.given.over(file.defaults))
        tested.spoke |= {f"access.{name}" for name in await holding(answered)}
        tested.spoke |= set(_limits(answered))
        missed = differences(case.expect, answered)
        took = time.perf_counter() - started
        return Outcome(case.name, where, missed, decided(answered), took)


def decided(answered: Answered) -> tuple[str, ...]:
    """Return what each stage said, in a few words."""
    return tuple(
        f"{d.reason} {d.action.name.lower()}{_STATED.get(d.mode, '')}" for d in answered.verdict.decisions
    )


_STATED = {Mode.OBSERVE: " (observed)", Mode.SHADOW: " (shadow)", Mode.CANARY: " (canary)"}


def _limits(answered: Answered) -> Iterable[str]:
    """Yield the limits that refused a call, would have, or warned of it: to be counted is no test."""
    for decision in answered.asked("limits"):
        if decision.reason == "limits.soft":
            for warning in decision.message.split("; "):
                yield f"limits.{warning.partition(':')[0]}"
        else:
            yield decision.reason


def _problem(wrong: Wrong, source: Source, index: int) -> Problem:
    """Return where a fact stands that cannot be: in the case, or else in the defaults."""
    at: At = ("cases", index, "given", *wrong.at)
    if wrong.at and at[:4] not in source.places:
        at = ("defaults", *wrong.at)
        if at[:2] not in source.places:
            at = ("cases", index)
    todo = wrong.todo if wrong.todo.endswith((".", "?")) else f"{wrong.todo}."
    return Problem(source.where(at), dotted(at), wrong.what, todo)

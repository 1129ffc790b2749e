"""The presets and the worked examples say what their tests say, and every rule of theirs is tested."""

import asyncio
from pathlib import Path

import pytest

from sallyport.cli.rehearsing import make_rehearsal
from sallyport.data import policies_dir
from sallyport.policy.access import Access
from sallyport.policy.load import load_policy
from sallyport.policy.sections import Policy
from sallyport.policy.states import StageSection
from sallyport.rehearsal.asking import Rehearsal
from sallyport.rehearsal.cases import CaseFile, policy_of, read_cases
from sallyport.rehearsal.judging import differences
from sallyport.rehearsal.places import Places
from sallyport.rehearsal.suite import Run, Suite, UnderTest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
FILES = [
    *(policies_dir() / f"{name}.test.yaml" for name in ("observe", "balanced", "strict")),
    *(EXAMPLES / name / "policy.test.yaml" for name in ("hospital", "bank", "software-company")),
]


@pytest.fixture(scope="module")
def rehearsal() -> Rehearsal:
    return make_rehearsal()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_case_passes_and_every_rule_speaks(path: Path, rehearsal: Rehearsal) -> None:
    suite = Suite(rehearsal)
    run: Run = asyncio.run(suite.run(path))
    assert [(o.name, o.differences, o.decided) for o in run.failed] == []
    assert len(run.outcomes) >= 20
    (tested,) = suite.tested.values()
    assert tested.whole
    assert [rule.id for rule in tested.silent] == []


def _without(policy: Policy, section: str, id: str) -> Policy:
    """Return a policy less one rule, its own or a tenant's."""

    def less(access: Access) -> Access:
        return access.model_copy(update={"rules": tuple(r for r in access.rules if r.id != id)})

    def changed(each: Policy) -> Policy:
        sections: dict[str, StageSection] = {"access": less(each.access)} if section == "access" else {}
        if section == "limits":
            rules = tuple(r for r in each.limits.rules if r.id != id)
            sections = {"limits": each.limits.model_copy(update={"rules": rules})}
        own = None if each.tenant_access is None else less(each.tenant_access)
        return each.laid_over(sections, own)

    return changed(policy).with_tenants({name: changed(own) for name, own in policy.of_tenants.items()})


async def _notices(rehearsal: Rehearsal, path: Path, file: CaseFile, policy: Policy, id: str) -> bool:
    """Say whether a case fails under a policy; those that name the rule are asked first."""
    for case in sorted(file.cases, key=lambda c: id not in (c.expect.reason or "")):
        facts = case.given.over(file.defaults)
        known = {rule.id for rule in policy.limits.rules}
        facts = facts.model_copy(update={"used": {k: v for k, v in facts.used.items() if k in known}})
        if differences(case.expect, await rehearsal.ask(policy, facts)):
            return True
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_without_any_one_rule_some_case_fails(path: Path, rehearsal: Rehearsal) -> None:
    file, _ = read_cases(path)
    policy = load_policy(policy_of(path, file))
    tested = UnderTest(path, policy, Places.read(policy_of(path, file), policy))
    unnoticed = []
    for rule in tested.rules:
        section, _, id = rule.id.partition(".")
        less = _without(policy, section, id)
        if not asyncio.run(_notices(rehearsal, path, file, less, id)):
            unnoticed.append(rule.id)
    assert unnoticed == [], "these rules could be taken out and all cases would still pass"

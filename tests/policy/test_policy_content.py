"""What is kept follows the first rule that fits, and a tenant can only have less of it kept."""

from pathlib import Path

import pytest

from sallyport.decision import Action
from sallyport.policy.content import ContentClass, ContentRule, ContentSection, Keep, KeepDays
from sallyport.policy.load import load_policy
from sallyport.policy.problems import PolicyError
from sallyport.policy.sections import Policy

COMPANY = """
version: 1
tenants: {files: {acme: acme.yaml}, may_loosen: [masking]}
content:
  keep: masked
  share: 0.5
  keep_days: {refused: 60, masked: 20, ordinary: 5}
  rules: [{id: injections, reasons: ['injection.*'], keep: original}]
  reveal: {second_person: true, approvers: [ann, bob], within_s: 600}
"""


def read(folder: Path, tenant: str) -> Policy:
    (folder / "policy.yaml").write_text(COMPANY)
    (folder / "acme.yaml").write_text(f"version: 1\ncontent: {tenant}\n")
    return load_policy(folder / "policy.yaml")


def test_nothing_is_kept_by_default() -> None:
    section = ContentSection()
    assert not section.keeps_any
    assert section.kept_of("t", "p", Action.DENY, ("secrets.found",), ("secrets.x",)) is Keep.NONE
    assert section.reveal.second_person


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({}, True),
        ({"actions": ("deny",)}, True),
        ({"actions": ("allow", "modify")}, False),
        ({"reasons": ("secrets.*",)}, True),
        ({"reasons": ("injection.*",)}, False),
        ({"found": ("pii.contact.*",)}, True),
        ({"found": ("pii.card",)}, False),
        ({"tenants": ("ACME",)}, True),
        ({"tenants": ("acm",)}, False),
        ({"principals": ("a*",), "tenants": ("acme",), "actions": ("deny",)}, True),
        ({"principals": ("a*",), "tenants": ("other",), "actions": ("deny",)}, False),
    ],
    ids=str,
)
def test_a_rule_fits_where_all_that_it_asks_is_true(rule: dict[str, tuple[str, ...]], fits: bool) -> None:
    made = ContentRule(id="r", keep=Keep.ORIGINAL, **rule)  # type: ignore[arg-type]
    section = ContentSection(keep=Keep.MASKED, rules=(made,))
    kept = section.kept_of("acme", "ann", Action.DENY, ("secrets.found",), ("pii.contact.email",))
    assert kept is (Keep.ORIGINAL if fits else Keep.MASKED)


def test_the_first_rule_that_fits_decides_and_at_most_bounds_all() -> None:
    rules = (
        ContentRule(id="a", keep=Keep.NONE, tenants=("acme",)),
        ContentRule(id="b", keep=Keep.ORIGINAL),
    )
    section = ContentSection(keep=Keep.MASKED, rules=rules)
    assert section.kept_of("acme", "p", Action.ALLOW, (), ()) is Keep.NONE
    assert section.kept_of("other", "p", Action.ALLOW, (), ()) is Keep.ORIGINAL
    bounded = section.model_copy(update={"at_most": Keep.MASKED})
    assert bounded.kept_of("other", "p", Action.ALLOW, (), ()) is Keep.MASKED
    assert not section.model_copy(update={"at_most": Keep.NONE}).keeps_any
    assert not section.model_copy(update={"share": 0.0}).keeps_any
    assert ContentSection(rules=rules).keeps_any


@pytest.mark.parametrize("kind", ContentClass)
def test_every_class_has_its_days(kind: ContentClass) -> None:
    days = KeepDays(refused=3, masked=2, ordinary=1)
    assert days.of(kind) == getattr(days, kind.value)


def test_a_tenant_has_less_kept_and_the_rest_is_the_companys(tmp_path: Path) -> None:
    written = (
        "{at_most: none, keep_days: {ordinary: 1}, share: 0.1, required: true, reveal: {approvers: [bob]}}"
    )
    policy = read(tmp_path, written)
    ours, theirs = policy.content, policy.for_tenant("acme").content
    assert (ours.at_most, theirs.at_most) == (Keep.ORIGINAL, Keep.NONE)
    assert (theirs.keep_days.refused, theirs.keep_days.ordinary, ours.keep_days.ordinary) == (60, 1, 5)
    assert (theirs.reveal.approvers, theirs.reveal.within_s) == (("bob",), 600)
    assert theirs.rules == ours.rules
    assert not theirs.keeps_any
    assert policy.revision != read(tmp_path, "{at_most: masked}").revision


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("{keep: original}", "content.keep"),
        ("{share: 0.6}", "content.share"),
        ("{keep_days: {masked: 21}}", "content.keep_days.masked"),
        ("{reveal: {second_person: false}}", "content.reveal.second_person"),
        ("{reveal: {within_s: 601}}", "content.reveal.within_s"),
        ("{reveal: {approvers: []}}", "content.reveal.approvers"),
        ("{reveal: {approvers: [eve]}}", "content.reveal.approvers"),
        ("{rules: []}", "content.rules"),
    ],
)
def test_a_tenant_cannot_have_more_kept_or_shown(written: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=rf"acme\.yaml:2:\d+: {key}: a tenant can only have less"):
        read(tmp_path, written)


def test_a_rule_has_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        "version: 1\ncontent: {rules: [{id: a, keep: none}, {id: a, keep: masked}]}\n"
    )
    with pytest.raises(PolicyError, match="given twice"):
        load_policy(tmp_path / "p.yaml")

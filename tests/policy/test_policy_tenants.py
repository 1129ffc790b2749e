"""Tenants' own files: only stricter, with file and line where they are not, and part of the revision."""

import os
from pathlib import Path

import pytest

from sallyport.decision import Blocked, Mode
from sallyport.policy.load import load_policy
from sallyport.policy.problems import PolicyError
from sallyport.policy.sections import MaskOperator, Policy, mode_of

COMPANY = """
version: 1
tenants: {files: {acme: acme.yaml}, may_loosen: [%s]}
access: {operations: [chat, embedding]}
limits: {rules: [{id: calls, limit: 100, per: day}]}
secrets: {action: mask, min_severity: medium}
masking: {unlisted: placeholder, min_score: 0.5, entities: {URL: allow, IBAN_CODE: redact}}
injection:
  {threshold: 1.0, surfaces: [user, tool_result], blocked: refuse, blocked_by_rule: {injection.a.*: reject}}
"""


def read(folder: Path, tenant: str, *, loosen: str = "", mode: Mode | None = None) -> Policy:
    (folder / "policy.yaml").write_text(COMPANY % loosen)
    (folder / "acme.yaml").write_text("version: 1\n" + tenant)
    return load_policy(folder / "policy.yaml", mode=mode)


def test_what_a_tenant_writes_stricter_is_in_force_for_it_alone(tmp_path: Path) -> None:
    policy = read(
        tmp_path,
        "secrets: {action: deny, min_severity: low}\n"
        "masking: {unlisted: hash, min_score: 0.3, entities: {URL: placeholder}}\n"
        "injection: {threshold: 0.5, surfaces: [user, tool_result, document]}\n"
        "access: {operations: [chat], rules: [{id: no-streams, effect: forbid, when: request.stream, message: No.}]}\n"
        "limits: {rules: [{id: few, limit: 5, per: day}]}\n",
    )
    acme = policy.for_tenant("acme")
    assert (acme.secrets.action, policy.secrets.action) == ("deny", "mask")
    assert acme.masking.operator("URL") is MaskOperator.PLACEHOLDER
    assert acme.masking.operator("IBAN_CODE") is MaskOperator.REDACT, "what it does not name is the company's"
    assert acme.masking.operator("PERSON") is MaskOperator.HASH
    assert policy.masking.operator("URL") is MaskOperator.ALLOW
    assert acme.injection.threshold == 0.5
    assert acme.access == policy.access, "the company's access is asked first, as it is"
    assert acme.tenant_access is not None
    assert [rule.id for rule in acme.tenant_access.rules] == ["acme.no-streams"]
    assert policy.tenant_access is None
    assert [(rule.id, rule.tenants) for rule in policy.limits.rules] == [
        ("calls", None),
        ("acme.few", ("acme",)),
    ]
    assert policy.for_tenant("other") is policy


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("secrets: {min_severity: high}", "secrets.min_severity"),
        ("masking: {unlisted: allow}", "masking.unlisted"),
        ("masking: {entities: {IBAN_CODE: placeholder}}", "masking.entities"),
        ("masking: {entities: {PERSON: allow}}", "masking.entities"),
        ("masking: {min_score: 0.9}", "masking.min_score"),
        ("masking: {mode: observe}", "masking.mode"),
        ("masking: {exclusions: [{rule: 'pii.*', why: we like it}]}", "masking.exclusions"),
        ("injection: {threshold: 5.0}", "injection.threshold"),
        ("injection: {surfaces: [user]}", "injection.surfaces"),
        ("injection: {paranoia: 1}", "injection.paranoia"),
        ("injection: {blocked: excise}", "injection.blocked"),
        ("injection: {blocked_by_rule: {injection.a.*: excise}}", "injection.blocked_by_rule"),
        ("injection: {blocked_by_rule: {injection.b.*: reject}}", "injection.blocked_by_rule"),
    ],
)
def test_what_is_milder_is_an_error_with_its_line(tmp_path: Path, written: str, key: str) -> None:
    with pytest.raises(PolicyError) as raised:
        read(tmp_path, written)
    (problem,) = raised.value.problems
    assert problem.key == key
    assert problem.where.startswith("acme.yaml:2:")


def test_what_is_stopped_may_be_told_more_strictly(tmp_path: Path) -> None:
    rules = "{injection.a.*: reject, injection.b.*: refuse}"
    policy = read(tmp_path, f"injection: {{blocked: reject, blocked_by_rule: {rules}}}")
    acme = policy.for_tenant("acme").injection
    assert [acme.how(rule) for rule in ("injection.a.x", "injection.b.x", "injection.c.x")] == [
        Blocked.REJECT,
        Blocked.REFUSE,
        Blocked.REJECT,
    ]


def test_secrets_masked_by_the_company_may_not_be_masked_less(tmp_path: Path) -> None:
    policy = read(tmp_path, "secrets: {action: mask}")
    assert policy.for_tenant("acme").secrets.action == "mask"


def test_a_section_that_may_be_loosened_is_the_tenants_to_set(tmp_path: Path) -> None:
    policy = read(
        tmp_path,
        "masking: {unlisted: allow, mode: observe}\naccess: {operations: [chat, moderation]}\n",
        loosen="masking, access",
    )
    acme = policy.for_tenant("acme")
    assert acme.masking.unlisted is MaskOperator.ALLOW
    assert mode_of(acme, acme.masking) is Mode.OBSERVE
    assert (len(acme.access.operations), acme.tenant_access) == (2, None)


def test_a_mode_for_the_whole_run_is_the_tenants_too(tmp_path: Path) -> None:
    policy = read(tmp_path, "masking: {mode: enforce}\naccess: {mode: enforce}\n", mode=Mode.OBSERVE)
    acme = policy.for_tenant("acme")
    assert mode_of(acme, acme.masking) is Mode.OBSERVE
    assert acme.tenant_access is not None
    assert mode_of(acme, acme.tenant_access) is Mode.OBSERVE
    assert policy.only_observes


def test_the_revision_knows_what_tenants_wrote(tmp_path: Path) -> None:
    first = read(tmp_path, "masking: {min_score: 0.4}").revision
    assert read(tmp_path, "masking: {min_score: 0.3}").revision != first
    assert read(tmp_path, "masking: {min_score: 0.4}").revision == first
    assert read(tmp_path, "masking: {min_score: 0.4}\naccess: {operations: [chat]}").revision != first


def test_sections_of_the_company_are_unknown_keys_in_a_tenants_file(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="not known"):
        read(tmp_path, "audit: {required: false}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(COMPANY % "")
    with pytest.raises(PolicyError, match=r"acme\.yaml"):
        load_policy(tmp_path / "policy.yaml")


# -- a tenant that wants more than the company allows -------------------------------------------------------


def laid(folder: Path, company: str, **tenants: str) -> Policy:
    """Lay files over a company's policy. tenants: by name, `_` for a dot."""
    files = ", ".join(f"{name.replace('_', '.')}: {name}.yaml" for name in tenants)
    (folder / "policy.yaml").write_text(f"version: 1\ntenants: {{files: {{{files}}}}}\n{company}")
    for name, text in tenants.items():
        (folder / f"{name}.yaml").write_text(f"version: 1\n{text}\n")
    return load_policy(folder / "policy.yaml")


def test_two_tenants_cannot_share_a_counter(tmp_path: Path) -> None:
    """The limit `b.c` of `a` and the limit `c` of `a.b` would be one; then each could use up the other's."""
    mine = "limits: {rules: [{id: b.c, limit: 1, per: day, by: []}]}"
    with pytest.raises(PolicyError, match=r"a\.b\.c"):
        laid(tmp_path, "", a=mine, a_b="limits: {rules: [{id: c, limit: 9, per: day, by: []}]}")


def test_a_tenant_s_rule_cannot_go_by_the_name_of_a_company_s(tmp_path: Path) -> None:
    """An approval is given for a rule by its name: one for the tenant's rule would serve the company's."""
    company = "access: {rules: [{id: acme.big, effect: approve, models: ['big-*'], message: No.}]}"
    theirs = "access: {rules: [{id: big, effect: approve, models: ['big-*'], message: No.}]}"
    with pytest.raises(PolicyError, match=r"acme\.big"):
        laid(tmp_path, company, acme=theirs)


@pytest.mark.parametrize(
    "theirs",
    [
        "max_output_tokens: {min: 5000, action: cap}",
        "max_output_tokens: {max: 5000, action: cap}",
        "max_output_tokens: {set: 5000}",
        "max_output_tokens: {allow: [5000], set: 5000, action: cap}",
        "temperature: {min: 2, action: cap}",
        "temperature: {set: 2}",
    ],
)
def test_a_tenant_puts_no_value_in_that_the_company_has_not_allowed(tmp_path: Path, theirs: str) -> None:
    """What a tenant's file sets comes after the company's bounds and conditions, and is judged by neither."""
    company = "access: {parameters: {max_output_tokens: {max: 100, action: cap}}}"
    with pytest.raises(PolicyError) as raised:
        laid(tmp_path, company, acme=f"access: {{parameters: {{{theirs}}}}}")
    (problem,) = raised.value.problems
    assert problem.key == f"access.parameters.{theirs.partition(':')[0]}"
    assert problem.where.startswith("acme.yaml:2:")


@pytest.mark.parametrize(
    "theirs",
    [
        "max_output_tokens: {max: 50, action: cap}",
        "max_output_tokens: {max: 5000}",
        "max_output_tokens: {set: 80}",
        "temperature: {max: 1, action: cap}",
        "temperature: {min: 1}",
        "stream: {allow: [false]}",
    ],
)
def test_a_tenant_may_lower_and_refuse_settings(tmp_path: Path, theirs: str) -> None:
    company = "access: {parameters: {max_output_tokens: {max: 100, action: cap}}}"
    policy = laid(tmp_path, company, acme=f"access: {{parameters: {{{theirs}}}}}")
    assert policy.for_tenant("acme").tenant_access is not None


def test_names_are_looked_for_where_only_a_tenant_masks_them(tmp_path: Path) -> None:
    company = "detection: {ner: {engine: builtin}}\nmasking: {entities: {PERSON: allow, LOCATION: allow}}"
    assert not laid(tmp_path, company, acme="masking: {min_score: 0.4}").uses_names
    assert laid(tmp_path, company, acme="masking: {entities: {PERSON: deny}}").uses_names
    reads = "access: {rules: [{id: r, effect: forbid, when: 'size(findings) > 0', message: No.}]}"
    assert laid(tmp_path, company, acme=reads).uses_names


def test_a_file_that_never_ends_does_not_hold_up_a_reload(tmp_path: Path) -> None:
    laid(tmp_path, "", acme="")
    (tmp_path / "acme.yaml").unlink()
    os.mkfifo(tmp_path / "acme.yaml")
    with pytest.raises(PolicyError, match=r"acme\.yaml"):
        load_policy(tmp_path / "policy.yaml")


@pytest.mark.parametrize("spelt", ["acme", "Acme", "ACME"])
async def test_no_spelling_of_a_tenant_escapes_its_file(tmp_path: Path, spelt: str) -> None:
    """Issuers and the directory write tenants in any case; keys of `tenants.files` are in lower case."""
    text = "masking: {unlisted: deny}\nlimits: {rules: [{id: few, limit: 1, per: day, by: []}]}"
    policy = laid(tmp_path, "", acme=text)
    assert policy.for_tenant(spelt).masking.unlisted is MaskOperator.DENY
    assert policy.for_tenant("acmee").masking.unlisted is MaskOperator.PLACEHOLDER
    (few,) = policy.limits.rules
    assert few.is_for(spelt)
    assert not few.is_for("acmee")

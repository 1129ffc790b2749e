"""A tenant's file and the output section: it may tighten, and nothing else."""

from pathlib import Path

import pytest

from sallyport.policy.load import load_policy
from sallyport.policy.output import OutputAction
from sallyport.policy.problems import PolicyError

COMPANY = """\
version: 1
tenants: {files: {acme: acme.yaml}}
output:
  pii: annotate
  entities: {IBAN_CODE: truncate}
  rules: {output.commands.*: mask}
  tools: {allow: [search, read], action: truncate}
  leak: {action: mask, words: 12}
"""


def loaded(folder: Path, theirs: str, company: str = COMPANY):
    (folder / "policy.yaml").write_text(company)
    (folder / "acme.yaml").write_text(f"version: 1\noutput: {theirs}\n")
    return load_policy(folder / "policy.yaml").for_tenant("acme").output


@pytest.mark.parametrize(
    "stricter",
    [
        "{pii: mask}",
        "{entities: {IBAN_CODE: refuse}}",
        "{rules: {output.commands.*: truncate}}",
        "{rules: {output.words.*: truncate}}",
        "{tools: {allow: [search], action: refuse}}",
        "{leak: {action: truncate, words: 8}}",
        "{min_score: 0.2, min_severity: low, paranoia: 3}",
    ],
)
def test_a_tenant_may_tighten(tmp_path: Path, stricter: str) -> None:
    loaded(tmp_path, stricter)


@pytest.mark.parametrize(
    ("milder", "key"),
    [
        ("{pii: observe}", "pii"),
        ("{entities: {IBAN_CODE: mask}}", "entities"),
        ("{entities: {URL: allow, PHONE_NUMBER: observe}}", "entities"),
        ("{rules: {output.commands.*: annotate}}", "rules"),
        ("{rules: {output.exfiltration.*: observe}}", "rules"),
        ("{rules: {output.commands.curl_pipe_shell: mask}}", "rules"),
        ("{tools: {action: refuse}}", "tools"),
        ("{tools: {allow: [search, read, shell], action: truncate}}", "tools"),
        ("{leak: {action: mask, words: 40}}", "leak"),
        ("{surfaces: [assistant]}", "surfaces"),
        ("{mode: observe}", "mode"),
        ("{exclusions: [{rule: pii.*, why: we like it}]}", "exclusions"),
    ],
)
def test_a_tenant_may_not_loosen(tmp_path: Path, milder: str, key: str) -> None:
    with pytest.raises(PolicyError, match=rf"acme\.yaml:2.*output\.{key}"):
        loaded(tmp_path, milder)


def test_what_a_tenant_does_not_write_is_the_companys(tmp_path: Path) -> None:
    output = loaded(tmp_path, "{pii: mask, entities: {PHONE_NUMBER: truncate}}")
    assert output.pii is OutputAction.MASK
    assert dict(output.entities) == {
        "IBAN_CODE": OutputAction.TRUNCATE,
        "PHONE_NUMBER": OutputAction.TRUNCATE,
    }
    assert output.leak.action is OutputAction.MASK


def test_a_company_may_let_tenants_loosen(tmp_path: Path) -> None:
    company = COMPANY.replace("{files:", "{may_loosen: [output], files:")
    assert loaded(tmp_path, "{pii: observe}", company).pii is OutputAction.OBSERVE

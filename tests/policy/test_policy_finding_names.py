"""`sallyport policy check` doubts rules, entities, models, patterns and credentials that nothing knows."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sallyport.cli.policy import app
from sallyport.policy.findingnames import Known, finding_doubts
from sallyport.policy.layering import TenantFile
from sallyport.policy.load import parse_policy, validate
from sallyport.policy.references import credential_doubts
from sallyport.policy.source import parse_source

KNOWN = Known(
    frozenset({"secrets.ai.openai_api_key", "pii.contact.email", "output.link.data"}),
    frozenset({"EMAIL_ADDRESS", "CREDIT_CARD"}),
    frozenset({"gpt-5", "gpt-5-mini", "claude-sonnet-4-5"}),
)


def doubted(text: str) -> list[str]:
    text = f"version: 1\n{text}"
    source = parse_source(text.encode(), "p")
    return [f"{d.key}: {d.says}" for d in finding_doubts(parse_policy(text), lambda: KNOWN, source)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("masking: {entities: {EMAIL_ADRESS: deny}}", "masking.entities.EMAIL_ADRESS: no entity goes by this name; did you mean `EMAIL_ADDRESS`?"),
        ("output: {entities: {QQQ: mask}}", "output.entities.QQQ: no entity goes by this name; see"),
        ("output: {rules: {'output.lnk.*': mask}}", "no rule goes by this name; did you mean `output.link.data`?"),
        ("secrets: {exclusions: [{rule: secrets.ia.*, why: x}]}", "secrets.exclusions[0].rule: no rule"),
        ("content: {rules: [{id: a, found: ['pii.contct.*'], keep: masked}]}", "content.rules[0].found[0]: no rule goes by this name"),
        ("secrets: {blocked_by_rule: {secrets.ai.openai_api_kee: reject}}", "did you mean `secrets.ai.openai_api_key`?"),
        ("access: {data_classes: [{name: a, any: [{entities: [CREDIT_CAR]}]}]}", "did you mean `CREDIT_CARD`?"),
        ("access: {models: {allow: [clade-sonnet-4-5]}}", "access.models.allow[0]: no model is known by this name; did you mean `claude-sonnet-4-5`?"),
        ("access: {rules: [{id: a, effect: forbid, models: [gtp-5], message: No.}]}", "did you mean `gpt-5`?"),
        ("prices: {contract: [{model: gpt-5-mni, input_usd: 1, output_usd: 1}]}", "did you mean `gpt-5-mini`?"),
    ],
)  # fmt: skip
def test_a_name_that_nothing_finds_is_doubted(text: str, told: str) -> None:
    (said,) = doubted(text)
    assert told in said


@pytest.mark.parametrize(
    "text",
    [
        "masking: {entities: {EMAIL_ADDRESS: deny}}",
        "output: {rules: {'output.*': mask}}",
        "secrets: {exclusions: [{rule: secrets.ai.*, why: x}]}",
        "access: {data_classes: [{name: a, any: [{entities: ['CREDIT_*']}]}]}",
        "access: {models: {allow: [gpt-6, my-own-model, 'gpt-*', GPT-5]}}",
    ],
)
def test_what_is_known_and_what_may_be_new_is_no_doubt(text: str) -> None:
    assert doubted(text) == []


def test_a_tenants_file_is_looked_at_too() -> None:
    source = parse_source(b"version: 1\nmasking: {entities: {CREDIT_CRD: deny}}", "t")
    (doubt,) = finding_doubts(validate(TenantFile, source), lambda: KNOWN, source)
    assert str(doubt).startswith("t:2:22: note: masking.entities.CREDIT_CRD")


def test_nothing_is_loaded_where_nothing_is_named() -> None:
    def unasked() -> Known:
        raise AssertionError

    source = parse_source(b"version: 1", "p")
    assert not [*finding_doubts(parse_policy("version: 1"), unasked, source)]


def test_check_compares_with_what_ships(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("version: 1\nmasking: {entities: {PERSON: deny, PERSN: deny}}\n")
    done = CliRunner().invoke(app, ["check", str(tmp_path / "p.yaml")])
    assert done.exit_code == 0
    assert "did you mean `PERSON`?" in done.stdout
    assert "entities.PERSON:" not in done.stdout


def test_a_pattern_of_tool_arguments_is_compiled(tmp_path: Path) -> None:
    text = "version: 1\noutput: {tools: {arguments: [{tool: a, must_not: '(?=x)'}]}}\n"
    (tmp_path / "p.yaml").write_text(text)
    done = CliRunner().invoke(app, ["check", str(tmp_path / "p.yaml")])
    assert done.exit_code == 2
    assert "p.yaml:2:40: output.tools.arguments[0].must_not: the pattern cannot be read" in done.stderr


def test_a_credential_that_the_directory_has_not_is_doubted() -> None:
    text = "version: 1\nsigning: {rules: [{credential: bedrok, tenants: ['*']}]}"
    source = parse_source(text.encode(), "p")
    (doubt,) = credential_doubts(parse_policy(text), frozenset({"bedrock"}), source)
    assert "did you mean `bedrock`?" in str(doubt)
    assert not [*credential_doubts(parse_policy(text), frozenset({"bedrok"}), source)]


def test_a_policy_is_checked_before_the_gateway_that_a_variable_names_was_ever_started(
    tmp_path: Path,
) -> None:
    (tmp_path / "p.yaml").write_text("version: 1\n")
    none = tmp_path / "none"
    check = ["check", str(tmp_path / "p.yaml")]
    assert CliRunner().invoke(app, check, env={"SALLYPORT_CONFDIR": str(none)}).exit_code == 0
    assert CliRunner().invoke(app, [*check, "--confdir", str(none)]).exit_code == 3

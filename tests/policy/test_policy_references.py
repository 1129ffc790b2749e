"""`sallyport policy check` doubts names that nothing knows, with file and line, in the tenants' files as well."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sallyport.cli.policy import app

RUNNER = CliRunner()
HEAD = "version: 1\nidentity: {keys: [{fingerprint: key_0123456789abcdef01234567, owner: a, roles: [engineer]}]}\n"


def check(folder: Path, text: str) -> tuple[int, str]:
    (folder / "p.yaml").write_text(HEAD + text)
    result = RUNNER.invoke(app, ["check", str(folder / "p.yaml")])
    return result.exit_code, result.stdout + result.stderr


def rule(words: str) -> str:
    return f"access:\n  rules:\n    - {{id: r, effect: forbid, {words}, message: m}}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "roles: [enginer]",
            "p.yaml:5:39: note: access.rules[0].roles[0]: nothing here gives the role enginer; did you",
        ),
        ("roles: [nurse]", "the role nurse; the directory has to."),
        ("roles: [eng*]", ""),
        ("roles: [engineer]", ""),
        ("providers: [opnai]", "the provider opnai; did you mean `openai`?"),
        ("tenants: [defalt]", "did you mean `default`?"),
        (
            "when: \"'enginer' in principal.roles\"",
            "access.rules[0].when: nothing here gives the role enginer",
        ),
        ("when: \"request.provider == 'openia'\"", "did you mean `openai`?"),
        ("when: \"'office' in client.networks\"", "the network office; define it."),
        ("when: \"'engineer' in principal.roles\"", ""),
    ],
)
def test_a_name_that_nothing_knows_is_doubted(tmp_path: Path, words: str, told: str) -> None:
    code, out = check(tmp_path, rule(words))
    assert code == 0
    assert told in out
    assert ("note: access" in out) == bool(told)


@pytest.mark.parametrize("key", ["networks: [offce]", "data_classes: [phy]", "purposes: [wrok]"])
def test_what_the_section_itself_defines_is_no_doubt_but_an_error(tmp_path: Path, key: str) -> None:
    section = rule(key) + (
        "  networks: [{name: office, cidrs: [10.0.0.0/8]}]\n  data_classes: [{name: phi, any: [{kind: pii}]}]\n"
        "  purpose: {header: X-P, allow: [work]}\n"
    )
    code, out = check(tmp_path, section)
    assert code == 2
    assert "p.yaml:5:" in out
    assert "there is no such name" in out


def test_a_definition_that_no_rule_uses_is_doubted(tmp_path: Path) -> None:
    text = rule("models: [x]") + "  networks: [{name: office, cidrs: [10.0.0.0/8]}]\n"
    assert "access.networks[0]: no rule uses this network (office)" in check(tmp_path, text)[1]


def test_roles_that_a_header_brings_are_doubted_only_where_one_is_near(tmp_path: Path) -> None:
    proxy = "{name: X-User, trusted_peers: [10.0.0.1/32], roles_header: X-Roles}"
    head = HEAD.replace("{keys", f"{{header: {proxy}, keys")
    (tmp_path / "p.yaml").write_text(head + rule("roles: [nurse, enginer]"))
    out = RUNNER.invoke(app, ["check", str(tmp_path / "p.yaml")]).stdout
    assert "nurse" not in out
    assert "enginer; did you mean `engineer`?" in out


def test_tenants_files_are_read_with_their_own_lines(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("version: 1\n" + rule("roles: [enginer]"))
    code, out = check(tmp_path, "tenants: {files: {t: t.yaml}}\n")
    assert code == 0
    assert "t.yaml:4:39: note: access.rules[0].roles[0]: nothing here gives the role enginer" in out
    (tmp_path / "t.yaml").write_text("version: 1\nmasking: {unlisted: allow}\n")
    code, out = check(tmp_path, "tenants: {files: {t: t.yaml}}\n")
    assert (code, "t.yaml:2:11: masking.unlisted: this is milder" in out) == (2, True)


def test_a_recogniser_file_is_read_as_the_detector_will(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "recognizers:\n  - name: Ward\n    supported_entity: WARD\n    patterns: []\n"
    )
    code, out = check(tmp_path, "detection: {recognisers: [r.yaml]}\n")
    assert code == 2
    assert "r.yaml:" in out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("max_output_token", "no setting is known by this name; did you mean `max_output_tokens`?"),
        ("max_tokens", "this is a provider's name of `max_output_tokens`"),
        ("zigzag_quota", "it counts only where a provider has one of this name."),
        ("max_output_tokens", ""),
        ("temperature", ""),
    ],
)
def test_a_setting_that_goes_by_no_normal_name_is_doubted(tmp_path: Path, name: str, told: str) -> None:
    code, out = check(tmp_path, f"access:\n  parameters:\n    {name}: {{max: 5}}\n")
    assert code == 0
    assert told in out
    assert (f"p.yaml:5:5: note: access.parameters.{name}: " in out) == bool(told)


def test_a_setting_is_doubted_in_a_tenants_file_as_well(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("version: 1\naccess:\n  parameters: {temperatur: {max: 1}}\n")
    _, out = check(tmp_path, "tenants: {files: {t: t.yaml}}\n")
    assert "t.yaml:3:16: note: access.parameters.temperatur: " in out


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (rule("when: \"request.model == 'gpt-5'\""), "5:31: note: access.rules[0].when: "),
        (rule("when: \"'gpt-5' in request.models\""), ""),
        (rule('when: "request.models != [request.model]"'), ""),
        (
            "limits: {rules: [{id: l, limit: 1, per: day, when: request.model == 'x'}]}\n",
            "3:46: note: limits.rules[0].when: ",
        ),
        (
            "limits:\n  rules:\n    - {id: l, limit: 1, per: day, factors: [{when: request.model == 'x', times: 0.5}]}\n",
            "5:46: note: limits.rules[0].factors[0].when: ",
        ),
        (
            "secrets: {exclusions: [{rule: secrets.*, when: request.model == 'x', why: w}]}\n",
            "3:42: note: secrets.exclusions[0].when: ",
        ),
    ],
)
def test_a_condition_on_the_named_model_alone_is_doubted(tmp_path: Path, text: str, place: str) -> None:
    code, out = check(tmp_path, text)
    assert code == 0
    assert ("`request.model` is the named model alone" in out) == bool(place)
    assert f"p.yaml:{place}" in out


def test_a_condition_of_a_tenant_on_the_named_model_alone_is_doubted(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("version: 1\n" + rule("when: \"request.model == 'x'\""))
    _, out = check(tmp_path, "tenants: {files: {t: t.yaml}}\n")
    assert "t.yaml:4:31: note: access.rules[0].when: `request.model` is the named model alone" in out


@pytest.mark.parametrize("clock", ["25:00", "8:00", "noon"])
def test_a_time_of_day_that_is_none_is_told_in_words(tmp_path: Path, clock: str) -> None:
    code, out = check(tmp_path, rule(f"hours: {{since: '{clock}'}}"))
    assert code == 2
    assert (
        ".hours.since: this is no time of day. Write hour and minute as `08:00`, from 00:00 to 23:59." in out
    )

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

"""`sallyport policy`: what people and CI see."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sallyport.cli.policy import app
from sallyport.data import policies_dir

RUNNER = CliRunner()


def test_check_accepts_the_presets_and_gives_their_revision() -> None:
    files = [str(policies_dir() / f"{n}.yaml") for n in ("observe", "balanced")]
    result = RUNNER.invoke(app, ["check", *files])
    assert result.exit_code == 0
    assert result.stdout.count(": ok, ") == 2
    assert "observe, revision " in result.stdout


def test_check_prints_every_problem_of_every_file_and_exits_2(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nsecrets: {action: maks}\nmasking: {min_score: 2}\n")
    good = tmp_path / "good.yaml"
    good.write_text("version: 1\n")
    result = RUNNER.invoke(app, ["check", str(bad), str(tmp_path / "gone.yaml"), str(good)])
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{bad}:2:11: secrets.action: ")
    assert lines[1].startswith(f"{bad}:3:11: masking.min_score: ")
    assert "gone.yaml: cannot be read" in lines[2]
    assert f"{good}: ok" in result.stdout


def test_a_mistyped_preset_is_told_the_presets() -> None:
    result = RUNNER.invoke(app, ["check", "balancd"])
    assert result.exit_code == 2
    assert "balancd: there is no file and no preset" in result.stderr
    assert "`balanced`" in result.stderr


def test_check_notes_what_was_probably_not_meant(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\n"
        "hosts: {tunnel: ['*.openai.com', api.anthropic.com, pypi.org]}\n"
        "access: {unknown_endpoint: opaque}\n"
        "secrets: {mode: observe, exclusions: [{rule: a.b, why: c, until: 2020-01-01}]}\n"
        "output: {exclusions: [{rule: output.a.b, why: c, until: 2020-01-02}]}\n"
    )
    result = RUNNER.invoke(app, ["check", str(file)])
    assert result.exit_code == 0
    for note in (
        "hosts.tunnel: *.openai.com covers the AI host",
        "hosts.tunnel: api.anthropic.com covers",
        "secrets.mode: `observe`",
        "secrets.exclusions[0]: ended on 2020-01-01",
        "output.exclusions[0]: ended on 2020-01-02",
        "access.unknown_endpoint: `opaque`",
        "everybody is",
    ):
        assert note in result.stdout
    assert "pypi.org" not in result.stdout


def test_schema_prints_json_that_names_the_sections() -> None:
    result = RUNNER.invoke(app, ["schema"])
    assert result.exit_code == 0
    assert "masking" in json.loads(result.stdout)["properties"]


def test_check_takes_the_names_of_presets() -> None:
    result = RUNNER.invoke(app, ["check", "observe", "balanced", "strict"])
    assert result.exit_code == 0
    assert "strict: ok, enforce, revision " in result.stdout


def test_a_file_that_has_the_name_of_a_preset_is_the_one_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("strict").write_text("version: 2\n")
    assert RUNNER.invoke(app, ["check", "strict"]).exit_code == 2


def test_a_file_that_may_not_be_read_gets_the_message_of_the_house(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("version: 1\n")
    # Root may read everything, so the system's refusal is played: the option's own check and the reading.
    monkeypatch.setattr("os.access", lambda *_, **__: False)

    opened = os.open

    def refuse(path: Path, *flags: int, **more: int) -> int:
        if path == file:
            raise PermissionError(13, "Permission denied")
        return opened(path, *flags, **more)

    monkeypatch.setattr("os.open", refuse)
    monkeypatch.setattr("sallyport.cli.policy.shipped_catalogue", lambda: None)
    result = RUNNER.invoke(app, ["check", str(file)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{file}: cannot be read (Permission denied). ")


def test_a_file_of_cases_that_cannot_be_used_is_told_before_the_summary(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\nidentity: {unknown: anonymous}\n")
    (tmp_path / "a.test.yaml").write_text(
        "policy: a.yaml\ncases: [{name: n, given: {provider: openai, model: gpt-5}, expect: {action: allow}}]\n"
    )
    (tmp_path / "b.test.yaml").write_text("policy: a.yaml\ncases: 3\n")
    result = RUNNER.invoke(app, ["test", str(tmp_path)])
    assert result.exit_code == 2
    assert result.output.startswith(f"{tmp_path / 'b.test.yaml'}:2:1: cases: ")
    assert "1 cases, 0 failed" in result.output.splitlines()[-1]

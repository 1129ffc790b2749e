"""`sallyport doctor` as an operator meets it."""

import json
import os

import pytest
import typer
from typer.testing import CliRunner, Result

from sallyport.cli.doctor import doctor
from sallyport.doctor.findings import Check, Level
from sallyport.doctor.tls import Reach, Reached, connect
from sallyport.errors import OperatorError


def invoke(environ: dict[str, str], *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(doctor)
    return CliRunner().invoke(app, arguments, env={**dict.fromkeys(os.environ), **environ})


@pytest.mark.parametrize(
    "arguments",
    [
        ("--connect-to", "api.openai.com:443"),
        ("--connect-to", "api.openai.com:443:10.0.0.1:0"),
        ("--connect-to", "a:b:c:d"),
        ("--proxy", "gopher://x"),
        ("--timeout", "0"),
        ("--host", ".."),
        ("--host", "a b"),
        ("--host", "*"),
        ("--host", ""),
        ("--host", "a..b"),
    ],
    ids=" ".join,
)
def test_bad_options_are_refused_before_anything_is_tried(
    environ: dict[str, str], arguments: tuple[str, ...]
) -> None:
    result = invoke(environ, *arguments)
    assert isinstance(result.exception, OperatorError)
    assert result.exception.exit_code == 2


@pytest.mark.parametrize("host", ["..", "a..b", "a" * 64 + ".example"])
def test_a_name_that_no_resolver_is_asked_for_does_not_resolve(host: str) -> None:
    assert connect((host, 443), 1.0) == Reach(Reached.UNRESOLVED)


@pytest.mark.parametrize(
    ("level", "status"),
    [(Level.OK, 0), (Level.SKIPPED, 0), (Level.WARN, 0), (Level.FAIL, 1)],
)
def test_only_a_failure_makes_the_exit_status_1(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, level: Level, status: int
) -> None:
    checks = [Check("first", Level.OK, "fine"), Check("second", level, "seen", "mend it")]
    monkeypatch.setattr("sallyport.cli.doctor.examine", lambda *_: iter(checks))
    as_text = invoke(environ)
    assert as_text.exit_code == status
    assert "second: seen" in as_text.output
    assert "mend it" in as_text.output
    as_json = invoke(environ, "--json")
    assert as_json.exit_code == status
    found = json.loads(as_json.output)
    assert found["ok"] is (status == 0)
    assert found["checks"][1] == {"name": "second", "level": level, "what": "seen", "todo": "mend it"}


def test_a_check_that_cannot_be_made_never_ends_the_examination(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("sallyport.doctor.network.check_upstream", lambda _: iter(()))
    result = invoke(environ, "--transparent", "--json", "--confdir", "/nonexistent", "--store", "/dev/full")
    found = {check["name"]: check["level"] for check in json.loads(result.output)["checks"]}
    assert found["ca"] == found["redirect"] == found["audit store"] == "fail"
    assert found["trust"] == "skipped"

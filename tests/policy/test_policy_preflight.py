"""`policy explain` and `policy test` say of a preflight what the gateway does with one (tests/e2e/test_preflight.py)."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sallyport.cli.policy import app

RUNNER = CliRunner()
POLICY = """version: 1
identity:
  require: [certificate, token]
  networks: [{cidr: 10.9.0.0/16, principal: office, tenant: acme}]
access:
  default: deny
  operations: [chat, preflight]
  endpoints: {forbid: ["openai POST /v1/embeddings"]}
  rules: [{id: dev, effect: permit, roles: [dev], message: Devs may.}]
limits: {rules: [{id: calls, limit: 1, per: day}]}
tenants: {files: {acme: acme.yaml}}
"""


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SALLYPORT_CONFDIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "acme.yaml").write_text("version: 1\naccess: {operations: [chat]}\n")
    return tmp_path / "p.yaml"


def ask(policy: Path, *options: str) -> tuple[int, dict]:
    asked = ["explain", str(policy), "--operation", "preflight", *options, "--json"]
    result = RUNNER.invoke(app, asked, catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def test_a_preflight_is_judged_by_where_the_call_would_go_and_by_nothing_of_the_call(policy: Path) -> None:
    code, said = ask(policy, "--endpoint", "POST /v1/responses")
    assert (code, said["action"], said["principal"]) == (0, "allow", None)
    assert (said["request"]["operation"], said["request"]["endpoint"]) == ("preflight", "POST /v1/responses")
    assert [(s["stage"], s["reason"]) for s in said["stages"]][:2] == [
        ("identity", "identity.preflight"),
        ("access", "access.preflight"),
    ]
    assert [s["stage"] for s in said["stages"]][2:] == ["limits", "secrets", "masking", "injection"]
    assert said["rules"] == [], "rules are asked of the call itself"
    assert said["limits"] == [
        {"id": "calls", "counted": False, "why_not": "preflight", "where": f"{policy}:10:18"}
    ]


def test_without_an_endpoint_it_is_about_a_chat_and_a_forbidden_endpoint_is_refused(policy: Path) -> None:
    assert ask(policy)[1]["request"]["endpoint"] == "POST /v1/chat/completions"
    code, said = ask(policy, "--endpoint", "POST /v1/embeddings")
    assert (code, said["cause"]) == (1, "access.endpoint")


def test_whom_the_network_names_is_judged_by_the_policy_of_the_tenant(policy: Path) -> None:
    code, said = ask(policy, "--network", "10.9.1.1")
    assert (code, said["cause"]) == (1, "access.operation")
    code, said = ask(policy, "--principal", "ann", "--tenant", "acme", "--source", "certificate")
    assert (code, said["cause"], said["principal"]["id"]) == (1, "access.operation", "ann")
    assert said["stages"][-1]["where"] == f"{policy.with_name('acme.yaml')}:2:10"


IMPOSSIBLE: dict[str, tuple[list[str], str]] = {
    "a body": (["--text", "hello"], "--text: a preflight has no body"),
    "a tool": (["--tool", "look"], "--tool: a preflight has no body"),
    "a key": (["--key", "key_0123456789abcdef01234567"], "--key: a preflight carries no credential"),
    "somebody": (["--principal", "ann"], "--principal: a preflight carries no credential"),
    "a token": (
        ["--principal", "ann", "--source", "certificate+token"],
        "--source: a preflight carries no credential",
    ),
    "a socket": (["--endpoint", "WS /v1/realtime"], "--endpoint: no preflight is about this endpoint"),
    "nowhere": (["--endpoint", "POST /v1/nowhere"], "--endpoint: the catalogue has no such endpoint"),
    "the question": (
        ["--endpoint", "OPTIONS /v1/chat/completions"],
        "--endpoint: the catalogue has no such endpoint",
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_no_browser_says_ahead_of_a_call_is_an_error(policy: Path, name: str) -> None:
    options, said = IMPOSSIBLE[name]
    result = RUNNER.invoke(app, ["explain", str(policy), "--operation", "preflight", *options])
    assert said in str(result.exception)


def test_only_headers_that_leave_are_searched(policy: Path) -> None:
    cases = """
defaults: {operation: preflight}
cases:
  - name: what stays here is not searched
    given: {headers: {X-Note: x-AKIAQ4XMPL7WZ2RT5YUJ}}
    expect: {action: allow, reason: access.preflight}
  - name: what leaves is
    given: {headers: {Access-Control-Request-Headers: x-AKIAQ4XMPL7WZ2RT5YUJ}}
    expect: {action: deny, reason: secrets.found}
  - name: a kill switch stops it
    given: {stops: [{kind: provider, value: openai}]}
    expect: {action: deny, reason: access.stopped}
"""
    policy.with_name("p.test.yaml").write_text(cases)
    result = RUNNER.invoke(app, ["test", str(policy)])
    assert result.exit_code == 0, result.output

"""`sallyport policy explain`: may somebody do something, and why; and nothing of a prompt in the answer."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sallyport.cli.policy import app
from sallyport.cli.rehearsing import make_rehearsal
from sallyport.decision import Action
from sallyport.errors import OperatorError
from sallyport.policy.load import load_policy
from sallyport.rehearsal.given import Given
from sallyport.stages.approvals import request_id
from sallyport.stages.directory import Approval, Person, Tenant
from sallyport.stages.stage import Ports
from sallyport.state.directory.people import put_person, put_tenant
from sallyport.state.directory.snapshot import People, Snapshot
from sallyport.state.directory.store import DirectoryStore
from sallyport.state.keyed import digest

RUNNER = CliRunner()
POLICY = """version: 1
identity: {unknown: deny}
access:
  default: deny
  parameters: {max_output_tokens: {max: 100, action: cap}}
  networks: [{name: office, cidrs: [10.0.0.0/8]}]
  rules:
    - {id: dev, effect: permit, roles: [dev], networks: [office], message: Devs may.}
    - {id: no-search, effect: forbid, hosted_tools: [web_search*], message: No search.}
    - {id: night, effect: forbid, hours: {zone: Europe/Berlin, since: "22:00", until: "06:00"}, message: Sleep.}
    - {id: broken, effect: forbid, roles: [odd], when: "principal.attributes['x'] == 'y'", message: Broken.}
    - {id: trial, effect: forbid, when: request.stream, mode: observe, message: On trial.}
limits: {rules: [{id: calls, limit: 10, per: day}]}
"""
ANN = [
    "--principal",
    "ann",
    "--role",
    "dev",
    "--network",
    "10.1.1.1",
    "--model",
    "gpt-5",
    "--at",
    "2026-01-05T12:00",
]


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SALLYPORT_CONFDIR", "")
    monkeypatch.delenv("SALLYPORT_CONFDIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.yaml").write_text(POLICY)
    return tmp_path / "p.yaml"


def ask(policy: Path, *options: str) -> tuple[int, dict]:
    result = RUNNER.invoke(app, ["explain", str(policy), *options, "--json"], catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def test_an_allowed_call_exits_0_and_names_the_permit(policy: Path) -> None:
    code, said = ask(policy, *ANN)
    assert (code, said["action"], said["cause"]) == (0, "allow", None)
    assert [s["stage"] for s in said["stages"]] == [
        "identity",
        "access",
        "limits",
        "secrets",
        "masking",
        "injection",
    ]
    assert said["stages"][1]["where"] == f"{policy}:8:7"
    assert said["limits"] == [{"id": "calls", "counted": True, "why_not": None, "where": f"{policy}:13:18"}]


def test_a_refusal_exits_1_and_tells_which_key_of_each_rule_did_not_fit(policy: Path) -> None:
    code, said = ask(
        policy, "--principal", "ann", "--role", "ops", "--model", "gpt-5", "--at", "2026-01-05T12:00"
    )
    assert (code, said["action"], said["cause"]) == (1, "deny", "access.default")
    rules = {rule["id"]: rule for rule in said["rules"]}
    assert rules["dev"]["failed"] == ["roles", "networks"]
    assert rules["no-search"]["failed"] == ["hosted_tools"]
    assert rules["night"]["failed"] == ["hours"]
    assert rules["trial"]["failed"] == ["when"]
    assert said["stages"][-1]["where"] == f"{policy}:4:3"
    assert said["limits"][0]["why_not"] == "not asked"


@pytest.mark.parametrize(
    ("clock", "zone", "refused"), [("23:00", "Europe/Berlin", True), ("23:00", "Asia/Tokyo", False)]
)
def test_the_time_is_that_of_a_place(policy: Path, clock: str, zone: str, refused: bool) -> None:
    code, _ = ask(policy, *ANN[:-1], f"2026-01-05T{clock}", "--tz", zone)
    assert code == refused


def test_a_condition_without_an_answer_refuses_and_is_told(policy: Path) -> None:
    code, said = ask(policy, *ANN, "--role", "odd")
    assert (code, said["cause"]) == (1, "access.broken")
    assert {r["id"]: r["no_answer"] for r in said["rules"]}["broken"] is True
    assert ask(policy, *ANN, "--role", "odd", "--attribute", "x=z")[0] == 0


def test_what_would_change_is_told_and_what_is_only_observed(policy: Path) -> None:
    code, said = ask(
        policy, *ANN, "--param", "max_output_tokens=400", "--text", "Mail bob.miller@example.com now"
    )
    assert (code, said["action"], said["masked"]) == (0, "modify", ["EMAIL_ADDRESS"])
    assert said["changes"] == ["1 x EMAIL_ADDRESS masked", "max_output_tokens: 400 -> 100"]
    assert "bob" not in json.dumps(said)
    code, said = ask(policy, *ANN, "--stream")
    assert (code, said["action"], said["would_be"]) == (0, "allow", "deny")


def test_the_text_form_says_the_same_and_echoes_no_text(policy: Path, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(
        json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "zebra at a@example.com"}]})
    )
    result = RUNNER.invoke(app, ["explain", str(policy), *ANN, "--body", str(body)], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.startswith("ALLOWED, CHANGED: masking.masked")
    assert "1 x EMAIL_ADDRESS masked" in result.stdout
    assert "zebra" not in result.stdout
    assert "no-search  does not hold: hosted_tools" in result.stdout


def test_people_of_the_store_are_asked(policy: Path, tmp_path: Path) -> None:
    store = DirectoryStore.open(tmp_path / "audit.db")
    with store.change() as connection:
        put_tenant(connection, Tenant("web"))
        put_person(connection, Person("ann", "web", ("dev",), names=("email:ann@example.com",)), "manual")
        put_person(connection, Person("eve", "web", ("dev",), active=False), "manual")
    store.close()
    known = ["--store", str(tmp_path / "audit.db"), *ANN[4:]]
    code, said = ask(policy, "--principal", "email:ann@example.com", *known)
    assert (code, said["principal"]["id"], said["principal"]["tenant"]) == (0, "ann", "web")
    assert said["principal"]["roles"] == ["dev"]
    code, said = ask(policy, "--principal", "eve", *known)
    assert (code, said["cause"]) == (1, "identity.inactive_person")


def test_a_tenants_own_file_is_asked_and_named(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "version: 1\naccess:\n  rules:\n    - {id: mini, effect: forbid, models: [gpt-5], message: Small ones only.}\n"
    )
    policy.write_text(POLICY + "tenants: {files: {t: t.yaml}}\n")
    code, said = ask(policy, *ANN, "--tenant", "t")
    assert (code, said["cause"], said["policy"]["tenant_file"]) == (1, "access.t.mini", "t.yaml")
    assert said["stages"][-1]["where"] == f"{tmp_path / 't.yaml'}:4:7"
    assert said["rules"][-1]["holds"] is True
    assert ask(policy, *ANN, "--tenant", "u")[0] == 0


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (["--provider", "opnai"], "--provider"),
        (["--role", "dev"], "--role"),
        (["--source", "guess", "--principal", "a"], "--source"),
        (["--param", "nonsense"], "--param"),
        (["--at", "noon"], "--at"),
        (["--tz", "Europe/Nowhere", "--at", "2026-01-05T12:00"], "--tz"),
        (["--body", "/nonexistent.json"], "--body"),
        (["--text", "a", "--key", "sk-oops"], "--key"),
    ],
)
def test_wrong_use_names_the_option(policy: Path, options: list[str], where: str) -> None:
    with pytest.raises(OperatorError) as caught:
        RUNNER.invoke(app, ["explain", str(policy), *options], catch_exceptions=False)
    assert caught.value.where == where
    assert "oops" not in str(caught.value)


def test_what_a_tenants_own_section_refuses_is_found_in_its_file(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "version: 1\nmasking: {unlisted: deny}\naccess:\n  operations: [embedding]\n"
    )
    policy.write_text(POLICY + "tenants: {files: {t: t.yaml}}\n")
    _, said = ask(policy, *ANN, "--tenant", "t")
    assert said["cause"] == "access.operation"
    assert said["stages"][-1]["where"] == f"{tmp_path / 't.yaml'}:4:3"
    (tmp_path / "t.yaml").write_text("version: 1\nmasking: {unlisted: deny}\n")
    _, said = ask(policy, *ANN, "--tenant", "t", "--text", "Mail bob.miller@example.com")
    assert said["cause"] == "masking.denied"
    assert said["stages"][-1]["where"] == f"{tmp_path / 't.yaml'}:2:11"


ASKING = """version: 1
approvals: {approvers: [ada, bob], min_approvers: 2}
identity: {unknown: deny}
access:
  rules: [{id: new, effect: approve, models: [gpt-9], resource: model, message: New model.}]
"""
NINE = ("--principal", "ann", "--source", "key", "--model", "gpt-9")


def test_a_request_for_approval_is_not_said_to_be_registered(policy: Path) -> None:
    policy.write_text(ASKING)
    code, said = ask(policy, *NINE)
    (stage,) = (s for s in said["stages"] if s["stage"] == "access")
    assert code == 1
    assert "apr-" not in json.dumps(said)
    assert " ID" in stage["message"]
    assert said["needs"][0]["would_be_id"] is None
    text = RUNNER.invoke(app, ["explain", str(policy), *NINE]).stdout
    assert "apr-" not in text
    assert "nothing is registered" in text


def test_with_the_folder_of_a_gateway_the_id_is_the_one_it_would_give(policy: Path, tmp_path: Path) -> None:
    policy.write_text(ASKING)
    DirectoryStore.open(str(tmp_path / "audit.db")).close()
    key = bytes(range(32))
    (tmp_path / "gateway.key").write_bytes(key)
    _, said = ask(policy, *NINE, "--confdir", str(tmp_path))
    real = Ports(None, None, digest=lambda *parts: digest(key, "approval", *parts))  # type: ignore[arg-type]
    id = request_id(real, "default", "ann", "new", "model:gpt-9")
    assert said["needs"][0]["would_be_id"] == id
    text = RUNNER.invoke(app, ["explain", str(policy), *NINE, "--confdir", str(tmp_path)]).stdout
    assert f"would be registered as {id}" in text


def test_asking_makes_no_key_in_the_folder(policy: Path, tmp_path: Path) -> None:
    policy.write_text(ASKING)
    DirectoryStore.open(str(tmp_path / "audit.db")).close()
    ask(policy, *NINE, "--confdir", str(tmp_path))
    assert not (tmp_path / "gateway.key").exists()


@pytest.mark.parametrize(
    ("approvers", "code"), [(("ada", "bob"), 0), (("ada",), 1), (("ada", "eve"), 1), (("Ada", "BOB"), 0)]
)
def test_only_approvals_that_the_policy_counts_let_a_call_pass(
    policy: Path, tmp_path: Path, approvers: tuple[str, ...], code: int
) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    approval = Approval("a", "default", "ann", "new", "model:gpt-9", end, approvers=approvers)
    known = Snapshot.of({}, People.of((), ()), approvals=(approval,))
    given = Given.model_validate({"principal": "ann", "source": "key", "model": "gpt-9"})
    policy.write_text(ASKING)
    answered = asyncio.run(make_rehearsal().ask(load_policy(policy), given, known))
    assert (answered.verdict.action is Action.DENY) == bool(code)


def test_a_policy_from_a_pipe_is_read_once_and_its_places_are_told(policy: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, policy.read_bytes())
    os.close(writing)
    try:
        done = RUNNER.invoke(app, ["explain", f"/dev/fd/{reading}", *ANN])
    finally:
        os.close(reading)
    assert done.exit_code == 0, done.output
    assert f"/dev/fd/{reading}:12:7" in done.output

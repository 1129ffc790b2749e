"""`sallyport policy test`: what a file of tests may say, when a case fails, and what people and CI see of it."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from sallyport.cli.policy import app
from sallyport.errors import OperatorError
from sallyport.rehearsal.cases import Expect
from sallyport.rehearsal.given import Given
from sallyport.rehearsal.samples import SAMPLES, filled

RUNNER = CliRunner()
POLICY = """
version: 1
identity: {unknown: anonymous, networks: [{cidr: 10.7.0.0/16, principal: lab, roles: [dev]}]}
access:
  default: deny
  parameters: {max_output_tokens: {max: 100, action: cap}, truncation: {set: auto}}
  purpose: {header: X-Why, allow: [work], required: false}
  rules:
    - {id: dev, effect: permit, roles: [dev], message: Devs may.}
    - {id: no-search, effect: forbid, hosted_tools: [web_search*], message: No search.}
    - {id: ask-first, effect: approve, models: [gpt-9*], resource: model, message: New model.}
limits:
  rules:
    - {id: calls, limit: 10, per: day}
    - {id: money, measure: cost_usd, limit: 5, per: month, by: []}
    - {id: together, measure: concurrent, limit: 2}
prices: {unknown_model: pass}
"""


def run(folder: Path, cases: str, *options: str, policy: str = POLICY) -> tuple[int, str, str]:
    (folder / "p.yaml").write_text(policy)
    (folder / "p.test.yaml").write_text(cases)
    result = RUNNER.invoke(app, ["test", str(folder), *options])
    return result.exit_code, result.stdout, result.stderr


def one(given: str, expect: str) -> str:
    defaults = "defaults: {principal: ann, roles: [dev], model: gpt-5}\n"
    return f"{defaults}cases:\n  - name: one\n    given: {given}\n    expect: {expect}\n"


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ("{}", "{action: allow, reason: access.dev, principal: ann, roles: [dev]}"),
        ("{purpose: work}", "{reason: access.dev}"),
        ("{purpose: play}", "{action: deny, reason: access.purpose}"),
        ("{roles: []}", "{action: deny, reason: access.default, status: 403}"),
        ("{principal: null, roles: [], client: 10.7.1.1}", "{action: allow, principal: lab}"),
        ("{principal: null, roles: []}", "{action: deny, principal: anonymous}"),
        ("{hosted_tools: [web_search_preview]}", "{action: deny, reason: access.no-search}"),
        ("{endpoint: POST /v1/responses}", "{action: modify, parameters: {truncation: auto, seed: null}}"),
        ("{parameters: {max_output_tokens: 500}}", "{action: modify, parameters: {max_output_tokens: 100}}"),
        ("{parameters: {max_output_tokens: 50}}", "{action: allow, parameters: {max_output_tokens: 50}}"),
        ("{used: {calls: 10}}", "{action: deny, reason: limits.calls, status: 429}"),
        ("{used: {calls: 9}}", "{action: allow}"),
        ("{used: {money: 5}}", "{action: deny, reason: limits.money}"),
        ("{used: {money: 4.9}}", "{action: allow}"),
        ("{used: {together: 2}}", "{action: deny, reason: limits.together}"),
        ("{model: gpt-9}", '{action: deny, needs: ["model:gpt-9"]}'),
        ('{model: gpt-9, approvals: [{rule: ask-first, resource: "model:gpt-9"}]}', "{action: allow}"),
        ("{stops: [{kind: everything}]}", "{action: deny, reason: access.stopped}"),
        ("{directory: {people: [{id: ann, roles: [boss]}]}}", "{roles: [dev, boss]}"),
        ("{directory: {people: [{id: ann, tenant: t, names: ['user:a']}]}}", "{tenant: t}"),
        ("{host: eu.api.openai.com}", "{region: eu}"),
        ('{text: "Mail ${email}"}', "{action: modify, masked: [EMAIL_ADDRESS]}"),
        ('{text: "Key ${aws_key}"}', "{action: deny, reason: secrets.found}"),
        (
            "{body: {model: gpt-5, messages: [], n: 3, max_tokens: 400}}",
            "{parameters: {n: 3, max_output_tokens: 100}}",
        ),
        ("{provider: gemini, model: gemini-3-pro}", "{action: allow}"),
        ("{provider: bedrock, model: 'eu.anthropic.claude-sonnet-4-v1:0'}", "{region: eu}"),
    ],
)
def test_a_fact_has_its_effect_and_the_opposite_expectation_fails(
    tmp_path: Path, given: str, expect: str
) -> None:
    code, out, err = run(tmp_path, one(given, expect))
    assert code == 0, out + err
    swapped = {"allow": "deny", "modify": "allow", "deny": "allow"}
    if "action" in expect:
        word = expect.partition("action: ")[2].partition(",")[0].strip("}")
        code, out, _ = run(tmp_path, one(given, f"{{action: {swapped[word]}}}"))
        assert code == 1
        assert f"expected {swapped[word]}, got {word}" in out


def test_a_failure_shows_case_place_difference_and_what_was_decided(tmp_path: Path) -> None:
    code, out, _ = run(
        tmp_path, one("{text: 'Ask ${email} and nobody'}", "{action: deny, reason: x.y, status: 400}")
    )
    assert code == 1
    assert f"FAILED {tmp_path / 'p.test.yaml'}:3:5: one" in out
    assert "action  expected deny, got modify" in out
    assert "decided: identity.token allow, access.dev allow" in out
    assert "nobody" not in out, "no text of a case is printed"


def test_the_rules_that_no_case_made_speak_are_told_with_their_place(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path, one("{used: {calls: 10}}", "{action: deny}"))
    assert code == 0
    assert f"{tmp_path / 'p.yaml'}:10:7: no case made access.no-search speak" in out
    assert "limits.calls speak" not in out
    assert "access.dev speak" not in out
    assert "2 of 6 rules and limits spoke" in out
    assert run(tmp_path, one("{}", "{action: allow}"), "--fail-uncovered")[0] == 1


def test_a_limit_that_is_only_counted_has_not_been_tested(tmp_path: Path) -> None:
    _, out, _ = run(tmp_path, one("{}", "{action: allow}"))
    assert "no case made limits.calls speak" in out


@pytest.mark.parametrize(
    ("cases", "told"),
    [
        ("cases:\n  - {name: a, expect: {}}\n", "p.test.yaml:2:15: cases[0].expect: nothing is expected"),
        ("cases: []\n", "this list is too short"),
        ("cases:\n  - {name: a}\n", "p.test.yaml:2:5: cases[0].expect: "),
        ("cases:\n  - {name: a, given: {modle: x}, expect: {action: allow}}\n", "Did you mean `model`?"),
        ("cases:\n  - {name: a, expect: {action: allowed}}\n", "Use `allow`, `modify` or `deny`."),
        (
            "cases:\n  - {name: a, expect: {action: allow}}\n  - {name: a, expect: {status: 4}}\n",
            "name is given twice",
        ),
        (
            one("{provider: opnai}", "{action: allow}"),
            "p.test.yaml:4:13: cases[0].given.provider: the catalogue",
        ),
        (
            one("{used: {cals: 1}}", "{action: allow}"),
            "cases[0].given.used.cals: the policy has no such limit. Did",
        ),
        (one("{at: 2026-01-05T12:00:00}", "{action: allow}"), "this time has no zone"),
        (one("{text: a, body: {}}", "{action: allow}"), "exclude each other"),
        (one("{body: {}, tools: [x]}", "{action: allow}"), "the body says this already"),
        (one("{body: {messages: 3}}", "{action: allow}"), "cannot read this body (json.type)"),
        (one('{text: "${ibann}"}', "{action: allow}"), "there is no sample of this name"),
        (one("{host: api.anthropic.com}", "{action: allow}"), "this is no host of openai"),
        (one("{tokens: [{issuer: x, subject: y}]}", "{action: allow}"), "the policy has no such issuer"),
        (one("{principal: null}", "{action: allow}"), "defaults.roles: this is said of a principal"),
        (one("{endpoint: GET}", "{action: allow}"), "this is no endpoint"),
        ("policy: gone.yaml\ncases:\n  - {name: a, expect: {action: allow}}\n", "gone.yaml: cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_line_and_exit_2(
    tmp_path: Path, cases: str, told: str
) -> None:
    code, _, err = run(tmp_path, cases)
    assert (code, told in err) == (2, True), err


def test_json_and_junit_hold_every_case(tmp_path: Path) -> None:
    cases = one("{}", "{action: allow}") + "  - {name: two, expect: {action: deny}}\n"
    code, out, _ = run(tmp_path, cases, "--json", "--junit", str(tmp_path / "j.xml"))
    assert code == 1
    first, last = map(json.loads, out.splitlines())
    assert (first["passed"], first["failed"]) == (1, 1)
    assert first["cases"][1]["differences"] == [{"key": "action", "expected": "deny", "got": "allow"}]
    assert {rule["rule"] for rule in last["uncovered"]} >= {"limits.calls"}
    root = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert root[0].attrib["tests"] == "2"
    assert root[0].attrib["failures"] == "1"
    (failure,) = root.iter("failure")
    assert "expected deny, got allow" in (failure.text or "")


def test_k_runs_some_cases_and_says_nothing_of_coverage(tmp_path: Path) -> None:
    cases = one("{}", "{action: allow}") + "  - {name: two, expect: {action: deny}}\n"
    code, out, _ = run(tmp_path, cases, "-k", "ONE")
    assert code == 0
    assert "1 cases, 0 failed" in out
    assert "spoke" not in out
    with pytest.raises(OperatorError, match="no case has this"):
        RUNNER.invoke(app, ["test", str(tmp_path), "-k", "three"], catch_exceptions=False)


def test_a_folder_without_tests_is_an_error_not_a_success(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="there are no tests here"):
        RUNNER.invoke(app, ["test", str(tmp_path)], catch_exceptions=False)


def test_a_tenants_rules_are_tested_and_counted_with_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "version: 1\naccess: {rules: [{id: quiet, effect: forbid, when: request.stream, message: No.}]}\n"
    )
    code, out, err = run(
        tmp_path,
        one("{tenant: t, stream: true}", "{action: deny, reason: access.t.quiet}"),
        policy=POLICY + "tenants: {files: {t: t.yaml}}\n",
    )
    assert code == 0, out + err
    assert "access.t.quiet speak" not in out


def test_samples_are_valid_made_up_and_the_same_each_time() -> None:
    for name in SAMPLES:
        assert filled(f"a ${{{name}}} b") == filled(f"a ${{{name}}} b") != f"a ${{{name}}} b"
    assert filled("$${iban}") == "${iban}"


def test_every_key_and_every_sample_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "policy-testing.md").read_text(encoding="utf-8")
    names = [*Given.model_fields, *Expect.model_fields, *SAMPLES]
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.mark.parametrize("approvals", ["{approvers: [ada, bob], min_approvers: 2}", "{min_approvers: 3}"])
def test_a_stated_approval_was_given_by_those_whom_the_policy_wants(tmp_path: Path, approvals: str) -> None:
    given = '{model: gpt-9, approvals: [{rule: ask-first, resource: "model:gpt-9"}]}'
    policy = f"{POLICY}approvals: {approvals}\n"
    assert run(tmp_path, one(given, "{action: allow}"), policy=policy)[0] == 0


def test_where_only_the_principal_may_approve_a_stated_approval_counts_for_nothing(tmp_path: Path) -> None:
    given = '{model: gpt-9, approvals: [{rule: ask-first, resource: "model:gpt-9"}]}'
    policy = f"{POLICY}approvals: {{approvers: [ann]}}\n"
    assert run(tmp_path, one(given, "{action: deny}"), policy=policy)[0] == 0

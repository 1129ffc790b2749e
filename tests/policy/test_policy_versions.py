"""`sallyport policy diff|history|rollback|drift`: what differs is told, and what was in force can come back."""

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from policy.policy_sites import Site, told
from sallyport.audit.events import EventKind
from sallyport.cli.main import app
from sallyport.cli.policyversions import keep_version
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.policy.changes import settings_that_differ
from sallyport.policy.load import load_policy, parse_policy

A = """version: 1
limits:
  rules:
    - {id: daily, measure: requests, per: day, limit: 10}
    - {id: weekly, measure: requests, per: week, limit: 50}
masking: {entities: {CREDIT_CARD: deny}}
"""


def differs(before: str, after: str) -> dict[str, tuple[Any, Any]]:
    found = settings_that_differ(parse_policy(before), parse_policy(after))
    return {setting.at: (setting.before, setting.after) for setting in found}


def test_a_rule_is_known_by_its_id_wherever_it_stands() -> None:
    raised = A.replace("limit: 50", "limit: 60").replace(
        "    - {id: daily", "    - {id: new, measure: requests, per: day, limit: 1}\n    - {id: daily"
    )
    found = differs(A, raised)
    assert set(found) == {"limits.rules[new]", "limits.rules[weekly].limit"}
    assert [float(value) for value in found["limits.rules[weekly].limit"]] == [50, 60]


def test_an_order_that_matters_is_told_and_equal_policies_do_not_differ() -> None:
    swapped = A.splitlines()
    swapped[3], swapped[4] = swapped[4], swapped[3]
    assert [*differs(A, "\n".join(swapped))] == ["limits.rules (order)"]
    assert differs(A, A + "# a comment\n") == {}


def test_defaults_count_as_what_they_are() -> None:
    assert differs("version: 1\n", "version: 1\nmode: enforce\n") == {}
    assert differs("version: 1\n", "version: 1\nmode: observe\n") == {"mode": ("enforce", "observe")}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.store.close()


def test_what_was_in_force_comes_back(site: Site) -> None:
    first = site.run(A, EventKind.STARTED)
    second = site.run(A.replace("limit: 10", "limit: 99"))
    said = told("history", *site.words)
    assert said.index(second) < said.index(first)
    assert said.count("kept") == 2
    assert "limits.rules[daily].limit" in told("diff", first, str(site.file), *site.words, code=1)
    assert first in told("rollback", first, str(site.file), *site.words)
    assert site.file.read_text() == A
    assert load_policy(site.file).revision == first
    told("rollback", second, str(site.file), *site.words)
    assert "limit: 99" in site.file.read_text()


def test_what_stands_there_now_is_kept_before_it_is_replaced(site: Site) -> None:
    first = site.run(A)
    never_run = A.replace("limit: 10", "limit: 7")
    site.file.write_text(never_run)
    revision = load_policy(site.file).revision
    told("rollback", first, str(site.file), *site.words)
    told("rollback", revision, str(site.file), *site.words)
    assert site.file.read_text() == never_run


def test_a_policy_with_tenants_comes_back_whole(site: Site) -> None:
    own = site.file.parent / "tenants" / "lab.yaml"
    own.parent.mkdir()
    own.write_text("version: 1\nmasking: {entities: {CREDIT_CARD: deny}}\n")
    with_tenant = "version: 1\ntenants: {files: {lab: tenants/lab.yaml}}\n"
    first = site.run(with_tenant)
    own.write_text("version: 1\nmasking: {entities: {EMAIL_ADDRESS: deny}}\n")
    second = site.run(with_tenant)
    assert first != second
    shown = told("diff", first, second, *site.words, code=1)
    assert "of_tenants.lab.masking.entities" in shown
    told("rollback", first, str(site.file), *site.words)
    assert "CREDIT_CARD" in own.read_text()


def test_drift_names_the_gateways_and_the_settings(site: Site) -> None:
    old = site.run(A, EventKind.STARTED, "gw-1")
    site.run(A, EventKind.STARTED, "gw-3")
    site.run(A, EventKind.STOPPED, "gw-3")
    site.run(A.replace("limit: 10", "limit: 99"), EventKind.STARTED, "gw-2")
    said = told("drift", str(site.file), *site.words, code=1)
    assert "2 gateways run, 1 with another policy" in said
    assert f"gw-1: {old}" in said
    assert "limits.rules[daily].limit" in said
    site.run(site.file.read_text(), EventKind.POLICY_CHANGED, "gw-1")
    told("drift", str(site.file), *site.words)


def test_a_preset_is_a_version_too(site: Site) -> None:
    from sallyport.cli.detection import read_policy

    observed = read_policy("balanced", Mode.OBSERVE)
    keep_version("balanced", Mode.OBSERVE, observed, site.conf)
    found = json.loads(told("diff", observed.revision, "balanced", "--json", *site.words, code=1))
    assert {"at": "mode", "before": "observe", "after": "enforce"} in found["settings"]
    done = CliRunner().invoke(app, ["policy", "rollback", observed.revision, str(site.file), *site.words])
    assert "it was the preset" in str(done.exception)


def test_a_version_that_is_none_or_is_damaged_is_told(site: Site) -> None:
    revision = site.run(A)
    for wrong in ("0" * 12, "../../etc/passwd", "x"):
        done = CliRunner().invoke(app, ["policy", "rollback", wrong, str(site.file), *site.words])
        assert "no policy of this revision" in str(done.exception)
    (site.conf / "policies" / f"{revision}.json").write_text("{")
    done = CliRunner().invoke(app, ["policy", "rollback", revision, str(site.file), *site.words])
    assert "cannot be read" in str(done.exception)


def test_versions_are_closed_to_others(site: Site) -> None:
    revision = site.run(A)
    path = site.conf / "policies" / f"{revision}.json"
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("more", [{"../other.yaml": "x"}, {"": "x"}, {"policy.yaml": "version: 9"}])
def test_a_version_that_cannot_be_used_replaces_nothing(site: Site, more: dict[str, str]) -> None:
    revision = site.run(A)
    path = site.conf / "policies" / f"{revision}.json"
    said = json.loads(path.read_text())
    said["files"] |= more
    path.write_text(json.dumps(said))
    present = A.replace("limit: 10", "limit: 99")
    site.file.write_text(present)
    done = CliRunner().invoke(app, ["policy", "rollback", revision, str(site.file), *site.words])
    assert isinstance(done.exception, OperatorError)
    assert site.file.read_text() == present
    assert [*site.file.parent.iterdir()] == [site.file]


def test_a_gateway_that_was_killed_does_not_drift(site: Site) -> None:
    site.run(A, EventKind.STARTED, "gw-1")
    site.run(A.replace("limit: 10", "limit: 99"), EventKind.STARTED, "gw-2")
    (site.conf / "gateway.id").write_text("gw-1\n")
    with (site.conf / "gateway.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "2 gateways run, 1 with" in told("drift", str(site.file), *site.words, code=1)
    assert "1 gateways run, 0 with" in told("drift", str(site.file), *site.words)


def test_a_rollback_makes_no_folder(site: Site, tmp_path: Path) -> None:
    revision = site.run(A)
    words = ["policy", "rollback", revision, str(tmp_path / "typo" / "policy.yaml"), *site.words]
    assert "there is no such folder" in str(CliRunner().invoke(app, words).exception)
    assert not (tmp_path / "typo").exists()

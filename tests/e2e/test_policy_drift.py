"""A running gateway tells when it runs something else than its file, its repository or its bundle holds, and when not."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from e2e.test_policy_in_force import sealed
from e2e.traffic import ask, eventually, of_kind, recorded, running
from gateways import OPEN_POLICY, GatewayProcess, python_env
from policy.test_policy_bundle import Keys
from sallyport.audit.events import Event, EventKind
from sallyport.cli.driftwatch import METRICS
from sallyport.lab.server import Lab
from sallyport.policy.load import parse_policy

SOON = "drift: {alarm_after_s: 1, check_every_s: 1}\n"
POLICY = OPEN_POLICY + SOON
OTHER = POLICY + "masking: {entities: {URL: allow}}\n"


def alarms(gateway: GatewayProcess) -> list[Event]:
    return of_kind(recorded(gateway.confdir), EventKind.POLICY_DRIFTED)


def told(gateway: GatewayProcess, count: int) -> list[tuple[str, str]]:
    eventually(lambda: len(alarms(gateway)) == count, 20, f"{count} alarms")
    return [(event.reason, event.detail) for event in alarms(gateway)]


def alarm_metric(gateway: GatewayProcess) -> str:
    lines = (gateway.confdir / METRICS).read_text().splitlines()
    return next(line for line in lines if line.startswith("sallyport_policy_drift_alarm{"))[-1]


def test_a_file_that_was_changed_and_not_reloaded_alarms_until_it_is(tmp_path: Path, lab: Lab) -> None:
    ours, other = parse_policy(POLICY).revision, parse_policy(OTHER).revision
    with running(tmp_path, lab, policy=POLICY) as gateway:
        file = tmp_path / "policy.yaml"
        file.write_text(OTHER)
        assert told(gateway, 1) == [("policy.drift.policy", f"drifted:{other}")]
        assert alarms(gateway)[0].policy_revision == ours
        eventually(lambda: alarm_metric(gateway) == "1", 10, "the metric")
        gateway.signal(signal.SIGHUP)
        assert told(gateway, 2)[1] == ("policy.drift.policy", f"over:{other}")
        eventually(lambda: alarm_metric(gateway) == "0", 10, "the metric")
        file.write_text("version: 1\nmasking: [")
        assert told(gateway, 3)[2] == ("policy.drift.unreadable", "drifted:unknown")
        assert ask(gateway, "still", "hello").status == 200
        file.write_text(OTHER)
        assert told(gateway, 4)[3] == ("policy.drift.unreadable", f"over:{other}")
        history = subprocess.run(
            [sys.executable, "-m", "sallyport", "policy", "history", "--json", "--confdir", str(gateway.confdir)],
            capture_output=True, check=True, env=python_env(),
        )  # fmt: skip
    lines = [json.loads(line) for line in history.stdout.splitlines()]
    assert sum(line["event"] == "policy_drifted" for line in lines) == 4
    assert all(line["rules"] for line in lines)
    log = gateway.log.read_text()
    assert f"is {other}, and {ours} is in force" in log
    assert "that of the repository again" in log


def test_a_repository_elsewhere_is_what_should_be_in_force(tmp_path: Path, lab: Lab) -> None:
    repository = tmp_path / "repository.yaml"
    policy = OPEN_POLICY + f"drift: {{alarm_after_s: 1, check_every_s: 1, repository: '{repository}'}}\n"
    repository.write_text(policy)
    with running(tmp_path, lab, policy=policy) as gateway:
        changed = policy + "masking: {entities: {URL: allow}}\n"
        repository.write_text(changed)
        assert told(gateway, 1) == [("policy.drift.policy", f"drifted:{parse_policy(changed).revision}")]
        repository.write_text(policy)
        assert told(gateway, 2)[1][1] == f"over:{parse_policy(policy).revision}"


def test_a_bundle_that_was_put_in_place_and_not_reloaded_alarms_too(tmp_path: Path, lab: Lab) -> None:
    keys = Keys(tmp_path)
    first, second = sealed(keys, POLICY, 1), sealed(keys, OTHER, 2)
    extra = ["--policy-key", str(keys.public)]
    with running(tmp_path, lab, policy=first, extra=extra) as gateway:
        file = tmp_path / "policy.yaml"
        file.write_text(second)
        assert told(gateway, 1) == [("policy.drift.policy", f"drifted:{parse_policy(OTHER).revision}")]
        gateway.signal(signal.SIGHUP)
        assert told(gateway, 2)[1][0] == "policy.drift.policy"
        file.write_text(second.replace("URL", "URI"))
        assert told(gateway, 3)[2] == ("policy.drift.unreadable", "drifted:unknown")

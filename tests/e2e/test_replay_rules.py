"""A capture says by which rules it was decided, and a replay with others says so."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from e2e.traffic import ask, recorded, running, settled
from gateways import OPEN_POLICY
from sallyport.cli import rulesinforce
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.lab.server import Lab


@pytest.fixture(scope="module")
def conf(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    with running(folder, lab, policy=OPEN_POLICY + "capture: {share: 1}\n") as gateway:
        for number in range(3):
            ask(gateway, f"m{number}", f"What is a sally port, number {number}?")
        settled(gateway.confdir)
    return folder / "conf"


def replay(conf: Path, *words: str) -> Result:
    policy = conf.parent / "candidate.yaml"
    policy.write_text(OPEN_POLICY)
    fixed = ["replay", str(conf / "captures"), "--policy", str(policy), "--confdir", str(conf), "--jobs", "1"]
    return CliRunner().invoke(app, [*fixed, *words], env={"COLUMNS": "400"})


def other_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {**rulesinforce._loaded(), "library/google-re2": "0.1"}
    monkeypatch.setattr(rulesinforce, "_loaded", lambda: parts)


def test_the_report_names_the_rules_of_then_and_of_now(conf: Path) -> None:
    ours = {event.rules_revision for event in recorded(conf)}
    done = replay(conf, "--json")
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["recorded_rules"] == dict.fromkeys(ours, 3)
    assert said["base_rules"] == "recorded"
    assert len(said["candidate_rules"]) == 32


def test_a_replay_with_other_rules_says_how_many_flows_they_are(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_rules(monkeypatch)
    told = replay(conf).stdout
    (then,) = {event.rules_revision for event in recorded(conf)}
    assert "3 flows were decided under other rules than these" in told
    assert f"{then[:12]} (3)" in told
    against = replay(conf, "--against", str(conf.parent / "candidate.yaml")).stdout
    assert "other rules" not in against, "both policies are judged by the same here"


def test_a_process_with_other_packs_than_the_replay_began_with_stops(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sallyport.cli import benches

    given = iter([rulesinforce.rules_of])

    def then_others(policy: Any) -> Any:
        found = next(given, None)
        if found is not None:
            return found(policy)
        other_rules(monkeypatch)
        return rulesinforce.rules_of(policy)

    monkeypatch.setattr(benches, "rules_of", then_others)
    done = replay(conf)
    assert isinstance(done.exception, OperatorError)
    assert "its rules are not those that the replay began with" in str(done.exception)

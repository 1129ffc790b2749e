"""A proof names the rules that decided, and with the gateway's folder every file of them, which a verifier checks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sallyport.audit import verifier
from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.state.rulesversions import Rules, RulesVersions

RULES = Rules(
    {"rules/pii/contact.yaml": "a" * 64, "library/numpy": "2.3.1", "recognisers/größe.yaml": "b" * 64}
)


@pytest.fixture
def proof(tmp_path: Path) -> dict[str, Any]:
    """The bundle of an event, made by the command with the folder of its gateway."""
    conf = tmp_path / "conf"
    RulesVersions(conf / "policies").keep(RULES)
    store = Store.open(conf / "audit.db")
    event = Event(
        kind=EventKind.STARTED, gateway="gw-1", policy_revision="p" * 12, rules_revision=RULES.revision
    )
    store.write([event])
    store.close()
    for words in (["checkpoint"], ["prove", event.id, "-o", str(tmp_path / "proof.json")]):
        done = CliRunner().invoke(app, ["audit", *words, "--confdir", str(conf)])
        assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads((tmp_path / "proof.json").read_text())
    return said


def test_every_file_that_decided_is_in_the_proof_and_is_checked_offline(
    proof: dict[str, Any], tmp_path: Path
) -> None:
    assert proof["rules"] == dict(RULES.parts)
    assert proof["rules_revision"] == proof["event"]["rules_revision"] == RULES.revision
    script = Path(__file__).parents[2] / "scripts" / "verify_audit"
    command = [sys.executable, "-I", str(script), str(tmp_path / "proof.json"), "--json"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert json.loads(done.stdout)["sound"] is True


def test_the_id_of_a_decision_is_answered_with_its_events(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    store = Store.open(conf / "audit.db")
    kinds = (EventKind.ADMITTED, EventKind.COMPLETED)
    admitted, completed = (Event(kind=kind, gateway="gw-1", exchange="0199-decision") for kind in kinds)
    store.write([admitted, completed, Event(kind=EventKind.STARTED, gateway="gw-1")])
    store.close()

    def refused(begin: str) -> str:
        done = CliRunner().invoke(app, ["audit", "prove", begin, "--confdir", str(conf)])
        assert done.exception is not None
        return str(done.exception)

    said = refused("0199-dec")
    assert f"admitted {admitted.id}" in said
    assert f"completed {completed.id}" in said
    for unknown in ("", "0199-x", "x"):
        assert "no event begins with it" in refused(unknown)


@pytest.mark.parametrize(
    "changed",
    [
        {"rules_revision": "0" * 32},
        {"rules": {**RULES.parts, "library/numpy": "2.3.2"}},
        {"rules": {name: digest for name, digest in RULES.parts.items() if name != "library/numpy"}},
        {"rules": {}},
        {"rules": ["rules/pii/contact.yaml"]},
    ],
    ids=["revision", "changed", "left out", "empty", "no object"],
)
def test_rules_that_are_not_those_of_the_event_are_told(
    proof: dict[str, Any], changed: dict[str, Any]
) -> None:
    found = verifier.verify_proof({**proof, **changed})
    assert [finding.kind for finding in found.findings] == ["changed"]


def test_a_proof_of_an_earlier_version_holds_without_rules(proof: dict[str, Any]) -> None:
    older = {name: value for name, value in proof.items() if name not in ("rules", "rules_revision")}
    assert verifier.verify_proof(older).is_sound

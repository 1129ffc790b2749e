"""Replay under rules on trial and canaries, and what a promotion makes of its report."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http
from typer.testing import CliRunner

from replay.recording import BEGAN, flow, write
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.policy.approvals import Approvals
from sallyport.policy.load import load_policy
from sallyport.policy.states import place_of
from sallyport.state.directory.approvals import break_glass
from sallyport.state.directory.store import DirectoryStore
from sallyport.state.keyed import digest

BASE = "version: 1\nidentity: {unknown: anonymous}\n"
RULE = "access: {rules: [{id: new, effect: forbid, models: ['*'], message: No., %s}]}\n"
CALLS = 60


@pytest.fixture(autouse=True)
def confdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "confdir"))
    (tmp_path / "confdir").mkdir()
    return tmp_path / "confdir"


def policy(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(BASE + text)
    return folder / name


def replayed(*words: object) -> Any:
    done = CliRunner().invoke(
        app, ["replay", *map(str, words), "--jobs", "1", "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def conversation(text: str) -> str:
    return digest(bytes(32), "conversation", "openai", text)


def test_a_canary_is_replayed_with_the_flows_own_conversations(tmp_path: Path) -> None:
    texts = [f"conversation {number}" for number in range(CALLS)]
    file = write(tmp_path / "f.flow", [flow(text, at=n) for n, text in enumerate(texts)])
    canary = policy(tmp_path, "c.yaml", RULE % "mode: canary, canary: {percent: 30}")
    inside = sum(place_of("access.new", conversation(text)) < 30 for text in texts)
    assert 5 < inside < CALLS - 5
    found = replayed(file, "--policy", canary, "--against", policy(tmp_path, "b.yaml", ""))
    assert found["changes"]["newly_refused"] == inside
    assert found["changes"]["would_change"] == 0
    assert found["period"] == {"since": BEGAN, "until": BEGAN + CALLS - 1}


def captured(text: str, at: int, of: str) -> http.HTTPFlow:
    """Return a flow as a gateway captures it, whose text stands masked."""
    made = flow(text, at=at)
    made.metadata["sallyport"] = {
        "version": 1,
        "exchange": f"x{at}",
        "conversation": of,
        "principal": None,
        "action": "allow",
        "would_be": "allow",
        "stage": "",
        "reason": "",
        "masked": [],
        "cost": 0,
        "findings": None,
        "usage": None,
    }
    return made


def test_a_captured_flow_keeps_the_conversation_it_had(tmp_path: Path) -> None:
    names = [f"{number:032x}" for number in range(CALLS)]
    file = write(tmp_path / "f.flow", [captured("masked", n, name) for n, name in enumerate(names)])
    canary = policy(tmp_path, "c.yaml", RULE % "mode: canary, canary: {percent: 30}")
    found = replayed(file, "--policy", canary, "--against", policy(tmp_path, "b.yaml", ""))
    assert found["changes"]["newly_refused"] == sum(place_of("access.new", name) < 30 for name in names)


@pytest.mark.parametrize(("mode", "change"), [("enforce", "same"), ("observe", "answer_newly_whole")])
def test_an_answer_that_could_not_be_read_is_withheld_again_though_it_was_not_kept(
    mode: str, change: str, tmp_path: Path
) -> None:
    made = captured("masked", 0, "")
    made.metadata["sallyport"] |= {
        "findings": [],
        "answer": {
            "action": "refuse",
            "would_be": "refuse",
            "rule": "upstream.unreadable",
            "edited": [],
            "findings": [],
        },
    }
    found = replayed(
        write(tmp_path / "f.flow", [made]), "--policy", policy(tmp_path, "c.yaml", f"mode: {mode}\n")
    )
    assert found["changes"][change] == 1


def test_what_is_in_shadow_changes_nothing_in_a_replay(tmp_path: Path) -> None:
    file = write(tmp_path / "f.flow", [flow("hello", at=n) for n in range(9)])
    base = policy(tmp_path, "b.yaml", "")
    limit = "limits: {rules: [{id: few, limit: 1, per: month, mode: %s}]}\n"
    for text, would in ((RULE % "mode: shadow" + limit % "shadow", 0), (limit % "observe", 8)):
        found = replayed(file, "--policy", policy(tmp_path, "c.yaml", text), "--against", base)
        assert found["changes"]["would_change"] == would
        assert found["changes"]["same"] == 9 - would


def test_a_limit_in_shadow_spends_nothing_of_one_in_force(tmp_path: Path) -> None:
    file = write(tmp_path / "f.flow", [flow("hello", at=n) for n in range(9)])
    rules = "limits: {rules: [{id: hard, limit: 5, per: month}%s]}\n"
    base = policy(tmp_path, "b.yaml", rules % "")
    tried = policy(tmp_path, "c.yaml", rules % ", {id: soft, limit: 1, per: month, mode: shadow}")
    assert replayed(file, "--policy", tried, "--against", base)["changes"]["same"] == 9


@pytest.mark.parametrize("hurts", [False, True])
def test_a_promotion_takes_the_very_report_that_a_replay_writes(
    tmp_path: Path, confdir: Path, hurts: bool
) -> None:
    Store.open(confdir / "audit.db").close()
    DirectoryStore.open(str(confdir / "audit.db")).close()
    now = time.time() - BEGAN
    model = "gpt-5" if hurts else "gpt-5-mini"
    file = write(tmp_path / "f.flow", [flow(f"{n}", at=now - 100 + n, model=model) for n in range(20)])
    text = RULE.replace("'*'", "gpt-5") % "mode: shadow" + "promotion: {min_exchanges: 20}\n"
    present, draft, report = policy(tmp_path, "p.yaml", text), tmp_path / "draft.yaml", tmp_path / "r.json"
    words = ["policy", "promote", "new", "--to", "enforce", "-f", str(present)]
    assert CliRunner().invoke(app, [*words, "--draft", str(draft)], catch_exceptions=False).exit_code == 0
    replayed(file, "--policy", draft, "--against", present, "--report", report)
    done = CliRunner().invoke(app, [*words, "--report", str(report)])
    if hurts:
        assert "20 of 20 exchanges (100.00%) are newly refused" in str(done.exception)
        assert load_policy(present).access.rules[0].mode == "shadow"
    else:
        assert done.exit_code == 0, done.exception
        assert load_policy(present).access.rules[0].mode == "enforce"


def test_what_was_approved_since_serves_the_flows_of_last_month(tmp_path: Path, confdir: Path) -> None:
    store, now = DirectoryStore.open(str(confdir / "audit.db")), datetime.now(UTC)
    with store.change() as connection:
        end = now + timedelta(hours=1)
        break_glass(connection, "default", "ada", "*", "bob", "r", now, end, Approvals())
    store.close()
    flows = [captured("masked", n, "") for n in range(2)]
    for each, who in zip(flows, ("ada", "eve"), strict=True):
        named = {"id": who, "tenant": "default", "roles": [], "source": "key", "confidence": 1.0}
        each.metadata["sallyport"] |= {"principal": named | {"attributes": []}}
    rule = RULE.replace("forbid", "approve") % "mode: enforce"
    found = replayed(write(tmp_path / "f.flow", flows), "--policy", policy(tmp_path, "a.yaml", rule))
    assert found["by"]["principal"] == {"eve": {"newly_refused": 1}}

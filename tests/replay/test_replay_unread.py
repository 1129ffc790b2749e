"""A replay that could not read all of its recording has not kept any threshold, and no promotion rests on it."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from mitmproxy.io import tnetstring
from mitmproxy.websocket import WebSocketData
from typer.testing import CliRunner

from replay.recording import BEGAN, HOST, flow, write
from sallyport.cli.main import app


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "confdir"))
    return write(tmp_path / "f.flow", [flow("a"), flow("b", at=1)])


def replayed(*words: str) -> tuple[int, str, Any]:
    done = CliRunner().invoke(app, ["replay", *words, "--policy", "observe", "--jobs", "1", "--json"])
    return done.exit_code, done.stderr, json.loads(done.stdout)


def test_a_threshold_is_not_kept_where_flows_were_cut_off(recorded: Path, tmp_path: Path) -> None:
    recorded.write_bytes(recorded.read_bytes()[:-40])
    xml = tmp_path / "r.xml"
    fail = ("--fail-on", "newly_refused=0", "--junit", str(xml))
    code, said, report = replayed(str(recorded), *fail)
    assert (code, report["result"], report["cut_files"], report["flows"]) == (1, "incomplete", 1, 1)
    assert "1 files cut off or damaged, 0 flows unreadable, 0 allowed" in said
    (case,) = [case for case in Xml.parse(xml).iter("testcase") if case.find("failure") is not None]
    assert case.get("name") == "all was read"
    code, _, report = replayed(str(recorded), *fail, "--allow-unread", "1")
    assert (code, report["result"], report["allowed_unread"]) == (0, "kept", 1)
    assert Xml.parse(xml).getroot()[0].get("failures") == "0"


def test_without_a_threshold_it_is_told_and_no_failure(recorded: Path) -> None:
    recorded.write_bytes(recorded.read_bytes()[:-40])
    code, said, report = replayed(str(recorded))
    assert (code, report["result"]) == (0, "incomplete")
    assert "was not read" in said
    done = CliRunner().invoke(app, ["replay", str(recorded), "--policy", "observe", "--jobs", "1"])
    assert "1 files are cut off or damaged" in done.stdout


def test_flows_to_other_hosts_are_told_since_their_texts_are_judged_by_nobody(tmp_path: Path) -> None:
    path = write(tmp_path / "f.flow", [flow("a"), flow("b", host="www.example.org", at=1)])
    done = CliRunner().invoke(app, ["replay", str(path), "--policy", "observe", "--jobs", "1"])
    assert "1 of them go to hosts that are no AI providers: nobody reads what is in these." in done.stdout
    write(path, [flow("a")])
    done = CliRunner().invoke(app, ["replay", str(path), "--policy", "observe", "--jobs", "1"])
    assert "of them go to" not in done.stdout


def test_a_flow_that_cannot_be_read_counts_like_a_file_that_is_cut(recorded: Path) -> None:
    strange = {"type": "http", "version": 21, "request": {"timestamp_start": BEGAN + 2, "method": 5}}
    recorded.write_bytes(recorded.read_bytes() + tnetstring.dumps(strange))
    code, _, report = replayed(str(recorded), "--fail-on", "newly_refused=0")
    assert (code, report["result"], report["sorts"]["unreadable"]) == (1, "incomplete", 1)


def test_an_excess_is_told_as_one_also_where_something_was_not_read(recorded: Path, tmp_path: Path) -> None:
    recorded.write_bytes(recorded.read_bytes()[:-40])
    strict = tmp_path / "p.yaml"
    strict.write_text("version: 1\nidentity: {require: [certificate]}\n")
    words = ["replay", str(recorded), "--policy", str(strict), "--jobs", "1", "--fail-on", "newly_refused=0"]
    done = CliRunner().invoke(app, [*words, "--json", "--allow-unread", "0"])
    assert (done.exit_code, json.loads(done.stdout)["result"]) == (1, "exceeded")


def test_a_capture_that_was_emptied_is_cut_and_an_empty_recording_is_none(
    recorded: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    emptied = folder / "capture-20260501T000000Z-gw-1-0a1b2c3d.flows"
    emptied.write_bytes(b"")
    code, said, report = replayed(str(folder), str(recorded), "--fail-on", "newly_refused=0")
    assert (code, report["result"], report["cut_files"]) == (1, "incomplete", 1)
    assert emptied.name in said
    emptied.rename(tmp_path / "quiet.flows")
    code, _, report = replayed(str(tmp_path / "quiet.flows"), str(recorded), "--fail-on", "newly_refused=0")
    assert (code, report["result"]) == (0, "kept")


def test_a_session_that_nobody_judged_keeps_no_threshold(recorded: Path, tmp_path: Path) -> None:
    session = flow("c", at=2)
    session.websocket = WebSocketData()
    with_session = write(tmp_path / "s.flow", [session, flow("d", at=3)])
    fail = ("--fail-on", "newly_refused=0")
    code, said, report = replayed(str(recorded), str(with_session), *fail)
    assert (code, report["result"], report["flows"]) == (1, "incomplete", 3)
    assert report["left_out"] == {"websocket": 1}
    assert "1 WebSocket sessions unread" in said
    code, _, report = replayed(str(recorded), str(with_session), *fail, "--allow-unread", "1")
    assert (code, report["result"], report["left_out"]) == (0, "kept", {"websocket": 1})


@pytest.mark.parametrize("scheme", ["wss", "https"])
def test_a_session_of_a_browser_keeps_no_threshold(recorded: Path, tmp_path: Path, scheme: str) -> None:
    """A HAR file holds the upgrade, and what was said after it where nobody reads it."""
    asked = {
        "method": "GET",
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": "upgrade", "value": "websocket"}],
    }
    answered = {
        "status": 101,
        "statusText": "",
        "httpVersion": "HTTP/1.1",
        "headers": [],
        "content": {"size": 0},
    }
    entry = {
        "startedDateTime": "2026-05-28T10:00:00Z",
        "time": 1,
        "request": asked | {"url": f"{scheme}://{HOST}/v1/realtime?model=gpt-realtime", "queryString": []},
        "response": answered,
        "timings": {"send": 1, "wait": 1, "receive": 1},
    }
    (tmp_path / "s.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    code, _, report = replayed(str(recorded), str(tmp_path / "s.har"), "--fail-on", "newly_refused=0")
    assert (code, report["result"], report["flows"]) == (1, "incomplete", 2)
    assert report["left_out"] == {"websocket": 1}


def test_a_session_with_no_provider_is_a_tunnelled_flow(recorded: Path, tmp_path: Path) -> None:
    session = flow("c", at=2, host="www.example.org")
    session.websocket = WebSocketData()
    elsewhere = write(tmp_path / "s.flow", [session])
    code, _, report = replayed(str(recorded), str(elsewhere), "--fail-on", "newly_refused=0")
    assert (code, report["result"], report["left_out"]) == (0, "kept", {})
    assert report["sorts"]["tunnelled"] == 1

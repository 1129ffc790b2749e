"""The store of a replay: people come from it where it has any; flows that are sent again are calls as any other."""

import asyncio
import json
from pathlib import Path
from typing import Any
from weakref import WeakSet
from xml.etree import ElementTree as Xml

import pytest
from mitmproxy import http
from mitmproxy.tcp import TCPFlow
from typer.testing import CliRunner

from replay.recording import flow, write
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.cli.scripted import ScriptedGateway
from sallyport.proxy.addon import GatewayAddon
from sallyport.proxy.recorded import KEY, VERSION, read_record

RECORD: dict[str, Any] = {
    "version": VERSION,
    "exchange": "x",
    "principal": None,
    "action": "allow",
    "would_be": "allow",
    "stage": "",
    "reason": "",
    "masked": [],
    "findings": None,
    "usage": None,
    "cost": 0,
}


def test_an_audit_log_without_a_directory_knows_nobody_and_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "confdir"
    conf.mkdir()
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(conf))
    Store.open(conf / "audit.db").close()
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nidentity: {unknown: anonymous}\n")
    flows = write(tmp_path / "may.flow", [flow("hello")])
    words = ["replay", str(flows), "--policy", str(policy), "--jobs", "1", "--json"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["flows"] == 1


def test_a_check_that_has_seen_no_flow_fails_on_every_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "confdir"))
    chat = flow("hello")
    untold = TCPFlow(chat.client_conn, chat.server_conn)
    flows = write(tmp_path / "may.flow", [untold])
    paper, page = tmp_path / "replay.xml", tmp_path / "page.html"
    words = ["replay", str(flows), "--policy", "balanced", "--jobs", "1", "--fail-on", "newly_refused=0"]
    done = CliRunner().invoke(
        app, [*words, "--junit", str(paper), "--html", str(page)], catch_exceptions=False
    )
    assert done.exit_code == 1
    assert Xml.parse(paper).getroot()[0].get("failures") == "1"
    assert "no flow was replayed" in page.read_text()


def test_what_shows_the_text_of_flows_is_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "confdir"))
    flows = write(tmp_path / "may.flow", [flow("Write to ann.smith@example.com")])
    words = ["replay", str(flows), "--policy", "balanced", "--jobs", "1", "--content"]
    made = [tmp_path / "report.json", tmp_path / "page.html"]
    words += ["--report", str(made[0]), "--html", str(made[1])]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for path in made:
        assert "ann.smith" in path.read_text()
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("source", "facts", "base", "candidate", "change"),
    [
        ("anonymous", {}, "unknown: anonymous", "unknown: deny", "newly_refused"),
        ("anonymous", {}, "unknown: anonymous", "unknown: anonymous", "same"),
        ("key", {"sources": "key network"}, "unknown: deny", "require: [token]", "newly_refused"),
        ("key", {"sources": "key network"}, "unknown: deny", "require: [key+network]", "same"),
        ("key", {"conflict": "header"}, "conflicts: strongest", "conflicts: deny", "newly_refused"),
    ],
)
def test_a_policy_that_asks_for_more_proof_refuses_whom_the_recording_names_without_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    facts: dict[str, str],
    base: str,
    candidate: str,
    change: str,
) -> None:
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "confdir"))
    who = {"id": "ann", "tenant": "acme", "roles": [], "source": source, "confidence": 1.0}
    made = flow("hello")
    made.metadata[KEY] = RECORD | {"principal": who | {"attributes": [[*pair] for pair in facts.items()]}}
    flows = write(tmp_path / "may.flow", [made])
    words = ["replay", str(flows), "--jobs", "1", "--json"]
    for option, section in (("--against", base), ("--policy", candidate)):
        path = tmp_path / f"{option}.yaml"
        path.write_text(f"version: 1\nidentity: {{{section}}}\n")
        words += [option, str(path)]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["changes"][change] == 1


def test_a_flow_of_a_file_that_is_sent_again_meets_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[str] = []

    class Judges:
        async def judge(self, flow: http.HTTPFlow) -> None:
            met.append("judged")

    def noted(name: str) -> Any:
        async def hook(addon: GatewayAddon, flow: http.HTTPFlow) -> None:
            met.append(name)

        return hook

    for name in ("requestheaders", "request", "response"):
        monkeypatch.setattr(GatewayAddon, name, noted(name))
    gateway = ScriptedGateway.__new__(ScriptedGateway)
    gateway._loaded = Judges()  # type: ignore[assignment]
    gateway._from_file = WeakSet()
    read = flow("hello")

    async def hooks() -> None:
        await gateway.requestheaders(read)
        await gateway.request(read)
        await gateway.response(read)

    read.live = False
    asyncio.run(hooks())
    assert met == ["judged"]
    read.live = True  # as mitmproxy has it when somebody sends the flow again
    asyncio.run(hooks())
    assert met == ["judged", "requestheaders", "request", "response"]


def test_numbers_that_are_none_make_no_record() -> None:
    made = flow("hello")
    made.metadata[KEY] = RECORD
    assert read_record(made) is not None
    made.metadata[KEY] = RECORD | {"cost": float("inf")}
    assert read_record(made) is None

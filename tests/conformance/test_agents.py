"""Claude Code, Codex CLI and Gemini CLI, unmodified, in a network whose only way out is the gateway: a session with a tool.

The model, a stand-in, asks for a tool; the tool reads a file with an address in it; the provider gets it masked, and
the person at the terminal reads the original. Whatever else the programs try to reach is in the ledger.
"""

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from choke.choke_net import Net
from conformance.npm import NODE, node_packages
from e2e.traffic import eventually
from gateways import python_env
from proxy.crossing import UPSTREAM_PORT, Site, sallyport
from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.choke import namespaces

pytestmark = pytest.mark.root

MAIL = "marta.quill@example.com"
NOTE = f"The harbour master is {MAIL} and nobody else.\n"
POLICY = "version: 1\nidentity: {unknown: anonymous}\n"
PROVIDERS = (
    "api.anthropic.com",
    "api.openai.com",
    "chatgpt.com",
    "ab.chatgpt.com",
    "generativelanguage.googleapis.com",
)
OTHERS = (
    "api.github.com",
    "github.com",
    "raw.githubusercontent.com",
    "auth.openai.com",
    "platform.claude.com",
    "downloads.claude.ai",
    "http-intake.logs.us5.datadoghq.com",
    "browser-intake-us5-datadoghq.com",
    "statsig.anthropic.com",
    "www.example.com",
)
"""Names that these programs ask for besides their provider's; they lead to a server that is none of theirs."""
MODULES = NODE / "node_modules"


@dataclass(frozen=True)
class Agent:
    """A program. argv: less what is said; tool, arguments: the call that the model is to ask for.

    provider, endpoint: of the model. beyond: where it asks for more than the model on every start, and is refused; "" for nowhere.
    """

    name: str
    argv: tuple[str, ...]
    tool: str
    arguments: Mapping[str, str]
    provider: str
    endpoint: str
    beyond: str
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


AGENTS = (
    Agent(
        "claude-code",
        (
            str(MODULES / "@anthropic-ai/claude-code-linux-x64/claude"),
            *("--model", "claude-lab", "--allowedTools", "Read", "--output-format", "json", "-p"),
        ),
        "Read",
        {"file_path": "{folder}/notes.txt"},
        "api.anthropic.com",
        "/v1/messages",
        "api.anthropic.com",
        {"ANTHROPIC_API_KEY": "sk-ant-test-EXAMPLE"},
    ),
    Agent(
        "codex",
        (
            str(MODULES / "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"),
            *("exec", "--skip-git-repo-check", "--json", "-m", "gpt-lab", "-s", "danger-full-access"),
        ),
        "exec_command",
        {"cmd": "cat notes.txt"},
        "api.openai.com",
        "/v1/responses",
        "chatgpt.com",
        {},
        {".codex/auth.json": json.dumps({"OPENAI_API_KEY": "sk-test-EXAMPLE"})},
    ),
    Agent(
        "gemini-cli",
        (
            shutil.which("node") or "node",
            str(MODULES / "@google/gemini-cli/bundle/gemini.js"),
            *("--skip-trust", "-y", "-m", "gemini-lab", "-p"),
        ),
        "read_file",
        {"file_path": "{folder}/notes.txt"},
        "generativelanguage.googleapis.com",
        "/v1beta/models/{model}:streamGenerateContent",
        "",
        {"GEMINI_API_KEY": "AIza-test-EXAMPLE"},
    ),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lacking = "" if namespaces.permitted() else "needs root and network namespaces"
    lacking = lacking or ("" if node_packages() else "npm is missing")
    if lacking:
        reason = f"{lacking}: Claude Code, Codex and Gemini CLI are NOT tested"
        if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    with _network(tmp_path_factory.mktemp("agents")) as built, sallyport(built, POLICY):
        built.net.apply()
        yield built


@contextmanager
def _network(folder: Path) -> Iterator[Site]:
    """Build the namespaces, with the lab as every provider, and as every other name on a second address."""
    record, authority = folder / "record.jsonl", folder / "lab"
    authority.mkdir(parents=True)
    with namespaces.lab(PROVIDERS, elsewhere=OTHERS) as built:
        net = Net(built)
        command = [sys.executable, "-m", "sallyport.lab", "--json", "--port", str(UPSTREAM_PORT)]
        command += ["--dir", str(authority), "--record", str(record)]
        for host in (
            namespaces.UPSTREAM_V4,
            namespaces.UPSTREAM_V6,
            namespaces.ELSEWHERE_V4,
            namespaces.ELSEWHERE_V6,
        ):
            command += ["--host", host]
        lab = built.exec(built.upstream, command, env=python_env(), stdout=subprocess.PIPE)
        assert lab.stdout is not None
        said = json.loads(lab.stdout.readline())
        try:
            yield Site(net, folder, record, Path(said["ca"]))
        finally:
            net.close()


def _run(site: Site, agent: Agent) -> tuple[str, list[Event], list[dict[str, Any]]]:
    """Let an agent work; return what it printed, the audit's new events and what reached the lab meanwhile."""
    home, folder = site.folder / agent.name, site.folder / f"{agent.name}-work"
    for made in (home, folder):
        made.mkdir()
    (folder / "notes.txt").write_text(NOTE)
    for name, text in agent.files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    given = {name: value.format(folder=folder) for name, value in agent.arguments.items()}
    ca = str(site.ca)
    env = {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "NODE_EXTRA_CA_CERTS": ca,
        "SSL_CERT_FILE": ca,
        **agent.env,
    }
    events, arrivals = len(site.events()), len(site.arrivals())
    said = f"Please call {agent.tool} with {json.dumps(given)} and tell me what it says."
    argv = ("env", "-C", str(folder), *agent.argv, said)
    ran = site.net.lab.run(site.net.lab.client, argv, env, timeout_s=100)
    assert ran.returncode == 0, (ran.stdout[-1500:], ran.stderr[-1500:])
    eventually(lambda: not _open(site.events()[events:]), 30, "every exchange has its end")
    return ran.stdout, site.events()[events:], site.arrivals()[arrivals:]


def _open(events: list[Event]) -> set[str]:
    exchanges = {e.exchange for e in events if e.exchange and e.kind is EventKind.ADMITTED}
    return exchanges - {e.exchange for e in events if e.kind in END_KINDS}


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_an_agents_session_with_a_tool_is_masked_upstream_and_whole_at_the_terminal(
    site: Site, agent: Agent
) -> None:
    printed, events, arrivals = _run(site, agent)
    assert f"The harbour master is {MAIL} and nobody else." in printed
    assert "EMAIL_ADDRESS_" not in printed

    bodies = [str(a.get("body", "")) for a in arrivals if a.get("host") == agent.provider]
    assert any("EMAIL_ADDRESS_" in body and "harbour master" in body for body in bodies)
    assert not [a for a in arrivals if MAIL in json.dumps(a)]

    turns = [e for e in events if e.kind is EventKind.COMPLETED and e.endpoint == agent.endpoint and e.model]
    assert len(turns) >= 2
    assert any(e.reason == "masking.masked" for e in turns)
    # Nothing but the provider's own endpoints was let in; everything else was cut, refused or passed on unread.
    ends = [e for e in events if e.kind not in (EventKind.ADMITTED, EventKind.STARTED)]
    passed = {(e.host, e.endpoint) for e in ends if e.kind in (EventKind.COMPLETED, EventKind.BROKEN)}
    assert passed <= {(agent.provider, agent.endpoint)}
    assert {e.kind for e in ends} <= {
        EventKind.COMPLETED,
        EventKind.BROKEN,
        EventKind.REFUSED,
        EventKind.TUNNELLED,
        EventKind.CONNECTION_REFUSED,
    }
    refused = {e.host for e in ends if e.reason == "access.unknown_endpoint"}
    assert refused >= ({agent.beyond} if agent.beyond else set())
    told = {e.host for e in ends}
    assert {str(a["sni"]) for a in arrivals if a.get("sni")} <= told

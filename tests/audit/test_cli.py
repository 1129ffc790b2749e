"""`sallyport audit`: finds, explains, and shows nothing that a terminal would obey."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from audit.samples import event
from sallyport.audit.events import DecisionRecord, Event, EventKind, FindingRecord
from sallyport.audit.store import Store
from sallyport.cli.audit import app
from sallyport.decision import Action, Kind, Mode, Severity
from sallyport.errors import OperatorError
from sallyport.exchange import Surface, Usage

PAYLOADS = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "line\nbreak",
    "carriage\rreturn",
    "back\b\b\bspace",
    "tab\there",
    "nul\0byte",
    "[red]markup[/red]",
    "[link=https://evil.example]x[/link]",
    "[/]",
    ":skull:",
    "right\u202eleft",
    "zero\u200bwidth",
    "line\u2028separator",
    "\ud800surrogate",
    "\U000e0041tag",
    "=cmd|'/c calc'!A1",
    "a" * 10_000,
]

DECISIONS = (
    DecisionRecord("identity", Action.ALLOW, "identity.header", Mode.ENFORCE, 12),
    DecisionRecord(
        "secrets",
        Action.DENY,
        "secrets.found",
        Mode.ENFORCE,
        345,
        (
            FindingRecord(
                "secrets.ai.openai",
                Kind.SECRET,
                "OPENAI_KEY",
                Severity.CRITICAL,
                1.0,
                Surface.TOOL_RESULT,
                3,
                10,
                61,
            ),
            FindingRecord(
                "secrets.ai.openai", Kind.SECRET, "OPENAI_KEY", Severity.CRITICAL, 0.5, None, None, 1, 2
            ),
        ),
        7,
    ),
)


Run = Callable[..., Result]
Write = Callable[..., None]


def invoke(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--confdir", str(folder)])


def store_events(folder: Path, *told: Event) -> None:
    store = Store.open(folder / "audit.db")
    store.write(told)
    store.close()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    store_events(tmp_path)
    return lambda *arguments: invoke(tmp_path, *arguments)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return lambda *told: store_events(tmp_path, *told)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")


def test_list_shows_the_newest_first(run: Run, write: Write) -> None:
    write(event(exchange="e1", principal="ann"), event(EventKind.REFUSED, "e2", principal="bob"))
    lines = run("list").output.splitlines()
    assert "principal" in lines[0]
    assert "bob" in lines[1]
    assert "refused" in lines[1]
    assert "ann" in lines[2]


def test_list_of_nothing_says_so(run: Run) -> None:
    result = run("list")
    assert result.exit_code == 0
    assert "No such event" in result.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--since", "1h"), ("new", "refused", "watched")),
        (("--kind", "refused"), ("refused",)),
        (("--principal", "ann"), ("new", "old")),
        (("--decision", "refused"), ("refused",)),
        (("--decision", "would-refuse"), ("watched",)),
        (("--limit", "1"), ("watched",)),
        (("--principal", "ann", "--since", "1h"), ("new",)),
    ],
    ids=lambda words: " ".join(words),
)
def test_list_filters(run: Run, write: Write, arguments: tuple[str, ...], expected: tuple[str, ...]) -> None:
    write(
        event(exchange="old", principal="ann", at=datetime.now(UTC) - timedelta(hours=2)),
        event(exchange="new", principal="ann"),
        event(EventKind.REFUSED, "refused", principal="bob"),
        event(exchange="watched", action=Action.ALLOW, would_be=Action.DENY),
    )
    lines = run("list", "--json", *arguments).output.splitlines()
    assert {json.loads(line)["exchange"] for line in lines} == set(expected)


def test_show_explains_a_decision_from_beginning_to_end(run: Run, write: Write) -> None:
    refused = event(
        EventKind.REFUSED,
        "exchange-1",
        principal="ann",
        tenant="acme",
        source="header",
        confidence=0.5,
        client="10.0.0.7",
        client_mode="transparent",
        credential="fp-1",
        host="api.openai.com",
        connected_to="127.0.0.1:8443",
        provider="openai",
        dialect="openai_chat",
        operation="chat",
        model="gpt-4o",
        endpoint="/v1/chat/completions",
        action=Action.DENY,
        would_be=Action.DENY,
        stage="secrets",
        reason="secrets.found",
        policy_revision="pol-1",
        rules_revision="rul-1",
        decisions=DECISIONS,
        status=403,
    )
    write(refused)
    shown = run("show", "exchange-1").output
    for expected in (
        "ann (header, confidence 0.50, tenant acme)",
        "10.0.0.7 (transparent)",
        "api.openai.com, in fact 127.0.0.1:8443",
        "openai / openai_chat / chat",
        "/v1/chat/completions",
        "gpt-4o",
        "secrets secrets.found",
        "pol-1",
        "rul-1",
        "OPENAI_KEY  critical  2 found",
        "segment 3 (tool_result) 10-61",
        "segment ? 1-2",
        "and 7 more findings",
        "status 403",
    ):
        assert expected in shown
    assert "no end yet" not in shown


def test_show_tells_what_happened_afterwards(run: Run, write: Write) -> None:
    admitted = event(exchange="e1", decisions=DECISIONS[:1], action=Action.ALLOW, would_be=Action.DENY)
    write(admitted)
    assert "no end yet" in run("show", admitted.id[:18]).output
    usage = Usage(input=10, cache_read=4, output=3)
    write(admitted.followed_by(EventKind.COMPLETED, status=200, usage=usage, duration_us=1500))
    shown = run("show", admitted.id[:18]).output
    assert "allow (would deny)" in shown
    assert "completed   status 200; tokens: 10 input, 4 cache read, 3 output; 1.5 ms" in shown
    lines = run("show", "e1", "--json").output.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["admitted", "completed"]
    assert json.loads(lines[1])["usage"]["cache_read"] == 4


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: ascii(payload[:20]))
@pytest.mark.parametrize("command", [("list",), ("show", "e1"), ("list", "--json")], ids=" ".join)
def test_nothing_a_client_sends_reaches_the_terminal_raw(
    tmp_path: Path, payload: str, command: tuple[str, ...]
) -> None:
    shown: dict[str, str] = {}
    for text in ("plain", payload):
        told = event(
            exchange="e1", principal=text, tenant=text, source=text, model=text, host=text, client=text
        )
        folder = tmp_path / str(len(shown))
        store_events(folder, told)
        result = invoke(folder, *command)
        assert result.exit_code == 0
        shown[text] = result.output
    assert all(c.isprintable() for c in shown[payload].replace("\n", ""))
    if len(payload) < 100:
        assert len(shown[payload].splitlines()) == len(shown["plain"].splitlines())
    if payload[0] in "[:":
        assert payload in shown[payload]


@pytest.mark.parametrize(
    ("arguments", "words", "exit_code"),
    [
        (("show", "nope"), "no event or exchange id", 2),
        (("list", "--since", "yesterday"), "neither an age nor a time", 2),
        (("list", "--store", "mysql://x/y"), "no known database", 2),
        (("list", "--store", "/nowhere/audit.db"), "audit store sqlite:/nowhere/audit.db: is not there", 3),
        (("list", "--store", "/nowhere/\udcff"), "--store: it is not UTF-8", 2),
    ],
)
def test_errors_are_for_the_operator(
    run: Run, arguments: tuple[str, ...], words: str, exit_code: int
) -> None:
    error = run(*arguments).exception
    assert isinstance(error, OperatorError)
    assert words in str(error)
    assert error.exit_code == exit_code


def test_the_confdir_comes_from_the_environment(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(event(exchange="e1", principal="ann"))
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path))
    assert "ann" in CliRunner().invoke(app, ["list"]).output


def test_the_command_loads_neither_the_proxy_nor_the_recognisers() -> None:
    program = (
        "import sys, sallyport.cli.audit\n"
        "print([m for m in ('mitmproxy', 'presidio_analyzer', 'spacy', 'psycopg') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, timeout=60
    )
    assert found.stdout.strip() == b"[]"

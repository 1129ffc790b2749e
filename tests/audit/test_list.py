"""`sallyport audit list` on terminals of any width, and the words of --decision."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from audit.samples import event
from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.cli.audit import _table, app
from sallyport.decision import Action
from sallyport.errors import OperatorError

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


def told(model: str = "claude-sonnet-4-5-20250929", *, host: str = "api.anthropic.com") -> list[Event]:
    return [
        event(
            EventKind.REFUSED,
            f"e{number}",
            at=AT,
            principal="somebody-else",
            host=host,
            model=model,
            action=Action.DENY,
            would_be=Action.DENY,
            reason="secrets.found",
        )
        for number in range(3)
    ]


def shown(found: Sequence[Event], width: int) -> list[str]:
    console = Console(width=width, highlight=False, markup=False, emoji=False, color_system=None)
    with console.capture() as captured:
        console.print(_table(found, console))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 90, 100, 109])
def test_a_narrow_terminal_gets_one_line_for_each_event(width: int) -> None:
    lines = shown(told(), width)
    assert len(lines) == 4
    assert all(line.strip() and len(line) <= width for line in lines)
    assert lines[0].split()[-2:] == ["decision", "reason"]
    assert all(re.search(r"\bdeny\s+secrets\.found", line) for line in lines[1:])


@pytest.mark.parametrize(
    ("width", "host", "model", "columns"),
    [
        (109, "a.io", "m", "time (UTC) id event principal to model decision reason"),
        (109, "a.io", "m" * 40, "time (UTC) id event principal to decision reason"),
        (109, "api.example.com" * 3, "m" * 40, "time (UTC) id event principal decision reason"),
    ],
)
def test_columns_are_left_out_only_as_needed(width: int, host: str, model: str, columns: str) -> None:
    lines = shown(told(model, host=host), width)
    assert " ".join(lines[0].split()) == columns


def test_the_shortened_id_is_a_beginning_that_show_takes() -> None:
    found = told()
    line = shown(found, 80)[1]
    assert re.search(r" [0-9a-f]{8}-[0-9a-f]{4} ", line)
    assert found[0].id.startswith(line.split()[2])


def test_a_wide_terminal_has_every_column_whole() -> None:
    lines = shown(told(), 200)
    assert "claude-sonnet-4-5-20250929" in lines[1]
    assert "somebody-else" in lines[1]


def test_a_real_terminal_of_eighty_columns_gets_no_blank_row(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "audit.db")
    store.write(told())
    store.close()
    inner, outer = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "COLUMNS": "80",
        "TERM": "dumb",
    }
    command = [sys.executable, "-m", "sallyport", "audit", "list", "--confdir", str(tmp_path)]
    done = subprocess.run(command, stdout=outer, stderr=outer, env=environment, check=True, timeout=60)
    os.close(outer)
    said = os.read(inner, 65536).decode()
    os.close(inner)
    assert done.returncode == 0
    assert len(said.splitlines()) == 4
    assert all(line.strip() for line in said.splitlines())


@pytest.mark.parametrize(
    ("words", "exchanges"),
    [
        (("refused", "refuse", "deny", "denied", "DENY"), {"no"}),
        (("allowed", "allow"), {"yes", "watched"}),
        (("modified", "modify"), {"masked"}),
        (("would-refuse", "would-deny"), {"watched"}),
    ],
)
def test_the_words_of_the_column_and_of_the_option_mean_the_same(
    tmp_path: Path, words: tuple[str, ...], exchanges: set[str]
) -> None:
    store = Store.open(tmp_path / "audit.db")
    store.write(
        [
            event(exchange="yes", action=Action.ALLOW, would_be=Action.ALLOW),
            event(exchange="masked", action=Action.MODIFY, would_be=Action.MODIFY),
            event(EventKind.REFUSED, "no", action=Action.DENY, would_be=Action.DENY),
            event(exchange="watched", action=Action.ALLOW, would_be=Action.DENY),
        ]
    )
    store.close()
    for word in words:
        arguments = ["list", "--json", "--decision", word, "--confdir", str(tmp_path)]
        done = CliRunner().invoke(app, arguments)
        assert set(re.findall(r'"exchange": ?"(\w+)"', done.output)) == exchanges, word


def test_another_word_names_those_there_are() -> None:
    error = CliRunner().invoke(app, ["list", "--decision", "maybe"]).exception
    assert isinstance(error, OperatorError)
    assert error.exit_code == 2
    assert "allowed, modified, refused, would-refuse, would-modify" in str(error)

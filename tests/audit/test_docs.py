"""docs/audit.md names every kind, field, option, outcome and state there is."""

from dataclasses import fields
from pathlib import Path

import pytest
import typer

from sallyport.audit.events import Event, EventKind
from sallyport.audit.log import Health
from sallyport.audit.stored import Outcome
from sallyport.cli.audit import app

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()


def options() -> set[str]:
    group = typer.main.get_command(app)
    commands = group.commands.values()  # type: ignore[attr-defined]
    return {
        name for command in commands for option in command.params for name in option.opts if name[0] == "-"
    }


@pytest.mark.parametrize(
    "name",
    [
        *EventKind,
        *Outcome,
        *(field.name for field in fields(Event) if field.name != "kind"),
        *sorted(options()),
    ],
)
def test_the_page_names(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("health", Health)
def test_the_page_explains_the_state(health: Health) -> None:
    assert f"| {health} |" in PAGE


def test_every_command_has_its_heading() -> None:
    group = typer.main.get_command(app)
    for name in group.commands:  # type: ignore[attr-defined]
        assert f"### `sallyport audit {name}`" in PAGE

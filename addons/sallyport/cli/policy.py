"""`sallyport policy`: check policy files and print their schema. For people, editors and CI."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sallyport.data import rules_dir
from sallyport.errors import OperatorError
from sallyport.policy.catalogue import load_catalogue
from sallyport.policy.load import PRESETS, load_policy, load_preset
from sallyport.policy.review import review
from sallyport.policy.schema import schema_text
from sallyport.policy.sections import Policy

app = typer.Typer(
    help="Check policy files and print their schema.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", readable=False, help="Policy files to check, or observe, balanced, strict."
        ),
    ],
) -> None:
    """Say whether policy files can be used; print every problem. Exit 0 if all can, 2 if not."""
    catalogue = load_catalogue(rules_dir() / "providers")
    today = datetime.now(UTC).date()
    exit_code = 0
    for file in files:
        try:
            policy = _read(file)
        except OperatorError as error:
            typer.echo(str(error), err=True)
            exit_code = max(exit_code, error.exit_code)
            continue
        typer.echo(f"{file}: ok, {policy.mode}, revision {policy.revision}")
        for note in review(policy, catalogue, today):
            typer.echo(f"{file}: note: {note}")
    raise typer.Exit(exit_code)


def _read(file: Path) -> Policy:
    """Read a policy as `sallyport run --policy` does: a preset unless a file has its name."""
    if str(file) in PRESETS and not file.exists():
        return load_preset(str(file))
    return load_policy(file)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy file."""
    typer.echo(schema_text(), nl=False)

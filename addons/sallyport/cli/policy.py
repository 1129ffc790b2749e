"""`sallyport policy`: check policy files and print their schema. For people, editors and CI."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sallyport.data import rules_dir
from sallyport.errors import OperatorError
from sallyport.policy.catalogue import load_catalogue
from sallyport.policy.load import load_policy
from sallyport.policy.review import review
from sallyport.policy.schema import schema_text

app = typer.Typer(help="Check policy files and print their schema.", no_args_is_help=True)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policy files to check.")],
) -> None:
    """Say whether policy files can be used; print every problem. Exit 0 if all can, 2 if not."""
    catalogue = load_catalogue(rules_dir() / "providers")
    today = datetime.now(UTC).date()
    exit_code = 0
    for file in files:
        try:
            policy = load_policy(file)
        except OperatorError as error:
            typer.echo(str(error), err=True)
            exit_code = max(exit_code, error.exit_code)
            continue
        typer.echo(f"{file}: ok, {policy.mode}, revision {policy.revision}")
        for note in review(policy, catalogue, today):
            typer.echo(f"{file}: note: {note}")
    raise typer.Exit(exit_code)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy file."""
    typer.echo(schema_text(), nl=False)

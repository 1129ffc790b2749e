"""`sallyport policy`: check and test policies, ask what they say. For people, editors and CI."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sallyport.cli.detection import places_of, read_policy
from sallyport.cli.policyexplain import explain
from sallyport.cli.policytest import run_cases
from sallyport.cli.policyversions import diff, drift, history, rollback
from sallyport.data import policies_dir, rules_dir
from sallyport.errors import OperatorError
from sallyport.policy.catalogue import Catalogue, load_catalogue
from sallyport.policy.layering import TenantFile
from sallyport.policy.load import PRESETS, validate
from sallyport.policy.references import Doubt, doubts, parameter_doubts, tenant_doubts, unseen
from sallyport.policy.review import review
from sallyport.policy.schema import schema_text
from sallyport.policy.sections import Policy
from sallyport.policy.source import read_source
from sallyport.wire.settings import ALIASES, KNOWN

app = typer.Typer(
    help="Check and test policy files, ask what they say of a call, print their schema.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(explain)
app.command("test")(run_cases)
app.command()(diff)
app.command()(history)
app.command()(rollback)
app.command()(drift)


@app.command()
def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", readable=False, help="Policy files to check, or observe, balanced, strict."
        ),
    ],
) -> None:
    """Say whether policy files can be used; print every problem. Exit 0 if all can, 2 if not.

    Reads every file that a policy names, as a gateway does before it starts; asks no network and loads no engine.
    """
    from sallyport.cli.parts import make_parts  # with the proxy's parts, which the other commands do not need

    catalogue = load_catalogue(rules_dir() / "providers")
    today = datetime.now(UTC).date()
    exit_code = 0
    for file in files:
        try:
            policy = read_policy(str(file))
            make_parts(policy, catalogue, places_of(str(file)))
            noted = [*_doubts(file, policy, catalogue)]
        except OperatorError as error:
            typer.echo(str(error), err=True)
            exit_code = max(exit_code, error.exit_code)
            continue
        typer.echo(f"{file}: ok, {policy.mode}, revision {policy.revision}")
        for note in review(policy, catalogue, today):
            typer.echo(f"{file}: note: {note}")
        for doubt in noted:
            typer.echo(str(doubt))
    raise typer.Exit(exit_code)


def _doubts(file: Path, policy: Policy, catalogue: Catalogue) -> Iterator[Doubt]:
    """Yield what is not known here: names in the policy and in its tenants' files, and what was not looked at."""
    preset = str(file) in PRESETS and not file.exists()
    source = read_source(policies_dir() / f"{file}.yaml" if preset else file, str(file))
    yield from doubts(policy, catalogue, source)
    yield from parameter_doubts(policy.access, KNOWN, ALIASES, source)
    yield from unseen(policy, source)
    for name in policy.tenants.files.values():
        source = read_source(policy.beside(name), name)
        own = validate(TenantFile, source).access
        if own is not None:
            yield from tenant_doubts(policy, own, catalogue, source)
            yield from parameter_doubts(own, KNOWN, ALIASES, source)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy file."""
    typer.echo(schema_text(), nl=False)

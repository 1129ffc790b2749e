"""`sallyport policy`: check and test policies, ask what they say. For people, editors and CI."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sallyport.cli.policyexplain import explain
from sallyport.cli.policytest import run_cases
from sallyport.data import policies_dir, rules_dir
from sallyport.errors import OperatorError
from sallyport.policy.catalogue import Catalogue, load_catalogue
from sallyport.policy.layering import TenantFile
from sallyport.policy.load import PRESETS, load_policy, load_preset, validate
from sallyport.policy.references import Doubt, doubts, tenant_doubts
from sallyport.policy.review import review
from sallyport.policy.schema import schema_text
from sallyport.policy.sections import Policy
from sallyport.policy.source import read_source

app = typer.Typer(
    help="Check and test policy files, ask what they say of a call, print their schema.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(explain)
app.command("test")(run_cases)


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
            noted = [*_doubts(file, policy, catalogue)]
            _check_recognisers(policy)
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


def _read(file: Path) -> Policy:
    """Read a policy as `sallyport run --policy` does: a preset unless a file has its name."""
    if str(file) in PRESETS and not file.exists():
        return load_preset(str(file))
    return load_policy(file)


def _doubts(file: Path, policy: Policy, catalogue: Catalogue) -> Iterator[Doubt]:
    """Yield names that nothing knows, in the policy and in the files of its tenants."""
    preset = str(file) in PRESETS and not file.exists()
    yield from doubts(
        policy, catalogue, read_source(policies_dir() / f"{file}.yaml" if preset else file, str(file))
    )
    for name in policy.tenants.files.values():
        source = read_source(policy.beside(name), name)
        own = validate(TenantFile, source).access
        if own is not None:
            yield from tenant_doubts(policy, own, catalogue, source)


def _check_recognisers(policy: Policy) -> None:
    """Read the operator's recognisers as the detector will. Raises OperatorError with file and line."""
    if policy.recogniser_files:
        from sallyport.detect.recogniser_files import read

        for path in policy.recogniser_files:
            for _ in read(path):
                pass


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy file."""
    typer.echo(schema_text(), nl=False)

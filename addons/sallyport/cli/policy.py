"""`sallyport policy`: check and test policies, ask what they say. For people, editors and CI."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from sallyport.cli.detection import places_of, read_policy
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.cli.output import told
from sallyport.cli.patternless import patternless
from sallyport.cli.policybundle import bundle
from sallyport.cli.policyexplain import explain
from sallyport.cli.policypromote import promote
from sallyport.cli.policytest import run_cases
from sallyport.cli.policyversions import diff, drift, history, rollback
from sallyport.data import policies_dir, rules_dir
from sallyport.detect.packs import load
from sallyport.detect.watching.rulefile import load_output
from sallyport.errors import OperatorError
from sallyport.metering.prices import listed_models
from sallyport.policy.catalogue import Catalogue, shipped_catalogue
from sallyport.policy.findingnames import Known, finding_doubts
from sallyport.policy.layering import TenantFile
from sallyport.policy.load import PRESETS, validate
from sallyport.policy.references import (
    Doubt,
    credential_doubts,
    doubts,
    model_doubts,
    parameter_doubts,
    tenant_doubts,
    unseen,
)
from sallyport.policy.review import review
from sallyport.policy.schema import schema_text
from sallyport.policy.sections import Policy
from sallyport.policy.source import Source, read_source
from sallyport.state.directory.credentials import load_credentials
from sallyport.state.directory.store import DirectoryStore
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
app.command()(promote)
app.command()(bundle)
app.command()(drift)


@app.command()
def check(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", readable=False, help="Policy files to check, or observe, balanced, strict."
        ),
    ],
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Say whether policy files can be used; print every problem. Exit 0 if all can, 2 if not.

    Reads every file that a policy names, as a gateway does before it starts; asks no network and loads no engine.
    With --confdir or --store, names of credentials are looked up there.
    """
    source = context.get_parameter_source("confdir")
    in_variable = source is not None and source.name == "ENVIRONMENT"
    if store is None and confdir is not None and in_variable and not (confdir / "audit.db").exists():
        confdir = None  # of a gateway that has not been started yet
    from sallyport.cli.parts import make_parts  # with the proxy's parts, which the other commands do not need

    catalogue = shipped_catalogue()
    today = datetime.now(UTC).date()
    exit_code = 0
    for file in files:
        try:
            policy = read_policy(str(file))
            make_parts(policy, catalogue, places_of(str(file)))
            noted = [*_doubts(file, policy, catalogue)]
            if store is not None or confdir is not None:
                noted += credential_doubts(policy, _credentials(store, confdir), _source(file))
        except OperatorError as error:
            typer.echo(told(error), err=True)
            exit_code = max(exit_code, error.exit_code)
            continue
        typer.echo(told(f"{file}: ok, {policy.mode}, revision {policy.revision}"))
        for note in review(policy, catalogue, today):
            typer.echo(told(f"{file}: note: {note}"))
        for doubt in noted:
            typer.echo(told(doubt))
    raise typer.Exit(exit_code)


def _doubts(file: Path, policy: Policy, catalogue: Catalogue) -> Iterator[Doubt]:
    """Yield what is not known here: names in the policy and in its tenants' files, and what was not looked at."""
    source, known = _source(file), cache(lambda: _known(policy))
    yield from finding_doubts(policy, known, source)
    yield from doubts(policy, catalogue, source)
    yield from parameter_doubts(policy.access, KNOWN, ALIASES, source)
    yield from model_doubts(policy, source)
    yield from unseen(policy, source)
    for name in policy.tenants.files.values():
        source = read_source(policy.beside(name), name)
        theirs = validate(TenantFile, source)
        yield from finding_doubts(theirs, known, source)
        yield from model_doubts(theirs, source)
        own = theirs.access
        if own is not None:
            yield from tenant_doubts(policy, own, catalogue, source)
            yield from parameter_doubts(own, KNOWN, ALIASES, source)


def _source(file: Path) -> Source:
    preset = str(file) in PRESETS and not file.exists()
    return read_source(policies_dir() / f"{file}.yaml" if preset else file, str(file))


def _known(policy: Policy) -> Known:
    """Return what rules, trained models and the operator's recognisers find, and the models with a price."""
    found: list[tuple[str, str]] = [(each.id, each.entity) for each in patternless()]
    found += [(rule.id, rule.entity) for rule in load(rules_dir()).rules]
    found += [(rule.id, rule.entity) for rule in load_output(rules_dir()).rules]
    for path in policy.recogniser_files:
        from sallyport.detect.recogniser_files import read  # with Presidio: seconds

        found += [(f"pii.custom.{e}", e) for _, made in read(path) for e in made.supported_entities]
    rules, entities = zip(*found, strict=True)
    return Known(frozenset(rules), frozenset(entities), listed_models())


def _credentials(store: str | None, confdir: Path | None) -> frozenset[str]:
    """Return the names of the credentials of a gateway. Raises OperatorError where there is no directory."""
    opened = DirectoryStore.open(store_address(store, confdir), create=False)
    try:
        with opened.read() as connection:
            return frozenset(stored.name for stored in load_credentials(connection))
    finally:
        opened.close()


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy file."""
    typer.echo(schema_text(), nl=False)

"""The subcommands of `sallyport directory`."""

import typer

from sallyport.cli.directory import checks, importing, people, readers, tenants
from sallyport.cli.directory.opening import opened_for_change
from sallyport.cli.options import ConfdirOption, StoreOption


def prepare(store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """Make the tables of audit and directory, or bring them up to date; needs the owner's rights, once."""
    with opened_for_change(store, confdir) as opened:
        typer.echo(f"{opened.name}: ready")


app = typer.Typer(
    help="Who is who: people and tenants, by hand and by import.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.add_typer(people.app, name="people")
app.add_typer(tenants.app, name="tenants")
app.add_typer(readers.app, name="readers")
app.command("import")(importing.import_people)
app.command()(importing.export)
app.command()(checks.roles)
app.command()(checks.check)
app.command()(prepare)

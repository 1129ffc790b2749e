"""The subcommands of `sallyport keys`."""

import typer

from sallyport.cli.keys import issuing, listing, owning

app = typer.Typer(
    help="Which credentials are used and whose they are; gateway keys in place of real ones.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("list")(listing.list_keys)
app.command()(listing.show)
app.command()(owning.claim)
app.command()(owning.retire)
app.command()(owning.unretire)
app.command()(owning.personal)
app.command()(issuing.issue)
app.command()(issuing.rotate)
app.command()(issuing.revoke)

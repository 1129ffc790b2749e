"""`sallyport demo`: official SDKs through a real gateway, against stand-in providers."""

from typing import Annotated

import typer

from sallyport.cli.gatewaykey import gateway_key
from sallyport.demo import play


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object instead of text.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running and say how to try it by hand, until Ctrl-C.")
    ] = False,
    transparent: Annotated[
        bool,
        typer.Option(
            "--transparent",
            help="Use network namespaces and an nftables redirect, and no proxy variables (root).",
        ),
    ] = False,
) -> None:
    """Run a scenario and show, for each call, what left, what came back, and who decided why.

    Exit 0 if every step was as expected, 1 if not.
    """
    raise typer.Exit(play(as_json=as_json, keep=keep, transparent=transparent, gateway_key=gateway_key))

"""`sallyport audit forward`: the log to a SIEM, as it grows."""

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from sallyport.audit.forwarding.cursor import Cursor, only_one
from sallyport.audit.forwarding.forwarder import Forwarder
from sallyport.audit.forwarding.receivers import LINES, Access, receiver
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import TokenOption, open_to_read
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir

TOKEN_VARIABLE = "SALLYPORT_FORWARD_TOKEN"


def forward(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of the receiver; under it is noted how far it has got."),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="ADDRESS",
            help="syslog+tls://HOST:6514, syslog+tcp://, hec+https://, otlp+https://, file:///PATH or -.",
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            metavar="|".join([*LINES, "otlp"]), help="How events are spelt. [default: jsonl; otlp for OTLP]"
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help=f"Token of HEC or OTLP; or in {TOKEN_VARIABLE}."),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", metavar="FILE", help="PEM of the receiver's authority.")
    ] = None,
    client_cert: Annotated[
        Path | None, typer.Option("--client-cert", metavar="FILE", help="PEM to show to the receiver.")
    ] = None,
    client_key: Annotated[
        Path | None,
        typer.Option("--client-key", metavar="FILE", help="PEM of its key, if it is in another file."),
    ] = None,
    tenant: Annotated[str, typer.Option(metavar="ID", help="Only events of this tenant.")] = "",
    names: Annotated[
        bool,
        typer.Option(
            "--names", help="Name people whom events hold by pseudonyms. What was sent, no erasure reaches."
        ),
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Send what is there and end.")] = False,
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Send events to a receiver, oldest first, and go on as the log grows; ends with SIGTERM or Ctrl-C.

    At least once: a receiver that was not there, or did not answer, gets the same events again. Events have ids.
    """
    if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
        raise OperatorError("NAME", "it is no name", "Use up to 64 letters, digits, - and _")
    home = confdir or default_confdir()
    cursor = Cursor(home / "forward" / f"{name}.json")
    kind = format or ("otlp" if to.startswith("otlp+") else "jsonl")
    access = Access(_token(token_file), ca_file, client_cert, client_key)
    with only_one(cursor.path):
        cursor.read()
        forwarder = Forwarder(
            lambda: open_to_read(store, confdir, None, tenant_token, names=names),
            receiver(to, kind, access),
            cursor,
            tenant,
            lambda text: typer.echo(f"{name}: {text}", err=True),
        )
        before = {
            number: signal.signal(number, lambda *_: forwarder.stopping.set())
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            forwarder.run(once=once)
        except BrokenPipeError:
            raise typer.Exit(141) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    typer.echo(f"{name}: {forwarder.sent} events sent.", err=True)


def _token(path: Path | None) -> str:
    where = TOKEN_VARIABLE if path is None else "--token-file"
    try:
        token = os.environ.get(TOKEN_VARIABLE, "") if path is None else path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if path is None and not token:
        return ""
    if not token or not token.isprintable() or not token.isascii():
        raise OperatorError(where, "no token can be read there", "Put the token into it, on one line")
    return token

"""Options that several commands read alike."""

from pathlib import Path
from typing import Annotated

import typer

from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir


def folder(text: str) -> Path:
    """Return the folder that --confdir names. Raises OperatorError for an empty text, which is no folder.

    An empty text comes from a variable that was never set; read as a path it is the current folder.
    """
    if not text.strip():
        raise OperatorError(
            "--confdir", "it is empty", "Name a folder, or leave the option out for $SALLYPORT_CONFDIR."
        )
    return Path(text).expanduser()


def store_address(store: str | None, confdir: Path | None) -> str:
    """Return the URL or file of the store that a command means. Raises OperatorError for bytes that are no text."""
    address = store or str((confdir or default_confdir()) / "audit.db")
    try:
        address.encode()
    except UnicodeEncodeError:
        option = "--store" if store else "--confdir"
        raise OperatorError(
            option, "it is not UTF-8", "Give a URL, or a folder and file named in UTF-8"
        ) from None
    return address


StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="URL or file of the audit store; default: audit.db in the confdir."),
]
ConfdirOption = Annotated[
    Path | None,
    typer.Option(
        "--confdir",
        parser=folder,
        metavar="FOLDER",
        envvar="SALLYPORT_CONFDIR",
        help="Folder of this gateway; default: ~/.sallyport.",
    ),
]

"""Whose events a command may read: everybody's, one tenant's, or what a reader's token allows.

In PostgreSQL the server decides by roles and row-level security. In SQLite these checks bind who is let in
through this command line only; who can open the file can read it.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sallyport.audit.store import Store
from sallyport.audit.text import printable
from sallyport.cli.options import store_address
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.sql.engines import Sqlite, database
from sallyport.state.content.keys import SubjectKeys, keys_address
from sallyport.state.content.people import Names
from sallyport.state.directory.readers import EVERY_TENANT, Reader, reader_of, reading_needs_token
from sallyport.state.directory.store import DirectoryStore, NoDirectoryThere
from sallyport.state.masterkey import MasterKeys

TOKEN_VARIABLE = "SALLYPORT_READER_TOKEN"

TenantOption = Annotated[str | None, typer.Option("--tenant", help="Only events of this tenant.")]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--tenant-token",
        metavar="FILE",
        help=f"File with a reader's token, from `sallyport directory readers issue`; or ${TOKEN_VARIABLE}.",
    ),
]


def open_to_read(
    store: str | None,
    confdir: Path | None,
    tenant: str | None = None,
    token: Path | None = None,
    *,
    names: bool = True,
) -> Store:
    """Open the audit with the scope that tenant and token give. Raises OperatorError where they give none.

    names: whether people are named where events hold pseudonyms, as far as the keys are here.
    """
    url = store_address(store, confdir)
    opened = Store.open(url, create=False, tenant=_scope(url, tenant, _token(token)))
    opened.names = names_here(confdir) if names else None
    return opened


def names_here(confdir: Path | None, tell: Callable[[str], None] | None = None) -> Names:
    """Return who pseudonyms stand for, by the keys that a folder and the environment lead to. close() it.

    tell: gets a sentence when names cannot be told; None prints it.
    """
    masters = MasterKeys(confdir or default_confdir())
    keys = SubjectKeys(keys_address(masters), masters)
    return Names(
        lambda: keys if masters.is_configured else None,
        tell or (lambda text: typer.echo(printable(text), err=True)),
        keys.close,
    )


def scope_of(store: str | None, confdir: Path | None, tenant: str | None, token: Path | None) -> str | None:
    """Return whose events may be read, None for all: the tenant that is wanted or, where none is, the token's.

    Raises OperatorError where they give none.
    """
    url = store_address(store, confdir)
    scope = _scope(url, tenant, _token(token))
    Store.open(url, create=False, tenant=scope).close()
    return scope


def _token(file: Path | None) -> str:
    """Return the token. It comes from a file or a variable: command lines are visible to everybody."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise OperatorError(
            "--tenant-token", "the file cannot be read", "Name a file that holds the token."
        ) from None


def _scope(url: str, tenant: str | None, token: str) -> str | None:
    at = database(url, None, 1.0)
    at.writer.dispose()
    at.reader.dispose()
    if not isinstance(at, Sqlite):
        if token:
            raise OperatorError(
                "--tenant-token",
                "PostgreSQL knows who reads by its roles",
                "Connect as a role that was granted the tenant: sallyport directory readers grant.",
            )
        return tenant
    reader, required = _asked(url, token)
    if not token:
        if required:
            raise OperatorError(
                "--tenant-token",
                "reading this store needs a right",
                f"Give a reader's token with --tenant-token or {TOKEN_VARIABLE}.",
            )
        return tenant
    if reader is None or not reader.holds(datetime.now(UTC)):
        raise OperatorError(
            "--tenant-token",
            "the token is not known, has expired or was revoked",
            "Ask the operator for one: sallyport directory readers issue.",
        )
    if tenant is not None and not reader.may_read(tenant):
        raise OperatorError(
            "--tenant",
            f"the token is for tenant {printable(reader.tenant)}",
            "Leave --tenant out, or ask the operator for a token of that tenant.",
        )
    return tenant if reader.tenant == EVERY_TENANT else reader.tenant


def _asked(url: str, token: str) -> tuple[Reader | None, bool]:
    """Return the reader of a token, and whether one is needed. A store without a directory needs none."""
    try:
        opened = DirectoryStore.open(url, create=False)
    except NoDirectoryThere:
        return None, False
    except OperatorError as error:
        where = error.where.replace("directory ", "audit store ", 1)  # nobody asked for people
        raise OperatorError(where, error.what, error.todo, exit_code=error.exit_code) from None
    try:
        with opened.read() as connection:
            return (reader_of(connection, token) if token else None), reading_needs_token(connection)
    finally:
        opened.close()

"""`sallyport directory readers`: who may read the events of a tenant, and of all.

In PostgreSQL by roles, which the server enforces; in SQLite by tokens, which this command line asks for.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from sallyport.audit.text import printable
from sallyport.cli.directory import grants
from sallyport.cli.directory.opening import changing, note, opened_for_change, reading
from sallyport.cli.moments import end_or_never
from sallyport.cli.operator import operator
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.errors import OperatorError
from sallyport.sql.engines import Sqlite, database
from sallyport.state.directory import readers
from sallyport.state.directory.people import load_tenants

app = typer.Typer(
    help="Who may read the events of a tenant.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

TenantArgument = Annotated[
    str, typer.Argument(metavar="TENANT", help="Whose events; * for all, tokens only.")
]
RoleArgument = Annotated[str, typer.Argument(metavar="ROLE", help="A role of the PostgreSQL server.")]
ExecuteOption = Annotated[
    bool, typer.Option("--execute", help="Run the SQL, as the owner of the tables, instead of printing it.")
]


@app.command()
def grant(
    tenant: TenantArgument,
    role: RoleArgument,
    execute: ExecuteOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """PostgreSQL: let a role read the events of one tenant, and no other row of any table."""
    with _postgres(store, confdir, execute) as connection:
        _check_tenant(connection, tenant)
        statements = grants.for_tenant(tenant, role, grants.present_schema(connection))
        _put(connection, role, statements, execute, "grant", tenant)


@app.command()
def duty(
    duty: Annotated[grants.Duty, typer.Argument(help="gateway: adds events; operator: keeps the directory.")],
    role: RoleArgument,
    execute: ExecuteOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """PostgreSQL: give a role what a gateway or an operator needs. Neither can change or remove an event."""
    with _postgres(store, confdir, execute) as connection:
        statements = grants.for_duty(duty, role, grants.present_schema(connection))
        _put(connection, role, statements, execute, f"grant_{duty}", "")


@app.command()
def withdraw(
    role: RoleArgument,
    execute: ExecuteOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """PostgreSQL: take everything from a role again."""
    with _postgres(store, confdir, execute) as connection:
        statements = grants.withdrawal(connection, role, grants.present_schema(connection))
        _put(connection, role, statements, execute, "withdraw", "")


@app.command()
def issue(
    tenant: TenantArgument,
    expires: Annotated[str, typer.Option(help="When it ends: 90d, or a UTC time; never.")] = "90d",
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """SQLite: print a token for reading a tenant's events, this once."""
    _only_sqlite(store, confdir)
    now = datetime.now(UTC)
    with changing(store, confdir, part="readers", detail="issue", tenant=tenant) as connection:
        if tenant != readers.EVERY_TENANT:
            _check_tenant(connection, tenant)
        reader, token = readers.issue(
            connection, tenant, operator(), now, end_or_never("--expires", expires, now)
        )
    typer.echo(f"{reader.id}: keep this token, it is shown once", err=True)
    typer.echo(token)


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `readers list` names it.")],
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """SQLite: let a token hold no more."""
    with changing(store, confdir, part="readers", detail="revoke") as connection:
        if not readers.revoke(connection, id):
            raise OperatorError(
                "ID", "there is no such reader", "List them: sallyport directory readers list"
            )
    typer.echo("revoked")


@app.command()
def require(
    tokens: Annotated[
        bool, typer.Option("--tokens/--no-tokens", help="Whether reading needs a token.")
    ] = True,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """SQLite: have every command that reads events ask for a token, or let them go without."""
    _only_sqlite(store, confdir)
    detail = "require" if tokens else "free"
    with changing(store, confdir, part="readers", detail=detail) as connection:
        now = datetime.now(UTC)
        if tokens and not any(
            r.tenant == readers.EVERY_TENANT and r.holds(now) for r in readers.load_readers(connection)
        ):
            raise OperatorError(
                "readers",
                "nobody could read everything any more",
                "First: sallyport directory readers issue '*'",
            )
        readers.require_tokens(connection, tokens)
    typer.echo("reading events needs a token now" if tokens else "events are read without a token now")


@app.command("list")
def list_readers(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one reader a line.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """SQLite: list tokens, without the tokens."""
    _only_sqlite(store, confdir)
    now = datetime.now(UTC)
    with reading(store, confdir) as connection:
        found, required = readers.load_readers(connection), readers.reading_needs_token(connection)
    for reader in found:
        state = "revoked" if reader.revoked else "holds" if reader.holds(now) else "expired"
        end = reader.expires_at.isoformat() if reader.expires_at else None
        if as_json:
            members = {
                "id": reader.id,
                "tenant": reader.tenant,
                "by": reader.by,
                "state": state,
                "expires": end,
            }
            typer.echo(json.dumps(members))
        else:
            typer.echo(
                printable(f"{reader.id}  {reader.tenant}  {state}  until {end or 'revoked'}  by {reader.by}")
            )
    if not as_json:
        typer.echo("Reading events needs a token." if required else "Events are read without a token.")


def _put(
    connection: Connection, role: str, statements: Sequence[str], execute: bool, detail: str, tenant: str
) -> None:
    if not execute:
        typer.echo(
            "-- The role itself: CREATE ROLE ... LOGIN PASSWORD '...'; run this as the owner of the tables."
        )
        typer.echo("BEGIN;")
        for statement in statements:
            typer.echo(f"{statement};")
        typer.echo("COMMIT;")
        return
    grants.check_role(connection, role)
    grants.carry_out(connection, statements)
    note(connection, part="readers", detail=detail, tenant=tenant)
    typer.echo("done")


@contextmanager
def _postgres(store: str | None, confdir: Path | None, execute: bool) -> Iterator[Connection]:
    """Open one change of a PostgreSQL store, or one read to print SQL. Raises OperatorError for any other."""
    if _is_sqlite(store, confdir):
        raise OperatorError(
            "--store",
            "SQLite has no roles",
            "Use: sallyport directory readers issue, or keep the events in PostgreSQL",
        )
    with (
        opened_for_change(store, confdir) as opened,
        opened.change() if execute else opened.read() as connection,
    ):
        try:
            yield connection
        except SQLAlchemyError as error:
            state = getattr(getattr(error, "orig", None), "sqlstate", "") or type(error).__name__
            raise OperatorError(
                "--store", f"the server refused ({state})", "Connect as the owner of the tables.", exit_code=3
            ) from None


def _only_sqlite(store: str | None, confdir: Path | None) -> None:
    if not _is_sqlite(store, confdir):
        raise OperatorError(
            "--store", "PostgreSQL knows who reads by its roles", "Use: sallyport directory readers grant"
        )


def _is_sqlite(store: str | None, confdir: Path | None) -> bool:
    at = database(store_address(store, confdir), None, 1.0)
    at.writer.dispose()
    at.reader.dispose()
    return isinstance(at, Sqlite)


def _check_tenant(connection: Connection, tenant: str) -> None:
    if tenant != "default" and all(each.id != tenant for each in load_tenants(connection)):
        raise OperatorError(
            "TENANT",
            "there is no such tenant",
            "Add it first: sallyport directory tenants add, or mend the name",
        )

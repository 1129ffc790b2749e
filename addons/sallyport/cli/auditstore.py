"""`sallyport audit prune|maintain|roles`: what keeps a store small, and who may do what in it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from sallyport.audit.checkpoints import Unreadable
from sallyport.audit.events import Event, EventKind
from sallyport.audit.maintaining import LACKS_RIGHT, keep_ahead
from sallyport.audit.retention import Pruned
from sallyport.audit.retention import prune as prune_store
from sallyport.audit.schema import SCHEMA_VERSION
from sallyport.audit.signing import KEY_FILE, Signer
from sallyport.audit.store import Store
from sallyport.cli.last_run import policy_in_use, was_run
from sallyport.cli.moments import is_age, moment, passed
from sallyport.cli.operator import act
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.sql.engines import database
from sallyport.sql.failures import cure_of, name_of

_PATIENCE_S = 3600.0
"""For who drops or deletes much."""

_NO_WEEK = datetime(1970, 1, 1, tzinfo=UTC)


def prune(
    before: Annotated[
        str | None,
        typer.Option(
            help="Remove what is older than this: 90d, 26w, or a UTC time; else audit.retention_days of the policy."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Remove old events up to a checkpoint, and sign a statement that says so: the rest still verifies."""
    home = confdir or default_confdir()
    until = _until(before, home)
    if not (home / KEY_FILE).exists():
        raise OperatorError(
            "--confdir",
            f"{home} holds no signing key, and nobody would know a new one",
            "Name the folder of a gateway, or make a key and give it to who verifies: sallyport audit key",
        )
    at = database(store_address(store, confdir), None, _PATIENCE_S)
    try:
        if not at.is_there():
            raise OperatorError(f"audit store {at.name}", "is not there", "Give the right one with --store.")
        with at.reader.connect() as connection:
            version = connection.scalar(text("SELECT version FROM sallyport_schema WHERE part = 'audit'"))
        if version != SCHEMA_VERSION:
            raise OperatorError(
                f"audit store {at.name}",
                f"has schema version {version}, and this Sallyport writes version {SCHEMA_VERSION}",
                "Start the gateway once: it brings its store up to date. Or run as the owner of the tables: "
                "sallyport directory prepare.",
                exit_code=3,
            )
        done = prune_store(at, Signer.of(home), until, _told, dry_run=dry_run)
    except Unreadable as error:
        raise OperatorError(
            f"audit store {at.name}",
            f"{error}: nothing was removed",
            "Look closer: sallyport audit verify",
            exit_code=3,
        ) from None
    except SQLAlchemyError as error:
        raise _refused(at.name, error) from None
    finally:
        at.writer.dispose()
        at.reader.dispose()
    typer.echo(_said(done, until, dry_run))


def maintain(store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """Bring the store to the present schema, and in PostgreSQL make partitions ahead; run it as their owner."""
    url = store_address(store, confdir)
    Store.open(url).close()
    at = database(url, None, _PATIENCE_S)
    try:
        found = keep_ahead(at)
    except SQLAlchemyError as error:
        raise _refused(at.name, error) from None
    finally:
        at.writer.dispose()
        at.reader.dispose()
    if found is None:
        typer.echo("The store is up to date; SQLite has no partitions.")
        return
    until = _NO_WEEK + timedelta(days=found.until)
    typer.echo(f"The store is up to date; partitions are there until {until:%Y-%m-%d}.")
    if found.is_short:
        raise OperatorError(
            f"audit store {at.name}",
            f"partitions end soon, or {found.outside} events lie in none",
            "Run this as the owner of the tables.",
            exit_code=1,
        )


def roles(
    duty: Annotated[
        str,
        typer.Argument(
            metavar="gateway|operator|auditor|pruner",
            help="gateway: adds events; operator: keeps the directory; auditor: reads; pruner: removes what is old.",
        ),
    ],
    role: Annotated[str, typer.Argument(metavar="ROLE", help="A role of the PostgreSQL server.")],
    execute: Annotated[
        bool,
        typer.Option("--execute", help="Run the SQL, as the owner of the tables, instead of printing it."),
    ] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """PostgreSQL: give a role what its duty needs and no more. No duty can change an event."""
    from sallyport.cli.directory import grants, readers

    if duty not in list(grants.Duty):
        raise OperatorError("DUTY", "there is no such duty", f"Choose from: {', '.join(grants.Duty)}.")
    readers.duty(grants.Duty(duty), role, execute, store, confdir)


COMMANDS: dict[str, Callable[..., None]] = {"prune": prune, "maintain": maintain, "roles": roles}


def _until(before: str | None, home: Path) -> datetime:
    if before is not None:
        reckoned = passed(home) if is_age(before) else datetime.now(UTC)
        return moment(before, reckoned, "--before")
    days = None
    if was_run(home):
        from sallyport.cli.detection import read_policy

        days = read_policy(policy_in_use(None, home)).audit.retention_days
    if days is None:
        raise OperatorError(
            "--before",
            "the policy names no audit.retention_days",
            "Say what is old: --before 90d",
        )
    return passed(home) - timedelta(days=days)


def _told() -> Event:
    return act(EventKind.PRUNED, stage="", reason="", detail="")


def _said(done: Pruned | None, until: datetime, dry_run: bool) -> str:
    if done is None:
        return f"No checkpoint of before {until:%Y-%m-%d %H:%M} UTC covers anything that is still there."
    what = "would be removed" if dry_run else "were removed"
    return (
        f"{done.events} events {what}, up to checkpoint {done.checkpoint} of {done.until:%Y-%m-%d %H:%M} UTC."
    )


def _refused(name: str, error: SQLAlchemyError) -> OperatorError:
    state = getattr(getattr(error, "orig", None), "sqlstate", "")
    if state == LACKS_RIGHT:
        return OperatorError(
            f"audit store {name}",
            "this role lacks a right for it",
            "Connect as the owner of the tables, or give the role its duty: sallyport audit roles pruner ROLE",
            exit_code=3,
        )
    return OperatorError(
        f"audit store {name}",
        f"cannot be used ({name_of(error)})",
        f"{cure_of(error, 'Check that it is running and that it is an audit store')}.",
        exit_code=3,
    )

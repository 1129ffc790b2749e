"""What commands on approvals and kill switches share: the policy that binds them, times, and their events."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import Connection

from sallyport.audit.events import EventKind
from sallyport.audit.store import add_within
from sallyport.cli.directory.opening import opened_for_change
from sallyport.cli.last_run import policy_in_use, was_run
from sallyport.cli.moments import is_age, time_to_come
from sallyport.cli.operator import act
from sallyport.errors import OperatorError

if TYPE_CHECKING:
    from sallyport.policy.sections import Policy

PolicyOption = Annotated[
    str | None,
    typer.Option("--policy", help="Policy in force; default: the one this gateway was started with."),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the auditor who asks next year.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one a line.")]


def binding_policy(named: str | None, confdir: Path | None) -> "Policy":
    """Return the policy that says who may approve. Raises OperatorError where nobody knows which that is."""
    if named is None and not was_run(confdir):
        raise OperatorError(
            "--policy",
            "no gateway was started with this folder, so nobody knows who may approve",
            "Give the folder of a gateway with --confdir, or the policy in force with --policy",
        )
    from sallyport.cli.detection import read_policy

    return read_policy(policy_in_use(named, confdir))


def policy_if_known(confdir: Path | None) -> "Policy | None":
    """Return the policy of the gateway of a folder, None where there is none or it cannot be read."""
    from sallyport.cli.detection import read_policy  # takes longer to load than to pull a kill switch

    try:
        return read_policy(policy_in_use(None, confdir)) if was_run(confdir) else None
    except OperatorError:
        return None


@contextmanager
def changing(store: str | None, confdir: Path | None) -> Iterator[Connection]:
    """Open one change of the directory of a gateway that was started. Raises OperatorError."""
    with opened_for_change(store, confdir, before_start=False) as opened, opened.change() as connection:
        yield connection


def note(
    connection: Connection,
    kind: EventKind,
    reason: str,
    detail: str,
    *,
    tenant: str = "",
    exchange: str = "",
    model: str = "",
    provider: str = "",
    credential: str = "",
) -> None:
    """Put the event of an act into the audit, in the transaction of the act."""
    event = act(
        kind,
        stage="access",
        reason=reason,
        detail=detail,
        tenant=tenant,
        exchange=exchange,
        model=model,
        provider=provider,
        credential=credential,
    )
    add_within(connection, [event])


def end_of(text: str, now: datetime) -> datetime:
    """Return the time that --for names, counted from now. Raises OperatorError."""
    todo = "Write for example 30m, 8h or 2d"
    if not is_age(text):
        raise OperatorError("--for", "it is no length of time", todo)
    return time_to_come("--for", text, now, todo)

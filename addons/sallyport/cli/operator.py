"""What an operator does through the command line, put into the audit."""

import getpass
from pathlib import Path

from sallyport.audit.events import Event, EventKind
from sallyport.cli.audit import open_store


def operator() -> str:
    """Return the account that runs this command."""
    return getpass.getuser()


def record(
    store: str | None,
    confdir: Path | None,
    kind: EventKind,
    *,
    stage: str,
    reason: str,
    detail: str,
    tenant: str = "",
) -> None:
    """Write one event of an operator's act, durable when this returns. Raises OperatorError.

    reason: what was acted upon, `limits.per_principal`. detail: the act as a short code, `reset`.
    """
    opened = open_store(store, confdir, write=True)
    try:
        opened.write(
            [
                Event(
                    kind=kind,
                    gateway="cli",
                    principal=operator(),
                    tenant=tenant,
                    source="operator",
                    stage=stage,
                    reason=reason,
                    detail=detail,
                )
            ]
        )
    finally:
        opened.close()

"""What an operator does through the command line, put into the audit."""

import os
import pwd
from pathlib import Path

from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store, StoreUnavailable
from sallyport.cli.options import store_address
from sallyport.errors import OperatorError


def operator() -> str:
    """Return the account that runs this command, as the kernel knows it; of root's commands, who called sudo.

    The environment of anybody else is not believed: it would let one person approve as two.
    """
    account = os.getuid()
    if account == 0 and (caller := os.environ.get("SUDO_USER", "")):
        return caller
    try:
        return pwd.getpwuid(account).pw_name
    except KeyError:
        return f"uid-{account}"


def act(
    kind: EventKind,
    *,
    stage: str,
    reason: str,
    detail: str,
    tenant: str = "",
    exchange: str = "",
    model: str = "",
    provider: str = "",
    credential: str = "",
    policy_revision: str = "",
) -> Event:
    """Return the event of an operator's act, done now by who runs this command.

    reason: what was acted upon, `limits.per_principal`. detail: the act as a short code, `reset`.
    """
    return Event(
        kind=kind,
        gateway="cli",
        principal=operator(),
        source="operator",
        stage=stage,
        reason=reason,
        detail=detail,
        tenant=tenant,
        exchange=exchange,
        model=model,
        provider=provider,
        credential=credential,
        policy_revision=policy_revision,
    )


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
    """Write the event of an act, durable when this returns; call it before the act. Raises OperatorError."""
    opened = Store.open(store_address(store, confdir), create=False)
    try:
        put(opened, act(kind, stage=stage, reason=reason, detail=detail, tenant=tenant))
    finally:
        opened.close()


def put(opened: Store, event: Event) -> None:
    """Write one event, durable when this returns. Raises OperatorError."""
    try:
        opened.write([event])
    except StoreUnavailable as error:
        todo = error.cure or "Check that it is running and that you may write it"
        raise OperatorError(
            f"audit store {opened.name}",
            f"the event cannot be written ({error}), so nothing was done",
            todo,
            exit_code=3,
        ) from None

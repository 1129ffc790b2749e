"""Keys and credentials in the directory of a gateway, changed together with their audit events."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from sallyport.audit.events import EventKind
from sallyport.audit.store import add_within
from sallyport.cli.directory.opening import opened_for_change
from sallyport.cli.operator import act
from sallyport.errors import OperatorError
from sallyport.state.directory.keys import KeyRecord, find_key


@contextmanager
def changing_keys(
    store: str | None, confdir: Path | None, *, before_start: bool = True
) -> Iterator[Connection]:
    """Open one change of the directory. Raises OperatorError. before_start: see opened_for_change."""
    with (
        opened_for_change(store, confdir, before_start=before_start) as opened,
        opened.change() as connection,
    ):
        yield connection


def note(
    connection: Connection,
    reason: str,
    detail: str,
    *,
    tenant: str = "",
    fingerprint: str = "",
    provider: str = "",
) -> None:
    """Put the event of a change into the audit, in the transaction of the change. detail: the act, `issued`."""
    event = act(
        EventKind.DIRECTORY_CHANGED,
        stage="directory",
        reason=reason,
        detail=detail,
        tenant=tenant,
        credential=fingerprint,
        provider=provider,
    )
    add_within(connection, [event])


def note_key(connection: Connection, record: KeyRecord, detail: str) -> None:
    """Put the event of a changed key into the audit."""
    key = record.key
    note(connection, "directory.keys", detail, tenant=key.tenant, fingerprint=key.fingerprint)


def listed_key(connection: Connection, named: str) -> KeyRecord:
    """Return the key of an id or fingerprint. Raises OperatorError where there is none."""
    found = find_key(connection, named)
    if found is None:
        raise OperatorError(
            "KEY", "no key in the directory has this id or fingerprint", "See: sallyport keys list"
        )
    return found

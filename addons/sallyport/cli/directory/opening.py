"""The directory of a gateway, opened for a command; each change carries its audit event in its transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store, add_within
from sallyport.cli.operator import operator
from sallyport.cli.options import store_address
from sallyport.errors import OperatorError
from sallyport.state.directory.store import DirectoryStore


@contextmanager
def reading(store: str | None, confdir: Path | None) -> Iterator[Connection]:
    """Open one read of the directory. Raises OperatorError."""
    opened = DirectoryStore.open(store_address(store, confdir), create=False)
    try:
        with opened.read() as connection:
            yield connection
    finally:
        opened.close()


@contextmanager
def opened_for_change(store: str | None, confdir: Path | None) -> Iterator[DirectoryStore]:
    """Open the directory to change it; make it, and the audit beside it, where there is none.

    Raises OperatorError.
    """
    url = store_address(store, confdir)
    Store.open(url).close()
    opened = DirectoryStore.open(url)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def changing(
    store: str | None, confdir: Path | None, *, part: str, detail: str, tenant: str = ""
) -> Iterator[Connection]:
    """Open one change of the directory, and put its event into the audit with it. Raises OperatorError.

    part: what is changed, `people`. detail: how, as a short code, `add`.
    """
    with opened_for_change(store, confdir) as opened, opened.change() as connection:
        yield connection
        note(connection, part=part, detail=detail, tenant=tenant)


def note(connection: Connection, *, part: str, detail: str, tenant: str = "") -> None:
    """Put the event of a change into the audit, in the transaction of the change."""
    event = Event(
        kind=EventKind.DIRECTORY_CHANGED,
        gateway="cli",
        principal=operator(),
        tenant=tenant,
        source="operator",
        stage="directory",
        reason=f"directory.{part}",
        detail=detail,
    )
    add_within(connection, [event])


def pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    """Read NAME=VALUE options. Raises OperatorError."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise OperatorError(option, "it is not NAME=VALUE", "Write for example department=research.")
        found[name.strip()] = value.strip()
    return found

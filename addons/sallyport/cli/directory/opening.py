"""The directory of a gateway, opened for a command; each change carries its audit event in its transaction."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from sqlalchemy import Connection

from sallyport.audit.events import EventKind
from sallyport.audit.store import Store, add_within
from sallyport.audit.text import coded
from sallyport.cli.eventnames import stand_in
from sallyport.cli.last_run import was_run
from sallyport.cli.operator import act
from sallyport.cli.options import store_address
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.state.content.subjects import Subject
from sallyport.state.directory import lastgood as directory_copy
from sallyport.state.directory.store import DirectoryStore, NoDirectoryThere, NoStoreThere


class NotThere(OperatorError):
    """The directory of a gateway is not where a command looks for it: it was lost, or is elsewhere."""


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
def opened_for_change(
    store: str | None, confdir: Path | None, *, before_start: bool = True
) -> Iterator[DirectoryStore]:
    """Open the directory to change it; make it, and the audit beside it, where there is none.

    before_start: whether the change makes sense before a gateway was ever started: with a folder or a store that
    was named, it does. Raises OperatorError, for one that does not as soon as no gateway was started with the folder.
    """
    check_is_used(store, confdir, before_start=before_start)
    url = store_address(store, confdir)
    _check_is_not_lost(url, confdir)
    Store.open(url).close()
    opened = DirectoryStore.open(url)
    try:
        yield opened
        if store is None and not was_run(confdir):
            typer.echo(f"Written to {opened.name}; no gateway was started with this folder yet.", err=True)
    finally:
        opened.close()


def check_is_used(store: str | None, confdir: Path | None, *, before_start: bool) -> None:
    """Refuse a folder that was forgotten or mistyped: what is written there, no gateway reads.

    Raises OperatorError where no store is named, and the folder is not a gateway's or its store is elsewhere.
    """
    if store is not None:
        return
    folder = confdir or default_confdir()
    if not was_run(confdir):
        if before_start and confdir is not None:
            return
        raise OperatorError(
            str(folder),
            "no gateway was started with this folder, so nothing that is written here would act",
            "Give the folder of a gateway with --confdir or SALLYPORT_CONFDIR, or its store with --store",
            exit_code=3,
        )
    if not Path(store_address(None, confdir)).exists():
        has_copy = (folder / directory_copy.FILE).exists()
        raise (NotThere if has_copy else OperatorError)(
            str(folder),
            "the gateway of this folder has its store elsewhere, or has lost it",
            "Give it with --store, as the gateway was started with",
            exit_code=3,
        )


def _check_is_not_lost(url: str, confdir: Path | None) -> None:
    """Refuse a store without a directory where the gateway of the folder has the copy of one.

    A new directory would come into force in the place of the copy: without its people, keys and kill switches.
    Raises OperatorError.
    """
    copy = (confdir or default_confdir()) / directory_copy.FILE
    if not copy.exists():
        return
    try:
        DirectoryStore.open(url, create=False).close()
    except (NoDirectoryThere, NoStoreThere) as error:
        raise NotThere(
            error.where,
            f"{error.what}, and {copy} is the copy of one: a new one would know nobody of it, and no kill switch",
            "Bring the store back from a backup; or, if it was removed on purpose, remove the copy as well",
            exit_code=3,
        ) from None
    except OperatorError:
        return  # an earlier version, or a database that does not answer: what opens it next says so


@contextmanager
def changing(
    store: str | None, confdir: Path | None, *, part: str, detail: str, tenant: str = "", id: str = ""
) -> Iterator[Connection]:
    """Open one change of the directory, and put its event into the audit with it. Raises OperatorError.

    part: what is changed, `people`. detail: how, as a short code, `add`. id: whom or what, as the directory has it.
    """
    whom = (
        coded(id)
        if part != "people"
        else stand_in(store, confdir, Subject(tenant, id), new=detail != "remove")
    )
    with opened_for_change(store, confdir) as opened, opened.change() as connection:
        yield connection
        note(connection, part=part, detail=f"{detail}:{whom}" if whom else detail, tenant=tenant)


def note(connection: Connection, *, part: str, detail: str, tenant: str = "") -> None:
    """Put the event of a change into the audit, in the transaction of the change."""
    event = act(
        EventKind.DIRECTORY_CHANGED,
        stage="directory",
        reason=f"directory.{part}",
        detail=detail,
        tenant=tenant,
    )
    add_within(connection, [event])


def some_change(*given: object) -> None:
    """Raise OperatorError where no option of a change was given: it would be recorded, and nothing be changed."""
    if all(each is None for each in given):
        raise OperatorError("ID", "nothing is given that is to change", "Name it with an option: see --help")


def lacks_none(option: str, has: Iterable[str], taken: Iterable[str], todo: str) -> None:
    """Raise OperatorError where something is to be taken away that is not there: a name that was misspelt."""
    if not set(taken) <= set(has):
        raise OperatorError(option, "there is no such thing to take away", todo)


def pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    """Read NAME=VALUE options. Raises OperatorError."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise OperatorError(option, "it is not NAME=VALUE", "Write for example department=research.")
        found[name.strip()] = value.strip()
    return found

"""Which ledger is meant: a URL, or the file in the gateway's own folder."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from sallyport.errors import OperatorError
from sallyport.stages.ledger import Ledger

LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        help="Counters of limits: memory, sqlite:///FILE, redis://HOST or rediss://HOST; default: ledger.db in "
        "the confdir. The password of a Redis goes into SALLYPORT_LEDGER, not on the command line.",
        envvar="SALLYPORT_LEDGER",
    ),
]


def open_ledger(
    url: str | None, confdir: Path, lost: Callable[[str, str], None] = lambda reason, detail: None
) -> Ledger:
    """Return the ledger a URL names. Raises OperatorError; connects only when it is used.

    lost: told reason and detail of the event, when a ledger in use has lost what it counted.
    """
    if url == "memory":
        from sallyport.state.ledger.memory import MemoryLedger

        return MemoryLedger()
    if url is None or url.startswith("sqlite:///"):
        from sallyport.state.ledger.sqlite import SqliteLedger

        return SqliteLedger(_file(url, confdir), replaced=lambda: lost("ledger.file", "replaced"))
    scheme = url.partition("://")[0]
    if scheme in ("redis", "rediss", "unix"):
        from sallyport.state.ledger.redis import RedisLedger

        return RedisLedger(url, lost=lambda: lost("ledger.redis", "lost"))
    raise OperatorError(
        "--ledger", "it is no ledger", "Write memory, sqlite:///FILE, redis://HOST or rediss://HOST"
    )


def ledger_file(url: str | None, confdir: Path) -> Path | None:
    """Return the file that a URL names, None for a ledger that is none."""
    return _file(url, confdir) if url is None or url.startswith("sqlite:///") else None


def check_is_ledger(file: Path) -> None:
    """Refuse a file that holds no counters, since what opens it as a ledger would make them in it.

    Raises OperatorError: for one that is not there, is empty, or is something else.
    """
    if not file.exists():
        what = "the ledger is not there"
    elif not _may_hold_counters(file):
        what = "it holds no ledger"
    else:
        return
    todo = "Give the gateway's own ledger with --confdir or --ledger"
    raise OperatorError(str(file), what, todo, exit_code=3)


def _may_hold_counters(file: Path) -> bool:
    """Say whether a file is a ledger, without writing to it. True where that cannot be asked now."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            opened.execute("PRAGMA query_only = ON")
            found = opened.execute(
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'reservations'"
            )
            return found.fetchone() is not None
    except sqlite3.OperationalError:
        return True  # it is locked, or may not be read: the ledger says which
    except sqlite3.DatabaseError:
        return False


def _file(url: str | None, confdir: Path) -> Path:
    return confdir / "ledger.db" if url is None else Path(url.removeprefix("sqlite:///"))

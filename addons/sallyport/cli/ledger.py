"""Which ledger is meant: a URL, or the file in the gateway's own folder."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.sql.failures import cure_of
from sallyport.stages.ledger import Ledger, LedgerUnavailable

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
    url: str | None,
    confdir: Path,
    lost: Callable[[str, str], None] = lambda reason, detail: None,
    patience_s: float = 0.5,
) -> Ledger:
    """Return the ledger a URL names. Raises OperatorError; connects only when it is used.

    lost: told reason and detail of the event, when a ledger in use has lost what it counted. patience_s: for one call.
    """
    if url == "memory":
        from sallyport.state.ledger.memory import MemoryLedger

        return MemoryLedger()
    if url is None or url.startswith("sqlite:///"):
        from sallyport.state.ledger.sqlite import SqliteLedger

        return SqliteLedger(
            _file(url, confdir), patience_s=patience_s, replaced=lambda: lost("ledger.file", "replaced")
        )
    scheme = url.partition("://")[0]
    if scheme in ("redis", "rediss", "unix"):
        from sallyport.state.ledger.redis import RedisLedger

        return RedisLedger(url, patience_s=patience_s, lost=lambda: lost("ledger.redis", "lost"))
    raise OperatorError(
        "--ledger", "it is no ledger", "Write memory, sqlite:///FILE, redis://HOST or rediss://HOST"
    )


def ask[Reply](
    ledger: str | None,
    confdir: Path | None,
    question: Callable[[Ledger], Awaitable[Reply]],
    patience_s: float = 0.5,
) -> Reply:
    """Open the ledger, ask it, close it. Raises OperatorError where it does not answer."""
    home = confdir or default_confdir()
    if ledger == "memory":
        todo = "Run the gateway with a ledger in a file or in Redis"
        raise OperatorError("--ledger", "the counters of another process's memory cannot be read", todo)
    if file := ledger_file(ledger, home):
        check_is_ledger(file)

    async def asked() -> Reply:
        opened = open_ledger(ledger, home, patience_s=patience_s)
        try:
            return await question(opened)
        finally:
            await opened.close()

    try:
        return asyncio.run(asked())
    except LedgerUnavailable as error:
        cure = cure_of(error.__cause__ or error, "Check that it is running")
        raise OperatorError("--ledger", f"it does not answer ({error})", cure, exit_code=3) from None


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

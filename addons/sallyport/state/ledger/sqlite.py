"""The ledger of one host: a SQLite file that several processes share, each through one thread of its own.

Plain sqlite3, because every line here is about when a transaction begins and ends: BEGIN IMMEDIATE takes the
write lock before the first look, so that looking and booking are one step for all processes. What waits is
booked together in one transaction. WAL with synchronous=NORMAL: the death of a process loses nothing, a loss
of power may lose the last counts (the audit events still have them).
"""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from sallyport.sql.failures import name_of
from sallyport.sql.wal import use_wal
from sallyport.stages.ledger import (
    NOTHING,
    Claim,
    Denied,
    Expired,
    LedgerUnavailable,
    Level,
    Reserved,
    Settlement,
)
from sallyport.state.ledger.accounting import Accounting
from sallyport.state.ledger.clocks import Clock, SystemClock
from sallyport.state.ledger.patience import patience
from sallyport.state.ledger.righting import Clocks, Moves, Watch, move
from sallyport.state.ledger.rows import SCHEMA, RowShelf

logger = logging.getLogger("sallyport.ledger")

PATIENCE_S = 0.5
MAX_BATCH = 64
LATEST_EVERY_MS = 1000


@dataclass(slots=True)
class Call:
    """One call on its way to the thread. abandoned: its caller has gone, so it must not be booked."""

    work: Callable[[Accounting, int], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    abandoned: bool = False


class SqliteLedger:
    """Counts in a file. Raises LedgerUnavailable after patience_s where the file is locked, full or gone.

    The clock is the host's uptime from a wall time noted in the file, so that it is one for all processes and
    setting the wall clock does nothing; after a reboot it goes on at the wall time, but never behind itself.

    replaced: told, on the ledger's thread, when the file was removed or replaced and is begun anew, as the log is.
    """

    def __init__(
        self,
        path: Path,
        *,
        patience_s: float = PATIENCE_S,
        clock: Clock | None = None,
        replaced: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._replaced = replaced
        self._patience_s = patience_s
        self._clock = clock or SystemClock()
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._watch = Watch()

    async def reserve(self, reservation_id: str, claims: Sequence[Claim], lease_ms: int) -> Reserved | Denied:
        return await self._call(lambda a, now: a.reserve(now, reservation_id, claims, lease_ms))

    async def renew(self, reservation_id: str, lease_ms: int) -> bool:
        return await self._call(lambda a, now: a.renew(now, reservation_id, lease_ms))

    async def settle(self, reservation_id: str, amounts: Mapping[str, int] = NOTHING) -> Settlement:
        return await self._call(lambda a, now: a.settle(now, reservation_id, amounts))

    async def release(self, reservation_id: str, kept: Mapping[str, int] = NOTHING) -> Settlement:
        return await self._call(lambda a, now: a.release(now, reservation_id, kept))

    async def book(self, reservation_id: str, claims: Sequence[Claim]) -> Settlement:
        return await self._call(lambda a, now: a.book(now, reservation_id, claims))

    async def levels(self, prefix: str = "", *, ended: bool = False) -> tuple[Level, ...]:
        return await self._call(lambda a, now: a.levels(now, prefix, ended=ended))

    async def top(self, count: int) -> tuple[Level, ...]:
        return await self._call(lambda a, now: a.top(now, count))

    async def reset(self, key: str) -> bool:
        return await self._call(lambda a, now: a.reset(now, key))

    async def grant(self, key: str, amount: int, until_ms: int) -> None:
        return await self._call(lambda a, now: a.grant(now, key, amount, until_ms))

    async def sweep(self, at_most: int = 1000) -> int:
        return await self._call(lambda a, now: a.sweep(now, at_most))

    async def expired(self, at_most: int = 1000) -> tuple[Expired, ...]:
        return await self._call(lambda a, now: a.expired(now, at_most))

    async def now_ms(self) -> int:
        return await self._call(lambda _, now: now)

    async def clocks(self) -> Clocks:
        return await self._call(lambda _, now: Clocks(now, self._clock.wall_ms()))

    async def set_right(self, moves: Moves) -> None:
        await self._call(lambda _, now: self._set_right(now, moves))

    async def close(self) -> None:
        """Let the thread finish what waits, and close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._calls.put(None)
            await asyncio.to_thread(thread.join)

    async def _call[Reply](self, work: Callable[[Accounting, int], Reply]) -> Reply:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
            self._thread.start()
        call = Call(work, loop.create_future(), loop)
        self._calls.put(call)
        try:
            async with patience(self._patience_s):
                reply: Reply = await call.future
                return reply
        except TimeoutError:
            raise LedgerUnavailable(f"SQLite ledger: no answer within {self._patience_s} s") from None
        finally:
            call.abandoned = True

    def _run(self) -> None:
        """Serve calls until None comes; the only thread that touches the connection."""
        open_for_calls = True
        while open_for_calls:
            first = self._calls.get()
            if first is None:
                break
            batch = [first]
            with suppress(Empty):
                while len(batch) < MAX_BATCH:
                    call = self._calls.get_nowait()
                    if call is None:
                        open_for_calls = False
                        break
                    batch.append(call)
            self._serve([call for call in batch if not call.abandoned])
        self._disconnect()

    def _serve(self, batch: Sequence[Call]) -> None:
        """Run calls in one transaction; none of them is answered before it is committed."""
        if not batch:
            return
        answers: list[tuple[Call, Any, BaseException | None]] = []
        try:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            now = self._now(connection)
            shelf = RowShelf(connection)
            accounting = Accounting(shelf)
            for call in batch:
                if call.abandoned:
                    continue
                try:
                    answers.append((call, call.work(accounting, now), None))
                    shelf.write()
                except (sqlite3.Error, OSError):
                    raise
                except Exception as error:  # The caller's own mistake, or an id that is over: theirs to see.
                    shelf.discard()
                    answers.append((call, None, error))
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            failure = LedgerUnavailable(f"SQLite ledger: {name_of(error)}")
            failure.__cause__ = error
            answers = [(call, None, failure) for call in batch]
        for call, reply, trouble in answers:
            with suppress(RuntimeError):  # The loop is closed: nobody waits.
                call.loop.call_soon_threadsafe(_answer, call.future, reply, trouble)

    def _set_right(self, now: int, moves: Moves) -> None:
        assert self._connection is not None
        wall = self._clock.wall_ms()
        move(RowShelf(self._connection), now, wall, moves)
        self._note(self._connection, wall)

    def _note(self, connection: sqlite3.Connection, now: int) -> None:
        noted = self._clock.boot(), self._clock.uptime_ms(), now
        connection.execute("INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?)", noted)

    def _now(self, connection: sqlite3.Connection) -> int:
        """Return the ledger's time, and note it now and then as the instant it must not go behind."""
        boot, uptime = self._clock.boot(), self._clock.uptime_ms()
        row = connection.execute("SELECT boot, uptime_ms, ledger_ms FROM clock").fetchone()
        if row is None:
            now = self._clock.wall_ms()
        elif row[0] == boot and uptime >= row[1]:
            now = row[2] + uptime - row[1]
            if uptime - row[1] < LATEST_EVERY_MS:
                return int(now)
        else:
            now = max(self._clock.wall_ms(), row[2])
        self._note(connection, now)
        self._watch.see(now, self._clock.wall_ms())
        return int(now)

    def _connect(self) -> sqlite3.Connection:
        # Asked before the old one is closed: a new file may get its inode then.
        is_another = self._identity is not None and self._find() != self._identity
        if is_another:
            self._disconnect()  # The file was replaced: nobody else sees what is written to the old one.
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._identity = self._find()
            if is_another:
                logger.warning(
                    "the ledger %s was removed or replaced: its counters begin anew, and what was used before counts "
                    "no more. The audit still has it: sallyport limits reconcile",
                    self._path,
                )
                self._replaced()
            connection = sqlite3.connect(self._path, timeout=self._patience_s, isolation_level=None)
            self._connection = connection
            use_wal(connection, self._patience_s)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _find(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _answer(future: asyncio.Future[Any], reply: Any, trouble: BaseException | None) -> None:
    if future.done():
        return
    if trouble is None:
        future.set_result(reply)
    else:
        future.set_exception(trouble)

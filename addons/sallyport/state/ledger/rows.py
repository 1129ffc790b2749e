"""Accounts and reservations as rows of SQLite, inside a transaction that the caller begins and ends."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from sallyport.stages.ledger import Concurrent, FixedWindow, RollingWindow, TokenBucket
from sallyport.state.ledger.accounting import Entry, Grant, Reservation, State
from sallyport.state.ledger.windows import Account, Resolved, blank

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS clock (
        id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL, uptime_ms INTEGER NOT NULL,
        ledger_ms INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS accounts (
        name TEXT PRIMARY KEY, key TEXT NOT NULL, shape TEXT NOT NULL, amount_limit INTEGER NOT NULL,
        keep_ms INTEGER NOT NULL, held INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS accounts_dead ON accounts (keep_ms) WHERE held = 0",
    """CREATE TABLE IF NOT EXISTS reservations (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, due_ms INTEGER NOT NULL, entries TEXT NOT NULL)
        WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS reservations_due ON reservations (due_ms, id)",
    """CREATE INDEX IF NOT EXISTS reservations_expired ON reservations (due_ms, id)
        WHERE state = 'expired'""",
    """CREATE TABLE IF NOT EXISTS grants (
        key TEXT NOT NULL, amount INTEGER NOT NULL, until_ms INTEGER NOT NULL)""",
)

LAST = "\U0010ffff"
"""Sorts after everything a name may hold, so that a prefix is a range."""


class RowShelf:
    """What one transaction has read, and what it has changed since the last write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._accounts: dict[str, Account] = {}
        self._changed_accounts: dict[str, Account] = {}
        self._reservations: dict[str, Reservation | None] = {}
        self._changed_reservations: dict[str, Reservation] = {}
        self._grants: dict[str, list[Grant]] | None = None

    def write(self) -> None:
        """Write what was changed, so that the next call's queries see it."""
        if self._changed_accounts:
            self._connection.executemany(
                "INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(name, account.key, name.rpartition("\x1f")[2], account.limit),
                        *(account.keep_ms, account.held, orjson.dumps(account.dump()).decode()),
                    )
                    for name, account in self._changed_accounts.items()
                ],
            )
            self._changed_accounts.clear()
        if self._changed_reservations:
            self._connection.executemany(
                "INSERT OR REPLACE INTO reservations VALUES (?, ?, ?, ?)",
                [
                    (r.reservation_id, r.state.value, r.due_ms, _dump_entries(r.entries))
                    for r in self._changed_reservations.values()
                ],
            )
            self._changed_reservations.clear()

    def discard(self) -> None:
        """Forget what was read and changed since the last write."""
        self._changed_accounts.clear()
        self._changed_reservations.clear()
        self._accounts.clear()
        self._reservations.clear()
        self._grants = None

    def account(self, name: str) -> Account | None:
        known = self._accounts.get(name)
        if known is not None:
            return known
        row = self._connection.execute(
            "SELECT key, shape, amount_limit, keep_ms, state FROM accounts WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else self._read(name, row)

    def keep_account(self, name: str, account: Account) -> None:
        self._accounts[name] = self._changed_accounts[name] = account

    def accounts(self, prefix: str) -> Iterator[tuple[str, Account]]:
        self.write()
        rows = self._connection.execute(
            "SELECT name, key, shape, amount_limit, keep_ms, state FROM accounts WHERE name >= ? AND name < ?",
            (prefix, prefix + LAST),
        ).fetchall()
        for name, *row in rows:
            account = self._accounts.get(name) or self._read(name, row)
            if account.key.startswith(prefix):
                yield name, account

    def forget_account(self, name: str) -> None:
        self._accounts.pop(name, None)
        self._changed_accounts.pop(name, None)
        self._connection.execute("DELETE FROM accounts WHERE name = ?", (name,))

    def reservation(self, reservation_id: str) -> Reservation | None:
        if reservation_id not in self._reservations:
            row = self._connection.execute(
                "SELECT id, state, due_ms, entries FROM reservations WHERE id = ?", (reservation_id,)
            ).fetchone()
            self._reservations[reservation_id] = None if row is None else _reservation(row)
        return self._reservations[reservation_id]

    def keep_reservation(self, reservation: Reservation) -> None:
        self._reservations[reservation.reservation_id] = reservation
        self._changed_reservations[reservation.reservation_id] = reservation

    def forget_reservation(self, reservation_id: str) -> None:
        self._reservations[reservation_id] = None
        self._changed_reservations.pop(reservation_id, None)
        self._connection.execute("DELETE FROM reservations WHERE id = ?", (reservation_id,))

    def due(self, now: int, at_most: int) -> Sequence[Reservation]:
        rows = self._connection.execute(
            "SELECT id, state, due_ms, entries FROM reservations WHERE due_ms <= ? ORDER BY due_ms, id LIMIT ?",
            (now, at_most),
        )
        return [_reservation(row) for row in rows.fetchall()]

    def expired(self, at_most: int) -> Sequence[Reservation]:
        self.write()
        rows = self._connection.execute(
            "SELECT id, state, due_ms, entries FROM reservations WHERE state = 'expired'"
            " ORDER BY due_ms, id LIMIT ?",
            (at_most,),
        )
        return [_reservation(row) for row in rows.fetchall()]

    def forget_dead(self, now: int, at_most: int) -> None:
        self.write()
        dead = self._connection.execute(
            "SELECT name FROM accounts WHERE held = 0 AND keep_ms <= ? LIMIT ?", (now, at_most)
        ).fetchall()
        for (name,) in dead:
            self._accounts.pop(name, None)
            self._connection.execute("DELETE FROM accounts WHERE name = ?", (name,))
        if any(grant.until_ms <= now for grants in self._all_grants().values() for grant in grants):
            self._connection.execute("DELETE FROM grants WHERE until_ms <= ?", (now,))
            self._grants = None

    def grants(self, key: str) -> Sequence[Grant]:
        return self._all_grants().get(key, ())

    def add_grant(self, key: str, grant: Grant) -> None:
        self._connection.execute("INSERT INTO grants VALUES (?, ?, ?)", (key, grant.amount, grant.until_ms))
        self._grants = None

    def move_grants(self, by: int) -> None:
        """Have all top-ups end so many milliseconds later."""
        self._connection.execute("UPDATE grants SET until_ms = until_ms + ?", (by,))
        self._grants = None

    def _all_grants(self) -> dict[str, list[Grant]]:
        """Top-ups are few, and read once in a transaction."""
        if self._grants is None:
            self._grants = {}
            for key, amount, until_ms in self._connection.execute("SELECT key, amount, until_ms FROM grants"):
                self._grants.setdefault(key, []).append(Grant(amount, until_ms))
        return self._grants

    def _read(self, name: str, row: Sequence[Any]) -> Account:
        key, shape, amount_limit, keep_ms, state = row
        account = blank(key, _window(shape), 0)
        account.limit = amount_limit
        account.keep_ms = keep_ms
        account.load(orjson.loads(state))
        self._accounts[name] = account
        return account


def _window(shape: str) -> Resolved:
    """Return the window of an account. A bucket's rate is part of its state."""
    kind, numbers = shape[0], shape[1:]
    if kind == "f":
        start, _, end = numbers.partition(":")
        return FixedWindow(int(start), int(end))
    if kind == "r":
        length, _, slices = numbers.partition("/")
        return RollingWindow(int(length), int(slices))
    return TokenBucket(1, 1) if kind == "b" else Concurrent()


def _dump_entries(entries: Sequence[Entry]) -> str:
    return orjson.dumps(
        [
            [
                e.name,
                e.key,
                e.limit,
                e.amount,
                e.mark,
                e.window.rate if type(e.window) is TokenBucket else None,
            ]
            for e in entries
        ]
    ).decode()


def _reservation(row: Sequence[Any]) -> Reservation:
    reservation_id, state, due_ms, entries = row
    return Reservation(
        reservation_id, State(state), due_ms, [_entry(entry) for entry in orjson.loads(entries)]
    )


def _entry(row: Sequence[Any]) -> Entry:
    name, key, limit, amount, mark, rate = row
    window = TokenBucket(*rate) if rate else _window(name.rpartition("\x1f")[2])
    return Entry(name, key, window, limit, amount, tuple(mark))

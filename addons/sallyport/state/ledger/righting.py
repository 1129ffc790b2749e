"""A ledger whose clock was wrong is set right by an operator: what it counts stays, and moves in time with the clock.

A ledger's clock never goes back, so that one that was ahead for a moment ends days and months too early from then on;
one that was behind when its file was made ends them too late. Set right, every instant moves by as much as the clock:
a bucket is as empty as before, a lease lasts as long, a grant as well. Windows of a calendar do not move, so what was
used in one that is not under way any more, or not yet, is added to the one in which it was used by the right clock.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from sallyport.stages.ledger import Calendar, FixedWindow, Level, RollingWindow, TokenBucket, limit_of
from sallyport.state.ledger.accounting import Entry
from sallyport.state.ledger.rows import RowShelf
from sallyport.state.ledger.windows import Account, Bucket, Fixed, Rolling, account_name, blank

WATCH = "sallyport.ledger.clock"
"""Logger of what sends an operator to `limits clock`."""

logger = logging.getLogger(WATCH)

APART_MS = 60_000
"""Clocks that are no further apart than this are taken for the same."""

type Moves = Mapping[str, FixedWindow]
"""Where to what was counted in a window goes, by the name of the limit's account in it."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The ledger's time, and the one that it would be set to: of the Redis server, or of this host."""

    ledger_ms: int
    right_ms: int

    @property
    def apart_ms(self) -> int:
        return self.ledger_ms - self.right_ms


@runtime_checkable
class Rightable(Protocol):
    """A ledger whose clock can be set right. Both may raise LedgerUnavailable."""

    async def clocks(self) -> Clocks: ...

    async def set_right(self, moves: Moves) -> None:
        """Set the clock to the right time, and move all that is counted with it; once more changes nothing."""
        ...


class Watch:
    """Says in the log, once for each time, that the clocks of the ledger and of this host have come apart."""

    def __init__(self) -> None:
        self._told = False

    def see(self, now: int, wall: int) -> None:
        is_apart = abs(now - wall) > APART_MS
        if is_apart and not self._told:
            logger.warning(
                "the clock of the counters says %s, and this host's %s: days, weeks and months of limits go by the "
                "first. Look with: sallyport limits clock",
                shown(now),
                shown(wall),
            )
        self._told = is_apart


def moves_of(levels: Sequence[Level], calendars: Mapping[str, Calendar], clocks: Clocks) -> Moves:
    """Return where to what was used in windows of a calendar goes when the clock is set right.

    levels: of all windows, past ones too. calendars: of limits, by id; what other limits counted stays where it is.
    """
    moves: dict[str, FixedWindow] = {}
    for id, window in _windows(levels, calendars, clocks.ledger_ms):
        is_ahead = window.start_ms > clocks.right_ms
        is_behind = window.start_ms <= clocks.ledger_ms < window.end_ms <= clocks.right_ms
        if not is_ahead and not is_behind:
            continue
        last = min(window.end_ms, clocks.ledger_ms)
        # Nobody knows when the clock leapt, so all of it may be as late as the last of it. Of a clock that was behind
        # since long the middle tells more.
        used_at = max(window.start_ms, last - 1) if is_ahead else (window.start_ms + last) // 2
        there = calendars[id].at(used_at - clocks.apart_ms)
        if there != window:
            moves[account_name(id, window)] = there
    return moves


def _windows(
    levels: Sequence[Level], calendars: Mapping[str, Calendar], now: int
) -> Iterator[tuple[str, FixedWindow]]:
    for level in levels:
        if level.start_ms is not None and level.end_ms is not None and limit_of(level.key) in calendars:
            yield limit_of(level.key), FixedWindow(level.start_ms, level.end_ms)
    for id, calendar in calendars.items():
        yield id, calendar.at(now)  # a counter in it may be made meanwhile


def move(shelf: RowShelf, now: int, to: int, moves: Moves) -> None:
    """Move all that a shelf holds from one time to another, in the caller's transaction."""
    by = to - now
    found = list(shelf.accounts(""))
    for name, account in found:
        _move_account(account, by, to)
        account.keep_ms = max(account.keep_ms + by, account.useful_until(to))
        shelf.keep_account(name, account)
    renamed: dict[str, FixedWindow] = {}
    for name, account in found:
        if isinstance(account, Fixed) and (window := _target(account.key, account, moves)) is not None:
            renamed[name] = window
            _add(shelf, account, window, to)
            shelf.forget_account(name)
    for reservation in shelf.due(2**62, 2**62):
        entries = [_moved(entry, by, to, renamed.get(entry.name)) for entry in reservation.entries]
        shelf.keep_reservation(replace(reservation, due_ms=reservation.due_ms + by, entries=entries))
    shelf.move_grants(by)
    shelf.write()


def _move_account(account: Account, by: int, to: int) -> None:
    if isinstance(account, Bucket):
        account.updated += by
    elif isinstance(account, Rolling):
        slices, account.slices = account.slices, {}
        for number, (used, held) in slices.items():
            there = account.slices.setdefault(_slice(number, account.slice, by, to), [0, 0])
            there[0] += used
            there[1] += held


def _slice(number: int, slice_ms: int, by: int, to: int) -> int:
    """Return the slice into which another moves, the later one where it lies in two: it counts no shorter."""
    return min(number - (-by // slice_ms), to // slice_ms)


def _target(key: str, account: Fixed, moves: Moves) -> FixedWindow | None:
    return moves.get(account_name(limit_of(key), FixedWindow(account.start, account.end)))


def _add(shelf: RowShelf, account: Fixed, window: FixedWindow, to: int) -> None:
    name = account_name(account.key, window)
    there = shelf.account(name) or blank(account.key, window, to)
    assert isinstance(there, Fixed)
    there.limit = account.limit
    there.used += account.used
    there.held += account.held
    there.keep_ms = max(there.keep_ms, account.keep_ms, there.useful_until(to))
    shelf.keep_account(name, there)


def _moved(entry: Entry, by: int, to: int, window: FixedWindow | None) -> Entry:
    """Return what a reservation took from an account, as it is after the move."""
    if window is not None:
        return replace(entry, name=account_name(entry.key, window), window=window)
    if isinstance(entry.window, TokenBucket) and entry.mark:
        missing, then, *rest = entry.mark
        return replace(entry, mark=(missing, then + by, *rest))
    if isinstance(entry.window, RollingWindow) and entry.mark:
        return replace(entry, mark=(_slice(entry.mark[0], entry.window.slice_ms, by, to),))
    return entry


def shown(ms: int) -> str:
    """Return an instant as an operator reads it."""
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms):%Y-%m-%d %H:%M:%S} UTC"

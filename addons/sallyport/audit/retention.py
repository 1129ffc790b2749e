"""Pruning: old events are removed up to a checkpoint, and a signed statement says so, so that the rest still verifies.

A statement is a JSON object, sorted, without white space, in ASCII:

    number      from 1, one more for each pruning
    at_us       microseconds since 1970-01-01 UTC
    checkpoint  number of the checkpoint that events are gone up to
    digest      what the checkpoint behind that one names as `previous`
    events      how many this pruning has removed
    key         public key of who signed, in hex

The signature is Ed25519 over PRUNING_TAG || body. Events up to the heads of the checkpoint are gone, checkpoints
before it too; the checkpoint itself stays, and is where a verifier begins. An event `pruned` whose reason names the
number, and whose detail names the checkpoint, stands in the chain. What is removed, the statement and the event are
one transaction; in SQLite, which has one writer at a time, there are several, each up to a checkpoint further on,
under one number: the event of the first names the last checkpoint, and a statement names none behind it.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, TextClause, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from sallyport.audit import partitions
from sallyport.audit.adding import add_within
from sallyport.audit.chain import START, Head, linked
from sallyport.audit.checkpoints import CHECKPOINT_TAG, Checkpoint, Unreadable, checkpoints_after, writers
from sallyport.audit.events import Event, EventKind
from sallyport.audit.maintaining import LOCK_TIMEOUT
from sallyport.audit.schema import checkpoints, events, microseconds, prunings
from sallyport.audit.signing import Signer, is_signed
from sallyport.errors import OperatorError
from sallyport.sql.engines import Database

PRUNING_TAG = b"sallyport.audit.pruning.v1\n"

_AT_ONCE = 5_000
"""Events that one transaction in SQLite removes, or those of one checkpoint if these are more."""

_TRIES = 5
_DEADLOCK = "40P01"
_LAST_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning removed, or would. until: when the checkpoint was made that events are gone up to."""

    events: int
    checkpoint: int
    until: datetime


def prune(
    at: Database,
    signer: Signer,
    before: datetime,
    told: Callable[[], Event],
    *,
    last: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pruned | None:
    """Remove all events that a checkpoint made before a time covers; None where there are none.

    last: the last checkpoint that may go, None for any. told: makes the event, to which reason and detail are added.
    Raises OperatorError, SQLAlchemy's errors, and Unreadable where what is to be removed is not whole: that would
    remove what shows a tampering.
    """
    before_us = microseconds(before)
    with at.reader.connect() as connection:
        floor = floor_of(connection)
        steps = list(_in_lots(floor, _steps(connection, floor, before_us, last)))
    if not steps:
        return None
    target = steps[-1]
    total = _count(floor, target)
    pruned = Pruned(total, target.number, datetime.fromtimestamp(target.members["at_us"] / 1e6, UTC))
    if dry_run:
        return pruned
    is_postgres = at.writer.dialect.name == "postgresql"
    try:
        _check_events(at, [floor, target] if is_postgres else [floor, *steps])
    except Unreadable:
        # What another pruning has removed meanwhile is not missing.
        with at.reader.connect() as connection:
            _check_floor(connection, floor)
        raise
    if is_postgres:
        _prune_weeks(at, signer, floor, target, told)
        progress(total, total)
        return pruned
    number, done = None, 0
    for step in steps:
        with at.writer.begin() as connection:
            _check_place(connection, floor, step)
            done += _count(floor, step)
            if number is None:
                number = _tell(connection, told(), target)
            else:
                connection.execute(delete(prunings).where(prunings.c.number == number))
            _state(connection, signer, step, number, done)
            _remove(connection, floor, step)
        floor = step
        progress(done, total)
    return pruned


def floor_of(connection: Connection) -> Checkpoint | None:
    """Return the checkpoint that events are gone up to, None where nothing was pruned."""
    query = select(checkpoints).join(prunings, prunings.c.checkpoint == checkpoints.c.number)
    found = connection.execute(query.order_by(prunings.c.number.desc()).limit(1)).first()
    return None if found is None else Checkpoint(found.number, found.body, found.signature)


def _steps(
    connection: Connection, floor: Checkpoint | None, before_us: int, last: int | None
) -> Iterator[Checkpoint]:
    """Yield the checkpoints that may go, in order.

    One whose time is still to come was made under a clock that was ahead: it is no younger than the next one.
    """
    now_us = microseconds(datetime.now(UTC))
    ahead: list[Checkpoint] = []
    for found in checkpoints_after(connection, 0 if floor is None else floor.number):
        at_us = found.members["at_us"]
        if last is not None and found.number > last:
            return
        if at_us >= before_us and at_us > now_us:
            ahead.append(found)
        elif at_us >= before_us:
            return
        else:
            yield from ahead
            ahead.clear()
            yield found


def _in_lots(floor: Checkpoint | None, steps: Iterable[Checkpoint]) -> Iterator[Checkpoint]:
    """Yield the checkpoints to stop at, so that no lot is large."""
    found: Checkpoint | None = None
    for following in steps:
        if found is not None and _count(floor, following) > _AT_ONCE:
            yield found
            floor = found
        found = following
    if found is not None:
        yield found


def _heads(of: Checkpoint | None) -> Mapping[str, Head]:
    return {} if of is None else of.heads


def _count(floor: Checkpoint | None, target: Checkpoint) -> int:
    before = _heads(floor)
    return sum(head.seq - before.get(name, START).seq for name, head in target.heads.items())


def _check_events(at: Database, checkpoints_: list[Checkpoint | None]) -> None:
    """Look whether the events between checkpoints are those that were chained. Raises Unreadable."""
    for before, after in itertools.pairwise(checkpoints_):
        assert after is not None
        # A connection for each: one long look would keep SQLite from folding its write-ahead log in.
        with at.reader.connect() as connection:
            for name, head in after.heads.items():
                if _chained_from(connection, name, _heads(before).get(name, START), head.seq) != head:
                    raise Unreadable(f"the events that checkpoint {after.number} covers are not whole")


def _chained_from(connection: Connection, name: str, head: Head, until: int) -> Head | None:
    """Return the head of a writer as its events make it, None where one is not what its hash says."""
    query = select(events).where(events.c.gateway == name, events.c.seq > head.seq, events.c.seq <= until)
    found = connection.execute(query.order_by(events.c.seq), execution_options={"yield_per": 1000})
    names = [str(name) for name in found.keys()]  # noqa: SIM118
    with found:
        for values in found:
            row = dict(zip(names, values, strict=True))
            said = Head(row["seq"], row["hash"])
            try:
                head = linked(row, head)
            except (ValueError, TypeError, KeyError):
                return None
            if said != head:
                return None
    return head


def _check_floor(connection: Connection, floor: Checkpoint | None) -> None:
    if floor_of(connection) != floor:
        raise OperatorError("audit prune", "another pruning went on meanwhile", "Run it again", exit_code=3)


def _check_place(connection: Connection, floor: Checkpoint | None, target: Checkpoint) -> None:
    """Look whether the log still begins behind a checkpoint, and whether another one is signed."""
    _check_floor(connection, floor)
    key = str(target.members["key"])
    if not is_signed(
        bytes.fromhex(key), bytes.fromhex(target.signature), CHECKPOINT_TAG + target.body.encode()
    ):
        raise Unreadable(f"checkpoint {target.number} is not signed")


def _tell(connection: Connection, event: Event, target: Checkpoint) -> int:
    """Add the event of a new pruning, and return its number."""
    number: int = (connection.scalar(select(func.max(prunings.c.number))) or 0) + 1
    add_within(connection, [_named(event, number, target.number)])
    return number


def _state(connection: Connection, signer: Signer, target: Checkpoint, number: int, count: int) -> None:
    """Write the statement of a pruning."""
    body = {
        "number": number,
        "at_us": microseconds(datetime.now(UTC)),
        "checkpoint": target.number,
        "digest": target.digest,
        "events": count,
        "key": signer.public_key.hex(),
    }
    said = json.dumps(body, sort_keys=True, separators=(",", ":"))
    signature = signer.sign(PRUNING_TAG + said.encode()).hex()
    row = {"number": number, "checkpoint": target.number, "body": said, "signature": signature}
    connection.execute(insert(prunings), row)


def _named(event: Event, number: int, checkpoint: int) -> Event:
    return Event(
        kind=EventKind.PRUNED,
        gateway=event.gateway,
        principal=event.principal,
        source=event.source,
        reason=f"pruning_{number}",
        detail=f"checkpoint_{checkpoint}",
    )


def _remove(
    connection: Connection,
    floor: Checkpoint | None,
    target: Checkpoint,
    beside: TextClause | None = None,
    already: int = 0,
) -> None:
    """Remove the events up to a checkpoint and the checkpoints before it.

    beside: which events alone, and already: how many others there are. Raises Unreadable where that is not all.
    """
    before = _heads(floor)
    for name, head in target.heads.items():
        if head.seq > before.get(name, START).seq:
            gone = delete(events).where(events.c.gateway == name, events.c.seq <= head.seq, events.c.seq > 0)
            already += connection.execute(gone if beside is None else gone.where(beside)).rowcount
    if already != _count(floor, target):
        raise Unreadable(f"the events that checkpoint {target.number} covers are not whole")
    connection.execute(delete(checkpoints).where(checkpoints.c.number < target.number))


def _prune_weeks(
    at: Database, signer: Signer, floor: Checkpoint | None, target: Checkpoint, told: Callable[[], Event]
) -> None:
    for tried in range(_TRIES):
        try:
            with at.writer.begin() as connection:
                # Who waits for the table keeps all who come after him waiting: gateways among them.
                connection.execute(text("SET LOCAL lock_timeout = '900ms'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('sallyport_audit_prune'))"))
                _check_place(connection, floor, target)
                _drop_weeks(connection, floor, target)
                # Last: a gateway waits for its head, which this takes when the gateway itself prunes.
                number = _tell(connection, told(), target)
                _state(connection, signer, target, number, _count(floor, target))
            return
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", "")
            if state not in (LOCK_TIMEOUT, _DEADLOCK):
                raise
            if tried == _TRIES - 1:
                raise OperatorError(
                    "audit prune",
                    "somebody reads or writes the events for long, so they cannot be dropped",
                    "Run it again when no verify, export or report runs",
                    exit_code=3,
                ) from None
            time.sleep(1.0)


def _drop_weeks(connection: Connection, floor: Checkpoint | None, target: Checkpoint) -> None:
    """Delete what is to go of weeks that are not over, and drop those that are, without what a later checkpoint covers.

    What an exchange of a week that is over wrote later goes on in the default partition. Writers are kept out only
    from when most of it was moved there until the end: what they add in between is moved too.
    """
    kept = partitions.week_of(target.members["at_us"] // 86_400_000_000)
    is_over = f"{events.name}.period < {kept} AND {events.name}.tableoid != to_regclass('{partitions.OTHER}')"
    there = "gateway = :gateway AND seq > :after AND seq <= :until AND " + is_over
    names = ", ".join(column.name for column in events.columns)
    counted = text(f"SELECT count(*) FROM {events.name} WHERE {there}")  # noqa: S608
    moved = text(
        f"INSERT INTO {events.name} ({names}, period) SELECT {names}, 0 FROM {events.name} WHERE {there}"  # noqa: S608
    )
    heads = {name: head.seq for name, head in target.heads.items()}
    over = 0
    for name, seq in heads.items():
        over += connection.scalar(counted, {"gateway": name, "after": 0, "until": seq}) or 0
    _remove(connection, floor, target, text(f"NOT ({is_over})"), over)
    if not any(first + partitions.DAYS <= kept for first in partitions.weeks_there(connection)):
        return
    known = partitions.heads
    seen = {row.gateway: row.seq for row in connection.execute(select(known.c.gateway, known.c.seq))}
    for name, seq in seen.items():
        connection.execute(moved, {"gateway": name, "after": heads.get(name, 0), "until": seq})
    connection.execute(text(f"LOCK TABLE {events.name} IN ACCESS EXCLUSIVE MODE"))
    for name in writers(connection):
        after = max(heads.get(name, 0), seen.get(name, 0))
        connection.execute(moved, {"gateway": name, "after": after, "until": _LAST_SEQ})
    connection.execute(text(f"SELECT {partitions.DROP_WEEKS}(:kept)"), {"kept": kept})

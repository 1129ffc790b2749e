"""Pruning: old events are removed up to a checkpoint, and a signed statement says so, so that the rest still verifies.

A statement is a JSON object, sorted, without white space, in ASCII:

    number      from 1, one more for each pruning
    at_us       microseconds since 1970-01-01 UTC
    checkpoint  number of the checkpoint that events are gone up to
    digest      what the checkpoint behind that one names as `previous`
    events      how many this pruning removed
    key         public key of who signed, in hex

The signature is Ed25519 over PRUNING_TAG || body. Events up to the heads of the checkpoint are gone, checkpoints
before it too; the checkpoint itself stays, and is where a verifier begins. An event `pruned` whose reason names the
number stands in the chain. What is removed, the statement and the event are one transaction; in SQLite, which
has one writer at a time, there are several, each up to a checkpoint further on, under one number.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from sallyport.audit import partitions
from sallyport.audit.adding import add_within
from sallyport.audit.chain import START, Head
from sallyport.audit.checkpoints import CHECKPOINT_TAG, Checkpoint, Unreadable, checkpoints_after
from sallyport.audit.events import Event, EventKind
from sallyport.audit.schema import checkpoints, events, microseconds, prunings
from sallyport.audit.signing import Signer, is_signed
from sallyport.errors import OperatorError
from sallyport.sql.engines import Database

PRUNING_TAG = b"sallyport.audit.pruning.v1\n"

_AT_ONCE = 5_000
"""Events that one transaction in SQLite removes, or those of one checkpoint if these are more."""

_TRIES = 5
_LOCK_TIMEOUT, _DEADLOCK = "55P03", "40P01"


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
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pruned | None:
    """Remove all events that a checkpoint made before a time covers; None where there are none.

    told: makes the event, to which reason and detail are added. Raises OperatorError, SQLAlchemy's errors, and
    Unreadable where what is to be removed is not whole: that would remove what shows a tampering.
    """
    before_us = microseconds(before)
    with at.reader.connect() as connection:
        floor = floor_of(connection)
        steps = list(_steps(connection, floor, before_us))
    if not steps:
        return None
    target = steps[-1]
    total = _count(floor, target)
    pruned = Pruned(total, target.number, datetime.fromtimestamp(target.members["at_us"] / 1e6, UTC))
    if dry_run:
        return pruned
    if at.writer.dialect.name == "postgresql":
        _prune_weeks(at, signer, floor, target, told)
        progress(total, total)
        return pruned
    number, done = None, 0
    for step in _in_lots(floor, steps):
        with at.writer.begin() as connection:
            number = _state(connection, signer, step, floor, told, number)
            _remove(connection, floor, step)
        done += _count(floor, step)
        floor = step
        progress(done, total)
    return pruned


def floor_of(connection: Connection) -> Checkpoint | None:
    """Return the checkpoint that events are gone up to, None where nothing was pruned."""
    query = select(checkpoints).join(prunings, prunings.c.checkpoint == checkpoints.c.number)
    found = connection.execute(query.order_by(prunings.c.number.desc()).limit(1)).first()
    return None if found is None else Checkpoint(found.number, found.body, found.signature)


def _steps(connection: Connection, floor: Checkpoint | None, before_us: int) -> Iterator[Checkpoint]:
    for found in checkpoints_after(connection, 0 if floor is None else floor.number):
        if found.members["at_us"] >= before_us:
            return
        yield found


def _in_lots(floor: Checkpoint | None, steps: list[Checkpoint]) -> Iterator[Checkpoint]:
    """Yield the checkpoints to stop at, so that no lot is large."""
    for found, following in zip(steps, [*steps[1:], None], strict=True):
        if following is None or _count(floor, following) > _AT_ONCE:
            yield found
            floor = found


def _heads(of: Checkpoint | None) -> Mapping[str, Head]:
    return {} if of is None else of.heads


def _count(floor: Checkpoint | None, target: Checkpoint) -> int:
    before = _heads(floor)
    return sum(head.seq - before.get(name, START).seq for name, head in target.heads.items())


def _state(
    connection: Connection,
    signer: Signer,
    target: Checkpoint,
    floor: Checkpoint | None,
    told: Callable[[], Event],
    number: int | None,
) -> int:
    """Write the statement, with its event where the number is new; return its number."""
    if floor_of(connection) != floor:
        raise OperatorError("audit prune", "another pruning went on meanwhile", "Run it again", exit_code=3)
    key = str(target.members["key"])
    if not is_signed(
        bytes.fromhex(key), bytes.fromhex(target.signature), CHECKPOINT_TAG + target.body.encode()
    ):
        raise Unreadable(f"checkpoint {target.number} is not signed")
    if number is None:
        number = (connection.scalar(select(func.max(prunings.c.number))) or 0) + 1
        event = told()
        add_within(connection, [_named(event, number, target.number)])
    else:
        connection.execute(delete(prunings).where(prunings.c.number == number))
    body = {
        "number": number,
        "at_us": microseconds(datetime.now(UTC)),
        "checkpoint": target.number,
        "digest": target.digest,
        "events": _count(floor, target),
        "key": signer.public_key.hex(),
    }
    said = json.dumps(body, sort_keys=True, separators=(",", ":"))
    signature = signer.sign(PRUNING_TAG + said.encode()).hex()
    row = {"number": number, "checkpoint": target.number, "body": said, "signature": signature}
    connection.execute(insert(prunings), row)
    return number


def _named(event: Event, number: int, checkpoint: int) -> Event:
    return Event(
        kind=EventKind.PRUNED,
        gateway=event.gateway,
        principal=event.principal,
        source=event.source,
        reason=f"pruning_{number}",
        detail=f"checkpoint_{checkpoint}",
    )


def _remove(connection: Connection, floor: Checkpoint | None, target: Checkpoint, already: int = 0) -> None:
    """Remove the events up to a checkpoint and the checkpoints before it. already: how many are gone."""
    before = _heads(floor)
    for name, head in target.heads.items():
        if head.seq > before.get(name, START).seq:
            gone = delete(events).where(events.c.gateway == name, events.c.seq <= head.seq, events.c.seq > 0)
            already += connection.execute(gone).rowcount
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
                _state(connection, signer, target, floor, told, None)
                _drop_weeks(connection, floor, target)
            return
        except DBAPIError as error:
            state = getattr(error.orig, "sqlstate", "")
            if state not in (_LOCK_TIMEOUT, _DEADLOCK):
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
    """Drop the weeks that are over, without what a later checkpoint covers, and delete what else is to go.

    What an exchange of such a week wrote later goes on in the default partition.
    """
    kept = partitions.week_of(target.members["at_us"] // 86_400_000_000)
    heads = json.dumps({name: head.seq for name, head in target.heads.items()})
    names = ", ".join(column.name for column in events.columns)
    old = (
        f"{events.name} e LEFT JOIN json_each_text(:heads) h ON h.key = e.gateway "
        f"WHERE e.period < :kept AND e.tableoid != to_regclass('{partitions.OTHER}') AND e.seq"
    )
    values = {"heads": heads, "kept": kept}
    gone = f"SELECT count(*) FROM {old} <= coalesce(h.value::bigint, 0)"  # noqa: S608
    count = connection.scalar(text(gone), values) or 0
    columns = ", ".join(f"e.{column.name}" for column in events.columns)
    move = f"INSERT INTO {events.name} ({names}, period) SELECT {columns}, 0 FROM {old} > coalesce(h.value::bigint, 0)"  # noqa: S608
    connection.execute(text(move), values)
    connection.execute(text(f"SELECT {partitions.DROP_WEEKS}(:kept)"), {"kept": kept})
    _remove(connection, floor, target, count)

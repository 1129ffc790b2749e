"""The log as it is stored, for a verifier: from the database, or as lines of JSON.

An export begins with a header and ends with a sum; between them, by checkpoint, stand the events it covers, in
the order of its leaves, and then the checkpoint. Behind the last one stand the events that none covers yet.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from sqlalchemy import Connection, func, or_, select

from sallyport.audit.checkpoints import Checkpoint, Unreadable, checkpoints_after, writers
from sallyport.audit.retention import floor_of
from sallyport.audit.schema import checkpoints, events, prunings
from sallyport.audit.verifier import EXPORT_FORMAT, Signed
from sallyport.errors import OperatorError

_MAX_GOING = 200
"""Writers whose rows are read on where the last question ended."""

type StoredRow = dict[str, Any]


class StoreSource:
    """A database as the verifier reads one; all of it inside one transaction of the connection's."""

    start: Signed | None = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._going: dict[str, tuple[int, Iterator[StoredRow]]] = {}
        """By writer: how far its rows were read, and the rest of them. A question of every checkpoint for every
        writer would be planned over all partitions each time."""

    def writers(self) -> list[str]:
        return writers(self._connection)

    def rows(self, writer: str, after: int, until: int | None) -> Iterator[StoredRow]:
        at, found = self._going.pop(writer, (None, None))
        if found is None or at != after:
            query = select(events).where(events.c.gateway == writer, events.c.seq > after)
            found = self._found(query.order_by(events.c.seq))
        for row in found:
            if until is not None and row["seq"] > until:
                found = chain([row], found)
                break
            yield row
        if until is not None and len(self._going) < _MAX_GOING:
            self._going[writer] = until, found

    def unnumbered(self) -> Iterator[StoredRow]:
        return self._found(select(events).where(or_(events.c.seq.is_(None), events.c.seq < 1)))

    def checkpoints(self) -> Iterator[Signed]:
        for found in checkpoints_after(self._connection, -(2**62)):
            yield Signed(found.number, found.body, found.signature)

    def prunings(self) -> Iterator[Signed]:
        for found in self._connection.execute(select(prunings)):
            yield Signed(found.number, found.body, found.signature)

    def count(self) -> int:
        return self._connection.scalar(select(func.count()).select_from(events)) or 0

    def _found(self, query: Any) -> Iterator[StoredRow]:
        with self._connection.execute(query, execution_options={"yield_per": 1000}) as found:
            for row in found.mappings():
                yield dict(row)


def export_lines(
    connection: Connection,
    after: int,
    progress: Callable[[int], None] = lambda done: None,
    unreadable: Callable[[int], None] = lambda number: None,
) -> Iterator[str]:
    """Yield the lines of an export behind a checkpoint, 0 from where the log begins. Raises OperatorError.

    unreadable: gets the number of a checkpoint that cannot be read. It is written as it is, and its events stand
    before the next one, so that a verifier still sees all there is. The cursor is the last that can be read.
    """
    source = StoreSource(connection)
    at: Mapping[str, int] = {}
    start = floor = floor_of(connection)
    if floor is not None and 0 < after < floor.number:
        raise OperatorError(
            "--after",
            f"events up to checkpoint {floor.number} were pruned",
            "Leave it out: the export then begins there, and says so.",
        )
    after = after or (0 if floor is None else floor.number)
    if after:
        query = select(checkpoints).where(checkpoints.c.number == after)
        found = connection.execute(query).first()
        if found is None:
            raise OperatorError(
                "--after", f"there is no checkpoint {after}", "Take the number an export ended with."
            )
        start = Checkpoint(found.number, found.body, found.signature)
    if start is not None:
        try:
            at = {name: head.seq for name, head in start.heads.items()}
        except Unreadable as error:
            if start != floor:
                raise OperatorError("--after", str(error), "Leave it out, or name an earlier one.") from None
            after, start = start.number - 1, None  # it comes as any other
    stated = max(source.prunings(), key=lambda found: found.number, default=None)
    yield _line(
        {
            "type": EXPORT_FORMAT,
            "version": 1,
            "after": None if start is None else _members(start),
            "pruned": None if stated is None else _members(stated),
        }
    )
    number, covered, count = 0 if start is None else after, 0, 0
    for checkpoint in checkpoints_after(connection, after):
        covered += 1
        try:
            heads = {name: head.seq for name, head in checkpoint.heads.items()}
        except Unreadable:
            unreadable(checkpoint.number)
            yield _line({"type": "checkpoint", **_members(checkpoint)})
            continue
        for name in sorted(heads, key=str.encode):
            for row in source.rows(name, at.get(name, 0), heads[name]):
                yield _event(row)
                count += 1
                if count % 1000 == 0:
                    progress(count)
        yield _line({"type": "checkpoint", **_members(checkpoint)})
        at = {**at, **{name: max(seq, at.get(name, 0)) for name, seq in heads.items()}}
        number = checkpoint.number
    for name in sorted(source.writers(), key=str.encode):
        for row in source.rows(name, at.get(name, 0), None):
            yield _event(row)
            count += 1
    for row in source.unnumbered():
        yield _event(row)
        count += 1
    progress(count)
    yield _line({"type": "end", "events": count, "checkpoints": covered, "cursor": number})


def _members(found: Checkpoint | Signed) -> dict[str, object]:
    return {"number": found.number, "body": found.body, "signature": found.signature}


def _event(row: StoredRow) -> str:
    return _line(
        {"type": "event", "event": {name: value for name, value in row.items() if value is not None}}
    )


def _line(members: Mapping[str, object]) -> str:
    # SQLite lets who changes a row put bytes there; as a text they are found, and stop nothing.
    return json.dumps(members, separators=(",", ":"), default=repr) + "\n"

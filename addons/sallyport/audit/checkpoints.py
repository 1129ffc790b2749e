"""Signed checkpoints: from time to time all writers' events are closed under one signature.

A checkpoint covers every event behind the heads of the one before, up to its own heads, by writer (names in the
order of their UTF-8 bytes) and number. Its body is a JSON object, sorted, without white space, in ASCII:

    number      from 1 without a gap
    at_us       microseconds since 1970-01-01 UTC
    previous    SHA-256(CHECKPOINT_TAG || body before) in hex; zeros for the first
    count       events it covers
    total       events that it and all before it cover
    root        Merkle root (RFC 9162); the data of a leaf are the 32 bytes of an event's hash
    heads       of every writer: [number, hash] of its last event
    key         public key of who signed, in hex

The signature is Ed25519 over CHECKPOINT_TAG || body.
"""

import itertools
import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import IntegrityError

from sallyport.audit.adding import head_of, pruned_heads
from sallyport.audit.chain import START, Head
from sallyport.audit.merkle import leaf_hash, path_of, root_of
from sallyport.audit.schema import checkpoints, events, microseconds
from sallyport.audit.signing import Signer
from sallyport.errors import OperatorError
from sallyport.sql.engines import Database

CHECKPOINT_TAG = b"sallyport.audit.checkpoint.v1\n"
_TRIES = 50
_LONGEST_PAUSE_S = 0.05
"""Between two tries: several gateways meet seldom, and then not again."""


class Unreadable(Exception):
    """What is stored does not fit together: the store was tampered with. The text says where."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One stored checkpoint. body: the text that is signed. signature: in hex."""

    number: int
    body: str
    signature: str

    @property
    def digest(self) -> str:
        """What the next one names as `previous`."""
        return sha256(CHECKPOINT_TAG + self.body.encode()).hexdigest()

    @property
    def members(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.body)
            is_sound = all(type(found[name]) is int for name in ("at_us", "count", "total"))
            for seq, hash in found["heads"].values():
                is_sound = (
                    is_sound and type(seq) is int and 0 <= seq < 2**63 and len(bytes.fromhex(hash)) == 32
                )
            is_sound = is_sound and len(bytes.fromhex(found["key"])) == 32
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            is_sound = False
        if not is_sound:
            raise Unreadable(f"checkpoint {self.number} cannot be read")
        return found

    @property
    def heads(self) -> dict[str, Head]:
        return {name: Head(*head) for name, head in self.members["heads"].items()}

    @property
    def line(self) -> str:
        """The checkpoint as it is copied to another place: one line of JSON."""
        return json.dumps(
            {"body": self.body, "number": self.number, "signature": self.signature}, sort_keys=True
        )


def make_checkpoint(at: Database, signer: Signer, now: datetime | None = None) -> Checkpoint | None:
    """Close what was written since the last checkpoint; None where that is nothing.

    The hashes are read without keeping writers waiting; where another process makes one first, the next is
    made after it. Raises SQLAlchemy's errors, and Unreadable where the last checkpoint was tampered with.
    """
    for tried in range(_TRIES):
        found = _prepared(at, signer, now or datetime.now(UTC))
        if found is None:
            return None
        try:
            with at.writer.begin() as connection:
                row = {"number": found.number, "body": found.body, "signature": found.signature}
                connection.execute(insert(checkpoints), row)
            return found
        except IntegrityError:
            if tried == _TRIES - 1:
                raise
            time.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311
    return None


def _prepared(at: Database, signer: Signer, now: datetime) -> Checkpoint | None:
    with at.reader.connect() as connection:
        last = last_checkpoint(connection)
        before = last.heads if last is not None else {}
        heads = {name: head_of(connection, name) for name in {*before, *writers(connection)}}
        pruned = pruned_heads(connection)
        for name, head in before.items():
            if heads[name].seq < head.seq or (
                head != pruned.get(name) and not _is_there(connection, name, head)
            ):
                raise Unreadable("events are missing that the last checkpoint covers")
        count = sum(head.seq - before.get(name, START).seq for name, head in heads.items())
        if count <= 0:
            return None
        leaves = itertools.count()
        root = root_of(
            leaf_hash(hash) for hash, _ in zip(hashes(connection, before, heads), leaves, strict=False)
        )
        if next(leaves) != count:
            raise Unreadable("events are missing behind the last checkpoint")
    number = 1 if last is None else last.number + 1
    body = {
        "number": number,
        "at_us": microseconds(now),
        "previous": START.hash if last is None else last.digest,
        "count": count,
        "total": count + (0 if last is None else last.members["total"]),
        "root": root.hex(),
        "heads": {name: [head.seq, head.hash] for name, head in heads.items()},
        "key": signer.public_key.hex(),
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return Checkpoint(number, text, signer.sign(CHECKPOINT_TAG + text.encode()).hex())


def _is_there(connection: Connection, gateway: str, head: Head) -> bool:
    place = (events.c.gateway == gateway, events.c.seq == head.seq)
    return connection.scalar(select(events.c.hash).where(*place)) == head.hash


def last_checkpoint(connection: Connection) -> Checkpoint | None:
    """Return the latest checkpoint of a store."""
    found = connection.execute(select(checkpoints).order_by(checkpoints.c.number.desc()).limit(1)).first()
    return None if found is None else Checkpoint(found.number, found.body, found.signature)


def checkpoints_after(connection: Connection, number: int) -> Iterator[Checkpoint]:
    """Yield the checkpoints behind a number, in order."""
    query = select(checkpoints).where(checkpoints.c.number > number).order_by(checkpoints.c.number)
    for found in connection.execute(query):
        yield Checkpoint(found.number, found.body, found.signature)


def writers(connection: Connection) -> list[str]:
    """Return the names of all writers, in the order of their UTF-8 bytes. Jumps from one to the next."""
    found: list[str] = []
    query = select(events.c.gateway).order_by(events.c.gateway).limit(1)
    name = connection.scalar(query)
    while name is not None:
        found.append(name)
        name = connection.scalar(query.where(events.c.gateway > name))
    return sorted(found, key=str.encode)


def hashes(connection: Connection, before: Mapping[str, Head], heads: Mapping[str, Head]) -> Iterator[bytes]:
    """Yield the hashes of the events between two lots of heads, in the order of the tree's leaves."""
    for name in sorted(heads, key=str.encode):
        first, last = before.get(name, START).seq, heads[name].seq
        query = select(events.c.hash).where(events.c.gateway == name, events.c.seq > first)
        query = query.where(events.c.seq <= last).order_by(events.c.seq)
        for (hash,) in connection.execute(query, execution_options={"yield_per": 2000}):
            yield bytes.fromhex(hash)


def _first_to_reach(connection: Connection, gateway: str, seq: int) -> Checkpoint | None:
    """Return the first checkpoint that covers an event: a year of them may have half a million."""
    first, last = connection.execute(
        select(func.min(checkpoints.c.number), func.max(checkpoints.c.number))
    ).one()
    best: Checkpoint | None = None
    while first is not None and first <= last:
        middle = (first + last) // 2
        found = _next_readable(connection, middle, last)
        if found is not None and found.heads.get(gateway, START).seq < seq:
            first = found.number + 1
        else:
            best, last = found or best, middle - 1
    return best


def _next_readable(connection: Connection, first: int, last: int) -> Checkpoint | None:
    number = first - 1
    query = select(checkpoints).order_by(checkpoints.c.number).limit(1)
    while row := connection.execute(query.where(checkpoints.c.number.between(number + 1, last))).first():
        found, number = Checkpoint(row.number, row.body, row.signature), row.number
        with suppress(Unreadable):
            _ = found.members
            return found
    return None


def proof_of(connection: Connection, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bundle that proves one event, by itself, to who has only the verifier.

    Raises OperatorError where no checkpoint covers the event yet, Unreadable where what one covers is not whole.
    """
    gateway, seq = row["gateway"], row["seq"]
    checkpoint = _first_to_reach(connection, gateway, seq)
    if checkpoint is None:
        raise OperatorError(
            "ID", "no checkpoint covers this event yet", "Make one: sallyport audit checkpoint", exit_code=2
        )
    query = select(checkpoints).where(checkpoints.c.number < checkpoint.number)
    found = connection.execute(query.order_by(checkpoints.c.number.desc()).limit(1)).first()
    before = {} if found is None else Checkpoint(found.number, found.body, found.signature).heads
    heads = checkpoint.heads
    leaves = [leaf_hash(hash) for hash in hashes(connection, before, heads)]
    if len(leaves) != checkpoint.members["count"]:
        raise Unreadable(f"checkpoint {checkpoint.number} covers other events than are there")
    index = seq - before.get(gateway, START).seq - 1
    for name in sorted(heads, key=str.encode):
        if name == gateway:
            break
        index += heads[name].seq - before.get(name, START).seq
    last = before.get(gateway, START)
    query = select(events.c.hash).where(events.c.gateway == gateway, events.c.seq == seq - 1)
    return {
        "format": "sallyport-audit-proof",
        "version": 1,
        "event": {name: value for name, value in row.items() if value is not None},
        "previous": last.hash if seq - 1 == last.seq else connection.scalar(query),
        "index": index,
        "path": [node.hex() for node in path_of(leaves, index)],
        "checkpoint": {"body": checkpoint.body, "signature": checkpoint.signature},
        "public_key": checkpoint.members["key"],
        "policy_revision": row["policy_revision"],
        "rules_revision": row["rules_revision"],
    }

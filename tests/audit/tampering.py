"""What somebody with all rights on the database can do to a log: each act says where it must be found."""

import json
import sqlite3
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from sqlalchemy import BigInteger, Connection, Double, text

from sallyport.audit.chain import START, Head, linked
from sallyport.audit.checkpoints import CHECKPOINT_TAG, Checkpoint
from sallyport.audit.merkle import leaf_hash, root_of
from sallyport.audit.schema import events
from sallyport.audit.signing import Signer
from sallyport.audit.verifier import Finding, Report

type Row = dict[str, Any]

NUMBERS = {column.name for column in events.columns if isinstance(column.type, BigInteger)}
REALS = {column.name for column in events.columns if isinstance(column.type, Double)}
NOT_NULL = {column.name for column in events.columns if not column.nullable}
EDITED = [column.name for column in events.columns if column.name not in ("seq", "hash")]


class Hands(Protocol):
    """Somebody's hold on a database."""

    def rows(self) -> list[Row]: ...
    def run(self, statement: str, **values: object) -> None: ...


class SqliteHands:
    """A hold on a SQLite file. The connection's rows are sqlite3.Row."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self) -> list[Row]:
        return [dict(row) for row in self._connection.execute("SELECT * FROM audit_events")]

    def run(self, statement: str, **values: object) -> None:
        self._connection.execute(statement, values)


class PostgresHands:
    """A hold on a PostgreSQL server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self) -> list[Row]:
        return [dict(row) for row in self._connection.execute(text("SELECT * FROM audit_events")).mappings()]

    def run(self, statement: str, **values: object) -> None:
        self._connection.execute(text(statement), values)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an act must be found: an event of a writer, or a checkpoint, and before which checkpoint it lies."""

    writer: str = ""
    seq: int | None = None
    checkpoint: int | None = None

    def is_found_by(self, finding: Finding) -> bool:
        if self.checkpoint is not None and not self.writer:
            after, before = finding.after, finding.before
            return after is not None and before is not None and after < self.checkpoint <= before
        if finding.writer != self.writer:
            return False
        if self.checkpoint is not None and finding.before != self.checkpoint:
            return False
        if self.seq is None or finding.first is None or finding.last is None:
            return self.seq is None and finding.first is None
        return finding.first <= self.seq <= finding.last


def is_found(report: Report, place: Place) -> bool:
    """Say whether a finding names the place of an act."""
    return any(place.is_found_by(finding) for finding in report.findings)


def assert_found(report: Report, place: Place, act: str) -> None:
    assert is_found(report, place), (act, place, report.findings)


class Tamperer:
    """One random act on a log. made: its checkpoints. needs_copy says whether only a copy can show the act."""

    def __init__(self, hands: Hands, made: list[Checkpoint], signer: Signer, random: Random) -> None:
        self.hands = hands
        self.made = made
        self.signer = signer
        self.random = random
        self.needs_copy = False
        self.all = hands.rows()
        self.heads = {name: head.seq for name, head in made[-1].heads.items()}

    def act(self) -> tuple[str, Place]:
        acts = (
            *(self.edit, self.edit, self.edit_and_hash, self.edit_and_chain, self.change_hash, self.delete),
            *(self.delete_and_chain, self.insert, self.insert_and_chain, self.swap, self.swap_and_chain),
            *(self.truncate, self.truncate_all, self.roll_back, self.fork, self.change_checkpoint),
            *(self.delete_checkpoint, self.forge_checkpoint, self.change_writer),
        )
        chosen = self.random.choice(acts)
        return chosen.__name__, chosen()

    # Acts on one event.

    def edit(self) -> Place:
        row = self.random.choice(self.all)
        name = self.random.choice([name for name in EDITED if name != "gateway"])
        self._set(row, name, self._other(name, row[name]))
        return self._at(row)

    def change_writer(self) -> Place:
        row = self._covered()
        self._set(row, "gateway", self._text())
        return Place(row["gateway"], row["seq"])

    def change_hash(self) -> Place:
        row = self.random.choice(self.all)
        self._set(row, "hash", f"{self.random.getrandbits(256):064x}")
        return self._at(row)

    def edit_and_hash(self) -> Place:
        """Change an event and its own hash, so that only what follows shows it."""
        row = self._covered()
        name = self.random.choice([name for name in EDITED if name not in ("gateway", "id")])
        before = self._head_before(row)
        changed = {**row, name: self._other(name, row[name])}
        linked(changed, before)
        self._set(row, name, changed[name])
        self._set(row, "hash", changed["hash"])
        return Place(row["gateway"], row["seq"])

    def delete(self) -> Place:
        row = self._covered()
        self.hands.run("DELETE FROM audit_events WHERE id = :id", id=row["id"])
        return self._at(row)

    def insert(self) -> Place:
        row = self._covered()
        made = {**row, "id": self._text(), "exchange": None, "seq": -self.random.randint(0, 5)}
        if self.random.random() < 0.5:
            made.update(gateway=self._text(), seq=self.random.randint(2, 9))
            self._add(made)
            return Place(made["gateway"], made["seq"] - 1)
        self._add(made)
        return Place(row["gateway"])

    def swap(self) -> Place:
        first, second = self._two()
        self._set(first, "seq", -7)
        self._set(second, "seq", first["seq"])
        self._set(first, "seq", second["seq"])
        return Place(first["gateway"], self.random.choice([first, second])["seq"])

    # Acts that chain anew what follows, as only who has the code of the writer can.

    def edit_and_chain(self) -> Place:
        row = self._covered()
        name = self.random.choice([name for name in EDITED if name not in ("gateway", "id")])
        changed = {**row, name: self._other(name, row[name])}
        self._write_anew(row["gateway"], [changed if r is row else r for r in self._chain(row["gateway"])])
        return self._at_checkpoint(row)

    def delete_and_chain(self) -> Place:
        row = self._covered()
        self._write_anew(row["gateway"], [r for r in self._chain(row["gateway"]) if r is not row])
        return self._at_checkpoint(row)

    def insert_and_chain(self) -> Place:
        row = self._covered()
        made = {**row, "id": self._text(), "exchange": None}
        chain = self._chain(row["gateway"])
        chain.insert(chain.index(row), made)
        self._write_anew(row["gateway"], chain)
        return self._at_checkpoint(row)

    def swap_and_chain(self) -> Place:
        first, second = self._two()
        chain = self._chain(first["gateway"])
        i, j = chain.index(first), chain.index(second)
        chain[i], chain[j] = second, first
        self._write_anew(first["gateway"], chain)
        return self._at_checkpoint(first if i < j else second)

    # Acts on the end.

    def truncate(self) -> Place:
        row = self._covered()
        where = "gateway = :gateway AND seq >= :seq"
        self.hands.run(f"DELETE FROM audit_events WHERE {where}", gateway=row["gateway"], seq=row["seq"])
        return self._at_checkpoint(row)

    def truncate_all(self) -> Place:
        number = self.random.randrange(len(self.made))
        self._keep(number)
        return Place(checkpoint=number + 1)

    def roll_back(self) -> Place:
        """Bring back an earlier state of the whole database."""
        self.needs_copy = True
        number = self.random.randrange(len(self.made))
        self._keep(number)
        self.hands.run("DELETE FROM audit_checkpoints WHERE number > :number", number=number)
        return Place(checkpoint=number + 1)

    def fork(self) -> Place:
        """Go on from an earlier state with other events, and checkpoints signed with the true key."""
        place = self.roll_back()
        number = (place.checkpoint or 1) - 1
        previous = self.made[number - 1] if number else None
        before = previous.heads if previous else {}
        rows = []
        for name in sorted(self.heads, key=str.encode):
            made = {**self._chain(name)[0], "id": self._text(), "exchange": None, "principal": self._text()}
            linked(made, before.get(name, START))
            self._add(made)
            rows.append(made)
        body = {
            **self.made[number].members,
            "count": len(rows),
            "total": len(rows) + (previous.members["total"] if previous else 0),
            "root": root_of([leaf_hash(bytes.fromhex(row["hash"])) for row in rows]).hex(),
            "heads": {row["gateway"]: [row["seq"], row["hash"]] for row in rows},
        }
        self._add_checkpoint(number + 1, body, self.signer)
        return place

    # Acts on checkpoints.

    def change_checkpoint(self) -> Place:
        chosen = self.random.choice(self.made)
        place = {"number": chosen.number}
        if self.random.random() < 0.3:
            signature = f"{self.random.getrandbits(512):0128x}"
            change = "UPDATE audit_checkpoints SET signature = :signature WHERE number = :number"
            self.hands.run(change, signature=signature, **place)
        else:
            at = self.random.randrange(len(chosen.body))
            other = self.random.choice([c for c in "0123456789abcdef{}," if c != chosen.body[at]])
            body = chosen.body[:at] + other + chosen.body[at + 1 :]
            self.hands.run(
                "UPDATE audit_checkpoints SET body = :body WHERE number = :number", body=body, **place
            )
        return Place(checkpoint=chosen.number)

    def delete_checkpoint(self) -> Place:
        chosen = self.random.choice(self.made[:-1])
        self.hands.run("DELETE FROM audit_checkpoints WHERE number = :number", number=chosen.number)
        return Place(checkpoint=chosen.number)

    def forge_checkpoint(self) -> Place:
        """Change an event, chain anew, and sign anew with another key."""
        place = self.edit_and_chain()
        stranger = _stranger()
        for checkpoint in self.made:
            body = {**checkpoint.members, "key": stranger.public_key.hex()}
            self.hands.run("DELETE FROM audit_checkpoints WHERE number = :number", number=checkpoint.number)
            self._add_checkpoint(checkpoint.number, body, stranger)
        return Place(checkpoint=place.checkpoint)

    # What they share.

    def _chain(self, writer: str) -> list[Row]:
        return sorted((row for row in self.all if row["gateway"] == writer), key=lambda row: row["seq"])

    def _covered(self) -> Row:
        return self.random.choice([row for row in self.all if row["seq"] <= self.heads[row["gateway"]]])

    def _two(self) -> tuple[Row, Row]:
        first = self._covered()
        writer = first["gateway"]
        others = [r for r in self._chain(writer) if r is not first and r["seq"] <= self.heads[writer]]
        return first, self.random.choice(others)

    def _at(self, row: Row) -> Place:
        return Place(row["gateway"], row["seq"])

    def _at_checkpoint(self, row: Row) -> Place:
        covers = (c.number for c in self.made if c.heads[row["gateway"]].seq >= row["seq"])
        return Place(row["gateway"], row["seq"], next(covers))

    def _head_before(self, row: Row) -> Head:
        chain = self._chain(row["gateway"])
        at = chain.index(row)
        return Head(chain[at - 1]["seq"], chain[at - 1]["hash"]) if at else START

    def _write_anew(self, writer: str, rows: list[Row]) -> None:
        self.hands.run("DELETE FROM audit_events WHERE gateway = :gateway", gateway=writer)
        head = START
        for row in rows:
            made = dict(row)
            head = linked(made, head)
            self._add(made)

    def _keep(self, number: int) -> None:
        """Remove every event that the checkpoint of a number does not cover."""
        heads = self.made[number - 1].heads if number else {}
        for writer in self.heads:
            seq = heads.get(writer, START).seq
            where = "gateway = :gateway AND seq > :seq"
            self.hands.run(f"DELETE FROM audit_events WHERE {where}", gateway=writer, seq=seq)

    def _add(self, row: Row) -> None:
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        self.hands.run(f"INSERT INTO audit_events ({names}) VALUES ({values})", **row)

    def _add_checkpoint(self, number: int, body: dict[str, Any], signer: Signer) -> None:
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        signature = signer.sign(CHECKPOINT_TAG + text.encode()).hex()
        row = {"number": number, "body": text, "signature": signature}
        self.hands.run("INSERT INTO audit_checkpoints VALUES (:number, :body, :signature)", **row)

    def _set(self, row: Row, name: str, value: object) -> None:
        self.hands.run(f"UPDATE audit_events SET {name} = :value WHERE id = :id", value=value, id=row["id"])

    def _other(self, name: str, value: object) -> object:
        while True:
            other: object = self._text()
            if name in NUMBERS:
                other = self.random.choice([0, 1, self.random.getrandbits(62)])
            if name in REALS:
                other = self.random.choice([0.0, 1.0, self.random.random()])
            if name not in NOT_NULL and self.random.random() < 0.2:
                other = None
            if other != value:
                return other

    def _text(self) -> str:
        letters = 'abcxyz 0189ÄÖ"\\/\u2028\u0085\n\U0001f600'
        return "".join(self.random.choices(letters, k=self.random.randint(6, 20)))


def _stranger() -> Signer:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

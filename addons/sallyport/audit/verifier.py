#!/usr/bin/env python3
"""Verify an audit log of Sallyport, offline: a SQLite file, an export, or the proof of one event.

This file needs Python 3.12 and nothing else. It shares no code with what writes the log: take it to a machine of
your own, and read it. The formats are in docs/audit.md.

    verify_audit audit.db --public-key key.pem --checkpoints copy.jsonl
    verify_audit export.jsonl --public-key key.pem
    verify_audit proof.json --public-key key.pem

Exit codes: 0 nothing is wrong, 1 something is, 2 it could not be read.
"""

import argparse
import base64
import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import sha256, sha512
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, Protocol

EVENT_TAG = b"sallyport.audit.event.v1\n"
CHECKPOINT_TAG = b"sallyport.audit.checkpoint.v1\n"
PRUNING_TAG = b"sallyport.audit.pruning.v1\n"
ZERO = "00" * 32
EXPORT_FORMAT = "sallyport-audit-export"
PROOF_FORMAT = "sallyport-audit-proof"
MAX_FINDINGS = 1000

type Row = Mapping[str, Any]


class Unusable(Exception):
    """What was given cannot be read as what it should be."""


# Ed25519, RFC 8032 section 5.1: points in extended coordinates, decoded strictly, equation without cofactor.

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_1 = pow(2, (_P - 1) // 4, _P)

type _Point = tuple[int, int, int, int]


def _add(a: _Point, b: _Point) -> _Point:
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    c, d = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(factor: int, point: _Point) -> _Point:
    found: _Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            found = _add(found, point)
        point = _add(point, point)
        factor >>= 1
    return found


class _Multiples:
    """Multiples of one point. From the second on they are sums of 64 points of a table, a sixth of the work."""

    def __init__(self, point: _Point) -> None:
        self._point = point
        self._uses = 0
        self._table: list[list[_Point]] = []
        """Of every four bits of a factor, lowest first, what each of their 16 values stands for."""

    def __call__(self, factor: int) -> _Point:
        self._uses += 1
        if self._uses == 1:
            return _times(factor, self._point)
        if not self._table:
            step = self._point
            for _ in range(64):
                row: list[_Point] = [(0, 1, 1, 0)]
                for _ in range(15):
                    row.append(_add(row[-1], step))
                self._table.append(row)
                step = _add(row[-1], step)
        found: _Point = (0, 1, 1, 0)
        for row in self._table:
            if factor & 15:
                found = _add(found, row[factor & 15])
            factor >>= 4
        return found


_multiples = lru_cache(16)(_Multiples)


def _same(a: _Point, b: _Point) -> bool:
    return (a[0] * b[2] - b[0] * a[2]) % _P == 0 and (a[1] * b[2] - b[1] * a[2]) % _P == 0


def _decoded(data: bytes) -> _Point | None:
    if len(data) != 32:
        return None
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_1 % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _decoded((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Say whether an Ed25519 signature is that of a key over a message."""
    key, commitment = _decoded(public_key), _decoded(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or key is None or commitment is None or scalar >= _L or _BASE is None:
        return False
    if _same(_times(8, key), (0, 1, 1, 0)):
        return False  # of small order: such a key signs anything
    challenge = int.from_bytes(sha512(signature[:32] + public_key + message).digest(), "little") % _L
    return _same(_multiples(_BASE)(scalar), _add(commitment, _multiples(key)(challenge)))


# Hashes.


def canonical(row: Row) -> bytes:
    """Return the bytes of a row that its hash is made of. Raises ValueError for what no event can hold."""
    kept = {name: value for name, value in row.items() if value is not None}
    for name in ("hash", "period"):
        kept.pop(name, None)
    if isinstance(confidence := kept.get("confidence"), float):
        kept["confidence"] = repr(confidence + 0.0)
    for name, value in kept.items():
        if type(value) is not str and type(value) is not int:
            raise ValueError(name)
    return _CANONICAL.encode(kept).encode()


def canonical_by(names: Sequence[str]) -> Callable[[Sequence[Any]], bytes]:
    """Return what makes of the values of some columns the bytes of their row; b"" of what no event can hold.

    names: sorted, each once; every column that holds anything, but for those that canonical() leaves out.
    """
    begins = [f"{encode_basestring(name)}:" for name in names]

    def real(begin: str, value: Any) -> str:
        if type(value) is not float or begin != '"confidence":':
            raise ValueError
        return f'{begin}"{value + 0.0!r}"'

    def made(values: Sequence[Any]) -> bytes:
        try:
            members = [
                begin + encode_basestring(value)
                if type(value) is str
                else (f"{begin}{value}" if type(value) is int else real(begin, value))
                for begin, value in zip(begins, values, strict=True)
                if value is not None
            ]
            return ("{" + ",".join(members) + "}").encode()
        except ValueError:
            return b""

    return made


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False)


def event_hash(previous: str, row: Row) -> str:
    """Return what the hash of a row must be, behind the hash of the event before; "" if it can have none."""
    try:
        return sha256(EVENT_TAG + bytes.fromhex(previous) + canonical(row)).hexdigest()
    except (ValueError, TypeError):
        return ""


_LEAVES = 1024
"""A power of two."""


class Tree:
    """A Merkle tree of RFC 9162 that leaves are added to from left to right; few of them are kept."""

    def __init__(self) -> None:
        self._whole: list[tuple[int, bytes]] = []
        """Roots of subtrees of 2**height times _LEAVES leaves each, the largest first."""
        self._leaves: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        self._leaves.append(data)
        self.size += 1
        if len(self._leaves) == _LEAVES:
            node, height = _root(self._leaves), 0
            while self._whole and self._whole[-1][0] == height:
                node = sha256(b"\x01" + self._whole.pop()[1] + node).digest()
                height += 1
            self._whole.append((height, node))
            self._leaves = []

    def root(self) -> str:
        nodes = [node for _, node in self._whole]
        if self._leaves or not nodes:
            nodes.append(_root(self._leaves))
        found = nodes.pop()
        while nodes:
            found = sha256(b"\x01" + nodes.pop() + found).digest()
        return found.hex()


def _root(leaves: list[bytes]) -> bytes:
    """Return the root over some leaves: node by node of each level, one that is left over goes up as it is."""
    nodes = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(nodes) > 1:
        rest = nodes[-1:] if len(nodes) % 2 else []
        pairs = zip(nodes[::2], nodes[1::2], strict=False)
        nodes = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + rest
    return nodes[0] if nodes else sha256(b"").digest()


def root_by_path(data: bytes, index: int, size: int, path: list[bytes]) -> str:
    """Return the root an inclusion path leads to (RFC 9162, 2.1.3.2); "" if it fits no tree of that size."""
    if not 0 <= index < size:
        return ""
    at, last, node = index, size - 1, sha256(b"\x00" + data).digest()
    for sibling in path:
        if last == 0:
            return ""
        if at & 1 or at == last:
            node = sha256(b"\x01" + sibling + node).digest()
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = sha256(b"\x01" + node + sibling).digest()
        at, last = at >> 1, last >> 1
    return node.hex() if last == 0 else ""


# What is found.


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where.

    kind: changed, removed, inserted, reordered, cut_off, rewritten, rollback, fork, checkpoint, signature, pruning.
    writer, first, last: the numbers of a writer's events; event: the id of the one that is there.
    after, before: the numbers of the checkpoints between which it lies; before is None behind the last.
    """

    kind: str
    text: str
    writer: str = ""
    first: int | None = None
    last: int | None = None
    event: str = ""
    after: int | None = None
    before: int | None = None


@dataclass(slots=True)
class Report:
    """events, checkpoints: how many were looked at. uncovered: events behind the last checkpoint, which only
    the chain protects. notes: what is not wrong and good to know. omitted: findings beyond MAX_FINDINGS."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    events: int = 0
    checkpoints: int = 0
    uncovered: int = 0
    keys: list[str] = field(default_factory=list)
    omitted: int = 0

    @property
    def is_sound(self) -> bool:
        return not self.findings

    def add(self, finding: Finding) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.omitted += 1


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint as it is stored: number of its row, signed text, signature in hex."""

    number: int
    body: str
    signature: str

    @property
    def digest(self) -> str:
        return sha256(CHECKPOINT_TAG + self.body.encode("utf-8", "replace")).hexdigest()

    @property
    def key(self) -> str:
        return str(_members(self.body)["key"])


@lru_cache(256)
def _members(body: str) -> dict[str, Any]:
    """Return the members of a checkpoint's body. Raises ValueError where they are not what they should be."""
    found = _json(body)
    if not isinstance(found, dict):
        raise ValueError
    for name in ("number", "at_us", "count", "total"):
        if type(found.get(name)) is not int:
            raise ValueError(name)
    for name in ("previous", "root", "key"):
        if not re.fullmatch("[0-9a-f]{64}", str(found.get(name))):
            raise ValueError(name)
    heads = found.get("heads")
    if not isinstance(heads, dict):
        raise ValueError("heads")
    for head in heads.values():
        if not (isinstance(head, list) and len(head) == 2 and type(head[0]) is int and head[0] > 0):
            raise ValueError("heads")
        if not re.fullmatch("[0-9a-f]{64}", str(head[1])):
            raise ValueError("heads")
    return found


@lru_cache(16)
def _statement(body: str) -> dict[str, Any]:
    """Return the members of a statement of pruning. Raises ValueError where they are not what they should be."""
    found = _json(body)
    if not isinstance(found, dict):
        raise ValueError
    for name in ("number", "at_us", "checkpoint", "events"):
        if type(found.get(name)) is not int:
            raise ValueError(name)
    for name in ("digest", "key"):
        if not re.fullmatch("[0-9a-f]{64}", str(found.get(name))):
            raise ValueError(name)
    return found


def _json(text: str) -> Any:
    """Read JSON in which no name occurs twice: two readers could see two things in it."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice")
        return found

    return json.loads(text, object_pairs_hook=members)


class Source(Protocol):
    """A log, wherever it is. start: the checkpoint that an export begins behind, None from where the log does."""

    start: Signed | None

    def writers(self) -> list[str]:
        """Return the names of all writers."""
        ...

    def rows(self, writer: str, after: int, until: int | None) -> Iterable[Row]:
        """Return the events of a writer with after < seq <= until, by seq."""
        ...

    def unnumbered(self) -> Iterable[Row]:
        """Return the rows whose writer or seq is none that a writer gives."""
        ...

    def checkpoints(self) -> Iterable[Signed]:
        """Return all checkpoints behind the start by number."""
        ...

    def prunings(self) -> Iterable[Signed]:
        """Return the statements of what was pruned."""
        ...

    def count(self) -> int:
        """Return the number of events, for the progress."""
        ...


# The check.


_NOTHING = (0, ZERO, ZERO)
_HASH = re.compile("[0-9a-f]{64}")
_TOLD = re.compile("checkpoint_([0-9]{1,19})")


class _Check:
    def __init__(self, source: Source, report: Report, progress: Callable[[int, int], None]) -> None:
        self.source = source
        self.report = report
        self.progress = progress
        self.total = source.count()
        self.at: dict[str, tuple[int, str, str]] = {}
        """Of every writer's last event that was looked at: its number, its stored hash, and what else the
        next one may be chained to, where only that hash was changed."""
        self.lost: set[str] = set()
        """Writers whose stored chain already differs from what checkpoints say."""
        self.line = 0
        self.told: dict[str, int] = {}
        """Prunings that events tell of, and up to which checkpoint."""

    def start(self, signed: Signed) -> None:
        """Begin behind a checkpoint: nothing may stand before it."""
        heads = _members(signed.body)["heads"]
        self.at = {name: (seq, hash, hash) for name, (seq, hash) in heads.items()}
        for name, (seq, _) in heads.items():
            for row in self.source.rows(name, 0, seq):
                self._looked()
                text = "an event before the checkpoint that the log begins behind"
                place = (name, row["seq"], row["seq"], _id(row), None, signed.number)
                self.report.add(Finding("inserted", text, *place))

    def covered(self, signed: Signed, after: int) -> None:
        """Check the events between the state so far and the heads of a checkpoint."""
        report, members = self.report, _members(signed.body)
        place: dict[str, Any] = {"after": after, "before": signed.number}
        tree, found = Tree(), len(report.findings) + report.omitted
        for writer in sorted(members["heads"], key=_bytes):
            until, hash = members["heads"][writer]
            first = self.at.get(writer, _NOTHING)[0] + 1
            reached = self._walk(writer, until, place, tree)
            if reached == hash:
                self.lost.discard(writer)
            elif writer not in self.lost:
                self.lost.add(writer)
                text = "the chain does not end where the checkpoint says"
                report.add(Finding("rewritten", text, writer, min(first, until), until, **place))
            self.at[writer] = (until, reached, hash)
        for writer in self.at.keys() - members["heads"].keys():
            report.add(Finding("checkpoint", "the checkpoint leaves out a writer", writer, **place))
        is_next, is_clean = signed.number == after + 1, len(report.findings) + report.omitted == found
        if is_next and is_clean and (tree.root() != members["root"] or tree.size != members["count"]):
            report.add(Finding("checkpoint", "the tree of its events has another root", **place))

    def tail(self, after: int | None) -> None:
        """Check what no checkpoint covers, and what stands outside of all chains."""
        place: dict[str, Any] = {"after": after, "before": None}
        before = self.report.events
        for writer in sorted(set(self.source.writers()), key=_bytes):
            self._walk(writer, None, place, None)
        self.report.uncovered = self.report.events - before
        for row in self.source.unnumbered():
            self._looked()
            text = "an event without a place in a chain"
            self.report.add(Finding("inserted", text, str(row.get("gateway")), event=_id(row), **place))

    def _as_it_should_be(self, writer: str, until: int | None, tree: Tree | None) -> None:
        """Go along a chain as far as every event is what was hashed, and tells of nothing that must be remembered.

        Whatever is not, _walk looks at from there: what is wrong is said there and nowhere else.
        """
        if not isinstance(self.source, SqliteSource):
            return
        seq, previous, other = self.at.get(writer, _NOTHING)
        if previous != other:
            return
        digest = before = bytes.fromhex(previous)
        sound = list[bytes]()
        for number, stored, kind, row in self.source.prints(writer, seq, until):
            if number == seq and sound:  # a second event of this number: _walk must see both
                seq, digest = seq - 1, before
                sound.pop()
                break
            found = sha256(EVENT_TAG + digest + row).digest()
            if found.hex() != stored or number != seq + 1 or kind == "pruned" or not row:
                break
            if len(sound) == _LEAVES:
                self._were_sound(sound, tree)
                sound = []
            seq, digest, before = number, found, digest
            sound.append(found)
        self._were_sound(sound, tree)
        self.at[writer] = (seq, digest.hex(), digest.hex())

    def _were_sound(self, digests: list[bytes], tree: Tree | None) -> None:
        self.report.events += len(digests)
        self.progress(self.report.events, self.total)
        if tree is not None:
            for digest in digests:
                tree.add(digest)

    def _walk(self, writer: str, until: int | None, place: dict[str, Any], tree: Tree | None) -> str:
        """Check a part of one chain and return the stored hash of its last event."""
        report = self.report
        self._as_it_should_be(writer, until, tree)
        seq, previous, other = self.at.get(writer, _NOTHING)
        for row in self.source.rows(writer, seq, until):
            self._looked()
            number, stored, id = row["seq"], row.get("hash"), _id(row)
            if row.get("kind") == "pruned":
                pruning, said = str(row.get("reason")), _TOLD.fullmatch(str(row.get("detail")))
                self.told[pruning] = max(self.told.get(pruning, 0), int(said[1]) if said else 0)
            if self._is_out_of_line(row):
                report.add(
                    Finding(
                        "reordered", "not in its place in the export", writer, number, number, id, **place
                    )
                )
            if number <= seq:
                report.add(
                    Finding("inserted", "a second event of this number", writer, number, number, id, **place)
                )
                continue
            stored = stored if isinstance(stored, str) and _HASH.fullmatch(stored) else ZERO
            wanted = event_hash(previous, row)
            if number > seq + 1:
                report.add(Finding("removed", "events are missing", writer, seq + 1, number - 1, **place))
                wanted = stored  # what it was chained to is gone
            elif wanted != stored and (other == previous or event_hash(other, row) != stored):
                text = "this event, or the one before with its hash, was changed"
                report.add(Finding("changed", text, writer, max(1, number - 1), number, id, **place))
            seq, previous, other = number, stored, wanted or stored
            if tree is not None:
                tree.add(bytes.fromhex(stored))
        if until is not None and seq < until:
            is_end = next(iter(self.source.rows(writer, until, None)), None) is None
            kind, text = (
                ("cut_off", "the last events are missing") if is_end else ("removed", "events are missing")
            )
            report.add(Finding(kind, text, writer, seq + 1, until, **place))
        self.at[writer] = (seq, previous, other)
        return previous

    def _looked(self) -> None:
        self.report.events += 1
        if self.report.events % 1000 == 0:
            self.progress(self.report.events, self.total)

    def _is_out_of_line(self, row: Row) -> bool:
        line = getattr(row, "line", None)
        if line is None:
            return False
        is_out: bool = line < self.line
        self.line = line
        return is_out


def verify(
    source: Source,
    *,
    keys: Iterable[bytes] = (),
    copy: Iterable[Signed] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Check a whole log.

    keys: public keys that may have signed, 32 bytes each; where there are none, those the log names itself.
    copy: checkpoints kept elsewhere.
    """
    report = Report()
    trusted = {key.hex() for key in keys}
    check = _Check(source, report, progress)
    start = source.start
    if start is not None and not _check_one(start, trusted, report):
        raise Unusable("the checkpoint that the export begins behind is not signed by a known key")
    stored: dict[int, Signed] = {}
    for found in source.checkpoints():
        if found.number < 1:
            report.add(Finding("checkpoint", "a checkpoint without a number"))
        if stored.setdefault(found.number, found).body != found.body:
            text = f"the log holds two different checkpoints {found.number}"
            report.add(Finding("fork", text, after=found.number - 1, before=found.number))
    pruned = max(source.prunings(), key=lambda found: found.number, default=None)
    if pruned is not None and not _is_stated(pruned, trusted, report):
        pruned = None
    if pruned is not None and start is None:
        start = _start_of(pruned, stored, trusted, report)
    elif pruned is not None and start is not None and start.number <= _statement(pruned.body)["checkpoint"]:
        start = _start_of(pruned, {start.number: start}, trusted, report)
    last = 0 if start is None else start.number
    digest = ZERO if start is None else start.digest
    total = 0 if start is None else _members(start.body)["total"]
    if start is not None:
        check.start(start)
        if pruned is None or _statement(pruned.body)["checkpoint"] != start.number:
            report.notes.append(f"what lies before checkpoint {start.number} is not in this export")
            pruned = None
    stored = {number: found for number, found in stored.items() if number > last}
    copied = list(copy)
    chain = _merged(stored, copied, start, trusted, report)
    ends, newest = max((signed.number for signed in copied), default=0), max(stored, default=last)
    if copied and ends < newest:
        report.notes.append(
            f"the copy ends with checkpoint {ends}, the log with {newest}: what lies between was compared with nothing"
        )
    for number in sorted(chain):
        signed = chain[number]
        report.checkpoints += 1
        place: dict[str, Any] = {"after": last, "before": number}
        if not _check_one(signed, trusted, report):
            continue
        if number != last + 1 and number - 1 not in chain:
            report.add(Finding("checkpoint", "checkpoints before this one are missing", **place))
        members = _members(signed.body)
        if number == last + 1 and members["previous"] != digest:
            report.add(Finding("checkpoint", "it does not follow the one before", **place))
        if any(seq < check.at.get(name, _NOTHING)[0] for name, (seq, _) in members["heads"].items()):
            report.add(Finding("checkpoint", "it covers less than the one before", **place))
            continue
        if number == last + 1 and members["total"] != total + members["count"]:
            report.add(Finding("checkpoint", "its sum of events is wrong", **place))
        check.covered(signed, last)
        last, digest, total = number, signed.digest, members["total"]
    check.tail(last or None)
    if pruned is not None:
        told = check.told.get(f"pruning_{pruned.number}")
        if told is None:
            report.add(Finding("pruning", f"no event tells of pruning {pruned.number}", before=last))
        elif told < _statement(pruned.body)["checkpoint"]:
            text = f"pruning {pruned.number} went further than the event that tells of it"
            report.add(Finding("pruning", text, before=last))
    progress(report.events, check.total)
    report.keys = sorted({found.key for found in chain.values() if _is_readable(found)})
    if not trusted and report.keys:
        report.notes.append("the public key was taken from the log itself: whoever can forge it can sign too")
    if not report.checkpoints:
        report.notes.append(
            "the log holds no checkpoint, so nothing in it is signed: one that was removed and begun anew is the same"
        )
    if report.uncovered:
        report.notes.append(
            f"{report.uncovered} events lie behind the last checkpoint: no signature covers them yet, and "
            "nobody could see if the last of them were cut off or written anew"
        )
    return report


def _is_stated(pruned: Signed, trusted: set[str], report: Report) -> bool:
    """Check form and signature of a statement of pruning; say whether what it says can be used."""
    text = f"the statement of pruning {pruned.number} "
    try:
        said = _statement(pruned.body)
        signature = bytes.fromhex(pruned.signature)
    except (ValueError, TypeError, RecursionError):
        report.add(Finding("pruning", text + "cannot be read"))
        return False
    if trusted and said["key"] not in trusted:
        report.add(Finding("pruning", text + "is signed by an unknown key", before=said["checkpoint"]))
        return False
    is_good = is_signed(bytes.fromhex(said["key"]), signature, PRUNING_TAG + pruned.body.encode())
    if not is_good or said["number"] != pruned.number:
        report.add(Finding("pruning", text + "is forged", before=said["checkpoint"]))
        return False
    return True


def _start_of(
    pruned: Signed, stored: Mapping[int, Signed], trusted: set[str], report: Report
) -> Signed | None:
    """Return the checkpoint that a statement says everything is gone up to, None where it is another one."""
    said = _statement(pruned.body)
    found = stored.get(said["checkpoint"])
    if found is None or found.digest != said["digest"] or not _check_one(found, trusted, report):
        text = f"pruning {pruned.number} was stated of another checkpoint than the log has"
        report.add(Finding("pruning", text, before=said["checkpoint"]))
        return None
    report.notes.append(
        f"events up to checkpoint {found.number} were pruned: {_members(found.body)['total']} that it and "
        f"those before it cover, by statement {pruned.number}"
    )
    return found


def _is_readable(signed: Signed) -> bool:
    try:
        _members(signed.body)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _check_one(signed: Signed, trusted: set[str], report: Report) -> bool:
    """Check number, form and signature of a checkpoint; say whether what it says can be used."""
    place: dict[str, Any] = {"after": signed.number - 1, "before": signed.number}
    if not _is_readable(signed) or _members(signed.body)["number"] != signed.number:
        report.add(Finding("checkpoint", "the checkpoint cannot be read", **place))
        return False
    if trusted and signed.key not in trusted:
        report.add(Finding("signature", "the checkpoint is signed by an unknown key", **place))
        return False
    try:
        signature = bytes.fromhex(signed.signature)
    except ValueError:
        signature = b""
    is_good = is_signed(bytes.fromhex(signed.key), signature, CHECKPOINT_TAG + signed.body.encode())
    if not is_good:
        report.add(Finding("signature", "the signature of the checkpoint is wrong", **place))
    return is_good


def _merged(
    stored: dict[int, Signed],
    copy: list[Signed],
    begins_behind: Signed | None,
    trusted: set[str],
    report: Report,
) -> dict[int, Signed]:
    """Return the checkpoints to check against: those of the copy where they differ from the store's."""
    chain = dict(stored)
    copied: dict[int, Signed] = {}
    start = 0 if begins_behind is None else begins_behind.number
    for signed in copy:
        if begins_behind is not None and signed.number == start and signed.body != begins_behind.body:
            text = "the log and the copy hold different checkpoints"
            report.add(Finding("fork", text, after=start - 1, before=start))
        if signed.number <= start:
            continue
        if not _check_one(signed, trusted, Report()):
            report.add(
                Finding("signature", f"checkpoint {signed.number} of the copy is not signed by a known key")
            )
        elif copied.setdefault(signed.number, signed).body != signed.body:
            text = f"the copy holds two different checkpoints {signed.number}"
            report.add(Finding("fork", text, after=signed.number - 1, before=signed.number))
    newest = max(stored, default=start)
    for number, signed in sorted(copied.items()):
        place: dict[str, Any] = {"after": number - 1, "before": number}
        if number not in stored and number > newest:
            report.add(
                Finding("rollback", "the copy has this checkpoint, and the log ends before it", **place)
            )
        elif number not in stored:
            report.add(Finding("checkpoint", "the copy has this checkpoint, and the log has not", **place))
        elif stored[number].body != signed.body:
            report.add(Finding("fork", "the log and the copy hold different checkpoints", **place))
        elif stored[number].signature != signed.signature:
            _check_one(stored[number], trusted, report)
        chain[number] = signed
    return chain


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "replace")


def _id(row: Row) -> str:
    return str(row.get("id", ""))[:64]


# Where logs come from.


class NumberedRow(dict[str, Any]):
    """A row of an export, and the number of its line."""

    line = 0


class SqliteSource:
    """The store of a gateway, read as one state even while it is written."""

    start: Signed | None = None
    _columns: Sequence[str] = ()

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise Unusable(f"{path} is not there")
        log = path.with_name(f"{path.name}-wal")
        # A copy in a folder nobody may write, whose write-ahead log was folded in, is read as it lies there.
        how = "mode=ro" if log.exists() or os.access(path.parent, os.W_OK) else "immutable=1"
        self._at = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)
        self._at.execute("BEGIN")

    def close(self) -> None:
        self._at.close()

    def read_anything(self) -> None:
        """From now on read a text that is no UTF-8 too, as another one; it takes longer."""
        self._at.text_factory = lambda data: data.decode("utf-8", "replace")

    def writers(self) -> list[str]:
        found = self._at.execute("SELECT DISTINCT gateway FROM audit_events WHERE typeof(gateway) = 'text'")
        return [row[0] for row in found]

    def rows(self, writer: str, after: int, until: int | None) -> Iterator[Row]:
        found = self._at.execute(
            "SELECT * FROM audit_events WHERE gateway = ? AND seq > ? AND seq <= ? AND typeof(seq) = 'integer' "
            "ORDER BY seq",
            (writer, after, 2**63 - 1 if until is None else until),
        )
        return _named(found)

    def prints(self, writer: str, after: int, until: int | None) -> Iterator[tuple[int, Any, Any, bytes]]:
        """Return of the same events number, hash and kind as they are stored, and the canonical bytes of the row."""
        if not self._columns:
            self._columns = self._used_columns()
        columns = self._columns
        if not {"seq", "hash", "kind"}.issubset(columns):
            return iter(())
        found = self._at.execute(
            f"SELECT {', '.join(map(_quoted, columns))} FROM audit_events WHERE gateway = ? AND seq > ? "  # noqa: S608
            "AND seq <= ? AND typeof(seq) = 'integer' ORDER BY seq",
            (writer, after, 2**63 - 1 if until is None else until),
        )
        made, seq, kind = canonical_by(columns[:-1]), columns.index("seq"), columns.index("kind")
        return ((row[seq], row[-1], row[kind], made(row[:-1])) for row in found)

    def _used_columns(self) -> list[str]:
        """Return the columns that hold anything, sorted, `hash` behind the others; none where a name is there twice.

        Two thirds of the time that reading rows takes are columns that are NULL.
        """
        names = [column[0] for column in self._at.execute("SELECT * FROM audit_events LIMIT 0").description]
        some = ", ".join(f"count({_quoted(name)})" for name in names)
        counts = self._at.execute(f"SELECT {some} FROM audit_events").fetchone()  # noqa: S608
        used = [name for name, count in zip(names, counts, strict=True) if count and name != "period"]
        return [] if len(set(names)) < len(names) else sorted(used, key=lambda name: (name == "hash", name))

    def unnumbered(self) -> Iterator[Row]:
        found = self._at.execute(
            "SELECT * FROM audit_events WHERE typeof(seq) != 'integer' OR seq < 1 OR typeof(gateway) != 'text'"
        )
        return _named(found)

    def checkpoints(self) -> Iterator[Signed]:
        found = self._at.execute("SELECT number, body, signature FROM audit_checkpoints ORDER BY number")
        return (Signed(row[0] if type(row[0]) is int else 0, str(row[1]), str(row[2])) for row in found)

    def prunings(self) -> Iterator[Signed]:
        known = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'audit_prunings'"
        if not self._at.execute(known).fetchone()[0]:
            return  # of an earlier version
        for row in self._at.execute("SELECT number, body, signature FROM audit_prunings"):
            yield Signed(row[0] if type(row[0]) is int else 0, str(row[1]), str(row[2]))

    def count(self) -> int:
        return int(self._at.execute("SELECT count(*) FROM audit_events").fetchone()[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _named(found: sqlite3.Cursor) -> Iterator[Row]:
    """Yield rows with the names of their columns."""
    names = [column[0] for column in found.description]
    return (dict(zip(names, row, strict=True)) for row in found)


class ExportSource:
    """An export of JSON lines, sorted into a temporary database on the disk."""

    def __init__(self, path: Path) -> None:
        self._at = sqlite3.connect("", isolation_level=None)
        self._at.execute("CREATE TABLE event (gateway TEXT, seq INTEGER, line INTEGER, text TEXT)")
        self._at.execute("BEGIN")
        self.start: Signed | None = None
        self._checkpoints: list[Signed] = []
        self._pruned: list[Signed] = []
        self._odd: list[Row] = []
        self._count = 0
        self._cursor = 0
        """Number of the last checkpoint that can be read: where the next export begins."""
        self.whole = False
        try:
            with path.open(encoding="utf-8", newline="\n") as lines:
                for number, line in enumerate(lines, 1):
                    self._take(number, line)
        except (OSError, UnicodeDecodeError):
            raise Unusable(f"{path} cannot be read as UTF-8") from None
        self._at.execute("CREATE INDEX place ON event (gateway, seq, line)")

    def close(self) -> None:
        self._at.close()

    def _take(self, number: int, line: str) -> None:
        try:
            found = _json(line)
            kind = found["type"]
            if number == 1:
                if kind != EXPORT_FORMAT or found["version"] != 1:
                    raise ValueError
                self.start = None if found["after"] is None else _signed(found["after"])
                self._cursor = 0 if self.start is None else self.start.number
                if found.get("pruned") is not None:
                    self._pruned = [_signed(found["pruned"])]
            elif kind == "event":
                self._event(number, line, found["event"])
            elif kind == "checkpoint":
                self._checkpoints.append(_signed(found))
                if _is_readable(self._checkpoints[-1]):
                    self._cursor = self._checkpoints[-1].number
            elif kind == "end":
                counted = (self._count, len(self._checkpoints), self._cursor)
                self.whole = (found["events"], found["checkpoints"], found["cursor"]) == counted
            else:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            if number > 1 and not line.endswith("\n"):
                raise Unusable(f"the export breaks off in line {number}: get the whole of it") from None
            raise Unusable(f"line {number} is none of an export of the audit") from None

    def _event(self, number: int, line: str, row: dict[str, Any]) -> None:
        self._count += 1
        writer, seq = row.get("gateway"), row.get("seq")
        if isinstance(writer, str) and type(seq) is int and 0 < seq < 2**63:
            self._at.execute("INSERT INTO event VALUES (?, ?, ?, ?)", (writer, seq, number, line))
        else:
            self._odd.append(row)

    def writers(self) -> list[str]:
        return [row[0] for row in self._at.execute("SELECT DISTINCT gateway FROM event")]

    def rows(self, writer: str, after: int, until: int | None) -> Iterator[Row]:
        query = "SELECT line, text FROM event WHERE gateway = ? AND seq > ? AND seq <= ? ORDER BY seq, line"
        for number, text in self._at.execute(query, (writer, after, 2**63 - 1 if until is None else until)):
            row = NumberedRow(_json(text)["event"])
            row.line = number
            yield row

    def unnumbered(self) -> Iterable[Row]:
        return self._odd

    def checkpoints(self) -> Iterable[Signed]:
        return self._checkpoints

    def prunings(self) -> Iterable[Signed]:
        return self._pruned

    def count(self) -> int:
        return self._count


def _signed(found: Mapping[str, Any]) -> Signed:
    number, body, signature = found["number"], found["body"], found["signature"]
    if type(number) is not int or not isinstance(body, str) or not isinstance(signature, str):
        raise ValueError
    return Signed(number, body, signature)


def read_copy(path: Path) -> tuple[list[Signed], list[str]]:
    """Return the checkpoints of a copy, and notes on lines that hold none. What syslog put before is passed over.

    Raises Unusable also for a copy without any: compared with nothing, a log that was rolled back would look sound.
    """
    found: list[Signed] = []
    notes: list[str] = []
    try:
        lines = path.read_text("utf-8", "replace").split("\n")
    except OSError as error:
        raise Unusable(f"{path} cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(_signed(_json(line[max(0, line.find("{")) :])))
        except (ValueError, KeyError, TypeError, RecursionError):
            notes.append(f"line {number} of the copy is no checkpoint, perhaps cut off while it was written")
    if not found:
        raise Unusable(
            "the copy holds no checkpoint, so nothing can be compared with it: it is something else, or nothing was "
            "ever copied to it"
        )
    return found, notes


_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")
_ED25519 = bytes.fromhex("302a300506032b6570032100")


def read_keys(path: Path) -> list[bytes]:
    """Return the Ed25519 public keys of a PEM file."""
    try:
        blocks = [base64.b64decode(block) for block in _PEM.findall(path.read_text("utf-8"))]
    except (OSError, ValueError):
        raise Unusable(f"{path} cannot be read") from None
    keys = [der[12:] for der in blocks if len(der) == 44 and der.startswith(_ED25519)]
    if not keys or len(keys) != len(blocks):
        raise Unusable(f"{path} holds no Ed25519 public key, or one of another kind")
    return keys


def _bundle(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = _json(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        raise Unusable(f"{path} is no proof of an event") from None
    return found


def _rules_revision(parts: Any) -> str:
    """Return what rules are called by: the beginning of the SHA-256 of names and digests as sorted JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode("ascii")).hexdigest()[:32]


def verify_proof(
    bundle: Mapping[str, Any], keys: Iterable[bytes] = (), copy: Iterable[Signed] = ()
) -> Report:
    """Check the bundle of one event. copy: checkpoints kept elsewhere; whoever has the key could sign two."""
    report = Report()
    trusted = {key.hex() for key in keys}
    try:
        row, index, checkpoint = bundle["event"], bundle["index"], bundle["checkpoint"]
        signed = Signed(_members(checkpoint["body"])["number"], checkpoint["body"], checkpoint["signature"])
        path = [bytes.fromhex(node) for node in bundle["path"]]
        members, hash, id = _members(signed.body), str(row["hash"]), _id(row)
        if bundle["public_key"] != signed.key or bundle["policy_revision"] != row.get("policy_revision"):
            report.add(Finding("changed", "what the bundle says beside the event is not in it", event=id))
        if bundle.get("rules_revision", row.get("rules_revision")) != row.get("rules_revision"):
            report.add(
                Finding("changed", "the rules that the bundle names are not those of the event", event=id)
            )
        if "rules" in bundle and _rules_revision(bundle["rules"]) != row.get("rules_revision"):
            report.add(Finding("changed", "the rules in the bundle are not those of the event", event=id))
        if event_hash(bundle["previous"], row) != hash:
            report.add(Finding("changed", "the event is not the one that was hashed", event=id))
        if root_by_path(bytes.fromhex(hash), index, members["count"], path) != members["root"]:
            report.add(Finding("changed", "the event is not in the tree of the checkpoint", event=id))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise Unusable("it is no proof of an event") from None
    _check_one(signed, trusted, report)
    report.events = report.checkpoints = 1
    report.keys = [signed.key]
    copied = list(copy)
    same = [each for each in copied if each.number == signed.number and _check_one(each, trusted, Report())]
    if any(each.body != signed.body for each in same):
        text = f"the copy holds another checkpoint {signed.number} than the bundle"
        report.add(Finding("fork", text, after=signed.number - 1, before=signed.number))
    elif copied and not same:
        report.notes.append(
            f"the copy does not hold checkpoint {signed.number}: it was compared with nothing"
        )
    if not trusted:
        report.notes.append("the public key was taken from the bundle itself: give the one you trust")
    return report


# The command.


def shown(finding: Finding) -> str:
    """Return a finding as one line; what could do something to a terminal is escaped."""
    where = []
    if finding.writer:
        numbers = f" event {finding.first}" if finding.first is not None else ""
        if finding.last != finding.first:
            numbers = f" events {finding.first} to {finding.last}"
        where.append(f"writer {finding.writer!a}{numbers}")
    if finding.event:
        where.append(f"id {finding.event!a}")
    if finding.before is not None:
        where.append(
            f"before checkpoint {finding.before}"
            if not finding.after
            else f"between checkpoints {finding.after} and {finding.before}"
        )
    elif finding.after is not None:
        where.append(f"after checkpoint {finding.after}")
    return f"{finding.kind}: {finding.text}" + (f" ({', '.join(where)})" if where else "")


def as_json(report: Report) -> str:
    """Return a report as one JSON object."""
    return json.dumps({"sound": report.is_sound, **asdict(report)}, sort_keys=True)


def said(report: Report) -> list[str]:
    """Return a report as lines."""
    lines = [shown(finding) for finding in report.findings]
    if report.omitted:
        lines.append(f"and {report.omitted} more")
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"signed by {key}" for key in report.keys]
    verdict = "nothing is wrong" if report.is_sound else f"{len(report.findings) + report.omitted} findings"
    return [*lines, f"{report.events} events, {report.checkpoints} checkpoints: {verdict}"]


_MAX_HEAD_BYTES = 64 * 1024 * 1024


def _is_head_of_export(line: bytes) -> bool:
    try:
        found = _json(line.decode())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("type") == EXPORT_FORMAT


def check_file(
    path: Path, keys: list[bytes], copy: Path | None, progress: Callable[[int, int], None]
) -> Report:
    """Check whatever a file is. Raises Unusable."""
    copied, notes = read_copy(copy) if copy is not None else ([], [])
    try:
        with path.open("rb") as file:
            beginning = file.read(4096)
            file.seek(0)
            # Behind its first line an export holds names that clients chose, such as that of the other format.
            is_export = _is_head_of_export(file.readline(_MAX_HEAD_BYTES))
        if beginning.startswith(b"SQLite format 3\x00"):
            with closing(SqliteSource(path)) as store:
                try:
                    report = verify(store, keys=keys, copy=copied, progress=progress)
                except sqlite3.OperationalError:
                    store.read_anything()
                    report = verify(store, keys=keys, copy=copied, progress=progress)
        elif PROOF_FORMAT.encode() in beginning and not is_export:
            report = verify_proof(_bundle(path), keys, copied)
        else:
            with closing(ExportSource(path)) as export:
                report = verify(export, keys=keys, copy=copied, progress=progress)
                if not export.whole:
                    report.add(
                        Finding("cut_off", "the export has no end, or says another number of lines or cursor")
                    )
    except (OSError, sqlite3.Error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Unusable(f"{path} cannot be read ({type(error).__name__})") from None
    report.notes += notes
    return report


def bar(done: int, total: int) -> None:
    """Show how far it is, where a person looks on."""
    if sys.stderr.isatty():
        part = done / total if total else 1.0
        end = "\n" if done >= total else ""
        sys.stderr.write(f"\r[{'#' * int(part * 40):<40}] {done} of {total} events{end}")
        sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="a SQLite file, an export, or a proof")
    parser.add_argument("--public-key", type=Path, help="PEM file with the keys that may have signed")
    parser.add_argument("--checkpoints", type=Path, help="the copy of the checkpoints kept in another place")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        keys = [] if options.public_key is None else read_keys(options.public_key)
        report = check_file(options.file, keys, options.checkpoints, bar)
    except Unusable as error:
        print(f"verify_audit: {error}", file=sys.stderr)
        return 2
    print(as_json(report) if options.json else "\n".join(said(report)))
    return 0 if report.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())

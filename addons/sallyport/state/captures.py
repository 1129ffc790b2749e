"""Files of captured flows: encrypted, rotated, closed to others, written by one thread.

A file begins with a line of magic and a line of JSON with its id; then records follow: length (4 bytes), number
(8 bytes), id of the key of whoever the flow is of (16 bytes), AES-256-GCM of the flow. The key is that of the subject,
kept elsewhere (state/content/keys.py): a file holds none, so that a person can be forgotten in every copy of it.
Number, key and id of the file are bound into each record, so that none can be moved, and what a crash cut off is the
last one only.
"""

import json
import logging
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from itertools import count
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sallyport.errors import OperatorError
from sallyport.state.background import Background
from sallyport.state.content.keys import SubjectKeys, subject_keys_of
from sallyport.state.content.subjects import NOBODY, Forgotten, Subject, SubjectKey, UnknownKey
from sallyport.state.masterkey import MasterKeys, NotOpened

logger = logging.getLogger("sallyport.capture")

MAGIC = b"sallyport-capture 2\n"
SUFFIX = ".flows"
_FAMILY = MAGIC.partition(b" ")[0] + b" "
_HEAD = struct.Struct(">IQ16s")
_MAX_RECORD = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file begins, and when old ones go."""

    max_bytes: int = 64 * 1024 * 1024
    max_age_s: float = 86_400.0
    keep_s: float = 30 * 86_400.0


type Made = Callable[[], bytes | None]
"""Gives the bytes of a flow, in the writer's thread; None for one that is not to be kept."""


class CaptureWriter:
    """Appends flows to files of a folder. put() never waits; what a full queue or disk costs is counted.

    name: of the gateway, part of the files' names. rotation: asked again for each flow. now: the time by which old
    files go.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        keys: MasterKeys,
        rotation: Callable[[], Rotation] = Rotation,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._folder = folder
        self._name = "".join(c for c in name if c.isalnum() or c in "-_")[:40] or "gw"
        self._keys = subject_keys_of(keys)
        self._rotation = rotation
        self._now = now
        self._file: _Open | None = None
        self._lane: Background[tuple[Made, Subject, int | None]] = Background(
            "captures",
            logger,
            "%d flows were not captured so far (%s)",
            self._take,
            failed=self._give_up,
            over=self._drop,
        )

    @property
    def lost(self) -> int:
        """Flows that were not captured."""
        return self._lane.lost

    def put(self, made: Made, size: int = 0, subject: Subject = NOBODY, began_us: int | None = None) -> None:
        """Have a flow written. size: bytes that are held for it until then. subject: whose flow it is.

        began_us: when, in microseconds since 1970; of who was forgotten since nothing is written.
        """
        self._lane.put((made, subject, began_us), size)

    def close(self, within_s: float = 10.0) -> None:
        """Write what is waiting, and end."""
        self._lane.close(within_s)

    def _take(self, tasks: Sequence[tuple[Made, Subject, int | None]]) -> None:
        for made, subject, began_us in tasks:
            flow = made()
            if flow is not None:
                self._write(flow, subject, began_us)

    def _write(self, flow: bytes, subject: Subject, began_us: int | None) -> None:
        rotation = self._rotation()
        key = self._keys.key_of(subject, began_us)
        now = time.time()
        if self._file is not None and (
            self._file.size + len(flow) > rotation.max_bytes or now - self._file.began > rotation.max_age_s
        ):
            self._drop()
        if self._file is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._forget_old(self._now().timestamp() - rotation.keep_s)
            self._file = _Open.new(self._folder, self._name, now)
        self._file.append(flow, key)

    def _forget_old(self, before: float) -> None:
        for path in self._folder.glob(f"capture-*-{self._name}-*{SUFFIX}"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    def _give_up(self) -> None:
        """Leave a file that could not be written: a nonce of it may have been used."""
        if self._file is not None:
            self._file.cut_back()
        self._drop()

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Open:
    """A file that is being written."""

    def __init__(self, file: BinaryIO, path: Path, id: str, began: float) -> None:
        self._file = file
        self._path = path
        self._id = id
        self._number = 0
        self.began = began
        self.size = file.tell()

    @classmethod
    def new(cls, folder: Path, name: str, now: float) -> "_Open":
        id = secrets.token_hex(16)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        path = folder / f"capture-{stamp}-{name}-{id[:8]}{SUFFIX}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        file = os.fdopen(handle, "wb", buffering=0)
        try:
            _write_whole(file, MAGIC + json.dumps({"id": id}).encode() + b"\n")
        except OSError:
            file.close()
            path.unlink()
            raise
        return cls(file, path, id, now)

    def append(self, flow: bytes, key: SubjectKey) -> None:
        number = self._number
        box = _box(key, self._id)
        sealed = box.encrypt(_nonce(number), flow, _bound(self._id, number, key.id))
        _write_whole(self._file, _HEAD.pack(len(sealed), number, bytes.fromhex(key.id)) + sealed)
        self._number += 1
        self.size = self._file.tell()

    def cut_back(self) -> None:
        """Take away what was half written, and a file that holds no flow: a disk that is full would fill with them."""
        with suppress(OSError):
            if self._number:
                self._file.truncate(self.size)
            else:
                self._path.unlink()

    def close(self) -> None:
        self._file.close()


def _write_whole(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def is_capture(head: bytes) -> bool:
    """Say whether a file that begins so is one of these, of any version."""
    return head.startswith(_FAMILY)


class _Unread(Enum):
    """Why there is no flow in a record. END: there is no record."""

    END = auto()
    DAMAGED = auto()
    FORGOTTEN = auto()


class CaptureFile:
    """A file to read from. Raises OperatorError where it cannot be opened.

    keys: the master keys; those of the subjects lie under them. forgotten: how many flows the last round of records()
    passed over, since the key of whoever they were of was destroyed.
    """

    def __init__(self, path: Path, keys: MasterKeys) -> None:
        self._path = path
        self._keys: SubjectKeys = subject_keys_of(keys)
        self.forgotten = 0
        try:
            with path.open("rb") as file:
                if (magic := file.read(len(MAGIC))) != MAGIC:
                    raise (
                        _other_version(path) if is_capture(magic) and len(magic) == len(MAGIC) else ValueError
                    )
                header = json.loads(file.readline(64 * 1024))
                self._begins_at = file.tell()
            self._id = str(header["id"])
            bytes.fromhex(self._id)
        except (ValueError, KeyError, TypeError):
            raise OperatorError(
                str(path), "it is no capture, or damaged", "Restore it from a backup"
            ) from None
        except OSError as error:
            raise OperatorError(
                str(path), f"it cannot be read ({error.strerror})", "See its permissions"
            ) from None

    def records(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield offset and flow of each record; None for one that is damaged or cut off, after which nothing comes.

        Flows of who was forgotten are passed over. Raises OperatorError where the keys cannot be had.
        """
        self.forgotten = 0
        with self._path.open("rb") as file:
            file.seek(self._begins_at)
            for number in count():
                at = file.tell()
                flow = self._next(file, number)
                if flow is _Unread.FORGOTTEN:
                    self.forgotten += 1
                    continue
                if flow is _Unread.END:
                    return
                yield at, flow if isinstance(flow, bytes) else None
                if not isinstance(flow, bytes):
                    return

    def read(self, at: int) -> bytes:
        """Return the flow at an offset. Raises OperatorError."""
        with self._path.open("rb") as file:
            file.seek(at)
            flow = self._next(file)
        if flow is _Unread.FORGOTTEN:
            what, todo = "whoever it was of was forgotten meanwhile", "Begin again"
            raise OperatorError(f"{self._path}, flow at {at}", what, todo)
        if not isinstance(flow, bytes):
            raise OperatorError(
                f"{self._path}, flow at {at}", "it cannot be read any more", "Leave the files alone"
            )
        return flow

    def _next(self, file: BinaryIO, wanted: int | None = None) -> bytes | _Unread:
        """Return the next flow. wanted: the number it must have, None for any."""
        head = file.read(_HEAD.size)
        if not head:
            return _Unread.END
        if len(head) < _HEAD.size:
            return _Unread.DAMAGED
        length, number, raw = _HEAD.unpack(head)
        sealed = file.read(length) if length <= _MAX_RECORD else b""
        if len(sealed) < length or (wanted is not None and number != wanted):
            return _Unread.DAMAGED
        try:
            key = self._keys.open(raw.hex())
            return _box(key, self._id).decrypt(_nonce(number), sealed, _bound(self._id, number, key.id))
        except Forgotten:
            return _Unread.FORGOTTEN
        except InvalidTag:
            return _Unread.DAMAGED
        except UnknownKey:
            if self._keys.is_there:
                return _Unread.DAMAGED
            raise _no_keys(self._path, f"the keys of its subjects are not in {self._keys.name}") from None
        except NotOpened as error:
            raise _no_keys(self._path, str(error).rstrip(".")) from None


def _no_keys(path: Path, what: str) -> OperatorError:
    return OperatorError(
        str(path),
        what,
        "Give the keys of the gateway that wrote it: its --confdir, or SALLYPORT_MASTER_KEY_FILE and "
        "SALLYPORT_CONTENT_KEYS",
    )


def _other_version(path: Path) -> OperatorError:
    return OperatorError(
        str(path),
        "another version of Sallyport wrote it, under keys of its own",
        "Read it with that version, or leave it out",
    )


def _box(key: SubjectKey, file: str) -> AESGCM:
    """Return what seals the records of one subject in one file: a key used nowhere else, so that numbers are nonces."""
    return AESGCM(key.derived("capture", bytes.fromhex(file)))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _bound(id: str, number: int, key: str) -> bytes:
    return f"{id} {number} {key}".encode()

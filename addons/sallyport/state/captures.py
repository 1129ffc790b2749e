"""Files of captured flows: encrypted, rotated, closed to others, written by one thread.

A file begins with a line of magic and a line of JSON with its id and its data key, sealed under the master key; then
records follow: length (4 bytes), number (8 bytes), AES-256-GCM of one flow. Number and id are bound into each record,
so that none can be moved, and what a crash cut off is the last one only.
"""

import base64
import contextlib
import json
import logging
import os
import queue
import secrets
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sallyport.errors import OperatorError
from sallyport.state.masterkey import MasterKeys, NotOpened

logger = logging.getLogger("sallyport.capture")

MAGIC = b"sallyport-capture 1\n"
SUFFIX = ".flows"
_HEAD = struct.Struct(">IQ")
_MAX_RECORD = 512 * 1024 * 1024
_QUEUED = 256
_MAX_WAITING_BYTES = 256 * 1024 * 1024
_ABOUT = "capture"


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a new file begins, and when old ones go."""

    max_bytes: int = 64 * 1024 * 1024
    max_age_s: float = 86_400.0
    keep_s: float = 30 * 86_400.0


class CaptureWriter:
    """Appends flows to files of a folder. put() never waits; what a full queue or disk costs is counted.

    name: of the gateway, part of the files' names. rotation: asked again for each flow.
    """

    def __init__(
        self, folder: Path, name: str, keys: MasterKeys, rotation: Callable[[], Rotation] = Rotation
    ) -> None:
        self._folder = folder
        self._name = "".join(c for c in name if c.isalnum() or c in "-_")[:40] or "gw"
        self._keys = keys
        self._rotation = rotation
        self._queue: queue.Queue[tuple[Callable[[], bytes | None], int] | None] = queue.Queue(_QUEUED)
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._file: _Open | None = None
        self._told_at = 0.0
        self.lost = 0

    def put(self, made: Callable[[], bytes | None], size: int = 0) -> None:
        """Have a flow written. made: gives its bytes, in the writer's thread; None for one that is not to be kept.

        size: bytes that are held for it until then.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="captures", daemon=True)
            self._thread.start()
        with self._lock:
            if self._waiting_bytes and self._waiting_bytes + size > _MAX_WAITING_BYTES:
                self._lose("too much at once")
                return
            self._waiting_bytes += size
        try:
            self._queue.put_nowait((made, size))
        except queue.Full:
            self._hold_less(size)
            self._lose("too many flows at once")

    def close(self, within_s: float = 10.0) -> None:
        """Write what is waiting, and end."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=within_s)
            self._thread.join(within_s)
            self._thread = None

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None:
            made, size = waiting
            try:
                flow = made()
                if flow is not None:
                    self._write(flow)
            except (OSError, OperatorError) as error:
                self._drop()
                self._lose(error.strerror or "" if isinstance(error, OSError) else str(error))
            except Exception as error:
                # The border to what makes a flow: its texts must not be in a message.
                self._lose(type(error).__name__)
            finally:
                self._hold_less(size)
                del waiting, made
        self._drop()

    def _hold_less(self, size: int) -> None:
        with self._lock:
            self._waiting_bytes -= size

    def _write(self, flow: bytes) -> None:
        rotation = self._rotation()
        now = time.time()
        if self._file is not None and (
            self._file.size + len(flow) > rotation.max_bytes or now - self._file.began > rotation.max_age_s
        ):
            self._drop()
        if self._file is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._forget_old(now - rotation.keep_s)
            self._file = _Open.new(self._folder, self._name, self._keys, now)
        self._file.append(flow)

    def _forget_old(self, before: float) -> None:
        for path in self._folder.glob(f"capture-*-{self._name}-*{SUFFIX}"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lose(self, why: str) -> None:
        self.lost += 1
        if time.monotonic() - self._told_at > 60:
            self._told_at = time.monotonic()
            logger.warning("%d flows were not captured so far (%s)", self.lost, why)


class _Open:
    """A file that is being written."""

    def __init__(self, file: BinaryIO, id: str, box: AESGCM, began: float) -> None:
        self._file = file
        self._id = id
        self._box = box
        self._number = 0
        self.began = began
        self.size = file.tell()

    @classmethod
    def new(cls, folder: Path, name: str, keys: MasterKeys, now: float) -> "_Open":
        id, key = secrets.token_hex(16), secrets.token_bytes(32)
        header = {"id": id, "key": keys.seal(base64.b64encode(key).decode(), _ABOUT, id)}
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        path = folder / f"capture-{stamp}-{name}-{id[:8]}{SUFFIX}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        file = os.fdopen(handle, "wb", buffering=0)
        file.write(MAGIC + json.dumps(header).encode() + b"\n")
        return cls(file, id, AESGCM(key), now)

    def append(self, flow: bytes) -> None:
        number = self._number
        sealed = self._box.encrypt(_nonce(number), flow, _bound(self._id, number))
        record = memoryview(_HEAD.pack(len(sealed), number) + sealed)
        while record:
            record = record[self._file.write(record) :]
        self._number += 1
        self.size = self._file.tell()

    def close(self) -> None:
        self._file.close()


def is_capture(head: bytes) -> bool:
    """Say whether a file that begins so is one of these."""
    return head.startswith(MAGIC)


class CaptureFile:
    """A file to read from. Raises OperatorError where it cannot be opened."""

    def __init__(self, path: Path, keys: MasterKeys) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise ValueError
                header = json.loads(file.readline(64 * 1024))
                self._begins_at = file.tell()
            self._id = str(header["id"])
            self._box = AESGCM(base64.b64decode(keys.open(str(header["key"]), _ABOUT, self._id)))
        except (ValueError, KeyError, TypeError):
            raise OperatorError(
                str(path), "it is no capture, or damaged", "Restore it from a backup"
            ) from None
        except NotOpened as error:
            raise OperatorError(
                str(path),
                str(error).rstrip("."),
                "Give the master key of the gateway that wrote it: its --confdir, or SALLYPORT_MASTER_KEY_FILE",
            ) from None
        except OSError as error:
            raise OperatorError(
                str(path), f"it cannot be read ({error.strerror})", "See its permissions"
            ) from None

    def records(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield offset and flow of each record; None for one that is damaged or cut off, after which nothing comes."""
        with self._path.open("rb") as file:
            file.seek(self._begins_at)
            for number in count():
                at = file.tell()
                flow = self._next(file, number)
                if flow == b"":
                    return
                yield at, flow
                if flow is None:
                    return

    def read(self, at: int) -> bytes:
        """Return the flow at an offset. Raises OperatorError."""
        with self._path.open("rb") as file:
            file.seek(at)
            flow = self._next(file)
        if not flow:
            raise OperatorError(
                f"{self._path}, flow at {at}", "it cannot be read any more", "Leave the files alone"
            )
        return flow

    def _next(self, file: BinaryIO, wanted: int | None = None) -> bytes | None:
        """Return the next flow, b"" at the end of the file, None for what cannot be read or is not the one wanted."""
        head = file.read(_HEAD.size)
        if not head:
            return b""
        if len(head) < _HEAD.size:
            return None
        length, number = _HEAD.unpack(head)
        sealed = file.read(length) if length <= _MAX_RECORD else b""
        if len(sealed) < length or (wanted is not None and number != wanted):
            return None
        try:
            return self._box.decrypt(_nonce(number), sealed, _bound(self._id, number))
        except InvalidTag:
            return None


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _bound(id: str, number: int) -> bytes:
    return f"{id} {number}".encode()

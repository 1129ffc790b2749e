"""Where events wait on this machine's disk while the store is away: files of lines, in order, durable when written.

A line is the HMAC-SHA256 of what stands before it and of itself, a space, the columns of an event as JSON, and a line
feed; before the first line of a file stands its name. A line that was changed, removed, or put elsewhere in its file
is therefore noticed; the last ones of a file that were cut off are not. Events hold no content, so nothing is hidden.

A file is written by one process only, and removed when all its events are in the store. What is in there already,
after a crash between the two, the store leaves out. The file a process died over may end in half a line, which
nobody was told was durable.
"""

import errno
import hmac
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import orjson

from sallyport.audit.events import Event
from sallyport.audit.schema import from_row, to_row
from sallyport.files import sync_folder

logger = logging.getLogger("sallyport.audit")

_SUFFIX, _DAMAGED = ".spool", ".damaged"
_SEGMENT_BYTES = 8 * 1024 * 1024


class SpoolFull(Exception):
    """There is no more room for events."""


class Damaged(Exception):
    """A file of the spool was changed, or its disk fails."""


class Spool:
    """The files of one folder. Not for several threads at once. max_bytes: of all files together."""

    def __init__(self, folder: Path, key: bytes, max_bytes: Callable[[], int]) -> None:
        self._folder = folder
        self._key = key
        self._max_bytes = max_bytes
        self._numbers = sorted(
            int(path.stem)
            for path in folder.glob(f"*{_SUFFIX}")
            if path.stem.isascii() and path.stem.isdigit()
        )
        taken = [*self._numbers, *(int(p.stem) for p in folder.glob(f"*{_DAMAGED}") if p.stem.isdigit()), 0]
        self._next = max(taken) + 1
        self._size = sum(self._path(number).stat().st_size for number in self._numbers)
        self._open: int | None = None
        self._end = 0
        self._mac = b""
        self._number = 0

    @property
    def files(self) -> tuple[int, ...]:
        """The numbers of the files, the oldest first."""
        return tuple(self._numbers)

    def append(self, batch: Sequence[Event]) -> None:
        """Write events; when this returns they are durable. Raises SpoolFull and OSError; then none is promised."""
        if self._open is None or self._end > _SEGMENT_BYTES:
            try:
                self._begin()
            except OSError:
                self._give_up()
                raise
        mac, lines = self._mac, []
        for event in batch:
            line = orjson.dumps(to_row(event))
            mac = self._sealed(mac, line)
            lines.append(mac.hex().encode() + b" " + line + b"\n")
        data = b"".join(lines)
        if self._size + len(data) > self._max_bytes():
            raise SpoolFull
        assert self._open is not None
        try:
            written = 0
            while written < len(data):
                written += os.write(self._open, data[written:])
            os.fdatasync(self._open)
        except OSError:
            self._give_up()
            raise
        self._mac = mac
        self._end += len(data)
        self._size += len(data)

    def read(self, number: int, skip: int) -> Iterator[Event]:
        """Yield the events of a file, without the first ones. Raises Damaged, and OSError for what may pass."""
        try:
            data = self._path(number).read_bytes()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EIO):
                raise
            raise Damaged from None
        mac = self._first(number)
        lines = data.split(b"\n")[:-1]
        for at, line in enumerate(lines):
            said, _, body = line.partition(b" ")
            mac = self._sealed(mac, body)
            if not hmac.compare_digest(said, mac.hex().encode()):
                raise Damaged
            if at >= skip:
                yield from_row(orjson.loads(body))

    def remove(self, number: int, *, damaged: bool = False) -> None:
        """Remove a file whose events are in the store; one that is damaged is put aside."""
        if number == self._number:
            self._leave()
        path = self._path(number)
        self._numbers.remove(number)
        try:
            size = path.stat().st_size
            if damaged:
                path.replace(path.with_suffix(_DAMAGED))
            else:
                path.unlink()
            self._size -= size
        except FileNotFoundError:
            pass
        except OSError as error:
            # It is looked at again after the next start; the store leaves out what it has.
            code = errno.errorcode.get(error.errno or 0)
            logger.error("file %d of the audit spool cannot be removed (%s)", number, code)

    def close(self) -> None:
        """Close the file that is being written; what waits, stays."""
        self._leave()

    def _begin(self) -> None:
        self._leave()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = self._next
        self._next = number + 1
        self._open = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._number, self._end = number, 0
        self._mac = self._first(number)
        self._numbers.append(number)
        sync_folder(self._folder)

    def _give_up(self) -> None:
        """Leave a file that could not be written: what is half written, or perhaps not on the disk, is not built upon.

        One that holds nothing is removed, or a disk that is full for long would fill with them.
        """
        if self._open is None:
            return
        with suppress(OSError):
            os.ftruncate(self._open, self._end)
        if not self._end:
            with suppress(OSError):
                self._path(self._number).unlink()
                self._numbers.remove(self._number)
        self._leave()

    def _leave(self) -> None:
        if self._open is not None:
            os.close(self._open)
        self._open, self._number = None, 0

    def _first(self, number: int) -> bytes:
        return self._sealed(b"", f"{number:012d}".encode())

    def _sealed(self, before: bytes, line: bytes) -> bytes:
        return hmac.digest(self._key, before + line, "sha256")

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}{_SUFFIX}"

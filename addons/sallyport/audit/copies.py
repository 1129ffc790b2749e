"""Checkpoints in another place, out of reach of who could change the store: a file, a command, syslog, a database.

At least once: what could not be copied is copied with the next. How far each place got is kept in a file.
"""

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, select
from sqlalchemy.exc import SQLAlchemyError

from sallyport.audit.checkpoints import Checkpoint
from sallyport.errors import OperatorError
from sallyport.files import PUBLIC, write_file
from sallyport.policy.sections import Policy
from sallyport.sql.engines import Database, database

COMMAND_TIMEOUT_S = 15.0
_COPY_TO = "audit.checkpoints.copy_to"
_NOTICE = 5


PATIENCE_S = 15.0

metadata = MetaData()

copies_table = Table(
    "audit_checkpoint_copies",
    metadata,
    Column("key", Text, primary_key=True, doc="public key of who signed, in hex: tells logs apart"),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("signature", Text, primary_key=True, doc="two of one number are a fork, and both stay"),
    Column("body", Text, nullable=False),
)


class Copies:
    """The places that checkpoints are copied to. confdir: where it is noted how far they got.

    to: an address as the policy's `copy_to` takes it, "" for none. ca: what a syslog's certificate must chain to.
    """

    def __init__(
        self, confdir: Path, file: Path | None, command: str, to: str = "", ca: Path | None = None
    ) -> None:
        self._file = file
        self._command = command
        self._to = to
        self._ca = ca
        place = sha256(f"{file}\n{command}\n{to}".encode()).hexdigest()[:16]
        self._noted = confdir / f"audit-checkpoints-{place}.copied"

    @classmethod
    def of(cls, policy: Policy, confdir: Path) -> "Copies":
        """Return the places that a policy names."""
        section = policy.audit.checkpoints
        file = None if section.copy_file is None else policy.beside(section.copy_file)
        ca = None if section.copy_ca_file is None else policy.beside(section.copy_ca_file)
        return cls(confdir, file, section.copy_command or "", section.copy_to or "", ca)

    @property
    def wanted(self) -> bool:
        return self._file is not None or bool(self._command or self._to)

    def after(self) -> int:
        """Return the number of the last checkpoint that every place has."""
        try:
            return int(self._noted.read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def send(self, found: Sequence[Checkpoint]) -> None:
        """Copy checkpoints, in order. Raises OperatorError where a place does not take them."""
        with _taker(self._to, self._ca) as take:
            for checkpoint in found:
                line = checkpoint.line.encode() + b"\n"
                if self._file is not None:
                    _append(self._file, line)
                if self._command:
                    _run(self._command, line)
                take(checkpoint)
                write_file(self._noted, b"%d\n" % checkpoint.number, PUBLIC)


def copied_lines(address: str) -> Iterator[str]:
    """Yield the checkpoints that a database holds as lines, as `copy_file` has them. Raises OperatorError."""
    with _connected(address) as connection:
        query = select(copies_table).order_by(copies_table.c.number)
        for row in connection.execute(query):
            yield Checkpoint(row.number, row.body, row.signature).line


@contextmanager
def _taker(to: str, ca: Path | None) -> Iterator[Callable[[Checkpoint], None]]:
    """Yield what sends a checkpoint to an address. Raises OperatorError, as what is yielded does."""
    if not to:
        yield lambda checkpoint: None
    elif to.startswith("syslog+"):
        with _syslog(to, ca) as take:
            yield take
    else:
        with _connected(to, write=True) as connection:

            def insert(checkpoint: Checkpoint) -> None:
                key = str(checkpoint.members["key"])
                at = copies_table.c
                same = (
                    (at.key == key)
                    & (at.number == checkpoint.number)
                    & (at.signature == checkpoint.signature)
                )
                if connection.execute(select(at.number).where(same)).first() is None:
                    values = {
                        "number": checkpoint.number,
                        "body": checkpoint.body,
                        "signature": checkpoint.signature,
                    }
                    connection.execute(copies_table.insert(), {"key": key, **values})
                connection.commit()

            yield insert


@contextmanager
def _syslog(to: str, ca: Path | None) -> Iterator[Callable[[Checkpoint], None]]:
    # Imported here: no gateway needs it that forwards nothing.
    from sallyport.audit.forwarding.receivers import Access, NotTaken, Syslog, framed, receiver

    place = receiver(to, "jsonl", Access(ca=ca))
    assert isinstance(place, Syslog)
    try:

        def take(checkpoint: Checkpoint) -> None:
            at = datetime.fromtimestamp(checkpoint.members["at_us"] / 1e6, UTC)
            try:
                place.put([framed(_NOTICE, at, "", "checkpoint", checkpoint.line)])
            except NotTaken as error:
                raise OperatorError(
                    _COPY_TO, f"syslog did not take it ({error})", "See the receiver"
                ) from None

        yield take
    finally:
        place.close()


@contextmanager
def _connected(address: str, *, write: bool = False) -> Iterator[Connection]:
    at = database(address, None, PATIENCE_S, what=_COPY_TO)
    try:
        if write:
            _make_place(at)
        elif not at.is_there():
            raise OperatorError(_COPY_TO, "there is no such database", "Name the one that was copied to")
        with (at.writer if write else at.reader).connect() as connection:
            if write:
                metadata.create_all(connection)
                connection.commit()
            yield connection
    except SQLAlchemyError as error:
        raise OperatorError(
            _COPY_TO,
            f"the database cannot be used ({type(error).__name__})",
            "It needs a role that may read and insert into audit_checkpoint_copies, and make it at first",
        ) from None
    finally:
        at.writer.dispose()
        at.reader.dispose()


def _make_place(at: Database) -> None:
    try:
        at.make_place()
    except OSError as error:
        raise OperatorError(
            _COPY_TO, f"its folder cannot be made ({error.strerror})", "Name another"
        ) from None


def _append(path: Path, line: bytes) -> None:
    """Append a line and have it on the disk; a line that was cut off before is closed first."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            size = os.fstat(handle).st_size
            cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            rest = (b"\n" if cut else b"") + line
            while rest:  # a disk that fills takes the beginning and says so by its length alone
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OperatorError(
            "audit.checkpoints.copy_file", f"cannot be written ({error.strerror})", "Name a file to append to"
        ) from None


def _run(command: str, line: bytes) -> None:
    done: int | str
    try:
        done = subprocess.run(
            shlex.split(command),
            input=line,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        ).returncode
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        done = type(error).__name__
    if done:
        raise OperatorError(
            "audit.checkpoints.copy_command", f"it failed ({done})", "It gets one line; 0 says it is kept"
        )

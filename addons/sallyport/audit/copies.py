"""Checkpoints in another place, out of reach of who could change the store: a file, or a command's input.

At least once: what could not be copied is copied with the next. How far each place got is kept in a file.
"""

import os
import shlex
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from sallyport.audit.checkpoints import Checkpoint
from sallyport.errors import OperatorError
from sallyport.policy.sections import Policy

COMMAND_TIMEOUT_S = 15.0


class Copies:
    """The places that checkpoints are copied to. confdir: where it is noted how far they got."""

    def __init__(self, confdir: Path, file: Path | None, command: str) -> None:
        self._file = file
        self._command = command
        place = sha256(f"{file}\n{command}".encode()).hexdigest()[:16]
        self._noted = confdir / f"audit-checkpoints-{place}.copied"

    @classmethod
    def of(cls, policy: Policy, confdir: Path) -> "Copies":
        """Return the places that a policy names."""
        section = policy.audit.checkpoints
        file = None if section.copy_file is None else policy.beside(section.copy_file)
        return cls(confdir, file, section.copy_command or "")

    @property
    def wanted(self) -> bool:
        return self._file is not None or bool(self._command)

    def after(self) -> int:
        """Return the number of the last checkpoint that every place has."""
        try:
            return int(self._noted.read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def send(self, found: Sequence[Checkpoint]) -> None:
        """Copy checkpoints, in order. Raises OperatorError where a place does not take them."""
        for checkpoint in found:
            line = checkpoint.line.encode() + b"\n"
            if self._file is not None:
                _append(self._file, line)
            if self._command:
                _run(self._command, line)
            draft = self._noted.with_suffix(".new")
            draft.write_text(f"{checkpoint.number}\n", "ascii")
            draft.replace(self._noted)


def _append(path: Path, line: bytes) -> None:
    """Append a line and have it on the disk; a line that was cut off before is closed first."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            size = os.fstat(handle).st_size
            cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, (b"\n" if cut else b"") + line)
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

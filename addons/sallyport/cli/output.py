"""Standard output that cannot be written ends a command: 141 where the reader has gone, else 3 and a sentence.

Typer and Rich each answer a closed pipe with exit code 1, which says "a negative answer" here.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import override

from sallyport.audit.text import printable


def told(error: object) -> str:
    """Return what an error says, each line such that a terminal shows it: a policy's words may be somebody else's."""
    return "\n".join(map(printable, str(error).split("\n")))


@contextmanager
def guarded_stdout() -> Iterator[None]:
    """End the process from inside the block, or at its end, with 141 or 3 when stdout takes no more.

    Only a stdout that has a file descriptor is guarded; what tests put in its place is left alone.
    """
    before = sys.stdout
    if not isinstance(before, io.TextIOWrapper) or not _has_descriptor(before):
        yield
        return
    before.flush()
    guarded = _Guarded(
        before.buffer,
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )
    sys.stdout = guarded
    try:
        yield
    finally:
        guarded.flush()


def _has_descriptor(stream: io.TextIOWrapper) -> bool:
    try:
        return stream.fileno() >= 0
    except (OSError, ValueError):
        return False


class _Guarded(io.TextIOWrapper):
    """Text output whose failure is an exit, which no library takes for an error of its own."""

    @override
    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise self._lost(error) from None

    @override
    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._lost(error) from None

    def _lost(self, error: OSError) -> SystemExit:
        # What is still buffered goes nowhere, or the interpreter would complain of it once more at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if error.errno == errno.EPIPE:
            return SystemExit(141)
        sys.stderr.write(
            f"stdout: cannot write the output ({error.strerror}). Make room, or send it elsewhere.\n"
        )
        return SystemExit(3)

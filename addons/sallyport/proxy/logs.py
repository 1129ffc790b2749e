"""Nothing that passed over the wire reaches a log: mitmproxy's own messages quote bodies, ours are fixed.

mitmproxy builds its messages with f-strings, so what is data and what is text cannot be told apart later
(a crash report held 65 KB of a request body). Therefore a record of a mitmproxy logger keeps only where it
was logged and the type of its exception; the few start-up messages without client data pass as they are.
"""

import logging
import os
import queue
import re
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

_HARMLESS = re.compile(
    r"^(?:(?:HTTP\(S\) proxy|Transparent Proxy|reverse proxy to \S+)(?:,? \(?[^\n]{0,80}\)?)? "
    r"(?:listening at|at) [0-9a-fA-F.:\[\]* ]+(?:and [0-9a-fA-F.:\[\]* ]+)?(?: stopped)?\.?$"
    r"|^[^\n]{0,60}failed to listen on [^\n]{0,60} with [^\n]{0,120}$)"
)


MAX_WAITING = 1000
"""Records that wait for a reader of stderr; further ones are counted and dropped."""

FAREWELL_S = 1.0
"""Time at exit for what still waits."""


class PatientHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream from a thread of its own: a pipe that nobody reads must not stop the event loop."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: queue.Queue[str] = queue.Queue(MAX_WAITING)
        self._dropped = 0
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record in. The caller holds the handler's lock."""
        try:
            self._waiting.put_nowait(self.format(record) + self.terminator)
        except queue.Full:
            self._dropped += 1
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="stderr", daemon=True)
            self._writer.start()

    def flush(self) -> None:
        """Wait until all is written, but not for long; logging asks for it at exit."""
        deadline = time.monotonic() + FAREWELL_S
        while self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)

    def _write(self) -> None:
        while True:
            line = self._waiting.get()
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                line = f"WARNING {dropped} messages were dropped: nobody read stderr\n{line}"
            with suppress(OSError, ValueError):  # closed: there is nowhere to say so
                _put(self.stream, line)
            self._waiting.task_done()


def _put(stream: TextIO, line: str) -> None:
    """Write past the stream's own lock where it is a file: who waits in it would hold up the exit."""
    try:
        fd = stream.fileno()
    except (OSError, ValueError, AttributeError):
        stream.write(line)
        return
    left = line.encode("utf-8", "replace")
    while left:
        left = left[os.write(fd, left) :]


def _stderr() -> TextIO:
    """Return stderr, or a place for what is written where the process was started without one."""
    return sys.stderr or Path(os.devnull).open("w")


class WireDataFilter(logging.Filter):
    """Replace the text of foreign records; never drop one, since it may be the only sign of a crash."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage() if isinstance(record.msg, str) else ""
        if not _HARMLESS.match(message):
            raised = record.exc_info[0] if isinstance(record.exc_info, tuple) and record.exc_info[0] else None
            kind = f" {raised.__name__}" if raised else ""
            record.msg = (
                f"mitmproxy {record.module}:{record.lineno}{kind} (message withheld, it may quote traffic)"
            )
        record.args = ()
        record.exc_info = None
        record.exc_text = None
        record.stack_info = None
        return True


def install() -> None:
    """Put the filter before every handler mitmproxy's records can reach, and show warnings on stderr.

    A logger's own filter does not see records of its children, so the handler carries it and the
    loggers of mitmproxy stop propagating to handlers that do not.
    """
    handler = PatientHandler(_stderr())
    handler.setLevel(logging.WARNING)
    handler.addFilter(WireDataFilter())
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for name in ("mitmproxy", "mitmproxy_rs", "asyncio", "hpack", "h2"):
        logger = logging.getLogger(name)
        logger.handlers = [h for h in logger.handlers if not isinstance(h, logging.StreamHandler)]
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    for name in ("hpack", "h2", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)


def speak() -> None:
    """Show the gateway's own messages on stderr, where mitmproxy's terminal log is absent.

    mitmproxy's handler on the root logger shows nothing, and being there it switches Python's last resort off.
    """
    own = logging.getLogger("sallyport")
    own.handlers = [h for h in own.handlers if not isinstance(h, logging.StreamHandler)]
    handler = PatientHandler(_stderr())
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    own.addHandler(handler)


def mask_root() -> None:
    """Filter handlers that others put on the root logger (mitmdump's terminal log, event store)."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(f, WireDataFilter) for f in handler.filters):
            handler.addFilter(_ForeignOnly())


class _ForeignOnly(WireDataFilter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] in {"mitmproxy", "mitmproxy_rs", "asyncio", "hpack", "h2", "root"}:
            return super().filter(record)
        return True

"""Nothing that passed over the wire reaches a log: mitmproxy's own messages quote bodies, ours are fixed.

mitmproxy builds its messages with f-strings, so what is data and what is text cannot be told apart later
(a crash report held 65 KB of a request body). Therefore a record of a mitmproxy logger keeps only where it
was logged, the type of its exception and the name of a system error (EMFILE); the few start-up messages without
client data pass as they are.
"""

import errno
import logging
import os
import queue
import re
import ssl
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

REPEAT_S = 1.0
"""What is said again within this time is counted. Without a descriptor left, asyncio says so 900 times a second."""

NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
"""The process, or the machine, can open no further file or connection."""

_KNOWN = {
    "Client TLS handshake failed.": (
        "the TLS handshake with a client failed, most often because it does not trust the CA: see `sallyport ca "
        "install-help`. The audit names the client, as connection_refused"
    ),
    "Server TLS handshake failed.": (
        "the TLS handshake with a provider failed: see `sallyport doctor`. The audit names the host, as "
        "upstream.unreachable.tls"
    ),
    "Transparent mode failure:": (
        "a connection reached the transparent listener that no redirect had brought, such as a health check"
    ),
}
"""What mitmproxy says often, by how it begins, in words of ours: what follows in its own is data."""

_NO_DESCRIPTORS_HINT = (
    ". No file descriptor is left, so new connections wait: raise LimitNOFILE= of the unit, `ulimit -n`, or "
    "for ENFILE fs.file-max of the machine"
)


class PatientHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream from a thread of its own: a pipe that nobody reads must not stop the event loop.

    repeat_s: a line that comes again within this time is counted, and the count told when it is over; 0 tells each.
    """

    def __init__(self, stream: TextIO, repeat_s: float = 0.0) -> None:
        super().__init__(stream)
        self._repeat_s = repeat_s
        self._said: dict[str, tuple[float, int]] = {}
        """When a line was written, and how often it came since; the oldest first."""
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
        if self._repeat_s and self._writer is not None:
            with suppress(queue.Full):
                self._waiting.put_nowait("")
        deadline = time.monotonic() + FAREWELL_S
        while self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)

    def _write(self) -> None:
        while True:
            try:
                line = self._waiting.get(timeout=self._repeat_s if self._said else None)
            except queue.Empty:
                self._tell(self._repeated(everything=False))
                continue
            said = self._repeated(everything=not line)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                said += f"WARNING {dropped} messages were dropped: nobody read stderr\n"
            if line in self._said:
                at, again = self._said[line]
                self._said[line] = at, again + 1
            else:
                said += line
                if self._repeat_s and line:
                    self._said[line] = time.monotonic(), 0
            self._tell(said)
            self._waiting.task_done()

    def _repeated(self, *, everything: bool) -> str:
        """Return what is to be told of lines that came again, and forget those that did not."""
        told, now = "", time.monotonic()
        while self._said:
            line, (at, again) = next(iter(self._said.items()))
            if not everything and now - at < self._repeat_s:
                break
            del self._said[line]
            if again:
                times = "once" if again == 1 else f"{again} times"
                told += f"{line.removesuffix(self.terminator)} (again {times} in {now - at:.1f} s)\n"
                if not everything:
                    self._said[line] = now, 0
        return told

    def _tell(self, text: str) -> None:
        if text:
            with suppress(OSError, ValueError):  # closed: there is nowhere to say so
                _put(self.stream, text)


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


def error_name(error: BaseException) -> str:
    """Return what an exception is, without its message: its type, and the name of a system error."""
    kind, number = type(error).__name__, getattr(error, "errno", None)
    # OpenSSL numbers its errors in the same place by codes of its own.
    if not isinstance(error, OSError) or isinstance(error, ssl.SSLError) or type(number) is not int:
        return kind
    return f"{kind} {errno.errorcode[number]}" if number in errno.errorcode else kind


def has_no_descriptors(error: OSError) -> bool:
    """Say whether an error means that nothing more can be opened."""
    return type(error.errno) is int and error.errno in NO_DESCRIPTORS and not isinstance(error, ssl.SSLError)


class WireDataFilter(logging.Filter):
    """Replace the text of foreign records; never drop one, since it may be the only sign of a crash."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage() if isinstance(record.msg, str) else ""
        if not _HARMLESS.match(message):
            raised = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
            kind = f" {error_name(raised)}" if raised else ""
            hint = _NO_DESCRIPTORS_HINT if isinstance(raised, OSError) and has_no_descriptors(raised) else ""
            where = f"mitmproxy {record.module}:{record.lineno}"
            known = next((said for begin, said in _KNOWN.items() if message.startswith(begin)), None)
            told = "message withheld, it may quote traffic" if known is None else known
            record.msg = f"{where}{kind} ({told}){hint}"
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
    handler = PatientHandler(_stderr(), REPEAT_S)
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

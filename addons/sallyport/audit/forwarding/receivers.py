"""Who takes events: syslog over TCP or TLS, Splunk's HTTP event collector, OTLP over HTTP, a file, stdout.

send() returns when the receiver has the batch, as far as its protocol can tell: an HTTP answer, or, where
syslog has none, the acknowledgement of the receiver's kernel. It raises NotTaken otherwise, and the same batch
is sent again later.
"""

import contextlib
import fcntl
import json
import os
import socket
import ssl
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx2

from sallyport.audit.events import Event
from sallyport.audit.forwarding.cef import cef
from sallyport.audit.forwarding.ecs import ecs
from sallyport.audit.forwarding.ocsf import ocsf
from sallyport.audit.forwarding.otlp import otlp
from sallyport.audit.forwarding.spelling import Members, Severity, severity_of
from sallyport.audit.schema import event_json
from sallyport.errors import OperatorError

TIMEOUT_S = 30.0
_QUIET_S = 0.05
_MAX_ANSWER_BYTES = 1 << 20

type Line = Callable[[Event], str]
"""Spells an event as one line without its end."""


class NotTaken(Exception):
    """The receiver does not have the batch, or nobody can tell. The text names no content.

    final: it will never take it as it is; somebody must look.
    """

    def __init__(self, what: str, *, final: bool = False) -> None:
        super().__init__(what)
        self.final = final


class Receiver(Protocol):
    """Takes batches of events."""

    def send(self, batch: Sequence[Event]) -> None: ...

    def close(self) -> None: ...


def _compact(members: Members) -> str:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=True)


LINES: dict[str, Line] = {
    "jsonl": lambda event: _compact(event_json(event)),
    "ecs": lambda event: _compact(ecs(event)),
    "ocsf": lambda event: _compact(ocsf(event)),
    "cef": cef,
}
"""The formats of one line for each event."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a receiver needs to be reached. token: of HEC or OTLP. ca: file that its certificate must chain to."""

    token: str = field(default="", repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def trust(self) -> ssl.SSLContext:
        """Return what TLS is spoken with. Raises OperatorError."""
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError):
            raise OperatorError(
                "--ca-file or --client-cert", "the file holds no usable certificate", "Name a PEM file"
            ) from None
        return context


def receiver(address: str, format: str, access: Access) -> Receiver:
    """Return what takes events at an address, in a format. Raises OperatorError.

    address: syslog+tcp://HOST:PORT, syslog+tls://HOST:PORT, hec+https://HOST:PORT, otlp+https://HOST:PORT,
    file:///PATH or -.
    """
    if address == "-":
        return Lines(sys.stdout.fileno(), _line(format))
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise OperatorError(
            "--to", "it has no usable host or port", "Write HOST:PORT, or [IPv6]:PORT"
        ) from None
    if parts.username or parts.password:
        raise OperatorError("--to", "credentials do not belong into an address", "Give --token-file instead")
    scheme = parts.scheme
    if scheme == "file" and not parts.netloc and parts.path not in ("", "/"):
        return _file(Path(parts.path), _line(format))
    if scheme in ("syslog+tcp", "syslog+tls") and parts.hostname:
        trust = access.trust() if scheme.endswith("tls") else None
        return Syslog(parts.hostname, port or (6514 if trust else 601), _line(format), trust)
    if scheme in ("hec+https", "hec+http", "otlp+https", "otlp+http") and parts.hostname:
        kind, _, over = scheme.partition("+")
        if over == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise OperatorError("--to", "plain HTTP is for this machine alone", f"Write {kind}+https://...")
        url = f"{over}://{parts.netloc}"
        if kind == "hec":
            if not access.token:
                raise OperatorError("--to", "HEC wants a token", "Give it with --token-file")
            return Hec(url + (parts.path.rstrip("/") or "/services/collector/event"), _shape(format), access)
        if format != "otlp":
            raise OperatorError("--format", "OTLP has a format of its own", "Leave it out, or write otlp")
        return Otlp(url + (parts.path.rstrip("/") or "/v1/logs"), access)
    raise OperatorError(
        "--to",
        "it is no receiver's address",
        "Write syslog+tls://HOST:6514, syslog+tcp://, hec+https://HOST:8088, otlp+https://HOST:4318, "
        "file:///PATH or -",
    )


def _line(format: str) -> Line:
    if format not in LINES:
        raise OperatorError("--format", "this receiver does not take it", f"Choose from: {', '.join(LINES)}")
    return LINES[format]


def _shape(format: str) -> Callable[[Event], object]:
    made: dict[str, Callable[[Event], object]] = {
        "jsonl": event_json,
        "ecs": ecs,
        "ocsf": ocsf,
        "cef": cef,
    }
    if format not in made:
        raise OperatorError("--format", "this receiver does not take it", f"Choose from: {', '.join(made)}")
    return made[format]


class Lines:
    """A file that is appended to, or a pipe. handle: open for writing. path: of the file, None for a pipe.

    send() raises BrokenPipeError where who read the pipe has gone: nobody comes back to it.
    """

    def __init__(self, handle: int, line: Line, path: Path | None = None) -> None:
        self._handle = handle
        self._line = line
        self._path = path
        self._torn = False

    def send(self, batch: Sequence[Event]) -> None:
        lines = "".join(self._line(event) + "\n" for event in batch).encode()
        try:
            self._follow()
            # A line that was cut off must not swallow the first of those that come again.
            data = memoryview(b"\n" + lines if self._torn else lines)
            while data:
                count = os.write(self._handle, data)
                self._torn = data[count - 1] != ord("\n") if count else self._torn
                data = data[count:]
            if self._path is not None:
                os.fsync(self._handle)
        except OSError as error:
            if self._path is None and isinstance(error, BrokenPipeError):
                raise
            raise NotTaken(f"it cannot be written ({error.strerror})") from None

    def close(self) -> None:
        if self._path is not None:
            os.close(self._handle)

    def _follow(self) -> None:
        """Go to the file that has the name now, where the one that was open was rotated away. Raises OSError."""
        if self._path is None:
            return
        if self._path.exists() and os.path.samestat(os.stat(self._path), os.fstat(self._handle)):
            return
        handle = _opened(self._path)
        os.close(self._handle)
        self._handle, self._torn = handle, False


def _file(path: Path, line: Line) -> Lines:
    try:
        return Lines(_opened(path), line, path)
    except OSError as error:
        raise OperatorError(
            "--to", f"the file cannot be opened ({error.strerror})", "Name a file you may write"
        ) from None


def _opened(path: Path) -> int:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _end_torn_line(path, handle)
    return handle


def _end_torn_line(path: Path, handle: int) -> None:
    """End a line that a crash or a full disk cut off; its event is sent again, whole."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                os.write(handle, b"\n")


_SYSLOG_SEVERITY = {Severity.INFORMATIONAL: 6, Severity.LOW: 5, Severity.MEDIUM: 4, Severity.HIGH: 2}
_FACILITY = 13
"""Log audit (RFC 5424, table 1)."""


class Syslog:
    """RFC 5424 messages with octet counting (RFC 6587, RFC 5425), one connection that is kept."""

    def __init__(self, host: str, port: int, line: Line, trust: ssl.SSLContext | None) -> None:
        self._at = (host, port)
        self._line = line
        self._trust = trust
        self._raw: socket.socket | None = None
        self._connection: socket.socket | None = None

    def send(self, batch: Sequence[Event]) -> None:
        self.put([self._framed(event) for event in batch])

    def put(self, frames: Sequence[bytes]) -> None:
        """Send messages that are framed. Raises NotTaken."""
        try:
            connection = self._open()
            connection.sendall(b"".join(frames))
            self._wait_until_acknowledged()
        except (OSError, ssl.SSLError) as error:
            self.close()
            raise NotTaken(_named(error)) from None

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
        self._connection = self._raw = None

    def _open(self) -> socket.socket:
        if self._connection is not None and not self._was_closed():
            return self._connection
        self.close()
        raw = socket.create_connection(self._at, timeout=TIMEOUT_S)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._connection = self._raw = raw
        if self._trust is not None:
            try:
                self._connection = self._trust.wrap_socket(raw, server_hostname=self._at[0])
            except BaseException:
                raw.close()
                self._connection = self._raw = None
                raise
            # The descriptor moved into the TLS socket.
            self._raw = self._connection
        return self._connection

    def _was_closed(self) -> bool:
        """Say whether the receiver hung up: what is written then is lost without an error."""
        assert self._raw is not None
        self._raw.setblocking(False)
        try:
            return self._connection is None or self._connection.recv(1) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except (OSError, ssl.SSLError):
            return True
        finally:
            self._raw.settimeout(TIMEOUT_S)

    def _wait_until_acknowledged(self) -> None:
        """Wait until the receiver's kernel has all; syslog itself never answers."""
        assert self._raw is not None
        deadline = time.monotonic() + TIMEOUT_S
        while struct.unpack("i", fcntl.ioctl(self._raw.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]:
            if time.monotonic() > deadline:
                raise TimeoutError("not acknowledged")
            time.sleep(_QUIET_S)
        if self._was_closed():
            raise ConnectionResetError("closed by the receiver")

    def _framed(self, event: Event) -> bytes:
        severity = _SYSLOG_SEVERITY[severity_of(event)]
        return framed(severity, event.at, event.gateway, event.kind.value, self._line(event))


def framed(severity: int, at: datetime, host: str, kind: str, text: str) -> bytes:
    """Return one syslog message of the facility `log audit`. severity: 0 to 7, as RFC 5424 has them."""
    stamp = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    name = "".join(c for c in host if "!" <= c <= "~")[:255] or "-"
    head = f"<{_FACILITY * 8 + severity}>1 {stamp} {name} sallyport - {kind} - "
    message = head.encode("ascii") + text.encode()
    return b"%d %s" % (len(message), message)


class _Http:
    """POSTs to one address. Follows no redirect and no proxy of the environment."""

    def __init__(self, url: str, access: Access) -> None:
        self._url = url
        trust = access.trust() if url.startswith("https") else True
        self._client = httpx2.Client(trust_env=False, follow_redirects=False, timeout=TIMEOUT_S, verify=trust)

    def _post(self, content: bytes, headers: dict[str, str]) -> bytes:
        """Return the answer. One that does not end is none: it would fill the memory, or hold up all for ever."""
        body = bytearray()
        try:
            with self._client.stream("POST", self._url, content=content, headers=headers) as answer:
                deadline = time.monotonic() + TIMEOUT_S
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _MAX_ANSWER_BYTES or time.monotonic() > deadline:
                        raise NotTaken("its answer does not end")
        except httpx2.HTTPError as error:
            raise NotTaken(type(error).__name__) from None
        status = answer.status_code
        if not 200 <= status < 300:
            # What a full or starting receiver says; anything else stays so until somebody looks.
            final = status < 500 and status not in (408, 425, 429)
            raise NotTaken(f"it answers with status {status}", final=final)
        return bytes(body)

    def close(self) -> None:
        self._client.close()


class Hec(_Http):
    """Splunk's HTTP event collector."""

    def __init__(self, url: str, shape: Callable[[Event], object], access: Access) -> None:
        super().__init__(url, access)
        self._shape = shape
        self._headers = {"authorization": f"Splunk {access.token}", "content-type": "application/json"}

    def send(self, batch: Sequence[Event]) -> None:
        entries = (
            {
                "time": round(event.at.timestamp(), 6),
                "host": event.gateway,
                "source": "sallyport",
                "sourcetype": "sallyport:audit",
                "event": self._shape(event),
            }
            for event in batch
        )
        self._post("\n".join(map(_compact, entries)).encode(), self._headers)


class Otlp(_Http):
    """OpenTelemetry's logs over HTTP, in JSON."""

    def __init__(self, url: str, access: Access) -> None:
        super().__init__(url, access)
        self._headers = {"content-type": "application/json"}
        if access.token:
            self._headers["authorization"] = f"Bearer {access.token}"

    def send(self, batch: Sequence[Event]) -> None:
        answer = self._post(_compact(otlp(batch)).encode(), self._headers)
        if rejected := _rejected(answer):
            raise NotTaken(f"it took the batch without {rejected} of its events", final=True)


def _rejected(answer: bytes) -> int:
    """Return how many records a collector says it left out, although it answers 200 (OTLP, partial success)."""
    try:
        said = json.loads(answer or b"{}")
        return int(said.get("partialSuccess", {}).get("rejectedLogRecords", 0))
    except (ValueError, AttributeError, TypeError):
        return 0  # not in JSON: it says nothing that can be read


def _named(error: OSError) -> str:
    return error.strerror or type(error).__name__

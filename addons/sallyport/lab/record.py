"""What the providers really saw: every request whole, every connection with the bytes that arrived on it.

In memory, and on wish as JSON lines (mode 0600) for other processes. The lab's traffic is invented, so
this is the one place of the project that writes bodies and keys down.
"""

import base64
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import brotli  # type: ignore[import-untyped]
import zstandard

from sallyport.lab.values import dumps


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One complete request as it arrived.

    host: of the Host header, lower case, without port. path: with query. headers: as sent, in order.
    body: after transfer coding, before content coding. connection: id of its SeenConnection.
    """

    at: str
    connection: int
    sni: str | None
    host: str
    method: str
    path: str
    http: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first header of that name, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def decoded(self) -> bytes:
        """The body after content coding; as it is where the coding is unknown or broken."""
        return decode(self.body, self.header("content-encoding") or "")

    @property
    def text(self) -> str:
        return self.decoded.decode("utf-8", "backslashreplace")

    def json(self) -> object:
        return json.loads(self.decoded)


@dataclass(slots=True)
class SeenConnection:
    """One TCP connection, counted while it lives.

    raw_bytes: what came over TCP, TLS included. clear_bytes: what came in clear, complete requests or not.
    unfinished: clear bytes of a request that had not arrived whole when the connection ended.
    trouble: name of what ended it early, such as the client's TLS alert; None for a clean end.
    """

    id: int
    peer: str
    local: str
    tls: bool = False
    sni: str | None = None
    alpn: str | None = None
    raw_bytes: int = 0
    clear_bytes: int = 0
    requests: int = 0
    unfinished: bytes = b""
    trouble: str | None = None
    closed: bool = False


class Recorder:
    """Keep what was seen. keep: whether requests stay in memory (a benchmark does not want them)."""

    def __init__(self, file: Path | None = None, *, keep: bool = True) -> None:
        self.requests: list[SeenRequest] = []
        self.connections: list[SeenConnection] = []
        self._keep = keep
        self._count = 0
        self._fd = None if file is None else os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def opened(self, peer: str, local: str) -> SeenConnection:
        self._count += 1
        connection = SeenConnection(self._count, peer, local)
        if self._keep:
            self.connections.append(connection)
        self._write({"event": "opened", "connection": connection.id, "peer": peer, "local": local})
        return connection

    def seen(self, connection: SeenConnection, request: SeenRequest) -> None:
        connection.requests += 1
        if self._keep:
            self.requests.append(request)
        self._write({"event": "request", **asdict(request), "body": None, **_body(request.body)})

    def closed(self, connection: SeenConnection) -> None:
        connection.closed = True
        fields = {**asdict(connection), "unfinished": base64.b64encode(connection.unfinished).decode()}
        self._write({"event": "closed", **fields})

    def forget(self) -> None:
        """Drop what was seen so far from memory; open connections go on counting unseen."""
        self.requests.clear()
        self.connections.clear()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, event: object) -> None:
        if self._fd is not None:
            os.write(self._fd, dumps(event).encode() + b"\n")


def read_record(file: Path) -> list[SeenRequest]:
    """Read the requests of a record that another process writes; empty if there is no file yet."""
    if not file.exists():
        return []
    lines = file.read_bytes().splitlines(keepends=True)
    events = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [_request(event) for event in events if event["event"] == "request"]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def decode(body: bytes, coding: str) -> bytes:
    """Undo content codings, the last first. A lab reads generously: what fails is returned as it is."""
    decoders: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda data: zlib.decompress(data, wbits=31),
        "deflate": zlib.decompress,
        "br": brotli.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }
    for name in reversed([part.strip().lower() for part in coding.split(",")]):
        if name in decoders:
            try:
                body = decoders[name](body)
            except (zlib.error, brotli.error, zstandard.ZstdError):
                return body
    return body


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _request(event: dict[str, object]) -> SeenRequest:
    body, encoded = event.get("body"), event.get("body_base64")
    headers = event["headers"]
    assert isinstance(headers, list)
    return SeenRequest(
        at=str(event["at"]),
        connection=int(str(event["connection"])),
        sni=None if event["sni"] is None else str(event["sni"]),
        host=str(event["host"]),
        method=str(event["method"]),
        path=str(event["path"]),
        http=str(event["http"]),
        headers=tuple((str(name), str(value)) for name, value in headers),
        body=body.encode() if isinstance(body, str) else base64.b64decode(str(encoded)),
    )

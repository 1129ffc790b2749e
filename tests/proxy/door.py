"""Raw bytes at a door: what the attempts and the controls are made of.

Everything here says exactly what it is told, sound or not, and reports what came back; nothing raises for
what a gateway does.
"""

import contextlib
import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

import rawclient
from rawclient import Talk, post, read_answer, tunnel

AI = "api.openai.com"
OTHER_AI = "api.anthropic.com"
UNLISTED = "files.example.com"
CHAT = "/v1/chat/completions"
LEAK = "LEAK"
SEGMENT_PAUSE_S = 0.03
"""Long enough that a gateway in the next thread reads each segment alone: that is the attack."""


@dataclass(frozen=True)
class Door:
    """A proxy to knock at. own: a port of this machine that no client may reach through it."""

    port: int
    reverse: int
    ca: Path
    own: int
    outside_ca: Path | None = None
    most: int = 50
    patience_s: float = 3.0

    def dial(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=self.patience_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def tunnel(self, name: str = AI, port: int = 443) -> socket.socket:
        sock = tunnel(self.port, name, connect=f"{name}:{port}", timeout=self.patience_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def tls(self, sni: str | None = AI, *, connect: str = AI, alpn: Sequence[str] = ()) -> ssl.SSLSocket:
        return rawclient.tls(self.tunnel(connect), sni, self.ca, list(alpn))


type Try = Callable[[Door, str], Talk]


# -- words ---------------------------------------------------------------------------------------------


def chat(mark: str, text: str = "") -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": f"{mark} {text}"}]}).encode()


def call(mark: str, *headers: str, text: str = "", **changed: str) -> bytes:
    return post(changed.get("path", CHAT), chat(mark, text), changed.get("host", AI), *headers,
                method=changed.get("method", "POST"))  # fmt: skip


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def talk(sock: socket.socket, *pieces: bytes, wait_s: float | None = None, linger_s: float = 0.0) -> Talk:
    """Send the pieces, each in a segment of its own, read one answer, close. Never raises for refusals.

    wait_s: for the answer; None takes the patience the socket was opened with. linger_s: how long to stay for
    the answers after it.
    """
    with contextlib.closing(sock):
        try:
            for number, piece in enumerate(pieces):
                if number:
                    time.sleep(SEGMENT_PAUSE_S)
                sock.sendall(piece)
        except OSError as problem:
            return Talk(0, b"", b"", type(problem).__name__)
        answer = read_answer(sock, timeout=wait_s or sock.gettimeout() or 3.0)
        if linger_s:
            sock.settimeout(linger_s)
            with contextlib.suppress(OSError):
                while sock.recv(65536):
                    pass
        return answer


def plain(build: Callable[[str], bytes] | bytes, *, linger_s: float = 0.0) -> Try:
    """Say bytes to the explicit listener itself."""
    return lambda door, mark: talk(
        door.dial(), build if isinstance(build, bytes) else build(mark), linger_s=linger_s
    )


def inside(
    build: Callable[[str], bytes | tuple[bytes, ...]],
    *,
    sni: str | None = AI,
    connect: str = AI,
    alpn: Sequence[str] = (),
    wait_s: float | None = None,
    linger_s: float = 0.0,
) -> Try:
    """Say bytes inside CONNECT and TLS."""

    def run(door: Door, mark: str) -> Talk:
        said = build(mark)
        pieces = (said,) if isinstance(said, bytes) else said
        try:
            sock = door.tls(sni, connect=connect, alpn=alpn)
        except OSError as problem:
            return Talk(0, b"", b"", type(problem).__name__)
        return talk(sock, *pieces, wait_s=wait_s, linger_s=linger_s)

    return run


def after_connect(build: Callable[[str], bytes | tuple[bytes, ...]], *, connect: str = AI) -> Try:
    """Say bytes inside CONNECT without TLS."""

    def run(door: Door, mark: str) -> Talk:
        said = build(mark)
        try:
            return talk(door.tunnel(connect), *((said,) if isinstance(said, bytes) else said))
        except OSError as problem:
            return Talk(0, b"", b"", type(problem).__name__)

    return run


def connecting(target: str, *, sni: str | None = None) -> Try:
    """CONNECT to a target, and call through it if it opens. %OWN stands for the port of this machine."""

    def run(door: Door, mark: str) -> Talk:
        where = target.replace("%OWN", str(door.own))
        try:
            raw = tunnel(door.port, "", connect=where, timeout=door.patience_s)
            inner = rawclient.tls(raw, sni or where.rpartition(":")[0].strip("[]") or None, door.ca)
        except OSError as problem:
            return Talk(0, b"", b"", str(problem))
        return talk(inner, call(mark))

    return run


def saying_hello(
    *names: bytes, connect: str = AI, lists: Sequence[bytes] | None = None, extra: bytes = b""
) -> Try:
    """Send a hand-made ClientHello, with whatever bytes as server names."""

    def run(door: Door, mark: str) -> Talk:
        record = client_hello(names, lists=lists, extra=extra)
        try:
            return talk(door.tunnel(connect), record, wait_s=1.0)
        except OSError as problem:
            return Talk(0, b"", b"", type(problem).__name__)

    return run


def client_hello(
    names: Sequence[bytes] = (), *, lists: Sequence[bytes] | None = None, extra: bytes = b""
) -> bytes:
    """A TLS 1.2 ClientHello in one record. lists: whole server_name extensions instead of names."""
    bodies = lists if lists is not None else [server_names([(0, name) for name in names])] if names else []
    extensions = b"".join(struct.pack("!HH", 0, len(body)) + body for body in bodies) + extra
    extensions += bytes.fromhex("000a00080006001d00170018") + bytes.fromhex("000b00020100")
    extensions += bytes.fromhex("000d000e000c040308040401050308050501")
    body = b"\x03\x03" + bytes(range(32)) + b"\0"
    body += (
        bytes.fromhex("0008c02bc02fc02cc030") + b"\x01\0" + struct.pack("!H", len(extensions)) + extensions
    )
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def server_names(entries: Sequence[tuple[int, bytes]]) -> bytes:
    """The body of one server_name extension (RFC 6066 section 3)."""
    listed = b"".join(bytes([kind]) + struct.pack("!H", len(name)) + name for kind, name in entries)
    return struct.pack("!H", len(listed)) + listed


ECH = struct.pack("!HH", 0xFE0D, 42) + bytes.fromhex("0000010001aa0020") + b"k" * 32 + b"\0\0"


# -- HTTP/2 --------------------------------------------------------------------------------------------

type Field = tuple[bytes, bytes]


def h2_fields(mark: str, *extra: Field, **changed: bytes | None) -> list[Field]:
    pseudo = {":method": b"POST", ":scheme": b"https", ":authority": AI.encode(), ":path": CHAT.encode()}
    for name, value in changed.items():
        if value is None:
            pseudo.pop(f":{name}")
        else:
            pseudo[f":{name}"] = value
    fields = [(name.encode(), value) for name, value in pseudo.items()]
    return [
        *fields,
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer sk-test-EXAMPLE"),
        *extra,
    ]


def h2_say(sock: ssl.SSLSocket, fields: Sequence[Field], body: bytes | None, *, trailers: Sequence[Field] = (),
           wait_s: float = 3.0, open_end: bool = False) -> Talk:  # fmt: skip
    """Say one request over HTTP/2 without any check of what is said; None as body ends it with the head."""
    config = h2.config.H2Configuration(
        client_side=True,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        header_encoding=False,
    )
    conn = h2.connection.H2Connection(config)
    conn.initiate_connection()
    with contextlib.closing(sock):
        try:
            conn.send_headers(1, fields, end_stream=body is None)
            if body is not None:
                conn.send_data(1, body, end_stream=not trailers and not open_end)
            if trailers:
                conn.send_headers(1, trailers, end_stream=True)
            sock.sendall(conn.data_to_send())
            return h2_read(sock, conn, wait_s)
        except (OSError, h2.exceptions.ProtocolError) as problem:
            return Talk(0, b"", b"", type(problem).__name__)


def h2_read(sock: ssl.SSLSocket, conn: h2.connection.H2Connection, wait_s: float) -> Talk:
    sock.settimeout(wait_s)
    status, said, body = 0, b"", b""
    while data := sock.recv(65536):
        for event in conn.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    fields = dict(event.headers)
                    status = int(fields[b":status"])
                    said = b"\r\n".join(k + b": " + v for k, v in event.headers)
                case h2.events.DataReceived():
                    body += event.data
                    conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    return Talk(status, said, body)
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    return Talk(status, said, body, type(event).__name__)
        sock.sendall(conn.data_to_send())
    return Talk(status, said, body, "closed")


def over_h2(
    build: Callable[[str], tuple[list[Field], bytes | None]], *, trailers: Sequence[Field] = ()
) -> Try:
    def run(door: Door, mark: str) -> Talk:
        fields, body = build(mark)
        try:
            sock = door.tls(alpn=["h2"])
        except OSError as problem:
            return Talk(0, b"", b"", type(problem).__name__)
        return h2_say(sock, fields, body, trailers=trailers)

    return run


def h2_with(*extra: Field, **changed: bytes | None) -> Try:
    return over_h2(lambda mark: (h2_fields(mark, *extra, **changed), chat(mark)))

"""A client of bytes: says exactly what a test wants over a tunnel, and reports what came back."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Talk:
    """status: of the first answer, 0 if none; body: all that followed its head."""

    status: int
    head: bytes
    body: bytes
    error: str = ""


def tunnel(
    port: int, host: str, *, connect: str | None = None, timeout: float = 5, source: str = "127.0.0.1"
) -> socket.socket:
    """Open a CONNECT tunnel from an address of this machine. Raises ConnectionError if the gateway refuses it."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(source, 0))
    name = connect or f"{host}:443"
    raw.sendall(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode("latin-1"))
    head = b""
    while b"\r\n\r\n" not in head:
        piece = raw.recv(4096)
        if not piece:
            raise ConnectionError("closed")
        head += piece
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise ConnectionError(head.split(b"\r\n")[0].decode("latin-1"))
    return raw


def tls(raw: socket.socket, sni: str | None, ca: Path, alpn: list[str] | None = None) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(alpn)
    return context.wrap_socket(raw, server_hostname=sni)


def read_answer(sock: socket.socket, *, timeout: float = 5) -> Talk:
    """Read until the answer is whole, the peer closes, or time is up."""
    sock.settimeout(timeout)
    data = b""
    error = ""
    try:
        while not whole(data):
            piece = sock.recv(65536)
            if not piece:
                break
            data += piece
    except (TimeoutError, OSError) as problem:
        error = type(problem).__name__
    head, _, body = data.partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
    return Talk(status, head, body, error)


def whole(data: bytes | bytearray) -> bool:
    """Say whether an answer is there to its last byte; asked after every piece of it, so nothing is copied."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    body = end + 4
    head = data[:end].lower()
    if b"transfer-encoding: chunked" in head:
        return data.endswith(b"0\r\n\r\n", body)
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(data) - body >= int(line.partition(b":")[2])
    return False


def post(path: str, body: bytes, host: str, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Authorization: Bearer sk-test-EXAMPLE"]
    if not any(h.lower().startswith("content-type:") for h in headers):
        lines.append("Content-Type: application/json")
    if not any(h.lower().startswith(("content-length:", "transfer-encoding:")) for h in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


def ask(port: int, ca: Path, host: str, request: bytes, *, sni: str | None = "", timeout: float = 5) -> Talk:
    """Open a tunnel, speak TLS, send bytes, read one answer; never raises for what the gateway does."""
    try:
        with tls(tunnel(port, host, timeout=timeout), host if sni == "" else sni, ca) as sock:
            sock.sendall(request)
            return read_answer(sock, timeout=timeout)
    except (OSError, ConnectionError) as problem:
        return Talk(0, b"", b"", type(problem).__name__)


def chunks(*pieces: bytes) -> list[bytes]:
    """Return pieces as the chunks of a body."""
    return [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]

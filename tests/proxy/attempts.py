"""The table of attempts to get past the gateway over its own ports. The page docs/bypass-resistance.md lists it.

An attempt carries its mark in what it wants to bring out, so that a capture upstream can be searched for it.
Attempts that only hide text hide the word LEAK, which the gateway under test refuses wherever it reads it.
"""

import gzip
import os
import socket
import time
from dataclasses import dataclass

from proxy.door import (
    AI,
    CHAT,
    LEAK,
    UNLISTED,
    Door,
    Try,
    after_connect,
    call,
    chat,
    client_hello,
    connecting,
    head,
    inside,
    plain,
    saying_hello,
    server_names,
    talk,
)
from rawclient import Talk, post


@dataclass(frozen=True)
class Attempt:
    """reason: reason or detail of the audit event that must tell of it; empty where none is due.

    disarmed: the call is in order and may go on without this piece of it, which may not be found upstream.
    """

    id: str
    run: Try
    reason: str
    disarmed: bytes = b""


def said(mark: str, *lines: str, body: bytes | None = None, length: bool = True) -> bytes:
    """A call whose head is written line by line."""
    body = chat(mark) if body is None else body
    sized = [f"Content-Length: {len(body)}"] if length else []
    return (
        head(*lines, "Authorization: Bearer sk-test-EXAMPLE", "Content-Type: application/json", *sized) + body
    )


START = f"POST {CHAT} HTTP/1.1"
HOST = f"Host: {AI}"


def with_head(*lines: str, length: bool = True) -> Try:
    """A call with these head lines instead of the usual request line and Host."""
    return inside(lambda mark: said(mark, *(line.replace("%MARK", mark) for line in lines), length=length))


def with_lines(*lines: str) -> Try:
    """A call in order but for these lines more."""
    return with_head(START, HOST, *lines)


def with_body(make, *headers: str) -> Try:
    """A call whose body is make(mark), with these headers more."""
    return inside(lambda mark: post(CHAT, make(mark), AI, *headers))


def hidden(mark: str) -> bytes:
    return chat(mark, LEAK)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", size: bytes = b"%x") -> bytes:
    return b"".join(size % len(c) + b"\r\n" + c + b"\r\n" for c in chunks) + end


def with_chunks(make, *lines: str) -> Try:
    """A call whose body is written as make(body) under Transfer-Encoding: chunked."""
    begin = (START, HOST, "Transfer-Encoding: chunked", *lines)
    return inside(lambda mark: said(mark, *begin, body=b"", length=False) + make(chat(mark)))


def zipped(mark: str) -> bytes:
    return gzip.compress(hidden(mark))


def split_first(*sizes: int, crlf: bytes = b"") -> Try:
    """A call inside TLS whose first bytes come in records of these sizes."""

    def cut(mark: str) -> tuple[bytes, ...]:
        data, pieces = crlf + call(mark, text=LEAK), []
        for size in sizes:
            pieces.append(data[:size])
            data = data[size:]
        return (*pieces, data)

    return inside(cut)


def hello_in_segments(*sizes: int, names: bytes = AI.encode()) -> Try:
    """A ClientHello whose first bytes come in segments of these sizes, without a CONNECT in front of TLS."""

    def run(door: Door, mark: str) -> Talk:
        data, pieces = client_hello([names]), []
        for size in sizes:
            pieces.append(data[:size])
            data = data[size:]
        return talk(door.dial(), *pieces, data)

    return run


def tls_in_tls(door: Door, mark: str) -> Talk:
    """A second handshake inside the first one, for a name that would be tunnelled."""
    return talk(door.tls(), client_hello([UNLISTED.encode()]) + b"\0\0\r\n\r\n")


def tls_to_the_proxy(door: Door, mark: str) -> Talk:
    """TLS where a CONNECT is due."""
    return talk(door.dial(), client_hello([AI.encode()]))


def h2_preface(where: str) -> Try:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    if where == "proxy":
        return plain(preface)
    return inside(lambda mark: preface) if where == "tls" else after_connect(lambda mark: preface)


def second_request(second, *, first=call) -> Try:
    """A sound call and, in the same segment, another one that must be judged on its own."""
    return inside(lambda mark: first(mark + "-first") + second(mark))


def other_names_in_hello(door: Door, mark: str) -> Talk:
    return saying_hello(connect=UNLISTED, lists=[server_names([(0, AI.encode()), (0, UNLISTED.encode())])])(
        door, mark
    )


def slow_head(where: str) -> Try:
    """Say a head a byte at a time for longer than the policy allows; the test shortens that."""

    def run(door: Door, mark: str) -> Talk:
        sock = door.dial() if where == "connect" else door.tls() if where == "tls" else door.tunnel()
        data = (
            call(mark)
            if where == "tls"
            else b"CONNECT " + mark.encode()
            if where == "connect"
            else b"\x16\x03"
        )
        try:
            for byte in data[: 60 if where == "tls" else 40]:
                sock.sendall(bytes([byte]))
                time.sleep(0.05)
        except OSError as problem:
            return Talk(0, b"", b"", type(problem).__name__)
        return talk(sock)

    return run


def h2_slow(door: Door, mark: str) -> Talk:
    """HTTP/2 that opens no stream."""
    sock = door.tls(alpn=["h2"])
    return talk(sock, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")


def many_connections(door: Door, mark: str) -> Talk:
    """Ten connections more than one client may hold, the last of which calls."""
    held: list[socket.socket] = []
    try:
        for _ in range(door.most + 2):
            held.append(door.dial())
        time.sleep(0.1)
        return connecting(f"{AI}:443")(door, mark)
    except OSError as problem:
        return Talk(0, b"", b"", type(problem).__name__)
    finally:
        for sock in held:
            sock.close()


def nested(depth: int) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":' + b"[" * depth + b"]" * depth + b"}]}"


def json_of(template: str) -> Try:
    """A JSON body; %T stands for the mark with the hidden word."""
    return with_body(lambda mark: template.replace("%T", f"{mark} {LEAK}").encode())


def bomb(mark: str) -> bytes:
    return gzip.compress(b'{"a":"' + b" " * 30_000_000 + chat(mark) + b'"}')


def reverse_plain(door: Door, mark: str) -> Talk:
    sock = socket.create_connection(("127.0.0.1", door.reverse), timeout=door.patience_s)
    return talk(sock, call(mark, host="127.0.0.1", path="/v1/files"))


def reverse_tls(sni: str, **changed: str) -> Try:
    def run(door: Door, mark: str) -> Talk:
        sock = socket.create_connection(("127.0.0.1", door.reverse), timeout=door.patience_s)
        import rawclient

        try:
            return talk(rawclient.tls(sock, sni, door.ca), call(mark, **changed))
        except OSError as problem:
            return Talk(0, b"", b"", type(problem).__name__)

    return run


def reverse_bytes(*pieces: bytes) -> Try:
    def run(door: Door, mark: str) -> Talk:
        sock = socket.create_connection(("127.0.0.1", door.reverse), timeout=door.patience_s)
        return talk(sock, *(p.replace(b"%MARK", mark.encode()) for p in pieces))

    return run


FIRST_BYTES = [
    Attempt("first-segment-1-byte-tls", hello_in_segments(1), ""),
    Attempt("first-segment-2-bytes-tls", hello_in_segments(2), ""),
    Attempt("first-record-1-byte", split_first(1), "secrets.found"),
    Attempt("first-record-2-bytes", split_first(2), "secrets.found"),
    Attempt("first-record-4-bytes", split_first(4), "secrets.found"),
    Attempt("first-records-1-1-1", split_first(1, 1, 1), "secrets.found"),
    Attempt("leading-crlf-in-tls", split_first(2, crlf=b"\r\n"), "not_http"),
    Attempt("leading-crlf-to-the-proxy", plain(b"\r\nCONNECT api.openai.com:443 HTTP/1.1\r\n\r\n%MARK"), "framing_line_ends"),
    Attempt("leading-space", inside(lambda mark: b" " + call(mark)), "not_http"),
    Attempt("raw-tcp-in-connect", after_connect(lambda mark: b"\x01\x02\x03" + mark.encode()), "not_http"),
    Attempt("raw-tcp-1-byte-first", after_connect(lambda mark: (b"\x01", b"\x02" + mark.encode())), "not_http"),
    Attempt("raw-tcp-in-tls", inside(lambda mark: b"\x00\x00\x00\x10" + mark.encode()), "not_http"),
    Attempt("ssh-banner-in-connect", after_connect(lambda mark: b"SSH-2.0-OpenSSH_9.2 " + mark.encode() + b"\r\n\r\n"), "not_http"),
    Attempt("ssh-banner-to-the-proxy", plain(b"SSH-2.0-%MARK\r\n\r\n"), "framing_request_line"),
    Attempt("smtp-in-connect", after_connect(lambda mark: b"EHLO " + mark.encode() + b"\r\n\r\n"), "framing_request_line"),
    Attempt("smtp-in-tls", inside(lambda mark: b"EHLO " + mark.encode() + b"\r\n\r\n"), "framing_request_line"),
    Attempt("lower-case-method", with_head(f"post {CHAT} HTTP/1.1", HOST), "not_http"),
    Attempt("odd-method", with_head(f"P0ST {CHAT} HTTP/1.1", HOST), "not_http"),
    Attempt("method-with-symbols", with_head(f"POS!T {CHAT} HTTP/1.1", HOST), "framing_request_line"),
    Attempt("tls-in-tls", tls_in_tls, "framing_line_ends"),
    Attempt("tls-to-the-proxy", tls_to_the_proxy, "framing_line_ends"),
    Attempt("socks4", plain(b"\x04\x01\x01\xbb\x01\x02\x03\x04%MARK\0"), "framing_line_ends"),
    Attempt("socks5", plain(b"\x05\x01\x00"), ""),
    Attempt("h2-prior-knowledge-to-the-proxy", h2_preface("proxy"), "framing_request_line"),
    Attempt("h2-prior-knowledge-in-connect", h2_preface("connect"), "framing_request_line"),
    Attempt("h2-prior-knowledge-in-tls", h2_preface("tls"), "framing_request_line"),
    Attempt("h2c-upgrade", with_lines("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAA"), "transport.upgrade"),
    Attempt("websocket-upgrade", inside(lambda mark: head(f"GET /v1/realtime?model={mark} HTTP/1.1", HOST, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")), "transport.upgrade"),
    Attempt("garbage-in-tls", inside(lambda mark: os.urandom(4000) + b"\r\n\r\n" + mark.encode()), ""),
    Attempt("garbage-to-the-proxy", plain(b"%MARK" + bytes(range(256)) * 8 + b"\r\n\r\n"), "framing_request_line"),
    Attempt("plain-http-in-connect", after_connect(call), "transport.plain_http"),
    Attempt("plain-http-through-the-proxy", plain(said("%MARK", f"POST http://{AI}{CHAT} HTTP/1.1", HOST)), "transport.plain_http"),
    Attempt("https-target-without-connect", plain(said("%MARK", f"POST https://{AI}{CHAT} HTTP/1.1", HOST)), "transport.plain_http"),
    Attempt("origin-form-to-the-proxy", plain(said("%MARK", START, HOST)), "transport.plain_http"),
    Attempt("plain-http-to-other-host", plain(said("%MARK", f"POST http://{UNLISTED}/upload HTTP/1.1", f"Host: {UNLISTED}")), "transport.plain_http"),
]  # fmt: skip

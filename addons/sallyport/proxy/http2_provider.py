"""HTTP/2 towards a provider: a connection that it ends takes no new request, and what it still answers goes on.

A provider that recycles a connection sends GOAWAY with the last stream that it answers, and goes on answering
those (RFC 9113, 6.8). Stock takes the frame for a failure: answers in flight break off, and requests that wait for
their turn wait for ever.
"""

from dataclasses import dataclass

import h2.errors
import h2.events
from hyperframe.frame import Frame, GoAwayFrame
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    ReceiveHttp,
    RequestHeaders,
    RequestProtocolError,
    ResponseProtocolError,
    _http2,
)

from sallyport.proxy.gate import gate
from sallyport.proxy.reuse import retired
from sallyport.proxy.stream import NotProcessed

StockClient = _http2.Http2Client
LAST_OF_ALL = 2**31 - 1


@dataclass(kw_only=True)
class GoingAway(h2.events.Event):
    """The provider answers streams up to this one, and takes no more of them."""

    last_stream_id: int


class GuardedHttp2Client(StockClient):
    """The provider-facing side. Requests that the provider has not looked at are handed back to be sent again."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # To the library nothing may follow the frame; it would refuse the answers that do.
        self.h2_conn._frame_dispatch_table[GoAwayFrame] = _going_away
        self._last_stream_id: int | None = None
        self._unsent: list[int] = []
        self._bare: set[int] = set()

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, RequestProtocolError) and event.stream_id not in self.our_stream_id:
            self.stream_queue.pop(event.stream_id, None)  # nobody waits for it any more
            return
        self._hand_back_stopped()
        yield from super()._handle_event(event)
        while self._unsent:
            yield ReceiveHttp(NotProcessed(self._unsent.pop(0)))

    def _handle_event2(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, RequestHeaders) and event.request.method == "HEAD":
            self._bare.add(event.stream_id)
        yield from super()._handle_event2(event)
        if self._last_stream_id is not None and not self._answering and self.conn.connected:
            self.streams.clear()  # all of them have ended; who gave one up must not be told once more
            self.h2_conn.close_connection()
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
            yield from self.close_connection("the provider has ended the connection")

    @property
    def _answering(self) -> bool:
        """Whether anything goes on of what the provider said that it answers."""
        last = self._last_stream_id or 0
        return any(id <= last and not stream.closed for id, stream in self.h2_conn.streams.items())

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        if isinstance(event, GoingAway):
            yield from self._retire(event.last_stream_id)
            return False
        if self._last_stream_id is not None and getattr(event, "stream_id", 0) > self._last_stream_id:
            return False  # it goes another way by now
        match event:
            case h2.events.StreamReset() if event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM:
                # Nothing of it was processed (RFC 9113, 8.7), and it may go again; here it would be refused again.
                yield from self._retire(LAST_OF_ALL)
                yield from self._hand_back(event.stream_id)
                return False
            case h2.events.StreamReset():
                self._name_plainly(event)
            case h2.events.ResponseReceived() if (b":status", b"204") in event.headers:
                self._bare.add(event.stream_id)
            case h2.events.ResponseReceived() if (b":status", b"304") in event.headers:
                self._bare.add(event.stream_id)
            case h2.events.DataReceived() if event.data and event.stream_id in self._bare:
                yield from self._refuse(event.stream_id)
                return False
            case _:
                pass
        return (yield from super().handle_h2_event(event))

    def _name_plainly(self, event: h2.events.StreamReset) -> None:
        """Take a code that stock hands on, without a word in the client's dialect, for one of a failure.

        CANCEL looks to stock like a client that has gone; that HTTP/1.1 is wanted tells one that speaks it nothing.
        """
        codes = h2.errors.ErrorCodes
        wants_http1 = event.error_code == codes.HTTP_1_1_REQUIRED and self.context.client.alpn != b"h2"
        if event.error_code == codes.CANCEL or wants_http1:
            event.error_code = codes.INTERNAL_ERROR

    def _refuse(self, stream_id: int) -> layer.CommandGenerator[None]:
        """Give an answer up that has content and cannot have any: an HTTP/1 client takes it for another answer."""
        if self.streams.pop(stream_id, None) is None:
            return
        if not self.is_closed(stream_id):
            self.h2_conn.reset_stream(stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        code = ErrorCode.GENERIC_SERVER_ERROR
        yield ReceiveHttp(ResponseProtocolError(stream_id, "content where there is none", code))

    def _retire(self, last_stream_id: int) -> layer.CommandGenerator[None]:
        """Take no more requests, and hand back those that are not answered here.

        A second frame may name an earlier stream: some name the highest possible first, and the real one later.
        """
        retired.add(self.conn)
        self._hand_back_queue()
        known = self._last_stream_id
        self._last_stream_id = last_stream_id if known is None else min(known, last_stream_id)
        for stream_id in [id for id in self.streams if id > self._last_stream_id]:
            yield from self._hand_back(stream_id)

    def _hand_back(self, stream_id: int) -> layer.CommandGenerator[None]:
        if self.streams.pop(stream_id, None) is not None:
            self.h2_conn.stream_buffers.pop(stream_id, None)
            self.h2_conn.stream_trailers.pop(stream_id, None)
            yield ReceiveHttp(NotProcessed(stream_id))

    def close_connection(self, msg: str) -> layer.CommandGenerator[None]:
        self._hand_back_queue()
        yield from super().close_connection(msg)

    def _hand_back_stopped(self) -> None:
        """What was stopped while it waited for its turn does not leave when that comes."""
        for stream_id, waiting in list(self.stream_queue.items()):
            if isinstance(waiting[0], RequestHeaders) and not gate.lets_out(waiting[0].request):
                del self.stream_queue[stream_id]
                self._unsent.append(stream_id)

    def _hand_back_queue(self) -> None:
        """Requests above the provider's number of streams at once have not left at all."""
        self._unsent += self.stream_queue
        self.stream_queue.clear()


def _going_away(frame: GoAwayFrame) -> tuple[list[Frame], list[h2.events.Event]]:
    return [], [GoingAway(last_stream_id=frame.last_stream_id)]

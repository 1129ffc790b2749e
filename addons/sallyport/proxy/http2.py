"""HTTP/2 framing: what the library refuses is recorded, floods are cut, and a connection that drains says so.

h2 refuses connection headers, repeated or missing pseudo headers, control characters, lengths that do not
agree, more than 100 streams at once, and header lists over its limit; each ends the whole connection. It
counts neither streams that a client opens and resets at once (CVE-2023-44487) nor frames that cost an answer
and carry nothing, and it keeps without a bound what a client does not read.
"""

import time

import h2.errors
import h2.events
from hyperframe.frame import GoAwayFrame
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import ResponseData, ResponseEndOfMessage, _http2

from sallyport.proxy import http1
from sallyport.proxy.stream import leaving, settings

StockServer = _http2.Http2Server

MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""Bytes of answers kept for a client that opens no window for them; more end its connection."""

_MEASURE_BYTES = 1024 * 1024
"""Bytes of answers after which is measured what waits."""

_LAST_STREAM = 2**31 - 1


class Budget:
    """So many at once, and so many a second after that."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left, self._at = burst, time.monotonic()

    def spend(self) -> bool:
        """Take one; False if there is none left."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s) - 1
        self._at = now
        return self._left >= 0


class GuardedHttp2Server(StockServer):
    """The client-facing side. resets, idle_frames: what a client may do of that which brings it nothing."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.resets = Budget(200, 20)
        self.idle_frames = Budget(5000, 500)
        self._sent_bytes = 0
        self._said_goodbye = False
        self._heads: set[int] = set()

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        if self._is_flood(event):
            yield from self.protocol_error(
                "flood", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, reason="http2_flood"
            )
            return True
        if isinstance(event, h2.events.RequestReceived) and (b":method", b"HEAD") in event.headers:
            self._heads.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self._heads.discard(event.stream_id)
        return (yield from super().handle_h2_event(event))

    def _is_flood(self, event: h2.events.Event) -> bool:
        match event:
            case h2.events.StreamReset():
                return not self.resets.spend()
            case h2.events.DataReceived():
                return not event.data and not self.idle_frames.spend()
            case h2.events.RequestReceived() | h2.events.StreamEnded() | h2.events.TrailersReceived():
                return False
            case h2.events.WindowUpdated():
                return False  # one for every frame that a client reads
            case _:
                return not self.idle_frames.spend()

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, ResponseData) and event.stream_id in self._heads:
            return  # of a refusal: an answer to HEAD has no content
        yield from super()._handle_event(event)
        if isinstance(event, ResponseData):
            self._sent_bytes += len(event.data)
            if self._sent_bytes >= _MEASURE_BYTES:
                self._sent_bytes = 0
                if self._unread_bytes() > MAX_UNREAD_BYTES:
                    yield from self.protocol_error(
                        "unread", h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, reason="http2_unread"
                    )
        elif isinstance(event, ResponseEndOfMessage):
            self._heads.discard(event.stream_id)
            if self.context.client in leaving:
                yield from self._leave()
            elif settings.draining:
                yield from self._say_goodbye()

    def _unread_bytes(self) -> int:
        return sum(len(piece.data) for pieces in self.h2_conn.stream_buffers.values() for piece in pieces)

    @property
    def _busy(self) -> bool:
        return bool(self.h2_conn.open_inbound_streams or any(self.h2_conn.stream_buffers.values()))

    def _say_goodbye(self) -> layer.CommandGenerator[None]:
        """Tell the client to open no more streams. Not while one is open: some clients drop it then."""
        if not self._busy and not self._said_goodbye:
            self._said_goodbye = True
            yield commands.SendData(self.conn, GoAwayFrame(last_stream_id=_LAST_STREAM).serialize())

    def _leave(self) -> layer.CommandGenerator[None]:
        """Close the connection once every answer is out."""
        if not self._busy:
            self.h2_conn.close_connection()
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
            yield from self.close_connection("nothing more is taken here")

    def protocol_error(
        self,
        message: str,
        error_code: int = h2.errors.ErrorCodes.PROTOCOL_ERROR,
        reason: str = "http2",
    ) -> layer.CommandGenerator[None]:
        http1.on_framing_refused(self.context.client, reason)
        # The message may quote a header; the client learns the error code.
        yield from super().protocol_error("protocol error", error_code)

"""HTTP/2 framing: what the library refuses is recorded. The library is strict already; stock only logs it.

h2 refuses connection headers, repeated or missing pseudo headers, control characters, lengths that do not
agree, more than 100 streams at once, and header lists over its limit; each ends the whole connection.
"""

from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import _http2

from sallyport.proxy import http1

StockServer = _http2.Http2Server


class GuardedHttp2Server(StockServer):
    """The client-facing side."""

    def protocol_error(
        self, message: str, error_code: int = _http2.h2.errors.ErrorCodes.PROTOCOL_ERROR
    ) -> layer.CommandGenerator[None]:
        http1.on_framing_refused(self.context.client, "http2")
        # The message may quote a header; the client learns the error code.
        yield from super().protocol_error("protocol error", error_code)

"""Which protocol a connection may speak: TLS or HTTP, decided on enough bytes, and nothing else.

Stock mitmproxy relays what it does not recognise (a first segment of two bytes was a complete bypass).
Here what is not recognised is closed.
"""

from asyncio import WriteTransport
from collections.abc import Callable

from mitmproxy import ctx
from mitmproxy.connection import Client, Connection
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer, ServerTLSLayer, modes
from mitmproxy.proxy.layers.http import HTTPMode

_TLS_RECORD = 0x16
MIN_FIRST_BYTES = 3
NOT_HTTP = "not_http"


class CloseLayer(layer.Layer):
    """Close the client connection and swallow everything. reason: id for the audit, empty if it knows."""

    def __init__(self, context: Context, reason: str = "") -> None:
        super().__init__(context)
        self._reason = reason

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            if self._reason:
                on_closed(self.context.client, self._reason)
            yield commands.CloseConnection(self.context.client)


on_closed: Callable[[Client, str], None] = lambda client, reason: None  # noqa: E731
"""Called with a client and a reason id when its bytes are no protocol of ours; the addon sets it."""


def transport_of(client: Client, connection: Connection | None = None) -> WriteTransport | None:
    """Return the transport of a client connection, or of one of its server connections; None if it is not open."""
    proxyserver = ctx.master.addons.get("proxyserver")
    handler = proxyserver.connections.get(client.id) if proxyserver else None
    known = handler.transports.get(connection or client) if handler is not None else None
    return None if known is None or known.writer is None else known.writer.transport


def abort_connection(client: Client, connection: Connection | None = None) -> bool:
    """Reset a client connection, or one of its server connections, at once; False if it is not open."""
    transport = transport_of(client, connection)
    if transport is None:
        return False
    transport.abort()
    return True


def choose_layer(context: Context, data_client: bytes) -> layer.Layer | None:
    """Return the next layer, None to wait for more bytes.

    Only TCP is spoken. A connection that starts with a TLS record gets TLS, then HTTP; in explicit mode
    HTTP comes first. A plain connection must start like an HTTP/1 request line.
    """
    if context.client.transport_protocol != "tcp":
        return CloseLayer(context, "not_tcp")
    top = context.layers[-1] if context.layers else None
    if isinstance(top, modes.HttpProxy):
        return HttpLayer(context, HTTPMode.regular)
    if len(data_client) < MIN_FIRST_BYTES:
        if data_client and not _may_start(data_client):
            return CloseLayer(context, NOT_HTTP)
        return None
    if starts_like_tls_record(data_client) and not _has_tls(context):
        # Reverse and transparent mode alike: the upstream side is TLS too, opened only after a verdict.
        server_tls = ServerTLSLayer(context)
        server_tls.child_layer = ClientTLSLayer(context)
        return server_tls
    if not _may_start(data_client):
        return CloseLayer(context, NOT_HTTP)
    return HttpLayer(context, HTTPMode.transparent)


def _has_tls(context: Context) -> bool:
    return any(isinstance(known, ClientTLSLayer) for known in context.layers)


def _may_start(data: bytes) -> bool:
    """Say whether bytes can begin a TLS record or an HTTP method (RFC 9110: a token; ours are letters)."""
    head = data[:MIN_FIRST_BYTES]
    return head[0] == _TLS_RECORD or all(65 <= c <= 90 for c in head)

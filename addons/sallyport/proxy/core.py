"""What Sallyport replaces inside mitmproxy 12.2.3, as one visible table.

install() puts the replacements in place, once, before a master is made or from a running mitmdump. Each
row has a contract test (tests/proxy/test_contract.py) that fails when an upgrade changes what stands there.
"""

import os
from dataclasses import dataclass
from typing import Any

from mitmproxy import addonmanager, hooks, version
from mitmproxy import http as messages
from mitmproxy.addons import next_layer, tlsconfig
from mitmproxy.net import tls as net_tls
from mitmproxy.proxy import context, layer, mode_servers, server
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers import websocket as websocket_layers
from mitmproxy.proxy.layers.http import _http1, _http2

from sallyport.errors import OperatorError
from sallyport.proxy import (
    dial,
    http1,
    http2,
    http2_provider,
    layers,
    lean,
    logs,
    manager,
    pacing,
    reuse,
    stream,
    tls,
    tunnels,
    websocket_layer,
)

MITMPROXY_VERSION = "12.2.3"


@dataclass(frozen=True, slots=True)
class Replacement:
    """holder.name is replaced by new. why: what stock does there that a gateway cannot live with."""

    holder: Any
    name: str
    new: Any
    why: str


def _next_layer(self: next_layer.NextLayer, nextlayer: layer.NextLayer) -> None:
    """Choose by our rules, whatever another addon has set."""
    chosen = layers.choose_layer(nextlayer.context, nextlayer.data_client())
    if chosen is not None or not isinstance(nextlayer.layer, layers.CloseLayer):
        nextlayer.layer = chosen


REPLACEMENTS: tuple[Replacement, ...] = (
    Replacement(
        http_layers, "HttpStream", stream.GuardedStream, "opens a server connection without a verdict"
    ),
    Replacement(
        http_layers, "Http1Server", http1.GuardedHttp1Server, "unbounded heads, folded lines, bare LF"
    ),
    Replacement(http_layers, "Http1Client", http1.GuardedHttp1Client, "unbounded answer heads"),
    Replacement(http_layers, "Http2Server", http2.GuardedHttp2Server, "records no protocol error"),
    Replacement(
        http_layers,
        "Http2Client",
        http2_provider.GuardedHttp2Client,
        "breaks answers off when it is told GOAWAY",
    ),
    Replacement(
        websocket_layers,
        "WebsocketLayer",
        websocket_layer.GuardedWebsocketLayer,
        "forwards a message whose hook raised, joins without a bound",
    ),
    Replacement(
        http_layers.GetHttpConnection,
        "connection_spec_matches",
        reuse.connection_spec_matches,
        "answers with a failure that is over, asks where nothing more is taken",
    ),
    Replacement(_http1, "make_body_reader", http1.make_body_reader, "crashes on chunked trailers"),
    Replacement(_http1, "make_error_response", http1.make_error_response, "quotes the peer in HTML"),
    Replacement(_http2, "format_error", http1.format_error, "quotes the peer in HTML"),
    Replacement(
        addonmanager.AddonManager, "trigger_event", manager.trigger_event, "fails open on an exception"
    ),
    Replacement(addonmanager.AddonManager, "handle_lifecycle", manager.handle_lifecycle, "a second dispatch"),
    Replacement(next_layer.NextLayer, "next_layer", _next_layer, "raw TCP on a short first segment"),
    Replacement(server, "asyncio", dial.AsyncioForServer(), "connects to whatever a name resolves to"),
    Replacement(server.ConnectionHandler, "open_connection", dial.guarded_open, "opens without a verdict"),
    Replacement(tlsconfig.TlsConfig, "get_cert", tls.get_cert, "signs IP addresses and foreign names"),
    Replacement(
        tlsconfig.TlsConfig, "tls_start_client", tls.tls_start_client, "asks all clients alike, or none"
    ),
    Replacement(tlsconfig.TlsConfig, "request", None, "answers a magic path on any host"),
    Replacement(net_tls, "is_supported_version", tls.is_supported_version, "crashes with OpenSSL 4"),
    Replacement(
        net_tls,
        "create_client_proxy_context",
        tls.create_client_proxy_context,
        "accepts any client certificate",
    ),
    Replacement(
        server.ConnectionHandler, "server_event", lean.server_event, "a task per hook, a write per piece"
    ),
    Replacement(
        server.ConnectionHandler,
        "drain_writers",
        pacing.drain_writers,
        "reads no answer before its request is out, and none of others meanwhile",
    ),
    Replacement(
        mode_servers.ProxyConnectionHandler, "handle_hook", lean.handle_hook, "four coroutines per hook"
    ),
    Replacement(
        mode_servers.ServerInstance,
        "handle_stream",
        tunnels.handle_stream,
        "tunnels whose connections cannot be aborted",
    ),
    Replacement(messages.Headers, "get_all", lean.get_all, "four calls for every name of a message"),
    Replacement(messages.Headers, "__getitem__", lean.get_item, "likewise"),
    Replacement(messages.Headers, "__delitem__", lean.delete_item, "likewise"),
    Replacement(
        messages.MessageData, "__post_init__", lean.no_type_check, "checks its own types by reflection"
    ),
    Replacement(context.Context, "fork", lean.fork, "makes a server for every request and drops it"),
    Replacement(hooks.Hook, "args", lean.hook_arguments, "lists a hook's fields by reflection, twice"),
)

STOCK: dict[tuple[str, str], Any] = {
    (getattr(r.holder, "__qualname__", None) or r.holder.__name__, r.name): getattr(r.holder, r.name, None)
    for r in REPLACEMENTS
}
"""What stood there before, for the contract tests."""


def install() -> None:
    """Replace the internals. Idempotent. Raises OperatorError on another mitmproxy than the pinned one."""
    if version.VERSION != MITMPROXY_VERSION:
        raise OperatorError(
            "mitmproxy",
            f"version {version.VERSION} is installed, the guards are written for {MITMPROXY_VERSION}",
            f"Install mitmproxy=={MITMPROXY_VERSION}, by hash",
            exit_code=3,
        )
    net_tls.log_master_secret = None
    for variable in ("SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE"):
        os.environ.pop(variable, None)
    for row in REPLACEMENTS:
        setattr(row.holder, row.name, row.new)
    logs.install()

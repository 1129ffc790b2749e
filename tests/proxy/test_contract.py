"""What Sallyport replaces in mitmproxy, and what it leans on there, is still what it was when written.

A failure here after an upgrade means: read the new code, decide anew, then put the new digest in.
"""

import hashlib
import inspect
import json
from pathlib import Path
from types import ModuleType

import h2.connection
import pytest
import wsproto.connection
import wsproto.frame_protocol
from mitmproxy import addonmanager, certs, flow, master, version
from mitmproxy.addons import next_layer, proxyserver, tlsconfig
from mitmproxy.net import tls as net_tls
from mitmproxy.net.http import http1
from mitmproxy.proxy import context, layer, mode_servers, server, tunnel
from mitmproxy.proxy.layers import http, modes, tcp, tls
from mitmproxy.proxy.layers.http import _base, _http1, _http2, _http_h2

from sallyport.proxy import core

DIGESTS = Path(__file__).parent / "contract.json"

LEANED_ON = {
    "HttpStream": core.STOCK["mitmproxy.proxy.layers.http", "HttpStream"],
    "Http1Server": core.STOCK["mitmproxy.proxy.layers.http", "Http1Server"],
    "Http1Client": core.STOCK["mitmproxy.proxy.layers.http", "Http1Client"],
    "Http2Server": core.STOCK["mitmproxy.proxy.layers.http", "Http2Server"],
    "Http2Client": core.STOCK["mitmproxy.proxy.layers.http", "Http2Client"],
    "H2Connection.receive_data": h2.connection.H2Connection.receive_data,
    "H2Connection._receive_frame": h2.connection.H2Connection._receive_frame,
    "H2Connection._receive_goaway_frame": h2.connection.H2Connection._receive_goaway_frame,
    "Http1Connection": _http1.Http1Connection,
    "make_body_reader": core.STOCK["mitmproxy.proxy.layers.http._http1", "make_body_reader"],
    "make_error_response": core.STOCK["mitmproxy.proxy.layers.http._http1", "make_error_response"],
    "format_error": _base.format_error,
    "Http2Connection": _http2.Http2Connection,
    "BufferedH2Connection": _http_h2.BufferedH2Connection,
    "HttpLayer": http.HttpLayer,
    "HttpClient": http.HttpClient,
    "GetHttpConnection.connection_spec_matches": core.STOCK["GetHttpConnection", "connection_spec_matches"],
    "AddonManager": addonmanager.AddonManager,
    "trigger_event": core.STOCK["AddonManager", "trigger_event"],
    "handle_lifecycle": core.STOCK["AddonManager", "handle_lifecycle"],
    "server_event": core.STOCK["ConnectionHandler", "server_event"],
    "drain_writers": core.STOCK["ConnectionHandler", "drain_writers"],
    "Headers.get_all": core.STOCK["Headers", "get_all"],
    "Headers.__getitem__": core.STOCK["Headers", "__getitem__"],
    "Headers.__delitem__": core.STOCK["Headers", "__delitem__"],
    "MessageData.__post_init__": core.STOCK["MessageData", "__post_init__"],
    "Hook.args": core.STOCK["Hook", "args"],
    "handle_hook": core.STOCK["ProxyConnectionHandler", "handle_hook"],
    "TimeoutWatchdog": server.TimeoutWatchdog,
    "wait_for_resume": flow.Flow.wait_for_resume,
    "Context.fork": core.STOCK["Context", "fork"],
    "Context.__init__": context.Context.__init__,
    "NextLayer addon": next_layer.NextLayer,
    "next_layer": core.STOCK["NextLayer", "next_layer"],
    "NextLayer": layer.NextLayer,
    "Layer": layer.Layer,
    "TunnelLayer": tunnel.TunnelLayer,
    "ConnectionHandler": server.ConnectionHandler,
    "open_connection": core.STOCK["ConnectionHandler", "open_connection"],
    "ServerInstance": mode_servers.ServerInstance,
    "ServerInstance.handle_stream": core.STOCK["ServerInstance", "handle_stream"],
    "WireGuardServerInstance": mode_servers.WireGuardServerInstance,
    "TunInstance": mode_servers.TunInstance,
    "ProxyConnectionHandler": mode_servers.ProxyConnectionHandler,
    "Proxyserver": proxyserver.Proxyserver,
    "TlsConfig": tlsconfig.TlsConfig,
    "get_cert": core.STOCK["TlsConfig", "get_cert"],
    "TlsConfig.tls_start_client": core.STOCK["TlsConfig", "tls_start_client"],
    "TlsConfig.request": core.STOCK["TlsConfig", "request"],
    "is_supported_version": core.STOCK["mitmproxy.net.tls", "is_supported_version"],
    "create_client_proxy_context": core.STOCK["mitmproxy.net.tls", "create_client_proxy_context"].__wrapped__,
    "create_proxy_server_context": net_tls.create_proxy_server_context.__wrapped__,
    "ClientTLSLayer": tls.ClientTLSLayer,
    "ServerTLSLayer": tls.ServerTLSLayer,
    "TCPLayer": tcp.TCPLayer,
    "WebsocketLayer": core.STOCK["mitmproxy.proxy.layers.websocket", "WebsocketLayer"],
    "wsproto.Connection": wsproto.connection.Connection,
    "wsproto.FrameProtocol": wsproto.frame_protocol.FrameProtocol,
    "HttpProxy": modes.HttpProxy,
    "ReverseProxy": modes.ReverseProxy,
    "CertStore": certs.CertStore,
    "Master": master.Master,
    "expected_http_body_size": http1.expected_http_body_size,
    "read_request_head": http1.read_request_head,
}


def digest(thing: object) -> str:
    return hashlib.sha256(inspect.getsource(thing).encode()).hexdigest()[:16]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LEANED_ON)
def test_the_source_is_what_the_replacement_was_written_against(name: str) -> None:
    known = json.loads(DIGESTS.read_text())
    assert digest(LEANED_ON[name]) == known[name], f"{name} changed in mitmproxy {version.VERSION}"


def holder_name(row: core.Replacement) -> str:
    """Return the dotted name of what a row replaces."""
    holder = row.holder
    name = holder.__name__ if isinstance(holder, ModuleType) else f"{holder.__module__}.{holder.__qualname__}"
    return f"{name}.{row.name}"


def test_every_replacement_is_under_contract_and_in_place() -> None:
    core.install()
    under = {id(thing) for thing in LEANED_ON.values()}
    for row in core.REPLACEMENTS:
        assert getattr(row.holder, row.name) is row.new, holder_name(row)
        key = (getattr(row.holder, "__qualname__", None) or row.holder.__name__, row.name)
        stock = core.STOCK[key]
        named = {id(stock), id(getattr(stock, "__wrapped__", stock))}
        assert named & under or row.name in {"asyncio", "format_error"}, f"{holder_name(row)} has no digest"
        assert row.why


def test_mitmproxys_server_opens_connections_by_the_name_we_replace() -> None:
    source = inspect.getsource(core.STOCK["ConnectionHandler", "open_connection"])
    assert "await asyncio.open_connection(" in source
    assert "*command.connection.address" in source
    assert "local_addr=command.connection.sockname" in source
    assert "if err := command.connection.error" in source


def test_another_mitmproxy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.version, "VERSION", "12.3.1")
    with pytest.raises(core.OperatorError, match=r"12\.3\.1"):
        core.install()


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps({k: digest(v) for k, v in LEANED_ON.items()}, indent=1) + "\n")

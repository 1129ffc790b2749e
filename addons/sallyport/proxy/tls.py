"""TLS as the gateway speaks it: a leaf for the one name asked, modern suites, verified client CAs."""

from collections.abc import Callable
from typing import Any

from cryptography import x509
from mitmproxy import certs
from mitmproxy.addons import tlsconfig
from mitmproxy.net import tls as net_tls
from mitmproxy.proxy.context import Context
from OpenSSL import SSL

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""ECDHE and AEAD only (TLS 1.2); TLS 1.3 suites are all of that kind."""

_stock_supported = net_tls.is_supported_version
_stock_client_context: Callable[..., SSL.Context] = net_tls.create_client_proxy_context.__wrapped__


def normalise_name(name: str | None) -> str | None:
    """Lower-case a host name and drop its trailing dot; None stays None, an empty name becomes None."""
    return (name or "").lower().rstrip(".") or None


def get_cert(self: tlsconfig.TlsConfig, conn_context: Context) -> certs.CertStoreEntry:
    """Mint a leaf for the client's SNI alone.

    Stock adds the destination's IP address and the upstream's names, which a name-constrained CA may not
    sign. Raises ValueError without a name; the manager then aborts the connection.
    """
    name = normalise_name(conn_context.client.sni)
    if name is None:
        raise ValueError("no server name")
    return self.certstore.get_cert(name, [x509.DNSName(name)])


def is_supported_version(version: net_tls.Version) -> bool:
    """Replace mitmproxy's probe, which raises on OpenSSL 4 for SSLv3 (mitmproxy issue 8264)."""
    if version in (net_tls.Version.SSL3, net_tls.Version.TLS1, net_tls.Version.TLS1_1):
        return False
    try:
        return bool(_stock_supported(version))
    except Exception:
        return False


client_ca: dict[str, str | None] = {"file": None}
"""PEM of the CAs that client certificates must come from; None asks for none."""

_contexts: dict[Any, SSL.Context] = {}


def create_client_proxy_context(**arguments: Any) -> SSL.Context:
    """Replace mitmproxy's: client certificates are verified in the handshake, and resumption is off then.

    Stock asks for a certificate, accepts any, and breaks the session resumption of every client.
    """
    key = (client_ca["file"], tuple(sorted((k, str(v)) for k, v in arguments.items())))
    context = _contexts.get(key)
    if context is None:
        context = _stock_client_context(**{**arguments, "request_client_cert": False})
        if client_ca["file"] is not None:
            context.set_options(SSL.OP_NO_TICKET)
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            context.load_verify_locations(client_ca["file"])
            context.set_verify(
                SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
                lambda conn, cert, errno, depth, ok: bool(ok),
            )
        if len(_contexts) > 256:
            _contexts.clear()
        _contexts[key] = context
    return context

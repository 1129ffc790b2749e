"""TLS as the gateway speaks it: a leaf for the one name asked, modern suites, verified client CAs."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from mitmproxy import certs, tls
from mitmproxy.addons import tlsconfig
from mitmproxy.net import tls as net_tls
from mitmproxy.proxy.context import Context
from OpenSSL import SSL

from sallyport.proxy.clientcerts import ClientTrust, Handshake
from sallyport.proxy.proved import proved_by

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""ECDHE and AEAD only (TLS 1.2); TLS 1.3 suites are all of that kind."""

_stock_supported = net_tls.is_supported_version
_stock_client_context: Callable[..., SSL.Context] = net_tls.create_client_proxy_context.__wrapped__
_stock_start_client = tlsconfig.TlsConfig.tls_start_client


def normalise_name(name: str | None) -> str | None:
    """Lower-case a host name and drop its trailing dot; None stays None, an empty name becomes None.

    mitmproxy decodes A-labels (xn--...) of a CONNECT: they are put back, as lists and SNI have them.
    """
    name = (name or "").lower().rstrip(".")
    if not name.isascii():
        with suppress(UnicodeError):
            name = name.encode("idna").decode("ascii")
    return name or None


def get_cert(self: tlsconfig.TlsConfig, conn_context: Context) -> certs.CertStoreEntry:
    """Mint a leaf for the client's SNI alone.

    Stock adds the destination's IP address and the upstream's names, which a name-constrained CA may not
    sign. Raises ValueError without a name; the manager then aborts the connection.
    """
    name = normalise_name(conn_context.client.sni)
    if name is None:
        raise ValueError("no server name")
    return leaf(self.certstore, name, datetime.now(UTC))


def leaf(store: certs.CertStore, name: str, now: datetime) -> certs.CertStoreEntry:
    """Return a leaf that is valid now and for a day more.

    The store keeps a leaf as long as the process runs: after half a year every client would refuse it, and one that was
    minted under a clock set ahead as soon as that is set back.
    """
    names = [x509.DNSName(name)]
    found = store.get_cert(name, names)
    if found.cert.notbefore <= now <= found.cert.notafter - _A_DAY:
        return found
    store.certs = {key: entry for key, entry in store.certs.items() if entry is not found}
    store.expire_queue = [entry for entry in store.expire_queue if entry is not found]
    return store.get_cert(name, names)


_A_DAY = timedelta(days=1)


def is_supported_version(version: net_tls.Version) -> bool:
    """Replace mitmproxy's probe, which raises on OpenSSL 4 for SSLv3 (mitmproxy issue 8264)."""
    if version in (net_tls.Version.SSL3, net_tls.Version.TLS1, net_tls.Version.TLS1_1):
        return False
    try:
        return bool(_stock_supported(version))
    except Exception:
        return False


@dataclass(slots=True)
class Asking:
    """How clients are asked for certificates; the host sets it at the start and after each reload.

    trust: None asks for none. enforced: whether a handshake fails for a certificate that is bad or missing.
    """

    trust: ClientTrust | None = None
    enforced: bool = True


asking = Asking()

_plain_contexts: dict[Any, SSL.Context] = {}


def create_client_proxy_context(**arguments: Any) -> SSL.Context:
    """Replace mitmproxy's: certificates are asked for only where the policy says so, and then resumption is off.

    Stock asks for a certificate, accepts any, and breaks the session resumption of every client.
    """
    trust = asking.trust
    contexts = _plain_contexts if trust is None else trust.contexts
    key = tuple(sorted((k, str(v)) for k, v in arguments.items()))
    context = contexts.get(key)
    if context is None:
        context = _stock_client_context(**{**arguments, "request_client_cert": False})
        if trust is not None:
            _send_chain(context, arguments.get("chain_file"))
            trust.ask_in(context)
        if len(contexts) > 256:
            contexts.clear()
        contexts[key] = context
    return context


def _send_chain(context: SSL.Context, chain_file: Path | None) -> None:
    """Name the chain that goes with our leaf: OpenSSL takes it from the store, which is to hold clients' CAs."""
    if chain_file is not None:
        for certificate in x509.load_pem_x509_certificates(chain_file.read_bytes()):
            context.add_extra_chain_cert(certificate)


def tls_start_client(self: tlsconfig.TlsConfig, data: tls.TlsData) -> None:
    """Prepare a handshake as stock does, then ask this client for a certificate, if the policy wants one."""
    if normalise_name(data.context.client.sni) is None:
        return  # no leaf fits, and the event of the hello says why; mitmproxy closes what has no context
    _stock_start_client(self, data)
    client, connection, trust = data.context.client, data.ssl_conn, asking.trust
    if connection is None or trust is None:
        return
    address = str(client.peername[0]) if client.peername else ""
    handshake = Handshake(trust, address, enforced=asking.enforced)
    handshake.ask(connection)
    proved = proved_by(client)
    proved.handshake, proved.certificate = handshake, None

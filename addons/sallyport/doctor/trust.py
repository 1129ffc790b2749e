"""Whether this machine's clients trust the gateway, found out by letting each make a real handshake.

On the gateway the handshake goes to a small server on loopback, whose leaf for a provider's name comes
from the gateway's own authority. On a client it goes the way that the client's requests go.
"""

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from sallyport.doctor.findings import Address, Check, Level, Situation, ok, skipped
from sallyport.doctor.tls import Reach, Reached, connect, handshake, tunnel
from sallyport.pki import Authority

_LEAF_LIFE = timedelta(minutes=10)
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_MOST_HEAD_BYTES = 65_536
_CURL_UNTRUSTED = (51, 60, 77, 83)

_RECIPE = "On the gateway, `sallyport ca install-help {client}` says how this client is told to."


@dataclass(frozen=True, slots=True)
class Target:
    """Where clients try a handshake: the name they ask for, the address, and the proxy on the way."""

    host: str
    address: Address
    proxy: Address | None = None
    loopback: bool = False


def check_trust(
    target: Target, environ: Mapping[str, str], severity: Level, timeout_s: float
) -> Iterator[Check]:
    """Let Python, the SDKs' HTTP client, a certifi client, Node and curl try; severity is for a no."""
    for name, context, todo in _python_contexts(environ):
        opened = (
            tunnel(target.proxy, (target.host, 443), timeout_s)
            if target.proxy
            else connect(target.address, timeout_s)
        )
        if isinstance(context, str):
            yield Check(name, severity, context, todo)
        else:
            yield _said(name, handshake(opened, target.host, context), severity, todo)
    yield _node(target, environ, severity, timeout_s)
    yield _curl(target, environ, severity, timeout_s)


def _said(name: str, reach: Reach, severity: Level, todo: str) -> Check:
    if reach.reached is Reached.TRUSTED:
        return ok(name, "trusts the certificate")
    if reach.reached is Reached.UNTRUSTED:
        return Check(name, severity, f"does not trust the gateway's CA ({reach.reason})", todo)
    return Check(
        name, severity, f"could not try: {reach}", "See the checks of the listener and the way to it."
    )


def _python_contexts(environ: Mapping[str, str]) -> Iterator[tuple[str, ssl.SSLContext | str, str]]:
    """Yield (check, context or why there is none, what to do)."""
    yield "trust: python", _default_context(), _RECIPE.format(client="python")
    yield "trust: httpx", _httpx_context(), _RECIPE.format(client="python")
    chosen = environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or certifi.where()
    try:
        context: ssl.SSLContext | str = (
            ssl.create_default_context(capath=chosen)
            if Path(chosen).is_dir()
            else ssl.create_default_context(cafile=chosen)
        )
    except (OSError, ssl.SSLError):
        context = "the bundle it is told to use cannot be read"
    yield "trust: requests (certifi)", context, _RECIPE.format(client="requests")


def _default_context() -> ssl.SSLContext | str:
    try:
        return ssl.create_default_context()
    except (OSError, ssl.SSLError):
        return "the bundle it is told to use cannot be read"


def _httpx_context() -> ssl.SSLContext | str:
    """Return the context that the OpenAI and Anthropic SDKs use by default in this environment."""
    try:
        try:
            import httpx2

            return httpx2.create_ssl_context()
        except ImportError:
            import httpx

            return httpx.create_ssl_context()
    except ImportError:  # neither is installed here; they look at these variables and then at certifi
        try:
            return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())
        except (OSError, ssl.SSLError):
            return "the bundle it is told to use cannot be read"
    except (OSError, ssl.SSLError):
        return "the bundle it is told to use cannot be read"


_NODE = """
const [host, address, port, proxyHost, proxyPort] = process.argv.slice(1);
const say = (text, status) => { console.log(text); process.exit(status); };
const untrusted = /CERT|SIGN|ISSUER|ALTNAME/;
const failed = (error) => say(error.code || 'error', untrusted.test(error.code) ? 1 : 2);
const secure = (way) => require('tls')
  .connect({ servername: host, ALPNProtocols: ['http/1.1'], ...way }, () => say('trusted', 0))
  .on('error', failed);
if (!proxyHost) {
  secure({ host: address, port: Number(port) });
} else {
  const socket = require('net').connect(Number(proxyPort), proxyHost, () =>
    socket.write(`CONNECT ${host}:443 HTTP/1.1\\r\\nHost: ${host}:443\\r\\n\\r\\n`));
  socket.on('error', failed);
  socket.once('data', (data) =>
    /^HTTP\\/1.. 200/.test(String(data)) ? secure({ socket }) : say('CONNECT refused', 2));
}
"""


def _node(target: Target, environ: Mapping[str, str], severity: Level, timeout_s: float) -> Check:
    name = "trust: node"
    program = shutil.which("node", path=environ.get("PATH"))
    if program is None:
        return skipped(name, "node is not installed here")
    place = [target.host, target.address[0], str(target.address[1])]
    proxy = [target.proxy[0], str(target.proxy[1])] if target.proxy else []
    result = _run([program, "-e", _NODE, *place, *proxy], environ, timeout_s)
    if result is None:
        return Check(name, severity, "did not finish in time", "See the checks of the listener.")
    status, said = result
    if status == 0:
        return ok(name, "trusts the certificate")
    if status == 1:
        todo = _RECIPE.format(client="node")
        return Check(name, severity, f"does not trust the gateway's CA ({said})", todo)
    return Check(
        name, severity, f"could not try ({said})", "See the checks of the listener and the way to it."
    )


def _curl(target: Target, environ: Mapping[str, str], severity: Level, timeout_s: float) -> Check:
    name = "trust: curl"
    program = shutil.which("curl", path=environ.get("PATH"))
    if program is None:
        return skipped(name, "curl is not installed here")
    host, (address, port) = target.host, target.address
    shown = f"[{address}]" if ":" in address else address
    way = (
        ["--proxy", f"http://{target.proxy[0]}:{target.proxy[1]}"]
        if target.proxy
        else ["--noproxy", "*", "--connect-to", f"{host}:443:{shown}:{port}"]
    )
    # No key, no body: the gateway knows no such endpoint and refuses it, which is all that is needed.
    common = [program, "-q", "-sS", "-o", os.devnull, "--max-time", f"{timeout_s:.1f}"]
    result = _run([*common, *way, f"https://{host}/"], environ, timeout_s + 2)
    if result is None:
        return Check(name, severity, "did not finish in time", "See the checks of the listener.")
    status, _ = result
    if status == 0:
        return ok(name, "trusts the certificate")
    if status in _CURL_UNTRUSTED:
        todo = _RECIPE.format(client="curl")
        return Check(name, severity, f"does not trust the gateway's CA (exit status {status})", todo)
    what = f"could not try (exit status {status})"
    return Check(name, severity, what, "See the checks of the listener and the way to it.")


def _run(argv: Sequence[str], environ: Mapping[str, str], timeout_s: float) -> tuple[int, str] | None:
    """Run a program and return its exit status and the first word or two it wrote, or None."""
    try:
        result = subprocess.run(
            argv,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError):
        return None
    return result.returncode, result.stdout.strip()[:60] or f"exit status {result.returncode}"


@contextmanager
def loopback_target(authority: Authority, hosts: Sequence[str]) -> Iterator[Target]:
    """Serve TLS on loopback with a leaf that the authority signs for one of the hosts, for a while.

    The leaf's key is made for this and gone afterwards; the authority's key stays in memory.
    """
    host = next((host for host in hosts if not authority.uncovered([host])), hosts[0])
    context = _server_context(authority, host)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=_serve, args=(listener, context), daemon=True)
        thread.start()
        try:
            yield Target(host, ("127.0.0.1", listener.getsockname()[1]), loopback=True)
        finally:
            with suppress(OSError):  # wakes accept()
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with closing(connection), suppress(OSError):  # a client that does not trust us hangs up
            connection.settimeout(5)
            with context.wrap_socket(connection, server_side=True) as secured:
                head = b""
                while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD_BYTES:
                    received = secured.recv(4096)
                    if not received:
                        break
                    head += received
                else:
                    secured.sendall(_ANSWER)


def _server_context(authority: Authority, host: str) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _leaf(authority, host, key.public_key())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="sallyport-doctor-") as folder:  # 0700
        pem = Path(folder, "leaf.pem")
        pem.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(pem)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _leaf(authority: Authority, host: str, public: ec.EllipticCurvePublicKey) -> x509.Certificate:
    loaded = serialization.load_pem_private_key(authority.paths.authority.read_bytes(), None)
    signer = cast(CertificateIssuerPrivateKeyTypes, loaded)
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .subject_name(x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .public_key(public)
        .not_valid_before(max(now - _LEAF_LIFE, authority.not_before))
        .not_valid_after(now + _LEAF_LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )


def client_target(situation: Situation) -> Target:
    """Return where a client's own requests go for the first of the hosts."""
    host = situation.hosts[0]
    return Target(host, (host, 443), situation.proxy)

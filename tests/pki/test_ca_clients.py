"""Real TLS clients against leaves that mitmproxy mints from our authority."""

import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME

from sallyport.pki import CaPaths, create_ca, write_bundle

GOOD = [
    "api.openai.com",
    "contoso.openai.azure.com",
    pytest.param(
        "a-very-long-name-of-more-than-sixty-three-letters.contoso.openai.azure.com", id="too long for a CN"
    ),
]
BAD = ["evil.example.com", "openai.com", "api.openai.com.evil.example.com", "notapi.openai.com"]


@pytest.fixture(scope="module", params=["ec", "rsa"])
def paths(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CaPaths:
    return create_ca(
        tmp_path_factory.mktemp("ca") / "ca", ["api.openai.com", "*.openai.azure.com"], key=request.param
    )


def server_context(paths: CaPaths, names: list[x509.GeneralName], folder: Path) -> ssl.SSLContext:
    """Mint a leaf as the gateway does: the CA's own key, one DNS name."""
    store = CertStore.from_store(paths.confdir, CONF_BASENAME, 2048)
    common_name = names[0].value if isinstance(names[0], x509.DNSName) else None
    entry = store.get_cert(common_name, names)
    pem = folder / "leaf.pem"
    pem.write_bytes(
        entry.privatekey.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + entry.cert.to_pem()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """Answer every connection with one short HTTP answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(4096)
                    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def python_verdict(port: int, name: str, ca: Path) -> str:
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            context.wrap_socket(raw, server_hostname=name),
        ):
            return "accepted"
    except ssl.SSLCertVerificationError as error:
        return error.verify_message


def openssl_verdict(port: int, name: str, ca: Path) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name]
    command += ["-verify_hostname", name, "-CAfile", str(ca), "-x509_strict", "-verify_return_error"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    return "accepted" if done.returncode == 0 else (done.stderr + done.stdout).decode()


def curl_verdict(port: int, name: str, ca: Path) -> str:
    done = subprocess.run(
        ["curl", "--noproxy", "*", "-sS", "--max-time", "20", "--cacert", str(ca),
         "--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}/"],
        capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    return "accepted" if done.returncode == 0 else done.stderr.decode()


def absent(tool: str) -> bool:
    """Whether a test must be skipped for want of a tool; with SALLYPORT_REQUIRE_SERVERS it fails instead."""
    return not shutil.which(tool) and not os.environ.get("SALLYPORT_REQUIRE_SERVERS")


VERDICTS = [
    pytest.param(python_verdict, id="python"),
    pytest.param(
        openssl_verdict, id="openssl", marks=pytest.mark.skipif(absent("openssl"), reason="no openssl")
    ),
    pytest.param(curl_verdict, id="curl", marks=pytest.mark.skipif(absent("curl"), reason="no curl")),
]


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", GOOD)
def test_clients_accept_an_ai_host(paths: CaPaths, tmp_path: Path, name: str, verdict) -> None:  # type: ignore[no-untyped-def]
    with tls_server(server_context(paths, [x509.DNSName(name)], tmp_path)) as port:
        assert verdict(port, name, paths.certificate) == "accepted"


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("name", BAD)
def test_clients_refuse_a_host_outside_the_constraints(  # type: ignore[no-untyped-def]
    paths: CaPaths, tmp_path: Path, name: str, verdict
) -> None:
    with tls_server(server_context(paths, [x509.DNSName(name)], tmp_path)) as port:
        said = verdict(port, name, paths.certificate)
    assert "permitted subtree violation" in said or "certificate problem" in said


def test_an_address_in_the_names_spoils_the_leaf(paths: CaPaths, tmp_path: Path) -> None:
    """Stock mitmproxy adds the destination address in transparent mode; the gateway must not."""
    names = [x509.DNSName("api.openai.com"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    with tls_server(server_context(paths, names, tmp_path)) as port:
        assert "excluded subtree violation" in python_verdict(port, "api.openai.com", paths.certificate)


def test_the_bundle_is_enough_for_a_client(paths: CaPaths, tmp_path: Path) -> None:
    bundle = write_bundle(paths.confdir)
    with tls_server(server_context(paths, [x509.DNSName("api.openai.com")], tmp_path)) as port:
        assert python_verdict(port, "api.openai.com", bundle) == "accepted"

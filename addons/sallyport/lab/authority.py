"""The lab's own certificate authority. It vouches for any host, so nobody should trust it outside a test."""

import ipaddress
import secrets
import ssl
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sallyport.files import PRIVATE, PUBLIC, write_file
from sallyport.pki.files import locked_folder

type Fault = Literal["expired", "wrong-name", "self-signed"]

_LIFE = timedelta(days=90)
_MOST_CONTEXTS = 256
_LOCAL = "localhost"


class LabCa:
    """An authority in a folder, made at first use, and server contexts for any name.

    fault: what is wrong with every leaf, to see that a client notices; None for good ones.
    """

    def __init__(
        self, folder: Path, *, alpn: tuple[str, ...] = ("http/1.1",), fault: Fault | None = None
    ) -> None:
        self._folder = folder
        self._alpn = alpn
        self._fault = fault
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        with locked_folder(folder):
            self._key, self._certificate = _load(folder) or _create(folder)
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())

    @property
    def certificate(self) -> Path:
        """The PEM file that a client must trust to reach the lab."""
        return self._folder / "lab-ca.pem"

    def client_context(self) -> ssl.SSLContext:
        """Return a context that trusts the lab alone."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def server_context(self, name: str | None = None) -> ssl.SSLContext:
        """Return a context with a leaf for a server name; for localhost and its addresses if None."""
        key = (name or _LOCAL).lower()
        if key not in self._contexts:
            self._contexts[key] = self._context(key)
            if len(self._contexts) > _MOST_CONTEXTS:
                self._contexts.popitem(last=False)
        return self._contexts[key]

    def _context(self, name: str) -> ssl.SSLContext:
        pem = self._folder / f"leaf-{secrets.token_hex(8)}.pem"
        certificate = self._leaf(name).public_bytes(serialization.Encoding.PEM)
        write_file(pem, _key_pem(self._leaf_key) + certificate, PRIVATE)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.set_alpn_protocols([*self._alpn])
        pem.unlink(missing_ok=True)
        return context

    def _leaf(self, name: str) -> x509.Certificate:
        now = datetime.now(UTC)
        start, end = now - timedelta(days=1), now + timedelta(days=30)
        if self._fault == "expired":
            start, end = now - timedelta(days=30), now - timedelta(days=1)
        names: list[x509.GeneralName] = [
            x509.DNSName("other.example" if self._fault == "wrong-name" else name)
        ]
        if name == _LOCAL:
            names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
        signer = self._leaf_key if self._fault == "self-signed" else self._key
        subject = x509.Name([])
        issuer = subject if self._fault == "self-signed" else self._certificate.subject
        return (
            x509.CertificateBuilder()
            .serial_number(x509.random_serial_number())
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(self._leaf_key.public_key())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            .sign(signer, hashes.SHA256())
        )


def _load(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None:
    """Return the authority that lies in a folder; None if there is none that is good for a while."""
    try:
        key = serialization.load_pem_private_key((folder / "lab-ca-key.pem").read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((folder / "lab-ca.pem").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    good = certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=1)
    if (
        not good
        or not isinstance(key, ec.EllipticCurvePrivateKey)
        or key.public_key() != certificate.public_key()
    ):
        return None
    return key, certificate


def _create(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    serial = x509.random_serial_number()
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Sallyport lab, for tests only {serial & 0xFFFFFFFF:08x}")]
    )
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        x509.CertificateBuilder()
        .serial_number(serial)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_file(folder / "lab-ca-key.pem", _key_pem(key), PRIVATE)
    write_file(folder / "lab-ca.pem", certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)
    return key, certificate


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

"""A workshop of client certificates, good and bad, made when a test runs. Keys are EC P-256, in files of their own."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Badge:
    """A certificate with its key. file: PEM of key, certificate and the intermediates that go with it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    file: Path

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def key_file(self) -> Path:
        return self.file.with_suffix(".key")

    @property
    def certificate_file(self) -> Path:
        return self.file.with_suffix(".crt")


class Authority:
    """A certificate authority of a test: issues certificates of every kind, and lists of revoked ones."""

    def __init__(
        self, folder: Path, called: str, above: "Authority | None" = None, *, pathlen: int | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.called, self.above = folder, called, above
        self.key = ec.generate_private_key(ec.SECP256R1())
        signer = above or self
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name(called))
            .issuer_name(name(signer.called))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 10 * DAY)
            .not_valid_after(NOW + 100 * DAY)
            .add_extension(x509.BasicConstraints(True, pathlen), True)
            .add_extension(usage(sign=True), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            .sign(signer.key, hashes.SHA256())
        )
        self.file = folder / f"{called}.pem"
        self.file.write_bytes(pem(self.certificate))

    def badge(
        self,
        called: str,
        *names: x509.GeneralName,
        since: datetime.datetime = NOW - DAY,
        until: datetime.datetime = NOW + DAY,
        purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        authority: bool = False,
        signer: ec.EllipticCurvePrivateKey | None = None,
        common: str | None = None,
    ) -> Badge:
        """Issue a certificate. called: its file and, unless common says otherwise, its common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(called if common is None else common))
            .issuer_name(name(self.called))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        if purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
        certificate = builder.sign(signer or self.key, hashes.SHA256())
        return write_badge(self.folder / f"{called}.pem", certificate, key, self.chain)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The intermediates a client sends along: none for a leaf of the root."""
        return () if self.above is None else (self.certificate, *self.above.chain)

    def crl(
        self,
        file: Path,
        *revoked: Badge,
        until: datetime.datetime = NOW + DAY,
        signer: ec.EllipticCurvePrivateKey | None = None,
        extension: x509.ExtensionType | None = None,
    ) -> Path:
        """Write the list of revoked certificates, in one step as an operator's script should."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(name(self.called))
            .last_update(NOW - 5 * DAY)
            .next_update(until)
        )
        for badge in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(badge.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(NOW - DAY).build())
        if extension is not None:
            builder = builder.add_extension(extension, True)
        draft = file.with_suffix(".draft")
        draft.write_bytes(pem(builder.sign(signer or self.key, hashes.SHA256())))
        return draft.replace(file)


def self_signed(folder: Path, called: str) -> Badge:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(called))
        .issuer_name(name(called))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(key, hashes.SHA256())
    )
    return write_badge(folder / f"{called}.pem", certificate, key, ())


def stolen(badge: Badge, file: Path) -> Badge:
    """Return another's certificate with a key that claims its public half: what a thief of certificates has.

    OpenSSL compares the public halves only, so a client sends it; its signature in the handshake is wrong.
    """
    wrong = ec.generate_private_key(ec.SECP256R1())
    shape = serialization.PrivateFormat.TraditionalOpenSSL
    mine = wrong.private_bytes(serialization.Encoding.DER, shape, serialization.NoEncryption())
    point = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    own, theirs = wrong.public_key().public_bytes(*point), badge.key.public_key().public_bytes(*point)
    assert mine.count(own) == 1
    forged = pem_block("EC PRIVATE KEY", mine.replace(own, theirs))
    file.write_bytes(forged + pem(badge.certificate))
    return Badge(badge.certificate, wrong, file)


def write_badge(
    file: Path,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate],
) -> Badge:
    shape = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, shape, serialization.NoEncryption())
    shown = b"".join(pem(c) for c in (certificate, *chain))
    file.write_bytes(secret + shown)
    badge = Badge(certificate, key, file)
    badge.key_file.write_bytes(secret)
    badge.certificate_file.write_bytes(shown)
    return badge


def pem(thing: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return thing.public_bytes(serialization.Encoding.PEM)


def pem_block(kind: str, der: bytes) -> bytes:
    import base64

    body = base64.encodebytes(der).replace(b"\n", b"")
    lines = b"\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (kind.encode(), lines, kind.encode())


def usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip

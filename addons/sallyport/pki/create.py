"""Make, keep and rotate the gateway's certificate authority.

The key is generated here, written once with mode 0600, and never leaves the folder: a rotation moves it
into a dated backup beside the new one.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, PUBLIC, write_file
from sallyport.pki.authority import Authority, load_ca
from sallyport.pki.constraints import name_constraints, subtrees
from sallyport.pki.files import locked_folder
from sallyport.pki.paths import CaPaths, ca_paths

type Key = Literal["ec", "rsa"]
type PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

MAX_DAYS = 365
_CLOCK_SKEW = timedelta(hours=1)

# ffdhe2048 of RFC 7919: a published group, so that mitmproxy's store finds what it wants and writes
# nothing itself. Nothing negotiates it, as the gateway offers ECDHE alone.
_DHPARAM = b"""-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


def create_ca(
    confdir: Path, permitted_dns: Sequence[str], *, days: int = MAX_DAYS, key: Key = "ec"
) -> CaPaths:
    """Make a certificate authority that may vouch for some DNS subtrees and nothing else.

    permitted_dns: host names; "*.x" stands for the subtree x. days: 1 to 365. key: P-256 or RSA-3072.
    Raises OperatorError if the folder already holds an authority (see rotate_ca), if a name cannot be
    expressed, or if the folder cannot be written.
    """
    content = _issue(permitted_dns, days, key)
    paths = ca_paths(confdir)
    with locked_folder(confdir):
        if paths.authority.exists() or paths.authority.is_symlink():
            raise OperatorError(
                str(paths.authority),
                "a certificate authority is already here",
                "Keep it, or replace it (clients must trust the new one): sallyport ca init --force",
            )
        _write(paths, content)
    return paths


def ensure_ca(
    confdir: Path, permitted_dns: Sequence[str], *, days: int = MAX_DAYS, key: Key = "ec"
) -> Authority:
    """Return the authority of a folder, made now if there is none; put public files back that are lost.

    An authority that is there but unfit is an OperatorError, never silently replaced.
    """
    paths = ca_paths(confdir)
    if not paths.authority.exists():
        try:
            create_ca(confdir, permitted_dns, days=days, key=key)
        except OperatorError:
            if not paths.authority.exists():  # else somebody else made it in the meantime: take that one
                raise
        return load_ca(confdir)
    authority = load_ca(confdir)
    certificate = authority.certificate.public_bytes(serialization.Encoding.PEM)
    lost = [
        (path, content)
        for path, content in ((paths.certificate, certificate), (paths.dhparam, _DHPARAM))
        if not path.is_file() or path.read_bytes() != content
    ]
    if lost:
        with locked_folder(confdir):
            for path, content in lost:
                write_file(path, content, PUBLIC)
    return authority


def rotate_ca(
    confdir: Path, permitted_dns: Sequence[str], *, days: int = MAX_DAYS, key: Key = "ec"
) -> tuple[CaPaths, Path | None]:
    """Replace the authority and return its paths and the folder (0700) where the old files now lie.

    The second is None if there was nothing to keep. The old files are copied before the new ones replace
    them one by one, the key first: a crash in between leaves a working authority, and `sallyport ca init`
    puts the rest right.
    """
    content = _issue(permitted_dns, days, key)
    paths = ca_paths(confdir)
    with locked_folder(confdir):
        backup = _backup(paths)
        _write(paths, content)
    return paths, backup


def _issue(permitted_dns: Sequence[str], days: int, key: Key) -> tuple[bytes, bytes]:
    """Return key with certificate, and the certificate alone, both PEM."""
    if not 1 <= days <= MAX_DAYS:
        raise OperatorError("days", f"{days} is not between 1 and {MAX_DAYS}", f"Give 1 to {MAX_DAYS}.")
    private = _generate(key)
    certificate = _certificate(private, subtrees(permitted_dns), timedelta(days=days))
    public_pem = certificate.public_bytes(serialization.Encoding.PEM)
    key_pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem + public_pem, public_pem


def _generate(key: Key) -> PrivateKey:
    if key == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return ec.generate_private_key(ec.SECP256R1())


def _certificate(key: PrivateKey, permitted: Sequence[str], life: timedelta) -> x509.Certificate:
    start = datetime.now(UTC).replace(microsecond=0) - _CLOCK_SKEW
    serial = x509.random_serial_number()
    # The name differs from one rotation to the next, so that a trust store never holds two roots of one name.
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sallyport"),
            x509.NameAttribute(
                NameOID.COMMON_NAME, f"Sallyport CA {start:%Y-%m-%d} {serial & 0xFFFFFFFF:08x}"
            ),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .serial_number(serial)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .not_valid_before(start)
        .not_valid_after(start + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(name_constraints(permitted), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def _write(paths: CaPaths, content: tuple[bytes, bytes]) -> None:
    secret, public = content
    write_file(paths.authority, secret, PRIVATE)
    write_file(paths.certificate, public, PUBLIC)
    write_file(paths.dhparam, _DHPARAM, PUBLIC)
    paths.bundle.unlink(missing_ok=True)  # it holds the certificate before


def _backup(paths: CaPaths) -> Path | None:
    kept = [path for path in (paths.authority, paths.certificate, paths.bundle) if path.is_file()]
    if not kept:
        return None
    folder = paths.confdir / f"backup-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    folder.mkdir(mode=0o700)
    for path in kept:
        write_file(folder / path.name, path.read_bytes(), PRIVATE)
    return folder

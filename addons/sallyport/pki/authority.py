"""Read the certificate authority back, and refuse one that is unfit to be trusted or to trust."""

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sallyport.errors import OperatorError
from sallyport.pki.constraints import ALL_ADDRESSES, covered
from sallyport.pki.paths import CaPaths, ca_paths

WARN_BEFORE = timedelta(days=30)
_MOST_BITS_OF_OTHERS = stat.S_IRWXO | stat.S_IWGRP


@dataclass(frozen=True, slots=True)
class Authority:
    """A fit authority, without its key.

    permitted_dns: subtrees it may vouch for. warnings: sentences for the operator, may be empty.
    """

    paths: CaPaths
    certificate: x509.Certificate
    permitted_dns: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def subject(self) -> str:
        return self.certificate.subject.rfc4514_string()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the DER certificate, upper-case hex pairs with colons, as browsers show it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def not_before(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        return self.certificate.not_valid_after_utc

    @property
    def key_type(self) -> str:
        public = self.certificate.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            return f"EC {public.curve.name}"
        if isinstance(public, rsa.RSAPublicKey):
            return f"RSA {public.key_size}"
        return type(public).__name__

    @property
    def path_length(self) -> int | None:
        return self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length

    def uncovered(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """Return the hosts or "*." patterns that clients would refuse from this authority, sorted."""
        return tuple(sorted(host for host in set(hosts) if not covered(host, self.permitted_dns)))


def load_ca(confdir: Path, *, now: datetime | None = None) -> Authority:
    """Read and check the authority in a folder.

    now: time to judge by, the wall clock if None. Raises OperatorError if it is absent, unreadable, open to
    other users, broken, not the owner of its key, not valid now, or not constrained to DNS names.
    """
    paths = ca_paths(confdir)
    pem = _read_private(paths.authority)
    certificate = _certificate(paths.authority, pem)
    _check_key(paths.authority, pem, certificate)
    warnings = [*check_validity(paths.authority, certificate, now or datetime.now(UTC))]
    permitted = _check_constraints(paths.authority, certificate)
    if paths.certificate.is_file() and certificate not in _certificates(paths.certificate.read_bytes()):
        warnings.append(
            f"{paths.certificate} is not the certificate that signs; put it right with: sallyport ca init"
        )
    return Authority(paths, certificate, permitted, tuple(warnings))


def _read_private(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except FileNotFoundError:
        raise OperatorError(
            str(path), "there is no certificate authority here", "Make one: sallyport ca init"
        ) from None
    except OSError as error:
        raise OperatorError(
            str(path),
            f"the certificate authority cannot be read ({error.strerror})",
            "Run as the user that owns it.",
            exit_code=3,
        ) from error
    if mode & _MOST_BITS_OF_OTHERS:
        raise OperatorError(
            str(path),
            f"its mode is {stat.S_IMODE(mode):04o}: other users of this machine can read or change the key",
            f"Run: chmod 600 {path}; if others could log in here, rotate it: sallyport ca init --force",
        )
    return content


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _certificate(path: Path, pem: bytes) -> x509.Certificate:
    certificates = _certificates(pem)
    if not certificates:
        raise _broken(path, "holds no certificate that can be read")
    return certificates[0]


def _check_key(path: Path, pem: bytes, certificate: x509.Certificate) -> None:
    try:
        private = serialization.load_pem_private_key(pem, None)
    except TypeError:
        raise _broken(path, "holds a key with a passphrase, which the gateway has not") from None
    except ValueError:
        raise _broken(path, "holds no private key that can be read") from None
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise _broken(path, "holds a key that does not belong to its first certificate")


def holds_another(authority: Authority) -> bool:
    """Say whether another authority lies in the place of one that was read before; False where that cannot be read."""
    try:
        there = _certificates(authority.paths.authority.read_bytes())
    except OSError:
        return False
    return bool(there) and there[0] != authority.certificate


def check_validity(path: Path, certificate: x509.Certificate, now: datetime) -> tuple[str, ...]:
    """Return a warning where the end is near. Raises OperatorError where a certificate is not valid at this time."""
    if now > certificate.not_valid_after_utc:
        raise OperatorError(
            str(path),
            f"the certificate authority expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
            "Make a new one (sallyport ca init --force) and let clients trust it.",
        )
    if now < certificate.not_valid_before_utc:
        raise OperatorError(
            str(path),
            f"it is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on",
            "Set this machine's clock right.",
        )
    left = certificate.not_valid_after_utc - now
    if left < WARN_BEFORE:
        return (
            f"{path} expires in {left.days} days, on {certificate.not_valid_after_utc:%Y-%m-%d}; "
            f"make the next one beside it, so that clients trust both before it is moved here: sallyport ca init "
            f"--confdir {path.parent / 'next'} (docs/operations.md, Rotate the CA)",
        )
    return ()


def _check_constraints(path: Path, certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        extension = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except (x509.ExtensionNotFound, ValueError):
        raise _unconstrained(path, "has no basic constraints or no name constraints") from None
    if not basic.ca:
        raise _broken(path, "holds a certificate that is no certificate authority")
    permitted = extension.value.permitted_subtrees or []
    names = tuple(sorted(name.value for name in permitted if isinstance(name, x509.DNSName) and name.value))
    if not extension.critical or not names:
        raise _unconstrained(path, "permits every DNS name, or lets clients overlook what it permits")
    excluded = [
        name.value for name in extension.value.excluded_subtrees or [] if isinstance(name, x509.IPAddress)
    ]
    if not all(network in excluded for network in ALL_ADDRESSES):
        raise _unconstrained(path, "does not exclude all IP addresses")
    return names


def _broken(path: Path, what: str) -> OperatorError:
    return OperatorError(
        str(path),
        f"the file {what}",
        "Restore it from its backup, or make a new one: sallyport ca init --force",
    )


def _unconstrained(path: Path, what: str) -> OperatorError:
    return OperatorError(
        str(path),
        f"the certificate authority {what}: whoever steals its key could pose as any site",
        "Make a constrained one: sallyport ca init --force",
    )

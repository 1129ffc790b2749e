"""One PEM file for clients that take a single bundle: the public roots, ours, and the company's own."""

from collections.abc import Sequence
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sallyport.errors import OperatorError
from sallyport.files import PUBLIC, write_file
from sallyport.pki.authority import load_ca
from sallyport.pki.files import locked_folder


def write_bundle(confdir: Path, extra_ca: Sequence[Path] = ()) -> Path:
    """Write the bundle for SSL_CERT_FILE and its like, and return where it lies (mode 0644).

    extra_ca: PEM files with further roots. Only certificates are copied, never a key that lies beside one.
    A variable such as SSL_CERT_FILE replaces a client's roots, so the public ones must be in the bundle.
    Raises OperatorError if the authority is unfit or a file holds no certificate.
    """
    authority = load_ca(confdir)
    extra = b"".join(_certificates(path) for path in extra_ca)
    public_roots = Path(certifi.where()).read_bytes()
    ours = authority.certificate.public_bytes(serialization.Encoding.PEM)
    with locked_folder(confdir):
        write_file(authority.paths.bundle, ours + extra + public_roots, PUBLIC)
    return authority.paths.bundle


def _certificates(path: Path) -> bytes:
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise OperatorError(
            str(path), f"it cannot be read ({error.strerror})", "Give a PEM file that this user may read."
        ) from None
    except ValueError:
        raise OperatorError(
            str(path), "no PEM certificate can be read from it", "Give a file with BEGIN CERTIFICATE blocks."
        ) from None
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)

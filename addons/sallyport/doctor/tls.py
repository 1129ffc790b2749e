"""TLS as a client makes it: directly or through an explicit proxy, with one set of roots or another."""

import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from sallyport.doctor.findings import Address

_OUR_ORGANISATION = "Sallyport"  # as sallyport.pki writes it
_MOST_PROXY_ANSWER_BYTES = 16_384


class Reached(StrEnum):
    """How far a connection came."""

    UNRESOLVED = "the name does not resolve"
    REFUSED = "refused"
    SILENT = "no answer in time"
    NO_TLS = "connected, but no TLS handshake"
    UNTRUSTED = "a certificate that is not trusted"
    TRUSTED = "TLS with a trusted certificate"


@dataclass(frozen=True, slots=True)
class Reach:
    """reason: OpenSSL's or the system's own words, without any content; issuer: of the leaf, if known."""

    reached: Reached
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.reached}{f' ({self.reason})' if self.reason else ''}"


def public_roots(extra: Path | None = None) -> ssl.SSLContext:
    """Return a context with the roots that mitmproxy has: certifi's, or the given file instead."""
    return ssl.create_default_context(cafile=str(extra) if extra else certifi.where())


def only(certificate: x509.Certificate) -> ssl.SSLContext:
    """Return a context that trusts one authority."""
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
    return ssl.create_default_context(cadata=pem)


def connect(address: Address, timeout_s: float) -> socket.socket | Reach:
    """Open a TCP connection, or say how it failed."""
    try:
        return socket.create_connection(address, timeout_s)
    except (
        socket.gaierror,
        UnicodeError,
    ):  # Python asks no resolver for a name with an empty or overlong label
        return Reach(Reached.UNRESOLVED)
    except TimeoutError:
        return Reach(Reached.SILENT)
    except OSError as error:
        return Reach(Reached.REFUSED, (error.strerror or type(error).__name__).lower())


def tunnel(proxy: Address, target: Address, timeout_s: float) -> socket.socket | Reach:
    """Open a tunnel through an explicit proxy with CONNECT, or say how it failed."""
    opened = connect(proxy, timeout_s)
    if isinstance(opened, Reach):
        return opened
    authority = f"{target[0]}:{target[1]}"
    try:
        opened.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode("ascii"))
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < _MOST_PROXY_ANSWER_BYTES:
            # One byte at a time: what follows the head belongs to TLS.
            byte = opened.recv(1)
            if not byte:
                break
            answer += byte
    except OSError as error:
        opened.close()
        return Reach(Reached.NO_TLS, (error.strerror or "no answer to CONNECT").lower())
    fields = answer.split(b" ", 2)
    if len(fields) > 1 and fields[0].startswith(b"HTTP/1.") and fields[1] == b"200":
        return opened
    opened.close()
    status = fields[1].decode("ascii", "replace")[:3] if len(fields) > 1 else "nothing"
    return Reach(Reached.NO_TLS, f"the proxy answered {status} to CONNECT")


def handshake(opened: socket.socket | Reach, host: str, context: ssl.SSLContext) -> Reach:
    """Shake hands for a host on an open connection, and close it."""
    if isinstance(opened, Reach):
        return opened
    with closing(opened):
        try:
            with context.wrap_socket(opened, server_hostname=host):
                return Reach(Reached.TRUSTED)
        except ssl.SSLCertVerificationError as error:
            return Reach(Reached.UNTRUSTED, error.verify_message)
        except TimeoutError:
            return Reach(Reached.NO_TLS, "no answer in time")
        except OSError as error:
            # ssl.SSLError is an OSError; its reason is a constant such as UNEXPECTED_EOF_WHILE_READING.
            reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
            return Reach(Reached.NO_TLS, str(reason).lower().replace("_", " "))


def is_from_sallyport(opened: socket.socket | Reach, host: str) -> bool:
    """Say whether the certificate offered for a host names a Sallyport authority as its issuer.

    A name is no proof, but no provider's own certificate carries this one.
    """
    if isinstance(opened, Reach):
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only to read who issued it; nothing is sent
    with closing(opened):
        try:
            with context.wrap_socket(opened, server_hostname=host) as connection:
                offered = connection.getpeercert(binary_form=True)
        except OSError:
            return False
    if not offered:
        return False
    issuer = x509.load_der_x509_certificate(offered).issuer
    return any(
        name.value == _OUR_ORGANISATION for name in issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )

"""Certificates of clients: which authorities may vouch for them, what a leaf must be, and whom it names."""

import re
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sallyport.errors import OperatorError
from sallyport.exchange import Certificate

MAX_NAME_CHARS = 2048
_SPIFFE = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]+)*)")


class Fault(StrEnum):
    """Why a certificate proves nothing. Events name it as certificate_<fault>."""

    MISSING = "missing"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    FOREIGN = "foreign"
    SELF_SIGNED = "self_signed"
    BAD_CHAIN = "bad_chain"
    BAD_SIGNATURE = "bad_signature"
    WEAK = "weak"
    WRONG_PURPOSE = "wrong_purpose"
    IS_AUTHORITY = "is_authority"
    REVOKED = "revoked"
    CRL_EXPIRED = "crl_expired"
    CRL_MISSING = "crl_missing"
    NO_KEY = "without_its_key"
    MALFORMED = "malformed"
    WRONG_DOMAIN = "wrong_trust_domain"


def read_authorities(path: Path) -> tuple[x509.Certificate, ...]:
    """Return the authorities of a PEM file. Raises OperatorError if there is none, or something else in it."""
    try:
        found = tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except OSError as error:
        raise OperatorError(
            str(path), f"it cannot be read ({error.strerror})", "Give a file the gateway may read"
        ) from None
    except ValueError:
        raise OperatorError(
            str(path), "it holds no PEM certificates", "Give a file with BEGIN CERTIFICATE blocks"
        ) from None
    for number, certificate in enumerate(found, 1):
        if not is_authority(certificate):
            raise OperatorError(
                str(path),
                f"certificate {number} is no authority (basicConstraints has no CA:TRUE)",
                "List authorities only; a leaf in here would be trusted whoever signed it",
            )
    return found


def is_authority(certificate: x509.Certificate) -> bool:
    """Say whether a certificate may sign others, or may be taken by someone for one that may."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return found.value.ca


def leaf_fault(leaf: x509.Certificate, trust_domain: str | None = None) -> Fault | None:
    """Return why a certificate cannot be a client's, whoever signed it. Raises ValueError if it is malformed.

    RFC 5280 takes a missing extended key usage for any usage; here it must be there and say clientAuth. A SPIFFE
    id must be the only URI (SPIFFE X.509-SVID, section 2).
    """
    if is_authority(leaf):
        return Fault.IS_AUTHORITY
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return Fault.WRONG_PURPOSE
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        return Fault.WRONG_PURPOSE
    names = described(leaf)
    listed = (*names.uris, *names.names, *names.emails, names.common_name)
    if any(len(n) > MAX_NAME_CHARS or (n and not n.isprintable()) for n in listed):
        return Fault.MALFORMED
    if any(uri.lower().startswith("spiffe:") for uri in names.uris):
        found = _SPIFFE.fullmatch(names.uris[0])
        dotted = found is not None and not {".", ".."}.isdisjoint(found[2].split("/"))
        if found is None or dotted or len(names.uris) > 1:
            return Fault.MALFORMED
        if trust_domain not in (None, found[1]):
            return Fault.WRONG_DOMAIN
    return None


def fault_at(not_before: datetime, not_after: datetime, now: datetime) -> Fault | None:
    if now < not_before:
        return Fault.NOT_YET_VALID
    return Fault.EXPIRED if now > not_after else None


def described(leaf: x509.Certificate) -> Certificate:
    """Return what a certificate says of its owner; DNS names in lower case, wildcards name nobody.

    A subject with several common names has none: which is meant is not ours to choose.
    """
    common = [str(a.value) for a in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName(())
    return Certificate(
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        common_name=common[0] if len(common) == 1 else "",
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        names=tuple(n.lower() for n in names.get_values_for_type(x509.DNSName) if "*" not in n),
        emails=tuple(names.get_values_for_type(x509.RFC822Name)),
    )

"""Revoked client certificates: by fingerprint from the policy, by revocation lists (RFC 5280 section 5) from files.

Lists are whole ones only. A delta, an indirect list, or one whose scope a critical extension narrows is refused
when it is read: to take it for the whole would let revoked certificates pass.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sallyport.errors import OperatorError
from sallyport.files import read_file
from sallyport.pki.clients import Fault

MAX_FILE_BYTES = 64 * 1024 * 1024
_PEM = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)

type Issuer = tuple[bytes, bytes]
"""Name and public key of an authority, both DER: two of one name are two."""

type Link = tuple[Issuer, int]
"""Who signed a certificate, and its serial number."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One list. until: the nextUpdate by which its issuer promised another."""

    issuer: Issuer
    since: datetime
    until: datetime
    serials: frozenset[int]


def issuer_of(authority: x509.Certificate) -> Issuer:
    key = authority.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return authority.subject.public_bytes(), key


def links_of(path: Sequence[x509.Certificate]) -> tuple[Link, ...]:
    """Return who signed each certificate of a path, from the leaf up; the anchor at its end has no link."""
    return tuple((issuer_of(above), below.serial_number) for below, above in pairwise(path))


class Revocations:
    """The lists in force. Reading again replaces all of them at once, or none.

    authorities: who may sign lists. accept_expired: take a certificate whose issuer's list is old or missing.
    """

    def __init__(
        self,
        files: Sequence[Path],
        authorities: Sequence[x509.Certificate],
        fingerprints: Sequence[str] = (),
        *,
        accept_expired: bool = False,
    ) -> None:
        self._files = tuple(files)
        self._authorities = tuple(authorities)
        self._fingerprints = frozenset(fingerprints)
        self._accept_expired = accept_expired
        self._lists: dict[Issuer, RevocationList] = {}
        self.read()

    def read(self) -> None:
        """Read the files anew. Raises OperatorError and changes nothing if one of them is not sound."""
        lists: dict[Issuer, RevocationList] = {}
        for file in self._files:
            for found in self._read_file(file):
                known = lists.get(found.issuer)
                if known is None or known.since < found.since:
                    lists[found.issuer] = found
        self._lists = lists

    def fault(self, fingerprint: str, links: Sequence[Link], now: datetime) -> Fault | None:
        """Return why a path is accepted no more: its leaf by fingerprint, each of its certificates by list.

        Only the leaf's issuer must have a list where lists are used at all; above it, one that is there counts.
        """
        if fingerprint in self._fingerprints:
            return Fault.REVOKED
        if not self._files:
            return None
        doubt: Fault | None = None
        for number, (issuer, serial) in enumerate(links):
            known = self._lists.get(issuer)
            if known is None:
                doubt = doubt or (Fault.CRL_MISSING if number == 0 else None)
            elif serial in known.serials:
                return Fault.REVOKED
            elif not known.since <= now <= known.until:
                doubt = doubt or Fault.CRL_EXPIRED
        if not links:
            doubt = Fault.CRL_MISSING
        return None if self._accept_expired else doubt

    def _read_file(self, file: Path) -> list[RevocationList]:
        try:
            content = read_file(file, MAX_FILE_BYTES)
        except OSError as error:
            raise OperatorError(
                str(file), f"it cannot be read ({error.strerror})", "Give a file the gateway may read"
            ) from None
        if len(content) > MAX_FILE_BYTES:
            content = b""
        blocks = _PEM.findall(content)
        try:
            if blocks:
                return [self._checked(file, x509.load_pem_x509_crl(block)) for block in blocks]
            return [self._checked(file, x509.load_der_x509_crl(content))]
        except ValueError:
            raise OperatorError(
                str(file), "it holds no revocation list", "Give a list in PEM or DER, below 64 MiB"
            ) from None

    def _checked(self, file: Path, crl: x509.CertificateRevocationList) -> RevocationList:
        odd = [e.oid.dotted_string for e in crl.extensions if e.critical]
        if odd:
            raise OperatorError(
                str(file),
                f"it is a partial list (critical extension {odd[0]})",
                "Let the authority write a full list",
            )
        signer = next((a for a in self._authorities if _signed(crl, a)), None)
        if signer is None:
            raise OperatorError(
                str(file),
                "no authority of identity.certificates.ca has signed it",
                "Add the authority that issues the list to that file",
            )
        if crl.next_update_utc is None:
            raise OperatorError(
                str(file), "it does not say until when it holds", "Let the authority set nextUpdate"
            )
        since = crl.last_update_utc.astimezone(UTC)
        return RevocationList(
            issuer_of(signer), since, crl.next_update_utc, frozenset(r.serial_number for r in crl)
        )


def _signed(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    if authority.subject != crl.issuer:
        return False
    try:
        usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not usage.crl_sign:
        return False
    try:
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False

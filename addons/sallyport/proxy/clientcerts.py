"""Client certificates in the TLS handshake: OpenSSL builds and checks the path, our own rules judge what it found.

OpenSSL decides on signatures, validity, authority and purpose (ssl_client); pki.clients and pki.revocation add
that the leaf is no authority, says clientAuth, and is not revoked. All of it runs before the handshake is over,
and no session is ever resumed, so that none of it is skipped. A proof is judged again at every request.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto

from sallyport.exchange import Certificate
from sallyport.pki.clients import Fault, described, fault_at, leaf_fault, read_authorities
from sallyport.pki.revocation import Link, Revocations, links_of
from sallyport.policy.connections import ClientCertificates
from sallyport.proxy.rereading import Rereading

_PURPOSE_SSL_CLIENT = 1

_FAULTS = {
    7: Fault.BAD_SIGNATURE,
    9: Fault.NOT_YET_VALID,
    10: Fault.EXPIRED,
    18: Fault.SELF_SIGNED,
    2: Fault.FOREIGN,
    19: Fault.FOREIGN,
    20: Fault.FOREIGN,
    21: Fault.FOREIGN,
    26: Fault.WRONG_PURPOSE,
    66: Fault.WEAK,
    67: Fault.WEAK,
    68: Fault.WEAK,
}
"""X509_V_ERR_ numbers of OpenSSL; what is not here is a bad chain."""

_ERRORS = {
    Fault.NOT_YET_VALID: 9,
    Fault.EXPIRED: 10,
    Fault.CRL_EXPIRED: 12,
    Fault.CRL_MISSING: 3,
    Fault.REVOKED: 23,
    Fault.IS_AUTHORITY: 26,
    Fault.WRONG_PURPOSE: 26,
}
"""Which of them tells the client of a fault that our own rules have found; the alert is made from it."""

_APPLICATION = 50
"""X509_V_ERR_APPLICATION_VERIFICATION."""


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """A path that a handshake has verified, leaf first, anchor last."""

    certificate: Certificate
    path: tuple[x509.Certificate, ...]
    links: tuple[Link, ...]
    not_before: datetime
    not_after: datetime
    trust: "ClientTrust"


class ClientTrust:
    """Whose certificates are believed, under one policy."""

    def __init__(
        self,
        section: ClientCertificates,
        ca: Path,
        crls: Sequence[Path],
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Read the files. Raises OperatorError if one of them is not sound."""
        self.section = section
        self.now = now or (lambda: datetime.now(UTC))
        self.authorities = read_authorities(ca)
        self._files = Rereading(crls, lambda: self.revocations.read(), "revocation lists")
        self.revocations = Revocations(
            crls, self.authorities, section.revoked, accept_expired=section.crl_expired == "accept"
        )
        self.contexts: dict[Any, SSL.Context] = {}
        self._store = self._make_store()

    def _make_store(self) -> crypto.X509Store:
        store = crypto.X509Store()
        for authority in self.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
        # An intermediate that the operator lists is trusted without its root.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        SSL._lib.X509_STORE_set_purpose(store._store, _PURPOSE_SSL_CLIENT)  # type: ignore[attr-defined]
        return store

    def ask_in(self, context: SSL.Context) -> None:
        """Make a server context ask for certificates of these authorities, and of no others."""
        store = self._store._store
        # The context takes over a reference; its own store knows the gateway's authority, whose leaves are no
        # clients.
        SSL._lib.X509_STORE_up_ref(store)  # type: ignore[attr-defined]
        SSL._lib.SSL_CTX_set_cert_store(context._context, store)  # type: ignore[attr-defined]
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        for authority in self.authorities:
            context.add_client_ca(authority)

    def required_of(self, address: str) -> bool:
        """Say whether a client at an address must show a certificate."""
        if not self.section.required or not self.section.networks:
            return self.section.required
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            return True
        ip = (ip.ipv4_mapped if isinstance(ip, IPv6Address) else None) or ip
        return any(ip in network for network in self.section.networks)

    def proof(self, path: Sequence[x509.Certificate]) -> Proof | Fault:
        """Judge a path that OpenSSL has accepted, leaf first. Raises ValueError if a certificate is malformed."""
        fault = leaf_fault(path[0], self.section.trust_domain)
        if fault is not None:
            return fault
        found = Proof(
            described(path[0]),
            tuple(path),
            links_of(path),
            max(c.not_valid_before_utc for c in path),
            min(c.not_valid_after_utc for c in path),
            self,
        )
        return self._present_fault(found) or found

    def standing(self, proof: Proof) -> Proof | Fault:
        """Judge a proof again, at a later time or under a policy that came later."""
        if proof.trust is self:
            return self._present_fault(proof) or proof
        context = crypto.X509StoreContext(
            self._store,
            crypto.X509.from_cryptography(proof.path[0]),
            [crypto.X509.from_cryptography(c) for c in proof.path[1:]],
        )
        try:
            chain = context.get_verified_chain()
            return self.proof([c.to_cryptography() for c in chain])
        except crypto.X509StoreContextError as error:
            return _FAULTS.get(error.errors[0], Fault.BAD_CHAIN)
        except ValueError:
            return Fault.MALFORMED

    def _present_fault(self, proof: Proof) -> Fault | None:
        now = self.now()
        return fault_at(proof.not_before, proof.not_after, now) or self.revocations.fault(
            proof.certificate.fingerprint, proof.links, now
        )

    async def refresh(self) -> bool:
        """Read lists that have changed; False if they cannot be read, and the old ones stay in force."""
        return await self._files.refresh()


class Handshake:
    """What one handshake has shown of the client. trust: by which it is judged.

    enforced: False where the policy only observes; then nothing fails here, and nothing is proved by what should
    have. proof: there once a path was verified; whether the client holds the key shows only at the end.
    """

    def __init__(self, trust: ClientTrust, address: str, *, enforced: bool) -> None:
        self.trust = trust
        self.required = trust.required_of(address)
        self.enforced = enforced
        self.fault: Fault | None = None
        self.proof: Proof | None = None
        self._path: dict[int, x509.Certificate] = {}

    def ask(self, connection: SSL.Connection) -> None:
        """Ask on one connection. Its context must have been given to ClientTrust.ask_in."""
        must = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if self.required and self.enforced else 0
        # Not set_verify: behind it, nobody can name the error that the alert is made from.
        callback = SSL._ffi.callback("int (*)(int, X509_STORE_CTX *)", self._step)  # type: ignore[attr-defined]
        connection._verify_callback = callback  # keeps it as long as OpenSSL may call it
        SSL._lib.SSL_set_verify(connection._ssl, SSL.VERIFY_PEER | must, callback)  # type: ignore[attr-defined]

    def _step(self, ok: int, context: Any) -> int:
        """Hear from OpenSSL of an error, or of one certificate that is right; from the anchor to the leaf."""
        try:
            self._hear(_current(context), *_error(context), bool(ok))
        except Exception:
            # The border to whatever a client sends: an odd certificate may raise anything in a parser.
            self.fault = self.fault or Fault.MALFORMED
        if self.fault is None or not self.enforced:
            SSL._lib.X509_STORE_CTX_set_error(context, 0)  # type: ignore[attr-defined]
            return 1
        if ok:
            number = _ERRORS.get(self.fault, _APPLICATION)
            SSL._lib.X509_STORE_CTX_set_error(context, number)  # type: ignore[attr-defined]
        return 0

    def _hear(self, shown: x509.Certificate, error: int, depth: int, ok: bool) -> None:
        if not ok:
            self.fault = self.fault or _FAULTS.get(error, Fault.BAD_CHAIN)
            return
        self._path[depth] = shown
        if depth == 0 and self.fault is None:
            found = self.trust.proof([self._path[d] for d in sorted(self._path)])
            if isinstance(found, Fault):
                self.fault = found
            else:
                self.proof = found

    def failed(self, error: str) -> str:
        """Return why a handshake failed, as an event names it."""
        if self.fault is not None:
            return f"certificate_{self.fault}"
        if "peer did not return a certificate" in error:
            return f"certificate_{Fault.MISSING}"
        if self.proof is not None and "alert" not in error and "connection closed" not in error:
            # The path was right, and what followed was not: the signature that only the key's owner can make.
            return f"certificate_{Fault.NO_KEY}"
        return "tls_failed"

    def established(self) -> Proof | None:
        """Return what the finished handshake has proved."""
        return self.proof if self.fault is None else None


def _current(context: Any) -> x509.Certificate:
    found = SSL._lib.X509_STORE_CTX_get_current_cert(context)  # type: ignore[attr-defined]
    SSL._lib.X509_up_ref(found)  # type: ignore[attr-defined]
    return crypto.X509._from_raw_x509_ptr(found).to_cryptography()


def _error(context: Any) -> tuple[int, int]:
    """Return OpenSSL's error number and how far above the leaf the certificate stands."""
    number = SSL._lib.X509_STORE_CTX_get_error(context)  # type: ignore[attr-defined]
    return number, SSL._lib.X509_STORE_CTX_get_error_depth(context)  # type: ignore[attr-defined]

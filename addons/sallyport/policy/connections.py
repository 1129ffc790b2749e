"""The parts of the identity section that a connection itself proves: client certificates, proxy authentication.

What a proof is worth (whom a name means, in which tenant) is said in policy/identity.py; here is how it is had.

Files are named relative to the policy file. Their content is read by pki/revocation.py, pki/clients.py and
state/proxyusers.py; here stands only what an operator may write.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, IPvAnyNetwork, WithJsonSchema, model_validator

from sallyport.exchange import Certificate
from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Section, unique

NameKind = Literal["spiffe", "dns", "email", "cn"]

_SHA256 = r"[0-9a-f]{64}"


def _sha256(text: str) -> str:
    plain = text.replace(":", "").lower()
    if not re.fullmatch(_SHA256, plain):
        what = "this is no SHA-256 fingerprint of a certificate"
        raise Wrong(what, "Take it from `openssl x509 -in CERT -noout -fingerprint -sha256`")
    return plain


CertificateFingerprint = Annotated[
    str, AfterValidator(_sha256), WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f:]{64,95}$"})
]
FileName = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
TrustDomain = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[a-z0-9._-]+$")]
Realm = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9 ._-]+$")]


class ClientCertificates(Section):
    """Certificates of clients, verified in the TLS handshake. Only connections that are intercepted are asked."""

    ca: FileName = Field(
        description="PEM file of the authorities that client certificates must come from. An intermediate in it "
        "is trusted by itself."
    )
    required: bool = Field(
        default=False,
        description="Refuse a client that shows no certificate; false takes it as unproved. One that is bad is "
        "refused in either case.",
    )
    networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(), description="Client addresses (CIDR) of which `required` speaks; empty means all."
    )
    kinds: tuple[NameKind, ...] = Field(
        default=("spiffe", "email", "dns"),
        min_length=1,
        description="Which names in a certificate may name its owner, the first that it has counts: `spiffe` URI, "
        "`email` and `dns` subject alternative name, `cn` common name. A kind that is there twice names nobody.",
    )
    trust_domain: TrustDomain | None = Field(
        default=None,
        description="SPIFFE trust domain that ids must be of; null accepts any. Certificates without a SPIFFE id "
        "are not touched by it.",
    )
    revoked: tuple[CertificateFingerprint, ...] = Field(
        default=(), description="SHA-256 fingerprints of certificates that are accepted no more."
    )
    crl: tuple[FileName, ...] = Field(
        default=(),
        description="Revocation lists (PEM or DER), read again within a second after they change. Every issuer "
        "of a client certificate must then have one.",
    )
    crl_expired: Literal["deny", "accept"] = Field(
        default="deny",
        description="What happens to certificates whose issuer's list is past its nextUpdate or not there.",
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        unique(self.kinds, "kinds", "kind")
        unique(self.revoked, "revoked", "fingerprint")
        if self.networks and not self.required:
            raise Wrong("networks says where a certificate is required, and none is", "Set `required: true`")
        return self

    def name_of(self, certificate: Certificate) -> tuple[NameKind, str] | None:
        """Return the name by which a verified certificate identifies its owner, None if it has none accepted.

        A kind that is there more than once names nobody: which of two is meant is not ours to choose.
        """
        for kind in self.kinds:
            values = _names(certificate, kind)
            if values:
                return (kind, values[0]) if len(values) == 1 else None
        return None


class ProxyAuth(Section):
    """Proxy authentication in explicit mode: Basic over CONNECT and plain proxy requests, answered with 407."""

    passwords: FileName | None = Field(
        default=None,
        description="File of `user:hash` lines, hashes by Argon2id or bcrypt; other kinds are refused. Read again "
        "when it changes.",
    )
    tokens: FileName | None = Field(
        default=None,
        description="File of `user:SHA-256` lines, the digest (64 hex digits) of a random token of at least 32 "
        "characters. Read again when it changes.",
    )
    required: bool = Field(
        default=True,
        description="Answer 407 to a request without credentials; false takes it as unproved. Wrong ones are "
        "refused in either case.",
    )
    realm: Realm = Field(
        default="sallyport", description="Realm that clients show when they ask for a password."
    )
    max_failures: int = Field(
        default=10, ge=1, le=10_000, description="Wrong credentials from one address before it must wait."
    )
    failure_window_s: float = Field(
        default=60.0, ge=1.0, le=86_400.0, description="Time over which wrong credentials are counted."
    )
    cache_s: float = Field(
        default=60.0,
        ge=0.0,
        le=3600.0,
        description="How long right credentials are believed on further connections without hashing them again.",
    )

    @model_validator(mode="after")
    def _some_users(self) -> Self:
        if self.passwords is None and self.tokens is None:
            raise Wrong("it names no users", "Give `passwords`, `tokens` or both")
        return self


def _names(certificate: Certificate, kind: NameKind) -> tuple[str, ...]:
    match kind:
        case "spiffe":
            return tuple(uri for uri in certificate.uris if uri.startswith("spiffe://"))
        case "dns":
            return certificate.names
        case "email":
            return certificate.emails
        case "cn":
            return (certificate.common_name,) if certificate.common_name else ()

"""The policy section on who speaks, and what proves it."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, IPvAnyNetwork, WithJsonSchema, model_validator

from sallyport.policy.connections import ClientCertificates, ProxyAuth
from sallyport.policy.keys import KeyRules
from sallyport.policy.problems import Wrong, choices
from sallyport.policy.states import ConnectionSection
from sallyport.policy.tokens import CREDENTIAL_HEADERS, Issuer, unique_issuers
from sallyport.policy.vocabulary import Fingerprint, Header, Name, Section, unique

SOURCES = ("certificate", "token", "proxy", "header", "gateway_key", "key", "tunnel", "network")
"""What can prove who speaks, the strongest first."""

type Unlisted = Literal["allow", "deny"]

_UNLISTED = (
    "Whether a name that the directory does not list is believed. The id is then the name itself, which must be "
    "plain ASCII."
)

_REQUIREMENT = rf"(?:{'|'.join(SOURCES)})(?:\+(?:{'|'.join(SOURCES)}))*"


def _requirement(text: str) -> str:
    if not re.fullmatch(_REQUIREMENT, text):
        raise Wrong(
            "this is no source of identity", f"Use {choices(SOURCES)}, joined by + where several are needed"
        )
    return text


Requirement = Annotated[
    str, AfterValidator(_requirement), WithJsonSchema({"type": "string", "pattern": f"^{_REQUIREMENT}$"})
]


class TrustedHeader(Section):
    """A header in which a proxy in front of the gateway names the user it has authenticated."""

    name: Header = Field(description="Header that holds the user, for example `X-Forwarded-User`.")
    trusted_peers: tuple[IPvAnyNetwork, ...] = Field(
        min_length=1,
        description="Addresses (CIDR) from which the header is believed.",
    )
    tenant_header: Header | None = Field(
        default=None, description="Header that holds the tenant; null: of the directory, else `default`."
    )
    roles_header: Header | None = Field(
        default=None, description="Header that holds roles, separated by commas."
    )
    elsewhere: Literal["deny", "ignore"] = Field(
        default="deny",
        description="What happens to a call that brings one of these headers from another address. `ignore` "
        "removes them and takes the next proof.",
    )
    unlisted: Unlisted = Field(default="allow", description=_UNLISTED)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Lower-case names of its headers."""
        return tuple(h.lower() for h in (self.name, self.tenant_header, self.roles_header) if h)

    @model_validator(mode="after")
    def _own_headers(self) -> Self:
        for key in ("name", "tenant_header", "roles_header"):
            if (getattr(self, key) or "").lower() in CREDENTIAL_HEADERS:
                raise Wrong("clients send the provider's own credential there", "Take another header", (key,))
        return self


class CertificateOwners(Section):
    """What the name in a verified client certificate is worth. Which name counts, `certificates.kinds` says."""

    proves: Literal["person", "device"] = Field(
        default="person",
        description="`device`: it names the machine; a person proved beside it is no conflict, and wins.",
    )
    tenant: Name | None = Field(
        default=None, description="Tenant of everybody with one; null: of the directory, else `default`."
    )
    roles: tuple[Name, ...] = Field(default=(), description="Roles of everybody with one.")
    unlisted: Unlisted = Field(default="deny", description=_UNLISTED)


class ProxyUsers(Section):
    """What a user of the explicit proxy's own authentication is worth."""

    tenant: Name | None = Field(
        default=None, description="Tenant of every such user; null: of the directory, else `default`."
    )
    roles: tuple[Name, ...] = Field(default=(), description="Roles of every such user.")
    unlisted: Unlisted = Field(default="allow", description=_UNLISTED)


class KeyOwner(Section):
    """The owner of a provider credential."""

    fingerprint: Fingerprint = Field(description="Keyed fingerprint of the credential, never the credential.")
    owner: Name = Field(description="Principal id of its owner.")
    tenant: Name = Field(default="default", description="Tenant of the owner.")
    roles: tuple[Name, ...] = Field(default=(), description="Roles of the owner.")
    shared: bool = Field(
        default=True,
        description="Whether others may use it too. `false`: somebody else proved beside it is a conflict.",
    )


class NetworkOwner(Section):
    """The principal behind an address range, where nothing better is known."""

    cidr: IPvAnyNetwork = Field(description="Client addresses; the narrowest range that fits wins.")
    principal: Name = Field(description="Principal id of whoever calls from there.")
    tenant: Name = Field(default="default", description="Tenant of that principal.")
    roles: tuple[Name, ...] = Field(default=(), description="Roles of that principal.")
    modes: tuple[Literal["explicit", "transparent", "reverse", "wireguard", "tun"], ...] = Field(
        default=(),
        description="How the connection must come; empty: any. With `wireguard` or `tun` alone, the address is "
        "one the tunnel has given out, and the source is `tunnel`.",
    )

    @property
    def is_tunnel(self) -> bool:
        """Whether only a tunnel's own addresses fit."""
        return bool(self.modes) and set(self.modes) <= {"wireguard", "tun"}


class Identity(ConnectionSection):
    """Who speaks. The strongest proof wins, and what contradicts it is refused; see docs/identity.md."""

    unknown: Literal["deny", "anonymous"] = Field(
        default="deny", description="What happens to a caller whom nothing names."
    )
    conflicts: Literal["deny", "strongest"] = Field(
        default="deny",
        description="What happens where two proofs name different people or tenants.",
    )
    require: tuple[Requirement, ...] = Field(
        default=(),
        description="Sources of which one must have named the caller; `certificate+token` asks for both. "
        "Empty: any.",
    )
    certificates: ClientCertificates | None = Field(
        default=None, description="Client certificates in the TLS handshake; null asks for none."
    )
    certificate_owners: CertificateOwners = Field(
        default_factory=lambda: CertificateOwners(),
        description="What the name in a client certificate is worth.",
    )
    proxy_auth: ProxyAuth | None = Field(
        default=None, description="Authentication of the explicit proxy; null asks for none."
    )
    tokens: tuple[Issuer, ...] = Field(default=(), description="Issuers of bearer tokens that are believed.")
    proxy_users: ProxyUsers = Field(
        default_factory=lambda: ProxyUsers(), description="Users of the proxy's own authentication."
    )
    header: TrustedHeader | None = Field(
        default=None, description="Believe an authenticating proxy in front; null believes none."
    )
    keys: tuple[KeyOwner, ...] = Field(default=(), description="Owners of provider credentials.")
    key_rules: KeyRules = Field(
        default_factory=lambda: KeyRules(), description="Which provider credentials may be used."
    )
    networks: tuple[NetworkOwner, ...] = Field(default=(), description="Principals by address range.")

    @model_validator(mode="after")
    def _one_owner_each(self) -> Self:
        unique((k.fingerprint for k in self.keys), "keys", "fingerprint")
        unique((f"{n.cidr} {sorted(n.modes)}" for n in self.networks), "networks", "cidr")
        unique_issuers(self.tokens)
        taken = self.header.names if self.header is not None else ()
        for index, issuer in enumerate(self.tokens):
            if issuer.header.lower() in taken:
                what = "a trusted header and a token cannot share a header"
                raise Wrong(what, "Take another", ("tokens", index, "header"))
        return self

    @cached_property
    def issuers(self) -> Mapping[str, tuple[Issuer, ...]]:
        """The issuers by the header that holds their tokens, in lower case."""
        headers = dict.fromkeys(issuer.header.lower() for issuer in self.tokens)
        return {name: tuple(i for i in self.tokens if i.header.lower() == name) for name in headers}

    @cached_property
    def header_names(self) -> frozenset[str]:
        """Lower-case names of the headers that speak of identity and never leave."""
        return frozenset((*self.issuers, *(self.header.names if self.header is not None else ())))

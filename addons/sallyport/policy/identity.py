"""The policy section on who speaks, and what proves it."""

from typing import Literal, Self

from pydantic import Field, IPvAnyNetwork, model_validator

from sallyport.policy.vocabulary import Fingerprint, Header, Name, Section, StageSection, unique


class TrustedHeader(Section):
    """A header in which a proxy in front of the gateway names the user it has authenticated."""

    name: Header = Field(description="Header that holds the user, for example `X-Forwarded-User`.")
    trusted_peers: tuple[IPvAnyNetwork, ...] = Field(
        min_length=1,
        description="Addresses (CIDR) from which the header is believed; elsewhere it is removed.",
    )
    tenant_header: Header | None = Field(
        default=None, description="Header that holds the tenant; null uses `default`."
    )
    roles_header: Header | None = Field(
        default=None, description="Header that holds roles, separated by commas."
    )


class KeyOwner(Section):
    """The owner of a provider credential."""

    fingerprint: Fingerprint = Field(description="Keyed fingerprint of the credential, never the credential.")
    owner: Name = Field(description="Principal id of its owner.")
    tenant: Name = Field(default="default", description="Tenant of the owner.")
    roles: tuple[Name, ...] = Field(default=(), description="Roles of the owner.")


class NetworkOwner(Section):
    """The principal behind an address range, where nothing better is known."""

    cidr: IPvAnyNetwork = Field(description="Client addresses; the narrowest range that fits wins.")
    principal: Name = Field(description="Principal id of whoever calls from there.")
    tenant: Name = Field(default="default", description="Tenant of that principal.")
    roles: tuple[Name, ...] = Field(default=(), description="Roles of that principal.")


class Identity(StageSection):
    """Who speaks. The strongest proof wins: trusted header, then key owner, then network, then anonymous."""

    unknown: Literal["deny", "anonymous"] = Field(
        default="deny", description="What happens to a caller whom neither header, key nor network names."
    )
    header: TrustedHeader | None = Field(
        default=None, description="Believe an authenticating proxy in front; null believes none."
    )
    keys: tuple[KeyOwner, ...] = Field(default=(), description="Owners of provider credentials.")
    networks: tuple[NetworkOwner, ...] = Field(default=(), description="Principals by address range.")

    @model_validator(mode="after")
    def _one_owner_each(self) -> Self:
        unique((k.fingerprint for k in self.keys), "keys", "fingerprint")
        unique((str(n.cidr) for n in self.networks), "networks", "cidr")
        return self

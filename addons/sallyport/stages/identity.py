"""Who speaks: the strongest proof the wire gives, or a refusal.

Order: a header set by a trusted peer, the owner of the provider key, the client's network. The header is
removed before anything leaves, whether it was believed or not (the proxy does that for every request).
"""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from sallyport.decision import Action, Decision
from sallyport.exchange import Client, Exchange, Principal
from sallyport.policy.identity import Identity, TrustedHeader
from sallyport.stages.stage import Ports

type Network = IPv4Network | IPv6Network


class IdentityStage:
    """The first stage; the only one that sets a principal."""

    name = "identity"

    async def decide(self, exchange: Exchange, section: Identity, ports: Ports) -> Decision:
        principal = identify(exchange.client, section)
        if principal is not None:
            return Decision(self.name, Action.ALLOW, f"identity.{principal.source}", principal=principal)
        if section.unknown == "anonymous":
            nobody = Principal(id="anonymous", tenant="default")
            return Decision(self.name, Action.ALLOW, "identity.anonymous", principal=nobody)
        return Decision(
            self.name,
            Action.DENY,
            "identity.unknown",
            message="The gateway does not know who is calling. Ask your security team to register "
            "your API key or your network.",
        )


def identify(client: Client, section: Identity) -> Principal | None:
    """Return the principal of a client, None if nothing names one."""
    return _by_header(client, section.header) or _by_key(client, section) or _by_network(client, section)


def _by_header(client: Client, header: TrustedHeader | None) -> Principal | None:
    if header is None or not any(_inside(client.address, n) for n in header.trusted_peers):
        return None
    user = _one(client, header.name)
    if not user:
        return None
    tenant = _one(client, header.tenant_header) if header.tenant_header else ""
    roles = _one(client, header.roles_header) if header.roles_header else ""
    return Principal(
        id=user,
        tenant=tenant or "default",
        roles=tuple(r.strip() for r in roles.split(",") if r.strip()),
        source="header",
        confidence=0.9,
    )


def _one(client: Client, name: str) -> str:
    """Return the value of a header that is there exactly once; a repeated one proves nothing."""
    values = [value for key, value in client.headers if key == name.lower()]
    return values[0].strip() if len(values) == 1 else ""


def _by_key(client: Client, section: Identity) -> Principal | None:
    for known in section.keys:
        if client.credential is not None and known.fingerprint == client.credential:
            return Principal(known.owner, known.tenant, known.roles, source="key", confidence=0.8)
    return None


def _by_network(client: Client, section: Identity) -> Principal | None:
    fitting = [n for n in section.networks if _inside(client.address, n.cidr)]
    if not fitting:
        return None
    best = max(fitting, key=lambda n: n.cidr.prefixlen)
    return Principal(best.principal, best.tenant, best.roles, source="network", confidence=0.4)


def _inside(address: str, network: Network) -> bool:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return (mapped or ip) in network

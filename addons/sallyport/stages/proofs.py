"""Every proof the wire gives of who speaks, each read by itself.

A proof that is presented and does not hold refuses: it is never passed over for a weaker one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from sallyport.exchange import Client, Exchange
from sallyport.policy.identity import Identity, NetworkOwner, TrustedHeader
from sallyport.policy.tokens import Issuer
from sallyport.stages.directory import Directory, Key, KeyKind, Person
from sallyport.stages.keys import refused_key
from sallyport.stages.names import is_plain, is_sound, listed
from sallyport.stages.stage import Ports, Subject

type Network = IPv4Network | IPv6Network

CONFIDENCE: Mapping[str, float] = {
    "certificate": 1.0,
    "token": 0.95,
    "proxy": 0.9,
    "header": 0.9,
    "gateway_key": 0.8,
    "key": 0.8,
    "tunnel": 0.6,
    "network": 0.4,
}
"""How sure each source is, the strongest first."""

MAX_ROLES = 500

_SUBJECT_MARK = "|"
"""Stands between issuer and subject; no issuer's id has it."""

_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)+")


class ProofRefused(Exception):
    """A proof that does not hold. reason: id of the refusal; message: what the caller may read of it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Proof:
    """What one source says of who speaks.

    names_person: it is a claim to be this somebody; else it says no more than whose key or network this is.
    facts: attributes it brings. person: of the directory, if it lists this one.
    """

    source: str
    id: str
    tenant: str
    names_person: bool
    roles: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    person: Person | None = None


def headers_of(client: Client) -> tuple[Mapping[str, str], frozenset[str]]:
    """Return the headers that are there once, and the names of those that are repeated."""
    once: dict[str, str] = {}
    repeated: set[str] = set()
    for name, value in client.headers:
        if name in once:
            repeated.add(name)
        once[name] = value
    for name in repeated:
        del once[name]
    return once, frozenset(repeated)


def proofs(
    exchange: Exchange, section: Identity, ports: Ports, headers: Mapping[str, str], repeated: frozenset[str]
) -> Sequence[Proof]:
    """Return what is proved, the strongest first. Raises ProofRefused for a proof that does not hold."""
    for name in section.header_names if repeated else ():
        if name in repeated:
            raise ProofRefused("identity.header_repeated", f"The header {name} is there more than once.")
    found = [
        *_by_certificate(exchange.client, section, ports.directory),
        *_by_tokens(headers, section, ports),
        *_by_proxy(exchange.client, section, ports.directory),
        *_by_header(exchange.client, headers, section.header, ports.directory),
        *_by_key(exchange, section, ports.directory),
        *_by_network(exchange.client, section, ports.directory),
    ]
    if len(found) > 1:
        found.sort(key=lambda proof: -CONFIDENCE[proof.source])
    return found


# -- certificate ---------------------------------------------------------------------------------------


def _by_certificate(client: Client, section: Identity, directory: Directory) -> Iterator[Proof]:
    certificate, owners = client.certificate, section.certificate_owners
    if certificate is None or section.certificates is None:
        return
    named = section.certificates.name_of(certificate)
    kind, value = named or ("", "")
    if not value or "*" in value or (kind == "spiffe" and _SPIFFE.fullmatch(value) is None):
        raise ProofRefused(
            "identity.certificate_nameless", "The client certificate has no name that counts here."
        )
    person = listed(directory, kind, value)
    if person is None and owners.unlisted == "deny":
        raise ProofRefused(
            "identity.certificate_unlisted", "Nobody is registered under the name in the client certificate."
        )
    yield _proof(
        "certificate",
        value if kind == "spiffe" else value.lower(),
        owners.tenant or "",
        person,
        directory,
        roles=owners.roles,
        facts=(("certificate", certificate.fingerprint),),
        names_person=owners.proves == "person",
    )


# -- token ---------------------------------------------------------------------------------------------


def _by_tokens(headers: Mapping[str, str], section: Identity, ports: Ports) -> Iterator[Proof]:
    for name, issuers in section.issuers.items():
        if name in headers:
            yield _by_token(name, _without_scheme(headers[name]), issuers, ports)


def _without_scheme(value: str) -> str:
    return value[7:] if value[:7].lower() == "bearer " else value


def _by_token(header: str, token: str, issuers: Sequence[Issuer], ports: Ports) -> Proof:
    for issuer in issuers:
        subject = ports.tokens.subject(issuer.id, token)
        if subject is not None:
            return _of_subject(issuer, subject, ports.directory)
    why = [ports.tokens.why_not(issuer.id, token) for issuer in issuers]
    told = next((word for word in why if word != "issuer"), why[0])
    raise ProofRefused(
        f"identity.token_{told}",
        f"The token in the header {header} is not accepted ({told.replace('_', ' ')}). Get a new one, or ask your "
        "security team.",
    )


def _of_subject(issuer: Issuer, subject: Subject, directory: Directory) -> Proof:
    kind, value = issuer.claims.name_kind, subject.subject
    if not is_sound(value):
        raise ProofRefused("identity.token_name", "The name in the token is not plain text.")
    name = f"{subject.issuer}|{value}" if kind == "subject" else value
    person = listed(directory, kind, name)
    if person is None and issuer.unlisted == "deny":
        raise ProofRefused("identity.token_unlisted", "Nobody is registered under the name in the token.")
    roles = list(issuer.roles)
    if issuer.groups is not None:
        for group in subject.groups:
            roles += issuer.groups.roles.get(group, ())
    return _proof(
        "token",
        f"{issuer.id}|{value}" if kind == "subject" else value.lower(),
        subject.tenant,
        person,
        directory,
        roles=tuple(roles),
        facts=(*subject.claims, ("token.issuer", issuer.id)),
        is_subject=kind == "subject",
    )


# -- proxy user, trusted header ------------------------------------------------------------------------


def _by_proxy(client: Client, section: Identity, directory: Directory) -> Iterator[Proof]:
    users = section.proxy_users
    if client.proxy_user:
        yield _by_login(
            "proxy", client.proxy_user, users.tenant or "", users.roles, users.unlisted == "allow", directory
        )


def _by_header(
    client: Client, headers: Mapping[str, str], header: TrustedHeader | None, directory: Directory
) -> Iterator[Proof]:
    if header is None:
        return
    if not any(name in headers for name in header.names):
        return
    if not any(_is_inside(client.address, network) for network in header.trusted_peers):
        if header.elsewhere == "ignore":
            return
        raise ProofRefused(
            "identity.header_untrusted",
            "The request says who sends it in a header that is not believed from this address. Leave it out.",
        )
    tenant = headers.get((header.tenant_header or "").lower())
    roles = headers.get((header.roles_header or "").lower(), "")
    listed_roles = tuple(r.strip(" \t") for r in roles.split(",") if r.strip(" \t"))
    user = headers.get(header.name.lower())
    fine = user is not None and _is_one(user) and (tenant is None or (_is_one(tenant) and is_plain(tenant)))
    if user is None or not fine or not all(map(is_plain, listed_roles)):
        raise ProofRefused(
            "identity.header_bad",
            "The headers that say who sends the request are not whole, or not plain text.",
        )
    yield _by_login("header", user, tenant or "", listed_roles, header.unlisted == "allow", directory)


def _is_one(value: str) -> bool:
    """Say whether a header names one thing. With a comma, two headers may have been joined on the way."""
    return "," not in value and is_sound(value)


def _by_login(
    source: str, user: str, tenant: str, roles: tuple[str, ...], allowed: bool, directory: Directory
) -> Proof:
    person = listed(directory, "user", user)
    if "@" in user:
        by_email = listed(directory, "email", user)
        if person is not None and by_email is not None and person is not by_email:
            raise ProofRefused("identity.ambiguous", "The user name belongs to two people in the directory.")
        person = person or by_email
    if person is None and not allowed:
        raise ProofRefused(f"identity.{source}_unlisted", "Nobody is registered under this user name.")
    return _proof(source, user.lower(), tenant, person, directory, roles=roles)


# -- key, network --------------------------------------------------------------------------------------


def _by_key(exchange: Exchange, section: Identity, directory: Directory) -> Iterator[Proof]:
    refusal = refused_key(exchange, section, directory)
    if refusal is not None:
        raise ProofRefused(refusal.reason, refusal.message)
    credential = exchange.client.credential
    if credential is None:
        return
    key = directory.key(credential)
    if key is not None:
        if key.owner:
            yield _of_key(key, directory)
        return
    for known in section.keys:
        if known.fingerprint == credential:
            yield _of_owner("key", known.owner, known.tenant, not known.shared, known.roles, directory)


def _of_key(key: Key, directory: Directory) -> Proof:
    is_gateway_key = key.kind is KeyKind.GATEWAY
    source = "gateway_key" if is_gateway_key else "key"
    own = key.personal or is_gateway_key
    return _of_owner(source, key.owner, key.tenant, own, key.roles, directory, (("key", key.id),))


def _by_network(client: Client, section: Identity, directory: Directory) -> Iterator[Proof]:
    best: NetworkOwner | None = None
    for network in section.networks:
        if (network.modes and client.mode not in network.modes) or not _is_inside(
            client.address, network.cidr
        ):
            continue
        if best is None or _narrowness(network) > _narrowness(best):
            best = network
    if best is not None:
        source = "tunnel" if best.is_tunnel else "network"
        yield _of_owner(source, best.principal, best.tenant, False, best.roles, directory)


def _of_owner(
    source: str,
    id: str,
    tenant: str,
    names_person: bool,
    roles: tuple[str, ...],
    directory: Directory,
    facts: tuple[tuple[str, str], ...] = (),
) -> Proof:
    """Return the proof of whose something is, as an operator wrote it; of whom the directory lists, as it writes it."""
    person = directory.person(tenant, id)
    if person is not None:
        return Proof(source, person.id, person.tenant, names_person, roles, facts, person)
    listed_tenant = directory.tenant(tenant)
    return Proof(
        source, id, tenant if listed_tenant is None else listed_tenant.id, names_person, roles, facts
    )


def _narrowness(network: NetworkOwner) -> tuple[int, bool]:
    return network.cidr.prefixlen, bool(network.modes)


def _is_inside(address: str, network: Network) -> bool:
    """Say whether an address, with or without a zone, IPv4 also as mapped IPv6, lies in a network."""
    ip = _address(address)
    return ip is not None and ip in network


@lru_cache(4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return a connection's address, None for what is none. Clients come again; to parse costs more than to judge."""
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip


def _proof(
    source: str,
    name: str,
    tenant: str,
    person: Person | None,
    directory: Directory,
    *,
    roles: tuple[str, ...],
    facts: tuple[tuple[str, str], ...] = (),
    names_person: bool = True,
    is_subject: bool = False,
) -> Proof:
    """Return a proof that names a person by the directory, or else by the name itself.

    tenant: as the source states it, "" where it does not; of one that the directory lists its spelling counts.
    is_subject: the name is ISSUER_ID|SUBJECT; no other may look like one, since people choose user names.
    """
    listed_tenant = directory.tenant(tenant) if tenant else None
    tenant = tenant if listed_tenant is None else listed_tenant.id
    if person is None:
        if not is_plain(name) or (_SUBJECT_MARK in name and not is_subject):
            raise ProofRefused(
                f"identity.{source}_name", "The name that was proved is not plain text, and not listed."
            )
        tenant = tenant or "default"
        if not is_plain(tenant):
            raise ProofRefused(f"identity.{source}_tenant", "The tenant that was proved is not plain text.")
        person = directory.person(tenant, name)
    elif tenant and tenant != person.tenant:
        raise ProofRefused(
            "identity.conflict", f"The {source} names a tenant that this person does not belong to."
        )
    if person is not None:
        return Proof(source, person.id, person.tenant, names_person, roles[:MAX_ROLES], facts, person)
    return Proof(source, name, tenant, names_person, roles[:MAX_ROLES], facts)

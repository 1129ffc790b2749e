"""Callers, proofs and a directory for tests of who speaks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sallyport.decision import Action, Decision
from sallyport.exchange import Certificate, Client, Exchange
from sallyport.policy.identity import Identity
from sallyport.policy.load import parse_policy
from sallyport.stages.directory import Approval, Key, Person, Stop, Tenant, folded
from sallyport.stages.identity import IdentityStage
from sallyport.stages.stage import Subject
from samples import Desk, exchange

FINGERPRINT = "key_" + "0a1b2c3d" * 3
OTHER_KEY = "key_" + "4e5f6a7b" * 3
ISS = "https://idp.example.com"


@dataclass
class Book:
    """A directory of these people, tenants and keys."""

    people: tuple[Person, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    keys: tuple[Key, ...] = ()
    revision: int = 1

    def person(self, tenant: str, id: str) -> Person | None:
        return next((p for p in self.people if (p.tenant, p.id) == (tenant, id)), None)

    def named(self, name: str) -> Person | None:
        return next((p for p in self.people if name in map(folded, p.names)), None)

    def tenant(self, id: str) -> Tenant | None:
        return next((t for t in self.tenants if t.id == id), None)

    def key(self, fingerprint: str) -> Key | None:
        return next((k for k in self.keys if k.fingerprint == fingerprint), None)

    def stops(self) -> tuple[Stop, ...]:
        return ()

    def approvals(self, tenant: str, principal: str) -> tuple[Approval, ...]:
        return ()


@dataclass
class Verified:
    """Tokens that have been verified already: by issuer and text."""

    subjects: Mapping[tuple[str, str], Subject] = field(default_factory=dict)

    def subject(self, issuer: str, token: str) -> Subject | None:
        return self.subjects.get((issuer, token))

    def why_not(self, issuer: str, token: str) -> str:
        return "" if (issuer, token) in self.subjects else "expired"


BOOK = Book(
    people=(
        Person("ada", "default", ("staff",), (("team", "maths"),), ("email:ada@example.com", f"subject:{ISS}|00u1A", "spiffe://x:y", "cn:ada")),
        Person("bob", "acme", ("boss",), (), ("user:bob", "email:bob@example.com", "spiffe:spiffe://corp/bob", "dns:bob.example.com")),
        Person("gone", "default", (), (), ("user:gone", "email:gone@example.com"), active=False),
        Person("kim", "default", ("k",), (), ("user:k", "email:k@example.com")),
        Person("zoë", "default", (), (), ("user:zoë",)),
        Person("laptop", "default", ("device",), (), ("dns:laptop.example.com",)),
        Person("research", "default", ("lab",), ()),
    ),
    tenants=(Tenant("acme", "Acme", (("country", "de"),)), Tenant("closed", active=False)),
    keys=(
        Key(FINGERPRINT, "k1", "research", roles=("robot",)),
        Key(OTHER_KEY, "k2", "bob", "acme"),
    ),
)  # fmt: skip

HEADERS = """
  header: {name: X-User, trusted_peers: [10.0.0.0/24], tenant_header: X-Tenant, roles_header: X-Roles}
"""
TOKENS = f"""
  tokens:
    - id: corp
      issuer: {ISS}
      audience: [a]
      keys: {{file: k}}
      groups: {{roles: {{ai: [developer]}}}}
    - {{id: mail, issuer: https://mail.example.com, audience: [a], header: X-Mail-Token, keys: {{file: k}}, claims: {{id: email}}}}
"""
CERTIFICATES = """
  certificates: {ca: ca.pem, kinds: [spiffe, email, dns, cn]}
"""
NETWORKS = """
  networks:
    - {cidr: 10.0.0.0/8, principal: office, roles: [visitor]}
    - {cidr: 10.9.0.0/16, principal: kitchen}
    - {cidr: 10.9.0.0/16, principal: peer, modes: [wireguard]}
    - {cidr: "fd00::/8", principal: six}
"""
ALL = HEADERS + TOKENS + CERTIFICATES + NETWORKS


def section(text: str) -> Identity:
    return parse_policy("version: 1\nidentity:\n" + text if text.strip() else "version: 1\n").identity


def token(issuer: str = "corp", name: str = "00u1A", **more: object) -> dict[tuple[str, str], Subject]:
    iss = ISS if issuer == "corp" else "https://mail.example.com"
    return {(issuer, "T" if issuer == "corp" else "M"): Subject(iss, name, **more)}  # type: ignore[arg-type]


def certificate(**names: object) -> Certificate:
    return Certificate("ab" * 32, **names)  # type: ignore[arg-type]


async def ask(
    text: str,
    client: Client,
    tokens: Mapping[tuple[str, str], Subject] | None = None,
    book: Book = BOOK,
    **of: object,
) -> Decision:
    ports = replace(Desk().ports(), directory=book, tokens=Verified(tokens or {}))
    asked: Exchange = exchange(client=client)
    if of:
        asked = replace(asked, request=replace(asked.request, **of))  # type: ignore[arg-type]
    return await IdentityStage().decide(asked, section(text), ports)


def at(address: str = "192.0.2.1", *headers: tuple[str, str], **more: object) -> Client:
    return Client(address, "explicit", headers=headers, **more)  # type: ignore[arg-type]


def who(decision: Decision) -> str:
    """Tenant, id and source of who is allowed; the reason where nobody is."""
    if decision.action is Action.DENY:
        return decision.reason
    assert decision.principal is not None
    p = decision.principal
    return f"{p.tenant}/{p.id} {p.source}"


def facts(decision: Decision) -> dict[str, str]:
    assert decision.principal is not None
    return dict(decision.principal.attributes)

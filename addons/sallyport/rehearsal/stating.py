"""Who is who in a call that is only asked about: the directory, tokens that hold, a principal that is stated."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from sallyport.exchange import Exchange
from sallyport.policy.identity import Identity
from sallyport.policy.problems import Wrong, nearest
from sallyport.policy.sections import Policy
from sallyport.rehearsal.given import Given, GivenToken
from sallyport.stages.directory import Approval, Directory, Key, Person, Stop, Tenant, folded
from sallyport.stages.proofs import CONFIDENCE, Proof, proofs
from sallyport.stages.stage import Ports, Subject
from sallyport.state.directory.snapshot import People, Snapshot

_TOKEN = "rehearsal-"  # a name in place of a token, which proves nothing anywhere else


def directory_of(given: Given, known: Snapshot | None = None) -> Snapshot:
    """Return the directory of a case. known: that of a store, beside which the given entries stand."""
    before = known or Snapshot()
    said = given.directory
    people = tuple(
        Person(p.id, p.tenant, p.roles, tuple(p.attributes.items()), tuple(map(folded, p.names)), p.active)
        for p in said.people
    )
    tenants = tuple(Tenant(t.id, "", tuple(t.attributes.items()), t.active) for t in said.tenants)
    keys = tuple(Key(**{name: getattr(key, name) for name in type(key).model_fields}) for key in said.keys)
    stops = tuple(Stop(f"stop-{n}", s.kind, s.value, s.tenant) for n, s in enumerate(given.stops))
    nobody = not (people or tenants or keys or stops or given.approvals)
    if nobody:
        return before
    tenant, principal = whose(given, Snapshot.of({}, People.of((*before.who.people, *people), ())))
    approvals = tuple(
        Approval(
            f"approval-{n}",
            a.tenant or tenant,
            a.principal or principal,
            a.rule,
            a.resource,
            a.expires_at or given.at + timedelta(hours=1),
            a.break_glass,
            approvers=("stated",),
        )
        for n, a in enumerate(given.approvals)
    )
    return Snapshot.of(
        before.revisions,
        People.of((*before.who.people, *people), (*before.who.tenants, *tenants)),
        (*before.keys, *keys),
        (*before.pulled, *stops),
        (*before.approved, *approvals),
    )


def whose(given: Given, directory: Directory) -> tuple[str, str]:
    """Return tenant and id of the stated principal: as the directory has them, where it knows the name."""
    stated = given.principal or ""
    person = directory.named(folded(stated)) if ":" in stated else None
    if person is not None:
        return person.tenant, person.id
    if given.tenant is not None or not isinstance(directory, Snapshot):
        return given.tenant or "default", stated
    tenants = {p.tenant for p in directory.who.people if p.id == stated}
    return (tenants.pop() if len(tenants) == 1 else "default"), stated


type Prove = Callable[[Exchange, Identity, Ports, Mapping[str, str], frozenset[str]], Sequence[Proof]]


def stated(given: Given) -> Prove:
    """Return what proves who calls: the stated principal beside everything that the other facts prove."""

    def prove(
        exchange: Exchange,
        section: Identity,
        ports: Ports,
        headers: Mapping[str, str],
        repeated: frozenset[str],
    ) -> Sequence[Proof]:
        found = [*proofs(exchange, section, ports, headers, repeated)]
        if given.principal is not None:
            found += _of_principal(given, section, ports.directory)
            found.sort(key=lambda proof: -CONFIDENCE[proof.source])
        return found

    return prove


def _of_principal(given: Given, section: Identity, directory: Directory) -> list[Proof]:
    tenant, name = whose(given, directory)
    person = directory.person(tenant, name)
    sources = given.source or (section.require[0] if section.require else "token")
    facts = tuple(given.attributes.items())
    return [Proof(source, name, tenant, True, given.roles, facts, person) for source in sources.split("+")]


class StatedTokens:
    """The port Tokens for tokens of which only the content is given: they hold, and no other does."""

    def __init__(self, tokens: Sequence[GivenToken], policy: Policy) -> None:
        """Raises Wrong for a token of an issuer that the policy does not have."""
        self._tokens = tuple(tokens)
        self._issuers = {issuer.id: issuer for issuer in policy.identity.tokens}
        for place, token in enumerate(tokens):
            if token.issuer not in self._issuers:
                near = nearest(token.issuer, self._issuers)
                todo = f"Did you mean `{near}`?" if near else "Take an `id` of identity.tokens"
                raise Wrong("the policy has no such issuer", todo, ("tokens", place, "issuer"))

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers in which the tokens come."""
        return tuple(
            (self._issuers[token.issuer].header.lower(), f"{_TOKEN}{place}")
            for place, token in enumerate(self._tokens)
        )

    def subject(self, issuer: str, token: str) -> Subject | None:
        number = token.removeprefix(_TOKEN)
        if number == token or not number.isdecimal() or int(number) >= len(self._tokens):
            return None
        said = self._tokens[int(number)]
        if said.issuer != issuer:
            return None
        tenant = said.tenant or self._issuers[issuer].tenant or ""
        return Subject(
            self._issuers[issuer].issuer, said.subject, tuple(said.attributes.items()), said.groups, tenant
        )

    def why_not(self, issuer: str, token: str) -> str:
        return "" if self.subject(issuer, token) is not None else "form"

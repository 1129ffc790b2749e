"""One state of the directory in memory: what the stages ask, in a dictionary lookup or two."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from sqlalchemy import Connection, select

from sallyport.stages.directory import Approval, Key, Person, Stop, Tenant
from sallyport.state.directory.approvals import load_approvals
from sallyport.state.directory.credentials import StoredCredential, load_credentials
from sallyport.state.directory.keys import load_keys
from sallyport.state.directory.people import load_people, load_tenants, politely
from sallyport.state.directory.schema import Part, state
from sallyport.state.directory.stops import load_stops


@dataclass(frozen=True, slots=True)
class People:
    """The people and tenants of one revision, with their indexes."""

    people: tuple[Person, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    by_id: Mapping[tuple[str, str], Person] = field(default_factory=dict, repr=False)
    by_name: Mapping[str, Person] = field(default_factory=dict, repr=False)
    by_folded_id: Mapping[tuple[str, str], Person] = field(default_factory=dict, repr=False)
    tenant_by_id: Mapping[str, Tenant] = field(default_factory=dict, repr=False)
    tenant_by_folded_id: Mapping[str, Tenant] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, people: Iterable[Person], tenants: Iterable[Tenant]) -> Self:
        people, tenants = tuple(people), tuple(tenants)
        by_id: dict[tuple[str, str], Person] = {}
        by_name: dict[str, Person] = {}
        by_folded_id: dict[tuple[str, str], Person] = {}
        for person in politely(people):
            by_id[person.tenant, person.id] = person
            by_folded_id.setdefault(_folded(person.tenant, person.id), person)
            for name in person.names:
                by_name[name] = person
        tenant_by_id = {tenant.id: tenant for tenant in tenants}
        # Of two that differ in case alone one that is not active stands for every other spelling.
        closed_last = sorted(tenants, key=lambda tenant: not tenant.active)
        tenant_by_folded_id = {tenant.id.lower(): tenant for tenant in closed_last}
        return cls(people, tenants, by_id, by_name, by_folded_id, tenant_by_id, tenant_by_folded_id)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Implements the Directory port. revisions: of each part; what has not changed is shared with the last."""

    revision: int = 0
    revisions: Mapping[str, int] = field(default_factory=dict)
    who: People = field(default_factory=People)
    keys: tuple[Key, ...] = ()
    pulled: tuple[Stop, ...] = ()
    approved: tuple[Approval, ...] = ()
    credentials: tuple[StoredCredential, ...] = ()
    _keys: Mapping[str, Key] = field(default_factory=dict, repr=False)
    _approvals: Mapping[tuple[str, str], tuple[Approval, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        revisions: Mapping[str, int],
        who: People,
        keys: Iterable[Key] = (),
        stops: Iterable[Stop] = (),
        approvals: Iterable[Approval] = (),
        credentials: Iterable[StoredCredential] = (),
    ) -> Self:
        """Return a snapshot of values; revisions: by part, that of the whole among them."""
        keys, approvals = tuple(keys), tuple(approvals)
        by_principal: dict[tuple[str, str], tuple[Approval, ...]] = {}
        for approval in approvals:
            whose = approval.tenant, approval.principal
            by_principal[whose] = (*by_principal.get(whose, ()), approval)
        return cls(
            revisions.get(Part.WHOLE, 0),
            dict(revisions),
            who,
            keys,
            tuple(stops),
            approvals,
            tuple(credentials),
            {key.fingerprint: key for key in keys},
            by_principal,
        )

    @classmethod
    def read(cls, connection: Connection, last: "Snapshot | None" = None) -> Self:
        """Read the directory inside one read transaction, without the parts that are as in `last`."""
        revisions = {row.part: row.revision for row in connection.execute(select(state))}

        def same(part: Part) -> "Snapshot | None":
            return last if last is not None and last.revisions.get(part) == revisions.get(part) else None

        people, keys = same(Part.PEOPLE), same(Part.KEYS)
        approvals, stops = same(Part.APPROVALS), same(Part.STOPS)
        credentials = same(Part.CREDENTIALS)
        return cls.of(
            revisions,
            people.who if people else People.of(load_people(connection), load_tenants(connection)),
            keys.keys if keys else load_keys(connection),
            stops.pulled if stops else load_stops(connection),
            approvals.approved if approvals else load_approvals(connection),
            credentials.credentials if credentials else load_credentials(connection),
        )

    @property
    def is_empty(self) -> bool:
        """Whether nobody and nothing is in it."""
        parts = (self.who.people, self.who.tenants, self.keys, self.pulled, self.approved, self.credentials)
        return not any(parts)

    def person(self, tenant: str, id: str) -> Person | None:
        """Return somebody by id; in another case too, since whoever types a login name chooses its case."""
        return self.who.by_id.get((tenant, id)) or self.who.by_folded_id.get(_folded(tenant, id))

    def named(self, name: str) -> Person | None:
        return self.who.by_name.get(name)

    def tenant(self, id: str) -> Tenant | None:
        """Return a tenant by id; in another case too, so that what was deactivated is so in any spelling."""
        return self.who.tenant_by_id.get(id) or self.who.tenant_by_folded_id.get(id.lower())

    def key(self, fingerprint: str) -> Key | None:
        return self._keys.get(fingerprint)

    def stops(self) -> tuple[Stop, ...]:
        return self.pulled

    def approvals(self, tenant: str, principal: str) -> tuple[Approval, ...]:
        return self._approvals.get((tenant, principal), ())

    def credential(self, name: str) -> StoredCredential | None:
        """Return where a real credential comes from; no stage asks for it."""
        return next((stored for stored in self.credentials if stored.name == name), None)


def _has_no_case(id: str) -> bool:
    """Say whether an id means the same in any case: subjects of tokens (ISSUER|SUBJECT) and SPIFFE ids do not."""
    return "|" not in id and "://" not in id


def _folded(tenant: str, id: str) -> tuple[str, str]:
    return tenant.lower(), id.lower() if _has_no_case(id) else id

"""What an import would change, and doing it: in one transaction, or not at all."""

from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from sallyport.errors import OperatorError
from sallyport.stages.directory import Person, Tenant
from sallyport.state.directory.people import (
    Entry,
    Rows,
    load_entries,
    load_tenants,
    put_tenant,
    remove_people,
    rows_of,
    shown,
    write_rows,
)
from sallyport.state.directory.schema import Part, state
from sallyport.state.directory.store import Changed, DirectoryStore

MAX_REMOVED = 0.2
"""Share of an origin's people that an import may remove or switch off unless it is told to."""

_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an import brings. prune: remove what the origin had and this lacks. adopt: take over others' people.

    max_removed: share of the origin's people, 0 to 1.
    """

    origin: str
    people: tuple[Person, ...]
    tenants: tuple[Tenant, ...] = ()
    prune: bool = False
    adopt: bool = False
    max_removed: float = MAX_REMOVED


@dataclass(frozen=True, slots=True)
class Difference:
    """revision: of the people it was compared with. changed: before and after. gone: kept, as not pruned."""

    revision: int
    added: tuple[Person, ...] = ()
    changed: tuple[tuple[Person, Person], ...] = ()
    adopted: tuple[Person, ...] = ()
    removed: tuple[Person, ...] = ()
    gone: tuple[Person, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    before: int = 0
    unchanged: int = 0
    off: int = field(default=0)

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.changed or self.adopted or self.removed or self.tenants)


def compare(connection: Connection, wanted: Wanted) -> Difference:
    """Return what would change. Raises OperatorError for people of other origins, unless they are adopted."""
    revision = connection.scalar(select(state.c.revision).where(state.c.part == Part.PEOPLE.value))
    present = {(e.person.tenant, e.person.id): e for e in load_entries(connection)}
    known = {tenant.id: tenant for tenant in load_tenants(connection)}
    added, changed, adopted, unchanged, off = (
        list[Person](),
        list[tuple[Person, Person]](),
        list[Person](),
        0,
        0,
    )
    for person in wanted.people:
        entry = present.pop((person.tenant, person.id), None)
        if entry is None:
            added.append(person)
        elif entry.origin != wanted.origin:
            if not wanted.adopt:
                raise OperatorError(
                    f"person {shown(person.tenant)}/{shown(person.id)}",
                    f"it came from {shown(entry.origin)}, not from {shown(wanted.origin)}",
                    "Take it over with --adopt, or leave it out of the import.",
                )
            adopted.append(person)
        elif entry.person == person:
            unchanged += 1
        else:
            changed.append((entry.person, person))
            off += entry.person.active and not person.active
    missing = tuple(e.person for e in present.values() if e.origin == wanted.origin)
    stay = (e.person for e in present.values() if not wanted.prune or e.origin != wanted.origin)
    _check_names(wanted.people, stay)
    _check_tenants(wanted, known)
    return Difference(
        int(revision or 0),
        tuple(added),
        tuple(changed),
        tuple(adopted),
        missing if wanted.prune else (),
        () if wanted.prune else missing,
        tuple(t for t in wanted.tenants if known.get(t.id) != t),
        len(missing) + len(changed) + unchanged,
        unchanged,
        off,
    )


def _check_names(wanted: Iterable[Person], others: Iterable[Person]) -> None:
    owners = {name: person for person in others for name in person.names}
    for person in wanted:
        for name in person.names:
            if (owner := owners.get(name)) is not None:
                raise OperatorError(
                    f"person {shown(person.tenant)}/{shown(person.id)}",
                    f"the name {shown(name)} belongs to {shown(owner.tenant)}/{shown(owner.id)}",
                    "Take it from there first: sallyport directory people change.",
                )


def _check_tenants(wanted: Wanted, known: Container[str]) -> None:
    brought = {tenant.id for tenant in wanted.tenants} | {Person("").tenant}
    for person in wanted.people:
        if person.tenant not in brought and person.tenant not in known:
            raise OperatorError(
                f"person {shown(person.tenant)}/{shown(person.id)}",
                f"there is no tenant {shown(person.tenant)}",
                "Add it first: sallyport directory tenants add.",
            )


def check_share(difference: Difference, wanted: Wanted) -> None:
    """Refuse a difference that takes away too many: half an export looks like half a staff. Raises OperatorError."""
    lost = len(difference.removed) + difference.off
    if lost > wanted.max_removed * difference.before:
        share = lost / difference.before
        raise OperatorError(
            f"import {shown(wanted.origin)}",
            f"it would remove {len(difference.removed)} and switch off {difference.off} of "
            f"{difference.before} people, and may {wanted.max_removed:.0%}",
            f"Look at it with --dry-run; if it is right, give --max-removed {min(1.0, share + 0.01):.2f}.",
        )


def carry_out(
    store: DirectoryStore, wanted: Wanted, note: Callable[[Connection, Difference], None]
) -> Difference:
    """Compare and change; everything, with what `note` writes, is one transaction. Raises OperatorError.

    It is compared and written beside others' changes, and begun anew if they changed people meanwhile; at the
    last it keeps them waiting.
    """
    for _ in range(_ATTEMPTS):
        with store.read() as connection:
            difference = compare(connection, wanted)
        check_share(difference, wanted)
        if difference.is_empty:
            return difference
        rows = _rows(difference, wanted.origin)
        with suppress(Changed):
            with store.change_since(Part.PEOPLE, difference.revision) as connection:
                _apply(connection, difference, rows)
                note(connection, difference)
            return difference
    with store.change() as connection:
        difference = compare(connection, wanted)
        check_share(difference, wanted)
        _apply(connection, difference, _rows(difference, wanted.origin))
        note(connection, difference)
    return difference


def _apply(connection: Connection, difference: Difference, rows: Rows) -> None:
    for tenant in difference.tenants:
        put_tenant(connection, tenant)
    if difference.removed:
        remove_people(connection, [(p.tenant, p.id) for p in difference.removed])
    write_rows(connection, rows)


def _rows(difference: Difference, origin: str) -> Rows:
    changed = (*(after for _, after in difference.changed), *difference.adopted)
    return rows_of([Entry(p, origin) for p in difference.added], [Entry(p, origin) for p in changed])

"""People and tenants in the tables of the directory: read whole, written one at a time.

Names are kept as folded() has them, each belongs to one person in the whole directory.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from sallyport.errors import OperatorError
from sallyport.stages.directory import Person, Tenant, folded
from sallyport.state.directory.schema import names, people, tenants

CLI_ORIGIN = "cli"
"""The origin of what somebody typed; no import removes it."""

MAX_ID_CHARS = 256
MAX_TEXT_CHARS = 2048
MAX_ITEMS = 500
"""Roles, names or attributes of one person."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}:.+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """A person and what it came from."""

    person: Person
    origin: str


def load_people(connection: Connection) -> tuple[Person, ...]:
    """Return everybody, by tenant and id."""
    return tuple(entry.person for entry in load_entries(connection))


def load_entries(connection: Connection) -> Iterator[Entry]:
    """Yield everybody with the origin, by tenant and id."""
    called: dict[tuple[str, str], list[str]] = {}
    query = select(names.c.tenant, names.c.person, names.c.name).order_by(names.c.name)
    for tenant, person, name in politely(connection.execute(query.execution_options(yield_per=2000))):
        called.setdefault((tenant, person), []).append(name)
    lists, maps = _Once(_list), _Once(_pairs)
    columns = (people.c.tenant, people.c.id, people.c.roles, people.c.attributes, people.c.active)
    rows = select(*columns, people.c.origin).order_by(people.c.tenant, people.c.id)
    for tenant, id, roles, attributes, active, origin in politely(
        connection.execute(rows.execution_options(yield_per=2000))
    ):
        own = tuple(called.get((tenant, id), ()))
        yield Entry(Person(id, tenant, lists[roles], maps[attributes], own, bool(active)), origin)


def find_person(connection: Connection, tenant: str, id: str) -> Entry | None:
    """Return one person."""
    row = connection.execute(select(people).where(people.c.tenant == tenant, people.c.id == id)).first()
    if row is None:
        return None
    called = select(names.c.name).where(names.c.tenant == tenant, names.c.person == id)
    own = tuple(connection.scalars(called.order_by(names.c.name)))
    person = Person(id, tenant, _list(row.roles), _pairs(row.attributes), own, bool(row.active))
    return Entry(person, row.origin)


def put_person(connection: Connection, person: Person, origin: str = CLI_ORIGIN) -> None:
    """Write a person, new or in place of the one of that tenant and id.

    Raises OperatorError where a name belongs to somebody else, or the tenant does not exist.
    """
    person = checked(person)
    put_people(connection, [Entry(person, origin)])


def put_people(connection: Connection, entries: Iterable[Entry]) -> None:
    """Write people, checked ones. A name may pass from one of them to another.

    Raises OperatorError where a name belongs to somebody who is not among them, or a tenant does not exist.
    """
    entries = tuple(entries)
    _check_tenants(connection, {entry.person.tenant for entry in entries})
    there = _there(connection, entries)
    rows = rows_of(
        [e for e in entries if (e.person.tenant, e.person.id) not in there],
        [e for e in entries if (e.person.tenant, e.person.id) in there],
    )
    _forget_names(connection, rows.whose)
    _check_names(connection, rows.names)
    write_rows(connection, rows)


@dataclass(frozen=True, slots=True)
class Rows:
    """People as the tables hold them. whose: tenant and id of those that are changed."""

    new: list[dict[str, str | bool]]
    changed: list[dict[str, str | bool]]
    whose: list[tuple[str, str]]
    names: list[dict[str, str]]


def rows_of(new: Sequence[Entry], changed: Sequence[Entry]) -> Rows:
    """Return what is to be written; made before a transaction, it does not prolong one."""
    called = [
        {"name": name, "tenant": e.person.tenant, "person": e.person.id}
        for e in (*new, *changed)
        for name in e.person.names
    ]
    updates = [_row(entry) for entry in changed]
    return Rows(
        [_row(entry) for entry in new],
        [{"of": row.pop("tenant"), "who": row.pop("id"), **row} for row in updates],
        [(entry.person.tenant, entry.person.id) for entry in changed],
        called,
    )


def write_rows(connection: Connection, rows: Rows) -> None:
    """Write rows of which is known who is new, and that their names and tenants are in order."""
    _forget_names(connection, rows.whose)
    for statement, many in ((_UPDATE, rows.changed), (insert(people), rows.new), (insert(names), rows.names)):
        for at in range(0, len(many), _ROWS_TOGETHER):
            connection.execute(statement, many[at : at + _ROWS_TOGETHER])


def remove_person(connection: Connection, tenant: str, id: str) -> bool:
    """Remove a person and the names; False if there was none."""
    return remove_people(connection, [(tenant, id)]) > 0


def remove_people(connection: Connection, whose: Sequence[tuple[str, str]]) -> int:
    """Remove people, by tenant and id, with their names; return how many there were."""
    _forget_names(connection, whose)
    before = _count(connection)
    for at in range(0, len(whose), _ROWS_TOGETHER):
        part = whose[at : at + _ROWS_TOGETHER]
        connection.execute(_REMOVE, [{"of": tenant, "who": id} for tenant, id in part])
    return before - _count(connection)


def load_tenants(connection: Connection) -> tuple[Tenant, ...]:
    """Return all tenants, by id."""
    rows = connection.execute(select(tenants).order_by(tenants.c.id))
    return tuple(Tenant(r.id, r.title, _pairs(r.attributes), bool(r.active)) for r in rows)


def put_tenant(connection: Connection, tenant: Tenant) -> None:
    """Write a tenant, new or in place of the one of that id. Raises OperatorError."""
    _check_text("tenant", "id", tenant.id, MAX_ID_CHARS)
    row = {
        "id": tenant.id,
        "title": tenant.title,
        "attributes": _json(dict(tenant.attributes)),
        "active": tenant.active,
    }
    if connection.execute(update(tenants).where(tenants.c.id == tenant.id).values(row)).rowcount == 0:
        connection.execute(insert(tenants), row)


def checked(person: Person) -> Person:
    """Return a person as it is stored: names folded, nothing twice. Raises OperatorError."""
    where = f"person {shown(person.id)}"
    _check_text(where, "id", person.id, MAX_ID_CHARS)
    _check_text(where, "tenant", person.tenant, MAX_ID_CHARS)
    lowered = tuple(sorted({folded(name) for name in person.names}))
    for name in lowered:
        _check_text(where, "name", name, MAX_TEXT_CHARS)
        if _NAME.fullmatch(name) is None:
            raise OperatorError(
                where, f"the name {shown(name)} is not kind:value", "Write for example email:ada@example.com."
            )
    for role in person.roles:
        _check_text(where, "role", role, MAX_ID_CHARS)
    for name, value in person.attributes:
        _check_text(where, "attribute", name, MAX_ID_CHARS)
        if value:
            _check_text(where, f"attribute {shown(name)}", value, MAX_TEXT_CHARS)
    for what, many in (("roles", person.roles), ("names", lowered), ("attributes", person.attributes)):
        if len(many) > MAX_ITEMS:
            raise OperatorError(where, f"it has {len(many)} {what}", f"Give it at most {MAX_ITEMS}.")
    roles, attributes = tuple(sorted(set(person.roles))), tuple(sorted(dict(person.attributes).items()))
    return replace(person, names=lowered, roles=roles, attributes=attributes)


def shown(text: str) -> str:
    """Return a text of the directory as an error may show it: short, and without control characters."""
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return plain if len(plain) <= 80 else plain[:79] + "\N{HORIZONTAL ELLIPSIS}"


def politely[T](items: Iterable[T], every: int = 200) -> Iterator[T]:
    """Yield items, and let other threads go first now and then: a gateway reads this beside its event loop."""
    for number, item in enumerate(items):
        if number % every == every - 1:
            time.sleep(0)
        yield item


class _Once[T](dict[str, T]):
    """Reads each different JSON text once, and shares what it says."""

    def __init__(self, read: "Reader[T]") -> None:
        self._read = read

    def __missing__(self, text: str) -> T:
        found = self[text] = self._read(text)
        return found


type Reader[T] = Callable[[str], T]


def _list(text: str) -> tuple[str, ...]:
    return tuple(orjson.loads(text))


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    found: Mapping[str, str] = orjson.loads(text)
    return tuple(sorted(found.items()))


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _row(entry: Entry) -> dict[str, str | bool]:
    person = entry.person
    return {
        "tenant": person.tenant,
        "id": person.id,
        "roles": _json(list(person.roles)),
        "attributes": _json(dict(person.attributes)),
        "active": person.active,
        "origin": entry.origin,
    }


_UPDATE = update(people).where(people.c.tenant == bindparam("of"), people.c.id == bindparam("who"))
_REMOVE = delete(people).where(people.c.tenant == bindparam("of"), people.c.id == bindparam("who"))
_FORGET = delete(names).where(names.c.tenant == bindparam("of"), names.c.person == bindparam("who"))

_ROWS_TOGETHER = 5000
"""Rows in one call, so that none takes longer than a store's patience, however many there are."""

_TOGETHER = 400
"""Values in one IN list; SQLite before 3.32 takes 999."""


def _there(connection: Connection, entries: tuple[Entry, ...]) -> set[tuple[str, str]]:
    """Return which of the people exist already."""
    ids = sorted({entry.person.id for entry in entries})
    found: set[tuple[str, str]] = set()
    for at in range(0, len(ids), _TOGETHER):
        query = select(people.c.tenant, people.c.id).where(people.c.id.in_(ids[at : at + _TOGETHER]))
        found.update((tenant, id) for tenant, id in connection.execute(query))
    return found


def _forget_names(connection: Connection, whose: Sequence[tuple[str, str]]) -> None:
    for at in range(0, len(whose), _ROWS_TOGETHER):
        part = whose[at : at + _ROWS_TOGETHER]
        connection.execute(_FORGET, [{"of": tenant, "who": id} for tenant, id in part])


def _check_names(connection: Connection, own: list[dict[str, str]]) -> None:
    wanted: dict[str, str] = {}
    for row in own:
        if (other := wanted.setdefault(row["name"], row["person"])) != row["person"]:
            raise OperatorError(
                f"person {shown(row['person'])}",
                f"the name {shown(row['name'])} is given to {shown(other)} as well",
                "Give each name to one person.",
            )
    ordered = sorted(wanted)
    for at in range(0, len(ordered), _TOGETHER):
        query = select(names).where(names.c.name.in_(ordered[at : at + _TOGETHER]))
        if (taken := connection.execute(query).first()) is not None:
            raise OperatorError(
                f"person {shown(wanted[taken.name])}",
                f"the name {shown(taken.name)} belongs to {shown(taken.tenant)}/{shown(taken.person)}",
                "Take it from there first: sallyport directory people change.",
            )


def _check_tenants(connection: Connection, wanted: set[str]) -> None:
    """Tenant `default` need not be written down: it is where everybody is who is nowhere else."""
    known = {tenant.id for tenant in load_tenants(connection)} | {Person("").tenant}
    if missing := sorted(wanted - known):
        raise OperatorError(
            f"tenant {shown(missing[0])}",
            "there is no such tenant",
            "Add it first: sallyport directory tenants add.",
        )


def _count(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(people)) or 0


def _check_text(where: str, what: str, text: str, longest: int) -> None:
    if not text or text != text.strip() or len(text) > longest or not text.isprintable():
        raise OperatorError(
            where,
            f"its {what} is empty, longer than {longest} characters, or holds blanks at an end or control "
            "characters",
            "Write it otherwise.",
        )

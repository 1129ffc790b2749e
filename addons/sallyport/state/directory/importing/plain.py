"""Our own shape of a directory, in YAML or JSON: what `export` writes and `import` reads.

    version: 1
    tenants:
      - {id: acme, title: Acme Ltd, attributes: {region: eu}, active: true}
    people:
      - id: ada
        tenant: acme
        roles: [developer]
        attributes: {department: research}
        names: ["email:ada@example.com"]
        active: true

Only `id` must be there. Unknown keys are errors.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import orjson

from sallyport.errors import OperatorError
from sallyport.policy.source import At, Plain, Source, parse_source
from sallyport.stages.directory import Person, Tenant
from sallyport.state.directory.people import checked, shown

MAX_YAML_BYTES = 16 * 1024 * 1024
MAX_YAML_NODES = 500_000

_TENANT = ("id", "title", "attributes", "active")
_PERSON = ("id", "tenant", "roles", "attributes", "names", "active")


@dataclass(frozen=True, slots=True)
class Written:
    """What a file of our own shape holds."""

    people: tuple[Person, ...]
    tenants: tuple[Tenant, ...]


def read(path: Path, data: bytes, tenant: str = "default") -> Written:
    """Return what a file holds; `.json` is read as JSON, anything else as YAML.

    tenant: of a person who names none. Raises OperatorError with file, line or entry, what, and what to do.
    """
    return _Reader(_source(path, data)).read(tenant)


def write(people: Iterable[Person], tenants: Iterable[Tenant]) -> dict[str, object]:
    """Return a directory in this shape, as plain values; what says nothing is left out."""
    return {
        "version": 1,
        "tenants": [
            _said({"id": t.id, "title": t.title, "attributes": dict(t.attributes), "active": t.active})
            for t in tenants
        ],
        "people": [
            _said(
                {
                    "id": p.id,
                    "tenant": p.tenant,
                    "roles": list(p.roles),
                    "attributes": dict(p.attributes),
                    "names": list(p.names),
                    "active": p.active,
                }
            )
            for p in people
        ],
    }


def _said(members: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in members.items() if value is not True and value not in ("", [], {})}


def _source(path: Path, data: bytes) -> Source:
    if path.suffix.lower() != ".json":
        return parse_source(data, str(path), max_bytes=MAX_YAML_BYTES, max_nodes=MAX_YAML_NODES)
    try:
        return Source(str(path), orjson.loads(data), {})
    except orjson.JSONDecodeError as error:
        raise OperatorError(
            f"{path}:{error.lineno}:{error.colno}", "is not JSON here", "Mend it, or export it again."
        ) from None


class _Reader:
    """Checks one file. The first thing that is wrong ends it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, tenant: str) -> Written:
        top = self._members(self._source.data, (), ("version", "tenants", "people"))
        if top.get("version") != 1:
            self._wrong(("version",), "the version is not 1", "Write version: 1 at the top.")
        tenants = tuple(
            self._tenant(each, ("tenants", n)) for n, each in enumerate(self._list(top, "tenants", ()))
        )
        seen: dict[tuple[str, str], At] = {}
        people = []
        for number, each in enumerate(self._list(top, "people", ())):
            at: At = ("people", number)
            person = self._person(each, at, tenant)
            if (first := seen.setdefault((person.tenant, person.id), at)) != at:
                self._wrong(at, f"the id {shown(person.id)} is that of {self._place(first)} too", "Keep one.")
            people.append(person)
        return Written(tuple(people), tenants)

    def _tenant(self, value: Plain, at: At) -> Tenant:
        members = self._members(value, at, _TENANT)
        return Tenant(
            self._text(members, "id", at, None),
            self._text(members, "title", at, ""),
            self._pairs(members, at),
            self._flag(members, at),
        )

    def _person(self, value: Plain, at: At, tenant: str) -> Person:
        members = self._members(value, at, _PERSON)
        person = Person(
            self._text(members, "id", at, None),
            self._text(members, "tenant", at, tenant),
            self._texts(members, "roles", at),
            self._pairs(members, at),
            self._texts(members, "names", at),
            self._flag(members, at),
        )
        try:
            return checked(person)
        except OperatorError as error:
            self._wrong(at, f"{error.where}: {error.what}", error.todo)

    def _members(self, value: Plain, at: At, known: tuple[str, ...]) -> Mapping[str, Plain]:
        if not isinstance(value, dict):
            self._wrong(at, "it is no mapping", f"Write the keys {', '.join(known)}.")
        for key in value:
            if key not in known:
                self._wrong((*at, key), f"{shown(key)} is no known key", f"Known are {', '.join(known)}.")
        return value

    def _list(self, members: Mapping[str, Plain], key: str, at: At) -> list[Plain]:
        value = members.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self._wrong((*at, key), f"{key} is no list", "Write one item a line, each after a hyphen.")
        return value

    def _text(self, members: Mapping[str, Plain], key: str, at: At, default: str | None) -> str:
        value = members.get(key, default)
        if not isinstance(value, str) or (default is None and not value):
            self._wrong(
                (*at, key), f"{key} is no text", f"Write {key} as a text, in quotes if it is a number."
            )
        return value

    def _texts(self, members: Mapping[str, Plain], key: str, at: At) -> tuple[str, ...]:
        found = []
        for number, each in enumerate(self._list(members, key, at)):
            if not isinstance(each, str):
                self._wrong((*at, key, number), f"{key} holds what is no text", "Write it in quotes.")
            found.append(each)
        return tuple(found)

    def _pairs(self, members: Mapping[str, Plain], at: At) -> tuple[tuple[str, str], ...]:
        value = members.get("attributes")
        if value is None:
            return ()
        if not isinstance(value, dict):
            self._wrong((*at, "attributes"), "attributes is no mapping", "Write name: value, one a line.")
        pairs = []
        for name, text in value.items():
            if not isinstance(text, str):
                self._wrong((*at, "attributes", name), "an attribute is no text", "Write it in quotes.")
            pairs.append((name, text))
        return tuple(sorted(pairs))

    def _flag(self, members: Mapping[str, Plain], at: At) -> bool:
        value = members.get("active", True)
        if not isinstance(value, bool):
            self._wrong((*at, "active"), "active is neither true nor false", "Write true or false.")
        return value

    def _place(self, at: At) -> str:
        return self._source.where(at) if self._source.places else "".join(f"/{part}" for part in at)

    def _wrong(self, at: At, what: str, todo: str) -> NoReturn:
        where = self._source.where(at) if self._source.places else f"{self._source.name} {self._place(at)}"
        raise OperatorError(where, what, todo)

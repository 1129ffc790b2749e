"""SCIM 2.0 (RFC 7643, 7644) resources in JSON: list responses, page after page, as Okta and Entra give them.

Attribute names are compared without case, as the RFC has it; `active` may be a text, as Entra writes it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from sallyport.errors import OperatorError
from sallyport.state.directory.importing.gathered import Account, Gathered, Group, Page

_ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user"
_EXPORT = "Export the resources again: GET /Users and GET /Groups, all pages."
_MAX_DEPTH = 4

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource. members: by lower-case name."""

    where: str
    members: Mapping[str, Json]


def gather(path: Path, data: bytes) -> Gathered:
    """Return the accounts and groups of a file: one JSON text, or one on each line. Raises OperatorError."""
    accounts: list[Account] = []
    groups: list[Group] = []
    pages: list[Page] = []
    skipped = 0
    for found in _resources(str(path), data):
        if isinstance(found, Page):
            pages.append(found)
            continue
        kind = _kind(found.where, found.members)
        if kind == "user":
            accounts.append(_account(found.where, found.members))
        elif kind == "group":
            groups.append(_group(found.where, found.members))
        else:
            skipped += 1
    return Gathered(tuple(accounts), tuple(groups), skipped, tuple(pages))


def _resources(name: str, data: bytes) -> Iterator[Resource | Page]:
    try:
        yield from _of(name, orjson.loads(data), 0)
    except orjson.JSONDecodeError as error:
        lines = data.splitlines()
        if len(lines) < 2 or not _is_json(lines[0]):
            raise OperatorError(f"{name}:{error.lineno}:{error.colno}", "is not JSON here", _EXPORT) from None
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                raise OperatorError(f"{name}:{number}", "is not JSON on one line", _EXPORT) from None
            yield from _of(f"{name}:{number}", value, 0)


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _of(where: str, value: Json, depth: int) -> Iterator[Resource | Page]:
    """Yield the resources in a value: itself, those of a list response, or of several of them."""
    if depth > _MAX_DEPTH:
        raise OperatorError(where, "it is nested too deep to be a list of resources", _EXPORT)
    if isinstance(value, list):
        for number, each in enumerate(value, 1):
            yield from _of(f"{where} entry {number}", each, depth + 1)
        return
    if not isinstance(value, dict):
        raise OperatorError(where, "there is no resource here", _EXPORT)
    members = {key.lower(): each for key, each in value.items()}
    if "resources" in members:
        if (page := _page(where, members)) is not None:
            yield page
        yield from _of(where, members["resources"] or [], depth + 1)
    elif "schemas" not in members and members.keys() & {"users", "groups"} and "id" not in members:
        for key in ("users", "groups"):
            if key in members:
                yield from _of(f"{where} {key}", members[key], depth + 1)
    else:
        yield Resource(where, members)


def _page(where: str, members: Mapping[str, Json]) -> Page | None:
    total, resources = members.get("totalresults"), members.get("resources")
    if not isinstance(total, int):
        return None
    held = resources if isinstance(resources, list) else []
    first = held[0] if held else None
    kind = _kind(where, {k.lower(): v for k, v in first.items()}) if isinstance(first, dict) else ""
    return Page(where, kind, len(held), total)


def _kind(where: str, resource: Mapping[str, Json]) -> str:
    schemas = resource.get("schemas")
    named = [s.lower() for s in schemas if isinstance(s, str)] if isinstance(schemas, list) else []
    for kind in ("user", "group"):
        if f"urn:ietf:params:scim:schemas:core:2.0:{kind}" in named:
            return kind
    if named:
        return "other"
    if "username" in resource:
        return "user"
    if "members" in resource:
        return "group"
    raise OperatorError(where, "it has neither schemas nor userName nor members", _EXPORT)


def _account(where: str, resource: Mapping[str, Json]) -> Account:
    id = resource.get("id")
    if not isinstance(id, str) or not id:
        raise OperatorError(where, "a user has no id", _EXPORT)
    values: dict[str, tuple[str, ...]] = {}
    for name, value in resource.items():
        if name == _ENTERPRISE and isinstance(value, dict):
            values.update((key.lower(), _texts(each)) for key, each in value.items())
        elif name not in ("groups", "schemas", "meta", "active"):
            values[name] = _texts(value)
    groups = resource.get("groups")
    return Account(where, id.lower(), values, _references(groups), _active(where, resource.get("active")))


def _group(where: str, resource: Mapping[str, Json]) -> Group:
    id, name = resource.get("id"), resource.get("displayname")
    if not isinstance(id, str) or not id or not isinstance(name, str) or not name:
        raise OperatorError(where, "a group has no id or no displayName", _EXPORT)
    return Group(where, id.lower(), name, _references(resource.get("members")))


def _active(where: str, value: Json) -> bool:
    if value is None:
        return True
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise OperatorError(where, "active is neither true nor false", _EXPORT)


def _references(value: Json) -> tuple[str, ...]:
    """Return the ids that members or groups point to."""
    found = []
    for each in value if isinstance(value, list) else ():
        id = each.get("value") if isinstance(each, dict) else each
        if isinstance(id, str):
            found.append(id.lower())
    return tuple(found)


def _texts(value: Json) -> tuple[str, ...]:
    """Return an attribute's values: of complex ones their `value` or `formatted`, the primary one first."""
    if isinstance(value, list):
        first = sorted(value, key=lambda v: not (isinstance(v, dict) and v.get("primary") is True))
        return tuple(text for each in first for text in _texts(each))
    if isinstance(value, dict):
        members = {key.lower(): each for key, each in value.items()}
        return _texts(members.get("value", members.get("formatted")))
    if value is None or isinstance(value, bool):
        return ()
    return (str(value),)

"""What becomes of foreign accounts and groups: ids, names, roles and attributes of people, by a few rules."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sallyport.errors import OperatorError
from sallyport.stages.directory import Person
from sallyport.state.directory.importing.gathered import Account, Gathered, Group
from sallyport.state.directory.people import checked, shown

_HOLE = re.compile(r"\{([A-Za-z0-9.;=_-]+)\}")


@dataclass(frozen=True, slots=True)
class Rules:
    """How an account becomes a person. Attributes are named without case.

    ids: the first attribute an account has is its id. names: templates of names, `email:{mail}`; each value
    of the attribute makes one. roles: by a group's name or key, lower case, the role it gives; where there
    are none, every group gives a role of its own name. attributes: ours by theirs. tenant: of everybody,
    unless tenant_attribute names an attribute that says it.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    tenant: str = "default"
    tenant_attribute: str = ""


LDIF_RULES = Rules(
    ids=("uid", "samaccountname", "userprincipalname", "mail"),
    names=("email:{mail}", "user:{uid}", "user:{samaccountname}", "upn:{userprincipalname}"),
    attributes={"department": "department", "employee_type": "employeetype"},
)
SCIM_RULES = Rules(
    ids=("username",),
    names=("email:{emails}", "user:{username}"),
    attributes={"department": "department", "employee_type": "usertype"},
)


@dataclass(frozen=True, slots=True)
class Mapped:
    """The people of an import, by tenant and id. strangers: members of groups that no account is."""

    people: tuple[Person, ...]
    strangers: int
    skipped: int


def people_of(gathered: Gathered, rules: Rules) -> Mapped:
    """Return the people that accounts become. Raises OperatorError, with the place in the file."""
    gathered.check_pages()
    _check_templates(rules)
    granted = _roles_by_member(gathered, rules)
    found: dict[tuple[str, str], Account] = {}
    named: dict[str, Account] = {}
    people = []
    known = {account.key for account in gathered.accounts} | {group.key for group in gathered.groups}
    for account in gathered.accounts:
        person = _person(account, rules, granted)
        if (other := found.setdefault((person.tenant, person.id), account)) is not account:
            raise OperatorError(
                account.where,
                f"the id {shown(person.id)} is that of {other.where} as well",
                "Choose an attribute that is unique with --id-attribute.",
            )
        for name in person.names:
            if (other := named.setdefault(name, account)) is not account:
                raise OperatorError(
                    account.where,
                    f"the name {shown(name)} is that of {other.where} as well",
                    "Mend it where it comes from, or choose other names with --name.",
                )
            if name.startswith("user:"):
                known.add(f"uid:{name.removeprefix('user:')}")
        people.append(person)
    members = {member for group in gathered.groups for member in group.members}
    people.sort(key=lambda p: (p.tenant, p.id))
    return Mapped(tuple(people), len(members - known), gathered.skipped)


def _person(account: Account, rules: Rules, granted: Mapping[str, frozenset[str]]) -> Person:
    values = account.values
    id = next((values[a.lower()][0] for a in rules.ids if values.get(a.lower())), "")
    if not id:
        raise OperatorError(
            account.where, f"it has none of {', '.join(rules.ids)}", "Choose its id with --id-attribute."
        )
    tenant = rules.tenant
    if rules.tenant_attribute:
        named = values.get(rules.tenant_attribute.lower(), ())
        if len(named) != 1:
            raise OperatorError(
                account.where,
                f"{rules.tenant_attribute} has {len(named)} values, and the tenant is one",
                "Mend it where it comes from, or give --tenant.",
            )
        tenant = named[0]
    keys = [account.key, *(f"uid:{uid.lower()}" for uid in values.get("uid", ()))]
    roles = frozenset[str]().union(*(granted.get(key, frozenset()) for key in keys))
    for group in account.groups:
        roles |= granted.get(group, frozenset()) | granted.get(f"group {group}", frozenset())
    attributes = tuple(
        (ours, values[theirs.lower()][0])
        for ours, theirs in rules.attributes.items()
        if values.get(theirs.lower())
    )
    names = tuple(name for template in rules.names for name in _filled(template, values))
    try:
        return checked(Person(id, tenant, tuple(roles), attributes, names, account.active))
    except OperatorError as error:
        raise OperatorError(account.where, f"{error.where}: {error.what}", error.todo) from None


def _roles_by_member(gathered: Gathered, rules: Rules) -> Mapping[str, frozenset[str]]:
    """Return the roles that each member of a group has by it, directly or through groups in groups.

    Under `group KEY` stands what the members of a group have by that group and those above it.
    """
    by_key = {group.key: group for group in gathered.groups}
    above: dict[str, set[str]] = {key: set(group.groups) for key, group in by_key.items()}
    for group in gathered.groups:
        for member in group.members:
            if member in by_key:
                above[member].add(group.key)
    named = {k for a in gathered.accounts for k in a.groups}
    given = {key: _all_above(key, above) for key in by_key.keys() | named}
    roles = {key: frozenset(_roles_of(k, by_key, rules) for k in keys) - {""} for key, keys in given.items()}
    found: dict[str, frozenset[str]] = {f"group {key}": granted for key, granted in roles.items()}
    for group in gathered.groups:
        for member in group.members:
            found[member] = found.get(member, frozenset()) | roles[group.key]
    return found


def _all_above(key: str, above: Mapping[str, set[str]]) -> set[str]:
    """Return a group and every group it is in; groups may contain each other."""
    found, waiting = {key}, [key]
    while waiting:
        for parent in above.get(waiting.pop(), ()):
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def _roles_of(key: str, groups: Mapping[str, Group], rules: Rules) -> str:
    """Return the role a group gives, "" where it gives none."""
    group = groups.get(key)
    name = group.name if group else key.partition(",")[0].partition("=")[2]
    if not rules.roles:
        return _role_name(name)
    return rules.roles.get(key) or rules.roles.get(name.lower(), "")


def _role_name(name: str) -> str:
    """Return a group's name as a role: lower case, with a hyphen for blanks, as conditions compare it."""
    return re.sub(r"\s+", "-", name.strip().lower())


def _filled(template: str, values: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return a template once for each value of its attribute; nothing where there is none."""
    hole = _HOLE.search(template)
    assert hole is not None
    many = values.get(hole[1].lower(), ())
    return [
        f"{template[: hole.start()]}{value.strip()}{template[hole.end() :]}"
        for value in many
        if value.strip()
    ]


def _check_templates(rules: Rules) -> None:
    for template in rules.names:
        kind, colon, _ = template.partition(":")
        if not colon or not kind or len(_HOLE.findall(template)) != 1:
            raise OperatorError(
                "--name",
                f"{shown(template)} is not kind:text with one {{attribute}}",
                "Write for example email:{mail} or subject:https://idp.example.com|{externalId}.",
            )

"""Exports of other directories, as their tools write them, and what becomes of them."""

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sallyport.errors import OperatorError
from sallyport.stages.directory import Person, Tenant
from sallyport.state.directory.importing import ldif, plain, scim
from sallyport.state.directory.importing.gathered import Gathered
from sallyport.state.directory.importing.mapping import LDIF_RULES, SCIM_RULES, Rules, people_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FILE = Path("people.ldif")


def from_ldif(text: str | bytes, rules: Rules = LDIF_RULES) -> dict[str, Person]:
    data = text.encode() if isinstance(text, str) else text
    return {p.id: p for p in people_of(ldif.gather(FILE, data, NOW), rules).people}


def from_scim(value: object, rules: Rules = SCIM_RULES) -> dict[str, Person]:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return {p.id: p for p in people_of(scim.gather(Path("scim.json"), data), rules).people}


def changed(rules: Rules, **values: object) -> Rules:
    from dataclasses import replace

    return replace(rules, **values)  # type: ignore[arg-type]


JOERG = base64.b64encode("jörg".encode()).decode()
JOERG_DN = base64.b64encode("uid=jörg,ou=People,dc=example,dc=com".encode()).decode()
OPENLDAP = f"""\
# extended LDIF
#
# LDAPv3
# base <dc=example,dc=com> with scope subtree

version: 1

# ada, people, example.com
dn: uid=ada,ou=People,dc=example,dc=com
objectClass: inetOrgPerson
uid: ada
cn: Ada Lovelace
mail: Ada.Lovelace@exa
 mple.com
mail: ada@example.com
departmentNumber: 7
department: research
jpegPhoto:: /9j/4AAQSkZJRgABAQ==

dn:: {JOERG_DN}
objectClass: inetOrgPerson
uid:: {JOERG}
mail: joerg@example.com
pwdAccountLockedTime: 000001010000Z

dn: cn=AI Users,ou=Groups,dc=example,dc=com
objectClass: groupOfNames
cn: AI Users
member: uid=ada, ou=People,dc=example,dc=com
member: cn=Contractors,ou=Groups,dc=example,dc=com

dn: cn=Contractors,ou=Groups,dc=example,dc=com
objectClass: groupOfUniqueNames
cn: Contractors
uniqueMember: UID=j\u00f6rg,ou=People,dc=example,dc=com
uniqueMember: uid=gone,ou=People,dc=example,dc=com

dn: cn=posix,ou=Groups,dc=example,dc=com
objectClass: posixGroup
cn: posix
memberUid: ada

dn: ou=People,dc=example,dc=com
objectClass: organizationalUnit
ou: People

# search result
search: 2
result: 0 Success

# numResponses: 7
"""


def test_ldapsearch_and_slapcat() -> None:
    gathered = ldif.gather(FILE, OPENLDAP.encode(), NOW)
    mapped = people_of(gathered, LDIF_RULES)
    assert mapped.skipped == 1
    assert mapped.strangers == 1
    ada, joerg = mapped.people
    assert ada == Person(
        "ada",
        roles=("ai-users", "posix"),
        attributes=(("department", "research"),),
        names=("email:ada.lovelace@example.com", "email:ada@example.com", "user:ada"),
    )
    assert joerg.id == "jörg"
    assert not joerg.active
    assert joerg.roles == ("ai-users", "contractors"), "a group in a group gives both"


GUID = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


def active_directory(*, control: int = 512, expires: int = 0, extra: str = "") -> str:
    return f"""\
dn: CN=Ada Lovelace,OU=Staff,DC=corp,DC=example,DC=com\r
objectClass: top\r
objectClass: person\r
objectClass: organizationalPerson\r
objectClass: user\r
cn: Ada Lovelace\r
sAMAccountName: alovelace\r
userPrincipalName: Ada@corp.example.com\r
objectGUID:: {base64.b64encode(GUID.bytes_le).decode()}\r
memberOf: CN=AI Users,OU=Groups,DC=corp,DC=example,DC=com\r
memberOf: CN=Other,OU=Groups,DC=corp,DC=example,DC=com\r
userAccountControl: {control}\r
accountExpires: {expires}\r
{extra}\r
dn: CN=PC-1,CN=Computers,DC=corp,DC=example,DC=com\r
objectClass: user\r
objectClass: computer\r
sAMAccountName: PC-1$\r
"""


def test_active_directory() -> None:
    (ada,) = from_ldif(active_directory()).values()
    assert ada == Person(
        "alovelace",
        roles=("ai-users", "other"),
        names=("upn:ada@corp.example.com", "user:alovelace"),
    )
    assert from_ldif(active_directory().encode("utf-16"))["alovelace"] == ada


FILETIME = int((NOW - datetime(1601, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 10


@pytest.mark.parametrize(
    ("values", "active"),
    [
        ({"control": 514}, False),
        ({"control": 66048}, True),
        ({"expires": 9223372036854775807}, True),
        ({"expires": FILETIME - 10}, False),
        ({"expires": FILETIME + 10_000_000}, True),
        ({"extra": "nsAccountLock: TRUE\r\n"}, False),
    ],
    ids=str,
)
def test_accounts_that_are_off(values: dict[str, int], active: bool) -> None:
    assert from_ldif(active_directory(**values))["alovelace"].active is active  # type: ignore[arg-type]


def test_rules_choose_ids_names_roles_and_tenants() -> None:
    rules = changed(
        LDIF_RULES,
        ids=("objectGUID",),
        names=("subject:https://idp.example.com|{objectGUID}",),
        roles={"cn=ai users,ou=groups,dc=corp,dc=example,dc=com": "ai", "other": "elsewhere"},
        attributes={"login": "sAMAccountName"},
        tenant_attribute="company",
    )
    (ada,) = from_ldif(active_directory(extra="company: acme\r\n"), rules).values()
    assert ada == Person(
        str(GUID),
        "acme",
        ("ai", "elsewhere"),
        (("login", "alovelace"),),
        (f"subject:https://idp.example.com|{GUID}",),
    )
    only_one = changed(rules, roles={"other": "elsewhere"}, tenant_attribute="")
    assert from_ldif(active_directory(), only_one)[str(GUID)].roles == ("elsewhere",)


PERSON = "dn: uid=ada,dc=x\nobjectClass: person\nuid: ada\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (PERSON + "changetype: add\n", 4, "list of changes"),
        (PERSON + "jpegPhoto:< file:///etc/passwd\n", 4, "points to a file"),
        (PERSON + "mail:: %%%\n", 4, "is not base64"),
        (PERSON + "just words\n", 4, "not `attribute: value`"),
        (PERSON + "dn: uid=bob,dc=x\n", 4, "begins inside another"),
        (" folded\n" + PERSON, 1, "continues nothing"),
        ("objectClass: person\nuid: ada\n", 1, "without dn"),
        (PERSON + "\nsearch: 2\nresult: 4 Size limit exceeded\n", 6, "did not end well"),
        (
            "dn: cn=g,dc=x\nobjectClass: group\nmember;range=0-1499: uid=ada,dc=x\n",
            3,
            "cut off by the server",
        ),
        ("dn: uid=ada,dc=x\nuid: ada\n", 1, "has no objectClass"),
        ("dn: cn=a,dc=x\nobjectClass: person\ncn: a\n", 1, "has none of"),
        (PERSON + "userAccountControl: x\n", 1, "is no number"),
        (PERSON + "\n" + PERSON.replace("uid=ada", "uid=eve"), 5, "the id ada is that of"),
        (
            PERSON
            + "\n"
            + PERSON.replace("ada", "eve")
            + "mail: a@x\n\n"
            + PERSON.replace("ada", "bob")
            + "mail: A@x\n",
            10,
            "the name email:a@x is that of",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value else "",
)
def test_what_is_wrong_in_ldif_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(OperatorError) as caught:
        from_ldif(text)
    assert said in caught.value.what
    assert caught.value.where == f"{FILE}:{line}"
    assert caught.value.todo


def test_a_file_that_is_not_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(OperatorError) as caught:
        from_ldif(PERSON.encode() + b"cn: J\xf6rg\n")
    assert caught.value.where == f"{FILE}:4"


def test_groups_in_a_circle_end() -> None:
    circle = "dn: cn=a,dc=x\nobjectClass: group\ncn: a\nmember: cn=b,dc=x\nmember: uid=ada,dc=x\n\n"
    circle += "dn: cn=b,dc=x\nobjectClass: group\ncn: b\nmember: cn=a,dc=x\n\n"
    assert from_ldif(circle + PERSON)["ada"].roles == ("a", "b")


USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def okta(**more: object) -> dict[str, object]:
    return {
        "schemas": [USER, ENTERPRISE],
        "id": "00u1ABC",
        "externalId": "00u1ABC",
        "userName": "Ada@example.com",
        "name": {"givenName": "Ada", "familyName": "Lovelace"},
        "emails": [
            {"value": "private@example.org", "primary": False},
            {"primary": True, "value": "ada@example.com", "type": "work"},
        ],
        "active": True,
        "groups": [],
        ENTERPRISE: {"department": "Research", "employeeNumber": "701984"},
        "meta": {"resourceType": "User"},
        **more,
    }


def group(id: str, name: str, *members: str) -> dict[str, object]:
    return {
        "schemas": [GROUP],
        "id": id,
        "displayName": name,
        "members": [{"value": member, "display": "x"} for member in members],
    }


def listed(*resources: object, total: int | None = None) -> dict[str, object]:
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": len(resources) if total is None else total,
        "startIndex": 1,
        "itemsPerPage": len(resources),
        "Resources": list(resources),
    }


ADA = Person(
    "Ada@example.com",
    roles=("ai-users", "staff"),
    attributes=(("department", "Research"),),
    names=("email:ada@example.com", "email:private@example.org", "user:ada@example.com"),
)
GROUPS = (group("g1", "AI Users", "00u1ABC"), group("g2", "Staff", "g1", "00uGONE"))


@pytest.mark.parametrize(
    "value",
    [
        [listed(okta()), listed(*GROUPS)],
        {"Users": [okta()], "Groups": list(GROUPS)},
        [okta(), *GROUPS],
        b"\n".join(json.dumps(each).encode() for each in (listed(okta()), listed(*GROUPS))),
        [listed(okta(), total=1), listed(GROUPS[0], total=2), listed(GROUPS[1], total=2)],
        {"RESOURCES": [{key.upper(): value for key, value in okta().items()}, *GROUPS]},
        [listed(okta(active="True")), listed(*GROUPS), listed(total=2)],
    ],
    ids=["lists", "object", "array", "lines", "pages", "case", "entra"],
)
def test_scim_in_every_wrapping(value: object) -> None:
    assert from_scim(value) == {ADA.id: ADA}


def test_entra_switches_off_with_a_text() -> None:
    assert not from_scim([okta(active="False")])[ADA.id].active


def test_subjects_of_tokens_come_from_ids() -> None:
    rules = changed(SCIM_RULES, names=("subject:https://idp.example.com|{externalId}",), ids=("externalId",))
    assert from_scim([okta()], rules)["00u1ABC"].names == ("subject:https://idp.example.com|00u1ABC",)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"{", "is not JSON"),
        (b'{"schemas":["other"]}\n{', "is not JSON on one line"),
        (listed(okta(), total=2), "holds 1 of 2 resources"),
        ([okta(id="")], "a user has no id"),
        ([group("", "x")], "a group has no id"),
        ([okta(active=1)], "active is neither"),
        ([{"id": "1"}], "neither schemas nor userName"),
        ([7], "no resource here"),
        ([okta(userName="")], "has none of username"),
        ([okta(), okta(id="2")], "is that of"),
        ([[[[[[okta()]]]]]], "nested too deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_in_scim_is_told(value: object, said: str) -> None:
    with pytest.raises(OperatorError, match=said) as caught:
        from_scim(value)
    assert caught.value.where.startswith("scim.json")
    assert caught.value.todo


def test_files_of_one_export_are_read_together() -> None:
    users = scim.gather(Path("users.json"), json.dumps(listed(okta())).encode())
    groups = scim.gather(Path("groups.json"), json.dumps(listed(*GROUPS)).encode())
    assert people_of(Gathered() + users + groups, SCIM_RULES).people == (ADA,)


@pytest.mark.parametrize("template", ["email:", "email:{a}{b}", "{mail}", "mail"])
def test_a_template_has_a_kind_and_one_hole(template: str) -> None:
    with pytest.raises(OperatorError, match="is not kind:text"):
        from_ldif(PERSON, changed(LDIF_RULES, names=(template,)))


# -- our own shape -------------------------------------------------------------------------------------

OURS = """\
version: 1
tenants:
  - {id: acme, title: Acme Ltd, attributes: {region: eu}, active: false}
people:
  - id: ada
    tenant: acme
    roles: [developer]
    attributes: {department: research}
    names: ["email:Ada@example.com"]
  - id: bob
    active: false
"""


def test_our_own_shape_and_back() -> None:
    read = plain.read(Path("p.yaml"), OURS.encode())
    assert read.tenants == (Tenant("acme", "Acme Ltd", (("region", "eu"),), active=False),)
    assert read.people == (
        Person("ada", "acme", ("developer",), (("department", "research"),), ("email:ada@example.com",)),
        Person("bob", active=False),
    )
    again = json.dumps(plain.write(read.people, read.tenants)).encode()
    assert plain.read(Path("p.json"), again) == read


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("version: 2\n", "p.yaml:1:1", "version is not 1"),
        ("version: 1\npeople:\n  - id: 7\n", "p.yaml:3:5", "id is no text"),
        ("version: 1\npeople:\n  - id: a\n    role: [x]\n", "p.yaml:4:5", "role is no known key"),
        ("version: 1\npeople:\n  - id: a\n  - id: a\n", "p.yaml:4:5", "is that of p.yaml:3:5 too"),
        ("version: 1\npeople:\n  - id: a\n    names: [ada]\n", "p.yaml:3:5", "is not kind:value"),
        ("version: 1\npeople:\n  - id: a\n    active: nein\n", "p.yaml:4:5", "neither true nor false"),
        ("version: 1\npeople:\n  - id: a\n    attributes: {x: 1}\n", "p.yaml:4:18", "attribute is no text"),
        ("version: 1\npeople: {}\n", "p.yaml:2:1", "people is no list"),
        ("- 1\n", "p.yaml:1:1", "is no mapping"),
    ],
    ids=lambda value: value if "\n" not in value else "",
)
def test_what_is_wrong_in_our_shape_is_told_with_its_place(text: str, where: str, said: str) -> None:
    with pytest.raises(OperatorError) as caught:
        plain.read(Path("p.yaml"), text.encode())
    assert said in caught.value.what
    assert caught.value.where == where

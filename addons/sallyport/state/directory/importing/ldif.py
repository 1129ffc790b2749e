"""LDIF (RFC 2849) as ldapsearch, slapcat, ldifde and Active Directory write it: entries, not changes.

An export that is not whole is refused: whoever is missing in it would lose what an earlier one gave.
"""

import base64
import binascii
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.state.directory.importing.gathered import Account, Gathered, Group
from sallyport.state.directory.people import shown

PEOPLE = frozenset({"person", "organizationalperson", "inetorgperson", "user", "posixaccount", "account"})
GROUPS = frozenset({"group", "groupofnames", "groupofuniquenames", "posixgroup", "groupofmembers"})
MACHINES = frozenset({"computer", "msds-groupmanagedserviceaccount"})

_MEMBERS = ("member", "uniquemember", "memberuid")
_AD_DISABLED = 0x2
_AD_NEVER = (0, 0x7FFFFFFFFFFFFFFF)
_AD_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_ATTRIBUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(;[A-Za-z0-9;=-]+)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a file. values: by lower-case attribute with its options; a value not UTF-8 is absent."""

    where: str
    dn: str
    values: dict[str, tuple[str, ...]]


def gather(path: Path, data: bytes, now: datetime) -> Gathered:
    """Return the accounts and groups of an LDIF file. now: accounts that expired before it are not active.

    Raises OperatorError.
    """
    accounts: list[Account] = []
    groups: list[Group] = []
    skipped = 0
    for entry in entries(str(path), _text(path, data)):
        kinds = {kind.lower() for kind in entry.values.get("objectclass", ())}
        if kinds & GROUPS:
            groups.append(_group(entry))
        elif kinds & PEOPLE and not kinds & MACHINES:
            accounts.append(_account(entry, now))
        elif not kinds:
            raise OperatorError(
                entry.where,
                f"{shown(entry.dn)} has no objectClass, so it may be anything",
                "Export objectClass with the rest.",
            )
        else:
            skipped += 1
    return Gathered(tuple(accounts), tuple(groups), skipped)


def normal_dn(dn: str) -> str:
    """Return a distinguished name as it is compared: lower case, no blanks around its commas and signs."""
    return re.sub(r"\s*(?<!\\)([,=+])\s*", r"\1", dn.strip()).lower()


def entries(name: str, text: str) -> Iterator[Entry]:
    """Yield the entries of LDIF text. Raises OperatorError."""
    record: list[tuple[int, str]] = []
    for number, line in _logical(name, text):
        if line:
            record.append((number, line))
        elif record:
            if (entry := _entry(name, record)) is not None:
                yield entry
            record = []
    if record and (entry := _entry(name, record)) is not None:
        yield entry


def _text(path: Path, data: bytes) -> str:
    # UTF-16 is what ldifde -u and a PowerShell redirection write.
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise OperatorError(
            f"{path}:{line}", f"is not {encoding.removesuffix('-sig').upper()} text", "Export it as UTF-8."
        ) from None


def _logical(name: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield unfolded lines without comments, each with the number of its first; "" ends a record."""
    number, begun, parts = 0, 0, list[str]()
    for raw in text.split("\n"):
        number += 1
        line = raw.removesuffix("\r")
        if line.startswith(" "):
            if not parts:
                raise OperatorError(
                    f"{name}:{number}", "a folded line continues nothing", "Export the file again, whole."
                )
            parts.append(line[1:])
            continue
        if parts and not parts[0].startswith("#"):
            yield begun, "".join(parts)
        begun, parts = number, [line]
        if not line:
            yield number, ""
            parts = []
    if parts and not parts[0].startswith("#"):
        yield begun, "".join(parts)


def _entry(name: str, record: list[tuple[int, str]]) -> Entry | None:
    """Return the entry of a record; None for `version: 1` and for what ldapsearch writes after the last."""
    where = f"{name}:{record[0][0]}"
    pairs = [(number, *_pair(f"{name}:{number}", line)) for number, line in record]
    if pairs[0][1] == "version":
        pairs = pairs[1:]
    if not pairs:
        return None
    if pairs[0][1] != "dn":
        _check_trailer(name, pairs)
        return None
    where = f"{name}:{pairs[0][0]}"
    dn = pairs[0][2]
    if dn is None:
        raise OperatorError(where, "the dn is not UTF-8 text", "Export the file again.")
    values: dict[str, list[str]] = {}
    for number, attribute, value in pairs[1:]:
        if attribute == "changetype":
            raise OperatorError(
                f"{name}:{number}", "it is a list of changes, not of entries", "Export entries."
            )
        if attribute == "dn":
            raise OperatorError(
                f"{name}:{number}", "an entry begins inside another", "Put an empty line between entries."
            )
        base, _, options = attribute.partition(";")
        if options.startswith("range=") and base in _MEMBERS:
            raise OperatorError(
                f"{name}:{number}",
                f"the group {shown(dn)} is cut off by the server: it wrote only a range of its members",
                "Export memberOf of the people and leave member out, or export all ranges.",
            )
        if value is not None:
            values.setdefault(attribute, []).append(value)
    return Entry(where, dn, {key: tuple(many) for key, many in values.items()})


def _check_trailer(name: str, pairs: list[tuple[int, str, str | None]]) -> None:
    known = {
        "search",
        "result",
        "ref",
        "control",
        "matcheddn",
        "text",
        "numresponses",
        "numentries",
        "numreferences",
    }
    for number, attribute, value in pairs:
        if attribute not in known:
            raise OperatorError(
                f"{name}:{number}", "an entry begins without dn", "Export the file again, whole."
            )
        if attribute == "result" and (value or "").split(" ")[0] != "0":
            raise OperatorError(
                f"{name}:{number}",
                f"the search did not end well ({shown(value or '')}), so entries are missing",
                "Export again with paging: ldapsearch -E pr=1000/noprompt.",
            )


def _pair(where: str, line: str) -> tuple[str, str | None]:
    """Return attribute and value of a line; the value is None where it is not UTF-8 text."""
    attribute, colon, rest = line.partition(":")
    if not colon or _ATTRIBUTE.fullmatch(attribute) is None:
        raise OperatorError(
            where, "a line is not `attribute: value`", "Export it as LDIF, and do not edit its lines."
        )
    attribute = attribute.lower()
    if rest.startswith("<"):
        raise OperatorError(where, f"{attribute} points to a file or an address", "Export the value itself.")
    if not rest.startswith(":"):
        return attribute, rest.strip(" ")
    try:
        data = base64.b64decode(rest[1:].strip(" "), validate=True)
    except (binascii.Error, ValueError):
        raise OperatorError(where, f"{attribute} is not base64", "Export the file again.") from None
    if attribute == "objectguid" and len(data) == 16:
        return attribute, str(uuid.UUID(bytes_le=data))
    try:
        return attribute, data.decode("utf-8")
    except UnicodeDecodeError:
        return attribute, None


def _account(entry: Entry, now: datetime) -> Account:
    groups = tuple(normal_dn(group) for group in entry.values.get("memberof", ()))
    values = {**entry.values, "dn": (entry.dn,)}
    return Account(entry.where, normal_dn(entry.dn), values, groups, _is_active(entry, now))


def _group(entry: Entry) -> Group:
    members: list[str] = []
    for attribute in _MEMBERS:
        for member in entry.values.get(attribute, ()):
            members.append(f"uid:{member.lower()}" if attribute == "memberuid" else normal_dn(member))
    called = entry.values.get("cn", ())
    name = called[0] if called else entry.dn.partition(",")[0].partition("=")[2]
    above = tuple(normal_dn(group) for group in entry.values.get("memberof", ()))
    return Group(entry.where, normal_dn(entry.dn), name, tuple(members), above)


def _is_active(entry: Entry, now: datetime) -> bool:
    """Say whether an account may be used, as Active Directory, OpenLDAP and 389 Directory Server write it."""
    values = entry.values
    if int(_number(entry, "useraccountcontrol")) & _AD_DISABLED:
        return False
    expires = _number(entry, "accountexpires")
    if expires not in _AD_NEVER and _AD_EPOCH + timedelta(microseconds=min(expires // 10, 10**17)) <= now:
        return False
    if values.get("pwdaccountlockedtime", ("",))[0].startswith("000001010000"):
        return False
    return values.get("nsaccountlock", ("",))[0].lower() != "true"


def _number(entry: Entry, attribute: str) -> int:
    text = entry.values.get(attribute, ("0",))[0]
    if re.fullmatch(r"-?[0-9]{1,20}", text) is None:
        raise OperatorError(entry.where, f"{attribute} is no number", "Export the file again.")
    return int(text)

"""Holding a network to the company's own accounts: vendors' headers, their hosts, and the policy's values.

The catalogue (rules/providers/_restrictions.yaml) knows names, hosts and spellings; a policy gives values.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, RootModel, model_validator

from sallyport.errors import OperatorError
from sallyport.policy.hosts import HostMap
from sallyport.policy.problems import Wrong, choices, nearest
from sallyport.policy.vocabulary import Header, HostPattern, Id, Name, Section

Values = tuple[Annotated[str, Field(min_length=1, max_length=512)], ...]


class RestrictionEntry(Section):
    """One vendor header, as the catalogue knows it."""

    id: Id = Field(description="Its name in a policy.")
    title: Name = Field(description="What it does.")
    header: Header = Field(description="The header.")
    form: Literal["list", "one", "google_resources"] = Field(description="How values are written into it.")
    value: Name = Field(description="Pattern (RE2) that each value must match whole.")
    hosts: tuple[HostPattern, ...] = Field(min_length=1, description="Hosts it is sent to.")
    max_values: int = Field(default=100, ge=1, le=1000, description="Most values it takes.")
    removes: tuple[Header, ...] = Field(default=(), description="Headers that must not go with it.")
    needs: tuple[Id, ...] = Field(default=(), description="Others without which it has no effect.")
    excludes: tuple[Id, ...] = Field(default=(), description="Others that cannot be set beside it.")
    sources: tuple[Name, ...] = Field(default=(), description="Where the facts come from.")

    def written(self, values: Sequence[str]) -> str:
        """Return the header's value."""
        if self.form == "google_resources":
            plain = json.dumps({"resources": list(values), "options": "strict"}, separators=(",", ":"))
            return base64.urlsafe_b64encode(plain.encode()).decode()
        return ",".join(values)


class RestrictionFile(Section):
    """All that the catalogue knows."""

    restrictions: tuple[RestrictionEntry, ...] = Field(description="All of them.")


class Restrictions(RootModel[Mapping[Id, Values]]):
    """Values by the name of a restriction; docs/restrictions.md lists the names."""

    model_config = {"frozen": True, "hide_input_in_errors": True}
    root: Mapping[Id, Values] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_values(self) -> "Restrictions":
        for name, values in self.root.items():
            if not values:
                raise Wrong("a restriction without values", "Give at least one, or leave it out", (name,))
        return self


@dataclass(frozen=True, slots=True)
class _Header:
    name: bytes
    value: bytes
    gone: frozenset[bytes]
    hosts: HostMap[bool]


class Restricted:
    """What a policy's restrictions mean for each host. hosts: patterns that must be intercepted for them."""

    def __init__(self, entries: Iterable[RestrictionEntry] = (), values: Mapping[str, Values] | None = None):
        chosen = [e for e in entries if values and e.id in values]
        self.hosts = tuple(dict.fromkeys(host for e in chosen for host in e.hosts))
        self._headers = tuple(_header(e, (values or {})[e.id]) for e in chosen)
        self._of = lru_cache(1024)(self._find)

    def __bool__(self) -> bool:
        return bool(self._headers)

    def concerns(self, host: str) -> bool:
        """Say whether a header must be set on what goes to a normalised host name."""
        return bool(self._headers) and bool(self._of(host))

    def apply(self, host: str, fields: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
        """Return header lines with the restrictions of a host in place of whatever the client sent."""
        headers = self._of(host) if self._headers else ()
        if not headers:
            return fields
        gone = frozenset[bytes]().union(*(h.gone for h in headers))
        # Behind some servers the two spellings are one header.
        kept = (field for field in fields if field[0].lower().replace(b"_", b"-") not in gone)
        return (*kept, *((h.name, h.value) for h in headers))

    def _find(self, host: str) -> tuple[_Header, ...]:
        return tuple(header for header in self._headers if header.hosts.get(host))


def restricted(entries: Sequence[RestrictionEntry], policy: Restrictions) -> Restricted:
    """Return a policy's restrictions. Raises OperatorError for a name or a value that is none."""
    known = {entry.id: entry for entry in entries}
    for name, values in policy.root.items():
        entry, where = known.get(name), f"restrictions.{name}"
        if entry is None:
            near = nearest(name, known)
            todo = f"Did you mean `{near}`?" if near else f"Use {choices(known)}."
            raise OperatorError(where, "there is no such restriction", todo)
        most = 1 if entry.form == "one" else entry.max_values
        if len(values) > most:
            raise OperatorError(
                where, f"it takes {most} value(s) and there are {len(values)}", "Leave some out."
            )
        for place, value in enumerate(values):
            if not re.fullmatch(entry.value, value):
                what = "the value is not spelt as this vendor wants it"
                raise OperatorError(f"{where}[{place}]", what, f"It must match {entry.value}")
        for other in entry.needs:
            if other not in policy.root:
                raise OperatorError(where, f"it has no effect without {other}", f"Set {other} too.")
        for other in entry.excludes:
            if other in policy.root:
                raise OperatorError(where, f"it cannot be set beside {other}", "Keep one of the two.")
    return Restricted(entries, policy.root)


def _header(entry: RestrictionEntry, values: Values) -> _Header:
    gone = frozenset(name.lower().encode() for name in (entry.header, *entry.removes))
    hosts = HostMap((host, True) for host in entry.hosts)
    return _Header(entry.header.encode(), entry.written(values).encode(), gone, hosts)

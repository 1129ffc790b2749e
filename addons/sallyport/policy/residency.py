"""The parts of the access section that speak of people and data: purpose, classes, residency, networks."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Self

from pydantic import Field, IPvAnyNetwork, model_validator

from sallyport.decision import Finding, Kind, Severity
from sallyport.policy.globs import Globs
from sallyport.policy.hosts import HostMap
from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Header, HostPattern, Id, Name, Region, RuleGlob, Section

EntityGlob = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Z*?][A-Z0-9_*?]*$")]
RegionGlob = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9*?][a-z0-9*?-]*$")]
_SEVERITIES = tuple(Severity)


class Purpose(Section):
    """What a call is for, as the caller states it in a header that never leaves."""

    header: Header = Field(description="Header that holds the tag, for example `X-AI-Purpose`.")
    allow: tuple[Id, ...] = Field(min_length=1, description="The purposes there are; any other is refused.")
    required: bool = Field(default=True, description="Whether a call without a purpose is refused.")


class Consents(Section):
    """What the people concerned agreed to, as the caller states it in a header that never leaves."""

    header: Header = Field(description="Header that holds the tags, separated by commas.")
    allow: tuple[Id, ...] = Field(min_length=1, description="The consents there are; any other is refused.")
    required: tuple[Id, ...] = Field(default=(), description="Consents that every call must state.")

    @model_validator(mode="after")
    def _required_are_known(self) -> Self:
        for index, tag in enumerate(self.required):
            if tag not in self.allow:
                raise Wrong(
                    "this consent is not among those there are", "Add it to `allow`", ("required", index)
                )
        return self


class Sign(Section):
    """A finding that makes a request part of a class of data: all that is said here must fit."""

    kind: Kind | None = Field(default=None, description="Kind of finding; null takes any.")
    entities: tuple[EntityGlob, ...] = Field(
        default=("*",), min_length=1, description="Entities or globs of them."
    )
    rules: tuple[RuleGlob, ...] | None = Field(default=None, description="Rule ids or globs; null takes any.")
    min_severity: Severity = Field(default=Severity.LOW, description="Findings below this do not count.")
    min_score: float = Field(
        default=0.5, ge=0, le=1, description="Findings less sure than this do not count."
    )

    @cached_property
    def _entities(self) -> Globs:
        return Globs(self.entities)

    @cached_property
    def _rules(self) -> Globs:
        return Globs(self.rules or ("*",))

    def fits(self, finding: Finding) -> bool:
        return (
            (self.kind is None or finding.kind is self.kind)
            and finding.score >= self.min_score
            and _SEVERITIES.index(finding.severity) >= _SEVERITIES.index(self.min_severity)
            and finding.entity in self._entities
            and finding.rule in self._rules
        )


class DataClass(Section):
    """A class of data: what of detection's findings belongs to it."""

    name: Id = Field(description="Name in `data.classes`, in rules and in residency.")
    any: tuple[Sign, ...] = Field(min_length=1, description="Findings of which one is enough.")
    at_least: int = Field(default=1, ge=1, le=10_000, description="How many findings that fit it takes.")

    def holds(self, findings: Iterable[Finding]) -> bool:
        fitting = 0
        for finding in findings:
            if any(sign.fits(finding) for sign in self.any):
                fitting += 1
                if fitting >= self.at_least:
                    return True
        return False


class ResidencyRule(Section):
    """Where the calls of some may be processed: all that fit a call must allow its region."""

    tenants: tuple[Name, ...] | None = Field(default=None, description="Tenants it binds; null binds all.")
    data_classes: tuple[Id, ...] | None = Field(
        default=None, description="Classes of data it binds, one is enough; null binds every call."
    )
    regions: tuple[RegionGlob, ...] = Field(
        min_length=1,
        description="Regions or globs that may be reached: `eu`, `eu-*`, `europe-*`, `westeurope`.",
    )

    @cached_property
    def _regions(self) -> Globs:
        return Globs(self.regions)

    def refuses(self, tenant: str, classes: Sequence[str], region: str) -> bool:
        """Say whether a call may not go to a region; an unknown one ("") is never allowed."""
        bound = self.tenants is None or tenant.lower() in map(str.lower, self.tenants)
        if self.data_classes is not None:
            bound = bound and any(name in classes for name in self.data_classes)
        return bound and (not region or region not in self._regions)


class Residency(Section):
    """Which regions tenants and classes of data may reach. A call of unknown region is refused where it is bound."""

    hosts: Mapping[HostPattern, Region] = Field(
        default_factory=dict,
        description="Regions of hosts whose names do not tell, before what the catalogue says: resources of Azure.",
    )
    rules: tuple[ResidencyRule, ...] = Field(default=(), description="Who or what is bound to which regions.")

    @cached_property
    def _hosts(self) -> HostMap[str]:
        return HostMap(self.hosts.items())

    def region(self, host: str) -> str:
        """Return the region that is said of a host, "" where none is."""
        return self._hosts.get(host) or ""

    @model_validator(mode="after")
    def _no_host_twice(self) -> Self:
        _ = self._hosts
        return self

    @property
    def reads_classes(self) -> bool:
        return any(rule.data_classes is not None for rule in self.rules)


class Network(Section):
    """A named set of client addresses."""

    name: Id = Field(description="Name in `networks` of rules and in `client.networks`.")
    cidrs: tuple[IPvAnyNetwork, ...] = Field(min_length=1, description="Address ranges that belong to it.")

    def holds(self, address: IPv4Address | IPv6Address) -> bool:
        nets: tuple[IPv4Network | IPv6Network, ...] = self.cidrs
        return any(address in net for net in nets if net.version == address.version)


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address without zone, an IPv4 one out of its IPv6 spelling; None for anything else."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found

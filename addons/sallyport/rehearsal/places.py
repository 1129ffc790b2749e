"""Where in the files the word stands that made a decision."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sallyport.decision import Decision
from sallyport.policy.sections import Policy
from sallyport.policy.source import At, Plain, Source, dotted, read_source

_ACCESS: Mapping[str, At] = {
    "default": ("access", "default"),
    "permitted": ("access", "default"),
    "opaque": ("access", "unknown_endpoint"),
    "unknown_endpoint": ("access", "unknown_endpoint"),
    "operation": ("access", "operations"),
    "preflight": ("access", "operations"),
    "endpoint": ("access", "endpoints"),
    "attachment": ("access", "attachments"),
    "attachment_size": ("access", "attachments"),
    "kept": ("access", "kept"),
    "model": ("access", "models"),
    "function_tool": ("access", "tools", "functions"),
    "hosted_tool": ("access", "tools", "hosted"),
    "mcp_server": ("access", "tools", "mcp_servers"),
    "parameters": ("access", "parameters"),
    "purpose": ("access", "purpose"),
    "consent": ("access", "consents"),
    "residency": ("access", "residency"),
}
_OTHERS: Mapping[str, At] = {
    "identity.unknown": ("identity", "unknown"),
    "identity.anonymous": ("identity", "unknown"),
    "identity.required": ("identity", "require"),
    "identity.conflict": ("identity", "conflicts"),
    "identity.conflict_strongest": ("identity", "conflicts"),
    "limits.ceiling": ("limits", "ceilings"),
    "limits.no_price": ("prices",),
    "secrets.found": ("secrets", "action"),
    "secrets.masked": ("secrets", "action"),
    "injection.found": ("injection", "threshold"),
}
_KEYS = re.compile(r"identity\.key_(known|unknown|unclaimed|personal|not_brokered)")


@dataclass(frozen=True, slots=True)
class Place:
    """where: file:line:column. key: dotted path in that file. written: False where a default spoke."""

    where: str
    key: str
    written: bool = True


@dataclass(frozen=True, slots=True)
class Places:
    """The files of a policy, the company's and by tenant."""

    company: Source
    tenants: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, policy: Policy, source: Source | None = None) -> Self:
        """Read where everything stands. source: as load_policy takes it. Raises PolicyError."""
        theirs = {
            tenant: read_source(policy.beside(name), str(path.parent / name))
            for tenant, name in policy.tenants.files.items()
        }
        return cls(read_source(path) if source is None else source, theirs)

    def of(self, decision: Decision, tenant: str = "", *, by_tenant: bool = False) -> Place:
        """Return where the word stands by which a stage decided.

        tenant: the principal's; keys that its own file writes stand there. by_tenant: it was the tenant's
        access section that decided.
        """
        own = self.tenants.get(tenant)
        stage, _, rest = decision.reason.partition(":")[0].partition(".")
        if stage in ("access", "limits") and (found := self.rule(stage, rest)) is not None:
            return found
        if stage == "access":
            return self._at(own if own is not None and by_tenant else self.company, _access(rest))
        if stage == "masking" and decision.findings:
            at: At = ("masking", "entities", decision.findings[0].entity)
            return self._first((at, ("masking", "unlisted")), own)
        if _KEYS.fullmatch(decision.reason):
            return self._at(self.company, ("identity", "key_rules"))
        return self._first((_OTHERS.get(decision.reason, (stage,)),), own)

    def _first(self, listed: tuple[At, ...], own: Source | None) -> Place:
        """Return the first of these keys that a file has, the tenant's before the company's."""
        for at in listed:
            for source in (own, self.company):
                if source is not None and at in source.places:
                    return self._at(source, at)
        return self._at(self.company, listed[-1])

    def rule(self, section: str, id: str) -> Place | None:
        """Return where a rule of access or limits stands; a tenant's goes by `TENANT.ID`."""
        found = _rule_in(self.company, section, id)
        if found is not None:
            return self._at(self.company, found)
        for tenant, source in self.tenants.items():
            if id.startswith(f"{tenant}.") and (at := _rule_in(source, section, id[len(tenant) + 1 :])):
                return self._at(source, at)
        return None

    @staticmethod
    def _at(source: Source, at: At) -> Place:
        return Place(source.where(at), dotted(at), at in source.places)


def _access(reason: str) -> At:
    if reason.startswith("parameter."):
        return ("access", "parameters", reason.removeprefix("parameter."))
    return _ACCESS.get(reason, ("access",))


def _rule_in(source: Source, section: str, id: str) -> At | None:
    found: Plain = source.data
    for key in (section, "rules"):
        found = found.get(key) if isinstance(found, dict) else None
    for index, rule in enumerate(found if isinstance(found, list) else ()):
        if isinstance(rule, dict) and rule.get("id") == id:
            return (section, "rules", index)
    return None

"""Names in a policy that nothing in it knows: misspelt roles, providers, tenants; definitions that no rule uses.

And conditions that look at fewer models than may answer. What may come from elsewhere (roles from the directory, a
token or a header) is only doubted, never an error.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from sallyport.policy.access import Access
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.catalogue import Catalogue
from sallyport.policy.condition import Condition
from sallyport.policy.globs import Globs
from sallyport.policy.identity import KeyOwner, NetworkOwner
from sallyport.policy.layering import TenantFile
from sallyport.policy.problems import nearest
from sallyport.policy.sections import Policy
from sallyport.policy.source import At, Source, dotted
from sallyport.policy.states import Canary, StageSection

_QUOTED = r"""(?:'([^'\\\n]*)'|"([^"\\\n]*)")"""
_IN_LIST = re.compile(
    rf"{_QUOTED}\s+in\s+(principal\.roles|client\.networks|data\.classes|request\.consents)(?![\w.])"
)
_COMPARED = re.compile(rf"(?<![\w.])(request\.(?:provider|purpose)|principal\.tenant)\s*[!=]=\s*{_QUOTED}")
_KIND = {
    "principal.roles": "role",
    "client.networks": "network",
    "data.classes": "data class",
    "request.consents": "consent",
    "request.provider": "provider",
    "request.purpose": "purpose",
    "principal.tenant": "tenant",
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """A name that is probably not meant so. where: file:line:column; key: dotted path; says: one sentence."""

    where: str
    key: str
    says: str

    def __str__(self) -> str:
        return f"{self.where}: note: {self.key}: {self.says}"


@dataclass(frozen=True, slots=True)
class _Named:
    """A name where it is used. kind: role, network, tenant, ..."""

    at: At
    kind: str
    name: str


def doubts(policy: Policy, catalogue: Catalogue, source: Source) -> Iterator[Doubt]:
    """Yield what is doubtful in a company's policy. source: its file."""
    known = _known(policy, policy.access, catalogue)
    used = [*_in_access(policy.access), *_in_limits(policy), *_in_canary(policy.canary, ("canary",))]
    for name in ("secrets", "masking", "injection", "output", "limits"):
        section: StageSection = getattr(policy, name)
        used += _in_canary(section.canary, (name, "canary"))
    yield from _unknown(used, known, _open(policy), source)
    yield from _unused(policy.access, used, source)


def tenant_doubts(policy: Policy, own: Access, catalogue: Catalogue, source: Source) -> Iterator[Doubt]:
    """Yield what is doubtful in the access section of a tenant's file. policy: the company's."""
    used = list(_in_access(own))
    yield from _unknown(used, _known(policy, own, catalogue), _open(policy), source)
    yield from _unused(own, used, source)


def parameter_doubts(
    access: Access, known: frozenset[str], aliases: Mapping[str, str], source: Source
) -> Iterator[Doubt]:
    """Yield settings of requests that go by no normal name.

    A provider may have one of its own by that name, so it is no error. known: normal names; aliases: those of
    providers -> normal ones.
    """
    for name in access.parameters:
        if name in known:
            continue
        at: At = ("access", "parameters", name)
        if name in aliases:
            says = f"this is a provider's name of `{aliases[name]}`, and no request has it; write `{aliases[name]}`."
        else:
            near = nearest(name, known)
            cure = (
                f"did you mean `{near}`?" if near else "it counts only where a provider has one of this name."
            )
            says = f"no setting is known by this name; {cure}"
        yield Doubt(source.where(at), dotted(at), says)


def credential_doubts(policy: Policy, known: frozenset[str], source: Source) -> Iterator[Doubt]:
    """Yield credentials that signing rules name and the directory has not. known: names of those it has."""
    for index, rule in enumerate(policy.signing.rules):
        if rule.credential not in known:
            at: At = ("signing", "rules", index, "credential")
            near = nearest(rule.credential, known)
            cure = f"did you mean `{near}`?" if near else "add it: sallyport credentials add."
            yield Doubt(source.where(at), dotted(at), f"the directory has no credential of this name; {cure}")


def model_doubts(file: Policy | TenantFile, source: Source) -> Iterator[Doubt]:
    """Yield the conditions of a company's or tenant's file that look at the named model alone."""
    for at, condition in _conditions(file, ()):
        alone = condition.reads("request.model") and not condition.reads("request.models")
        if alone and at in source.places:
            says = (
                "`request.model` is the named model alone, as the client spells it, and a request can name others that "
                "answer in its place; `request.models` has all of them, in lower case."
            )
            yield Doubt(source.where(at), dotted(at), says)


def _conditions(of: object, at: At) -> Iterator[tuple[At, Condition]]:
    """Yield every condition that is written in a section, however deep, with its place."""
    if isinstance(of, Condition):
        yield at, of
    elif isinstance(of, BaseModel):
        for name in type(of).model_fields:
            yield from _conditions(getattr(of, name), (*at, name))
    elif isinstance(of, tuple):
        for index, each in enumerate(of):
            yield from _conditions(each, (*at, index))


def unseen(policy: Policy, source: Source) -> Iterator[Doubt]:
    """Yield what only a gateway that starts can find out: keys at an address, an engine that must load."""
    for index, issuer in enumerate(policy.identity.tokens):
        if issuer.keys.url is not None:
            at: At = ("identity", "tokens", index, "keys", "url")
            says = "not asked for keys here; the gateway asks when it starts, and starts without them."
            yield Doubt(source.where(at), dotted(at), says)
    if policy.uses_names and policy.detection.ner.engine != "builtin":
        at = ("detection", "ner", "engine")
        yield Doubt(
            source.where(at), dotted(at), "it is there, and was not loaded here; the gateway loads it."
        )


def _known(policy: Policy, access: Access, catalogue: Catalogue) -> Mapping[str, frozenset[str]]:
    """Return by kind the names that are defined; of roles and tenants those that the files speak of."""
    identity = policy.identity
    owners: tuple[KeyOwner | NetworkOwner, ...] = (*identity.keys, *identity.networks)
    certified, proxied = identity.certificate_owners, identity.proxy_users
    roles = [role for owner in owners for role in owner.roles]
    roles += (*certified.roles, *proxied.roles)
    tenants = {"default", *policy.tenants.files, *(owner.tenant for owner in owners)}
    tenants |= {tenant for tenant in (certified.tenant, proxied.tenant) if tenant}
    for issuer in identity.tokens:
        roles += issuer.roles
        tenants |= {issuer.tenant} if issuer.tenant else set()
        if issuer.groups is not None:
            roles += [role for listed in issuer.groups.roles.values() for role in listed]
    return {
        "role": frozenset(roles),
        "tenant": frozenset(tenants),
        "network": frozenset(network.name for network in access.networks),
        "data class": frozenset(each.name for each in access.data_classes),
        "purpose": frozenset(access.purpose.allow if access.purpose is not None else ()),
        "consent": frozenset(access.consents.allow if access.consents is not None else ()),
        "provider": frozenset(provider.name for provider in catalogue),
    }


def _open(policy: Policy) -> frozenset[str]:
    """Return the kinds of names that callers' proofs bring, so that no file can list them."""
    header, tokens = policy.identity.header, policy.identity.tokens
    found = set()
    if header is not None and header.roles_header is not None:
        found.add("role")
    if (header is not None and header.tenant_header is not None) or any(t.claims.tenant for t in tokens):
        found.add("tenant")
    return frozenset(found)


_ELSEWHERE = frozenset(("role", "tenant"))
"""Kinds of names that the directory may give."""


def _unknown(
    used: list[_Named], known: Mapping[str, frozenset[str]], opened: frozenset[str], source: Source
) -> Iterator[Doubt]:
    told: set[tuple[str, str]] = set()
    for each in used:
        names = known[each.kind]
        is_glob = any(c in each.name for c in "*?[")
        fits = any(name in Globs((each.name,)) for name in names) if is_glob else each.name in names
        if fits or (each.kind, each.name) in told:
            continue
        told.add((each.kind, each.name))
        near = nearest(each.name, names)
        elsewhere = each.kind in _ELSEWHERE
        if near is None and (each.kind in opened or (elsewhere and is_glob)):
            continue
        cure = f"did you mean `{near}`?" if near else "the directory has to." if elsewhere else "define it."
        says = f"nothing here gives the {each.kind} {each.name}; {cure}"
        yield Doubt(source.where(each.at), dotted(each.at), says)


def _unused(access: Access, used: list[_Named], source: Source) -> Iterator[Doubt]:
    spoken = {(each.kind, each.name) for each in used}
    for key, kind, names in (
        ("networks", "network", [n.name for n in access.networks]),
        ("data_classes", "data class", [c.name for c in access.data_classes]),
    ):
        read = "client.networks" if kind == "network" else "data.classes"
        if any(rule.when is not None and rule.when.reads(read) for rule in access.rules):
            continue  # a condition may look at all of them
        for index, name in enumerate(names):
            if (kind, name) not in spoken:
                at: At = ("access", key, index)
                yield Doubt(source.where(at), dotted(at), f"no rule uses this {kind} ({name}).")


_LISTS: Mapping[str, str] = {
    "roles": "role",
    "tenants": "tenant",
    "networks": "network",
    "data_classes": "data class",
    "purposes": "purpose",
    "providers": "provider",
}


def _in_access(access: Access) -> Iterator[_Named]:
    for index, rule in enumerate(access.rules):
        yield from _in_rule(rule, ("access", "rules", index))
        yield from _in_canary(rule.canary, ("access", "rules", index, "canary"))
    yield from _in_canary(access.canary, ("access", "canary"))
    for index, bound in enumerate(access.residency.rules):
        at: At = ("access", "residency", "rules", index)
        for key in ("tenants", "data_classes"):
            for place, name in enumerate(getattr(bound, key) or ()):
                yield _Named((*at, key, place), _LISTS[key], name)


def _in_canary(canary: Canary | None, at: At) -> Iterator[_Named]:
    for key in ("roles", "tenants") if canary is not None else ():
        for place, name in enumerate(getattr(canary, key) or ()):
            yield _Named((*at, key, place), _LISTS[key], name)


def _in_rule(rule: AccessRule, at: At) -> Iterator[_Named]:
    for key, kind in _LISTS.items():
        for place, name in enumerate(getattr(rule, key) or ()):
            yield _Named((*at, key, place), kind, name)
    if rule.when is not None:
        yield from _in_condition(rule.when, (*at, "when"))


def _in_limits(policy: Policy) -> Iterator[_Named]:
    for index, limit in enumerate(policy.limits.rules):
        at: At = ("limits", "rules", index)
        for place, name in enumerate(limit.tenants or ()):
            yield _Named((*at, "tenants", place), "tenant", name)
        yield from _in_canary(limit.canary, (*at, "canary"))
        for number, tier in enumerate(limit.tiers):
            for key in ("role", "tenant"):
                said = getattr(tier, key)
                if said is not None:
                    yield _Named((*at, "tiers", number, key), key, said)
        if limit.when is not None:
            yield from _in_condition(limit.when, (*at, "when"))


def _in_condition(condition: Condition, at: At) -> Iterator[_Named]:
    for single, double, listed in _IN_LIST.findall(condition.source):
        yield _Named(at, _KIND[listed], single or double)
    for compared, single, double in _COMPARED.findall(condition.source):
        if single or double:
            yield _Named(at, _KIND[compared], single or double)

"""A tenant's own file, laid over the company's policy. What it says can only make the policy stricter.

Each section has its own sense of stricter. Access is asked twice: first the company's section, then the
tenant's, and either may refuse. Limits of a tenant stand beside the company's, for its principals alone. Of
secrets, masking and injection the keys that a tenant's file writes take the place of the company's; one that
is milder is an error with its line, unless the company lists the section in `tenants.may_loosen`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from sallyport.decision import Blocked, Mode, Severity
from sallyport.policy.access import Access
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.blocked import MILDEST_FIRST, BlockingSection
from sallyport.policy.calls import Judgement
from sallyport.policy.content import ContentSection, keeps_more, laid_over
from sallyport.policy.limits import Limit
from sallyport.policy.output import (
    SHIPPED,
    UNLISTED_ENTITIES,
    Leak,
    Output,
    OutputAction,
    OutputTools,
    Structured,
    Toxicity,
)
from sallyport.policy.problems import Problem
from sallyport.policy.sections import Injection, Masking, MaskOperator, Policy, Secrets, mode_of
from sallyport.policy.source import At, Source, dotted
from sallyport.policy.states import STRENGTH, StageSection
from sallyport.policy.vocabulary import Section


class TenantLimits(Section):
    """Limits for the principals of a tenant, beside the company's."""

    rules: tuple[Limit, ...] = Field(default=(), description="As `limits.rules`.")


class TenantFile(Section):
    """What a tenant may write. Keys that are left out are the company's."""

    version: Literal[1] = Field(description="Version of this format; 1.")
    access: Access | None = Field(default=None, description="Asked after the company's; either may refuse.")
    limits: TenantLimits | None = Field(default=None, description="Further limits.")
    secrets: Secrets | None = Field(default=None, description="Credentials in prompts.")
    masking: Masking | None = Field(default=None, description="Personal data in prompts.")
    injection: Injection | None = Field(default=None, description="Hostile instructions in prompts.")
    output: Output | None = Field(default=None, description="What may come back in answers.")
    content: ContentSection | None = Field(
        default=None, description="Texts of exchanges that are kept: less, and for a shorter time."
    )


@dataclass(frozen=True, slots=True)
class Layer:
    """What a tenant's file makes of the company's sections. access: asked after the company's, None for none."""

    access: Access | None
    limits: tuple[Limit, ...]
    sections: Mapping[str, Section]


def layer(company: Policy, tenant: str, file: TenantFile, source: Source) -> tuple[Layer, list[Problem]]:
    """Return a tenant's layer, and what is milder in it than the company allows."""
    loosened = company.tenants.may_loosen
    sections: dict[str, Section] = {}
    problems: list[Problem] = []
    for name, order in _STRICTER.items():
        theirs: StageSection | None = getattr(file, name)
        if theirs is None:
            continue
        ours: StageSection = getattr(company, name)
        if name not in loosened:
            for key in _milder(company, ours, theirs, order):
                at: At = (name, key)
                what, todo = _why(key, order)
                problems.append(Problem(source.where(at), dotted(at), what, todo))
        sections[name] = _laid_over(ours, theirs)
    if file.access is not None and "access" not in loosened:
        problems += _raised(company.access, file.access, source)
    if file.content is not None:
        for key_at in keeps_more(company.content, file.content):
            at = ("content", *key_at)
            what, todo = _KEEPS_MORE
            problems.append(Problem(source.where(at), dotted(at), what, todo))
        sections["content"] = laid_over(company.content, file.content)
    limits = () if file.limits is None else file.limits.rules
    access = None if file.access is None else _own_access(tenant, file.access)
    if access is not None and "access" in loosened:
        # Asked instead of the company's, not after it.
        sections["access"], access = access, None
    return Layer(access, tuple(_own_limit(tenant, rule) for rule in limits), sections), problems


def _raised(ours: Access, theirs: Access, source: Source) -> Iterator[Problem]:
    """Yield the settings into which a tenant's file would put what the company has not allowed.

    The company's bounds and conditions have judged the call before, and do not see what is put in later. To cap
    from above is no more than to ask for less.
    """
    for name, rule in theirs.parameters.items():
        company = ours.parameters.get(name)
        put_in = [rule.set, rule.min if rule.action == "cap" else None]
        if company is not None and rule.action == "cap":
            put_in.append(rule.max)
        if any(v is not None and (company is None or company.judge(v) is not Judgement.KEEP) for v in put_in):
            at: At = ("access", "parameters", name)
            what = "this puts a value in that the company's policy does not allow itself"
            todo = "Refuse instead of putting in, or have the company's `access.parameters` allow the value."
            yield Problem(source.where(at), dotted(at), what, todo)


def _own_access(tenant: str, access: Access) -> Access:
    rules: list[AccessRule] = [_named(tenant, rule) for rule in access.rules]
    return access.model_copy(update={"rules": tuple(rules)})


def _own_limit(tenant: str, rule: Limit) -> Limit:
    return _named(tenant, rule).model_copy(update={"tenants": (tenant,)})


def _named[Rule: (AccessRule, Limit)](tenant: str, rule: Rule) -> Rule:
    return rule.model_copy(update={"id": f"{tenant}.{rule.id}"})


def _laid_over(ours: StageSection, theirs: StageSection) -> StageSection:
    """Return the company's section with the keys that the tenant wrote."""
    written = {key: getattr(theirs, key) for key in theirs.model_fields_set}
    if "mode" in written:
        written["canary"] = theirs.canary
    if isinstance(ours, Masking) and "entities" in written:
        written["entities"] = {**ours.entities, **written["entities"]}
    if isinstance(ours, Output):
        for key in {"entities", "rules"} & written.keys():
            written[key] = {**getattr(ours, key), **written[key]}
    return ours.model_copy(update=written)


def _milder(
    company: Policy, ours: StageSection, theirs: StageSection, order: Mapping[str, "_Order"]
) -> Iterator[str]:
    for key in sorted(theirs.model_fields_set):
        if key in ("mode", "canary"):
            if key == "mode" and _does_less(company, ours, theirs):
                yield key
        elif key not in order or not order[key](getattr(ours, key), getattr(theirs, key), ours):
            yield key


def is_as_strict(name: str, key: str, old: Section, new: Section) -> bool:
    """Say whether the old value of a section's key is known to be as strict as the new one.

    Of keys that a tenant's file adds to, the orders see only what it wrote, so that they say nothing here.
    """
    order = None if key in ("entities", "rules") else _STRICTER.get(name, {}).get(key)
    return order is not None and order(getattr(new, key), getattr(old, key), new)


def _does_less(company: Policy, ours: StageSection, theirs: StageSection) -> bool:
    """Say whether a tenant's state of a section leaves a call alone that the company's enforces for."""
    before, after = mode_of(company, ours), mode_of(company, theirs)
    if before is after is Mode.CANARY:
        whole = ours.canary if ours.mode is not None else company.canary
        named = (
            ours.mode is not None or theirs.mode is None
        )  # sides of the file are other sides than of a section
        part = theirs.canary or whole
        return not named or whole is None or part is None or not part.covers(whole)
    return STRENGTH[after] < STRENGTH[before]


def _why(key: str, order: Mapping[str, "_Order"]) -> tuple[str, str]:
    if key == "mode" or key in order:
        what = "this is milder than the company's policy, and a tenant can only tighten it"
        return what, "Make it stricter, leave it out, or have the section listed in tenants.may_loosen."
    return "this is the company's to set for all tenants", "Leave it out."


_KEEPS_MORE = (
    "a tenant can only have less kept, for a shorter time and shown less easily than the company says",
    "Lower it or leave it out; or have the company's `content.rules` name the tenant.",
)

type _Order = Callable[[Any, Any, Any], bool]
"""Says whether a tenant's value is at least as strict as the company's: (company's, tenant's, company's section)."""

_OPERATORS = (
    MaskOperator.ALLOW,
    MaskOperator.PLACEHOLDER,
    MaskOperator.HASH,
    MaskOperator.REDACT,
    MaskOperator.DENY,
)
_SEVERITIES = list(Severity)


def _low(ours: float, theirs: float, _: object) -> bool:
    return theirs <= ours


def _fewer(ours: tuple[object, ...], theirs: tuple[object, ...], _: object) -> bool:
    return all(exclusion in ours for exclusion in theirs)


def _operators(_: object, theirs: Mapping[str, MaskOperator], section: Masking) -> bool:
    return all(_not_milder(section.operator(entity), operator) for entity, operator in theirs.items())


def _unlisted(ours: MaskOperator, theirs: MaskOperator, _: object) -> bool:
    return _not_milder(ours, theirs)


def _not_milder(ours: MaskOperator, theirs: MaskOperator) -> bool:
    return _OPERATORS.index(theirs) >= _OPERATORS.index(ours)


def _blocked(ours: Blocked, theirs: Blocked, _: object) -> bool:
    return MILDEST_FIRST.index(theirs) >= MILDEST_FIRST.index(ours)


def _blocked_by_rule(
    ours: Mapping[str, Blocked], theirs: Mapping[str, Blocked], section: BlockingSection
) -> bool:
    """A glob of the company's stays as strict; any other is as strict as what it stands in for."""
    kept = all(_blocked(blocked, theirs.get(glob, Blocked.EXCISE), None) for glob, blocked in ours.items())
    return kept and all(
        _blocked(section.blocked, blocked, None) for glob, blocked in theirs.items() if glob not in ours
    )


_BLOCKING: Mapping[str, _Order] = {"blocked": _blocked, "blocked_by_rule": _blocked_by_rule}


def _answered(ours: OutputAction, theirs: OutputAction, _: object = None) -> bool:
    return theirs.rank >= ours.rank


def _answered_entities(_: object, theirs: Mapping[str, OutputAction], section: Output) -> bool:
    """Say whether no entity that a tenant names gets a milder action than the company's section gives it."""
    worst = max((section.pii, section.secrets), key=lambda action: action.rank)
    ours = {**UNLISTED_ENTITIES, **section.entities}
    return all(_answered(ours.get(entity, worst), action) for entity, action in theirs.items())


def _answered_rules(_: object, theirs: Mapping[str, OutputAction], section: Output) -> bool:
    """Say whether no glob of a tenant is milder than anything the company says of rules.

    Which rules a glob names changes with the packs, so that each action is held against the strictest there is.
    """
    said = {**SHIPPED, **section.rules}
    strictest = max((*section.actions, *SHIPPED.values()), key=lambda action: action.rank)
    return all(_answered(said.get(glob, strictest), action) for glob, action in theirs.items())


def _leaks(ours: Leak, theirs: Leak, _: object) -> bool:
    return _answered(ours.action, theirs.action) and theirs.words <= ours.words


def _structured(ours: Structured, theirs: Structured, _: object) -> bool:
    return _answered(ours.action, theirs.action)


def _toxic(ours: Toxicity, theirs: Toxicity, _: object) -> bool:
    return _answered(ours.action, theirs.action) and theirs.threshold <= ours.threshold


def _tools(ours: OutputTools, theirs: OutputTools, _: object) -> bool:
    """Say whether every call that the company stops is stopped: a tenant writes the company's lists again."""
    fewer = ours.allow is None or (theirs.allow is not None and set(theirs.allow) <= set(ours.allow))
    kept = set(ours.deny) <= set(theirs.deny) and all(each in theirs.arguments for each in ours.arguments)
    return _answered(ours.action, theirs.action) and fewer and kept


_STRICTER: Mapping[str, Mapping[str, _Order]] = {
    "secrets": {
        **_BLOCKING,
        "action": lambda ours, theirs, _: theirs in ("deny", ours),
        "min_severity": lambda ours, theirs, _: _SEVERITIES.index(theirs) <= _SEVERITIES.index(ours),
        "exclusions": _fewer,
    },
    "masking": {
        **_BLOCKING,
        "entities": _operators,
        "unlisted": _unlisted,
        "min_score": _low,
        "exclusions": _fewer,
    },
    "injection": {
        **_BLOCKING,
        "action": lambda ours, theirs, _: True,
        "threshold": _low,
        "surfaces": lambda ours, theirs, _: set(ours) <= set(theirs),
        "exclusions": _fewer,
    },
    "output": {
        "pii": _answered,
        "secrets": _answered,
        "entities": _answered_entities,
        "rules": _answered_rules,
        "unlisted": _answered,
        "paranoia": lambda ours, theirs, _: theirs >= ours,
        "min_score": _low,
        "min_severity": lambda ours, theirs, _: _SEVERITIES.index(theirs) <= _SEVERITIES.index(ours),
        "surfaces": lambda ours, theirs, _: set(ours) <= set(theirs),
        "leak": _leaks,
        "structured": _structured,
        "tools": _tools,
        "toxicity": _toxic,
        "exclusions": _fewer,
    },
}
"""By section: the keys a tenant may write, and when its value is at least as strict."""

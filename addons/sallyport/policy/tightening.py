"""By what a policy may enforce more than another one. What is not plainly milder counts as more.

Compared are the policies as they take effect, for the company and for each tenant with a file of its own: states,
rules by their ids, and the keys of sections that act. Keys of secrets, masking, injection and output are compared in
the order by which tenants may only tighten them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from sallyport.decision import Mode
from sallyport.policy.access import Access
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.layering import is_as_strict
from sallyport.policy.limits import Limit, Limits
from sallyport.policy.sections import Policy, mode_of
from sallyport.policy.states import Canary, ConnectionSection, StageSection

_DECIDES_NOTHING = frozenset(
    ("version", "mode", "canary", "tenants", "audit", "capture", "directory", "promotion", "drift")
)
_STATE = frozenset(("mode", "canary"))
_TOLD = frozenset(("mode", "canary", "message", "ask", "soft", "approval"))
_MORE_ROOM = frozenset(("limit", "burst", "grace", "wait_s"))


def tightened(before: Policy, after: Policy) -> list[str]:
    """Return the settings through which a policy may refuse or change what another one lets pass, sorted.

    Those of a tenant's own file begin with its name: `acme: masking.unlisted`.
    """
    found = set(_tightened(before, after))
    if before.recogniser_digests != after.recogniser_digests:
        found.add("detection.recognisers")  # what they hold says nobody here
    for tenant in before.of_tenants.keys() | after.of_tenants.keys():
        own = _tightened(before.for_tenant(tenant), after.for_tenant(tenant))
        found |= {f"{tenant}: {at}" for at in own if at not in found}
    return sorted(found)


def _tightened(before: Policy, after: Policy) -> Iterator[str]:
    for name in Policy.model_fields.keys() - _DECIDES_NOTHING:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(new, StageSection | ConnectionSection):
            yield from _section(name, before, old, after, new)
        elif old != new:
            yield from (
                f"{name}.{key}" for key in type(new).model_fields if getattr(old, key) != getattr(new, key)
            )
    if after.tenant_access is not None:
        yield from _section("access", before, before.tenant_access or _NO_RULES, after, after.tenant_access)


_NO_RULES = Access(mode=Mode.OBSERVE)


def _section(
    name: str,
    before: Policy,
    old: StageSection | ConnectionSection,
    after: Policy,
    new: StageSection | ConnectionSection,
) -> Iterator[str]:
    if _does_more(_stated(before, old), _stated(after, new)):
        yield f"{name}.mode"
    elif mode_of(after, new).acts:
        apart = {"rules"} if isinstance(new, Access | Limits) else frozenset[str]()
        for key in type(new).model_fields.keys() - _STATE - apart:
            if getattr(old, key) != getattr(new, key) and not is_as_strict(name, key, old, new):
                yield f"{name}.{key}"
    if isinstance(new, Access | Limits) and isinstance(old, Access | Limits):
        theirs = {rule.id: rule for rule in old.rules}
        for rule in new.rules:
            yield from _rule(
                f"{name}.rules[{rule.id}]", before, old, theirs.pop(rule.id, None), after, new, rule
            )
        yield from (f"{name}.rules[{id}]" for id, gone in theirs.items() if _permits(gone))


def _rule(
    at: str,
    before: Policy,
    old_section: StageSection,
    old: AccessRule | Limit | None,
    after: Policy,
    new_section: StageSection,
    new: AccessRule | Limit,
) -> Iterator[str]:
    was = _NOT_THERE if old is None else _stated(before, old_section, old)
    now = _stated(after, new_section, new)
    if old is None and _permits(new):
        return
    if _does_more(was, now):
        yield at if old is None else f"{at}.mode"
    elif old is not None and _lets_pass(old) and not _lets_pass(new) and mode_of(after, new_section).acts:
        yield f"{at}.mode" if _permits(new) else f"{at}.effect"
    elif old is not None and now.mode.acts:
        for key in type(new).model_fields.keys() - _TOLD:
            values = getattr(old, key), getattr(new, key)
            if values[0] != values[1] and not (key in _MORE_ROOM and _is_more(*values)):
                yield f"{at}.{key}"


def _permits(rule: AccessRule | Limit) -> bool:
    return isinstance(rule, AccessRule) and rule.effect == "permit"


def _lets_pass(rule: AccessRule | Limit) -> bool:
    """Say whether a permit counts where permits are asked for, which one that observes does not."""
    return _permits(rule) and rule.mode is not Mode.OBSERVE


def _is_more(before: Decimal | float | None, after: Decimal | float | None) -> bool:
    return before is not None and after is not None and after > before


@dataclass(frozen=True, slots=True)
class _State:
    """level: where it is written: each has sides of its own, so that another one's canary takes other calls."""

    mode: Mode
    canary: Canary | None = None
    level: Literal["rule", "section", "file"] = "rule"


_NOT_THERE = _State(Mode.SHADOW)


def _stated(
    policy: Policy, section: StageSection | ConnectionSection, rule: AccessRule | Limit | None = None
) -> _State:
    if rule is not None and rule.mode is not None:
        return _State(rule.mode, rule.canary)
    if section.mode is not None:
        return _State(section.mode, section.canary, "section")
    return _State(policy.mode, policy.canary, "file")


def _does_more(before: _State, after: _State) -> bool:
    """Say whether a state enforces for calls that another leaves alone."""
    if not after.mode.acts:
        return False
    if before.mode is Mode.CANARY and before.canary is not None:
        moved = before.canary.percent is not None and before.level != after.level
        return after.canary is None or moved or not before.canary.covers(after.canary)
    return before.mode is not Mode.ENFORCE

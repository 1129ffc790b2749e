"""What a valid policy says that its author probably did not mean. Notes for people; nothing is refused."""

import re
from collections.abc import Iterator
from datetime import date

from sallyport.decision import Mode
from sallyport.policy.catalogue import Catalogue
from sallyport.policy.hosts import HostMap
from sallyport.policy.sections import Exclusion, Policy
from sallyport.policy.states import ConnectionSection, StageSection, Stated


def review(policy: Policy, catalogue: Catalogue, today: date) -> Iterator[str]:
    """Yield one sentence per doubt, each beginning with the key it is about."""
    yield from _hosts(policy, catalogue)
    yield from _modes(policy)
    for name, exclusions in _exclusions(policy):
        for index, exclusion in enumerate(exclusions):
            if exclusion.until is not None and exclusion.until < today:
                yield f"{name}.exclusions[{index}]: ended on {exclusion.until}; remove it."
    if policy.access.unknown_endpoint == "opaque":
        yield "access.unknown_endpoint: `opaque` lets calls leave that nothing has read."
    if policy.identity.unknown == "deny" and not _knows_anyone(policy):
        yield (
            "identity: nothing here proves who calls, and unknown callers are denied: everybody is, but for keys "
            "that have an owner in the directory."
        )


def _hosts(policy: Policy, catalogue: Catalogue) -> Iterator[str]:
    for pattern in policy.hosts.tunnel:
        tunnelled = HostMap([(pattern, pattern)])
        known = next((h for h in catalogue.host_patterns if _sample(h) in tunnelled), None)
        if known is not None:
            yield f"hosts.tunnel: {pattern} covers the AI host {known}; that is intercepted all the same."


def _sample(pattern: str) -> str:
    """Return a host that a pattern matches."""
    return re.sub(r"\{[a-z_]+\}", "x", pattern.replace("*.", "x.", 1))


def _modes(policy: Policy) -> Iterator[str]:
    if policy.mode is Mode.ENFORCE:
        for name, section in _stages(policy):
            if section.mode is not None and not section.mode.acts:
                yield f"{name}.mode: `{section.mode}`, while the file enforces; this section only records."
    everything: tuple[tuple[str, Stated], ...] = (
        *_stages(policy),
        *((f"access.rules {rule.id}", rule) for rule in policy.access.rules),
        *((f"limits.rules {rule.id}", rule) for rule in policy.limits.rules),
    )
    for name, stated in everything:
        if stated.mode is Mode.CANARY:
            yield f"{name}: enforced for a part of the traffic only, until it is promoted."


def _knows_anyone(policy: Policy) -> bool:
    given = policy.identity
    proofs = (given.certificates, given.tokens, given.proxy_auth, given.header, given.keys, given.networks)
    return any(proofs)


def _stages(policy: Policy) -> Iterator[tuple[str, StageSection | ConnectionSection]]:
    for name in Policy.model_fields:
        section = getattr(policy, name)
        if isinstance(section, StageSection | ConnectionSection):
            yield name, section


def _exclusions(policy: Policy) -> tuple[tuple[str, tuple[Exclusion, ...]], ...]:
    return (
        ("secrets", policy.secrets.exclusions),
        ("masking", policy.masking.exclusions),
        ("injection", policy.injection.exclusions),
        ("output", policy.output.exclusions),
    )

"""Rules and entities that a policy speaks of and nothing finds; models that are spelt nearly like a known one.

A name that nothing finds is only doubted: the packs of another version may have it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sallyport.policy.access import Access
from sallyport.policy.calls import Models
from sallyport.policy.layering import TenantFile
from sallyport.policy.limits import Prices
from sallyport.policy.output import Output
from sallyport.policy.problems import nearest
from sallyport.policy.references import Doubt
from sallyport.policy.sections import Injection, Masking, Policy, Secrets
from sallyport.policy.source import At, Source, dotted


@dataclass(frozen=True, slots=True)
class Known:
    """What there is: ids of rules, entities that they find, and names of models."""

    rules: frozenset[str]
    entities: frozenset[str]
    models: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Named:
    at: At
    kind: str
    name: str


def finding_doubts(file: Policy | TenantFile, known: Callable[[], Known], source: Source) -> Iterator[Doubt]:
    """Yield the names that mean nothing in a company's or tenant's file. known: asked only where there are names."""
    named = [each for each in _named(file) if each.at in source.places]
    if not named:
        return
    there = known()
    for each in named:
        if each.kind == "model":
            near = None if each.name in there.models else _nearly(each.name, there.models)
            says = f"no model is known by this name; did you mean `{near}`?" if near else ""
        else:
            names = there.rules if each.kind == "rule" else there.entities
            fits = any(fnmatchcase(name, each.name) for name in names)
            near = nearest(each.name, names)
            cure = f"did you mean `{near}`?" if near else "see `sallyport rules list`."
            says = "" if fits else f"no {each.kind} goes by this name; {cure}"
        if says:
            yield Doubt(source.where(each.at), dotted(each.at), says)


def _named(file: Policy | TenantFile) -> Iterator[_Named]:
    sections: tuple[tuple[str, Secrets | Masking | Injection | Output | None], ...] = (
        ("secrets", file.secrets),
        ("masking", file.masking),
        ("injection", file.injection),
        ("output", file.output),
    )
    for name, section in sections:
        if section is None:
            continue
        for index, exclusion in enumerate(section.exclusions):
            yield _Named((name, "exclusions", index, "rule"), "rule", exclusion.rule)
        if isinstance(section, Output):
            yield from (_Named((name, "rules", glob), "rule", glob) for glob in section.rules)
        else:
            yield from (
                _Named((name, "blocked_by_rule", glob), "rule", glob) for glob in section.blocked_by_rule
            )
        if isinstance(section, Masking | Output):
            yield from (_Named((name, "entities", entity), "entity", entity) for entity in section.entities)
    for index, kept in enumerate(file.content.rules if file.content is not None else ()):
        for n, name in enumerate(kept.found or ()):
            yield _Named(("content", "rules", index, "found", n), "rule", name)
    if file.access is not None:
        yield from _in_access(file.access)
    if isinstance(file, Policy):
        yield from _in_prices(file.prices)


def _in_access(access: Access) -> Iterator[_Named]:
    for index, each in enumerate(access.data_classes):
        for number, sign in enumerate(each.any):
            at: At = ("access", "data_classes", index, "any", number)
            yield from (_Named((*at, "entities", n), "entity", name) for n, name in enumerate(sign.entities))
            yield from (_Named((*at, "rules", n), "rule", name) for n, name in enumerate(sign.rules or ()))
    models: Models = access.models
    for key in ("allow", "forbid"):
        for n, name in enumerate(getattr(models, key) or ()):
            yield from _model(("access", "models", key, n), name)
    for index, rule in enumerate(access.rules):
        for n, name in enumerate(rule.models or ()):
            yield from _model(("access", "rules", index, "models", n), name)


def _in_prices(prices: Prices) -> Iterator[_Named]:
    for index, contract in enumerate(prices.contract):
        yield from _model(("prices", "contract", index, "model"), contract.model)


def _model(at: At, name: str) -> Iterator[_Named]:
    if not any(c in name for c in "*?[@"):
        yield _Named(at, "model", name)


def _nearly(name: str, models: frozenset[str]) -> str | None:
    """Return a known model that differs in letters only: another number is another model, perhaps a new one."""
    folded = name.casefold()
    same = [model for model in models if re.findall(r"\d+", model) == re.findall(r"\d+", folded)]
    near = nearest(folded, same)
    return near if near is not None and near != folded and abs(len(near) - len(folded)) <= 2 else None

"""On which terms a provider may serve a request: a faster tier, a batch, a prompt that it keeps in its cache.

What an answer tells of them counts; what it does not tell is as dear as the request permits.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

from sallyport.exchange import Exchange, Operation, Request, Usage

ORDINARY = frozenset(
    {
        "",
        "default",
        "unspecified",
        "standard",
        "standard_only",
        "on_demand",
        "flex",
        "batch",
        "scale",
        "reserved",
    }
)
"""Words for a tier that costs no more than the ordinary one: it, cheaper ones, and capacity that is paid beforehand."""

DEAR = frozenset({"priority", "fast"})
"""Words that cost more wherever they are sold: without a price of their own none is known."""

PAID_BEFOREHAND = frozenset({("anthropic", "priority")})
"""Providers at which such a word means capacity that is paid beforehand, and costs no more than the ordinary tier
(platform.claude.com/docs/en/api/service-tiers, read 2026-11-23)."""

UNKNOWN = "unknown"
"""A tier that a request asks for and of which no price is known."""

_SETTINGS = ("service_tier", "speed")
_HOUR = "1h"


HEADERS = {"x-vertex-ai-llm-shared-request-type": ("vertex", "service_tier")}
"""Headers that ask for a tier, with the provider that heeds them and the setting that they stand for
(docs.cloud.google.com/vertex-ai/generative-ai/docs/priority-paygo, read 2026-11-23)."""


def tiers(exchange: Exchange, listed: Collection[tuple[str, str]], unnamed: str) -> tuple[str, ...]:
    """Return the tiers that may serve a request, "" for the ordinary one.

    listed: settings and words with a price of their own for the model. unnamed: the service tier of a request that
    names none, where the provider has a price for it.
    """
    request = exchange.request
    if request.operation is Operation.BATCH:
        return ("batch",)
    asked = [
        (p.name, str(p.value)) for p in request.parameters if p.name in _SETTINGS and type(p.value) is str
    ]
    for header, value in exchange.client.headers:
        provider, name = HEADERS.get(header, ("", ""))
        if provider == request.provider:
            asked.append((name, value))
    found: dict[str, None] = {"": None}
    if "service_tier" not in dict(asked) and ("service_tier", unnamed) in listed:
        found[unnamed] = None
    for name, value in asked:
        word = value.strip().lower().removeprefix("service_tier_")
        if word in ORDINARY:
            continue
        of_name = sorted(of for setting, of in listed if setting == name)
        # `auto` is the provider's to decide, and so is what becomes of a word that it may not know.
        found |= dict.fromkeys([word] if word in of_name else of_name)
        if word not in of_name and word != "auto" and (not of_name or word in DEAR):
            found[UNKNOWN] = None
    return tuple(found)


def has_no_price(provider: str, tier: str, listed: Collection[tuple[str, str]]) -> bool:
    """Say whether a tier is a dear one without a price: asked for, or told by the answer alone."""
    if tier == UNKNOWN:
        return True
    return tier in DEAR and (provider, tier) not in PAID_BEFOREHAND and all(tier != of for _, of in listed)


def told(usage: Usage) -> Usage:
    """Return a report whose tier is "" where that is the ordinary one."""
    return replace(usage, tier="") if usage.tier in ("default", "standard", "scale") else usage


def untold(request: Request, usage: Usage, *, presumed: bool) -> Iterator[Usage]:
    """Yield what usage may be where nobody told how much of the input was written to the provider's cache.

    presumed: nobody told the input either. OpenAI writes to its cache unasked.
    """
    yield usage
    kept = request.cache_ttl
    if presumed and (kept or request.dialect.startswith("openai")):
        yield replace(usage, cache_write=usage.input, cache_write_1h=usage.input if kept == _HOUR else None)
    elif kept == _HOUR and usage.cache_write and usage.cache_write_1h is None:
        yield replace(usage, cache_write_1h=usage.cache_write)

"""What usage costs, in millionths of a US dollar: list prices from genai-prices, contract prices before them.

Offline: the price table ships with the library, and its updater is never started. An unknown model has no
price and raises; it is never free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from sallyport.exchange import Usage
from sallyport.metering.terms import has_no_price

MICRO = Decimal(1_000_000)


class UnknownPrice(LookupError):
    """No price is known for a model of a provider, or not for what was used of it."""


@dataclass(frozen=True, slots=True)
class ContractPrice:
    """A price of one's own for the models of a provider that match. US dollars per million tokens.

    provider, model: globs over the catalogue's name and the model as the client names it, lower case.
    cache_read, cache_write: None takes the price of input. request: US dollars per call.
    """

    provider: str
    model: str
    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    request: Decimal = Decimal(0)

    def covers(self, provider: str, model: str) -> bool:
        return fnmatchcase(provider, self.provider) and fnmatchcase(model.lower(), self.model)

    def of(self, usage: Usage) -> Decimal:
        """Return what usage costs, in US dollars."""
        read, written = usage.cache_read or 0, usage.cache_write or 0
        fresh = max(0, (usage.input or 0) - read - written)
        tokens = (
            fresh * self.input
            + read * (self.input if self.cache_read is None else self.cache_read)
            + written * (self.input if self.cache_write is None else self.cache_write)
            + (usage.output or 0) * self.output
        )
        return tokens / MICRO + self.request


@dataclass(frozen=True, slots=True)
class Price:
    """What a call costs. micro_usd is rounded up, so that nothing is free. source: contract or list."""

    micro_usd: int
    source: str


class PriceList:
    """Prices by provider, host and model. Thread-safe.

    contract: the first that covers a model wins; a last one with model "*" prices unknown models.
    """

    def __init__(self, contract: Sequence[ContractPrice] = ()) -> None:
        self._contract = tuple(contract)

    def price(self, provider: str, host: str, model: str | None, usage: Usage, at: datetime) -> Price:
        """Return what usage costs. provider: the catalogue's name; at: when the call was made.

        Raises UnknownPrice.
        """
        own = self._own(provider, host, model or "")
        if own is not None:
            return Price(_micro(own.of(usage) * _uplift(provider, host, model or "", usage, at)), "contract")
        if has_no_price(provider, usage.tier, _tiers(provider, host, model or "")):
            raise UnknownPrice("no price for the tier")
        return Price(_micro(_listed(provider, host, model or "", usage, at)), "list")

    def tiers(self, provider: str, host: str, model: str | None) -> frozenset[tuple[str, str]]:
        """Return the settings that have a price of their own for a model, each with its word."""
        return _tiers(provider, host, model or "")

    def known_as(self, provider: str, host: str, model: str | None) -> str | None:
        """Return the name of a model in the price list, one for all its aliases; None for an unknown one."""
        found = _known(provider, host, model or "")
        if found is not None:
            return str(found[1].id)
        own = self._own(provider, host, model or "")
        return None if own is None else own.model

    def name_of(self, provider: str, host: str, model: str | None) -> str:
        """Return the name a model is counted by: one for all its aliases, "other" for all unknown ones."""
        return self.known_as(provider, host, model) or ("other" if model else "")

    def _own(self, provider: str, host: str, model: str) -> ContractPrice | None:
        """Return the contract price in force; one for every model gives way to a list price."""
        found = next((c for c in self._contract if c.model != "*" and c.covers(provider, model)), None)
        if found is not None:
            return found
        if _known(provider, host, model) is not None:
            return None
        return next((c for c in self._contract if c.covers(provider, model)), None)


def _uplift(provider: str, host: str, model: str, usage: Usage, at: datetime) -> Decimal:
    """Return what a contract price is multiplied by for terms that it does not speak of, and the list does.

    The list has ordinary and dear ones of the same model; a cheaper one does not lower a contract price.
    """
    plain = replace(usage, tier="", cache_write_1h=None)
    if usage == plain:
        return Decimal(1)
    try:
        ordinary = _listed(provider, host, model, plain, at)
        return max(
            Decimal(1), _listed(provider, host, model, usage, at) / ordinary if ordinary else Decimal(1)
        )
    except UnknownPrice:
        return Decimal(1)


@lru_cache(maxsize=1024)
def _tiers(provider: str, host: str, model: str) -> frozenset[tuple[str, str]]:
    found = _known(provider, host, model)
    variants = (found[1].price_variants or ()) if found is not None else ()
    return frozenset((str(key), str(word)) for v in variants for key, word in v.when.items())


def _listed(provider: str, host: str, model: str, usage: Usage, at: datetime) -> Decimal:
    """Return the list price. Ordinary usage of a model with one price is a sum over known rates."""
    if not (usage.cache_write_1h or usage.audio_input or usage.audio_output or usage.searches):
        rates = _rates(provider, host, model, usage.tier, at.replace(minute=0, second=0, microsecond=0))
        if rates is not None:
            read, written = usage.cache_read or 0, usage.cache_write or 0
            fresh = max(0, (usage.input or 0) - read - written)
            counts = (fresh, read, written, usage.output or 0)
            return sum((rate * count for rate, count in zip(rates, counts, strict=True)), Decimal(0)) / MICRO
    return _calculated(provider, host, model, usage, at)


@lru_cache(maxsize=1024)
def _rates(provider: str, host: str, model: str, tier: str, hour: datetime) -> tuple[Decimal, ...] | None:
    """Return the prices of a million fresh, cached, written and answered tokens; None where they are not fixed.

    Within an hour no price changes its date or its time of day.
    """
    million = int(MICRO)
    one_each = (
        Usage(input=million, tier=tier),
        Usage(input=million, cache_read=million, tier=tier),
        Usage(input=million, cache_write=million, tier=tier),
        Usage(output=million, tier=tier),
    )
    few = Usage(input=1000, cache_read=200, cache_write=300, output=100, reasoning=40, tier=tier)
    try:
        rates = tuple(_calculated(provider, host, model, usage, hour) for usage in one_each)
        price = _calculated(provider, host, model, few, hour) * MICRO
    except UnknownPrice:
        return None
    return rates if price == 500 * rates[0] + 200 * rates[1] + 300 * rates[2] + 100 * rates[3] else None


def _calculated(name: str, host: str, model: str, usage: Usage, at: datetime) -> Decimal:
    import genai_prices

    provider, found = _find(name, host, model)
    usage = _coherent(usage)
    heard_of_read, heard_of_written = _cached_audio(usage)
    tokens = genai_prices.Usage(
        input_tokens=usage.input or 0,
        cache_read_tokens=usage.cache_read or None,
        cache_write_tokens=usage.cache_write or None,
        cache_write_1h_tokens=usage.cache_write_1h or None,
        cache_audio_read_tokens=heard_of_read,
        cache_audio_write_tokens=heard_of_written,
        output_tokens=usage.output or 0,
        output_reasoning_tokens=None if usage.audio_output else usage.reasoning or None,
        input_audio_tokens=usage.audio_input or None,
        output_audio_tokens=usage.audio_output or None,
        web_searches=usage.searches or None,
    )
    context = dict.fromkeys(("service_tier", "speed", "processing"), usage.tier) if usage.tier else None
    try:
        price = found.calc_price(tokens, provider, genai_request_timestamp=at, price_context=context)
    except (LookupError, ValueError) as error:
        raise UnknownPrice(f"no price for what was used ({type(error).__name__})") from None
    return Decimal(price.total_price)


def _coherent(usage: Usage) -> Usage:
    """Return a report whose wholes hold their parts: a price is not lost, nor a call free, over one that says less."""
    written = max(usage.cache_write or 0, usage.cache_write_1h or 0)
    return replace(
        usage,
        input=max(usage.input or 0, (usage.cache_read or 0) + written, usage.audio_input or 0),
        cache_write=written,
        output=max(usage.output or 0, usage.reasoning or 0, usage.audio_output or 0),
    )


def _cached_audio(usage: Usage) -> tuple[int | None, int | None]:
    """Return how much of the audio was read from the cache, and written to it; None where it cannot be.

    Reports do not say; as little as the sums allow is the dearest reading, for the cache is cheaper.
    """
    heard, read, written = usage.audio_input or 0, usage.cache_read or 0, usage.cache_write or 0
    both = max(0, heard + read + written - (usage.input or 0))
    of_read = min(both, read)
    return of_read if heard and read else None, both - of_read if heard and written else None


def _find(provider: str, host: str, model: str) -> tuple[Any, Any]:
    """Return provider and model of the price list. Raises UnknownPrice."""
    found = _known(provider, host, model)
    if found is None:
        raise UnknownPrice("no list price")
    return found


@lru_cache(maxsize=1024)
def _known(provider: str, host: str, model: str) -> tuple[Any, Any] | None:
    """Return provider and model of the price list: by the host, else by the catalogue's name for whose it is.

    The list knows api.openai.com, and not every regional host beside it.
    """
    from genai_prices import data_snapshot

    snapshot = data_snapshot.get_snapshot()
    for name, url in ((None, f"https://{host}/"), (provider, None)):
        try:
            return snapshot.find_provider_model(model, None, name, url)
        except LookupError:
            continue
    return None


@lru_cache(maxsize=1)
def listed_models() -> frozenset[str]:
    """Return the names of all models in the price list."""
    from genai_prices import data_snapshot

    providers = data_snapshot.get_snapshot().providers
    return frozenset(str(model.id) for provider in providers for model in provider.models)


def _micro(usd: Decimal) -> int:
    return int((usd * MICRO).to_integral_value(ROUND_CEILING))

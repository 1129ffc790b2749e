"""What usage costs by the prices of a policy, on each of the terms that a request leaves open."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from sallyport.exchange import Exchange, Usage
from sallyport.metering import terms
from sallyport.metering.prices import PriceList, UnknownPrice


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a policy says of prices.

    unknown_is_free: count a model without a price as nothing. unnamed_tier: of a request that names no service tier.
    """

    prices: PriceList = field(default_factory=PriceList)
    credit_usd: Decimal = Decimal("0.01")
    unknown_is_free: bool = False
    unnamed_tier: str = "default"

    def charges(
        self, exchange: Exchange, usage: Usage, model: str | None, *, presumed: bool, held: bool
    ) -> "Iterator[Charge]":
        """Yield what usage may cost if that model answers, one for each of the terms that are not told.

        presumed: nobody told the input. held: nothing has been answered, and a tier without a price is told as such.
        """
        request = exchange.request
        listed = self.prices.tiers(request.provider, exchange.host, model)
        may = (usage.tier,) if usage.tier else terms.tiers(exchange, listed, self.unnamed_tier)
        for tier in may:
            if tier == terms.UNKNOWN and not (held and not self.unknown_is_free):
                continue
            served = replace(usage, tier=tier)
            for each in terms.untold(request, served, presumed=presumed):
                yield Charge(model, tier, self.cost(exchange, each, model))

    def cost(self, exchange: Exchange, usage: Usage, model: str | None) -> int | None:
        """Return millionths of a dollar if that model answers; None where nobody knows the price."""
        cost = self._price(exchange, usage, model)
        if cost is None:
            # A report that no price list can make sense of is no gift: its tokens have an ordinary price.
            given = max(usage.input or 0, (usage.cache_read or 0) + (usage.cache_write or 0))
            cost = self._price(exchange, Usage(input=given, output=usage.output, tier=usage.tier), model)
        return 0 if cost is None and self.unknown_is_free else cost

    def _price(self, exchange: Exchange, usage: Usage, model: str | None) -> int | None:
        provider = exchange.request.provider
        try:
            return self.prices.price(provider, exchange.host, model, usage, exchange.received_at).micro_usd
        except UnknownPrice:
            return None

    def credits(self, cost: int | None) -> int | None:
        """Return millionths of a credit."""
        if cost is None or not self.credit_usd:
            return cost
        return int(cost / self.credit_usd)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one model costs on some terms. cost_micro_usd: None where nobody knows the price."""

    model: str | None
    tier: str
    cost_micro_usd: int | None

"""The counters of a call that is only asked about: the real ledger, in memory, at the time of the call."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sallyport.exchange import Exchange
from sallyport.metering.tariff import Tariff
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.limits import Limits, Measure
from sallyport.stages.ledger import MAX_AMOUNT, Claim, Concurrent, Denied, Reserved, limit_of
from sallyport.stages.stage import Estimate
from sallyport.state.booking import Metering, Reserving
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.meter import ExchangeMeter

_LEASE_MS = 60_000


class FixedClock:
    """A clock that stands still."""

    def __init__(self, at: datetime) -> None:
        self._ms = int(at.timestamp() * 1000)

    def wall_ms(self) -> int:
        return self._ms

    def uptime_ms(self) -> int:
        return 0

    def boot(self) -> str:
        return "rehearsal"


class _Metering(Metering):
    """Counters that nobody has to look after: a rehearsal is over before a lease is."""

    def opened(self, meter: Reserving) -> None:
        """Leave out what keeps leases alive."""


class RehearsedMeter:
    """The Meter port: what is said to be used is booked first, on the very counters that the call asks.

    used: by limit, in the limit's own unit. touched: the limits that the call was counted on.
    """

    def __init__(
        self,
        exchange: Exchange,
        limits: Limits,
        tariff: Tariff,
        tokens: TokenCounter,
        used: Mapping[str, float],
        *,
        request_bytes: int,
    ) -> None:
        self._ledger = MemoryLedger(FixedClock(exchange.received_at))
        self._meter = ExchangeMeter(
            _Metering(self._ledger, tokens), tariff, exchange, request_bytes=request_bytes
        )
        self._units = {rule.id: rule.unit for rule in limits.rules}
        self._used = used
        self.touched: frozenset[str] = frozenset()

    @property
    def models(self) -> tuple[str, ...]:
        return self._meter.models

    def estimate(self, assumed_output_tokens: int) -> Estimate:
        return self._meter.estimate(assumed_output_tokens)

    async def reserve(
        self, claims: Sequence[tuple[Measure, Claim]], waits_s: Mapping[str, float]
    ) -> Reserved | Denied:
        """Answer as the gateway's meter does, without waiting for room."""
        for number, (_, claim) in enumerate(claims):
            await self._use(f"used-{number}", claim)
        self.touched = frozenset(limit_of(claim.key) for _, claim in claims)
        return await self._meter.reserve(claims, dict.fromkeys(waits_s, 0.0))

    async def _use(self, name: str, claim: Claim) -> None:
        limit = limit_of(claim.key)
        if not self._used.get(limit):
            return
        amount = min(int(Decimal(str(self._used[limit])) * self._units[limit]), MAX_AMOUNT)
        before = Claim(claim.key, claim.limit, amount, claim.window, enforced=False)
        if isinstance(claim.window, Concurrent):
            await self._ledger.reserve(name, [before], _LEASE_MS)
        else:
            await self._ledger.book(name, [before])

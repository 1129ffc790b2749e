"""What the limits of one policy are asked for in one flow, and what is booked on them. Nothing is counted here.

Limits are asked in the order of time by whoever sees all flows.
"""

from collections.abc import Awaitable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sallyport.metering.tokens import TokenCounter
from sallyport.policy.limits import Measure
from sallyport.stages.ledger import Claim, Denied, Level, Reserved
from sallyport.state.booking import Metering, Reserving
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.meter import ExchangeMeter


@dataclass(slots=True)
class Noted:
    """What the limits of a policy were asked for, and what is booked on them in the end."""

    claims: tuple[Claim, ...] = ()
    waits_s: Mapping[str, float] = field(default_factory=dict)
    booked: dict[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> tuple[tuple[Claim, int], ...]:
        """The claims, with the milliseconds that each may wait."""
        return tuple((claim, int(self.waits_s.get(claim.key, 0.0) * 1000)) for claim in self.claims)


class NotingMetering(Metering):
    """Metering without anything to look after. noted: of the flow under judgement, a new one for each."""

    def __init__(self, tokens: TokenCounter) -> None:
        super().__init__(_Granting(self), tokens)
        self.noted = Noted()

    def opened(self, meter: Reserving) -> None:
        """Leave out what keeps leases alive."""

    def later(
        self,
        meter: Reserving,
        amounts: dict[str, int] | None,
        recorded: Awaitable[None] | None = None,
    ) -> None:
        self.noted.booked = dict(amounts or {})


class NotingMeter(ExchangeMeter):
    """Counts one exchange; how long it may wait for room is noted beside what it asks for."""

    noted: Noted

    async def reserve(
        self, claims: Sequence[tuple[Measure, Claim]], waits_s: Mapping[str, float]
    ) -> Reserved | Denied:
        self.noted.waits_s = waits_s
        return await super().reserve(claims, waits_s)


class _Granting(MemoryLedger):
    """Says yes to everything, and notes what it was asked for."""

    def __init__(self, metering: NotingMetering) -> None:
        super().__init__()
        self._metering = metering

    async def reserve(self, reservation_id: str, claims: Sequence[Claim], lease_ms: int) -> Reserved | Denied:
        self._metering.noted.claims = tuple(claims)
        levels = tuple(Level(c.key, c.limit, 0, 0, 0, None) for c in claims)
        return Reserved(levels, 0, lease_ms)


class Durable:
    """Stands for an end event that is recorded."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()

"""The reservations of all exchanges of a gateway: kept while they run, booked when they end, those of the dead too."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from sallyport.exchange import Exchange
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.limits import Limits, StoreDown
from sallyport.stages.ledger import Claim, Ledger, LedgerUnavailable
from sallyport.state.ledger.fallback import Allowance, Fallback
from sallyport.state.ledger.ids import further
from sallyport.state.ledger.settling import settle

_SETTLE_TRIES = 5
_PROBE_EVERY_S = 1.0
_ENDED_WITHIN_S = 0.3
"""So long a denial waits for the booking of exchanges that have just ended here."""

_TAKEN_OVER = 4
"""So many reservations of a dead exchange are looked for; what has a later number waits for the end of its lease."""


class Reserving(Protocol):
    """An exchange under way. reservation: by what id the ledger knows it. held: what was reserved under it."""

    exchange: Exchange
    reservation: str
    held: Sequence[Claim]


@dataclass(slots=True)
class Metering:
    """What all exchanges of a gateway share: the ledger, the token counter, what is under way.

    orphans: exchanges that an earlier process left open; what they had reserved is booked, by recover if it is there.
    recover: books what dead gateways had reserved and the audit knows more of; called now and then.
    lease_ms: open exchanges hold what they reserved for so long at a time, so that a dead gateway lets go.
    assumed_output_tokens: of an answer that nothing bounds, where no limit has asked for an estimate.
    """

    ledger: Ledger
    tokens: TokenCounter
    orphans: tuple[str, ...] = ()
    recover: Callable[[], Awaitable[object]] | None = None
    lease_ms: int = 90_000
    assumed_output_tokens: int = 4096
    _open: dict[str, Reserving] = field(default_factory=dict)
    _settling: set[asyncio.Task[None]] = field(default_factory=set)
    _keeper: "asyncio.Task[None] | None" = None

    def configure(self, limits: Limits) -> None:
        """Do as a policy says; called at the start and after each reload."""
        self.lease_ms = int(limits.lease_s * 1000)
        self.assumed_output_tokens = limits.assumed_output_tokens
        if isinstance(self.ledger, Fallback):
            local = limits.store_down is StoreDown.ALLOWANCE
            share = Allowance(max(1, round(limits.allowance * 1000))) if local else None
            self.ledger.allowance = share

    async def close(self) -> None:
        """Book what has ended and let go of the store."""
        if self._keeper is not None:
            self._keeper.cancel()
        while self._settling:
            await asyncio.gather(*self._settling, return_exceptions=True)
        await self.ledger.close()

    async def _keep(self) -> None:
        """Renew the leases of what is under way, for as long as the gateway runs."""
        orphans, self.orphans = self.orphans, ()
        for exchange_id in orphans:
            await self._take_over(exchange_id)
        while True:
            answers = False
            with suppress(LedgerUnavailable):
                await self.ledger.sweep()
                answers = True
                if self.recover is not None:
                    await self.recover()
            await self._until_next(answers)
            for meter in list(self._open.values()):
                with suppress(LedgerUnavailable):
                    await self.ledger.renew(meter.reservation, self.lease_ms)

    async def _take_over(self, exchange_id: str) -> None:
        """End what a dead process had reserved: recover then books what the audit says of it.

        Settled as it was reserved, each of several models that might have answered would be booked. What it had
        reserved under a further id has the first one given back before.
        """
        for attempt in range(_TAKEN_OVER):
            reservation = further(exchange_id, attempt)
            if self.recover is None:
                await self._settle(reservation, {})
                continue
            with suppress(LedgerUnavailable):
                if await self.ledger.renew(reservation, 1):
                    await asyncio.sleep(0.002)
                    return

    async def _until_next(self, answers: bool) -> None:
        """Wait for a third of a lease, or a second where the store has been away meanwhile and is owed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.lease_ms / 3000
        while (left_s := end - loop.time()) > 0:
            await asyncio.sleep(min(_PROBE_EVERY_S, left_s))
            if not answers or (isinstance(self.ledger, Fallback) and self.ledger.away):
                return

    def later(
        self,
        meter: Reserving,
        amounts: dict[str, int] | None,
        recorded: Awaitable[None] | None = None,
    ) -> None:
        """Settle, or release where amounts is None, without holding up whoever calls.

        recorded: is done once the end event is durable. A gateway that dies in between has then recorded
        what its successor books; the other way round nobody could tell what was booked.
        """
        self._open.pop(meter.exchange.id, None)
        settling = self._settle(meter.reservation, amounts, recorded, meter.held)
        task = asyncio.get_running_loop().create_task(settling)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def booked(self) -> bool:
        """Wait, but not long, until what has ended here is booked; False if there was nothing."""
        ended = list(self._settling)
        if ended:
            await asyncio.wait(ended, timeout=_ENDED_WITHIN_S)
        return bool(ended)

    async def _settle(
        self,
        reservation: str,
        amounts: dict[str, int] | None,
        recorded: Awaitable[None] | None = None,
        held: Sequence[Claim] = (),
    ) -> None:
        if recorded is not None:
            # The border to the log: an event it cannot store now stays queued there, and the use is a fact.
            with suppress(Exception):
                await recorded
        for wait_s in range(1, _SETTLE_TRIES + 1):
            try:
                if amounts is None:
                    await self.ledger.release(reservation)
                else:
                    await settle(self.ledger, reservation, amounts, held)
            except LedgerUnavailable:
                await asyncio.sleep(wait_s)
            else:
                return

    def opened(self, meter: Reserving) -> None:
        self._open[meter.exchange.id] = meter
        self.start()

    def start(self) -> None:
        """Begin to look after leases; needs a running loop."""
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

"""The limits of one policy over recorded traffic: the gateway's ledger in memory, at the flows' own time."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sallyport.decision import Action
from sallyport.proxy.recorded import Ruling
from sallyport.replay.ruling import Asked
from sallyport.stages.ledger import Claim, Denied, Level, limit_of
from sallyport.state.ledger.memory import MemoryLedger

_LEASE_MS = 24 * 3600 * 1000
"""A recorded exchange ends when its recording says so; no lease may end it before."""


class FlowClock:
    """A clock that stands where the flow under judgement began. Never goes back."""

    def __init__(self) -> None:
        self._now_ms = 0

    def at(self, seconds: float) -> None:
        self._now_ms = max(self._now_ms, int(seconds * 1000))

    def wall_ms(self) -> int:
        return 0

    def uptime_ms(self) -> int:
        return self._now_ms

    def boot(self) -> str:
        return "replay"


@dataclass(slots=True)
class Waited:
    """Requests that were let in after they had waited for room, and how long in all."""

    flows: int = 0
    seconds: float = 0.0


class Counters:
    """Counts one policy's exchanges, in the order they began. One caller at a time."""

    def __init__(self) -> None:
        self._clock = FlowClock()
        self._ledger = MemoryLedger(self._clock)
        self._under_way: list[tuple[float, int, dict[str, int]]] = []
        self._number = 0
        self.waited = Waited()

    async def rule(self, asked: Asked, began: float, ended: float) -> Ruling:
        """Return the ruling with the limits in it, and book what the exchange used if it left."""
        if not asked.claims:
            return asked.ruling
        await self._settle_until(began)
        self._clock.at(began)
        self._number += 1
        name = str(self._number)
        claims = [claim for claim, _ in asked.claims]
        answer = await self._ledger.reserve(name, claims, _LEASE_MS)
        if isinstance(answer, Denied) and (wait_s := _worth_waiting(answer, dict(asked.claims))) is not None:
            # Who waits is let in later; those who came meanwhile are counted behind it.
            await self._settle_until(began + wait_s)
            self._clock.at(began + wait_s)
            answer = await self._ledger.reserve(name, claims, _LEASE_MS)
            if not isinstance(answer, Denied):
                self.waited.flows += 1
                self.waited.seconds += wait_s
        if isinstance(answer, Denied):
            worst = max(answer.denials, key=lambda d: (d.fits_in_ms is None, d.fits_in_ms or 0))
            reason = _reason(worst.claim)
            return Ruling(Action.DENY, Action.DENY, "limits", reason)
        if asked.ruling.action is Action.DENY:
            await self._ledger.release(name)
        else:
            heapq.heappush(self._under_way, (max(began, ended), self._number, dict(asked.booked)))
        over = _over(claims, answer.levels)
        if over is None or asked.ruling.would_be is Action.DENY:
            return asked.ruling
        ruling = replace(asked.ruling, would_be=Action.DENY)
        if ruling.action is Action.ALLOW:
            ruling = replace(ruling, stage="limits", reason=_reason(over))
        return ruling

    async def _settle_until(self, seconds: float) -> None:
        while self._under_way and self._under_way[0][0] <= seconds:
            ended, number, amounts = heapq.heappop(self._under_way)
            self._clock.at(ended)
            await self._ledger.settle(str(number), amounts)
        await self._ledger.sweep()


def _worth_waiting(denied: Denied, waits_ms: dict[Claim, int]) -> float | None:
    """Return the seconds after which there is room, None if that is too long for one of the limits."""
    fits_in_ms = denied.fits_in_ms
    if fits_in_ms is None or any(waits_ms.get(d.claim, 0) < fits_in_ms for d in denied.denials):
        return None
    return fits_in_ms / 1000


def _over(claims: Sequence[Claim], levels: Sequence[Level]) -> Claim | None:
    """Return the first limit that only observes, and would have had no room."""
    for claim, level in zip(claims, levels, strict=True):
        if claim.amount and not claim.tried and level.used + level.reserved > claim.limit + level.granted:
            return claim
    return None


def _reason(claim: Claim) -> str:
    return f"limits.{limit_of(claim.key)}"

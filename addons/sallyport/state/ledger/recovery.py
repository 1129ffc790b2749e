"""Reservations of gateways that died: booked from what the audit recorded, each once.

A lease that expires frees its room at once; what the request really used is known only from its end event, or
not at all. The sums of the ledger agree with the events again when this has run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sallyport.stages.ledger import Booking, Ledger

WAIT_MS = 3_600_000


class Usage(Protocol):
    """The audit's view of requests, by the id of their reservation."""

    async def used(self, reservation_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """Return the amounts by key of those whose end is recorded; a key left out used nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Reconciled:
    """settled: booked from events. assumed: no end was recorded. waiting: neither yet. already: by others."""

    settled: int = 0
    assumed: int = 0
    waiting: int = 0
    already: int = 0


async def reconcile(
    ledger: Ledger,
    usage: Usage,
    *,
    wait_ms: int = WAIT_MS,
    at_most: int = 1000,
) -> Reconciled:
    """Book expired reservations: as recorded, or as estimated where no end ever was.

    Several gateways may do it at once: a reservation is settled once.
    wait_ms: how long after its lease a request may still be recorded. Raises LedgerUnavailable and what usage
    raises; what was booked until then stays.
    """
    expired = await ledger.expired(at_most)
    if not expired:
        return Reconciled()
    used = await usage.used([reservation.reservation_id for reservation in expired])
    now = await ledger.now_ms()
    settled = assumed = waiting = already = 0
    for reservation in expired:
        amounts = used.get(reservation.reservation_id)
        if amounts is not None:
            done = await ledger.release(reservation.reservation_id, amounts)
        elif now < reservation.expired_at_ms + wait_ms:
            waiting += 1
            continue
        else:
            done = await ledger.settle(reservation.reservation_id)
        if done.booking not in (Booking.BOOKED, Booking.LATE):
            already += 1
        elif amounts is None:
            assumed += 1
        else:
            settled += 1
    return Reconciled(settled, assumed, waiting, already)

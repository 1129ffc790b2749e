"""What was used, booked also where the store knows nothing of the reservation any more.

A store that lost its memory, a replica that came in its place without the last second, a file that was replaced:
what they had counted is gone, and they tell of it. What ends afterwards is known, and counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sallyport.stages.ledger import Booking, Claim, Ledger


async def settle(
    ledger: Ledger, reservation_id: str, amounts: Mapping[str, int], claims: Sequence[Claim]
) -> None:
    """Settle a reservation; one that is unknown is booked. claims: what it held. Raises LedgerUnavailable.

    An id that was settled is known for minutes, and a settlement is repeated for seconds: nothing is booked twice.
    """
    done = await ledger.settle(reservation_id, amounts)
    if done.booking is Booking.UNKNOWN and claims:
        used = [
            replace(claim, amount=amounts.get(claim.key, claim.amount), enforced=False) for claim in claims
        ]
        await ledger.book(reservation_id, used)

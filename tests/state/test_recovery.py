"""What a dead gateway had reserved is booked from what the audit recorded, each request once."""

from collections.abc import Mapping, Sequence

from sallyport.stages.ledger import Calendar, Claim, Unit
from sallyport.state.ledger.recovery import Reconciled, reconcile
from state.stores import MemoryStore

LEASE_MS = 1000
HOUR_MS = 3_600_000


class Recorded:
    """The end of one request was recorded; of the other nothing."""

    async def used(self, reservation_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        return {i: {"tokens": 7} for i in reservation_ids if i == "recorded"}


async def test_recorded_usage_is_booked_and_the_rest_as_estimated() -> None:
    store = MemoryStore()
    request = [
        Claim("tokens", 1000, 100, Calendar(Unit.MONTH)),
        Claim("cost", 1000, 50, Calendar(Unit.MONTH)),
    ]
    for name in ("recorded", "silent"):
        await store.ledger.reserve(name, request, LEASE_MS)
    await store.pass_ms(LEASE_MS)
    first = await reconcile(store.ledger, Recorded(), wait_ms=HOUR_MS)
    assert first == Reconciled(settled=1, waiting=1)
    (level,) = await store.ledger.levels()
    assert (level.key, level.used, level.reserved) == ("tokens", 7, 0)
    await store.pass_ms(HOUR_MS)
    assert await reconcile(store.ledger, Recorded(), wait_ms=HOUR_MS) == Reconciled(assumed=1)
    assert await reconcile(store.ledger, Recorded(), wait_ms=HOUR_MS) == Reconciled()
    levels = {level.key: level.used for level in await store.ledger.levels()}
    assert levels == {"tokens": 107, "cost": 50}

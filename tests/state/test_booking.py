"""What dead gateways had reserved is booked from the audit, once; and what ends beside a store that comes back."""

import asyncio
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sallyport.audit.events import Event, EventKind, interrupted
from sallyport.audit.store import Store
from sallyport.cli.recorded import RecordedUse
from sallyport.exchange import (
    Response,
    Usage,
)
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.limits import Measure
from sallyport.policy.load import parse_policy
from sallyport.proxy.gateway import Live
from sallyport.stages.ledger import Booking, Claim, Concurrent, Reserved, TokenBucket
from sallyport.state.booking import Metering
from sallyport.state.ledger.fallback import Allowance, Fallback
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.ledger.redis import RedisLedger
from state.metered import CLAIMS, DEARER, MONTH, TARIFF, exchange, meter_of, nothing, used
from state.redisserver import RedisServer

POLICY = """version: 1
limits:
  rules:
    - {id: tokens, measure: total_tokens, limit: 1000000, per: month}
    - {id: money, measure: cost_usd, limit: 1000, per: month}
    - {id: calls, limit: 100, per: month}
"""


def event(kind: EventKind, of: str, **more: Any) -> Event:
    return Event(kind=kind, gateway="gw", exchange=of, **more)


async def test_what_the_audit_recorded_of_a_dead_gateway_is_booked_once(tmp_path: Path) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    ended = event(
        EventKind.COMPLETED,
        "ended",
        usage=Usage(input=11, output=22),
        cost_micro_usd=550,
        request_bytes=10,
        response_bytes=20,
    )
    store.write(
        [event(EventKind.ADMITTED, name) for name in ("ended", "open")]
        + [ended, event(EventKind.REFUSED, "refused")]
    )
    for name in ("ended", "open", "refused", "never-left"):
        await ledger.reserve(name, [c for _, c in CLAIMS], 1)
    await asyncio.sleep(0.01)
    live = cast(Live, SimpleNamespace(policy=parse_policy(POLICY), tariff=TARIFF))
    recorded = RecordedUse(store, ledger, lambda: live)
    done = await recorded.recover()
    assert (done.settled, done.waiting, done.assumed) == (3, 1, 0)
    levels = {level.key: (level.used, level.reserved) for level in await ledger.levels()}
    assert levels == {"tokens/a": (33, 0), "money/a": (550, 0), "calls/a": (1, 0)}
    again = await recorded.recover()
    assert (again.settled, again.waiting) == (0, 1)
    store.close()


async def test_what_is_not_among_the_oldest_any_more_is_not_booked_as_nothing(tmp_path: Path) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    store.write(
        [event(EventKind.ADMITTED, "late"), event(EventKind.COMPLETED, "late", usage=Usage(11, output=22))]
    )
    for name in ("older", "late"):
        await ledger.reserve(name, [c for _, c in CLAIMS], 1)
        await asyncio.sleep(0.01)
    live = cast(Live, SimpleNamespace(policy=parse_policy(POLICY), tariff=TARIFF))
    recorded = RecordedUse(store, ledger, lambda: live)
    assert await recorded.used(["late"]) == {}, "the oldest of the expired ones is another"
    assert (await recorded.used(["older", "late"]))["late"]["tokens/a"] == 33
    store.close()


async def test_what_has_no_price_counts_as_reserved_also_when_it_is_booked_and_compared_from_the_audit(
    tmp_path: Path,
) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    admitted = event(EventKind.ADMITTED, "ended", cost_micro_usd=9000)
    store.write([admitted, admitted.followed_by(EventKind.COMPLETED, usage=Usage(input=11, output=22))])
    await ledger.reserve("ended", [c for _, c in CLAIMS], 1)
    await asyncio.sleep(0.01)
    live = cast(Live, SimpleNamespace(policy=parse_policy(POLICY), tariff=TARIFF))
    await RecordedUse(store, ledger, lambda: live).recover()
    assert {level.key: level.used for level in await ledger.levels()}["money/a"] == 9000
    (booked,) = store.booked(admitted.at - timedelta(hours=1), admitted.at + timedelta(hours=1))
    assert booked.cost_micro_usd == 9000
    store.close()


async def test_of_several_models_that_might_have_answered_a_dead_gateways_is_booked_on_the_one_that_did(
    tmp_path: Path,
) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    end = event(
        EventKind.COMPLETED, "ended", provider="openai", model="lab-dear", usage=Usage(input=11, output=22)
    )
    store.write([event(EventKind.ADMITTED, "ended"), end])
    models = {"each/principal=a:b/model=lab-dear*": "lab-dear*", "each/principal=a:b/model=lab-*": "lab-*"}
    await ledger.reserve("ended", [Claim(key, 10**6, 1000, MONTH, model=m) for key, m in models.items()], 1)
    await asyncio.sleep(0.01)
    policy = parse_policy(
        "version: 1\nlimits:\n  rules:\n    - {id: each, measure: total_tokens, limit: 1000000, per: month, "
        "by: [principal, model]}\n"
    )
    live = cast(Live, SimpleNamespace(policy=policy, tariff=DEARER))
    await RecordedUse(store, ledger, lambda: live).recover()
    counted = {level.key: (level.used, level.reserved) for level in await ledger.levels()}
    assert counted["each/principal=a:b/model=lab-dear*"] == (33, 0)
    assert counted.get("each/principal=a:b/model=lab-*", (0, 0)) == (0, 0)
    store.close()


@pytest.mark.parametrize("held_as", ["open", "open#1", "open#2"])
async def test_what_a_dead_gateway_left_open_is_booked_on_one_of_the_models_that_might_have_answered(
    tmp_path: Path, held_as: str
) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    used = Usage(input=11, output=22)
    admitted = event(EventKind.ADMITTED, "open", provider="openai", model="lab-m", usage=used)
    store.write([admitted])
    models = {"each/principal=a:b/model=lab-dear*": "lab-dear*", "each/principal=a:b/model=lab-*": "lab-*"}
    claims = [Claim(key, 10**6, 33, MONTH, model=model) for key, model in models.items()]
    ids = ("open", "open#1", "open#2")
    for over in ids[: ids.index(held_as)]:  # the store had been away, and gave back what it had taken
        await ledger.reserve(over, claims, 90_000)
        await ledger.release(over)
    await ledger.reserve(held_as, [*claims, Claim("at-once/a", 1, 1, Concurrent())], 90_000)
    policy = parse_policy(
        "version: 1\nlimits:\n  rules:\n    - {id: each, measure: total_tokens, limit: 1000000, per: month, "
        "by: [principal, model]}\n"
    )
    live = cast(Live, SimpleNamespace(policy=policy, tariff=DEARER))
    recorded = RecordedUse(store, ledger, lambda: live, {"open": interrupted(admitted)})
    metering = Metering(ledger, TokenCounter(), orphans=("open",), recover=recorded.recover)
    metering.start()
    async with asyncio.timeout(20):
        while not (counted := {level.key: level.used for level in await ledger.levels() if level.used}):
            await asyncio.sleep(0.01)
    assert counted == {"each/principal=a:b/model=lab-*": 33}
    assert isinstance(await ledger.reserve("next", [Claim("at-once/a", 1, 1, Concurrent())], 1), Reserved)
    await metering.close()
    store.close()


async def test_an_audit_that_cannot_be_read_books_nothing(tmp_path: Path) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    await ledger.reserve("x", [c for _, c in CLAIMS], 1)
    await asyncio.sleep(0.01)
    store.close()
    (tmp_path / "audit.db").unlink()
    (tmp_path / "audit.db").write_text("no database " * 100)
    live = cast(Live, SimpleNamespace(policy=parse_policy(POLICY), tariff=TARIFF))
    done = await RecordedUse(store, ledger, lambda: live).recover()
    assert (done.settled, done.waiting) == (0, 1)


async def test_what_ends_after_the_store_lost_its_memory_counts_once(redis_server: RedisServer) -> None:
    store = RedisLedger(redis_server.url)
    metering = Metering(Fallback(store, None, probe_every_ms=10), TokenCounter())
    ended, refused = (meter_of(metering, exchange(id)) for id in ("ended", "refused"))
    at_once = (Measure.CONCURRENT, Claim("at-once/a", 9, 1, Concurrent()))
    for meter in (ended, refused):
        assert isinstance(await meter.reserve([*CLAIMS, at_once], {}), Reserved)
    redis_server.kill()
    redis_server.start()
    ended.settle(Response(200, usage=Usage(input=3, output=4)), 0, failed=False)
    ended.book(nothing())
    refused.release()
    assert await used(metering) == {"tokens/a": 7, "money/a": 110, "calls/a": 1}
    assert (await metering.ledger.settle("ended", {"tokens/a": 7})).booking is Booking.ALREADY
    await metering.close()


async def test_who_waits_for_room_while_the_store_comes_back_is_admitted_and_booked_once(
    redis_server: RedisServer,
) -> None:
    store = RedisLedger(redis_server.url, patience_s=0.25)
    ledger = Fallback(store, Allowance(500), probe_every_ms=10)
    metering = Metering(ledger, TokenCounter())
    claims = [
        (Measure.REQUESTS, Claim("rate/a", 2, 1, TokenBucket(1, 1000))),
        (Measure.REQUESTS, Claim("calls/a", 1000, 1, MONTH)),
    ]
    await asyncio.gather(
        *(store.now_ms() for _ in range(4))
    )  # opens connections, into which the calls are written
    redis_server.freeze()
    meters = [meter_of(metering, exchange(id)) for id in ("first", "second")]
    try:
        admitted = [asyncio.create_task(meter.reserve(claims, {"rate/a": 30.0})) for meter in meters]
        await asyncio.wait(admitted, return_when=asyncio.FIRST_COMPLETED)
    finally:
        redis_server.resume()
    # The store had taken both reservations without an answer, and gives back that of the one who waits.
    assert [type(answer) for answer in await asyncio.gather(*admitted)] == [Reserved, Reserved]
    for meter in meters:
        meter.settle(Response(200, usage=Usage(input=3, output=4)), 0, failed=False)
        meter.book(nothing())
    while ledger.owed or await metering.booked():
        await asyncio.sleep(0.01)
        await ledger.sweep()
    (level,) = await store.levels("calls/a")
    assert (level.used, level.reserved) == (2, 0)
    await metering.close()

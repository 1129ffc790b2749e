"""What is peculiar to Redis: one round trip, one slot, keys that vanish, servers that forget."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ports import free_port
from sallyport.errors import OperatorError
from sallyport.stages.ledger import Calendar, Claim, Concurrent, Reserved, RollingWindow, TokenBucket, Unit
from sallyport.state.ledger.redis import RedisLedger
from state.redisserver import RedisServer

LEASE_MS = 60_000
PATIENCE_S = 20


def claims(tag: str) -> list[Claim]:
    return [
        Claim(f"rate/{tag}", 1000, 1, TokenBucket(10, 1000)),
        Claim(f"tokens/{tag}", 10**6, 500, RollingWindow(60_000)),
        Claim(f"month/{tag}", 10**9, 500, Calendar(Unit.MONTH)),
        Claim(f"minute/{tag}", 10**9, 500, Calendar(Unit.MINUTE)),
        Claim(f"gateway/{tag}", 10**9, 500, Calendar(Unit.DAY)),
        Claim(f"streams/{tag}", 100, 1, Concurrent()),
    ]


def keys_of(server: RedisServer) -> list[str]:
    return re.findall(r"\$\d+\r\n(.*?)\r\n", server.call("KEYS", "*").decode(), re.DOTALL)


def calls_of(server: RedisServer) -> dict[str, int]:
    stats = server.call("INFO", "commandstats").decode()
    return {name: int(calls) for name, calls in re.findall(r"cmdstat_([a-z|]+):calls=(\d+)", stats)}


async def everything(ledger: RedisLedger) -> None:
    """Use every kind of key."""
    await ledger.reserve("open", claims("a"), LEASE_MS)
    await ledger.reserve("over", claims("b*?[x]"), LEASE_MS)
    await ledger.settle("over", {"tokens/b*?[x]": 3})
    await ledger.reserve("lost", claims("c"), 1)
    await ledger.grant("month/a", 5, await ledger.now_ms() + 100_000)
    while not await ledger.expired():
        await asyncio.sleep(0.005)


async def test_a_step_is_one_command_of_one_script_and_keys_is_never_used(redis_server: RedisServer) -> None:
    ledger = RedisLedger(redis_server.url, patience_s=PATIENCE_S)
    await ledger.now_ms()
    redis_server.call("CONFIG", "RESETSTAT")
    for number in range(20):
        await ledger.reserve(f"{number}", claims("a"), LEASE_MS)
        await ledger.settle(f"{number}")
    assert calls_of(redis_server)["evalsha"] == 40
    await ledger.levels()
    await ledger.top(3)
    await ledger.reset("month/a")
    assert {"eval", "keys", "scan"}.isdisjoint(calls_of(redis_server))
    await ledger.close()


@pytest.fixture
def cluster() -> Iterator[RedisServer]:
    """A cluster of one node that owns all slots: it holds scripts to the rules of a cluster."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder / "node", "--cluster-enabled", "yes", port=free_port())
    server.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    while b"cluster_state:ok" not in server.call("CLUSTER", "INFO"):
        pass
    yield server
    server.kill()
    shutil.rmtree(folder)


async def test_all_keys_lie_in_one_slot_and_all_of_them_vanish(cluster: RedisServer) -> None:
    ledger = RedisLedger(cluster.port_url, cluster=True, patience_s=PATIENCE_S)
    await everything(ledger)
    kinds, slots = set(), set()
    for key in keys_of(cluster):
        kinds.add(key.split(":")[1])
        slots.add(int(cluster.call("CLUSTER", "KEYSLOT", key)[1:]))
        assert int(cluster.call("PTTL", key)[1:]) > 0, key
    assert kinds == {"ledger", "r", "due", "expired", "index", "grants"}
    assert len(slots) == 1
    await ledger.close()


async def test_every_step_runs_on_a_cluster(cluster: RedisServer) -> None:
    ledger = RedisLedger(cluster.port_url, cluster=True, patience_s=PATIENCE_S)
    await everything(ledger)
    assert [level.key for level in await ledger.levels("tokens/b*?[")] == ["tokens/b*?[x]"]
    assert await ledger.reset("tokens/b*?[x]")
    assert await ledger.levels("tokens/b*?[") == ()
    assert len(await ledger.top(3)) == 3
    await ledger.close()


async def test_a_server_that_forgot_script_and_counts_counts_on_from_zero(redis_server: RedisServer) -> None:
    ledger = RedisLedger(redis_server.url, patience_s=PATIENCE_S)
    budget = [Claim("budget", 10, 1, Calendar(Unit.MONTH))]
    replies = [await ledger.reserve(f"a{n}", budget, LEASE_MS) for n in range(12)]
    assert sum(isinstance(reply, Reserved) for reply in replies) == 10
    redis_server.call("FLUSHALL")
    redis_server.call("SCRIPT", "FLUSH")
    replies = await asyncio.gather(*(ledger.reserve(f"b{n}", budget, LEASE_MS) for n in range(200)))
    assert sum(isinstance(reply, Reserved) for reply in replies) == 10
    assert (await ledger.settle("a1")).booking == "unknown"
    redis_server.kill()
    redis_server.start()
    replies = await asyncio.gather(*(ledger.reserve(f"c{n}", budget, LEASE_MS) for n in range(200)))
    assert sum(isinstance(reply, Reserved) for reply in replies) == 10
    await ledger.close()


async def test_a_server_that_forgot_is_told_of_once_by_each_that_had_counted_there(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    one = RedisLedger(redis_server.url, patience_s=PATIENCE_S, lost=lambda: told.append("one"))
    other = RedisLedger(redis_server.url, patience_s=PATIENCE_S, lost=lambda: told.append("other"))
    budget = [Claim("budget", 1000, 1, Calendar(Unit.MONTH))]
    await asyncio.gather(
        *(each.reserve(f"a{n}", budget, LEASE_MS) for n in range(50) for each in (one, other))
    )
    assert told == []
    redis_server.call("FLUSHALL")
    await asyncio.gather(*(one.reserve(f"b{n}", budget, LEASE_MS) for n in range(50)))
    assert told == ["one"]
    assert "lost all it had counted" in caplog.text
    await other.sweep()
    assert told == ["one", "other"]
    redis_server.kill()
    redis_server.start()
    await one.sweep()
    await one.now_ms()
    assert told == ["one", "other", "one"]
    await one.close()
    await other.close()


async def test_a_server_with_an_old_copy_is_told_of_and_since_when(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    ledger = RedisLedger(redis_server.url, patience_s=PATIENCE_S, lost=lambda: told.append("lost"))
    budget = [Claim("budget", 1000, 1, Calendar(Unit.MONTH))]
    await ledger.reserve("a", budget, LEASE_MS)
    redis_server.call("SAVE")
    copied = await ledger.now_ms()
    while await ledger.now_ms() < copied + 5:
        await asyncio.sleep(0.001)
    await ledger.reserve("b", budget, LEASE_MS)
    redis_server.kill()
    redis_server.start()
    assert [level.reserved for level in await ledger.levels("budget")] == [1]
    assert told == ["lost"]
    assert "lost what it counted after 20" in caplog.text
    await ledger.close()


async def test_a_burst_waits_for_a_connection_instead_of_failing(redis_server: RedisServer) -> None:
    ledger = RedisLedger(redis_server.url, patience_s=PATIENCE_S, max_connections=3)
    replies = await asyncio.gather(*(ledger.reserve(f"{n}", claims("a"), LEASE_MS) for n in range(100)))
    assert {type(reply) for reply in replies} == {Reserved}
    assert int(re.findall(rb"connected_clients:(\d+)", redis_server.call("INFO", "clients"))[0]) <= 4
    await ledger.close()


async def test_amounts_up_to_the_greatest_are_exact(redis_server: RedisServer) -> None:
    ledger = RedisLedger(redis_server.url, patience_s=PATIENCE_S)
    month = Calendar(Unit.MONTH)
    await ledger.reserve("a", [Claim("big", 2**50, 2**50 - 1, month)], LEASE_MS)
    settled = await ledger.settle("a", {"big": 2**50 - 3})
    assert settled.levels[0].used == 2**50 - 3
    reply = await ledger.reserve("b", [Claim("big", 2**50, 4, month)], LEASE_MS)
    assert reply.levels[0].remaining == 3
    await ledger.close()


@pytest.mark.parametrize("namespace", ["", "a}b", "{a", "a b", "a" * 65])
def test_a_namespace_that_would_break_the_hash_tag_is_refused(namespace: str) -> None:
    with pytest.raises(OperatorError):
        RedisLedger("redis://127.0.0.1:1", namespace=namespace)


def test_a_wrong_address_is_refused_without_quoting_it() -> None:
    with pytest.raises(OperatorError) as caught:
        RedisLedger("http://user:word@somewhere")
    assert "word" not in str(caught.value)

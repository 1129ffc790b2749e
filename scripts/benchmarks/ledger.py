"""Time the ledger: reserve and settle of one request with six limits, in every store.

Run from the checkout: scripts/bench ledger [--rounds 15] [--requests 400] [--folder F].
Redis is measured against its own PING, in turns on the same connection, over a Unix socket.
"""

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from sallyport.stages.ledger import Calendar, Claim, Concurrent, Ledger, RollingWindow, TokenBucket, Unit
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.ledger.redis import RedisLedger
from sallyport.state.ledger.sqlite import SqliteLedger
from state.redisserver import RedisServer

LEASE_MS = 60_000
PRINCIPALS = 200
USED = {"tokens": 700, "budget": 5200, "day": 5200}
numbers = count()


def claims(principal: int) -> list[Claim]:
    """Return six limits as one request of a gateway touches them."""
    who = f"principal={principal}"
    return [
        Claim(f"requests/{who}", 10**6, 1, TokenBucket(600, 60_000)),
        Claim(f"tokens/{who}", 10**9, 2000, TokenBucket(10**6, 60_000)),
        Claim(f"budget/{who}", 10**15, 9000, Calendar(Unit.MONTH, "Europe/Berlin")),
        Claim("day/gateway", 10**15, 9000, Calendar(Unit.DAY)),
        Claim(f"hour/{who}", 10**9, 2000, RollingWindow(3_600_000)),
        Claim(f"streams/{who}", 10**6, 1, Concurrent()),
    ]


REQUESTS = [claims(n) for n in range(PRINCIPALS)]
AMOUNTS = [{f"{key}/principal={n}": used for key, used in USED.items()} for n in range(PRINCIPALS)]


async def timed_us(step: Callable[[int], Awaitable[object]], times: int) -> float:
    """Return microseconds per step, one after the other."""
    started = time.perf_counter()
    for n in range(times):
        await step(n)
    return (time.perf_counter() - started) / times * 1e6


async def whole_request_us(ledger: Ledger, times: int) -> float:
    first = next(numbers)

    async def request(n: int) -> None:
        await ledger.reserve(f"{first}-{n}", REQUESTS[n % PRINCIPALS], LEASE_MS)
        await ledger.settle(f"{first}-{n}", AMOUNTS[n % PRINCIPALS])

    return await timed_us(request, times)


def show(what: str, rounds: list[float]) -> None:
    low, high = min(rounds), max(rounds)
    print(f"{what:<44}median {statistics.median(rounds):8.1f} us   best {low:8.1f}   worst {high:8.1f}")


async def memory(rounds: int, requests: int) -> None:
    ledger = MemoryLedger()
    await whole_request_us(ledger, 2 * PRINCIPALS)
    gc.collect()
    gc.freeze()
    show("memory: reserve + settle", [await whole_request_us(ledger, 10 * requests) for _ in range(rounds)])


async def sqlite(rounds: int, requests: int, folder: Path) -> None:
    ledger = SqliteLedger(folder / "ledger.db", patience_s=60)
    await whole_request_us(ledger, PRINCIPALS)
    show(
        "sqlite: reserve + settle, one at a time",
        [await whole_request_us(ledger, requests) for _ in range(rounds)],
    )

    async def burst() -> float:
        first = next(numbers)
        started = time.perf_counter()
        await asyncio.gather(
            *(ledger.reserve(f"{first}-{n}", REQUESTS[n % PRINCIPALS], LEASE_MS) for n in range(200))
        )
        await asyncio.gather(*(ledger.settle(f"{first}-{n}", AMOUNTS[n % PRINCIPALS]) for n in range(200)))
        return (time.perf_counter() - started) / 200 * 1e6

    show("sqlite: the same, 200 at once, for each", [await burst() for _ in range(rounds)])
    longest = 0.0
    done = asyncio.create_task(burst())
    while not done.done():
        before = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - before)
    print(f"{'sqlite: longest turn of the loop meanwhile':<44}{longest * 1000:15.1f} ms")
    await ledger.close()


async def redis(rounds: int, requests: int, folder: Path) -> None:
    server = RedisServer(folder / "redis")
    ledger = RedisLedger(server.url, patience_s=60)
    client = ledger._client

    async def ping(_: int) -> object:
        return await client.ping()

    async def reserve(n: int) -> object:
        return await ledger.reserve(f"{next(numbers)}", REQUESTS[n % PRINCIPALS], LEASE_MS)

    await whole_request_us(ledger, PRINCIPALS)
    pings, reserves, ratios, wholes = [], [], [], []
    for _ in range(rounds):
        before = await timed_us(ping, requests)
        middle = await timed_us(reserve, requests)
        after = await timed_us(ping, requests)
        pings.append((before + after) / 2)
        reserves.append(middle)
        ratios.append(2 * middle / (before + after))
        wholes.append(await whole_request_us(ledger, requests))
    show("redis: PING", pings)
    show("redis: reserve", reserves)
    show("redis: reserve + settle", wholes)
    print(f"redis: reserve / PING, median of {rounds} rounds: {statistics.median(ratios):.2f}")
    stats = server.call("INFO", "commandstats").decode()
    line = next(line for line in stats.splitlines() if line.startswith("cmdstat_evalsha"))
    print(f"redis: the script inside the server: {line.partition('usec_per_call=')[2].partition(',')[0]} us")
    await ledger.close()
    server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=400, help="in a round; ten times as many in memory")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(memory(options.rounds, options.requests))
        asyncio.run(sqlite(options.rounds, options.requests, Path(folder)))
        asyncio.run(redis(options.rounds, options.requests, Path(folder)))


if __name__ == "__main__":
    main()

"""Time the ledger: reserve and settle of one request with six limits, in every store.

Run from the checkout: scripts/bench ledger [--rounds 15] [--requests 400] [--folder F].
Redis is measured against its own PING, call by call in turns, over a Unix socket and over TCP on loopback.
On a machine that others use as well, the tenth percentile and the time on the processor say more than the rest.
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
from state.redisserver import RedisServer, free_port

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
    times, processor = [], []
    for _ in range(rounds):
        before = time.process_time()
        times.append(await whole_request_us(ledger, requests))
        processor.append((time.process_time() - before) / requests * 1e6)
    show("memory: reserve + settle", times)
    show("memory: the same, time on the processor", processor)


async def loop_turns(work: Awaitable[object]) -> list[float]:
    """Return the milliseconds of every turn of the loop while work is under way."""
    turns: list[float] = []
    done = asyncio.ensure_future(work)
    while not done.done():
        before = time.perf_counter()
        await asyncio.sleep(0)
        turns.append((time.perf_counter() - before) * 1000)
    return turns


def show_turns(what: str, turns: list[float]) -> None:
    late = 1000 * sum(turn > 5 for turn in turns) / len(turns)
    high = statistics.quantiles(turns, n=1000)[-1]
    print(
        f"{what:<44}99.9 % within {high:.2f} ms   longest {max(turns):.1f} ms   over 5 ms: {late:.2f} in 1000"
    )


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
    show_turns("the loop's turns, nothing to do", await loop_turns(asyncio.sleep(1)))
    steady = asyncio.gather(*(whole_request_us(ledger, requests) for _ in range(16)))
    show_turns("the loop's turns, 16 callers of sqlite", await loop_turns(steady))
    await ledger.close()


async def redis(name: str, url: str, calls: int) -> None:
    ledger = RedisLedger(url, patience_s=60)
    await whole_request_us(ledger, PRINCIPALS)
    steps: dict[str, Callable[[int], Awaitable[object]]] = {
        "PING": lambda _: ledger._client.ping(),
        "reserve": lambda n: ledger.reserve(f"{name}-{n}", REQUESTS[n % PRINCIPALS], LEASE_MS),
        "settle": lambda n: ledger.settle(f"{name}-{n}", AMOUNTS[n % PRINCIPALS]),
    }
    times: dict[str, list[float]] = {step: [] for step in steps}
    for n in range(calls):
        for step, call in steps.items():
            started = time.perf_counter()
            await call(n)
            times[step].append((time.perf_counter() - started) * 1e6)
    for step, took in times.items():
        tenth, half = (statistics.quantiles(took, n=10)[i] for i in (0, 4))
        of_ping = tuple(statistics.quantiles(times["PING"], n=10)[i] for i in (0, 4))
        print(
            f"{name}: {step:<34}median {half:8.1f} us   tenth percentile {tenth:8.1f} us"
            f"   to PING {half / of_ping[1]:.2f} and {tenth / of_ping[0]:.2f}"
        )
    await ledger.close()


async def both_redis(calls: int, folder: Path) -> None:
    server = RedisServer(folder / "redis", port=free_port())
    await redis("redis, Unix socket", server.url, calls)
    await redis("redis, TCP", server.port_url, calls)
    stats = server.call("INFO", "commandstats").decode()
    line = next(line for line in stats.splitlines() if line.startswith("cmdstat_evalsha"))
    print(f"redis: the script inside the server: {line.partition('usec_per_call=')[2].partition(',')[0]} us")
    server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=400, help="in a round; ten times as many in memory")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(memory(options.rounds, 10 * options.requests))
        asyncio.run(sqlite(options.rounds, options.requests, Path(folder)))
        asyncio.run(both_redis(options.rounds * options.requests // 3, Path(folder)))


if __name__ == "__main__":
    main()

"""A gateway worker for race tests: told by lines on stdin, answers by lines on stdout.

python -m state.worker STORE ADDRESS NAME
race KEY COUNT LIMIT  reserve COUNT times at once, settle what passed; answers with the number that passed
load KEY FILE         reserve and settle until killed; what is used is written to FILE before it is settled
"""

import asyncio
import os
import random
import sys
from itertools import count
from pathlib import Path

from sallyport.stages.ledger import (
    Calendar,
    Claim,
    Concurrent,
    Ledger,
    Reserved,
    RollingWindow,
    TokenBucket,
    Unit,
)
from sallyport.state.ledger.redis import RedisLedger
from sallyport.state.ledger.sqlite import SqliteLedger

LEASE_MS = 60_000
LOAD_LEASE_MS = 1500


def open_store(store: str, address: str) -> Ledger:
    if store == "sqlite":
        return SqliteLedger(Path(address), patience_s=60)
    return RedisLedger(address, patience_s=60)


def claims(key: str, limit: int, amount: int = 1) -> list[Claim]:
    """One tight budget among five limits that have room."""
    return [
        Claim(f"requests/{key}", 10**6, 1, TokenBucket(1000, 1000)),
        Claim(f"budget/{key}", limit, amount, Calendar(Unit.MONTH, "Europe/Berlin")),
        Claim(f"tokens/{key}", 10**9, amount, RollingWindow(3_600_000)),
        Claim(f"day/{key}", 10**9, amount, Calendar(Unit.DAY)),
        Claim(f"streams/{key}", 10**6, 1, Concurrent()),
    ]


async def race(ledger: Ledger, name: str, key: str, at_once: int, limit: int) -> int:
    """Return how many of at_once requests passed; all of them are in flight together, and settled after."""
    replies = await asyncio.gather(
        *(ledger.reserve(f"{name}/{key}/{i}", claims(key, limit), LEASE_MS) for i in range(at_once))
    )
    passed = [i for i, reply in enumerate(replies) if isinstance(reply, Reserved)]
    await asyncio.gather(*(ledger.settle(f"{name}/{key}/{i}") for i in passed))
    return len(passed)


async def load(ledger: Ledger, name: str, key: str, file: str) -> None:
    """Hold reservations, settle most of them, leave some; never end."""
    record = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    numbers = count()
    chance = random.Random(name)

    async def one() -> None:
        while True:
            reservation_id = f"{name}-{next(numbers)}"
            await ledger.reserve(reservation_id, claims(key, 10**12, 100), LOAD_LEASE_MS)
            await asyncio.sleep(chance.random() * 0.02)
            used = chance.randrange(150)
            os.write(record, f"{reservation_id} {used}\n".encode())
            await ledger.settle(
                reservation_id, {f"budget/{key}": used, f"tokens/{key}": used, f"day/{key}": used}
            )

    await asyncio.gather(*(one() for _ in range(20)))


async def main(store: str, address: str, name: str) -> None:
    ledger = open_store(store, address)
    await ledger.now_ms()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        word, key, *rest = line.split()
        if word == "race":
            print(await race(ledger, name, key, int(rest[0]), int(rest[1])), flush=True)
        else:
            print("loading", flush=True)
            await load(ledger, name, key, rest[0])
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""Race requests through gateways that share a ledger against a budget for exactly 50 of them.

Run from the checkout: scripts/bench races [--repetitions 10] [--gateways 1,2,4] [--stores sqlite,redis].
200 requests leave at once over kept connections, spread over the gateways. Exit code 1 where in any repetition
more or fewer than 50 reached the provider, or the ledger counts another number.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from e2e.racing import AT_ONCE, BUDGET, Raced, fleet
from gateways import lab_in_thread
from state.redisserver import RedisServer


def raced(store: str, gateways: int, repetitions: int) -> list[Raced]:
    """Return what came of the races, of calls and of money in turns."""
    with tempfile.TemporaryDirectory(prefix="races-") as name, lab_in_thread() as lab:
        folder = Path(name)
        server = RedisServer(folder / "redis") if store == "redis" else None
        ledger = server.url if server else f"sqlite:///{folder / 'ledger.db'}"
        try:
            with fleet(folder, lab, gateways, ledger) as up:
                up.open()
                return [
                    up.race(f"{what}-{repetition}")
                    for repetition in range(repetitions)
                    for what in ("calls", "money")
                ]
        finally:
            if server:
                server.kill()


def main() -> int:
    """Race, and say how it went; 1 where a budget was not met exactly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--gateways", default="1,2,4")
    parser.add_argument("--stores", default="sqlite,redis")
    asked = parser.parse_args()
    failed = 0
    for store in asked.stores.split(","):
        for gateways in map(int, asked.gateways.split(",")):
            began = time.perf_counter()
            found = raced(store, gateways, asked.repetitions)
            exact = sum(race.exact for race in found)
            failed += len(found) - exact
            passed = sorted({race.upstream for race in found})
            print(
                f"{store:7} {gateways} gateways: {exact} of {len(found)} races of {AT_ONCE} requests exact, "
                f"{'/'.join(map(str, passed))} of {BUDGET} reached the provider, "
                f"{time.perf_counter() - began:.0f} s",
                flush=True,
            )
            for race in found:
                if not race.exact:
                    counts = {status: list(race.statuses).count(status) for status in set(race.statuses)}
                    print(f"  upstream {race.upstream}, used {race.used}, held {race.reserved}, {counts}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Time the audit log: one append, many appends together, and a stream of events nobody waits for.

Run from the checkout: scripts/bench audit [--seconds 3] [--folder F].
PostgreSQL is measured where it is installed, with fsync, over a Unix socket.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from sallyport.audit.events import DecisionRecord, Event, EventKind
from sallyport.audit.log import AuditLog
from sallyport.audit.store import Store
from sallyport.decision import Action, Mode
from servers import Postgres, postgres_folder

STAGES = ("identity", "access", "secrets", "masking", "injection", "output")
DECISIONS = tuple(DecisionRecord(s, Action.ALLOW, f"{s}.clean", Mode.ENFORCE, 40) for s in STAGES)
numbers = count()


def admitted() -> Event:
    return Event(
        kind=EventKind.ADMITTED,
        gateway="bench",
        exchange=f"exchange-{next(numbers)}",
        principal="somebody@example.com",
        client="10.0.0.7:50123",
        host="api.openai.com",
        provider="openai",
        dialect="openai_chat",
        operation="chat",
        model="gpt-4o",
        endpoint="/v1/chat/completions",
        action=Action.ALLOW,
        would_be=Action.ALLOW,
        policy_revision="0123456789abcdef",
        decisions=DECISIONS,
    )


async def appends(log: AuditLog, together: int, seconds: float) -> tuple[list[float], float]:
    """Return the milliseconds of every append and the appends a second, with so many callers at once."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        while time.perf_counter() < end:
            event = admitted()
            before = time.perf_counter()
            await log.append(event)
            took.append((time.perf_counter() - before) * 1000)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(together)))
    return took, len(took) / (time.perf_counter() - started)


def measure(name: str, url: str, seconds: float) -> None:
    store = Store.open(url)
    log = AuditLog(store, capacity=100_000)
    asyncio.run(appends(log, 4, 0.3))
    for together in (1, 16, 256):
        before = log.status().transactions
        took, rate = asyncio.run(appends(log, together, seconds))
        transactions = log.status().transactions - before
        high = statistics.quantiles(took, n=100)[98]
        print(
            f"{name:<16}{together:>4} at once  p50 {statistics.median(took):7.2f} ms  p99 {high:7.2f} ms"
            f"  {rate:8.0f} events/s  {len(took) / transactions:5.1f} events/commit"
        )
    events = [admitted() for _ in range(20_000)]
    started = time.perf_counter()
    for event in events:
        log.append_nowait(event)
    assert log.close(120)
    print(f"{name:<16}nobody waits  {len(events) / (time.perf_counter() - started):36.0f} events/s")
    store.close()


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    folder.chmod(0o755)
    server = Postgres(folder / "server", fsync="on")
    try:
        yield server.url
    finally:
        server.stop()


def building_us(make: Callable[[], Event]) -> float:
    started = time.perf_counter()
    for _ in range(10_000):
        make()
    return (time.perf_counter() - started) * 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    print(f"building an event: {building_us(admitted):.1f} us")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        measure("sqlite full", f"sqlite:///{folder}/full.db", options.seconds)
        measure("sqlite normal", f"sqlite:///{folder}/normal.db?durability=normal", options.seconds)
        if postgres_folder() is None:
            print("postgresql is not installed")
        else:
            measure("postgresql", stack.enter_context(postgres(folder)), options.seconds)


if __name__ == "__main__":
    main()

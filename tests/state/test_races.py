"""Many requests at once, in several processes, some of which are killed: the sums are exact all the same."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sallyport.stages.ledger import Ledger
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.ledger.recovery import reconcile
from state.worker import LOAD_LEASE_MS, open_store, race

REPETITIONS = 10
AT_ONCE = 200
BUDGET = 50
TESTS = Path(__file__).parent.parent


@contextmanager
def worker(store: str, address: str, name: str) -> Iterator[subprocess.Popen[str]]:
    paths = os.pathsep.join([str(TESTS.parent / "addons"), str(TESTS)])
    process = subprocess.Popen(
        [sys.executable, "-m", "state.worker", store, address, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin
    process.stdin.write(line + "\n")
    process.stdin.flush()


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Return the kind and the address of a store that processes share."""
    if request.param == "sqlite":
        return "sqlite", str(tmp_path / "ledger.db")
    return "redis", request.getfixturevalue("redis_server").url


async def settled_levels(ledger: Ledger) -> dict[str, tuple[int, int]]:
    return {level.key: (level.used, level.reserved) for level in await ledger.levels()}


@pytest.mark.parametrize("processes", [1, 2, 4])
async def test_a_budget_for_50_passes_50_of_200_in_any_number_of_processes(
    store: tuple[str, str], processes: int
) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(*store, f"worker{n}")) for n in range(processes)]
        for repetition in range(REPETITIONS):
            for process in workers:
                tell(process, f"race {repetition} {AT_ONCE // processes} {BUDGET}")
            passed = sum(int(process.stdout.readline()) for process in workers if process.stdout)
            assert passed == BUDGET
    ledger = open_store(*store)
    levels = await settled_levels(ledger)
    assert {levels[f"budget/{n}"] for n in range(REPETITIONS)} == {(BUDGET, 0)}
    assert {levels[f"tokens/{n}"] for n in range(REPETITIONS)} == {(BUDGET, 0)}
    assert not [key for key in levels if key.startswith("streams/")]
    await ledger.close()


async def test_a_budget_for_50_passes_50_of_200_in_memory() -> None:
    ledger = MemoryLedger()
    for repetition in range(REPETITIONS):
        assert await race(ledger, "only", str(repetition), AT_ONCE, BUDGET) == BUDGET


class Recorded:
    """The usage that killed workers had written down."""

    def __init__(self, amounts: Mapping[str, int]) -> None:
        self._amounts = amounts

    async def used(self, reservation_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        return {
            i: {f"{limit}/load": self._amounts.get(i, 0) for limit in ("budget", "tokens", "day")}
            for i in reservation_ids
        }


async def test_after_kill_9_nothing_stays_reserved_and_the_sums_are_exact(
    store: tuple[str, str], tmp_path: Path
) -> None:
    files = [tmp_path / f"used{n}" for n in range(2)]
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(*store, f"worker{n}")) for n in range(2)]
        for process, file in zip(workers, files, strict=True):
            tell(process, f"load load {file}")
            assert process.stdout
            assert process.stdout.readline() == "loading\n"
        deadline = time.monotonic() + 60
        while not all(file.exists() and file.stat().st_size > 5000 for file in files):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        for process in workers:
            process.kill()
    amounts = {
        name: int(used)
        for file in files
        for name, used in (line.split() for line in file.read_text().splitlines())
    }
    ledger = open_store(*store)
    held = await settled_levels(ledger)
    assert held["streams/load"][1] > 0
    await asyncio.sleep(LOAD_LEASE_MS / 1000)
    await ledger.sweep()
    levels = await settled_levels(ledger)
    assert "streams/load" not in levels
    assert levels["budget/load"][1] == 0
    done = await reconcile(ledger, Recorded(amounts), wait_ms=0)
    assert done.settled >= held["streams/load"][1]
    assert done.assumed == done.waiting == done.already == 0
    assert await ledger.expired() == ()
    levels = await settled_levels(ledger)
    total = sum(amounts.values())
    assert levels["budget/load"] == levels["day/load"] == levels["tokens/load"] == (total, 0)
    await ledger.close()

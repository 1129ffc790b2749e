"""Replay a month of every dialect: what changes is found exactly, how fast, and in how much memory.

Run from the checkout: scripts/bench replay [--flows 10000] [--jobs 1] [--same] [--folder F].
Calls, streams and answers are those of tests/replay/month.py, of which it is known what changes. `--same` does it
again on two processes and on a Dask cluster of this machine, and compares the bytes.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from replay.month import BASE, CANDIDATE, Expected, month
from replay.recording import write
from sallyport.cli.benches import Setup, Side
from sallyport.cli.replaying import in_order, workers
from sallyport.replay.costs import latency_line
from sallyport.replay.difference import Difference, difference
from sallyport.replay.flows import digest, find_flows
from sallyport.replay.report import About, report
from sallyport.replay.ruling import Judged
from sallyport.state.masterkey import MasterKeys

TOLD = 10
"""Times that speed and memory are told of one replay."""


def memory_mib() -> float:
    """Return the resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def replayed(setup: Setup, file: Path, jobs: int, dask: str | None, *, tell: bool) -> tuple[Difference, str]:
    """Return what was found, and the report of it."""
    read = digest([file])
    wall, used = time.perf_counter(), time.process_time()
    with ExitStack() as stack:
        index = stack.enter_context(find_flows([file], MasterKeys(Path(setup.home))))
        if tell:
            print(f"found {len(index)} flows in {time.process_time() - used:.1f} s, {memory_mib():.0f} MiB")
        every = max(1, len(index) // TOLD)

        def told(judged: Iterator[Judged]) -> Iterator[Judged]:
            last_wall, last_used = time.perf_counter(), time.process_time()
            for number, each in enumerate(judged, 1):
                yield each
                if tell and number % every == 0:
                    now, spent = time.perf_counter(), time.process_time()
                    print(
                        f"{number:>8} flows  {memory_mib():6.0f} MiB  {every / (now - last_wall):7.0f}/s"
                        f"  {every / (spent - last_used):7.0f}/s of this process's time",
                        flush=True,
                    )
                    last_wall, last_used = now, spent

        submit, ahead = stack.enter_context(workers(setup, jobs, dask))
        found = asyncio.run(difference(told(in_order(index, submit, ahead)), 5))
        about = About(setup.candidate.revision, "", read, index.left_out, len(index.cut))
    if tell:
        print(
            f"{found.flows / (time.perf_counter() - wall):.0f} flows/s in all. {latency_line(*found.costs)}"
        )
    return found, report(found, about, ())


def is_exact(found: Difference, expected: Expected) -> bool:
    """Compare with what was made by hand, and print it."""
    changes = {change.value: count for change, count in found.changes.items() if count}
    print(changes)
    return (
        found.flows == expected.flows
        and changes == expected.changes
        and found.by["rule"] == expected.rules
        and found.by["tenant"] == expected.tenants
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--same", action="store_true", help="compare the bytes of 1 and 2 processes and Dask")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        (folder / "base.yaml").write_text(BASE)
        (folder / "next.yaml").write_text(CANDIDATE)
        make, expected = month(options.flows)
        file = write(folder / "month.flow", make())
        print(f"{options.flows} flows, {file.stat().st_size / 2**20:.1f} MiB")
        base, candidate = (Side.of(str(folder / name), None) for name in ("base.yaml", "next.yaml"))
        setup = Setup(candidate, base, None, "", str(folder / "home"), bytes(32))
        found, said = replayed(setup, file, options.jobs, None, tell=True)
        exact = is_exact(found, expected)
        print("as made by hand" if exact else f"NOT as made by hand: {expected.changes}")
        same = not options.same or _is_same(setup, file, said)
    return 0 if exact and same else 1


def _is_same(setup: Setup, file: Path, said: str) -> bool:
    from distributed import LocalCluster

    again = {jobs: replayed(setup, file, jobs, None, tell=False)[1] for jobs in (1, 2)}
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        spread = replayed(setup, file, 1, cluster.scheduler_address, tell=False)[1]
    same = {said, *again.values(), spread} == {said}
    print("the same bytes again, on 2 processes and on Dask" if same else "NOT the same bytes")
    return same


if __name__ == "__main__":
    sys.exit(main())

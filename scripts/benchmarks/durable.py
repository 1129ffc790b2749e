"""What it costs that an admission is durable before its request leaves: audit.required on, against off.

Run from the checkout: scripts/bench durable [--rounds 7] [--seconds 1.5] [--connections 16] [--pause-ms 80]
[--folder F] [--json FILE]. Gateways that differ in that and in their store alone, SQLite and PostgreSQL with fsync,
stand side by side and are asked in turns, in rounds of alternating order. Printed is the median over the rounds of
the difference of their p50 in one round, in milliseconds; where rounds lie far apart, the machine computed other
things. Twice: under clients that rest between an answer and their next request, where it is what a request waits
for the log; and under clients that never rest, where the gateway has no processor time left, every request stands
behind all others, and it is the added processor time times the connections. Exit code 1 where either is more than
3 ms, or where an event is missing.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import HERE, HOST, Case, Child, Failed, Series, Target, ask, commit_ms, measure
from sallyport.audit.events import EventKind
from sallyport.audit.store import Store
from servers import Postgres, postgres_folder

MOST_MS = 3.0
_POLICY = "version: 1\nidentity: {unknown: anonymous}\naudit: {required: %s}\n"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two gateways on stores of one kind: one waits for the log, the other does not. urls: of both stores."""

    store: str
    waits: Target
    goes_on: Target
    urls: tuple[str, str]


def stores(stack: contextlib.ExitStack, folder: Path) -> dict[str, tuple[str, str]]:
    """Return the addresses of two new stores of each kind."""
    found = {"sqlite": (f"sqlite:///{folder / 'waits.db'}", f"sqlite:///{folder / 'goes-on.db'}")}
    if postgres_folder() is not None:
        server = Postgres(folder / "pg", fsync="on")
        stack.callback(server.stop)
        found["postgres"] = (server.create_database("waits"), server.create_database("goes_on"))
    return found


@contextlib.contextmanager
def bench(folder: Path) -> Iterator[tuple[list[Pair], Child]]:
    """Start everything; end it all on the way out."""
    with contextlib.ExitStack() as stack:

        def start(name: str, command: list[str], *, talks: bool = False) -> Child:
            child = Child(name, command, folder, talks=talks)
            stack.callback(child.stop)
            return child

        python, lab = sys.executable, folder / "lab"
        provider = start("standin", [python, str(HERE / "standin.py"), str(lab)], talks=True)
        upstream = int(provider.hear())

        def gateway(name: str, url: str, required: str) -> Target:
            policy, ready, confdir = folder / f"{name}.yaml", folder / f"{name}.json", folder / f"{name}-conf"
            policy.write_text(_POLICY % required)
            words = [python, "-m", "sallyport", "run", "--policy", str(policy), "--confdir", str(confdir)]
            words += ["--store", url, "--listen", "explicit@127.0.0.1:0", "--ready-file", str(ready)]
            words += [
                "--upstream-ca",
                str(lab / "lab-ca.pem"),
                "--connect-to",
                f"{HOST}:443:127.0.0.1:{upstream}",
            ]
            child = start(name, words)
            child.await_start(lambda: ready.is_file() and ready.read_text().endswith("}"))
            port = int(next(iter(json.loads(ready.read_text()).values())))
            return Target(name, port, port, f"{HOST}:443", confdir / "ca-cert.pem", child.pid)

        pairs = [
            Pair(
                kind,
                gateway(f"{kind}-waits", urls[0], "true"),
                gateway(f"{kind}-goes-on", urls[1], "false"),
                urls,
            )
            for kind, urls in stores(stack, folder).items()
        ]
        yield pairs, start("load", [python, str(HERE / "load.py")], talks=True)


def run(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure in rounds and return the figures. Raises Failed."""
    resting = Case("resting", "2k", asked.connections, pause_s=asked.pause_ms / 1000)
    case = Case("restless", "2k", asked.connections)
    commits = []
    with bench(folder) as (pairs, generator):
        targets = [target for pair in pairs for target in (pair.waits, pair.goes_on)]
        series = {(each.name, t.name): Series() for each in (resting, case) for t in targets}
        for t in targets:
            opening = {
                "open": t.name,
                "port": t.port,
                "proxy": t.proxy,
                "connect_to": t.connect_to,
                "ca": str(t.ca),
            }
            ask(generator, opening | {"connections": asked.connections})
            measure(
                generator, t, case, asked.seconds / 2, Series()
            )  # the first requests of a gateway are slow
        warmed = {pair.store: _events(pair) for pair in pairs}
        for number in range(asked.rounds):
            commits.append(commit_ms(folder))
            for each in (resting, case):
                for target in targets if number % 2 == 0 else targets[::-1]:
                    measure(generator, target, each, asked.seconds, series[each.name, target.name])
        for pair in pairs:
            here = (pair.waits.name, pair.goes_on.name)
            sent = sum(len(one.totals) for (_, target), one in series.items() if target in here)
            _await_events(pair, warmed[pair.store] + 2 * sent)
    figures: dict[str, Any] = {"connections": asked.connections, "rounds": asked.rounds}
    figures["load_average"] = round(os.getloadavg()[0], 1)
    figures["disk_commit_ms"] = round(statistics.median(commits), 3)
    for pair in pairs:
        figures[pair.store] = {
            each.name: _compared(series[each.name, pair.waits.name], series[each.name, pair.goes_on.name])
            for each in (resting, case)
        }
    return figures


def _compared(waits: Series, goes_on: Series) -> dict[str, Any]:
    added = [a - b for a, b in zip(waits.p50, goes_on.p50, strict=True)]
    return {
        "added_p50_ms": round(statistics.median(added), 2),
        "added_p50_ms_of_rounds": [round(one, 2) for one in sorted(added)],
        "p50_ms": {"waits": _middle(waits.p50), "goes_on": _middle(goes_on.p50)},
        "requests_per_s": {"waits": _middle(waits.rps), "goes_on": _middle(goes_on.rps)},
        "cpu_ms": {"waits": _middle(waits.cpu), "goes_on": _middle(goes_on.cpu)},
    }


def _events(pair: Pair) -> int:
    """Return how many admissions and completions both stores of a pair hold."""
    found = 0
    for url in pair.urls:
        store = Store.open(url, create=False)
        for kind in (EventKind.ADMITTED, EventKind.COMPLETED):
            found += len(store.events(10**7, kind=kind))
        store.close()
    return found


def _await_events(pair: Pair, count: int) -> None:
    """Wait until both stores hold so many. Raises Failed."""
    deadline = time.monotonic() + 20
    while (found := _events(pair)) < count:
        if time.monotonic() > deadline:
            raise Failed(f"{pair.store} holds {found} events of at least {count}")
        time.sleep(0.2)


def _middle(values: list[float]) -> float:
    return round(statistics.median(values), 2)


def main() -> int:
    """Measure and print; 1 where waiting costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument(
        "--pause-ms", type=float, default=80.0, help="how long clients of the first load rest"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the stores lie while it lasts; a real disk is best"
    )
    parser.add_argument("--json", type=Path, help="write the result there as well")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="durable-", dir=asked.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        try:
            figures = run(asked, folder)
        except Failed as error:
            print(f"durable: {error}", file=sys.stderr)
            return 1
    result = json.dumps(figures, indent=1)
    print(result)
    if asked.json is not None:
        asked.json.write_text(result + "\n", encoding="utf-8")
    found = [load for kind in ("sqlite", "postgres") for load in figures.get(kind, {}).values()]
    return int(any(load["added_p50_ms"] > MOST_MS for load in found))


if __name__ == "__main__":
    sys.exit(main())

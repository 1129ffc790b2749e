"""What the gateway costs: the same load, straight, through stock mitmproxy, our bare host and the full stack.

All four stand side by side and are measured in turns, in rounds of alternating order, so that other work on
the machine falls on all of them. Loopback only. See docs/performance.md for what the figures mean.
"""

import argparse
import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import sqlite3
import ssl
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
HOST = "api.openai.com"
MOST_CONNECTIONS = 16
TARGETS = ("direct", "stock", "bare", "full")
_START_S = 60.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement. minimum: requests to send even where the time is over. pause_s: rest of a connection."""

    name: str
    load: str
    connections: int
    minimum: int = 0
    pause_s: float = 0.0


CASES = (
    Case("2k_c1", "2k", 1),
    Case("2k_c16", "2k", 16),
    Case("50k_c1", "50k", 1),
    Case("50k_c16", "50k", 16),
    Case("resent_c1", "resent", 1),
    Case("resent_c16", "resent", 16),
    Case("stream_c1", "stream-1ms", 1, minimum=5),
    Case("stream_c16", "stream-20ms", 16),
)


class Failed(Exception):
    """The benchmark could not be run; the text says why."""


@dataclass(slots=True)
class Target:
    """Something that answers. pid: the process whose time is counted, None for none."""

    name: str
    port: int
    proxy: int | None
    connect_to: str
    ca: Path
    pid: int | None


@dataclass(slots=True)
class Series:
    """The rounds of one case on one target."""

    rps: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)


class Child:
    """A process of ours; ended by its own pid, never by name."""

    def __init__(self, name: str, command: list[str], folder: Path, *, talks: bool = False) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log,
                stderr=log,
                text=talks,
                cwd=folder,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended: {self.log.read_text(errors='replace')[-800:]}")
        return str(line)

    def await_start(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{self.name} did not start: {self.log.read_text(errors='replace')[-800:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def cpu_s(pid: int) -> float:
    """Return the user and system time a process has used so far, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def bench(folder: Path) -> Iterator[tuple[list[Target], Child]]:
    """Start everything; end it all on the way out."""
    with contextlib.ExitStack() as stack:

        def start(name: str, command: list[str], *, talks: bool = False) -> Child:
            child = Child(name, command, folder, talks=talks)
            stack.callback(child.stop)
            return child

        def listening(child: Child, file: Path) -> int:
            child.await_start(lambda: file.is_file() and file.read_text().endswith("}"))
            return int(next(iter(json.loads(file.read_text()).values())))

        python = sys.executable
        lab = folder / "lab"
        provider = start("standin", [python, str(HERE / "standin.py"), str(lab)], talks=True)
        upstream = int(provider.hear())
        ca = lab / "lab-ca.pem"

        stock_port = free_port()
        stock = start(
            "stock",
            [
                *(str(Path(python).with_name("mitmdump")), "-q", "--listen-host", "127.0.0.1"),
                *("-p", str(stock_port), "--set", f"confdir={folder / 'stock-ca'}"),
                *("--set", f"ssl_verify_upstream_trusted_ca={ca}"),
            ],
        )
        bare_ready, full_ready = folder / "bare.json", folder / "full.json"
        bare = start(
            "bare",
            [
                python,
                str(HERE / "barehost.py"),
                str(folder / "bare-ca"),
                str(ca),
                str(upstream),
                str(bare_ready),
            ],
        )
        full = start(
            "full",
            [
                *(
                    python,
                    "-m",
                    "sallyport",
                    "run",
                    "--policy",
                    "balanced",
                    "--confdir",
                    str(folder / "full-ca"),
                ),
                *("--listen", "explicit@127.0.0.1:0", "--upstream-ca", str(ca)),
                *("--connect-to", f"{HOST}:443:127.0.0.1:{upstream}", "--ready-file", str(full_ready)),
            ],
        )
        stock.await_start(lambda: accepts(stock_port))
        bare_port, full_port = listening(bare, bare_ready), listening(full, full_ready)
        # Stock has no --connect-to: its clients ask for the stand-in's address and say the name in TLS.
        targets = [
            Target("direct", upstream, None, "", ca, None),
            Target(
                "stock",
                stock_port,
                stock_port,
                f"127.0.0.1:{upstream}",
                folder / "stock-ca" / "mitmproxy-ca-cert.pem",
                stock.pid,
            ),
            Target("bare", bare_port, bare_port, f"{HOST}:443", folder / "bare-ca" / "ca-cert.pem", bare.pid),
            Target("full", full_port, full_port, f"{HOST}:443", folder / "full-ca" / "ca-cert.pem", full.pid),
        ]
        generator = start("load", [python, str(HERE / "load.py")], talks=True)
        yield targets, generator


def ask(generator: Child, command: dict[str, Any]) -> dict[str, Any]:
    generator.say(command)
    answer: dict[str, Any] = json.loads(generator.hear())
    if "error" in answer:
        raise Failed(f"{command}: {answer['error']}")
    return answer


def measure(generator: Child, target: Target, case: Case, seconds: float, into: Series) -> None:
    before = cpu_s(target.pid) if target.pid else 0.0
    command = {
        "run": target.name,
        "load": case.load,
        "connections": case.connections,
        "seconds": seconds,
        "minimum": case.minimum,
        "pause_s": case.pause_s,
    }
    answer = ask(generator, command)
    used = (cpu_s(target.pid) if target.pid else 0.0) - before
    totals: list[float] = answer["totals"]
    into.rps.append(len(totals) / answer["elapsed"])
    into.p50.append(statistics.median(totals) * 1000)
    into.first.append(statistics.median(answer["firsts"]) * 1000)
    into.cpu.append(used / len(totals) * 1000)
    into.totals += totals
    into.firsts += answer["firsts"]


def commit_ms(folder: Path) -> float:
    """Return the median time this disk takes to make four pages durable, as each audited request waits for."""
    took = []
    with (folder / "commit").open("wb", buffering=0) as file:
        for _ in range(15):
            started = time.perf_counter()
            file.write(bytes(16_384))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - started)
    return statistics.median(took) * 1000


def refuses_a_secret(full: Target) -> bool:
    """Send a made-up key through the full stack, to know that what is measured is at work."""
    context = ssl.create_default_context(cafile=str(full.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", full.proxy, context=context, timeout=10)
    connection.set_tunnel(HOST, 443)
    letters = string.ascii_uppercase + "234567"
    key = "AKIA" + "".join(secrets.choice(letters) for _ in range(16))
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Use {key} for the upload."}]}
    headers = {"content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        return connection.getresponse().status == 400
    finally:
        connection.close()


def audited(folder: Path) -> dict[str, int]:
    """Return how many events of each kind the full stack's audit holds."""
    with contextlib.closing(sqlite3.connect(folder / "full-ca" / "audit.db")) as store:
        return dict(store.execute("SELECT kind, count(*) FROM audit_events GROUP BY kind"))


def run(rounds: int, seconds: float, cases: tuple[Case, ...], folder: Path) -> dict[str, Any]:
    """Run all rounds and return what --json holds."""
    series = {(case.name, target): Series() for case in cases for target in TARGETS}
    began = time.monotonic()
    with bench(folder) as (targets, generator):
        for target in targets:
            ask(
                generator,
                {
                    "open": target.name,
                    "port": target.port,
                    "proxy": target.proxy,
                    "connect_to": target.connect_to,
                    "ca": str(target.ca),
                    "connections": MOST_CONNECTIONS,
                },
            )
        if not refuses_a_secret(targets[-1]):
            raise Failed("the full stack let a made-up key pass, so it is not what would be measured")
        load_before = os.getloadavg()[0]
        commits = []
        for number in range(rounds):
            commits.append(commit_ms(folder))
            for case in cases:
                for target in targets if number % 2 == 0 else targets[::-1]:
                    measure(generator, target, case, seconds, series[case.name, target.name])
    # The gateway has been stopped: everything it accepted is stored.
    events = audited(folder)
    sent = sum(len(s.totals) for (_, target), s in series.items() if target == "full") + MOST_CONNECTIONS
    if events.get("admitted") != sent or events.get("completed") != sent:
        raise Failed(f"{sent} requests went through the full stack, and its audit holds {events}")
    return {
        "rounds": rounds,
        "seconds": seconds,
        "load_average_before": round(load_before, 2),
        "disk_commit_ms": round(statistics.median(commits), 3),
        "wall_s": round(time.monotonic() - began, 1),
        "audit": events,
        "cases": {c.name: {t: _figures(series[c.name, t]) for t in TARGETS} for c in cases},
        "ratios": _ratios(series, cases),
    }


def _figures(series: Series) -> dict[str, float | int]:
    return {
        "requests": len(series.totals),
        "rps": round(statistics.median(series.rps), 1),
        "p50_ms": round(statistics.median(series.p50), 3),
        "p99_ms": round(percentile(series.totals, 0.99) * 1000, 3),
        "first_byte_p50_ms": round(statistics.median(series.first), 3),
        "first_byte_p99_ms": round(percentile(series.firsts, 0.99) * 1000, 3),
        "cpu_ms": round(statistics.fmean(series.cpu), 3),
    }


def _ratios(series: dict[tuple[str, str], Series], cases: tuple[Case, ...]) -> dict[str, float]:
    """Compare within each round, then take the median of the rounds."""

    def middle(pairs: Iterator[float]) -> float:
        return round(statistics.median(pairs), 3)

    found: dict[str, float] = {}
    for case in cases:
        direct, stock, bare, full = (series[case.name, target] for target in TARGETS)
        rounds = range(len(full.rps))
        if case.load.startswith("stream"):
            part = case.name.removeprefix("stream_")
            for name, series_of in (("direct", direct), ("bare", bare)):
                found[f"stream_first_byte_added_ms_over_{name}_{part}"] = middle(
                    full.first[n] - series_of.first[n] for n in rounds
                )
            found[f"stream_cpu_full_vs_bare_{part}"] = middle(full.cpu[n] / bare.cpu[n] for n in rounds)
            found[f"stream_cpu_full_vs_stock_{part}"] = middle(full.cpu[n] / stock.cpu[n] for n in rounds)
            continue
        found[f"full_vs_stock_{case.name}"] = middle(full.rps[n] / stock.rps[n] for n in rounds)
        found[f"bare_vs_stock_{case.name}"] = middle(bare.rps[n] / stock.rps[n] for n in rounds)
        found[f"full_cpu_vs_stock_{case.name}"] = middle(full.cpu[n] / stock.cpu[n] for n in rounds)
        found[f"full_added_p50_ms_over_bare_{case.name}"] = middle(full.p50[n] - bare.p50[n] for n in rounds)
        found[f"full_added_p50_ms_over_direct_{case.name}"] = middle(
            full.p50[n] - direct.p50[n] for n in rounds
        )
    return found


def table(result: dict[str, Any]) -> str:
    """Lay the figures out for people."""
    lines = [
        f"{'case':<11}{'target':<8}{'requests':>9}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'first ms':>10}{'CPU ms':>8}"
    ]
    for case, targets in result["cases"].items():
        for target, f in targets.items():
            cpu = "-" if target == "direct" else f"{f['cpu_ms']:.2f}"
            lines.append(
                f"{case:<11}{target:<8}{f['requests']:>9}{f['rps']:>9.1f}{f['p50_ms']:>9.2f}{f['p99_ms']:>9.2f}"
                f"{f['first_byte_p50_ms']:>10.2f}{cpu:>8}"
            )
    lines.append("")
    lines += [f"{name:<48}{value:>9.3f}" for name, value in result["ratios"].items()]
    lines += [
        "",
        f"{result['rounds']} rounds of {result['seconds']} s in {result['wall_s']:.0f} s; load average before: "
        f"{result['load_average_before']}; audit events: {result['audit']}",
        f"One commit of this disk takes {result['disk_commit_ms']:.2f} ms; a request waits for one before it leaves.",
        "CPU ms: user and system time of the proxy per request. Compare only within one run.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each case on each target")
    parser.add_argument("--seconds", type=float, default=1.2, help="length of one measurement")
    parser.add_argument("--quick", action="store_true", help="two short rounds of the main cases")
    parser.add_argument("--cases", nargs="*", choices=[c.name for c in CASES], help="only these")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - for standard output")
    options = parser.parse_args()
    rounds, seconds, wanted = options.rounds, options.seconds, options.cases
    if options.quick:
        rounds, seconds = 2, 0.6
        wanted = wanted or ["2k_c1", "2k_c16", "50k_c16", "stream_c1"]
    cases = tuple(c for c in CASES if not wanted or c.name in wanted)

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    try:
        with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as folder:
            result = run(max(1, rounds), seconds, cases, Path(folder))
    except Failed as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    text = json.dumps(result, indent=2)
    if options.json == "-":
        print(text)
        return 0
    print(table(result))
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

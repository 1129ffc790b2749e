"""Gateways and PostgreSQL servers that are killed with SIGKILL under load, and what must hold after every time.

A round starts what is down, waits until it serves, and kills the victim at a random moment, while clients ask on
and on, each request under a model name of its own. The provider's stand-in writes that name to a file and syncs it
before it answers; the store has it in the events. What must hold (check, settle, close):

- every request that the provider received has its admitted event, and was received once;
- no event, admission or end is there twice, and every exchange has exactly one end when the round is over;
- exchanges that a killed gateway left open are `broken`, `interrupted`;
- what a client was answered while only the server died is `completed`: no event is lost when it comes back;
- the log verifies, by the verifier as a process of its own, against the copy of its checkpoints.
"""

import itertools
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import rawclient
from e2e.traffic import CHAT, OPENAI, Wire, chat
from e2e.zygote import Forked
from gateways import python_env
from ports import free_port
from sallyport.audit.events import END_KINDS, INTERRUPTED, EventKind
from sallyport.audit.exporting import StoreSource, export_lines
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from servers import Postgres

ROOT = Path(__file__).parents[2]
POLICY = """version: 1
identity: {unknown: anonymous}
audit:
  required: true
  when_unavailable: %s
  checkpoints: {interval_s: 1, copy_file: checkpoints.jsonl}
"""
_STREAMED, _WHOLE = "bench-gap3", "kill"
_MOST_ANSWERED = 40
_LONGEST_WAIT_S = 0.06
_LONGEST_OUTAGE_S = 0.5
_PATIENCE_S = 120.0
"""A machine that computes other things is slow; what hangs never comes."""


class Violated(Exception):
    """Something that must hold does not; the text says what, with numbers and names of the harness only."""


class Victim(StrEnum):
    """What is killed."""

    GATEWAY = "gateway"
    SERVER = "server"
    BOTH = "both"


@dataclass(slots=True)
class Tally:
    """What a series of rounds came to. Times in seconds."""

    kills: int = 0
    kills_at_start: int = 0
    received: int = 0
    admitted: int = 0
    completed: int = 0
    interrupted: int = 0
    refused_to_clients: int = 0
    verified: int = 0
    events: int = 0
    checkpoints: int = 0
    warm_starts_s: list[float] = field(default_factory=list)
    cold_starts_s: list[float] = field(default_factory=list)
    resumed_s: list[float] = field(default_factory=list)


class Books:
    """What the store says, each event read once, as the chains of its writers grow."""

    def __init__(self) -> None:
        self._read: dict[str, int] = {}
        self._ids: set[str] = set()
        self._admissions: Counter[str] = Counter()
        self._ends: dict[str, tuple[str, str]] = {}
        self.admitted: dict[str, str] = {}
        """Model name -> exchange."""
        self.completed: set[str] = set()
        """Model names."""
        self.interrupted = 0

    @property
    def open(self) -> set[str]:
        return self._admissions.keys() - self._ends.keys()

    def read(self, url: str) -> None:
        """Take what is new. Raises Violated for what is there twice, OperatorError where the store is away."""
        with closing(Store.open(url, create=False)) as store, store.whole() as connection:
            source = StoreSource(connection)
            for writer in source.writers():
                for row in source.rows(writer, self._read.get(writer, 0), None):
                    self._take(row)
                    self._read[writer] = row["seq"]

    def end_of(self, exchange: str) -> tuple[str, str]:
        """Return kind and detail of the end of an exchange."""
        return self._ends[exchange]

    def _take(self, row: dict[str, Any]) -> None:
        if row["id"] in self._ids:
            raise Violated(f"event {row['id']} is there twice")
        self._ids.add(row["id"])
        exchange, model, kind = row["exchange"], row["model"], EventKind(row["kind"])
        if exchange and kind is EventKind.ADMITTED:
            self._admissions[exchange] += 1
            if self._admissions[exchange] > 1 or self.admitted.setdefault(model, exchange) != exchange:
                raise Violated(f"{model} was admitted twice")
        elif exchange and kind in END_KINDS:
            if exchange in self._ends:
                raise Violated(f"{model} ended twice")
            self._ends[exchange] = (kind, row["detail"] or "")
            if kind is EventKind.COMPLETED:
                self.completed.add(model)
            self.interrupted += row["detail"] == INTERRUPTED


class Provider:
    """The stand-in, a process of its own, and the file of what it received."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "received"
        self.record.touch()
        self.ca = folder / "lab" / "lab-ca.pem"
        self._offset = 0
        self._rest = b""
        self.received: Counter[str] = Counter()
        words = [sys.executable, str(ROOT / "scripts" / "benchmarks" / "standin.py"), str(folder / "lab")]
        self._process = subprocess.Popen(
            [*words, str(self.record)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=python_env(),
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def read(self) -> Counter[str]:
        """Return the names received so far, with how often."""
        with self.record.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.received.update(line.decode() for line in lines)
        return self.received

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait(10)


class Gateway:
    """One gateway that is started again and again in one folder and on one port."""

    def __init__(self, folder: Path, provider: Provider, url: str, *, spool: bool) -> None:
        self.confdir = folder / "conf"
        self.port = free_port()
        self.copy = folder / "checkpoints.jsonl"
        self.log = folder / "gateway.log"
        self._ready = folder / "ready.json"
        self._process: Forked | subprocess.Popen[bytes] | None = None
        policy = folder / "policy.yaml"
        policy.write_text(POLICY % ("spool" if spool else "refuse"))
        self._words = ["run", "--policy", str(policy), "--confdir", str(self.confdir), "--store", url]
        self._words += ["--ready-file", str(self._ready), "--listen", f"explicit@127.0.0.1:{self.port}"]
        self._words += ["--upstream-ca", str(provider.ca)]
        self._words += ["--connect-to", f"{OPENAI}:443:127.0.0.1:{provider.port}"]

    def start(self, *, cold: bool = False) -> None:
        """Start it, from an interpreter that has imported everything, or cold, as a person would."""
        self._ready.unlink(missing_ok=True)
        if not cold:
            self._process = Forked(self._words, self.log)
            return
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sallyport", *self._words], stdout=log, stderr=log, env=python_env()
            )

    def await_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not self._ready.exists() or not self._ready.read_text().endswith("}"):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise Violated(f"the gateway did not start: {self.log.read_text()[-1000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)
        self._process = None

    def stop(self) -> None:
        """End it politely; it need not run."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._process.kill()
        self._process = None


class Clients:
    """Connections that ask on and on, whatever happens, until closed. status by model name; 0: no whole answer."""

    def __init__(self, gateway: Gateway, prefix: str, count: int) -> None:
        self.answers: dict[str, int] = {}
        self._gateway, self._prefix = gateway, prefix
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    @property
    def answered(self) -> int:
        return list(self.answers.values()).count(200)

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self, client: int) -> None:
        wire: Wire | None = None
        for number in itertools.count():
            if self._ended.is_set():
                break
            kind = _STREAMED if (client + number) % 4 == 0 else _WHOLE
            model = f"{kind}-{self._prefix}-{_letters(client)}-{_letters(number)}"
            try:
                wire = wire or self._connected()
                wire.data.clear()
                wire.send(post(model, stream=kind == _STREAMED))
                wire.read_all()
            except OSError:
                wire = _dropped(wire)
                self._ended.wait(0.03)
                continue
            self.answers[model] = wire.status if wire.whole else 0
            if self.answers[model] != 200:
                wire = _dropped(wire)
                self._ended.wait(0.03)
        _dropped(wire)

    def _connected(self) -> Wire:
        raw = rawclient.tunnel(self._gateway.port, OPENAI, timeout=10)
        return Wire(rawclient.tls(raw, OPENAI, self._gateway.confdir / "ca-cert.pem"))


def post(model: str, *, stream: bool) -> bytes:
    return rawclient.post(CHAT, chat(model, stream=stream), OPENAI)


def _dropped(wire: Wire | None) -> None:
    if wire is not None:
        wire.sock.close()


def _letters(number: int) -> str:
    """Write a number in letters: a model name with too many digits would be taken for text, and scanned."""
    return "".join(chr(97 + int(digit)) for digit in str(number))


class Bench:
    """Everything that a series of rounds needs.

    server: the PostgreSQL behind url, None for a SQLite file. spool: what the store does not take is spooled; then
    what a killed gateway left there is compared when the next one has stored it.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        server: Postgres | None,
        chance: random.Random,
        clients: int,
        *,
        spool: bool,
    ) -> None:
        self.url = url
        self.server = server
        self.chance = chance
        self.clients = clients
        self.tally = Tally()
        self.provider = Provider(folder)
        self.gateway = Gateway(folder, self.provider, url, spool=spool)
        self.spool = spool
        self._folder = folder
        self._books = Books()
        self._cursor = 0
        self._is_up = False
        self._received_before: set[str] = set()
        self._numbers = itertools.count()

    @classmethod
    @contextmanager
    def open(
        cls, folder: Path, store: str, seed: int, clients: int = 8, *, spool: bool = False
    ) -> Iterator[Self]:
        """Open a bench on a new store, "sqlite" or "postgres" with fsync on; everything is ended on the way out."""
        with ExitStack() as stack:
            server, url = None, f"sqlite:///{folder / 'audit.db'}"
            if store == "postgres":
                server = Postgres(folder / "pg", fsync="on")
                stack.callback(server.stop)
                url = server.url
            bench = cls(folder, url, server, random.Random(seed), clients, spool=spool)
            stack.callback(bench.provider.close)
            stack.callback(bench.gateway.stop)
            yield bench

    def round(self, victim: Victim, *, cold: bool = False, whole: bool = False) -> None:
        """Kill once, or twice where the gateway dies while it starts. Raises Violated.

        cold: start the gateway without a warm interpreter. whole: verify the whole log, not what is new in it.
        """
        if not self._is_up:
            self._start(cold)
        clients = Clients(self.gateway, _letters(next(self._numbers)), self.clients)
        try:
            self._until(lambda: clients.answered, "no request was answered")
            if victim is Victim.GATEWAY or victim is Victim.BOTH:
                self._settle_cut_off()
            # The moment is what varies: behind so many answers, as a busy machine does little in a given time.
            answered = clients.answered + self.chance.randrange(_MOST_ANSWERED)
            self._until(lambda: clients.answered >= answered, "the load does not go on")
            time.sleep(self.chance.uniform(0, _LONGEST_WAIT_S))
            self._kill(victim)
            if victim is Victim.SERVER:
                self._resume(clients)
        finally:
            clients.close()
        self.tally.refused_to_clients += sum(status == 503 for status in clients.answers.values())
        if victim is Victim.SERVER:
            self._settle()
            leaked = [m for m in self.provider.read() if clients.answers.get(m) == 503]
            if leaked:
                raise Violated(f"{len(leaked)} refused requests were received: {leaked[:3]}")
            lost = {m for m, status in clients.answers.items() if status == 200} - self._books.completed
            if lost:
                raise Violated(f"{len(lost)} answered requests have no completed event: {sorted(lost)[:3]}")
        if self._is_up or not self.spool:
            self.check()
            self.verify(whole=whole)

    def close(self) -> Tally:
        """Start once more, let everything be ended, stop, and verify the whole log. Raises Violated."""
        if not self._is_up:
            self._start(cold=False)
            self._settle_cut_off()
        self._settle()
        self.gateway.stop()
        self.check()
        self.verify(whole=True)
        self._check_file()
        tally = self.tally
        tally.received, tally.admitted = self.provider.received.total(), len(self._books.admitted)
        tally.completed, tally.interrupted = len(self._books.completed), self._books.interrupted
        return tally

    def check(self) -> None:
        """Compare what the provider received with what the store says. Raises Violated."""
        received = self.provider.read()
        self._books.read(self.url)
        unknown = received.keys() - self._books.admitted.keys()
        if unknown:
            raise Violated(f"{len(unknown)} received requests have no admission: {sorted(unknown)[:3]}")
        twice = [model for model, times in received.items() if times > 1]
        if twice:
            raise Violated(f"{len(twice)} requests were received twice: {sorted(twice)[:3]}")

    def verify(self, *, whole: bool) -> None:
        """Let the verifier look at the log, or at what came behind the last checkpoint it saw. Raises Violated."""
        file, key, copy = (self._folder / name for name in ("export.jsonl", "key.pem", "copy.jsonl"))
        key.write_text(Signer.of(self.gateway.confdir).public_pem())
        # Before the log is read: a gateway that runs makes another checkpoint at any moment.
        copy.write_bytes(self.gateway.copy.read_bytes() if self.gateway.copy.exists() else b"")
        with (
            closing(Store.open(self.url, create=False)) as store,
            store.whole() as connection,
            file.open("w", encoding="utf-8") as out,
        ):
            for line in export_lines(connection, 0 if whole else self._cursor):
                out.write(line)
        self._cursor = int(json.loads(line)["cursor"])
        if whole and self.server is None:
            file = Path(self.url.removeprefix("sqlite:///"))
        words = [sys.executable, "-I", "-S", str(ROOT / "scripts" / "verify_audit"), str(file), "--json"]
        words += ["--public-key", str(key)]
        if copy.stat().st_size:  # killed before its first checkpoint was copied, a gateway has no copy yet
            words += ["--checkpoints", str(copy)]
        done = subprocess.run(words, capture_output=True, check=False, text=True)
        if done.returncode != 0:
            raise Violated(f"the log does not verify: {(done.stdout or done.stderr)[:1000]}")
        self.tally.verified += 1
        if whole:
            report = json.loads(done.stdout)
            self.tally.events, self.tally.checkpoints = report["events"], report["checkpoints"]

    def _start(self, cold: bool) -> None:
        """Start the gateway; now and then kill it first while it starts and closes what was open."""
        if self.chance.random() < 0.25 and self.gateway.confdir.exists():
            self.gateway.start()
            time.sleep(self.chance.uniform(0, 0.8))
            self.gateway.kill()
            self.tally.kills += 1
            self.tally.kills_at_start += 1
            if not self.spool:
                self.check()
        began = time.monotonic()
        self._received_before = set(self.provider.read())
        self.gateway.start(cold=cold)
        self.gateway.await_ready()
        (self.tally.cold_starts_s if cold else self.tally.warm_starts_s).append(time.monotonic() - began)
        self._is_up = True

    def _kill(self, victim: Victim) -> None:
        """Kill it; of both the gateway first, or while it does without its server."""
        self.tally.kills += 1
        gateway_first = self.chance.random() < 0.5
        if victim is Victim.GATEWAY or (victim is Victim.BOTH and gateway_first):
            self.gateway.kill()
        if victim is not Victim.GATEWAY:
            assert self.server is not None
            self.server.kill()
            time.sleep(self.chance.uniform(0, _LONGEST_OUTAGE_S))
            if victim is Victim.BOTH and not gateway_first:
                self.gateway.kill()
            self.server.start()
        self._is_up = victim is Victim.SERVER

    def _resume(self, clients: Clients) -> None:
        began, before = time.monotonic(), clients.answered
        self._until(lambda: clients.answered > before, "service did not resume")
        self.tally.resumed_s.append(time.monotonic() - began)
        time.sleep(self.chance.uniform(0, 0.2))

    def _settle(self) -> None:
        """Wait until every exchange has its end. Raises Violated."""

        def is_settled() -> bool:
            self._books.read(self.url)
            return not self._books.open

        self._until(is_settled, "exchanges stay open")

    def _settle_cut_off(self) -> None:
        """Wait until what was open when the gateway died is ended, while new requests come. Raises Violated."""
        if self.spool:
            self._settle_spooled()
            return
        cut_off = set(self._books.open)

        def is_settled() -> bool:
            self._books.read(self.url)
            return not cut_off & self._books.open

        self._until(is_settled, "exchanges that were cut off stay open")
        for exchange in cut_off:
            if self._books.end_of(exchange) != (EventKind.BROKEN, INTERRUPTED):
                raise Violated(f"an exchange that was cut off ended as {self._books.end_of(exchange)}")

    def _settle_spooled(self) -> None:
        """Wait until all that was received before this gateway is admitted, and ended. Raises Violated."""
        received = self._received_before

        def is_settled() -> bool:
            self._books.read(self.url)
            admitted = self._books.admitted
            return all(model in admitted and admitted[model] not in self._books.open for model in received)

        self._until(is_settled, "what was spooled is not stored")

    def _until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                raise Violated(f"{what}, not within {_PATIENCE_S:.0f} s")
            time.sleep(0.03)

    def _check_file(self) -> None:
        if self.server is None:
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as database:
                if database.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                    raise Violated("the database file is damaged")

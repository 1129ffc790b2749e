"""Gateways for tests: a real `sallyport run` as a process, and one inside the test's own event loop.

The process is what users run. The one inside lets a test put failing stages or a failing log in place.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.zygote import command
from ledger_law import assert_counted
from ports import free_port
from sallyport.audit.events import Event, EventKind
from sallyport.decision import Finding
from sallyport.exchange import Segment
from sallyport.lab.server import Lab
from sallyport.metering.tokens import TokenCounter
from sallyport.pipeline import STAGES, Step
from sallyport.pki.create import ensure_ca
from sallyport.policy.catalogue import shipped_catalogue
from sallyport.policy.load import parse_policy
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.host import GatewayMaster, HostSettings
from sallyport.state.booking import Metering
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.vault import MemoryVault

AI_HOSTS = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com")
OTHER_HOST = "files.example.com"

OPEN_POLICY = "version: 1\nidentity:\n  unknown: anonymous\n"
"""Anyone may speak; everything else as by default."""


def connect_to(lab_port: int, hosts: Sequence[str] = (*AI_HOSTS, OTHER_HOST)) -> list[str]:
    return [f"{host}:443:127.0.0.1:{lab_port}" for host in hosts]


@dataclass
class GatewayProcess:
    """A running `sallyport run`. ports: by mode, explicit, transparent, reverse."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    confdir: Path
    log: Path

    @property
    def port(self) -> int:
        return next(iter(self.ports.values()))

    @property
    def env(self) -> dict[str, str]:
        """The environment an unmodified client needs, and nothing else of proxies."""
        proxy = f"http://127.0.0.1:{self.port}"
        ca = str(self.confdir / "ca-cert.pem")
        clean = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        return clean | {
            "HTTPS_PROXY": proxy,
            "SSL_CERT_FILE": ca,
            "REQUESTS_CA_BUNDLE": ca,
            "NODE_EXTRA_CA_CERTS": ca,
            "CURL_CA_BUNDLE": ca,
        }

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def events(self) -> list[dict[str, Any]]:
        """Return the audit events as `sallyport audit list --json` gives them, oldest first."""
        shown = command("audit", "list", "--json", "--limit", "100000", "--confdir", str(self.confdir))
        assert shown.returncode == 0, shown.stderr
        return [json.loads(line) for line in reversed(shown.stdout.splitlines())]


def python_env(**extra: str) -> dict[str, str]:
    """The environment for child Pythons: this checkout on the path."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent / "addons")} | extra


@contextmanager
def lab_in_thread() -> Iterator[Lab]:
    """Run a lab in a loop of its own, for tests that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    lab = Lab()
    asyncio.run_coroutine_threadsafe(lab.start(), loop).result(10)
    try:
        yield lab
    finally:
        asyncio.run_coroutine_threadsafe(lab.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def gateway_process(
    folder: Path,
    lab: Lab | None,
    *,
    policy: str = OPEN_POLICY,
    listen: Sequence[str] = ("explicit@127.0.0.1:0",),
    extra: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> Iterator[GatewayProcess]:
    """Start `sallyport run` and stop it again, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    policy_file, ready, log = folder / "policy.yaml", folder / "ready.json", folder / "gateway.log"
    policy_file.write_text(policy)
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "sallyport", "run", "--policy", str(policy_file)]
    command += ["--confdir", str(folder / "conf"), "--ready-file", str(ready)]
    for spec in listen:
        name, _, rest = spec.rpartition(":") if spec.endswith(":0") else (spec, "", "")
        command += ["--listen", f"{name}:{free_port()}" if rest == "0" else spec]
    if lab is not None:
        command += ["--upstream-ca", str(lab.ca.certificate)]
        for value in connect_to(lab.port):
            command += ["--connect-to", value]
    command += extra
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=python_env(**(env or {})))
    try:
        deadline = time.monotonic() + 60
        while not ready.exists() or not ready.read_text().endswith("}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        ports = {k.partition("@")[0].partition(":")[0]: v for k, v in json.loads(ready.read_text()).items()}
        yield GatewayProcess(process, ports, folder / "conf", log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode in (0, -signal.SIGKILL), f"it ended with {process.returncode}"


@dataclass
class Recorded:
    """An audit sink in memory. failing: raise this instead of storing."""

    events: list[Event] = field(default_factory=list)
    failing: BaseException | None = None
    hanging: bool = False

    async def append(self, event: Event, *, required: bool = True) -> None:
        if self.hanging:
            await asyncio.sleep(2)
            raise TimeoutError
        if self.failing is not None:
            raise self.failing
        self.events.append(event)

    def append_nowait(self, event: Event) -> None:
        if self.failing is not None:
            raise self.failing
        self.events.append(event)

    def of(self, kind: EventKind) -> list[Event]:
        return [e for e in self.events if e.kind is kind]


class NoFindings:
    """A detector that finds nothing, where a test is about something else."""

    revision = "none"

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        return ()


@dataclass
class InnerGateway:
    """A gateway in this event loop."""

    master: GatewayMaster
    audit: Recorded
    lab: Lab
    confdir: Path

    @property
    def port(self) -> int:
        return next(iter(self.master.ports.values()))

    def connect(self, host: str, port: int = 443) -> socket.socket:
        """Open a tunnel through CONNECT with a blocking socket; raises if it is refused."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        raw.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = raw.recv(4096)
            if not piece:
                raise ConnectionError("closed")
            head += piece
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head.decode("latin-1"))
        return raw


@asynccontextmanager
async def inner_gateway(
    folder: Path,
    *,
    policy: str = OPEN_POLICY,
    stages: Sequence[Step] = STAGES,
    detector: Any = None,
    modes: Sequence[str] = ("regular@127.0.0.1:0",),
    change: Callable[[GatewayMaster], None] = lambda master: None,
) -> AsyncIterator[InnerGateway]:
    """Run a lab and a gateway in the current loop. change: may alter the master before it listens."""
    confdir = folder / "conf"
    catalogue = shipped_catalogue()
    ensure_ca(confdir, catalogue.host_patterns)
    async with Lab() as lab:
        live = Live(parse_policy(policy), catalogue, detector or NoFindings())
        audit = Recorded()
        key = b"k" * 32
        targets = {(host, 443): ("127.0.0.1", lab.port) for host in (*AI_HOSTS, OTHER_HOST)}
        metering = Metering(MemoryLedger(), TokenCounter())
        gateway = Gateway(live, audit, key, "gw-test", lambda: live, MemoryVault(key), metering, targets)
        listen = tuple(m.replace(":0", f":{free_port()}") if m.endswith(":0") else m for m in modes)
        master = GatewayMaster(gateway, HostSettings(listen, confdir, lab.ca.certificate), stages)
        change(master)
        running = asyncio.create_task(master.run())
        while len(master.ports) < len(listen):
            if running.done():
                raise RuntimeError("the gateway did not start")
            await asyncio.sleep(0.01)
        try:
            yield InnerGateway(master, audit, lab, confdir)
        finally:
            master.shutdown()
            await asyncio.gather(running, return_exceptions=True)
        assert_counted(audit.events)

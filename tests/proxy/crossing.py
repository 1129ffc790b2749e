"""A network with a gateway in the middle, and the ways a client there tries: transparent mode, real kernel."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rawclient
from choke.choke_net import FAMILIES, Net
from e2e.zygote import Forked
from gateways import python_env
from proxy.stock import MITMDUMP
from sallyport.audit.events import Event
from sallyport.audit.store import Store
from sallyport.choke import namespaces

UPSTREAM_PORT = 443
LISTENER = 8080
ELSEWHERE = "www.example.com"
REDIRECT = """
table inet plain {
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "clients" tcp dport { 80, 443 } redirect to :8080
  }
}
"""
"""The redirect alone, as tutorials show it: no guard on the listener, none on what is forwarded."""


@dataclass
class Site:
    """client: opens sockets there. record: the lab's, one JSON object a line. ca: of the gateway."""

    net: Net
    folder: Path
    record: Path
    lab_ca: Path
    ca: Path = Path()
    gateway: Forked | None = None
    marks: list[str] = field(default_factory=list)

    def dial(self, *, port: int = 443, address: str = "upstream", family: str = "v4") -> socket.socket:
        """Connect from the client to the upstream, elsewhere or the gateway, as named in choke_net.Family."""
        chosen = FAMILIES[family]
        sock = self.net.connect(self.net.lab.client, chosen, getattr(chosen, address), port)
        sock.settimeout(3)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def tls(self, sni: str | None, *, ca: Path | None = None, **where: Any) -> socket.socket:
        return rawclient.tls(self.dial(**where), sni, ca or self.ca)

    def arrivals(self) -> list[dict[str, Any]]:
        """What the lab has written down: connections opened and closed, requests."""
        lines = self.record.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def events(self) -> list[Event]:
        """The gateway's events, oldest first."""
        store = Store.open(f"sqlite:///{self.folder / 'conf' / 'audit.db'}", create=False)
        try:
            return store.events(100_000)[::-1]
        finally:
            store.close()

    def told(self, since: int, reason: str, within_s: float = 5) -> bool:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if any(reason in (e.kind, e.reason, e.detail) for e in self.events()[since:]):
                return True
            time.sleep(0.05)
        return False

    def run(self, command: Sequence[str], log: str, **env: str) -> "subprocess.Popen[bytes]":
        with (self.folder / log).open("wb") as out:
            lab = self.net.lab
            return lab.exec(lab.gateway, command, env=python_env(**env), stdout=out, stderr=out)


@contextmanager
def network(folder: Path) -> Iterator[Site]:
    """Build the three namespaces, with the lab listening in the one upstream."""
    record = folder / "record.jsonl"
    with namespaces.lab(elsewhere=(ELSEWHERE, "files.example.com")) as built:
        net = Net(built)
        hosts = (
            namespaces.UPSTREAM_V4,
            namespaces.UPSTREAM_V6,
            namespaces.ELSEWHERE_V4,
            namespaces.ELSEWHERE_V6,
        )
        command = [sys.executable, "-m", "sallyport.lab", "--json", "--port", str(UPSTREAM_PORT)]
        command += ["--dir", str(folder / "lab"), "--record", str(record)]
        for host in hosts:
            command += ["--host", host]
        (folder / "lab").mkdir(parents=True)
        lab = built.exec(built.upstream, command, env=python_env(), stdout=subprocess.PIPE)
        assert lab.stdout is not None
        said = json.loads(lab.stdout.readline())
        try:
            yield Site(net, folder, record, Path(said["ca"]))
        finally:
            net.close()


@contextmanager
def sallyport(site: Site, policy: str, *, listen: str = f"transparent@{LISTENER}") -> Iterator[None]:
    """Run the gateway in the middle, from a warm interpreter."""
    (site.folder / "policy.yaml").write_text(policy)
    ready = site.folder / "ready.json"
    words = ["run", "--listen", listen]
    words += ["--policy", str(site.folder / "policy.yaml"), "--confdir", str(site.folder / "conf")]
    words += ["--ready-file", str(ready), "--upstream-ca", str(site.lab_ca)]
    words += ["--connect-to", f"{ELSEWHERE}:443:{namespaces.ELSEWHERE_V4}:443"]
    site.gateway = Forked(words, site.folder / "gateway.log", netns=site.net.lab.gateway)
    try:
        until(lambda: ready.exists() and ready.read_text().endswith("}"), site, "gateway.log")
        site.ca = site.folder / "conf" / "ca-cert.pem"
        yield
    finally:
        site.gateway.stop()


@contextmanager
def stock(site: Site, script: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run mitmdump in transparent mode in the middle, with at most 120 open files."""
    (site.folder / "script.py").write_text(script)
    confdir = site.folder / "stock"
    command = [
        "sh",
        "-c",
        'ulimit -n 120; exec "$@"',
        "sh",
        str(MITMDUMP),
        "-q",
        "-s",
        str(site.folder / "script.py"),
    ]
    command += ["--mode", f"transparent@{LISTENER}", "--set", f"confdir={confdir}"]
    command += ["--set", f"ssl_verify_upstream_trusted_ca={site.lab_ca}"]
    process = site.run(command, "stock.log", HOME=str(site.folder))
    try:
        site.ca = confdir / "mitmproxy-ca-cert.pem"
        until(site.ca.exists, site, "stock.log")
        until(lambda: listens(site), site, "stock.log")
        yield process
    finally:
        site.net.lab.stop(process)


def listens(site: Site) -> bool:
    shown = site.net.lab.run(site.net.lab.gateway, ("ss", "-Htln", f"sport = :{LISTENER}"))
    return bool(shown.stdout.strip())


def until(true: Any, site: Site, log: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError((site.folder / log).read_text(errors="replace")[-2000:])
        time.sleep(0.05)


def open_files(process: "subprocess.Popen[bytes] | Forked") -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{process.pid}/fd"))
    return 0

"""Stock mitmdump as the control: what passes here is what the gateway has to close.

It runs as users run it, with a script that refuses the word LEAK where `flow.request.text` shows it. Every
server connection is led to the lab.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateways import OPEN_POLICY, connect_to
from ports import free_port
from proxy.door import AI, Door
from rawclient import Talk
from sallyport.lab.server import Lab

MITMDUMP = Path(sys.executable).parent / "mitmdump"

TO_LAB = """
import os

def server_connect(data):
    server = data.server
    server.sni = server.sni or server.address[0]
    server.address = ("127.0.0.1", int(os.environ["LAB_PORT"]))
"""

SCANNER = """
from mitmproxy import http

def request(flow):
    if "LEAK" in flow.request.text:
        flow.response = http.Response.make(403, b"refused")
"""


@dataclass
class Stock:
    """A running mitmdump. scripts: where the files given to -s lie, by name."""

    process: subprocess.Popen[bytes]
    door: Door
    log: Path
    scripts: dict[str, Path]

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def stock_mitmdump(
    folder: Path,
    lab: Lab,
    *,
    scripts: dict[str, str] | None = None,
    options: Sequence[str] = (),
    patience_s: float = 3.0,
) -> Iterator[Stock]:
    """Run mitmdump in explicit and reverse mode, with to_lab.py and these scripts after it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, text in {"to_lab": TO_LAB, **({"scanner": SCANNER} if scripts is None else scripts)}.items():
        paths[name] = folder / f"{name}.py"
        paths[name].write_text(text)
    explicit, reverse = free_port(), free_port()
    command = [str(MITMDUMP), "-q", "--set", f"confdir={folder / 'conf'}"]
    command += ["--set", f"ssl_verify_upstream_trusted_ca={lab.ca.certificate}"]
    command += ["--mode", f"regular@127.0.0.1:{explicit}"]
    command += ["--mode", f"reverse:https://{AI}@127.0.0.1:{reverse}"]
    for path in paths.values():
        command += ["-s", str(path)]
    for option in options:
        command += ["--set", option]
    ca = folder / "conf" / "mitmproxy-ca-cert.pem"
    door = Door(explicit, reverse, ca, lab.port, patience_s=patience_s)
    with started(command, folder / "stock.log", LAB_PORT=str(lab.port)) as process:
        wait_for(process, door, folder / "stock.log")
        yield Stock(process, door, folder / "stock.log", paths)


@contextmanager
def scripted_gateway(
    folder: Path,
    lab: Lab,
    *,
    policy: str = OPEN_POLICY,
    before: dict[str, str] | None = None,
    after: dict[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Stock]:
    """Run our gateway as users of mitmdump may: `mitmdump -s gateway.py`, a copy that a test may spoil.

    before, after: other scripts, by name, given to -s before and after it. options: given to --set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ours = Path(__file__).parents[2] / "addons" / "gateway.py"
    texts = {**(before or {}), "gateway": ours.read_text(), **(after or {})}
    paths = {name: folder / f"{name}.py" for name in texts}
    for name, text in texts.items():
        paths[name].write_text(text)
    (folder / "policy.yaml").write_text(policy)
    port = free_port()
    command = [str(MITMDUMP), "-q", "--mode", f"regular@127.0.0.1:{port}"]
    for path in paths.values():
        command += ["-s", str(path)]
    for option in options:
        command += ["--set", option]
    env = {
        "PYTHONPATH": str(ours.parent),
        "SALLYPORT_POLICY": str(folder / "policy.yaml"),
        "SALLYPORT_CONFDIR": str(folder / "conf"),
        "SALLYPORT_UPSTREAM_CA": str(lab.ca.certificate),
        "SALLYPORT_CONNECT_TO": ",".join(connect_to(lab.port)),
    }
    door = Door(port, 0, folder / "conf" / "ca-cert.pem", lab.port, outside_ca=lab.ca.certificate)
    with started(command, folder / "gateway.log", **env) as process:
        wait_for(process, door, folder / "gateway.log")
        yield Stock(process, door, folder / "gateway.log", paths)


@contextmanager
def started(command: Sequence[str], log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process to the end of the block and stop it, that one only."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | env)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], door: Door, log: Path, within_s: float = 100) -> None:
    """Wait until a proxy takes connections. Raises RuntimeError with the end of its log if it does not."""
    deadline = time.monotonic() + within_s
    while True:
        with suppress(OSError):
            door.dial().close()
            if door.ca.exists():
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"it did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def reached(lab: Lab, mark: str, *, within_s: float = 0.0) -> bool:
    """Say whether a mark arrived at the lab: in a request, in a half one, or as bytes that are none."""
    deadline = time.monotonic() + within_s
    wanted = mark.encode()
    while True:
        texts = [r.body + r.path.encode() + repr(r.headers).encode() for r in lab.requests]
        texts += [c.unfinished for c in lab.connections]
        if any(wanted in text for text in texts):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


__all__ = [
    "MITMDUMP",
    "Stock",
    "Talk",
    "reached",
    "scripted_gateway",
    "started",
    "stock_mitmdump",
    "wait_for",
]

"""The lab and the gateway on a ground: started, found ready, and asked what they saw."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sallyport.audit.events import Event
from sallyport.audit.store import Store
from sallyport.demo import clients
from sallyport.demo.grounds import Ground, Role
from sallyport.demo.people import People, write_policy
from sallyport.demo.scenario import Step
from sallyport.errors import OperatorError
from sallyport.lab import SeenRequest, read_record
from sallyport.pki import ca_paths, load_ca, write_bundle

_READY_S = 60.0
_CLIENT_S = 60.0
_ALL_EVENTS = 10_000
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_KEY_VARIABLES = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google-genai": "GEMINI_API_KEY",
}


@dataclass(frozen=True, slots=True)
class Got:
    """What a client's program printed. text is None where it raised; fields: everything it said."""

    text: str | None
    raised: str = ""
    status: int | None = None
    message: str = ""
    pieces: int | None = None
    issuer: str = ""


@dataclass(slots=True)
class Stand:
    """A running lab and gateway.

    folder: everything of this run. lab_ca: what the stand-in providers' certificates hang on.
    """

    ground: Ground
    folder: Path
    people: People
    lab: subprocess.Popen[str]
    gateway: subprocess.Popen[str]
    lab_ca: Path
    lab_port: int
    gateway_port: int
    store: Store

    @property
    def confdir(self) -> Path:
        return _confdir(self.folder)

    @property
    def gateway_ca(self) -> Path:
        return ca_paths(self.confdir).certificate

    @property
    def record(self) -> Path:
        return _record(self.folder)

    @property
    def proxy(self) -> str | None:
        return None if self.ground.transparent else f"http://127.0.0.1:{self.gateway_port}"

    @property
    def permitted_names(self) -> int:
        """How many subtrees the gateway's CA may vouch for."""
        return len(load_ca(self.confdir).permitted_dns)

    def bundle(self) -> Path:
        """Write what somebody at a shell trusts: both CAs of this run, and the public roots."""
        return write_bundle(self.confdir, [self.lab_ca])

    def variables(self, step: Step) -> dict[str, str]:
        """Return what the environment of a client says of the gateway: where it is and whom to trust.

        The program that fetches from a host that is no provider trusts the lab's CA alone, which stands
        for the public roots: the gateway's certificates would not do.
        """
        trusted = self.lab_ca if step.person is None else self.gateway_ca
        found = {"SSL_CERT_FILE": str(trusted)}
        if self.proxy:
            found["HTTPS_PROXY"] = self.proxy
        return found

    def start_client(self, step: Step) -> subprocess.Popen[str]:
        env = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        if step.person is not None:
            env[_KEY_VARIABLES[step.client]] = step.person.key
        # Isolated: the folder of the script, this package, is not among the places modules come from.
        argv = (sys.executable, "-I", clients.__file__, step.call, step.model, step.text)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return self.ground.start(Role.CLIENT, argv, env | self.variables(step), **pipes)

    def result(self, client: subprocess.Popen[str]) -> Got:
        """Wait for a client's program and return what it got."""
        try:
            out, errors = client.communicate(timeout=_CLIENT_S)
            answer = json.loads(out)
        except subprocess.TimeoutExpired:
            return Got(None, "NoAnswer", message=f"the program did not end within {_CLIENT_S:.0f} s")
        except ValueError:
            last = (errors.strip().splitlines() or [""])[-1]
            return Got(None, "NoAnswer", message=f"the program ended with {client.returncode}: {last}")
        if "raised" in answer:
            return Got(None, answer["raised"], answer["status"], answer["message"])
        return Got(answer["got"], pieces=answer.get("pieces"), issuer=answer.get("issuer", ""))

    def events(self) -> list[Event]:
        """Return the audit so far, oldest first."""
        return self.store.events(_ALL_EVENTS)[::-1]

    def requests(self) -> list[SeenRequest]:
        """Return what the stand-in providers received so far."""
        return read_record(self.record)

    def dead(self) -> str | None:
        """Name a process that ended by itself."""
        for name, process in (("lab", self.lab), ("gateway", self.gateway)):
            if process.poll() is not None:
                return name
        return None


@contextlib.contextmanager
def standing(
    ground: Ground, folder: Path, people: People, gateway_key: Callable[[Path], bytes]
) -> Iterator[Stand]:
    """Start the lab and then the gateway, which makes its CA. Raises OperatorError if one does not start."""
    confdir = _confdir(folder)
    policy = folder / "policy.yaml"
    write_policy(policy, people.all, gateway_key(confdir))
    lab, lab_ca, lab_port = _start_lab(ground, folder)
    gateway, port = _start_gateway(ground, folder, lab_ca, lab_port, policy)
    ground.close_off()
    store = Store.open(f"sqlite:///{confdir / 'audit.db'}", create=False)
    try:
        yield Stand(ground, folder, people, lab, gateway, lab_ca, lab_port, port, store)
    finally:
        store.close()


def _start_lab(ground: Ground, folder: Path) -> tuple[subprocess.Popen[str], Path, int]:
    argv = [sys.executable, "-m", "sallyport.lab", "--json", *ground.lab]
    argv += ["--dir", str(folder / "lab"), "--record", str(_record(folder))]
    log = folder / "lab.log"
    with log.open("w") as errors:
        lab = ground.start(Role.UPSTREAM, argv, os.environ, stdout=subprocess.PIPE, stderr=errors)
    assert lab.stdout is not None
    readable, _, _ = select.select([lab.stdout], [], [], _READY_S)
    line = lab.stdout.readline() if readable else ""
    if not line:
        raise _not_started("the stand-in providers", log)
    ready = json.loads(line)
    return lab, Path(ready["ca"]), int(ready["port"])


def _start_gateway(
    ground: Ground, folder: Path, lab_ca: Path, lab_port: int, policy: Path
) -> tuple[subprocess.Popen[str], int]:
    ready, log = folder / "ready.json", folder / "gateway.log"
    argv = [sys.executable, "-m", "sallyport", "run", "--policy", str(policy), "--listen", ground.listen]
    argv += ["--confdir", str(_confdir(folder)), "--ready-file", str(ready), "--upstream-ca", str(lab_ca)]
    for value in ground.connect_to(lab_port):
        argv += ["--connect-to", value]
    with log.open("w") as out:
        gateway = ground.start(Role.GATEWAY, argv, os.environ, stdout=out, stderr=out)
    deadline = time.monotonic() + _READY_S
    while True:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return gateway, int(next(iter(json.loads(ready.read_text()).values())))
        if gateway.poll() is not None or time.monotonic() > deadline:
            raise _not_started("the gateway", log)
        time.sleep(0.05)


def _not_started(what: str, log: Path) -> OperatorError:
    lines = log.read_text(errors="replace").strip().splitlines()
    said = lines[-1] if lines else "it said nothing"
    return OperatorError(
        what, f"it did not start: {said}", "Mend that, and start the demo again.", exit_code=3
    )


def _confdir(folder: Path) -> Path:
    return folder / "gateway"


def _record(folder: Path) -> Path:
    return folder / "record.jsonl"

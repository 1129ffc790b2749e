"""Putting a gateway together from files and a store: the one place where all parts meet."""

import fcntl
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sallyport.audit.events import interrupted
from sallyport.audit.log import AuditLog
from sallyport.audit.store import Store
from sallyport.data import rules_dir
from sallyport.decision import Mode
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.errors import OperatorError
from sallyport.policy.catalogue import Catalogue, load_catalogue
from sallyport.policy.load import load_policy, load_preset
from sallyport.policy.sections import Policy
from sallyport.proxy.gateway import Gateway, Live
from sallyport.state.vault import MemoryVault

PRESETS = ("observe", "balanced", "strict")

type ConnectTo = dict[tuple[str, int], tuple[str, int]]


@dataclass(slots=True)
class Assembled:
    """A gateway with what must be closed after it."""

    gateway: Gateway
    log: AuditLog
    store: Store
    lock: int

    def close(self) -> bool:
        """Write what is waiting and close the store; False if something could not be written."""
        done = self.log.close()
        self.store.close()
        os.close(self.lock)
        return done


def read_policy(name: str, mode: Mode | None) -> Policy:
    """Load a policy by preset name or path."""
    if name in PRESETS and not Path(name).exists():
        return load_preset(name, mode=mode)
    return load_policy(Path(name), mode=mode)


def make_catalogue() -> Catalogue:
    return load_catalogue(rules_dir() / "providers")


def make_detector(policy: Policy) -> Detector:
    """Build the detector a policy asks for; it is warm when returned."""
    detector = Detector(
        DetectionSettings(
            paranoia_secrets=policy.detection.paranoia,
            paranoia_injection=policy.injection.paranoia,
            min_score=min(policy.masking.min_score, 0.5),
            deadline_s=policy.detection.deadline_s,
            max_chars=policy.detection.max_text_bytes,
            recognisers=policy.recogniser_files,
        )
    )
    detector.warm()
    return detector


def make_live(policy_name: str, mode: Mode | None) -> Live:
    """Read everything a reload replaces. Raises OperatorError and has no effect if anything is bad."""
    policy = read_policy(policy_name, mode)
    return Live(policy=policy, catalogue=make_catalogue(), detector=make_detector(policy))


def gateway_key(confdir: Path) -> bytes:
    """Return the gateway's secret, made at first use: 32 bytes in a file only its user can read.

    Raises OperatorError if the file is there but cannot be one.
    """
    path = confdir / "gateway.key"
    confdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != 32:
            raise OperatorError(
                str(path),
                f"it holds {len(key)} bytes, not 32",
                "Restore it from a backup, or remove it: fingerprints and placeholders then change",
                exit_code=3,
            ) from None
        if path.stat().st_mode & 0o077:
            raise OperatorError(str(path), "others may read it", f"chmod 600 {path}", exit_code=3) from None
        return key
    except OSError as error:
        raise OperatorError(
            str(path),
            f"it cannot be made ({error.strerror})",
            "Use --confdir with a folder you own",
            exit_code=3,
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()


def parse_connect_to(values: Sequence[str]) -> ConnectTo:
    """Read HOST:PORT:HOST2:PORT2 as curl does; IPv6 addresses in brackets. Raises OperatorError."""

    found: ConnectTo = {}
    part = r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)"
    pattern = re.compile(rf"^{part}:(\d{{1,5}}):{part}:(\d{{1,5}})$")
    for value in values:
        match = pattern.match(value)
        if match is None or not 0 < int(match[2]) < 65536 or not 0 < int(match[4]) < 65536:
            raise OperatorError(
                "--connect-to",
                "it is not HOST:PORT:HOST2:PORT2",
                "Write for example api.openai.com:443:127.0.0.1:8443",
            )
        found[match[1].lower().rstrip("."), int(match[2])] = (match[3].strip("[]"), int(match[4]))
    return found


def assemble(
    *, policy: str, mode: Mode | None, confdir: Path, store_url: str | None, connect_to: ConnectTo
) -> Assembled:
    """Open the store, read the files, and join the parts. Raises OperatorError."""
    live = make_live(policy, mode)
    key = gateway_key(confdir)
    lock = _only_one(confdir)
    try:
        store = Store.open(store_url or f"sqlite:///{confdir / 'audit.db'}")
    except OperatorError:
        os.close(lock)
        raise
    log = AuditLog(store)
    name = os.environ.get("SALLYPORT_GATEWAY_ID") or _instance_id(confdir)
    for left_open in store.open_exchanges(name):
        log.append_nowait(interrupted(left_open))
    gateway = Gateway(
        live=live,
        audit=log,
        key=key,
        id=name,
        reload=lambda: make_live(policy, mode),
        vault=MemoryVault(key),
        connect_to=connect_to,
    )
    return Assembled(gateway, log, store, lock)


def _only_one(confdir: Path) -> int:
    """Return a lock that ends with this process. Raises OperatorError if another gateway holds it.

    Two gateways of one name would each close the other's exchanges as interrupted.
    """
    path = confdir / "gateway.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OperatorError(
            str(path),
            f"it cannot be made ({error.strerror})",
            "Use --confdir with a folder you own",
            exit_code=3,
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise OperatorError(
            str(confdir),
            "another gateway runs with this folder",
            "Stop it, or give this one a folder of its own with --confdir",
            exit_code=3,
        ) from None
    return lock


def _instance_id(confdir: Path) -> str:
    """Return a name for this instance that stays the same over restarts."""
    path = confdir / "gateway.id"
    if not path.exists():
        path.write_text("gw-" + secrets.token_hex(4) + "\n", encoding="ascii")
    return path.read_text(encoding="ascii").strip()[:64] or "gw"

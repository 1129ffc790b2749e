"""Putting a gateway together from files and a store: the one place where all parts meet."""

import fcntl
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sallyport.audit.events import interrupted
from sallyport.audit.log import AuditLog
from sallyport.audit.store import Store
from sallyport.cli.detection import make_detector, ner_settings, read_policy
from sallyport.cli.ledger import open_ledger
from sallyport.cli.recorded import RecordedUse
from sallyport.data import rules_dir
from sallyport.decision import Mode
from sallyport.detect.ner.service import Pools
from sallyport.errors import OperatorError
from sallyport.metering.prices import ContractPrice, PriceList
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.catalogue import Catalogue, load_catalogue
from sallyport.policy.sections import Policy
from sallyport.proxy.gateway import Gateway, Live
from sallyport.state.ledger.fallback import Fallback
from sallyport.state.meter import Metering, Tariff
from sallyport.state.vault import MemoryVault

WARM, MAX_WARM_EVENTS = timedelta(days=14), 20_000
"""How much of the past a gateway looks at, when it starts, to learn what is usual for its principals."""

type ConnectTo = dict[tuple[str, int], tuple[str, int]]


@dataclass(slots=True)
class Assembled:
    """A gateway with what must be closed after it."""

    gateway: Gateway
    log: AuditLog
    store: Store
    lock: int
    pools: Pools

    def close(self) -> bool:
        """Write what is waiting and close the store; False if something could not be written."""
        self.pools.close()
        done = self.log.close()
        self.store.close()
        os.close(self.lock)
        return done


def make_catalogue() -> Catalogue:
    return load_catalogue(rules_dir() / "providers")


def make_live(policy_name: str, mode: Mode | None, pools: Pools) -> Live:
    """Read everything a reload replaces. Raises OperatorError and has no effect if anything is bad.

    pools: keeps the engines for names that run already; one that is new is warm when this returns.
    """
    policy = read_policy(policy_name, mode)
    catalogue, detector = make_catalogue(), make_detector(policy)
    names = pools.scanner(ner_settings(policy) if policy.uses_names else None)
    return Live(
        policy=policy, catalogue=catalogue, detector=detector, names=names, tariff=make_tariff(policy)
    )


def make_tariff(policy: Policy) -> Tariff:
    """Return the prices a policy asks for."""
    contract = (
        ContractPrice(
            c.provider,
            c.model,
            c.input_usd,
            c.output_usd,
            cache_read=c.cache_read_usd,
            cache_write=c.cache_write_usd,
            request=c.request_usd,
        )
        for c in policy.prices.contract
    )
    free = policy.prices.unknown_model == "pass"
    return Tariff(PriceList(tuple(contract)), policy.prices.credit_usd, unknown_is_free=free)


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
    *,
    policy: str,
    mode: Mode | None,
    confdir: Path,
    store_url: str | None,
    ledger_url: str | None,
    connect_to: ConnectTo,
) -> Assembled:
    """Open the store, read the files, and join the parts. Raises OperatorError."""
    pools = Pools()
    with ExitStack() as undo:
        undo.callback(pools.close)
        live = make_live(policy, mode, pools)
        key = gateway_key(confdir)
        lock = _only_one(confdir)
        undo.callback(os.close, lock)
        store = Store.open(store_url or f"sqlite:///{confdir / 'audit.db'}")
        undo.pop_all()
    log = AuditLog(store)
    name = os.environ.get("SALLYPORT_GATEWAY_ID") or _instance_id(confdir)
    left_open = store.open_exchanges(name)
    for admitted in left_open:
        log.append_nowait(interrupted(admitted))
    tokens = TokenCounter()
    tokens.load()
    # What a store that is down means is the policy's to say: Metering.configure.
    ledger = Fallback(open_ledger(ledger_url, confdir), None)
    gateway = Gateway(
        live=live,
        audit=log,
        key=key,
        id=name,
        reload=lambda: make_live(policy, mode, pools),
        vault=MemoryVault(key),
        metering=Metering(ledger, tokens, orphans=tuple(e.exchange for e in left_open)),
        connect_to=connect_to,
    )
    gateway.watch.warm(store.ended(gateway.now() - WARM, MAX_WARM_EVENTS))
    gateway.metering.recover = RecordedUse(store, ledger, lambda: gateway.live).recover
    return Assembled(gateway, log, store, lock, pools)


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

"""Putting a gateway together from files and a store: the one place where all parts meet."""

import fcntl
import hmac
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from sallyport.audit.checkpointing import Checkpointer, checkpoint_now
from sallyport.audit.copies import Copies
from sallyport.audit.events import Event, EventKind, interrupted
from sallyport.audit.log import AuditLog, AuditUnavailable
from sallyport.audit.people import PersonalLog
from sallyport.audit.signing import KEY_FILE as SIGNING_KEY
from sallyport.audit.spool import Spool
from sallyport.audit.spooling import SpoolingSink
from sallyport.audit.store import Store
from sallyport.audit.upkeep import Upkeep
from sallyport.cli.connectto import ConnectTo
from sallyport.cli.detection import make_answer_rules, make_detector, ner_settings, places_of, read_policy
from sallyport.cli.driftwatch import watch_drift
from sallyport.cli.gatewaykey import gateway_key
from sallyport.cli.gatewayname import gateway_name
from sallyport.cli.late import Latecomer
from sallyport.cli.ledger import open_ledger
from sallyport.cli.parts import make_parts
from sallyport.cli.policybundle import BundledPolicy
from sallyport.cli.policyversions import check_promoted, keep_version, unpromoted_start
from sallyport.cli.recorded import RecordedUse
from sallyport.cli.recounted import warn_of_recounted
from sallyport.cli.rulesinforce import rules_of
from sallyport.data import rules_dir
from sallyport.decision import Mode
from sallyport.detect.ner.service import Pools
from sallyport.detect.packs import load
from sallyport.errors import OperatorError
from sallyport.files import clear_drafts
from sallyport.metering.tokens import TokenCounter
from sallyport.pki.authority import load_ca
from sallyport.pki.paths import ca_paths
from sallyport.policy.audit import Audit, People, WhenUnavailable
from sallyport.policy.capture import Capture
from sallyport.policy.catalogue import Catalogue, shipped_catalogue
from sallyport.policy.sections import Policy
from sallyport.proxy.gateway import Gateway, Live
from sallyport.sql.engines import Unreachable
from sallyport.state.booking import Metering
from sallyport.state.captures import CaptureWriter, Rotation
from sallyport.state.content.keys import subject_keys_of
from sallyport.state.content.people import Names, Pseudonyms
from sallyport.state.content.store import ContentStore, content_address
from sallyport.state.content.writing import ContentWriter
from sallyport.state.credentials import Credentials
from sallyport.state.directory import lastgood as directory_copy
from sallyport.state.directory.heldstops import Providers
from sallyport.state.directory.keeper import Keeper, Source
from sallyport.state.directory.store import DirectoryStore
from sallyport.state.elapsed import FILE as ELAPSED
from sallyport.state.elapsed import Elapsed
from sallyport.state.ledger.fallback import Fallback
from sallyport.state.masterkey import MasterKeys
from sallyport.state.policydrift import DriftWatch
from sallyport.state.tokens.desk import TokenDesk
from sallyport.state.tokens.sources import KeySources
from sallyport.state.vault import MemoryVault

logger = logging.getLogger("sallyport.audit")

WARM, MAX_WARM_EVENTS = timedelta(days=14), 20_000
"""How much of the past a gateway looks at, when it starts, to learn what is usual for its principals."""


@dataclass(slots=True)
class Assembled:
    """A gateway with what must be closed after it."""

    gateway: Gateway
    log: AuditLog
    sink: SpoolingSink
    store: Store
    lock: int
    pools: Pools
    keeper: Keeper
    late: Latecomer | None = None
    issuer_keys: KeySources | None = None
    checkpointer: Checkpointer | None = None
    people: Pseudonyms | None = None
    drift: DriftWatch | None = None

    def close(self) -> bool:
        """Write what is waiting and close the store; False if something could not be written."""
        if self.drift is not None:
            self.drift.close()
        if self.gateway.capture_writer is not None:
            self.gateway.capture_writer.close()
        if self.gateway.content_writer is not None:
            self.gateway.content_writer.close()
        self.pools.close()  # they looked for names in what was waiting
        if self.issuer_keys is not None:
            self.issuer_keys.close()
        self.keeper.close()
        if self.late is not None:
            self.late.close()
        done = self.log.close()
        if self.people is not None:
            self.people.close()
        self.sink.close()
        if self.checkpointer is not None:
            self.checkpointer.close()
        self.store.close()
        os.close(self.lock)
        return done


def make_live(policy_name: str, mode: Mode | None, pools: Pools, issuer_keys: KeySources) -> Live:
    """Read everything a reload replaces. Raises OperatorError and has no effect if anything is bad.

    pools: keeps the engines for names that run already; one that is new is warm when this returns.
    issuer_keys: keeps the keys of token issuers fresh; those of a new one are there, or asked for.
    """
    policy = read_policy(policy_name, mode)
    rules, catalogue = rules_of(policy), shipped_catalogue()
    parts = make_parts(policy, catalogue, places_of(policy_name))
    packs = load(rules_dir())
    detector = make_detector(policy, packs)
    names = pools.scanner(ner_settings(policy) if policy.uses_names else None)
    if rules.revision != rules_of(policy).revision:
        todo = "Wait until all of them are there, and reload again"
        raise OperatorError("rules", "files of packs or recognisers changed while they were read", todo)
    return Live(
        policy=policy,
        rules=rules.revision,
        catalogue=catalogue,
        detector=detector,
        names=names,
        tariff=parts.tariff,
        restricted=parts.restricted,
        client_trust=parts.client_trust,
        proxy_users=parts.proxy_users,
        tokens=TokenDesk(parts.believed, issuer_keys),
        answers=make_answer_rules(policy, packs),
    )


def vouched_hosts(policy_name: str, mode: Mode | None) -> tuple[str, ...]:
    """Return the hosts that the authority must vouch for under a policy, read with all that it names.

    Raises OperatorError: a policy that cannot be used leaves no new authority behind.
    """
    catalogue = shipped_catalogue()
    parts = make_parts(read_policy(policy_name, mode), catalogue, places_of(policy_name))
    return (*catalogue.host_patterns, *parts.restricted.hosts)


def _check_vouched(live: Live, confdir: Path) -> Live:
    """Return a snapshot. Raises OperatorError where clients would refuse what its restrictions intercept."""
    if live.restricted and ca_paths(confdir).authority.exists():
        uncovered = load_ca(confdir).uncovered(live.restricted.hosts)
        if uncovered:
            raise OperatorError(
                "restrictions",
                f"the authority may not vouch for {', '.join(uncovered[:5])}, so clients would refuse it",
                "Make one that may: sallyport ca init --force --policy FILE; clients must trust the new one",
            )
    return live


def _rotation(section: Capture) -> Rotation:
    return Rotation(section.rotate_mib * 1024 * 1024, section.rotate_h * 3600, section.keep_days * 86_400)


def assemble(
    *,
    policy: str,
    mode: Mode | None,
    confdir: Path,
    store_url: str | None,
    ledger_url: str | None,
    connect_to: ConnectTo,
    bundled: BundledPolicy | None = None,
) -> Assembled:
    """Open the store, read the files, and join the parts. Raises OperatorError.

    bundled: reads the policy out of a signed bundle, and is told of those that take force with a reload; of the first
    one who starts the gateway tells it. None reads the file or preset that policy names.
    """
    pools = Pools()
    with ExitStack() as undo:
        undo.callback(pools.close)
        issuer_keys = KeySources(confdir / "issuers", lambda: gateway_key(confdir))
        undo.callback(issuer_keys.close)
        master_keys = MasterKeys(confdir)

        in_force: list[Policy] = []
        catalogues: list[Catalogue] = []

        def read() -> Live:
            name = policy if bundled is None else bundled.file()
            live = _check_vouched(make_live(name, mode, pools, issuer_keys), confdir)
            if in_force:
                check_promoted(in_force[-1], live.policy, confdir)
                warn_of_recounted(in_force[-1], live.policy)
            kept = live.policy.capture.share or live.policy.content.keeps_any
            seals = kept or live.policy.audit.people is People.PSEUDONYMISED
            if seals and not master_keys.is_configured:
                master_keys.make()  # as for credentials: sealed at once, under a better key when there is one
            keep_version(name, mode, live.policy, confdir)
            if bundled is not None and in_force:
                bundled.taken()
            in_force[:], catalogues[:] = [live.policy], [live.catalogue]
            return live

        # Before the policy is read: to read a bundle replaces what a gateway that runs here has unpacked.
        lock = _only_one(confdir)
        undo.callback(os.close, lock)
        clear_drafts(confdir)
        live = read()
        key = gateway_key(confdir)
        name = gateway_name(confdir)
        url = store_url or f"sqlite:///{confdir / 'audit.db'}"
        store, keeper = _open_stores(
            url,
            confdir,
            key,
            required=live.policy.directory.required,
            providers=lambda: [provider.name for provider in catalogues[-1]],
        )
        undo.pop_all()

    def audit_policy() -> Audit:
        return in_force[-1].audit

    sink = _with_spool(store, confdir, key, name, audit_policy)
    people = Pseudonyms(lambda: subject_keys_of(master_keys))
    log = PersonalLog(
        sink,
        people,
        wanted=lambda: audit_policy().people is People.PSEUDONYMISED,
        may_pass=lambda: audit_policy().when_unavailable is WhenUnavailable.SPOOL,
    )
    if audit_policy().people is People.PSEUDONYMISED:
        people.start()
    store.names = Names(lambda: subject_keys_of(master_keys) if master_keys.is_configured else None)
    is_late = not store.is_open or sink.holds_earlier
    latest = store.events(1) if store.is_open else []
    if store.is_open and (confdir / SIGNING_KEY).exists() and not latest:
        logger.warning(
            "the audit store %s holds no event, and %s is there already. If a gateway has signed a log with this key, "
            "and the store was not moved on purpose, stop, and bring the store back from a backup",
            store.name,
            confdir / SIGNING_KEY,
        )
    elapsed = Elapsed(confdir / ELAPSED, latest[0].at if latest else None)
    left_open = [] if is_late else [interrupted(admitted) for admitted in store.open_exchanges(name)]
    for end in left_open:
        log.append_nowait(end)
    tokens = TokenCounter()
    tokens.load()
    # What a store that is down means is the policy's to say: Metering.configure.
    ledger = Fallback(open_ledger(ledger_url, confdir, partial(_tell_of_lost_counts, log, name)), None)
    gateway = Gateway(
        live=live,
        audit=log,
        key=key,
        id=name,
        reload=read,
        vault=MemoryVault(key),
        metering=Metering(ledger, tokens, orphans=tuple(e.exchange for e in left_open)),
        connect_to=connect_to,
        directory=lambda: keeper.current,
        credentials=Credentials(keeper.credential, master_keys),
        open_directory=lambda: DirectoryStore.open(url, create=False),
        alias=log.alias,
        unpromoted="" if is_late else unpromoted_start(live.policy, store, name, confdir),
    )
    gateway.capture_writer = CaptureWriter(
        confdir / "captures",
        name,
        master_keys,
        lambda: _rotation(gateway.live.policy.capture),
        elapsed.now,
    )
    gateway.content_writer = ContentWriter(
        ContentStore(content_address(url)), subject_keys_of(master_keys), elapsed.now
    )
    gateway.content_writer.start()  # also where nothing is kept any more: what was kept has its end
    if not is_late:
        gateway.watch.warm(store.ended(gateway.now() - WARM, MAX_WARM_EVENTS))
    ends = {end.exchange: end for end in left_open}
    gateway.metering.recover = RecordedUse(store, ledger, lambda: gateway.live, ends).recover
    late = Latecomer(store, log, name, lambda: not sink.holds_earlier) if is_late else None

    def copied() -> int | None:
        copies = Copies.of(gateway.live.policy, confdir)
        return copies.after() if copies.wanted else None

    upkeep = Upkeep(url, confdir, name, lambda: audit_policy().retention_days, elapsed.now, copied)
    checkpointer = Checkpointer(
        lambda: checkpoint_now(url, confdir, Copies.of(gateway.live.policy, confdir)),
        lambda: gateway.live.policy.audit.checkpoints.interval_s,
        upkeep,
    )
    drift = watch_drift(gateway, policy, mode, bundled, confdir)
    drift.start()
    parts = (gateway, log, sink, store, lock, pools, keeper, late, issuer_keys, checkpointer, people, drift)
    return Assembled(*parts)


def _tell_of_lost_counts(log: AuditLog, gateway: str, reason: str, detail: str) -> None:
    with suppress(AuditUnavailable):  # the log line has told of it
        log.append_nowait(
            Event(
                kind=EventKind.LIMIT_CHANGED,
                gateway=gateway,
                stage="limits",
                reason=reason,
                detail=detail,
            )
        )


def _with_spool(
    store: Store, confdir: Path, key: bytes, name: str, policy: Callable[[], Audit]
) -> SpoolingSink:
    """Return the store with its spool before it, which gives the store what an earlier process left."""
    spool = Spool(
        confdir / "audit-spool",
        hmac.digest(key, b"sallyport audit spool", "sha256"),
        lambda: policy().spool_mib * 1024 * 1024,
    )

    def wanted() -> bool:
        return policy().when_unavailable is WhenUnavailable.SPOOL

    sink = SpoolingSink(store, spool, wanted, name, away=wanted() and not store.is_open)
    sink.start()
    return sink


def _open_stores(
    url: str, confdir: Path, key: bytes, *, required: bool, providers: Providers
) -> tuple[Store, Keeper]:
    """Open the audit and the directory, which share a database.

    A database that does not answer keeps a gateway from starting, unless there is a last good copy of the
    directory or the policy needs none; the audit is then opened by its first write. Raises OperatorError.
    """
    problem: Unreachable | None = None
    try:
        store = Store.open(url)
    except Unreachable as error:
        problem, store = error, Store.later(url)
    keeper = Keeper(
        lambda create: DirectoryStore.open(url, create=create),
        confdir / directory_copy.FILE,
        key,
        required=required,
        providers=providers,
    )
    try:
        keeper.start()
    except OperatorError as error:
        store.close()
        raise problem or error from None
    if problem is not None and keeper.standing.source is Source.STORE:
        keeper.close()
        store.close()
        raise problem
    return store, keeper


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

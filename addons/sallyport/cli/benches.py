"""The policies of one replay, ready to judge: made once in each process that works for it."""

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

from sallyport.audit.events import Event
from sallyport.cli.detection import answer_rules, answer_settings, places_of, read_policy
from sallyport.cli.parts import make_parts
from sallyport.cli.rehearsing import DEADLINE_S, Detectors
from sallyport.cli.rulesinforce import rules_of
from sallyport.decision import Mode
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.errors import OperatorError
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.catalogue import Catalogue, shipped_catalogue
from sallyport.policy.sections import Policy
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.recorded import Record
from sallyport.replay.judging import Bench, Moment
from sallyport.replay.noting import NotingMetering
from sallyport.replay.scans import AnswerScans, Scans, Stopwatch
from sallyport.stages.directory import NOBODY, Approval, Directory, Key, Person, Stop, Tenant
from sallyport.state.directory.snapshot import Snapshot
from sallyport.state.directory.store import DirectoryStore, NoDirectoryThere
from sallyport.state.masterkey import MasterKeys
from sallyport.state.tokens.desk import TokenDesk
from sallyport.state.tokens.sources import KeySources, fetch
from sallyport.state.tokens.sources import Place as KeyPlace
from sallyport.state.vault import MemoryVault


@dataclass(frozen=True, slots=True)
class Side:
    """A policy by its file, or the name of a preset, and what is in it: wherever it is read again, it is the same.

    rules: revision of what decides beside it. told_by: of all of that but the code, which every process must have.
    """

    name: str
    revision: str
    rules: str = ""
    told_by: str = ""

    @classmethod
    def of(cls, name: str, mode: Mode | None) -> "Side":
        """Read a policy's revision. Raises OperatorError."""
        policy = read_policy(name, mode)
        rules = rules_of(policy)
        return cls(name, policy.revision, rules.revision, rules.without_code.revision)

    def read(self, mode: Mode | None) -> Policy:
        """Read the policy. Raises OperatorError, also where another one is there."""
        policy = read_policy(self.name, mode)
        if policy.revision != self.revision:
            todo = "Leave the file as it is, and see that Dask's workers have the same"
            raise OperatorError(self.name, "it is not the policy that the replay began with", todo)
        if rules_of(policy).without_code.revision != self.told_by:
            todo = "Leave packs and libraries as they are, and see that Dask's workers have the same"
            raise OperatorError(self.name, "its rules are not those that the replay began with", todo)
        return policy


@dataclass(frozen=True, slots=True)
class Setup:
    """What every process needs to know. base: None for what was recorded. key: of the gateway, 32 bytes.

    store: address of the directory, "" for none. home: folder of the gateway, whose master key opens captures and
    which has the last good keys of token issuers. run: tells one replay from another, so that a worker that lives on
    reads everything anew.
    """

    candidate: Side
    base: Side | None
    mode: Mode | None
    store: str
    home: str
    key: bytes = field(repr=False)
    run: str = field(default_factory=lambda: secrets.token_hex(8))


@lru_cache(maxsize=1)
def benches(setup: Setup) -> tuple["Common", Bench | None, Bench]:
    """Make the policies ready, once in each process. Raises OperatorError."""
    shared = Common(setup)
    base = None if setup.base is None else shared.bench(setup.base)
    return shared, base, shared.bench(setup.candidate)


class Common:
    """What the policies of one replay have in common."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._clock = Moment()
        self._watch = Stopwatch()
        self._answer_scans: dict[DetectionSettings, AnswerScans] = {}
        self._catalogue, self._detectors, self._tokens = _ready()
        self._directory = _directory(setup.store)
        self._sources = KeySources(
            issuers if (issuers := Path(setup.home, "issuers")).is_dir() else None,
            lambda: setup.key,
            now=self._clock,
            read=_local,
        )

    def bench(self, side: Side) -> Bench:
        policy = side.read(self._setup.mode)
        parts = make_parts(policy, self._catalogue, places_of(side.name))
        searched = self._detectors.of(policy)
        live = Live(
            policy=policy,
            catalogue=self._catalogue,
            detector=searched.detector,
            tariff=parts.tariff,
            restricted=parts.restricted,
            client_trust=parts.client_trust,
            proxy_users=parts.proxy_users,
            tokens=TokenDesk(parts.believed, self._sources, now=self._clock),
            answers=answer_rules(policy, self._scanner(policy)),
        )
        metering = NotingMetering(self._tokens)
        gateway = Gateway(
            live=live,
            audit=_Nowhere(),
            key=self._setup.key,
            id="replay",
            reload=lambda: live,
            vault=MemoryVault(self._setup.key),
            metering=metering,
            now=lambda: datetime.fromtimestamp(self._clock.seconds, UTC),
            directory=lambda: _Then(self._directory, self._clock),
        )
        unlooking = replace(live, answers=None)
        return Bench(live, self._detectors.of, gateway, metering, self._clock, self._watch, unlooking)

    def scans(self, record: Record | None) -> Scans:
        """Begin another flow: nothing is known of its texts but what was recorded."""
        for scanner in self._answer_scans.values():
            scanner.forget()
        return Scans(self._watch, record.known if record is not None else None)

    def _scanner(self, policy: Policy) -> AnswerScans:
        settings = replace(answer_settings(policy), deadline_s=DEADLINE_S, cpu_s=DEADLINE_S)
        if settings not in self._answer_scans:
            self._answer_scans[settings] = AnswerScans(_answer_detector(settings), self._watch)
        return self._answer_scans[settings]


class _Nowhere:
    """No audit: a replay decides nothing that happens."""

    async def append(self, event: Event, *, required: bool = True) -> None:
        """Forget it."""

    def append_nowait(self, event: Event) -> None:
        """Forget it."""


@cache
def _answer_detector(settings: DetectionSettings) -> Detector:
    detector = Detector(settings)
    detector.warm()
    return detector


@cache
def keys_of(home: str) -> MasterKeys:
    return MasterKeys(Path(home))


@cache
def _ready() -> tuple[Catalogue, Detectors, TokenCounter]:
    """Return what no policy changes."""
    tokens = TokenCounter()
    tokens.load()
    return shipped_catalogue(), Detectors(), tokens


@dataclass(frozen=True, slots=True)
class _Then:
    """The directory of today at the time of a flow: what was approved since then serves the flow as well."""

    known: Directory
    clock: Moment

    @property
    def revision(self) -> int:
        return self.known.revision

    def person(self, tenant: str, id: str) -> Person | None:
        return self.known.person(tenant, id)

    def named(self, name: str) -> Person | None:
        return self.known.named(name)

    def tenant(self, id: str) -> Tenant | None:
        return self.known.tenant(id)

    def key(self, fingerprint: str) -> Key | None:
        return self.known.key(fingerprint)

    def stops(self) -> tuple[Stop, ...]:
        return self.known.stops()

    def approvals(self, tenant: str, principal: str) -> tuple[Approval, ...]:
        at = datetime.fromtimestamp(self.clock(), UTC)
        found = self.known.approvals(tenant, principal)
        return tuple(a if a.given_at is None else replace(a, given_at=min(a.given_at, at)) for a in found)


def _directory(store: str) -> Directory:
    if not store:
        return NOBODY
    try:
        opened = DirectoryStore.open(store, create=False)
    except NoDirectoryThere:
        return NOBODY  # an audit log alone: nobody was ever entered
    try:
        with opened.read() as connection:
            # A kill switch of today says nothing of what was sent last month.
            return replace(Snapshot.read(connection), pulled=())
    finally:
        opened.close()


def _local(place: KeyPlace) -> bytes:
    """Read keys of issuers that are in a file; no address is asked in a replay."""
    if place.file is None:
        raise OSError("a replay asks no address")
    return fetch(place)

"""What does the work of `sallyport replay`: one function over places of flows, for a process, a pool or a cluster."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sallyport.cli.assembly import make_catalogue
from sallyport.cli.detection import places_of, read_policy
from sallyport.cli.parts import make_parts
from sallyport.cli.rehearsing import Detectors
from sallyport.decision import Action, Mode
from sallyport.errors import OperatorError
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.catalogue import Catalogue
from sallyport.proxy.gateway import Live
from sallyport.proxy.recorded import Ruling, read_record
from sallyport.replay.flows import Place, load_flow
from sallyport.replay.judging import Bench, Moment, Scans, Word
from sallyport.replay.ruling import Asked, Judged, Sort
from sallyport.stages.directory import NOBODY, Directory
from sallyport.state.directory.snapshot import Snapshot
from sallyport.state.directory.store import DirectoryStore
from sallyport.state.masterkey import MasterKeys
from sallyport.state.tokens.desk import TokenDesk
from sallyport.state.tokens.sources import KeySources, fetch
from sallyport.state.tokens.sources import Place as KeyPlace

CHUNK = 32
"""Flows that a process is given at once."""

AHEAD = 4
"""Chunks for each process that are under way: more would only be held in memory."""

RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class Setup:
    """What every process needs to know. base: None for what was recorded. key: of the gateway, 32 bytes.

    store: address of the directory, "" for none. home: folder of the gateway, whose master key opens captures and
    which has the last good keys of token issuers.
    """

    candidate: str
    base: str | None
    mode: Mode | None
    store: str
    home: str
    key: bytes = field(repr=False)


def judge(setup: Setup, places: Sequence[Place]) -> list[Judged]:
    """Judge flows, in their order. Raises OperatorError."""
    return asyncio.run(_judged(setup, places))


async def _judged(setup: Setup, places: Sequence[Place]) -> list[Judged]:
    base, candidate = _benches(setup)
    keys = _keys(setup.home)
    found = []
    for place in places:
        flow = load_flow(place, keys)
        record = read_record(flow)
        scans = Scans(record.findings if record is not None else None)
        theirs = await candidate.judge(flow, record, scans)
        if base is None:
            # What no gateway was there to judge has left as it was.
            left = Ruling(Action.ALLOW, Action.ALLOW, cost=theirs.price)
            ours = replace(theirs, asked=Asked(record.ruling if record is not None else left))
        else:
            ours = await base.judge(flow, record, scans)
        began = flow.request.timestamp_start
        ended = (flow.response.timestamp_end if flow.response is not None else None) or began
        found.append(_joined(record.exchange if record is not None else flow.id, began, ended, ours, theirs))
    return found


def _joined(id: str, began: float, ended: float, ours: Word, theirs: Word) -> Judged:
    known = ours if ours.principal or not theirs.principal else theirs
    return Judged(
        id,
        began,
        ended,
        Sort.EXCHANGE if theirs.provider else Sort.TUNNELLED,
        theirs.host,
        theirs.provider,
        theirs.endpoint,
        theirs.model,
        known.principal,
        known.tenant,
        ours.asked,
        theirs.asked,
    )


@lru_cache(maxsize=1)
def _benches(setup: Setup) -> tuple[Bench | None, Bench]:
    """Make the policies ready, once in each process. Raises OperatorError."""
    shared = _Shared(setup)
    base = None if setup.base is None else shared.bench(setup.base)
    return base, shared.bench(setup.candidate)


class _Shared:
    """What the policies of one replay have in common."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._clock = Moment()
        self._catalogue, self._detectors, self._tokens = _ready()
        self._directory = _directory(setup.store)
        self._sources = KeySources(
            issuers if (issuers := Path(setup.home, "issuers")).is_dir() else None,
            lambda: setup.key,
            now=self._clock,
            read=_local,
        )

    def bench(self, name: str) -> Bench:
        policy = read_policy(name, self._setup.mode)
        parts = make_parts(policy, self._catalogue, places_of(name))
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
        )
        return Bench(live, self._detectors.of, self._tokens, self._directory, self._setup.key, self._clock)


@cache
def _keys(home: str) -> MasterKeys:
    return MasterKeys(Path(home))


@cache
def _ready() -> tuple[Catalogue, Detectors, TokenCounter]:
    """Return what no policy changes."""
    tokens = TokenCounter()
    tokens.load()
    return make_catalogue(), Detectors(), tokens


def _directory(store: str) -> Directory:
    if not store:
        return NOBODY
    opened = DirectoryStore.open(store, create=False)
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


# -- who does it ---------------------------------------------------------------------------------------


type Submit = Callable[[Sequence[Place]], Any]
"""Begins to judge flows elsewhere; what it returns has result()."""


def in_order(places: Sequence[Place], submit: Submit, ahead: int) -> Iterator[Judged]:
    """Yield what was judged, in the order of the places, with so many chunks under way."""
    under_way: deque[Any] = deque()
    for start in range(0, len(places), CHUNK):
        under_way.append(submit(places[start : start + CHUNK]))
        if len(under_way) >= ahead:
            yield from under_way.popleft().result()
    while under_way:
        yield from under_way.popleft().result()


@dataclass(frozen=True, slots=True)
class _Done:
    """A chunk that was judged in this process."""

    judged: list[Judged]

    def result(self) -> list[Judged]:
        return self.judged


def judge_apart(setup: Setup, places: Sequence[Place]) -> list[Judged]:
    """Judge in a thread: whoever folds runs an event loop of its own in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(judge, setup, places).result()


@contextmanager
def workers(setup: Setup, jobs: int, dask: str | None) -> Iterator[tuple[Submit, int]]:
    """Open what judges: this process, a pool, or a Dask cluster; with how many chunks it takes at once."""
    if dask is not None:
        with _cluster(dask) as client:
            count = max(1, sum(client.nthreads().values()))
            # A key is the name of a result, and results of other policies must not be taken for these.
            yield lambda places: client.submit(judge, setup, places, pure=False), count * AHEAD
    elif jobs == 1:
        yield lambda places: _Done(judge_apart(setup, places)), 1
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield lambda places: pool.submit(judge, setup, places), jobs * AHEAD


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise OperatorError(
            "--dask",
            "Dask is not installed",
            "Install it: pip install 'sallyport[dask]', here and on the workers",
        ) from None
    try:
        client: Any = Client(address, timeout=5)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError):
        raise OperatorError(
            "--dask",
            "no scheduler answers there",
            "Name one as tcp://HOST:8786, and see that it runs",
            exit_code=3,
        ) from None
    try:
        yield client
    finally:
        client.close()

"""What does the work of `sallyport replay`: one function over places of flows, for a process, a pool or a cluster."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import batched, takewhile
from threading import Event
from typing import Any

from mitmproxy import http

from sallyport.cli.benches import Setup, benches, keys_of
from sallyport.cli.replayers import processes
from sallyport.decision import Action
from sallyport.errors import OperatorError
from sallyport.proxy.recorded import Record, Ruling, read_record
from sallyport.replay.flows import Unreadable, load_flow
from sallyport.replay.judging import Bench, Word
from sallyport.replay.ruling import Asked, Judged, Place, Sort, unread
from sallyport.stages.outcome import Outcome

CHUNK = 32
"""Flows that a process is given at once."""

AHEAD = 4
"""Chunks for each process that are under way: more would only be held in memory."""

RECORDED = "recorded"


def judge(setup: Setup, places: Iterable[Place]) -> list[Judged]:
    """Judge flows, in their order. Raises OperatorError."""
    return asyncio.run(_judged(setup, places))


async def _judged(setup: Setup, places: Iterable[Place]) -> list[Judged]:
    shared, base, candidate = benches(setup)
    keys = keys_of(setup.home)
    found = []
    for place in places:
        try:
            flow = load_flow(place, keys)
        except Unreadable:
            found.append(unread(place, Sort.UNREADABLE))
            continue
        record = read_record(flow)
        if record is None and _is_session(flow) and _is_read(flow, candidate, base):
            found.append(unread(place, Sort.SESSION))
            continue
        scans = shared.scans(record)
        theirs = await candidate.judge(flow, record, scans)
        if base is None:
            left = record.ruling if record is not None else _left(theirs)
            ours = replace(theirs, asked=Asked(left), cpu_us=0)
        else:
            ours = await base.judge(flow, record, scans)
        found.append(_joined(place, flow, record, ours, theirs))
    return found


def _is_session(flow: http.HTTPFlow) -> bool:
    """Say whether a flow is a whole WebSocket session; a HAR has the answer to its upgrade alone."""
    return flow.websocket is not None or (flow.response is not None and flow.response.status_code == 101)


def _is_read(flow: http.HTTPFlow, *sides: Bench | None) -> bool:
    """Say whether a policy takes the host of a flow for an AI provider's, so that it would read what is said to it."""
    return any(side is not None and side.tunnelled(flow) is None for side in sides)


def _left(theirs: Word) -> Ruling:
    """Return what happened where no gateway was there to judge: all of it left and came back as it was."""
    answer = Outcome() if theirs.asked.ruling.answer is not None else None
    return Ruling(Action.ALLOW, Action.ALLOW, cost=theirs.price, answer=answer)


def _joined(place: Place, flow: http.HTTPFlow, record: Record | None, ours: Word, theirs: Word) -> Judged:
    began = flow.request.timestamp_start
    ended = (flow.response.timestamp_end if flow.response is not None else None) or began
    known = ours if ours.principal or not theirs.principal else theirs
    return Judged(
        record.exchange if record is not None else flow.id,
        place,
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
        (ours.cpu_us, theirs.cpu_us),
        record.rules if record is not None else "",
    )


# -- who does it ---------------------------------------------------------------------------------------


type Submit = Callable[[Sequence[Place]], Any]
"""Begins to judge flows elsewhere; what it returns has result()."""


def in_order(places: Iterable[Place], submit: Submit, ahead: int) -> Iterator[Judged]:
    """Yield what was judged, in the order of the places, with so many chunks under way."""
    under_way: deque[Any] = deque()
    for chunk in batched(places, CHUNK):
        under_way.append(submit(chunk))
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
    """Judge in a thread: whoever folds runs an event loop of its own in this one. An interrupt waits for one flow."""
    given_up = Event()
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(judge, setup, takewhile(lambda _: not given_up.is_set(), places)).result()
        finally:
            given_up.set()


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
        with processes(jobs) as submit:
            yield lambda places: submit(judge, setup, places), jobs * AHEAD


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

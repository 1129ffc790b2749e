"""Whatever raises, hangs or lies, in any stage, hook or port: no byte leaves without a verdict and an event."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gateways import OPEN_POLICY, InnerGateway
from proxy.conftest import inner_gateway_in_thread
from rawclient import Talk, ask, post
from sallyport.audit.events import EventKind
from sallyport.decision import Action, Decision
from sallyport.pipeline import STAGES

HOST = "api.openai.com"
POLICY = OPEN_POLICY + "detection:\n  deadline_s: 0.2\n"


class Sabotage:
    """What goes wrong next: at a place, in a way. Nothing by default."""

    place = ""
    way = ""
    hits = 0

    def at(self, place: str) -> Any:
        """Raise, or return an awaitable or value that is wrong, if this is the place."""
        if place != self.place:
            return None
        self.hits += 1
        match self.way:
            case "hang":
                return asyncio.sleep(3)
            case "nonsense":
                return "certainly"
            case way:
                raise WAYS[way]


WAYS: dict[str, Any] = {
    "RuntimeError": RuntimeError("sk-live-should-not-be-logged"),
    "RecursionError": RecursionError(),
    "MemoryError": MemoryError(),
    "CancelledError": asyncio.CancelledError(),
    "TimeoutError": TimeoutError(),
    "SystemExit": SystemExit(1),
    "hang": None,
    "nonsense": None,
}
sabotage = Sabotage()


class BrokenStage:
    """A stage in front of the real one that fails on demand."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.name = inner.name

    async def decide(self, exchange: Any, section: Any, ports: Any) -> Decision:
        bad = sabotage.at(f"stage:{self.name}")
        if bad is not None:
            if asyncio.iscoroutine(bad):
                await bad
            return bad  # type: ignore[no-any-return]
        decision: Decision = await self.inner.decide(exchange, section, ports)
        return decision


class BrokenDetector:
    revision = "broken"

    def scan(self, segments: Any) -> Any:
        bad = sabotage.at("port:scanner")
        if bad is None:
            return ()
        if asyncio.iscoroutine(bad):
            bad.close()
            time.sleep(0.5)
            raise TimeoutError
        return bad


HOOKS = ("client_connected", "http_connect", "tls_clienthello", "requestheaders", "request",
         "server_connect", "responseheaders", "response")  # fmt: skip


class BrokenAddon:
    """A neighbour whose hooks fail on demand; it stands before or behind the gateway's addon."""

    def __init__(self, position: str) -> None:
        self.name = f"broken-{position}"
        for hook in HOOKS:
            setattr(self, hook, self._hook(f"{position}:{hook}"))

    @staticmethod
    def _hook(place: str) -> Any:
        async def run(data: Any) -> None:
            bad = sabotage.at(place)
            if asyncio.iscoroutine(bad):
                await bad

        return run


def put_in_place(master: Any) -> None:
    master.addons.chain.insert(1, master.addons.register(BrokenAddon("before")))
    master.addons.chain.append(master.addons.register(BrokenAddon("behind")))
    for hook in HOOKS:
        inner = getattr(master.addon, hook, None)
        if inner is not None:
            setattr(master.addon, hook, wrapped(hook, inner))
    master.addons._hooks.clear()


def wrapped(hook: str, inner: Any) -> Any:
    async def run(data: Any) -> None:
        bad = sabotage.at(f"own:{hook}")
        if asyncio.iscoroutine(bad):
            await bad
        elif bad is not None:
            return
        result = inner(data)
        if asyncio.iscoroutine(result):
            await result

    return run


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[InnerGateway]:
    stages = tuple(replace(step, stage=BrokenStage(step.stage)) for step in STAGES)
    with inner_gateway_in_thread(
        folder, policy=POLICY, stages=stages, detector=BrokenDetector(), change=put_in_place
    ) as running:
        yield running


def body(kind: str) -> bytes:
    content = "x" * 300_000 if kind == "upload" else "Hello"
    return json.dumps(
        {"model": "m", "stream": kind == "stream", "messages": [{"role": "user", "content": content}]}
    ).encode()


def send(gateway: InnerGateway, kind: str, timeout: float = 5) -> Talk:
    ca = gateway.confdir / "ca-cert.pem"
    return ask(gateway.port, ca, HOST, post("/v1/chat/completions", body(kind), HOST), timeout=timeout)


STAGE_PLACES = [*dict.fromkeys(f"stage:{step.stage.name}" for step in STAGES), "port:scanner"]
BEFORE_LEAVING = ("client_connected", "http_connect", "tls_clienthello", "requestheaders", "request")
EARLY = STAGE_PLACES + [f"{p}:{h}" for p, h in product(("before", "own", "behind"), BEFORE_LEAVING)]
EARLY += ["before:server_connect", "behind:server_connect"]
LATE = [f"{p}:{h}" for p, h in product(("before", "own", "behind"), ("responseheaders", "response"))]
JUDGED_LATER = ("own:client_connected", "own:http_connect", "own:tls_clienthello")
KINDS = ("json", "stream", "upload")

EARLY_CASES = [
    (place, way)
    for place, way in product(EARLY, WAYS)
    # mitmproxy ignores what a neighbour's hook returns, so nonsense there is no fault.
    if way != "nonsense" or place.partition(":")[0] not in {"before", "behind"}
]
LATE_CASES = [
    (place, way, kind)
    for place, way, kind in product(LATE, [w for w in WAYS if w != "nonsense"], KINDS)
    # A stream is judged event by event; its response hook comes when all is out.
    if kind != "stream" or not place.endswith(":response")
]


@pytest.fixture(autouse=True)
def nothing_wrong() -> Iterator[None]:
    sabotage.place = sabotage.way = ""
    sabotage.hits = 0
    yield
    sabotage.place = sabotage.way = ""


def test_the_harness_passes_traffic_when_nothing_is_broken(gateway: InnerGateway) -> None:
    for kind in KINDS:
        gateway.lab.forget()
        assert send(gateway, kind).status == 200
        assert len(gateway.lab.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("place", "way"), EARLY_CASES, ids=lambda v: v)
def test_nothing_leaves_when_something_fails_before_the_verdict(
    gateway: InnerGateway, place: str, way: str, kind: str
) -> None:
    gateway.lab.forget()
    gateway.audit.events.clear()
    sabotage.place, sabotage.way = place, way
    talk = send(gateway, kind, timeout=1.2 if way == "hang" else 5)
    assert sabotage.hits, "the sabotage was never reached"
    if way == "nonsense" and place in JUDGED_LATER:
        # A connection hook that does nothing leaves the judgement to the request's own verdict.
        assert len(gateway.lab.requests) == len(gateway.audit.of(EventKind.ADMITTED))
        return
    assert gateway.lab.requests == []
    assert all(c.clear_bytes == 0 for c in gateway.lab.connections)
    assert talk.status != 200
    if place.startswith(("stage:", "port:")):
        assert talk.status == (503 if way in ("hang", "TimeoutError") else 403)
        assert [e.kind for e in gateway.audit.events] == [EventKind.REFUSED]


@pytest.mark.parametrize(("place", "way", "kind"), LATE_CASES, ids=lambda v: v)
def test_an_answer_nobody_judged_does_not_reach_the_client(
    gateway: InnerGateway, place: str, way: str, kind: str
) -> None:
    gateway.lab.forget()
    gateway.audit.events.clear()
    sabotage.place, sabotage.way = place, way
    talk = send(gateway, kind, timeout=1.2 if way == "hang" else 5)
    assert talk.status != 200 or not talk.body
    assert len(gateway.lab.requests) == len(gateway.audit.of(EventKind.ADMITTED)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["raises", "hangs"])
def test_a_log_that_is_gone_stops_every_request(gateway: InnerGateway, way: str, kind: str) -> None:
    gateway.lab.forget()
    gateway.audit.events.clear()
    gateway.audit.failing = OSError("disk") if way == "raises" else None
    gateway.audit.hanging = way == "hangs"
    try:
        talk = send(gateway, kind)
    finally:
        gateway.audit.failing, gateway.audit.hanging = None, False
    assert talk.status == 503
    assert b"x-should-retry: false" in talk.head.lower()
    assert gateway.lab.requests == []
    assert send(gateway, kind).status == 200


def test_there_are_more_than_five_hundred_combinations() -> None:
    assert len(EARLY_CASES) * len(KINDS) + len(LATE_CASES) >= 500


def test_a_verdict_of_no_stage_at_all_is_no_verdict(tmp_path: Path) -> None:
    with inner_gateway_in_thread(tmp_path, policy=POLICY, stages=()) as gateway:
        assert send(gateway, "json").status == 503
        assert gateway.lab.requests == []
    assert Action.ALLOW == 0

"""Attempts to get past the gateway over its own ports: nothing of them reaches a provider, and each is told.

One gateway and one capture serve the whole table (attempts.py); controls.py holds what has to pass. Every
attempt carries a mark of its own; at the end the whole capture and log are searched for all of them.
"""

import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateways import InnerGateway, lab_in_thread
from proxy.attempts import GROUPS, Attempt
from proxy.conftest import inner_gateway_in_thread
from proxy.controls import CONTROLS, Control
from proxy.door import AI, LEAK, Door
from proxy.stock import Stock, reached, stock_mitmdump
from sallyport.audit.events import Event, EventKind
from sallyport.decision import Finding, Kind, Severity
from sallyport.exchange import Segment
from sallyport.lab.server import Lab
from sallyport.policy.load import parse_policy
from sallyport.proxy import dial

ATTEMPTS = [attempt for group in GROUPS.values() for attempt in group]
PRESSURE = {attempt.id for attempt in GROUPS["Pressure"]}
DOC = Path(__file__).parents[2] / "docs" / "bypass-resistance.md"
MODES = ("regular@127.0.0.1:0", f"reverse:https://{AI}@127.0.0.1:0")
IMPATIENT = "header_timeout_s: 0.5, max_connections_per_client: 10, "
DUE_S = 30.0
"""Time within which an event must be there; nearly always it is there at once."""


def policy(own_port: int, transport: str = "") -> str:
    """Anyone may speak; a port of this machine may be asked for, so that only the address guard is in the way."""
    return (
        "version: 1\nidentity: {unknown: anonymous}\n"
        f"hosts: {{connect_ports: [443, {own_port}]}}\n"
        f"transport: {{{transport}max_request_bytes: 262144}}\n"
    )


class LeakDetector:
    """Finds the word LEAK, wherever a stage can see text."""

    revision = "leak"

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        return tuple(
            Finding("test.leak", Kind.SECRET, "LEAK", Severity.HIGH, s.at, m.start(), m.end())
            for s in segments
            for m in re.finditer(LEAK, s.text)
        )


class Everywhere(dict[tuple[str, int], tuple[str, int]]):
    """Leads every name to the lab, so that nothing stays away only because its name does not resolve."""

    def get(self, key: tuple[str, int], default: object = None) -> object:  # type: ignore[override]
        return default if key[0].rstrip(".") == "localhost" else self["lab", 0]


@dataclass
class Running:
    """The gateway under test with its capture, its log, and the marks of everything tried."""

    gateway: InnerGateway
    door: Door
    log: Path
    marks: list[str]

    @property
    def lab(self) -> Lab:
        return self.gateway.lab

    def use(self, text: str) -> None:
        kernel = self.gateway.master.gateway
        kernel.live = replace(kernel.live, policy=parse_policy(text))

    def told(self, since: int, reason: str) -> bool:
        """Wait until an event names the reason as its kind, reason or detail."""
        deadline = time.monotonic() + DUE_S
        while True:
            if any(reason in (e.kind, e.reason, e.detail) for e in self.events(since)):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)

    def events(self, since: int = 0) -> list[Event]:
        return self.gateway.audit.events[since:]


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    log = folder / "gateway.log"
    with inner_gateway_in_thread(folder, policy=policy(1), detector=LeakDetector(), modes=MODES) as gateway:
        everywhere = Everywhere({("lab", 0): ("127.0.0.1", gateway.lab.port)})
        dial.dialing.connect_to = gateway.master.gateway.connect_to = everywhere
        explicit, reverse = gateway.master.ports.values()
        door = Door(
            explicit,
            reverse,
            gateway.confdir / "ca-cert.pem",
            gateway.lab.port,
            outside_ca=gateway.lab.ca.certificate,
        )
        with written_to(log):
            running = Running(gateway, door, log, [])
            running.use(policy(gateway.lab.port))
            yield running


class written_to:
    """Lead everything that is logged into a file, past the filters an operator's log has."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")
        self._root = logging.StreamHandler(self._file)
        self._turned = [
            handler
            for name in ("mitmproxy", "mitmproxy_rs", "asyncio", "hpack", "h2")
            for handler in logging.getLogger(name).handlers
            if isinstance(handler, logging.StreamHandler)
        ]
        self._before = [handler.stream for handler in self._turned]

    def __enter__(self) -> None:
        logging.getLogger().addHandler(self._root)
        for handler in self._turned:
            handler.setStream(self._file)

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._root)
        for handler, stream in zip(self._turned, self._before, strict=True):
            handler.setStream(stream)
        self._file.close()


def attempt(running: Running, tried: Attempt) -> None:
    mark = f"MARK-{tried.id}-END"
    running.marks.append(mark)
    since, connections = len(running.events()), len(running.lab.connections)
    tried.run(running.door, mark)
    if tried.reason:
        assert running.told(since, tried.reason), [
            (e.kind, e.reason, e.detail) for e in running.events(since)
        ]
    if tried.disarmed:
        assert reached(running.lab, mark, within_s=DUE_S)
        assert not holds(running.lab, mark, tried.disarmed)
        running.marks.remove(mark)
        return
    assert not reached(running.lab, mark)
    if not tried.beside:
        assert sum(c.raw_bytes for c in running.lab.connections[connections:]) == 0


def holds(lab: Lab, mark: str, piece: bytes) -> bool:
    """Say whether a request with this mark holds a piece, in any case, outside the mark itself."""
    said = (repr(r).replace(mark, "").lower() for r in lab.requests if mark.encode() in r.body)
    return any(piece.decode().lower() in text for text in said)


@pytest.mark.parametrize("tried", [a for a in ATTEMPTS if a.id not in PRESSURE], ids=lambda a: a.id)
def test_nothing_of_an_attempt_reaches_a_provider_and_it_is_recorded(
    running: Running, tried: Attempt
) -> None:
    attempt(running, tried)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.id)
def test_what_a_legitimate_client_does_passes(running: Running, control: Control) -> None:
    mark = f"SOUND-{control.id}-END"
    answer = control.run(running.door, mark)
    assert answer.status == 200, answer
    assert reached(running.lab, mark, within_s=DUE_S)
    arrived = [
        r
        for r in running.lab.requests
        if mark.encode() in r.decoded + r.path.encode() + repr(r.headers).encode()
    ]
    assert len(arrived) == control.arrives


@pytest.mark.parametrize("tried", GROUPS["Pressure"], ids=lambda a: a.id)
def test_a_client_that_wastes_time_or_connections_is_cut(running: Running, tried: Attempt) -> None:
    running.use(policy(running.lab.port, IMPATIENT))
    door, running.door = running.door, replace(running.door, most=10)
    try:
        attempt(running, tried)
    finally:
        running.door = door
        running.use(policy(running.lab.port))


def test_after_all_this_it_serves_as_before_and_remembers_nothing_it_should_not(running: Running) -> None:
    attempt(running, next(a for a in ATTEMPTS if a.id == "raw-tcp-in-tls"))
    control = CONTROLS[0]
    assert control.run(running.door, "SOUND-after").status == 200
    assert [m for m in running.marks if reached(running.lab, m)] == []
    log = running.log.read_text()
    assert "MARK-" not in log
    assert "SOUND-" not in log
    assert "crashed" not in log
    told = [repr(e) for e in running.events()]
    assert [t for t in told if "MARK-" in t or "SOUND-" in t or "sk-test" in t] == []
    ends = [e.exchange for e in running.events() if e.is_end]
    admitted = [e.exchange for e in running.events() if e.kind is EventKind.ADMITTED]
    assert len(ends) == len(set(ends))
    assert set(admitted) <= set(ends)


# -- the page, and the control on stock mitmproxy ------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A line of the page's tables."""

    id: str
    stock: str
    recorded: str


def rows() -> list[Row]:
    found = re.findall(
        r"^\| `([^`]+)` \| (passes|refused|not tried) \| (?:`([^`]+)`|the call goes on without it) \|",
        DOC.read_text(),
        re.M,
    )
    return [Row(*row) for row in found]


def test_the_page_lists_every_attempt_with_what_is_recorded_and_no_other() -> None:
    assert {row.id: row.recorded for row in rows()} == {a.id: a.reason for a in ATTEMPTS}


def test_the_page_lists_every_control() -> None:
    text = DOC.read_text()
    assert [c.id for c in CONTROLS if f"`{c.id}`" not in text] == []


def test_the_page_gives_the_right_numbers() -> None:
    text = DOC.read_text()
    passing = sum(row.stock == "passes" for row in rows())
    assert f"{len(ATTEMPTS)} attempts" in text
    assert f"{len(CONTROLS)} controls" in text
    assert f"{passing} of them pass stock mitmproxy" in text
    assert len(ATTEMPTS) >= 90
    assert len({a.id for a in ATTEMPTS}) == len(ATTEMPTS)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stock, Lab]]:
    with (
        lab_in_thread() as lab,
        stock_mitmdump(
            tmp_path_factory.mktemp("stock"), lab, options=["connection_strategy=lazy"]
        ) as running,
    ):
        yield running, lab


@pytest.mark.parametrize("name", [row.id for row in rows() if row.stock == "passes"])
def test_the_same_attempt_passes_stock_mitmproxy(stock: tuple[Stock, Lab], name: str) -> None:
    """The control: were the gateway to do nothing, the attempt would get through."""
    running, lab = stock
    tried = next(a for a in ATTEMPTS if a.id == name)
    # Many of them are never answered: little patience first, more on a busy machine.
    assert any(passed(replace(running.door, patience_s=patience), lab, tried) for patience in (0.5, 5))


def passed(door: Door, lab: Lab, tried: Attempt) -> bool:
    """Say whether an attempt reached the lab, as it is or, for a second request, that one."""
    lab.forget()
    mark = f"MARK-{tried.id}-END"
    tried.run(door, mark)
    if tried.disarmed:
        return holds(lab, mark, tried.disarmed)
    if reached(lab, mark, within_s=0.2):
        return True
    return not tried.beside and sum(c.clear_bytes for c in lab.connections) > 0

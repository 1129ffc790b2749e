"""The audit log against a sink in memory: who is told what, and what is written in the end."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.samples import event
from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.audit.log import AuditLog, AuditUnavailable, Health
from sallyport.audit.store import StoreUnavailable


class Memory:
    """A sink that stores like a Store: known ids and second ends are left out. Can be blocked or broken."""

    def __init__(self) -> None:
        self.rows: list[Event] = []
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.broken = False
        self.forgets_to_say = False
        """Store the batch and report a failure, as a connection that breaks during COMMIT does."""

    def write(self, batch: Sequence[Event]) -> None:
        self.entered.set()
        self.gate.wait()
        if self.broken and not self.forgets_to_say:
            raise StoreUnavailable("DiskFull")
        self.batches.append(len(batch))
        for one in batch:
            self._insert(one)
        if self.broken:
            raise StoreUnavailable("ConnectionLost")

    def _insert(self, one: Event) -> None:
        ended = {e.exchange for e in self.rows if e.is_end and e.exchange}
        if one.id not in {e.id for e in self.rows} and not (one.is_end and one.exchange in ended):
            self.rows.append(one)

    def told(self) -> list[tuple[EventKind, str]]:
        return [(e.kind, e.detail) for e in self.rows]


@pytest.fixture
def sink() -> Memory:
    return Memory()


@pytest.fixture
def make_log(sink: Memory) -> Iterator[Callable[..., AuditLog]]:
    made: list[AuditLog] = []

    def make(**options: float) -> AuditLog:
        made.append(AuditLog(sink, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    sink.broken = False
    sink.gate.set()
    for log in made:
        assert log.close(5)


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not come about in time"
        await asyncio.sleep(0.005)


async def test_append_returns_when_the_event_is_stored(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log()
    told = event(exchange="e")
    await log.append(told)
    assert sink.rows == [told]
    assert log.status().health is Health.READY


async def test_events_that_wait_together_are_stored_together(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log()
    sink.gate.clear()
    waiting = [asyncio.create_task(log.append(event(exchange=f"e{i}"))) for i in range(200)]
    await until(lambda: log.status().pending == 200)
    sink.gate.set()
    await asyncio.gather(*waiting)
    assert len(sink.rows) == 200
    assert log.status().transactions <= 2


async def test_an_event_nobody_waits_for_goes_with_the_next_that_somebody_waits_for(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log(linger_s=30.0)
    for number in range(3):
        log.append_nowait(event(EventKind.COMPLETED, exchange=f"e{number}"))
    await log.append(event(exchange="e3"))
    assert sink.batches == [4]


def busy(loop: asyncio.AbstractEventLoop, is_over: Callable[[], bool]) -> None:
    """Have a loop work in each of its next turns longer than it takes to look whether there is anything to do."""
    time.sleep(0.001)
    if not is_over():
        loop.call_soon(busy, loop, is_over)


async def test_what_a_busy_loop_waits_for_is_stored_together_as_soon_as_it_is_idle(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log, waiting = make_log(linger_s=30.0, gather_s=30.0), list[asyncio.Task[None]]()

    def admit() -> bool:
        waiting.append(asyncio.create_task(log.append(event(exchange=f"e{len(waiting)}"))))
        return len(waiting) == 12

    busy(asyncio.get_running_loop(), admit)
    await until(lambda: len(waiting) == 12)
    await asyncio.gather(*waiting)
    assert sink.batches == [12]


async def test_a_loop_that_is_never_idle_is_waited_for_no_longer_than_it_may(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log(linger_s=30.0, gather_s=0.01)
    waiting = asyncio.create_task(log.append(event(exchange="e")))
    busy(asyncio.get_running_loop(), waiting.done)
    await until(lambda: bool(sink.rows))
    assert sink.batches == [1]
    await waiting


async def test_an_event_nobody_waits_for_waits_no_longer_than_it_may(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log(linger_s=0.01)
    for number in range(2):
        log.append_nowait(event(EventKind.COMPLETED, exchange=f"e{number}"))
        await until(lambda: log.status().pending == 0)
    assert sink.batches == [1, 1]


async def test_a_full_queue_says_no_at_once(sink: Memory, make_log: Callable[..., AuditLog]) -> None:
    log = make_log(capacity=3)
    sink.gate.clear()
    log.append_nowait(event(EventKind.STARTED))
    await asyncio.to_thread(sink.entered.wait)
    for _ in range(3):
        log.append_nowait(event(EventKind.TUNNELLED))
    started = time.monotonic()
    with pytest.raises(AuditUnavailable, match="full"):
        await log.append(event(exchange="e"))
    with pytest.raises(AuditUnavailable, match="full"):
        log.append_nowait(event(EventKind.TUNNELLED))
    assert time.monotonic() - started < 0.5
    log.append_nowait(event(EventKind.COMPLETED, "e1"))
    assert log.status().lost == 2


async def test_an_admission_that_never_was_in_a_transaction_is_never_written(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log(deadline_s=0.1)
    sink.gate.clear()
    log.append_nowait(event(EventKind.STARTED))
    await asyncio.to_thread(sink.entered.wait)
    for told in (event(exchange="e"), event(exchange="f"), event(EventKind.TUNNELLED)):
        with pytest.raises(AuditUnavailable):
            await log.append(told)
    sink.gate.set()
    assert await log.aclose()
    refused = (EventKind.REFUSED, "audit_unavailable")
    assert sink.told() == [(EventKind.STARTED, ""), refused, refused]


async def test_refusals_that_nothing_depends_on_leave_half_the_queue_free(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log(deadline_s=0.05, capacity=10)
    sink.broken = True
    log.append_nowait(event(EventKind.STARTED))
    await until(lambda: log.status().health is Health.REFUSING)
    for number in range(20):
        with pytest.raises(AuditUnavailable):
            await log.append(event(exchange=f"e{number}"))
    assert log.status().pending == 5
    assert log.status().lost == 16


async def test_an_admission_stored_too_late_is_followed_by_its_refusal(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log(deadline_s=0.1)
    sink.gate.clear()
    with pytest.raises(AuditUnavailable, match="deadline"):
        await log.append(event(exchange="e"))
    sink.gate.set()
    assert await log.aclose()
    assert sink.told() == [(EventKind.ADMITTED, ""), (EventKind.REFUSED, "audit_unavailable")]


async def test_an_admission_of_unknown_fate_is_followed_by_its_refusal(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log(deadline_s=0.2)
    sink.broken = sink.forgets_to_say = True
    with pytest.raises(AuditUnavailable):
        await log.append(event(exchange="e"))
    sink.broken = False
    assert await log.aclose()
    assert sink.told() == [(EventKind.ADMITTED, ""), (EventKind.REFUSED, "audit_unavailable")]


async def test_a_caller_that_goes_away_leaves_no_open_exchange(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log()
    sink.gate.clear()
    waiting = asyncio.create_task(log.append(event(exchange="e")))
    await asyncio.to_thread(sink.entered.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    sink.gate.set()
    assert await log.aclose()
    assert sink.told() == [(EventKind.ADMITTED, ""), (EventKind.REFUSED, "cancelled")]


async def test_where_the_audit_is_not_required_the_admission_is_kept(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log(deadline_s=0.2)
    sink.broken = True
    admitted = event(exchange="e")
    with pytest.raises(AuditUnavailable):
        await log.append(admitted, required=False)
    log.append_nowait(admitted.followed_by(EventKind.COMPLETED))
    await until(lambda: log.status().health is Health.REFUSING)
    started = time.monotonic()
    with pytest.raises(AuditUnavailable):
        await log.append(event(exchange="f"), required=False)
    assert time.monotonic() - started < 0.2, "it did not wait for the deadline"
    sink.broken = False
    assert await log.aclose()
    assert sink.told() == [(EventKind.ADMITTED, ""), (EventKind.COMPLETED, ""), (EventKind.ADMITTED, "")]


async def test_ends_survive_a_failing_store_and_the_log_recovers_by_itself(
    sink: Memory, make_log: Callable[..., AuditLog]
) -> None:
    log = make_log(deadline_s=0.4)
    admitted = event(exchange="e")
    await log.append(admitted)
    sink.broken = True
    log.append_nowait(admitted.followed_by(EventKind.COMPLETED))
    await until(lambda: log.status().health is Health.DEGRADED)
    await until(lambda: log.status().health is Health.REFUSING)
    assert log.status().problem == "DiskFull"
    started = time.monotonic()
    with pytest.raises(AuditUnavailable):
        await log.append(event(exchange="f"))
    assert time.monotonic() - started < 0.4, "it did not wait for the deadline"
    sink.broken = False
    await until(lambda: log.status().health is Health.READY, 2.0)
    await log.append(event(exchange="g"))
    assert [e.exchange for e in sink.rows] == ["e", "e", "f", "g"]
    assert sink.rows[2].kind is EventKind.REFUSED
    assert log.status().pending == 0


async def test_that_the_store_takes_nothing_is_told_once_with_the_reason_and_so_is_its_end(
    sink: Memory, make_log: Callable[..., AuditLog], caplog: pytest.LogCaptureFixture
) -> None:
    log = make_log(deadline_s=0.1)
    for _ in range(2):
        caplog.clear()
        sink.broken = True
        for number in range(5):
            with pytest.raises(AuditUnavailable):
                await log.append(event(exchange=f"e{number}"))
        await until(lambda: bool(caplog.records))
        assert len(caplog.records) == 1
        assert "the audit store takes no events (DiskFull)" in caplog.text
        sink.broken = False
        await until(lambda: len(caplog.records) == 2)
        assert caplog.messages[1] == "the audit store takes events again; 0 were lost meanwhile"


async def test_a_write_that_hangs_is_told_while_it_hangs(
    sink: Memory, make_log: Callable[..., AuditLog], caplog: pytest.LogCaptureFixture
) -> None:
    log = make_log(deadline_s=0.1)
    sink.gate.clear()
    for number in range(3):
        with pytest.raises(AuditUnavailable):
            await log.append(event(exchange=f"e{number}"))
    assert [one.getMessage()[:63] for one in caplog.records] == [
        "the audit store takes no events (it does not answer). Until it "
    ]
    sink.gate.set()
    await until(lambda: len(caplog.records) == 2)


async def test_events_for_which_there_is_no_room_are_told_once_and_counted_when_the_store_is_back(
    sink: Memory, make_log: Callable[..., AuditLog], caplog: pytest.LogCaptureFixture
) -> None:
    log = make_log(deadline_s=0.1, capacity=3)
    for _ in range(2):
        caplog.clear()
        sink.broken = True
        log.append_nowait(event(EventKind.STARTED))
        await until(lambda: log.status().health is Health.REFUSING)
        log.append_nowait(event(EventKind.TUNNELLED))
        log.append_nowait(event(EventKind.TUNNELLED))
        for _ in range(4):
            with pytest.raises(AuditUnavailable, match="full"):
                log.append_nowait(event(EventKind.TUNNELLED))
        lost = [one for one in caplog.records if "further ones are lost" in one.getMessage()]
        assert len(lost) == 1
        sink.broken = False
        await until(lambda: "takes events again; 4 were lost meanwhile" in caplog.text)


async def test_a_short_fault_is_not_noticed(
    sink: Memory, make_log: Callable[..., AuditLog], caplog: pytest.LogCaptureFixture
) -> None:
    log = make_log()
    sink.broken = True
    waiting = asyncio.create_task(log.append(event(exchange="e")))
    await until(lambda: log.status().health is Health.DEGRADED)
    sink.broken = False
    await waiting
    assert [e.exchange for e in sink.rows] == ["e"]
    assert not caplog.records


async def test_a_sink_that_raises_anything_is_a_failing_sink(make_log: Callable[..., AuditLog]) -> None:
    class Odd(Memory):
        def write(self, batch: Sequence[Event]) -> None:
            if self.broken:
                raise RecursionError("text of a value")
            super().write(batch)

    odd = Odd()
    odd.broken = True
    log = AuditLog(odd, deadline_s=0.2)
    with pytest.raises(AuditUnavailable) as caught:
        await log.append(event(exchange="e"))
    assert str(caught.value) == "RecursionError"
    odd.broken = False
    assert await log.aclose()


async def test_a_closed_log_takes_nothing(sink: Memory, make_log: Callable[..., AuditLog]) -> None:
    log = make_log()
    log.append_nowait(event(EventKind.STOPPED))
    assert await log.aclose()
    assert len(sink.rows) == 1
    with pytest.raises(AuditUnavailable, match="closed"):
        log.append_nowait(event(EventKind.STARTED))
    with pytest.raises(AuditUnavailable, match="closed"):
        await log.append(event(exchange="e"))
    assert log.close()


async def test_closing_says_what_it_could_not_store(sink: Memory, make_log: Callable[..., AuditLog]) -> None:
    log = make_log()
    sink.broken = True
    log.append_nowait(event(EventKind.STOPPED))
    assert not await log.aclose(0.1)
    assert log.status().pending == 1


def test_several_loops_and_threads_share_a_log(sink: Memory, make_log: Callable[..., AuditLog]) -> None:
    log = make_log()

    async def many(name: str) -> None:
        await asyncio.gather(*(log.append(event(exchange=f"{name}{i}")) for i in range(50)))

    threads = [threading.Thread(target=asyncio.run, args=(many(name),)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert log.close()
    assert len(sink.rows) == 200


async def test_a_loop_that_is_gone_stops_nobody(sink: Memory, make_log: Callable[..., AuditLog]) -> None:
    log = make_log()
    sink.gate.clear()
    other = asyncio.new_event_loop()

    def run_briefly() -> None:
        task = other.create_task(log.append(event(exchange="gone")))
        other.run_until_complete(asyncio.sleep(0.02))
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        other.close()

    await asyncio.to_thread(run_briefly)
    sink.gate.set()
    await log.append(event(exchange="here"))
    assert {e.exchange for e in sink.rows} >= {"here"}


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["break", "forget", "mend", "admit", "admit", "cancel"]), st.integers(0, 3)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=40)
@given(ACTIONS)
def test_every_exchange_ends_once_whatever_fails_when(actions: list[tuple[str, int]]) -> None:
    sink = Memory()

    async def exchange(log: AuditLog, name: str, sent: set[str]) -> None:
        admitted = event(exchange=name)
        try:
            await log.append(admitted)
        except AuditUnavailable:
            return
        sent.add(name)
        log.append_nowait(admitted.followed_by(EventKind.COMPLETED))

    async def play() -> tuple[set[str], set[str]]:
        log = AuditLog(sink, deadline_s=0.02)
        sent: set[str] = set()
        tasks: list[asyncio.Task[None]] = []
        for number, (action, pause) in enumerate(actions):
            if action in ("break", "forget"):
                sink.forgets_to_say = action == "forget"
                sink.broken = True
            elif action == "mend":
                sink.broken = False
            elif action == "admit" or not tasks:
                tasks.append(asyncio.create_task(exchange(log, f"e{number}", sent)))
            else:
                tasks[-1].cancel()
            await asyncio.sleep(pause * 0.004)
        await asyncio.gather(*tasks, return_exceptions=True)
        sink.broken = False
        assert await log.aclose()
        return sent, {e.exchange for e in sink.rows if e.kind is EventKind.ADMITTED}

    sent, admitted = asyncio.run(play())
    assert sent <= admitted
    ends = [e for e in sink.rows if e.kind in END_KINDS]
    assert len({e.exchange for e in ends}) == len(ends)
    assert {e.exchange for e in ends} >= admitted
    assert {e.exchange for e in ends if e.kind is EventKind.COMPLETED} == sent

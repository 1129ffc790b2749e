"""With a spool a store may be away: nothing is lost, nothing doubled, all in order, and a full spool refuses."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from audit.chains import assert_sound
from audit.samples import event
from sallyport.audit.events import Event, EventKind
from sallyport.audit.log import AuditLog, AuditUnavailable
from sallyport.audit.spool import Damaged, Spool, SpoolFull
from sallyport.audit.spooling import SpoolingSink
from sallyport.audit.store import Store
from servers import Postgres

OpenStore = Callable[[str], Store]
KEY = bytes(range(32))
MIB = 1024 * 1024


def spool_in(folder: Path, size: int = MIB) -> Spool:
    return Spool(folder, KEY, lambda: size)


def held(spool: Spool) -> list[Event]:
    return [one for number in spool.files for one in spool.read(number, 0)]


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 15
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def sinks() -> Iterator[list[SpoolingSink]]:
    made: list[SpoolingSink] = []
    yield made
    for sink in made:
        sink.close()


# -- the files -----------------------------------------------------------------------------------------


def test_what_was_spooled_is_read_back_in_order_by_another_process(tmp_path: Path) -> None:
    batches = [[event(exchange=f"{n}-{m}", principal='Zoë "\\') for m in range(3)] for n in range(4)]
    first = spool_in(tmp_path / "spool")
    for batch in batches:
        first.append(batch)
    first.close()
    again = spool_in(tmp_path / "spool")
    assert held(again) == [one for batch in batches for one in batch]
    assert list(again.read(again.files[0], 10)) == batches[3][1:]
    again.append([event(exchange="later")])
    assert len(again.files) == 2
    again.close()


def test_only_the_owner_can_read_the_spool(tmp_path: Path) -> None:
    spool = spool_in(tmp_path / "spool")
    spool.append([event()])
    spool.close()
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "spool").iterdir()} == {0o600}


def test_half_a_line_of_a_killed_process_is_left_out(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    kept = [event(exchange="a"), event(exchange="b")]
    spool.append(kept)
    spool.append([event(exchange="c")])
    spool.close()
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:-7])
    assert held(spool_in(tmp_path)) == kept


@pytest.mark.parametrize("act", ["edit", "remove", "swap", "rename"])
def test_a_spool_that_was_changed_is_noticed(tmp_path: Path, act: str) -> None:
    spool = spool_in(tmp_path)
    spool.append([event(exchange=name, principal="ann") for name in "abcd"])
    spool.close()
    path = next(tmp_path.iterdir())
    lines = path.read_bytes().split(b"\n")
    if act == "edit":
        lines[1] = lines[1].replace(b'"ann"', b'"eve"')
    elif act == "remove":
        del lines[1]
    elif act == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    path.write_bytes(b"\n".join(lines))
    if act == "rename":
        path.rename(path.with_stem("000000000007"))
    with pytest.raises(Damaged):
        held(spool_in(tmp_path))


def test_a_spool_takes_no_more_than_its_size(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, 5_000)

    def fill() -> None:
        for _ in range(100):
            spool.append([event()])

    with pytest.raises(SpoolFull):
        fill()
    assert 0 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5_000
    count = len(held(spool))
    spool.remove(spool.files[0])
    spool.append([event() for _ in range(count)])
    spool.close()


def test_a_full_disk_under_the_spool_promises_nothing_and_loses_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        spool, taken = spool_in(disk / "spool"), list[Event]()

        def fill() -> None:
            while True:
                batch = [event() for _ in range(7)]
                spool.append(batch)
                taken.extend(batch)

        with pytest.raises(OSError, match="No space"):
            fill()
        spool.close()
        assert taken
        assert held(spool_in(disk / "spool")) == taken
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


# -- before a store ------------------------------------------------------------------------------------


def away(url: str, gone: bool) -> None:
    """Take the table of events from a store, or give it back: a store that fails every write."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    names = ("audit_events", "gone") if gone else ("gone", "audit_events")
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {names[0]} RENAME TO {names[1]}"))
    engine.dispose()


async def test_a_store_that_is_away_costs_no_exchange_and_gets_all_in_order(
    url: str, open_store: OpenStore, tmp_path: Path, sinks: list[SpoolingSink]
) -> None:
    store = open_store(url)
    sink = SpoolingSink(store, spool_in(tmp_path / "spool"), lambda: True, "gw-1")
    sinks.append(sink)
    sink.start()
    log = AuditLog(sink)
    all_of_them = [event(exchange=f"e{n}") for n in range(60)]
    for one in all_of_them[:20]:
        await log.append(one)
    away(url, True)
    for one in all_of_them[20:40]:
        await log.append(one)
        log.append_nowait(one.followed_by(EventKind.COMPLETED))
    assert sink.is_waiting
    away(url, False)
    for one in all_of_them[40:]:
        await log.append(one)
    await asyncio.to_thread(until, lambda: not sink.is_waiting, "the spool was not emptied")
    await log.append(event(exchange="direct"))
    assert await log.aclose()
    found = open_store(url).events(1000)[::-1]
    admitted = [one.exchange for one in found if one.kind is EventKind.ADMITTED]
    assert admitted == [*(one.exchange for one in all_of_them), "direct"]
    assert sum(one.kind is EventKind.COMPLETED for one in found) == 20
    assert next(one.detail for one in found if one.kind is EventKind.SPOOLED).startswith("events_")
    assert_sound(open_store(url))
    assert not list((tmp_path / "spool").iterdir())


async def test_a_policy_without_a_spool_refuses_as_before(
    sqlite_url: str, open_store: OpenStore, tmp_path: Path, sinks: list[SpoolingSink]
) -> None:
    sink = SpoolingSink(open_store(sqlite_url), spool_in(tmp_path / "spool"), lambda: False, "gw-1")
    sinks.append(sink)
    sink.start()
    log = AuditLog(sink, deadline_s=0.5)
    away(sqlite_url, True)
    with pytest.raises(AuditUnavailable):
        await log.append(event(exchange="refused"))
    assert not (tmp_path / "spool").exists()
    away(sqlite_url, False)
    assert await log.aclose()


async def test_a_full_spool_refuses_until_the_store_is_back(
    sqlite_url: str, open_store: OpenStore, tmp_path: Path, sinks: list[SpoolingSink]
) -> None:
    sink = SpoolingSink(open_store(sqlite_url), spool_in(tmp_path / "spool", 3_000), lambda: True, "gw-1")
    sinks.append(sink)
    sink.start()
    log = AuditLog(sink, deadline_s=0.5)
    away(sqlite_url, True)
    taken = list[str]()

    async def fill() -> None:
        for number in range(50):
            one = event(exchange=f"e{number}")
            await log.append(one)
            taken.append(one.exchange)

    with pytest.raises(AuditUnavailable):
        await fill()
    away(sqlite_url, False)
    await asyncio.to_thread(until, lambda: not sink.is_waiting, "the spool was not emptied")
    assert await log.aclose()
    found = open_store(sqlite_url).events(1000)
    assert {one.exchange for one in found if one.kind is EventKind.ADMITTED} == set(taken)
    assert {one.kind for one in found if one.exchange == f"e{len(taken)}"} <= {EventKind.REFUSED}


async def test_where_the_spool_takes_nothing_either_nobody_is_told_that_events_wait_there(
    sqlite_url: str,
    open_store: OpenStore,
    tmp_path: Path,
    sinks: list[SpoolingSink],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "spool").write_text("no folder can be made here")
    sink = SpoolingSink(open_store(sqlite_url), spool_in(tmp_path / "spool"), lambda: True, "gw-1")
    sinks.append(sink)
    sink.start()
    log = AuditLog(sink, deadline_s=0.5)
    away(sqlite_url, True)
    for _ in range(8):
        with pytest.raises(AuditUnavailable):
            await log.append(event(exchange="refused"))
        await asyncio.sleep(0.2)
    assert len(caplog.records) == 1
    assert "takes no events (OperationalError SQLITE_ERROR, spool: FileExistsError EEXIST)" in caplog.text
    away(sqlite_url, False)
    assert await log.aclose()


async def test_a_frozen_and_a_restarted_server_cost_no_exchange(
    postgres: Postgres, postgres_url: str, open_store: OpenStore, tmp_path: Path, sinks: list[SpoolingSink]
) -> None:
    store = open_store(postgres_url)
    sink = SpoolingSink(store, spool_in(tmp_path / "spool"), lambda: True, "gw-1")
    sinks.append(sink)
    sink.start()
    log = AuditLog(sink)
    sent = []

    async def send(count: int) -> None:
        for _ in range(count):
            one = event(exchange=f"e{len(sent)}")
            await log.append(one)
            sent.append(one.exchange)

    await send(5)
    postgres.freeze()
    try:
        await send(20)
    finally:
        postgres.resume()
    await send(5)
    await asyncio.to_thread(postgres.stop)
    await send(20)
    await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(until, lambda: not sink.is_waiting, "the spool was not emptied")
    await send(5)
    assert await log.aclose()
    found = [one.exchange for one in open_store(postgres_url).events(1000, kind=EventKind.ADMITTED)[::-1]]
    assert found == sent
    assert_sound(open_store(postgres_url))


def test_what_is_damaged_is_put_aside_and_told(
    sqlite_url: str, open_store: OpenStore, tmp_path: Path, sinks: list[SpoolingSink]
) -> None:
    spool = spool_in(tmp_path / "spool")
    spool.append([event(exchange=name, principal="ann") for name in "abcd"])
    spool.close()
    path = next((tmp_path / "spool").iterdir())
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b'"ann"', b'"eve"')
    path.write_bytes(b"\n".join(lines))
    store = open_store(sqlite_url)
    sink = SpoolingSink(store, spool_in(tmp_path / "spool"), lambda: True, "gw-1")
    sinks.append(sink)
    sink.start()
    assert not sink.is_waiting
    found = store.events(100)[::-1]
    assert [one.exchange for one in found if one.kind is EventKind.ADMITTED] == ["a", "b"]
    assert [one.detail for one in found if one.kind is EventKind.SPOOLED] == ["damaged"]
    assert [one.suffix for one in (tmp_path / "spool").iterdir()] == [".damaged"]


_KILLED = """
import asyncio, itertools, os, sys
from pathlib import Path
from sallyport.audit.events import Event, EventKind
from sallyport.audit.log import AuditLog
from sallyport.audit.spool import Spool
from sallyport.audit.spooling import SpoolingSink
from sallyport.audit.store import Store
import sqlalchemy.dialects.sqlite, psycopg

async def one(log, name):
    for number in itertools.count():
        admitted = Event(kind=EventKind.ADMITTED, gateway="g", exchange=f"{os.getpid()}-{name}-{number}")
        await log.append(admitted)
        os.write(1, f"{admitted.id}\\n".encode())
        log.append_nowait(admitted.followed_by(EventKind.COMPLETED))

async def main():
    spool = Spool(Path(sys.argv[2]), bytes(range(32)), lambda: 2**26)
    sink = SpoolingSink(Store.open(sys.argv[1]), spool, lambda: True, "g")
    sink.start()
    log = AuditLog(sink)
    os.write(1, f"ready {os.getpid()}\\n".encode())
    await asyncio.gather(*(one(log, name) for name in range(8)))

while sys.stdin.readline():
    child = os.fork()
    if not child:
        asyncio.run(main())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def test_nothing_confirmed_is_lost_or_doubled_by_kills_while_the_store_comes_and_goes(
    url: str, open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(url)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    nursery = subprocess.Popen(
        [sys.executable, "-c", _KILLED, url, str(tmp_path / "spool")],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    confirmed: set[str] = set()
    for round_ in range(6):
        nursery.stdin.write("go\n")
        nursery.stdin.flush()
        word, pid = nursery.stdout.readline().split()
        assert word == "ready"

        def disturb(pid: int = int(pid), number: int = round_) -> None:
            time.sleep(0.05)
            away(url, True)
            time.sleep(0.15)
            if number % 2:
                away(url, False)
                time.sleep(0.1 * number / 5)
            os.kill(pid, signal.SIGKILL)
            if not number % 2:
                away(url, False)

        disturber = threading.Thread(target=disturb)
        disturber.start()
        while (line := nursery.stdout.readline()) != "dead\n":
            confirmed.add(line.strip())
        disturber.join()
    nursery.communicate(timeout=10)
    sink = SpoolingSink(store, spool_in(tmp_path / "spool"), lambda: True, "g")
    sink.start()
    assert not sink.is_waiting
    sink.close()
    found = [one.id for one in store.events(10**6)]
    assert len(confirmed) > 50
    assert confirmed <= set(found)
    assert len(found) == len(set(found))
    ends = [one.exchange for one in store.events(10**6) if one.is_end]
    assert len(ends) == len(set(ends))
    assert_sound(store)

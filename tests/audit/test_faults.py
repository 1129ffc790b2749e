"""The log and the store under real faults: SIGKILL, full disk, failing fsync, locks, servers that stop.

What must hold each time: what was confirmed is stored; what cannot be stored is refused within the deadline;
the event loop goes on; service resumes by itself.
"""

import asyncio
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from audit.samples import event
from sallyport.audit.events import EventKind
from sallyport.audit.log import AuditLog, AuditUnavailable, Health
from sallyport.audit.store import Store, StoreUnavailable
from servers import Postgres

OpenStore = Callable[[str], Store]

KILLS = 30
"""For each database."""

_NURSERY = """
import asyncio, itertools, os, sys
from sallyport.audit.events import Event, EventKind
from sallyport.audit.log import AuditLog
from sallyport.audit.store import Store
import sqlalchemy.dialects.sqlite, psycopg

async def one(log, name):
    for number in itertools.count():
        admitted = Event(kind=EventKind.ADMITTED, gateway="g", exchange=f"{os.getpid()}-{name}-{number}")
        await log.append(admitted)
        os.write(1, f"{admitted.id}\\n".encode())
        log.append_nowait(admitted.followed_by(EventKind.COMPLETED))

async def main():
    log = AuditLog(Store.open(sys.argv[1]))
    os.write(1, f"ready {os.getpid()}\\n".encode())
    await asyncio.gather(*(one(log, name) for name in range(16)))

while sys.stdin.readline():
    child = os.fork()
    if not child:
        asyncio.run(main())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""
"""Forks a child for every line it reads, because importing takes longer than what is measured."""


@dataclass
class Lag:
    """How late the event loop was at worst, in seconds."""

    worst_s: float = 0.0


@asynccontextmanager
async def measured_lag() -> AsyncIterator[Lag]:
    lag = Lag()

    async def watch() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            lag.worst_s = max(lag.worst_s, time.monotonic() - before - 0.01)

    watcher = asyncio.create_task(watch())
    try:
        yield lag
    finally:
        watcher.cancel()


async def refused_after_s(log: AuditLog) -> float:
    started = time.monotonic()
    with pytest.raises(AuditUnavailable):
        await log.append(event(exchange=f"refused-{started}"))
    return time.monotonic() - started


async def resumed_after_s(log: AuditLog) -> float:
    started = time.monotonic()
    while True:
        assert time.monotonic() - started < 10, "did not resume"
        try:
            await log.append(event(exchange=f"resumed-{time.monotonic()}"))
        except AuditUnavailable:
            await asyncio.sleep(0.02)
        else:
            return time.monotonic() - started


def test_nothing_confirmed_is_lost_by_a_kill(url: str, open_store: OpenStore) -> None:
    store = open_store(url)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    nursery = subprocess.Popen(
        [sys.executable, "-c", _NURSERY, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    waits = random.Random(7)
    confirmed: set[str] = set()
    for _ in range(KILLS):
        nursery.stdin.write("go\n")
        nursery.stdin.flush()
        word, pid = nursery.stdout.readline().split()
        assert word == "ready"
        time.sleep(waits.uniform(0, 0.1))
        os.kill(int(pid), signal.SIGKILL)
        while (line := nursery.stdout.readline()) != "dead\n":
            assert line.endswith("\n")
            confirmed.add(line.strip())
    nursery.communicate(timeout=10)
    assert len(confirmed) > KILLS
    assert confirmed <= {e.id for e in store.events(10**6, kind=EventKind.ADMITTED)}
    ends = [e.exchange for e in store.events(10**6) if e.is_end]
    assert len(ends) == len(set(ends))
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None], Callable[[], None]]]:
    """A folder whose disk is full after the second value is called, and has room after the third."""
    if os.geteuid() == 0 and shutil.which("mount"):
        folder = tmp_path / "disk"
        folder.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], check=False)
        if mounted.returncode == 0:
            try:
                yield folder, lambda: _fill(folder / "ballast"), (folder / "ballast").unlink
            finally:
                subprocess.run(["umount", "-l", folder], check=True)
            return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        size = max(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    try:
        yield tmp_path, fill, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            for size in (65536, 4096, 512, 1):
                while True:
                    try:
                        file.write(b"x" * size)
                    except OSError:
                        break
        finally:
            os.fsync(file.fileno())


async def test_a_full_disk_refuses_and_resumes(
    small_disk: tuple[Path, Callable[[], None], Callable[[], None]], open_store: OpenStore
) -> None:
    folder, fill, free = small_disk
    store = open_store(f"sqlite:///{folder}/audit.db")
    log = AuditLog(store)
    for number in range(5):
        await log.append(event(exchange=f"before-{number}"))
    log_of_all = [f"before-{number}" for number in range(5)]
    fill()
    async with measured_lag() as lag:
        for number in range(1000):  # SQLite may still use pages that it holds already
            name = f"filling-{number}"
            started = time.monotonic()
            try:
                await log.append(event(exchange=name, model="m" * 250, host="h" * 250))
            except AuditUnavailable:
                break
            log_of_all.append(name)
        assert time.monotonic() - started <= 2.0
        assert await refused_after_s(log) < 0.2
        assert log.status().health is Health.REFUSING
    assert lag.worst_s < 0.25
    free()
    assert await resumed_after_s(log) <= 5.0
    assert await log.aclose()
    rows = store.events(10**6)
    stored = {e.exchange for e in rows}
    assert stored >= set(log_of_all)
    open_now = {e.exchange for e in store.open_exchanges()}
    assert not {name for name in open_now if name.startswith("refused")}
    assert name not in open_now


async def test_a_locked_file_refuses_at_the_deadline_and_the_loop_goes_on(
    sqlite_url: str, open_store: OpenStore
) -> None:
    log = AuditLog(open_store(sqlite_url), deadline_s=1.5)
    await log.append(event(exchange="before"))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with measured_lag() as lag:
        assert await refused_after_s(log) < 1.8
        assert await refused_after_s(log) < 1.8
    other.execute("ROLLBACK")
    other.close()
    assert lag.worst_s < 0.25
    assert await resumed_after_s(log) <= 5.0
    assert await log.aclose()


async def test_a_frozen_server_refuses_at_the_deadline_and_the_loop_goes_on(
    postgres: Postgres, postgres_url: str, open_store: OpenStore
) -> None:
    log = AuditLog(open_store(postgres_url), deadline_s=1.5)
    await log.append(event(exchange="before"))
    postgres.freeze()
    try:
        async with measured_lag() as lag:
            assert await refused_after_s(log) < 1.8
            assert await refused_after_s(log) < 1.8
            assert await refused_after_s(log) < 1.8
            assert log.status().health is Health.REFUSING
    finally:
        postgres.resume()
    assert lag.worst_s < 0.25
    assert await resumed_after_s(log) <= 5.0
    assert await log.aclose()


async def test_one_frozen_connection_is_replaced_within_the_deadline(
    postgres: Postgres, postgres_url: str, open_store: OpenStore
) -> None:
    log = AuditLog(open_store(postgres_url))
    await log.append(event(exchange="before"))
    postgres.freeze_backends()
    try:
        await log.append(event(exchange="after"))
    finally:
        postgres.resume()
    assert await log.aclose()


async def test_a_locked_table_refuses_and_resumes(
    postgres: Postgres, postgres_url: str, open_store: OpenStore
) -> None:
    log = AuditLog(open_store(postgres_url), deadline_s=1.5)
    await log.append(event(exchange="before"))
    with create_engine(postgres_url).connect() as other:
        other.execute(text("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE"))
        async with measured_lag() as lag:
            assert await refused_after_s(log) < 1.8
    assert lag.worst_s < 0.25
    assert await resumed_after_s(log) <= 5.0
    assert await log.aclose()


async def test_a_restarted_server_loses_no_end_event(
    postgres: Postgres, postgres_url: str, open_store: OpenStore
) -> None:
    store = open_store(postgres_url)
    log = AuditLog(store)
    admitted = [event(exchange=f"e{i}") for i in range(20)]
    await asyncio.gather(*(log.append(one) for one in admitted))
    await asyncio.to_thread(postgres.stop)
    for one in admitted:
        log.append_nowait(one.followed_by(EventKind.COMPLETED))
    assert await refused_after_s(log) <= 2.1
    await asyncio.to_thread(postgres.start)
    assert await resumed_after_s(log) <= 5.0
    assert await log.aclose()
    assert {e.exchange for e in store.events(kind=EventKind.COMPLETED)} == {e.exchange for e in admitted}


_FAILING_SYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int fails(void) { const char *flag = getenv("FAIL_SYNC"); return flag && access(flag, F_OK) == 0; }
int fsync(int fd) {
    if (fails()) { errno = EIO; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd);
}
int fdatasync(int fd) {
    if (fails()) { errno = EIO; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""

_SYNC_CHILD = """
import os, sys
from pathlib import Path
from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store, StoreUnavailable

def write(name):
    try:
        store.write([Event(kind=EventKind.ADMITTED, gateway="g", exchange=name)])
        return "stored"
    except StoreUnavailable:
        return "unavailable"

store = Store.open(sys.argv[1])
flag = Path(os.environ["FAIL_SYNC"])
said = [write("a")]
flag.touch()
said += [write("b"), write("b"), write("b")]
flag.unlink()
said += [write("b"), write("c")]
print(*said, len(store.events()))
"""


def test_a_failed_fsync_is_never_taken_for_success(tmp_path: Path, sqlite_url: str) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to build the failing fsync with")
    source, library = tmp_path / "sync.c", tmp_path / "sync.so"
    source.write_text(_FAILING_SYNC)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LD_PRELOAD": str(library),
        "FAIL_SYNC": str(tmp_path / "fail"),
    }
    said = subprocess.run(
        [sys.executable, "-c", _SYNC_CHILD, sqlite_url],
        env=environment,
        check=True,
        capture_output=True,
        timeout=30,
    ).stdout.split()
    assert said == [b"stored", b"unavailable", b"unavailable", b"unavailable", b"stored", b"stored", b"3"]


async def test_two_hundred_concurrent_appends_take_few_transactions(url: str, open_store: OpenStore) -> None:
    store = open_store(url)
    log = AuditLog(store)
    await log.append(event(EventKind.STARTED))
    await asyncio.gather(*(log.append(event(exchange=f"e{i}")) for i in range(200)))
    assert log.status().transactions <= 10
    assert len(store.open_exchanges()) == 200
    assert await log.aclose()


def test_several_threads_with_loops_write_one_store(url: str, open_store: OpenStore) -> None:
    store = open_store(url)
    log = AuditLog(store)

    async def many(name: str) -> None:
        await asyncio.gather(*(log.append(event(exchange=f"{name}{i}")) for i in range(25)))

    threads = [threading.Thread(target=asyncio.run, args=(many(name),)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert log.close()
    assert len(store.events(1000)) == 100


async def test_two_logs_on_one_file_do_not_refuse(sqlite_url: str, open_store: OpenStore) -> None:
    logs = [AuditLog(open_store(sqlite_url)) for _ in range(2)]

    async def many(log: AuditLog, name: str) -> None:
        for number in range(60):
            await log.append(event(exchange=f"{name}{number}"))

    await asyncio.gather(*(many(log, f"l{n}-t{t}-") for n, log in enumerate(logs) for t in range(4)))
    assert [await log.aclose() for log in logs] == [True, True]
    assert len(open_store(sqlite_url).events(1000)) == 480


def test_a_store_that_cannot_be_written_says_so(sqlite_url: str, open_store: OpenStore) -> None:
    store = open_store(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        store.write([event()])
    other.close()
    store.write([event()])

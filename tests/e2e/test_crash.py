"""A gateway that is killed, and a gateway whose audit store is gone: nothing leaves that is not recorded."""

import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.traffic import (
    OPENAI,
    Load,
    Wire,
    ask,
    assert_clean,
    assert_sound,
    by_model,
    chat,
    eventually,
    models_seen,
    of_kind,
    recorded,
    running,
    settled,
)
from e2e.zygote import Forked
from gateways import OPEN_POLICY, GatewayProcess, gateway_process
from rawclient import post
from sallyport.audit.events import INTERRUPTED, EventKind
from sallyport.lab.server import Lab
from servers import Postgres

ROUNDS = 16
RESUMES_WITHIN_S = 5.0


# -- killed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(2))
def test_no_kill_at_any_moment_loses_an_admission(tmp_path: Path, lab: Lab, part: int) -> None:
    moments = random.Random(part)
    prefix = f"killed-{'ab'[part]}"
    interrupted = 0
    for number in range(ROUNDS // 2):
        words = {"clients": 4, "stream": number % 2 == 0, "timeout": 3}
        with running(tmp_path, lab) as gateway:
            with Load(gateway, f"{prefix}-{'abcdefgh'[number]}", **words) as load:  # type: ignore[arg-type]
                eventually(lambda load=load: load.answered, 10, "requests are answered")  # type: ignore[misc]
                time.sleep(moments.uniform(0.0, 0.4))  # the moment is the test
                gateway.signal(signal.SIGKILL)
                gateway.process.wait(5)
            open_now = _open_exchanges(gateway.confdir)
            interrupted += len(open_now)
            assert models_seen(lab, prefix).keys() <= _admitted(gateway.confdir)
    with running(tmp_path, lab) as gateway:
        events = settled(gateway.confdir)
        assert_sound(events)
        seen = models_seen(lab, prefix)
        assert seen.keys() - _admitted(gateway.confdir) == set()
        assert max(seen.values()) == 1
        broken = of_kind(events, EventKind.BROKEN)
        assert sum(e.detail == INTERRUPTED for e in broken) >= interrupted > 0
        assert len(of_kind(events, EventKind.STARTED)) == ROUNDS // 2 + 1
    database = sqlite3.connect(tmp_path / "conf" / "audit.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    print(f"{ROUNDS // 2} kills, {sum(seen.values())} requests upstream, {interrupted} cut off, 0 lost")


def _admitted(confdir: Path) -> set[str]:
    return {e.model for e in recorded(confdir) if e.kind is EventKind.ADMITTED}


def _open_exchanges(confdir: Path) -> set[str]:
    events = [e for e in recorded(confdir) if e.exchange]
    return {e.exchange for e in events} - {e.exchange for e in events if e.is_end}


def test_after_a_kill_a_cold_start_is_ready_soon_and_closes_what_was_open(tmp_path: Path, lab: Lab) -> None:
    with gateway_process(tmp_path, lab) as gateway:
        wire = Wire.open(gateway)
        wire.send(post("/v1/chat/completions", chat("slow-300-cold", "word " * 50, stream=True), OPENAI))
        wire.read_until(b"data: ")
        gateway.signal(signal.SIGKILL)
        gateway.process.wait(5)
        wire.read_all()
        assert not wire.whole, "the client could take a cut stream for a whole one"
    began, busy = time.monotonic(), os.times().children_user
    with gateway_process(tmp_path, lab) as gateway:
        ready_s = time.monotonic() - began
        assert ask(gateway, "after-cold").status == 200
        events = settled(gateway.confdir)
        (end,) = [e for e in events if e.model == "slow-300-cold" and e.is_end]
        assert (end.kind, end.detail) == (EventKind.BROKEN, INTERRUPTED)
    cpu_s = os.times().children_user - busy
    print(f"ready after {ready_s:.1f} s, {cpu_s:.1f} s of processor until stopped")
    # The goal is 5 s on a machine of its own; here others compute too, so what it used counts.
    assert cpu_s < 6


def test_a_second_gateway_on_the_same_folder_is_refused_and_closes_nothing(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab) as gateway:
        wire = Wire.open(gateway)
        wire.send(post("/v1/chat/completions", chat("slow-100-first", "word " * 20, stream=True), OPENAI))
        wire.read_until(b"data: ")
        second = Forked(["run", "--confdir", str(gateway.confdir), "--listen", "explicit@127.0.0.1:0"],
                        tmp_path / "second.log")  # fmt: skip
        assert second.wait(30) == 3
        assert "another gateway" in (tmp_path / "second.log").read_text()
        wire.read_all()
        assert wire.whole
        events = settled(gateway.confdir)
        assert by_model(events, "slow-100-first") == [EventKind.ADMITTED, EventKind.COMPLETED]


# -- the store is gone ---------------------------------------------------------------------------------


def assert_refused(gateway: GatewayProcess, model: str) -> float:
    """Ask once; the answer is a refusal in the dialect that no SDK retries, and comes in time."""
    began = time.monotonic()
    talk = ask(gateway, model)
    took = time.monotonic() - began
    assert talk.status == 503
    assert b"x-should-retry: false" in talk.head.lower()
    assert b'"error"' in talk.body
    assert b"audit.unavailable" in talk.body
    assert took < 9, "the promise is 2 s; a busy machine is slower, one that hangs much more"
    return took


def assert_resumes(gateway: GatewayProcess, model: str) -> float:
    began = time.monotonic()
    eventually(lambda: ask(gateway, model).status == 200, RESUMES_WITHIN_S * 2, "service resumes")
    return time.monotonic() - began


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: a full disk, which needs a mount and therefore root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


@pytest.mark.root
def test_a_full_disk_stops_every_request_until_there_is_room(
    tmp_path: Path, lab: Lab, small_disk: Path
) -> None:
    url = f"sqlite:///{small_disk / 'audit.db'}"
    with running(tmp_path / "gw", lab, extra=["--store", url]) as gateway:
        assert ask(gateway, "disk-before").status == 200
        fill(small_disk)
        # The log reuses its own pages for a while; what it still stores is stored.
        refused = [f"disk-full-{'abcdefghijklmnopqrst'[n]}" for n in range(20)]
        statuses = [ask(gateway, model).status for model in refused]
        assert 503 in statuses
        took = [assert_refused(gateway, f"disk-more-{'abc'[n]}") for n in range(3)]
        (small_disk / "ballast").unlink()
        resumed_s = assert_resumes(gateway, "disk-after")
        events = settled(url)
        assert_clean(gateway)
        told = gateway.log.read_text()
    assert told.count("the audit store takes no events (OperationalError SQLITE_FULL") == 1
    assert told.count("the audit store takes events again") == 1
    assert models_seen(lab, "disk-").keys() <= {e.model for e in of_kind(events, EventKind.ADMITTED)}
    assert models_seen(lab, "disk-full-").total() == statuses.count(200)
    assert models_seen(lab, "disk-more-").total() == 0
    assert_sound(events)
    print(f"refused in at most {max(took):.2f} s, resumed within {resumed_s:.2f} s")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    # Short, because the path of a Unix socket may not be long.
    folder = Path("/tmp") / f"sallyport-pg-{os.getpid()}"
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
def test_a_postgresql_that_is_gone_stops_every_request_until_it_is_back(
    tmp_path: Path, lab: Lab, postgres: Postgres, fault: str
) -> None:
    url = postgres.create_database(fault)
    prefix = f"pg-{fault}"
    with running(tmp_path, lab, extra=["--store", url]) as gateway:
        assert ask(gateway, f"{prefix}-before").status == 200
        with Load(gateway, f"{prefix}-load", clients=2) as load:
            eventually(lambda: load.answered > 3, 10, "traffic flows")
            if fault == "stopped":
                postgres.stop()
            else:
                postgres.freeze()
            try:
                took = [assert_refused(gateway, f"{prefix}-gone-{'abc'[n]}") for n in range(3)]
            finally:
                if fault == "stopped":
                    postgres.start()
                else:
                    postgres.resume()
            resumed_s = assert_resumes(gateway, f"{prefix}-after")
        assert {talk.status for talk in load.talks.values()} == {200, 503}
        events = settled(url)
    admitted = {e.model for e in of_kind(events, EventKind.ADMITTED)}
    assert models_seen(lab, prefix).keys() <= admitted
    assert models_seen(lab, f"{prefix}-gone").total() == 0
    answered = {model for model, talk in load.talks.items() if talk.status == 200}
    assert answered == set(models_seen(lab, f"{prefix}-load"))
    assert_sound(events)
    print(f"refused in at most {max(took):.2f} s, resumed within {resumed_s:.2f} s")


def test_observe_lets_traffic_pass_at_its_own_pace_while_the_store_is_gone(
    tmp_path: Path, lab: Lab, postgres: Postgres
) -> None:
    url = postgres.create_database("observing")
    extra = ["--store", url, "--mode", "observe"]
    with running(tmp_path, lab, policy=OPEN_POLICY, extra=extra) as gateway:

        def pace(name: str) -> float:
            took = []
            for letter in "abcdefghij":
                began = time.monotonic()
                assert ask(gateway, f"watched-{name}-{letter}").status == 200
                took.append(time.monotonic() - began)
            return statistics.median(took)

        before_s = pace("before")
        postgres.stop()
        try:
            during_s = pace("during")
        finally:
            postgres.start()
        eventually(lambda: len(of_kind(recorded(url), EventKind.COMPLETED)) == 20, 10, "all is recorded late")
        assert_sound(settled(url))
    assert (models_seen(lab, "watched-before-") + models_seen(lab, "watched-during-")).total() == 20
    assert during_s < before_s * 3 + 0.1
    print(f"a request took {before_s * 1000:.0f} ms with the store and {during_s * 1000:.0f} ms without")

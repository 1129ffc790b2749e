"""A replay that is ended before its end: by an interrupt, by a signal, by the loss of one of its processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from replay.month import BASE, CANDIDATE, month
from replay.recording import write


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the words of a replay that takes longer than any of these tests wait."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "base.yaml").write_text(BASE)
    (folder / "next.yaml").write_text(CANDIDATE)
    flows = write(folder / "month.flow", month(6000)[0]())
    policies = ["--policy", str(folder / "next.yaml"), "--against", str(folder / "base.yaml")]
    return [str(flows), *policies, "--confdir", str(folder / "confdir")]


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def replaying(words: list[str], jobs: int) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """Yield a replay that judges, and the processes that do it for it."""
    command = [sys.executable, "-P", "-m", "sallyport", "replay", *words, "--jobs", str(jobs)]
    ran = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )

    def others() -> list[int]:
        with suppress(OSError):
            found = Path(f"/proc/{ran.pid}/task/{ran.pid}/children").read_text().split()
            return [
                pid for pid in map(int, found) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
        return []

    try:
        if jobs == 1:
            until(lambda: len(os.listdir(f"/proc/{ran.pid}/task")) > 1)
        else:
            until(lambda: len(others()) == jobs)
        yield ran, others()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(ran.pid, signal.SIGKILL)
        ran.communicate()


def is_over(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_ends_it_and_says_nothing(long: list[str], jobs: int) -> None:
    with replaying(long, jobs) as (ran, _):
        os.killpg(ran.pid, signal.SIGINT)  # as a terminal sends it: to all of them
        _, told = ran.communicate(timeout=30)
        assert (ran.returncode, told) == (130, "")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_its_processes_end_with_it(long: list[str], sent: signal.Signals) -> None:
    with replaying(long, 2) as (ran, others):
        ran.send_signal(sent)
        assert ran.wait(30) == -sent
        until(lambda: all(map(is_over, others)))


def test_the_loss_of_one_of_its_processes_is_told_as_such(long: list[str]) -> None:
    with replaying(long, 2) as (ran, others):
        os.kill(others[0], signal.SIGKILL)
        _, told = ran.communicate(timeout=30)
        assert ran.returncode == 3
        assert told.startswith("replay: a worker process ended before its work was done.")
        until(lambda: all(map(is_over, others)))

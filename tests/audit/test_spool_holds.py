"""A disk that fails under the spool for long, or for a moment, neither stops nor loses what waits."""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from audit.samples import event
from audit.test_spool import held, spool_in, until
from sallyport.audit import checkpointing
from sallyport.audit.checkpointing import Checkpointer
from sallyport.audit.events import Event, EventKind
from sallyport.audit.spooling import SpoolingSink
from sallyport.audit.store import StoreUnavailable


class Kept:
    """A store that keeps what it gets in memory, and is away while it is told so."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.stored: list[Event] = []

    def write(self, batch: Sequence[Event]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        known = {one.id for one in self.stored}
        self.stored += [one for one in batch if one.id not in known]

    def exchanges(self) -> list[str]:
        return [one.exchange for one in self.stored if one.kind is not EventKind.SPOOLED]


def sink_of(store: Kept, folder: Path) -> SpoolingSink:
    return SpoolingSink(store, spool_in(folder), lambda: True, "gw-1")


def failing(code: int) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise OSError(code, "failed")

    return fail


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
def test_a_disk_that_is_full_for_long_is_not_filled_with_empty_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    spool = spool_in(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(f"sallyport.audit.spool.os.{call}", failing(errno.ENOSPC))
        for _ in range(5):
            with pytest.raises(OSError, match="failed"):
                spool.append([event()])
    assert list(tmp_path.iterdir()) == []
    assert spool.files == ()
    spool.append([event(exchange="a")])
    assert [one.exchange for one in held(spool)] == ["a"]
    spool.close()


def test_thousands_of_empty_files_do_not_stop_what_waits(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([event(exchange="first")])
    spool.close()
    for number in range(2, 1500):
        (tmp_path / f"{number:012d}.spool").touch()
    last = spool_in(tmp_path)
    last.append([event(exchange="last")])
    last.close()
    store = Kept()
    sink = sink_of(store, tmp_path)
    sink.start()
    until(lambda: not sink.is_waiting, "the spool is not emptied")
    sink.close()
    assert store.exchanges() == ["first", "last"]


def test_a_file_that_cannot_be_opened_for_a_moment_is_not_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_in(tmp_path)
    spool.append([event(exchange="a"), event(exchange="b")])
    spool.close()
    store = Kept()
    sink = sink_of(store, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", failing(errno.EMFILE))
        sink.start()
        assert sink.is_waiting
        assert sink.holds_earlier
    until(lambda: not sink.is_waiting, "the spool is not emptied")
    sink.close()
    assert store.exchanges() == ["a", "b"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_removed_keeps_nobody_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Kept(away=True)
    sink = sink_of(store, tmp_path)
    sink.start()
    sink.write([event(exchange="a")])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", failing(errno.EROFS))
        store.away = False
        until(lambda: not sink.is_waiting, "the spool is not emptied")
        sink.write([event(exchange="b")])
    sink.close()
    again = sink_of(store, tmp_path)
    again.start()
    until(lambda: not again.is_waiting, "the spool is not emptied")
    again.close()
    assert store.exchanges() == ["a", "b"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("interval_s", [0.01, 0.0])
def test_the_store_is_looked_after_also_while_no_checkpoint_can_be_made(
    monkeypatch: pytest.MonkeyPatch, interval_s: float
) -> None:
    monkeypatch.setattr(checkpointing, "_LOOKS_AGAIN_S", 0.01)
    done: list[int] = []
    checkpointer = Checkpointer(failing(errno.EIO), lambda: interval_s, lambda: done.append(1))
    until(lambda: len(done) > 2, "it was not looked after")
    checkpointer.close()


def test_a_pruning_that_takes_long_does_not_keep_a_gateway_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpointing, "_PATIENCE_AT_END_S", 0.05)
    made, begun, hold = list[int](), threading.Event(), threading.Event()

    def act() -> None:
        begun.set()
        hold.wait(30)

    checkpointer = Checkpointer(lambda: made.append(1), lambda: 0.01, act)
    assert begun.wait(10)
    before = len(made)
    checkpointer.close()
    assert len(made) == before + 1
    hold.set()

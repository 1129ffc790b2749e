"""A store that becomes read-only under a running gateway: nothing leaves until it can be written again."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from e2e.test_crash import assert_refused, assert_resumes
from e2e.traffic import (
    Load,
    ask,
    assert_clean,
    assert_sound,
    eventually,
    models_seen,
    of_kind,
    running,
    settled,
)
from sallyport.audit.events import EventKind
from sallyport.lab.server import Lab


@pytest.fixture
def freeze() -> Iterator[Callable[[Sequence[Path], bool], None]]:
    """Give what makes files and folders unwritable, or writable again; for root and for open files as well."""
    touched: set[Path] = set()

    def change(places: Sequence[Path], on: bool) -> None:
        touched.update(places)
        words = ["chattr", "+i" if on else "-i", *map(str, places)]
        if subprocess.run(words, check=False, capture_output=True).returncode != 0:
            pytest.skip(
                "NOT TESTED: a store that becomes read-only, which needs chattr +i and therefore root"
            )

    yield change
    left = [str(place) for place in touched if place.exists()]
    subprocess.run(["chattr", "-i", *left], check=False, capture_output=True)


@pytest.mark.root
def test_a_store_that_becomes_read_only_stops_every_request_until_it_is_not(
    tmp_path: Path, lab: Lab, freeze: Callable[[Sequence[Path], bool], None]
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    url = f"sqlite:///{store / 'audit.db'}"
    with running(tmp_path / "gw", lab, extra=["--store", url]) as gateway:
        assert ask(gateway, "readonly-before").status == 200
        places = [store, store / "audit.db", store / "audit.db-wal"]
        with Load(gateway, "readonly-load", clients=2) as load:
            eventually(lambda: load.answered > 3, 10, "traffic flows")
            freeze(places, True)
            try:
                took = [assert_refused(gateway, f"readonly-gone-{'abc'[n]}") for n in range(3)]
            finally:
                freeze(places, False)
            resumed_s = assert_resumes(gateway, "readonly-after")
        assert {talk.status for talk in load.talks.values()} == {200, 503}
        events = settled(url)
        assert_clean(gateway)
    assert models_seen(lab, "readonly-").keys() <= {e.model for e in of_kind(events, EventKind.ADMITTED)}
    assert models_seen(lab, "readonly-gone").total() == 0
    answered = {model for model, talk in load.talks.items() if talk.status == 200}
    assert answered == set(models_seen(lab, "readonly-load"))
    assert_sound(events)
    print(f"refused in at most {max(took):.2f} s, resumed within {resumed_s:.2f} s")


@pytest.mark.root
def test_a_disk_that_takes_back_the_memory_of_the_store_lets_nothing_leave(
    tmp_path: Path, lab: Lab, freeze: Callable[[Sequence[Path], bool], None]
) -> None:
    """The kernel ends a process (SIGBUS) that writes to a page of SQLite's -shm file which the disk refuses."""
    store = tmp_path / "store"
    store.mkdir()
    url = f"sqlite:///{store / 'audit.db'}"
    with running(tmp_path / "gw", lab, extra=["--store", url]) as gateway:
        assert ask(gateway, "taken-before").status == 200
        places = [store, *store.iterdir()]
        freeze(places, True)
        try:
            assert [ask(gateway, f"taken-gone-{'abc'[n]}").status for n in range(3)] in ([0] * 3, [503] * 3)
        finally:
            freeze(places, False)
    assert models_seen(lab, "taken-gone").total() == 0
    with running(tmp_path / "gw", lab, extra=["--store", url]) as gateway:
        assert ask(gateway, "taken-after").status == 200
        assert_sound(settled(url))

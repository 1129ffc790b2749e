"""A few rounds of what `scripts/bench kills` does hundreds of times: SIGKILL under load, and all books agree."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.killing import Bench, Books, Victim, Violated
from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store

ROUNDS = 3


@pytest.fixture
def folder() -> Iterator[Path]:
    # pytest's own folders are closed to other users, and their paths are too long for a socket.
    found = Path(tempfile.mkdtemp(prefix="kills-"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("store", "victim", "spool"),
    [
        pytest.param("sqlite", Victim.GATEWAY, False, id="sqlite-gateway"),
        pytest.param("postgres", Victim.GATEWAY, False, id="postgres-gateway"),
        pytest.param("postgres", Victim.SERVER, False, id="postgres-server"),
        pytest.param("postgres", Victim.BOTH, False, id="postgres-both"),
        pytest.param("postgres", Victim.SERVER, True, id="postgres-server-spool"),
        pytest.param("postgres", Victim.BOTH, True, id="postgres-both-spool"),
    ],
)
def test_whatever_is_killed_nothing_is_unlogged_or_doubled(
    folder: Path, store: str, victim: Victim, spool: bool
) -> None:
    with Bench.open(folder, store, seed=5, clients=4, spool=spool) as bench:
        for _ in range(ROUNDS):
            bench.round(victim)
        tally = bench.close()
    assert tally.kills >= ROUNDS
    assert tally.admitted >= tally.received >= tally.completed > 0
    if not spool or victim is Victim.SERVER:
        assert tally.verified == ROUNDS + 1
    if victim is not Victim.SERVER:
        assert tally.interrupted > 0, "no kill came while a request was under way"


def test_a_request_without_an_admission_is_noticed(folder: Path) -> None:
    with Bench.open(folder, "sqlite", seed=5, clients=2) as bench:
        bench.round(Victim.GATEWAY)
        with bench.provider.record.open("a") as record:
            record.write("nobody-admitted-this\n")
        with pytest.raises(Violated, match="1 received requests have no admission"):
            bench.check()


def test_a_request_that_came_twice_is_noticed(folder: Path) -> None:
    with Bench.open(folder, "sqlite", seed=5, clients=2) as bench:
        bench.round(Victim.GATEWAY)
        seen = bench.provider.record.read_text().splitlines()[0]
        with bench.provider.record.open("a") as record:
            record.write(f"{seen}\n")
        with pytest.raises(Violated, match="received twice"):
            bench.check()


def test_books_notice_a_request_that_was_admitted_twice_and_know_what_is_open(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    store, books = Store.open(url), Books()
    admitted = Event(kind=EventKind.ADMITTED, gateway="g", exchange="one", model="m")
    store.write([admitted])
    books.read(url)
    assert books.open == {"one"}
    store.write([admitted.followed_by(EventKind.COMPLETED)])
    books.read(url)
    assert books.open == set()
    store.write([Event(kind=EventKind.ADMITTED, gateway="g", exchange="two", model="m")])
    store.close()
    with pytest.raises(Violated, match="m was admitted twice"):
        books.read(url)

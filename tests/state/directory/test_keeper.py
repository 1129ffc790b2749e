"""The keeper under everything that can happen to its store, and the copy it leaves behind."""

import gc
import itertools
import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, text

from sallyport.errors import OperatorError
from sallyport.sql.engines import Unreachable
from sallyport.stages.directory import Approval, Key, KeyKind, Person, Stop, StopKind, Tenant
from sallyport.state.directory import schema as tables
from sallyport.state.directory.heldstops import FILE, UNREADABLE, Held, changing, read_held, write_held
from sallyport.state.directory.keeper import Keeper, Source
from sallyport.state.directory.lastgood import LastGood, Unreadable
from sallyport.state.directory.people import put_person, remove_person
from sallyport.state.directory.snapshot import People, Snapshot
from sallyport.state.directory.stops import Pulled
from sallyport.state.directory.store import DirectoryStore
from servers import Postgres

KEY = bytes(range(32))
ADA = Person("ada", roles=("developer",), attributes=(("team", "blue"),), names=("email:ada@example.com",))

type Make = Callable[..., Keeper]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Keeper] = []

    def one(at: str, *, file: str = "copy", required: bool = True, start: bool = True) -> Keeper:
        made.append(
            Keeper(
                lambda create: DirectoryStore.open(at, create=create, patience_s=0.5),
                tmp_path / file,
                KEY,
                required=required,
                poll_s=0.02,
            )
        )
        if start:
            made[-1].start()
        return made[-1]

    yield one
    for keeper in made:
        keeper.close()


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline, "not within 15 s"
        time.sleep(0.01)


def pull(store: DirectoryStore, id: str) -> None:
    with store.change() as connection:
        row = {
            "id": id,
            "kind": "tenant",
            "value": "acme",
            "tenant": "",
            "by": "op",
            "reason": "leak",
            "since_us": 1,
        }
        connection.execute(insert(tables.stops), row)


def add(store: DirectoryStore, person: Person = ADA) -> None:
    with store.change() as connection:
        put_person(connection, person)


def test_a_new_store_is_made_and_empty_and_leaves_no_copy(make: Make, url: str, tmp_path: Path) -> None:
    keeper = make(url)
    assert keeper.standing.source is Source.STORE
    assert keeper.current.stops() == ()
    assert not (tmp_path / "copy").exists()


class CollectorWatched(DirectoryStore):
    """Notes at each read whether garbage may be collected meanwhile."""

    def read(self) -> AbstractContextManager[Connection]:
        COLLECTS.append(gc.isenabled())
        return super().read()


COLLECTS: list[bool] = []


def test_nothing_is_collected_while_a_directory_is_read(tmp_path: Path) -> None:
    COLLECTS.clear()
    at = tmp_path / "a.db"
    keeper = Keeper(
        lambda create: CollectorWatched.open(at, create=create), tmp_path / "copy", KEY, poll_s=60
    )
    keeper.start()
    keeper.close()
    assert COLLECTS[:2] == [True, False], "its revision, then all of it"
    assert gc.isenabled()


def test_two_gateways_see_what_a_third_process_changes(make: Make, url: str, store: DirectoryStore) -> None:
    first, second = make(url, file="first"), make(url, file="second")
    add(store)
    pull(store, "s1")
    for keeper in (first, second):
        eventually(lambda k=keeper: k.current.stops())  # type: ignore[misc]
        assert keeper.current.named("email:ada@example.com") == ADA
    with store.change() as connection:
        connection.execute(delete(tables.stops))
        remove_person(connection, "default", "ada")
    for keeper in (first, second):
        eventually(lambda k=keeper: not k.current.stops())  # type: ignore[misc]
        assert keeper.current.named("email:ada@example.com") is None


def test_refresh_returns_when_the_change_is_in_force(make: Make, url: str, store: DirectoryStore) -> None:
    keeper = make(url)
    pull(store, "s1")
    assert keeper.refresh()
    assert [stop.id for stop in keeper.current.stops()] == ["s1"]


def test_a_snapshot_is_never_of_two_revisions(make: Make, url: str, store: DirectoryStore) -> None:
    """A person and a kill switch always change together; who sees one without the other saw half a change."""
    keeper, done = make(url), threading.Event()

    def change() -> None:
        for number in itertools.count():
            if done.is_set():
                return
            with store.change() as connection:
                put_person(connection, Person("ada", roles=(f"r{number}",)))
                connection.execute(delete(tables.stops))
                row = {
                    "id": f"r{number}",
                    "kind": "model",
                    "value": "x",
                    "tenant": "",
                    "by": "",
                    "reason": "",
                }
                connection.execute(insert(tables.stops), {**row, "since_us": 0})

    thread = threading.Thread(target=change)
    thread.start()
    try:
        seen = set()
        deadline = time.monotonic() + 10
        while len(seen) < 10 and time.monotonic() < deadline:
            now = keeper.current
            ada, stops = now.person("default", "ada"), now.stops()
            if ada is not None:
                assert [stop.id for stop in stops] == [ada.roles[0]]
                seen.add(now.revision)
            time.sleep(0.005)
        assert len(seen) >= 10
    finally:
        done.set()
        thread.join()


def test_a_server_that_stops_mid_traffic_leaves_the_last_good_in_force(
    make: Make, postgres_url: str, postgres: Postgres
) -> None:
    store = DirectoryStore.open(postgres_url)
    add(store)
    keeper = make(postgres_url)
    postgres.stop()
    try:
        eventually(lambda: keeper.standing.problem)
        assert keeper.standing.source is Source.LAST
        assert keeper.current.named("email:ada@example.com") == ADA
    finally:
        postgres.start()
    pull(store, "s1")
    eventually(lambda: keeper.current.stops())
    assert keeper.standing.source is Source.STORE
    assert not keeper.standing.problem
    store.close()


def test_a_frozen_server_never_makes_who_asks_wait(make: Make, postgres_url: str, postgres: Postgres) -> None:
    store = DirectoryStore.open(postgres_url)
    add(store)
    keeper = make(postgres_url)
    postgres.freeze()
    try:
        eventually(lambda: keeper.standing.problem)
        for _ in range(1000):
            assert keeper.current.named("email:ada@example.com") == ADA
    finally:
        postgres.resume()
    eventually(lambda: not keeper.standing.problem)
    store.close()


def test_a_gateway_starts_from_its_copy_and_says_so(
    make: Make, postgres_url: str, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    store = DirectoryStore.open(postgres_url)
    add(store)
    pull(store, "s1")
    before = make(postgres_url)
    before.close()
    postgres.stop()
    try:
        keeper = make(postgres_url)
        assert keeper.standing.source is Source.COPY
        assert "starts with its last good copy" in caplog.text
        assert keeper.current == before.current
        assert [stop.id for stop in keeper.current.stops()] == ["s1"]
    finally:
        postgres.start()
    add(store, Person("bob"))
    eventually(lambda: keeper.current.person("default", "bob"))
    assert keeper.standing.source is Source.STORE
    store.close()


def test_without_store_and_copy_a_required_directory_refuses_to_start(
    make: Make, postgres_url: str, postgres: Postgres
) -> None:
    DirectoryStore.open(postgres_url).close()
    postgres.stop()
    try:
        with pytest.raises(OperatorError, match="cannot be opened"):
            make(postgres_url)
        keeper = make(postgres_url, required=False)
        assert keeper.standing.source is Source.NONE
        assert keeper.current.named("user:ada") is None
    finally:
        postgres.start()
    eventually(lambda: keeper.standing.source is Source.STORE)


def test_a_store_without_a_directory_does_not_take_the_place_of_a_copy(make: Make, tmp_path: Path) -> None:
    store = DirectoryStore.open(tmp_path / "a.db")
    pull(store, "s1")
    make(str(tmp_path / "a.db")).close()
    store.close()
    keeper = make(str(tmp_path / "new.db"))
    assert keeper.standing.source is Source.COPY
    assert [stop.id for stop in keeper.current.stops()] == ["s1"]
    assert not (tmp_path / "new.db").exists()
    with DirectoryStore.open(tmp_path / "other.db").change() as connection:
        connection.execute(text("DROP TABLE directory_stops"))
    broken = make(str(tmp_path / "other.db"))
    assert [stop.id for stop in broken.current.stops()] == ["s1"]


def test_a_removed_file_leaves_the_last_good_in_force(make: Make, tmp_path: Path) -> None:
    store = DirectoryStore.open(tmp_path / "a.db")
    pull(store, "s1")
    keeper = make(str(tmp_path / "a.db"))
    for file in tmp_path.glob("a.db*"):
        file.unlink()
    eventually(lambda: keeper.standing.problem)
    assert [stop.id for stop in keeper.current.stops()] == ["s1"]
    store.close()


def test_the_copy_follows_every_change_and_ends_with_the_last_entry(
    make: Make, url: str, store: DirectoryStore, tmp_path: Path
) -> None:
    keeper, copy = make(url), LastGood(tmp_path / "copy", KEY)
    add(store)
    pull(store, "s1")
    keeper.refresh()
    assert copy.read() == keeper.current
    with store.change() as connection:
        connection.execute(delete(tables.stops))
    keeper.refresh()
    assert copy.read() == keeper.current
    with store.change() as connection:
        remove_person(connection, "default", "ada")
    keeper.refresh()
    assert copy.read() is None


def test_a_copy_that_cannot_be_written_is_told_and_harms_nothing(
    make: Make, url: str, store: DirectoryStore, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    keeper = make(url, file="file/copy", start=False)
    add(store)
    keeper.start()
    assert keeper.current.named("email:ada@example.com") == ADA
    assert "cannot be written" in keeper.standing.unsaved


# -- the file ------------------------------------------------------------------------------------------

WHOLE = Snapshot.of(
    {"directory": 7, "people": 3, "keys": 2, "approvals": 1, "stops": 1},
    People.of([ADA, Person("bob", "acme", active=False)], [Tenant("acme", "Acme", (("region", "eu"),))]),
    [
        Key(
            "key_" + "0" * 24,
            "k1",
            "ada",
            roles=("ci",),
            kind=KeyKind.GATEWAY,
            expires_at=datetime(2027, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
            credential="openai",
            models=("gpt-*",),
            networks=("10.0.0.0/8",),
        )
    ],
    [Stop("s1", StopKind.MODEL, "gpt-*", reason="leak")],
    [
        Approval(
            "a1",
            "default",
            "ada",
            "access.big",
            expires_at=datetime(2027, 1, 1, tzinfo=UTC),
            break_glass=True,
        )
    ],
)


def test_a_copy_is_read_as_it_was_written_and_by_its_owner_only(tmp_path: Path) -> None:
    LastGood(tmp_path / "copy", KEY).write(WHOLE)
    assert LastGood(tmp_path / "copy", KEY).read() == WHOLE
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    data = (tmp_path / "copy").read_bytes()
    for word in (b"ada", b"acme", b"leak", b"developer"):
        assert word not in data
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_every_changed_byte_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "copy"
    LastGood(path, KEY).write(WHOLE)
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(Unreadable):
            LastGood(path, KEY).read()
        path.write_bytes(data[:at])
        with pytest.raises(Unreadable):
            LastGood(path, KEY).read()


def test_another_key_reads_nothing(tmp_path: Path) -> None:
    LastGood(tmp_path / "copy", KEY).write(WHOLE)
    with pytest.raises(Unreadable, match="another gateway"):
        LastGood(tmp_path / "copy", bytes(32)).read()


def test_parts_of_two_copies_are_not_put_together(tmp_path: Path) -> None:
    copy = LastGood(tmp_path / "copy", KEY)
    copy.write(WHOLE)
    first = boxes(tmp_path / "copy")
    copy.write(Snapshot.of(WHOLE.revisions, WHOLE.who, WHOLE.keys, (), WHOLE.approved))
    second = boxes(tmp_path / "copy")
    changed = [n for n, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    assert len(changed) == 2, "the manifest and the part that changed; the others are not sealed again"
    second[changed[1]] = first[changed[1]]
    head = (tmp_path / "copy").read_bytes().partition(b"\n")[0] + b"\n"
    (tmp_path / "copy").write_bytes(head + b"".join(len(b).to_bytes(8, "big") + b for b in second))
    with pytest.raises(Unreadable, match="do not belong together"):
        LastGood(tmp_path / "copy", KEY).read()


def boxes(path: Path) -> list[bytes]:
    data, found = path.read_bytes().partition(b"\n")[2], []
    while data:
        length = int.from_bytes(data[:8], "big")
        found.append(data[8 : 8 + length])
        data = data[8 + length :]
    return found


def test_a_copy_of_another_key_is_not_used_at_the_start(
    make: Make, postgres_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    LastGood(tmp_path / "copy", bytes(32)).write(WHOLE)
    postgres.stop()
    try:
        with pytest.raises(OperatorError, match="cannot be opened"):
            make(postgres_url)
    finally:
        postgres.start()


# -- kill switches that the store could not take -------------------------------------------------------


def hold(tmp_path: Path, *stops: Stop) -> None:
    write_held(tmp_path / FILE, tuple(Pulled(stop, "op", datetime.now(UTC)) for stop in stops))


HERE = Stop("h1", StopKind.MODEL, "gpt-5", "", "leak")


def test_what_is_stopped_here_holds_beside_the_store_until_it_is_let_go(
    make: Make, url: str, store: DirectoryStore, tmp_path: Path
) -> None:
    pull(store, "s1")
    add(store)
    keeper = make(url)
    hold(tmp_path, HERE)
    eventually(lambda: [stop.id for stop in keeper.current.stops()] == ["s1", "h1"])
    assert keeper.current.named("email:ada@example.com") == ADA
    pull(store, "s2")
    eventually(lambda: {stop.id for stop in keeper.current.stops()} == {"s1", "s2", "h1"})
    kept = LastGood(tmp_path / "copy", KEY).read()
    assert kept is not None
    assert "h1" not in {stop.id for stop in kept.stops()}, "it is of this gateway, and let go here"
    assert {stop.id for stop in make(url).current.stops()} == {"s1", "s2", "h1"}, "from the start on"
    hold(tmp_path)
    eventually(lambda: {stop.id for stop in keeper.current.stops()} == {"s1", "s2"})


def test_what_is_stopped_here_waits_for_no_database(tmp_path: Path) -> None:
    """The thread that reads the store hangs, as with a server that takes connections and says nothing."""
    hangs, goes_on = threading.Event(), threading.Event()

    def open_store(create: bool) -> DirectoryStore:
        if opened:
            hangs.set()
            goes_on.wait(20)
        opened.append(create)
        raise Unreachable("directory x", "does not answer", "Wait.")

    opened: list[bool] = []
    keeper = Keeper(open_store, tmp_path / "copy", KEY, required=False, poll_s=0.02)
    keeper.start()
    assert hangs.wait(10)
    hold(tmp_path, HERE)
    eventually(lambda: keeper.current.stops() == (HERE,))
    goes_on.set()
    keeper.close()


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b'[{"stop": {"id": "x", "kind": "nobody"}}]', b"\xff"])
def test_a_list_of_stops_that_cannot_be_read_stops_everything(
    make: Make, url: str, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    keeper = make(url)
    assert [stop.kind for stop in keeper.current.stops()] == [StopKind.EVERYTHING]
    (tmp_path / FILE).unlink()
    eventually(lambda: keeper.current.stops() == ())


WRITTEN = {"by": "op", "since": "2026-11-23T12:00:00Z"}
STOP = {"id": "h1", "kind": "model", "value": "gpt-5"}


def by_hand(tmp_path: Path, stop: dict[str, str], **more: str) -> None:
    (tmp_path / FILE).write_text(json.dumps([{"stop": stop, **WRITTEN, **more}]))


@pytest.mark.parametrize(
    "stop",
    [
        {"id": "h1", "kind": "everything"},
        STOP,
        STOP | {"reason": "leak", "tenant": ""},
        {"id": "h1", "kind": "tenant", "value": "acme"},
        {"id": "h1", "kind": "principal", "value": "ada", "tenant": "default"},
        {"id": "h1", "kind": "key", "value": "key_0123456789ABCDEF01234567"},
        {"id": "h1", "kind": "provider", "value": "OpenAI"},
    ],
    ids=str,
)
def test_a_list_of_stops_may_be_written_by_hand(tmp_path: Path, stop: dict[str, str]) -> None:
    by_hand(tmp_path, stop)
    (found,) = Held(tmp_path / FILE, lambda: ["openai"]).look() or ()
    assert (found.id, found.kind, found.value) == ("h1", stop["kind"], stop.get("value", ""))


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        ({"id": "h1", "kind": "model", "vlaue": "sk-secret"}, "0.stop.vlaue: Unexpected keyword argument"),
        ({"id": "h1", "kind": "model"}, "the value is missing"),
        (STOP | {"value": ""}, "the value is missing"),
        (STOP | {"value": " gpt-5"}, "blanks around it"),
        (STOP | {"value": "gpt-5\n"}, "blanks around it"),
        (STOP | {"id": " "}, "the id is missing"),
        (STOP | {"tenant": "acme"}, "only a principal takes a tenant"),
        ({"id": "h1", "kind": "everything", "value": "gpt-5"}, "everything takes no value"),
        ({"id": "h1", "kind": "principal", "value": "ada"}, "the tenant of the principal is missing"),
        ({"id": "h1", "kind": "key", "value": "sk-secret"}, "no fingerprint of a key"),
        ({"id": "h1", "kind": "provider", "value": "opnai"}, "the catalogue has no such provider"),
        ({"id": "h1", "kind": "modle", "value": "gpt-5"}, "0.stop.kind: Input should be 'everything', "),
    ],
    ids=lambda of: str(of) if isinstance(of, dict) else None,
)
def test_what_is_written_by_hand_and_would_not_stop_what_was_meant_stops_everything_and_is_told(
    tmp_path: Path, stop: dict[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    by_hand(tmp_path, stop)
    keeper = Keeper(
        unreachable, tmp_path / "copy", KEY, required=False, poll_s=0.02, providers=lambda: ["openai"]
    )
    keeper.start()
    try:
        assert keeper.current.stops() == (UNREADABLE,)
        (line,) = [record.message for record in caplog.records if FILE in record.message]
        assert told in line
        assert "Mend it" in line
        assert "sk-secret" not in caplog.text
        hold(tmp_path, HERE)
        eventually(lambda: keeper.current.stops() == (HERE,))
    finally:
        keeper.close()


def unreachable(create: bool) -> DirectoryStore:
    raise Unreachable("directory x", "does not answer", "Wait.")


@pytest.mark.parametrize(
    "text",
    [
        '[{"stop": {"id": "h1", "kind": "model", "value": "gpt-5", "value": "gpt-4"}, %s}]',
        '[{"stop": {"id": "h1", "kind": "model", "value": "gpt-5"}, "until": "now", %s}]',
    ],
    ids=["twice", "unknown"],
)
def test_a_list_of_stops_that_says_something_twice_or_something_unknown_stops_everything(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / FILE).write_text(text % '"by": "op", "since": "2026-11-23T12:00:00Z"')
    assert Held(tmp_path / FILE).look() == (UNREADABLE,)


def test_a_list_of_stops_that_lies_where_nobody_finds_it_stops_everything(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to(tmp_path / "away" / FILE)
    assert Held(tmp_path / FILE).look() == (UNREADABLE,)
    with pytest.raises(OperatorError, match="cannot be read"):
        read_held(tmp_path / FILE)


def test_a_list_of_stops_that_could_not_be_read_for_a_while_is_read_again(tmp_path: Path) -> None:
    hold(tmp_path, HERE)
    path, held = tmp_path / FILE, Held(tmp_path / FILE)
    away = path.rename(tmp_path / "away")
    path.symlink_to(path)  # a loop: there, and nobody can open it
    assert held.look() == (UNREADABLE,)
    held.taken()
    assert held.look() == (UNREADABLE,)
    away.replace(path)
    assert held.look() == (HERE,)
    assert held.look() == (HERE,), "it is not in force yet"
    held.taken()
    assert held.look() is None


def test_stops_at_the_same_moment_are_all_kept(tmp_path: Path) -> None:
    begin = threading.Barrier(4)

    def stop(number: int) -> None:
        begin.wait()
        with changing(tmp_path / FILE):
            time.sleep(0.01)
            one = Pulled(Stop(f"h{number}", StopKind.MODEL, f"m{number}"), "op", datetime.now(UTC))
            write_held(tmp_path / FILE, (*read_held(tmp_path / FILE), one))

    threads = [threading.Thread(target=stop, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {pulled.stop.id for pulled in read_held(tmp_path / FILE)} == {"h0", "h1", "h2", "h3"}

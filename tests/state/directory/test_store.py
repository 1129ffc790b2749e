"""The tables of the directory, on both databases: revisions, transactions, other versions, other files."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Column, Text, create_engine, insert, text, update
from sqlalchemy.exc import IntegrityError

from sallyport.audit.store import Store
from sallyport.errors import OperatorError
from sallyport.sql.engines import Unreachable
from sallyport.stages.directory import Person, StopKind, Tenant
from sallyport.state.directory import migrations
from sallyport.state.directory import schema as tables
from sallyport.state.directory import store as stores
from sallyport.state.directory.people import find_person, load_people, put_person, put_tenant, remove_person
from sallyport.state.directory.snapshot import Snapshot
from sallyport.state.directory.stops import let_go, load_pulled, load_stops, pull
from sallyport.state.directory.store import DirectoryStore
from servers import Postgres

type Open = Callable[[], DirectoryStore]

ADA = Person("ada", "default", ("developer",), (("team", "blue"),), ("email:ada@example.com", "user:ada"))


def read(store: DirectoryStore) -> Snapshot:
    with store.read() as connection:
        return Snapshot.read(connection)


def test_what_is_written_is_found_by_id_and_by_every_name(store: DirectoryStore) -> None:
    with store.change() as connection:
        put_tenant(connection, Tenant("acme", "Acme", (("region", "eu"),)))
        put_person(connection, ADA)
        put_person(connection, Person("bob", "acme", names=("USER:Bob",), active=False))
    found = read(store)
    assert found.person("default", "ada") == ADA
    assert found.named("email:ada@example.com") == found.named("user:ada") == ADA
    bob = found.named("user:bob")
    assert bob == Person("bob", "acme", names=("user:bob",), active=False)
    assert found.tenant("acme") == Tenant("acme", "Acme", (("region", "eu"),))
    assert found.person("acme", "ada") is None
    assert found.named("user:nobody") is None


def test_every_change_raises_the_revision_and_only_the_parts_it_wrote(store: DirectoryStore) -> None:
    before = read(store)
    with store.change() as connection:
        put_person(connection, ADA)
    after_people = read(store)
    assert after_people.revision == store.revision() == before.revision + 1
    assert after_people.revisions["people"] == before.revisions["people"] + 1
    assert after_people.revisions["stops"] == before.revisions["stops"]
    with store.change() as connection:
        row = {
            "id": "s1",
            "kind": "everything",
            "value": "",
            "tenant": "",
            "by": "op",
            "reason": "",
            "since_us": 0,
        }
        connection.execute(insert(tables.stops), row)
    with store.read() as connection:
        after_stop = Snapshot.read(connection, after_people)
    assert after_stop.who is after_people.who
    assert after_stop.keys is after_people.keys
    assert [stop.id for stop in after_stop.stops()] == ["s1"]


def test_a_textual_statement_counts_as_a_change_of_all_parts(store: DirectoryStore) -> None:
    before = read(store)
    with store.change() as connection:
        connection.execute(text("UPDATE directory_people SET origin = 'x'"))
    assert all(number > before.revisions[part] for part, number in read(store).revisions.items())


def test_what_raises_inside_a_change_undoes_it_with_its_revision(store: DirectoryStore) -> None:
    before = store.revision()

    def give_up() -> None:
        with store.change() as connection:
            put_person(connection, ADA)
            raise KeyError

    with pytest.raises(KeyError):
        give_up()
    assert store.revision() == before
    assert read(store).person("default", "ada") is None
    with store.change() as connection:
        put_person(connection, ADA)
    assert store.revision() == before + 1


def test_an_error_of_the_database_names_no_value(store: DirectoryStore) -> None:
    with pytest.raises(OperatorError) as caught, store.change() as connection:
        connection.execute(insert(tables.people), [_row("secret-name"), _row("secret-name")])
    assert "secret-name" not in str(caught.value)
    assert not isinstance(caught.value, Unreachable)


def test_a_refused_statement_can_be_caught_inside_a_change(store: DirectoryStore) -> None:
    with store.change() as connection:
        put_person(connection, ADA)
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(insert(tables.people), {**_row("ada")})
    assert read(store).person("default", "ada") == ADA


def _row(id: str) -> dict[str, object]:
    return {"tenant": "default", "id": id, "roles": "[]", "attributes": "{}", "active": True, "origin": "x"}


@pytest.mark.parametrize(
    ("person", "said"),
    [
        (Person("ada", names=("email:bob@example.com",)), "belongs to default/bob"),
        (Person("ada", names=("no kind",)), "is not kind:value"),
        (Person(""), "id is empty"),
        (Person("a\x1b[2J"), "control characters"),
        (Person("ada", tenant="nowhere"), "no such tenant"),
        (Person("ada", roles=("",)), "role is empty"),
        (Person("ada", roles=tuple(map(str, range(501)))), "501 roles"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_a_person_is_refused(store: DirectoryStore, person: Person, said: str) -> None:
    with store.change() as connection:
        put_person(connection, Person("bob", names=("email:bob@example.com",)))
    with pytest.raises(OperatorError, match=said) as caught, store.change() as connection:
        put_person(connection, person)
    assert "\x1b" not in str(caught.value)


def test_a_name_is_free_again_once_its_owner_is_gone(store: DirectoryStore) -> None:
    with store.change() as connection:
        put_person(connection, ADA)
    with store.change() as connection:
        assert remove_person(connection, "default", "ada")
        assert not remove_person(connection, "default", "ada")
        put_person(connection, Person("eve", names=ADA.names))
    found = read(store).named("user:ada")
    assert found is not None
    assert found.id == "eve"


def test_changes_at_the_same_time_lose_nothing(open_directory: Open) -> None:
    workers, each = 6, 12
    errors: list[BaseException] = []
    first = open_directory()

    def work(store: DirectoryStore, worker: int) -> None:
        try:
            for number in range(each):
                with store.change() as connection:
                    put_person(connection, Person(f"p{worker}-{number}", names=(f"user:{worker}-{number}",)))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(open_directory(), n)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert first.revision() == workers * each
    assert len(read(first).who.people) == workers * each


def test_two_changes_of_one_person_do_not_mix(open_directory: Open) -> None:
    """Read, then write, in one change: the second waits for the first, and sees what it wrote."""
    stores_ = [open_directory() for _ in range(4)]
    with stores_[0].change() as connection:
        put_person(connection, Person("ada"))

    def give(store: DirectoryStore, role: str) -> None:
        with store.change() as connection:
            entry = find_person(connection, "default", "ada")
            assert entry is not None
            put_person(connection, Person("ada", roles=(*entry.person.roles, role)))

    threads = [threading.Thread(target=give, args=(s, f"r{n}")) for n, s in enumerate(stores_)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read(stores_[0]).person("default", "ada")
    assert found is not None
    assert found.roles == ("r0", "r1", "r2", "r3")


def test_a_directory_is_made_beside_an_audit_that_is_there(url: str) -> None:
    Store.open(url).close()
    with pytest.raises(OperatorError, match="holds no directory"):
        DirectoryStore.open(url, create=False)
    DirectoryStore.open(url).close()
    DirectoryStore.open(url, create=False).close()
    Store.open(url, create=False).close()


def test_a_newer_version_is_left_alone(url: str) -> None:
    store = DirectoryStore.open(url)
    with store.change() as connection:
        connection.execute(update(tables.state).values(version=99))
    store.close()
    for create in (True, False):
        with pytest.raises(OperatorError, match="schema version 99"):
            DirectoryStore.open(url, create=create)


def test_an_earlier_version_is_brought_up_with_what_it_holds(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryStore.open(url)
    with store.change() as connection:
        put_person(connection, ADA)
    store.close()

    def step(operations: object) -> None:
        operations.add_column("directory_people", Column("manager", Text))  # type: ignore[attr-defined]

    present = tables.SCHEMA_VERSION
    for module in (tables, migrations, stores):
        monkeypatch.setattr(module, "SCHEMA_VERSION", present + 1)
    monkeypatch.setitem(migrations.STEPS, present, step)
    with pytest.raises(OperatorError, match=f"schema version {present}") as caught:
        DirectoryStore.open(url, create=False)
    assert "Start the gateway once" in caught.value.todo
    store = DirectoryStore.open(url)
    with store.read() as connection:
        assert connection.execute(text("SELECT manager FROM directory_people")).all() == [(None,)]
        assert set(connection.execute(text("SELECT version FROM directory_state")).scalars()) == {present + 1}
        assert load_people(connection) == (ADA,)
    store.close()


def test_a_store_of_the_first_version_keeps_what_it_stopped(url: str) -> None:
    store = DirectoryStore.open(url)
    with store.change() as connection:
        stop = pull(connection, StopKind.MODEL, "gpt-5", "", "bob", "INC-1", datetime.now(UTC))
        for column in ("resumed_by", "resumed_us"):
            connection.execute(text(f"ALTER TABLE directory_stops DROP COLUMN {column}"))
        connection.execute(update(tables.state).values(version=1))
    store.close()
    store = DirectoryStore.open(url)
    with store.change() as connection:
        assert load_stops(connection) == (stop,)
        assert let_go(connection, stop.id, "eve", datetime.now(UTC)) == (stop,)
        assert load_stops(connection) == ()
        (gone,) = load_pulled(connection, every=True)
        assert (gone.by, gone.stop.reason, gone.resumed_by) == ("bob", "INC-1", "eve")
    store.close()


def test_another_file_in_the_place_of_the_first_is_noticed(tmp_path: Path) -> None:
    first, second = DirectoryStore.open(tmp_path / "a.db"), DirectoryStore.open(tmp_path / "b.db")
    with second.change() as connection:
        put_person(connection, ADA)
    second.close()
    for ending in ("-wal", "-shm"):
        (tmp_path / f"a.db{ending}").unlink(missing_ok=True)
    (tmp_path / "b.db").replace(tmp_path / "a.db")
    assert read(first).person("default", "ada") == ADA
    assert first.opened == 2
    (tmp_path / "a.db").unlink()
    with pytest.raises(OperatorError, match="is not there"):
        first.revision()
    first.close()


def test_a_change_survives_a_server_that_was_started_anew_meanwhile(
    postgres_url: str, postgres: Postgres
) -> None:
    store = DirectoryStore.open(postgres_url)
    with store.change() as connection:
        put_person(connection, ADA)
    postgres.stop()
    with pytest.raises(Unreachable, match="cannot be changed"), store.change():
        pass
    with pytest.raises(Unreachable, match="cannot be read"):
        store.revision()
    postgres.start()
    with store.change() as connection:
        put_person(connection, Person("bob"))
    assert store.revision() == 2
    store.close()


def test_a_silent_server_is_given_up(postgres_url: str, postgres: Postgres) -> None:
    engine = create_engine(postgres_url)
    store = DirectoryStore.open(postgres_url, patience_s=0.3)
    store.revision()
    postgres.freeze()
    try:
        with pytest.raises(Unreachable):
            store.revision()
    finally:
        postgres.resume()
    assert store.revision() == 0
    store.close()
    engine.dispose()

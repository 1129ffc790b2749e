"""People in events, by who would have them lost, mixed up or erased for somebody else."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from sallyport.audit.events import CANCELLED, Event, EventKind
from sallyport.audit.people import PersonalLog
from sallyport.audit.store import Store
from sallyport.cli.last_run import remember
from sallyport.cli.main import app
from sallyport.state.content import keys as keys_module
from sallyport.state.content import people as people_module
from sallyport.state.content.people import Names, Pseudonyms, lasting_person
from sallyport.state.content.schema import people as rows
from sallyport.state.content.subjects import Subject
from state.content.conftest import Place

ANN = "ann@example.org"


class Slow(Pseudonyms):
    """Pseudonyms whose keys do not answer until they are let go."""

    def __init__(self, place: Place) -> None:
        keys = place.keys()
        super().__init__(lambda: keys)
        self.asked, self.go = threading.Event(), threading.Event()

    def find(self, tenant: str, principal: str, client: str) -> tuple[str, str]:
        self.asked.set()
        self.go.wait(20)
        return super().find(tenant, principal, client)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    opened = Store.open(place.url)
    yield opened
    opened.close()


def event(kind: EventKind) -> Event:
    said = {"principal": ANN, "tenant": "acme", "source": "header", "client": "10.1.2.3"}
    return Event(kind=kind, gateway="gw", exchange="e1", **said)


@pytest.mark.parametrize(
    ("kind", "required", "written"),
    [
        (EventKind.ADMITTED, True, [(EventKind.REFUSED, CANCELLED)]),
        (EventKind.ADMITTED, False, [(EventKind.ADMITTED, "")]),
        (EventKind.TUNNELLED, True, []),
        (EventKind.COMPLETED, False, [(EventKind.COMPLETED, "")]),
    ],
)
def test_who_goes_away_while_its_key_is_looked_for_leaves_the_event_it_would_have_left(
    place: Place, store: Store, kind: EventKind, required: bool, written: list[tuple[EventKind, str]]
) -> None:
    people = Slow(place)
    log = PersonalLog(store, people, lambda: True, lambda: False, deadline_s=60)

    async def gone() -> None:
        task = asyncio.create_task(log.append(event(kind), required=required))
        await asyncio.to_thread(people.asked.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(gone())
    people.go.set()
    assert log.close()
    people.close()
    found = store.events(10)
    assert [(each.kind, each.detail) for each in found] == written
    assert ANN not in repr(found)


def test_who_is_forgotten_by_a_pseudonym_is_the_person_of_its_own_tenant(place: Place, store: Store) -> None:
    keys = place.keys()
    acme, default = (lasting_person(keys, Subject(tenant, ANN)) for tenant in ("acme", "default"))
    keys.close()

    def forget(*words: str) -> tuple[int, str]:
        command = ["audit", "forget", *words, "--store", place.url, "--confdir", str(place.folder)]
        done = CliRunner().invoke(app, command, env=place.variables)
        return done.exit_code, done.stdout

    assert forget(acme.pseudonym, "--tenant", "default")[0] != 0
    assert forget(acme.pseudonym, "--dry-run") == (
        0,
        "would destroy 1 keys, 0 records and 0 index entries\n",
    )
    code, said = forget(acme.pseudonym)
    assert (code, said.partition(",")[0]) == (0, "destroyed 1 keys")
    assert set(place.keys().entered([acme.pseudonym, default.pseudonym])) == {default.pseudonym}
    assert [each.tenant for each in store.events(10, kind=EventKind.ERASED)] == ["acme"]


def test_a_kill_switch_names_nobody_before_the_first_pseudonym_was_written(
    place: Place, store: Store
) -> None:
    policy = place.folder / "policy.yaml"
    policy.write_text("version: 1\naudit: {people: pseudonymised}\n")
    remember(place.folder, str(policy))
    where = ["--store", place.url, "--confdir", str(place.folder)]
    for words in (
        ["stop", "principal", "ann", "--tenant", "acme", "--reason", "case 7"],
        ["resume", "--all"],
    ):
        done = CliRunner().invoke(app, [*words, *where], env=place.variables, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    found = store.events(10, kind=EventKind.KILL_SWITCH)
    assert [each.detail.partition(":")[0] for each in found] == ["resumed", "stopped"]
    assert "ann" not in repr(found)


def test_a_row_that_nobody_can_open_costs_nobody_else_a_name_or_an_erasure(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", 0.05)
    monkeypatch.setattr(people_module, "FRESH_S", 0.05)
    keys = place.keys()
    ann = lasting_person(keys, Subject("acme", ANN))
    bad = [f"person:{number:032x}" for number in (1, 2)]
    with keys._opened.change() as connection:
        for pseudonym, sealed in zip(bad, ("!", "AAAA"), strict=True):
            connection.execute(insert(rows).values(pseudonym=pseudonym, owner="x", sealed=sealed))
    told: list[str] = []
    names = Names(lambda: keys, told.append)
    names.prepare([ann.pseudonym, *bad])
    assert [names.name(each) for each in (ann.pseudonym, *bad)] == [ANN, "", ""]
    assert told == []
    Names(lambda: keys, told.append).prepare(bad)
    assert len(told) == 1, "it is said why, where nobody can be named"
    people = Pseudonyms(lambda: keys)
    people.start()
    until = time.monotonic() + 20
    while people.held("acme", ANN, "10.1.2.3") is None:
        assert time.monotonic() < until, "she was not taken into memory"
        time.sleep(0.01)
    place.keys().destroy(Subject("acme", ANN), 1, "event")
    while people.held("acme", ANN, "10.1.2.3") is not None:
        assert time.monotonic() < until, "she was not let go"
        time.sleep(0.01)
    people.close()


def test_an_erasure_by_a_pseudonym_that_was_killed_is_finished_when_it_is_run_again(
    place: Place, store: Store
) -> None:
    keys = place.keys()
    ann = lasting_person(keys, Subject("acme", ANN))
    keys.destroy(Subject("acme", ANN), 1_000_000, "01a1fc09-e450-7000-8000-000000000001")  # and killed
    keys.close()
    command = ["audit", "forget", ann.pseudonym, "--store", place.url, "--confdir", str(place.folder)]
    for code, said in ((0, "finished 1 interrupted erasures"), (1, "")):
        done = CliRunner().invoke(app, command, env=place.variables)
        assert done.exit_code == code
        assert said in done.stdout
    (erased,) = store.events(10, kind=EventKind.ERASED)
    assert (erased.tenant, erased.detail) == ("acme", "keys_1.records_0.index_0")
    assert place.keys().unfinished() == []


def test_who_is_called_as_a_caller_nobody_knew_would_be_is_not_written_in_clear(
    place: Place, store: Store
) -> None:
    keys = place.keys()
    people = Pseudonyms(lambda: keys)
    log = PersonalLog(store, people, lambda: True, lambda: False)
    said = {"principal": "client:10.1.2.3", "tenant": "acme", "source": "header", "client": "10.1.2.3"}
    log.append_nowait(Event(kind=EventKind.REFUSED, gateway="gw", exchange="e1", **said))
    assert log.close()
    people.close()
    (found,) = store.events(1)
    assert "10.1.2.3" not in repr(found)
    assert (
        found.principal == found.client == lasting_person(keys, Subject("acme", "client:10.1.2.3")).pseudonym
    )

"""People in events, by who would have them lost, mixed up or erased for somebody else."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from sallyport.audit.events import CANCELLED, Event, EventKind
from sallyport.audit.people import PersonalLog
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.state.content.keys import Subject
from sallyport.state.content.people import Pseudonyms, lasting_person
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

"""Requests for approvals on their way into the store: once, bounded, and later where the store is down."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.conftest import postgres, postgres_url  # noqa: F401
from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.decision import Need
from sallyport.errors import OperatorError
from sallyport.proxy import petitions
from sallyport.proxy.petitions import Petition, Petitions
from sallyport.state.directory.approvals import MAX_OPEN, load_requests
from sallyport.state.directory.store import DirectoryStore

NEED = Need("apr-aaaaaaaaaa", "default", "ada", "big", "model:gpt-5")


def petition(need: Need = NEED) -> Petition:
    return Petition(need, Event(kind=EventKind.APPROVAL_REQUESTED, gateway="g", exchange="e", detail=need.id))


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], DirectoryStore]:
    url = tmp_path / "audit.db"
    Store.open(url).close()
    DirectoryStore.open(url).close()
    return lambda: DirectoryStore.open(url, create=False)


def written(opened: Callable[[], DirectoryStore], tmp_path: Path) -> tuple[list[str], list[str]]:
    """Return the ids of requests, and those in events."""
    store = opened()
    with store.read() as connection:
        requests = [r.need.id for r in load_requests(connection, datetime.now(UTC))]
    store.close()
    audit = Store.open(tmp_path / "audit.db", create=False)
    events = [e.detail for e in audit.events(limit=1000)]
    audit.close()
    return sorted(requests), sorted(events)


async def settled(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not found():
            await asyncio.sleep(0.01)


async def test_a_request_is_recorded_under_the_pseudonym_of_who_asks(
    opened: Callable[[], DirectoryStore], tmp_path: Path
) -> None:
    told: list[str] = []

    def alias(event: Event) -> Event:
        return replace(event, alias=("person:1", "sealed:1"))

    one = Petitions(opened, lambda p: told.append(p.need.id), alias)
    asked = petition()
    one.ask(replace(asked, event=replace(asked.event, principal="ada", client="10.0.0.1")))
    await settled(lambda: len(told) == 1)
    await asyncio.to_thread(one.close)
    audit = Store.open(tmp_path / "audit.db", create=False)
    (event,) = audit.events()
    audit.close()
    assert (event.principal, event.client) == ("person:1", "sealed:1")


async def test_two_gateways_register_a_request_once_and_tell_of_it_once(
    opened: Callable[[], DirectoryStore], tmp_path: Path
) -> None:
    told: list[str] = []
    both = [Petitions(opened, lambda p: told.append(p.need.id)) for _ in range(2)]
    other = replace(NEED, id="apr-bbbbbbbbbb", resource="model:other")
    for one in both:
        for _ in range(50):
            one.ask(petition())
        one.ask(petition(other))
    await settled(lambda: len(told) == 2)
    for one in both:
        await asyncio.to_thread(one.close)
    assert written(opened, tmp_path) == ([NEED.id, other.id],) * 2
    assert sorted(told) == [NEED.id, other.id]


async def test_a_store_that_is_down_gets_the_request_once_it_is_up(
    opened: Callable[[], DirectoryStore], tmp_path: Path
) -> None:
    down = True

    def later() -> DirectoryStore:
        if down:
            raise OperatorError("store", "is down", "wait")
        return opened()

    told: list[str] = []
    one = Petitions(later, lambda p: told.append(p.need.id))
    one.ask(petition())
    await asyncio.sleep(0.1)
    assert told == []
    down = False
    await settled(lambda: told == [NEED.id])
    await asyncio.to_thread(one.close)
    assert written(opened, tmp_path) == ([NEED.id],) * 2


async def test_what_waits_is_bounded_and_a_gateway_without_a_store_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(petitions, "MAX_WAITING", 3)
    opens = 0

    def down() -> DirectoryStore:
        nonlocal opens
        opens += 1
        raise OperatorError("store", "is down", "wait")

    one, none = Petitions(down, lambda p: None), Petitions(None, lambda p: None)
    for number in range(10):
        need = replace(NEED, id=f"apr-{number}")
        one.ask(petition(need))
        none.ask(petition(need))
    assert [p.need.id for p in one._waiting] == ["apr-0", "apr-1", "apr-2"]
    assert not none._waiting
    await asyncio.to_thread(one.close)
    assert 1 <= opens < 5


async def test_one_that_the_store_will_never_take_holds_up_nobody(postgres_url: str) -> None:  # noqa: F811
    Store.open(postgres_url).close()
    DirectoryStore.open(postgres_url).close()
    told: list[str] = []
    one = Petitions(
        lambda: DirectoryStore.open(postgres_url, create=False), lambda p: told.append(p.need.principal)
    )
    one.ask(petition(replace(NEED, id="apr-nul", principal="https://idp|a\x00b")))
    one.ask(petition(replace(NEED, id="apr-collides", principal="ada")))
    one.ask(petition(replace(NEED, id="apr-after", principal="bob")))
    await settled(lambda: told == ["ada", "bob"])
    await settled(lambda: not one._waiting)  # it is told first, and then taken out
    await asyncio.to_thread(one.close)


async def test_two_requests_whose_ids_collide_hold_up_nobody_else(
    opened: Callable[[], DirectoryStore], tmp_path: Path
) -> None:
    told: list[str] = []
    one = Petitions(opened, lambda p: told.append(p.need.principal))
    one.ask(petition())
    await settled(lambda: told == ["ada"])
    other = Petitions(opened, lambda p: told.append(p.need.principal))
    other.ask(petition(replace(NEED, principal="eve")))
    other.ask(petition(replace(NEED, id="apr-bbbbbbbbbb", principal="bob")))
    await settled(lambda: told == ["ada", "bob"])
    for each in (one, other):
        await asyncio.to_thread(each.close)


async def test_a_principal_who_asks_for_much_keeps_nobody_else_out() -> None:
    def down() -> DirectoryStore:
        raise OperatorError("store", "is down", "wait")

    one = Petitions(down, lambda p: None)
    for number in range(2 * petitions.MAX_WAITING):
        one.ask(petition(replace(NEED, id=f"apr-{number}", resource=f"model:{number}")))
    one.ask(petition(replace(NEED, id="apr-other", principal="bob")))
    assert len(one._waiting) == MAX_OPEN + 1
    assert one._waiting[-1].need.principal == "bob"
    await asyncio.to_thread(one.close)

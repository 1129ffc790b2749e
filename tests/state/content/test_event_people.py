"""People in events: the same pseudonym for the same person, a name for who has the keys, and nothing once forgotten."""

import asyncio
import base64
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from sqlalchemy import create_engine, text

from sallyport.audit.events import END_KINDS, Event, EventKind, interrupted
from sallyport.audit.log import AuditUnavailable
from sallyport.audit.people import PersonalLog
from sallyport.audit.spend import SpendDimension
from sallyport.audit.spool import Spool
from sallyport.audit.store import Store
from sallyport.errors import OperatorError
from sallyport.exchange import Usage
from sallyport.state.content import keys as keys_module
from sallyport.state.content import people as people_module
from sallyport.state.content.keys import SubjectKeys
from sallyport.state.content.naming import PREFIX, SEALED, passing_person, person_of
from sallyport.state.content.people import KeysAway, Names, Pseudonyms, lasting_person
from sallyport.state.content.subjects import Subject
from state.content.conftest import Place

ANN, BOB = Subject("acme", "ann@example.org"), Subject("acme", "bob@example.org")
ADDRESS = "10.11.12.13"
PSEUDONYM = re.compile(r"person:[0-9a-f]{32}")


def event(kind: EventKind = EventKind.ADMITTED, exchange: str = "", **facts: Any) -> Event:
    given = {"principal": ANN.principal, "tenant": "acme", "source": "header", "client": ADDRESS, **facts}
    return Event(kind=kind, gateway="gw-1", exchange=exchange, **given)


class Away:
    """Keys that cannot be had until they are back."""

    def __init__(self, keys: SubjectKeys) -> None:
        self.keys = keys
        self.is_away = True

    def __call__(self) -> SubjectKeys:
        if self.is_away:
            raise OperatorError("content keys", "cannot be read", "Wait")
        return self.keys


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", 0.05)
    monkeypatch.setattr(people_module, "FRESH_S", 0.05)
    monkeypatch.setattr(people_module, "AWAY_S", 0.05)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    opened = Store.open(place.url)
    yield opened
    opened.close()


@pytest.fixture
def log_of(store: Store) -> Iterator[Callable[..., PersonalLog]]:
    made: list[tuple[PersonalLog, Pseudonyms]] = []

    def make(
        keys: Callable[[], SubjectKeys], wanted: bool = True, may_pass: bool = False, sink: Any = None
    ) -> PersonalLog:
        people = Pseudonyms(keys)
        made.append((PersonalLog(sink or store, people, lambda: wanted, lambda: may_pass), people))
        return made[-1][0]

    yield make
    for log, people in made:
        log.close()
        people.close()


def stored(place: Place) -> list[dict[str, Any]]:
    """Return the rows of events as they lie in the database, oldest first."""
    url = place.url if "://" in place.url else f"sqlite:///{place.url}"
    with create_engine(url.replace("postgresql://", "postgresql+psycopg://")).connect() as connection:
        rows = connection.execute(text("SELECT * FROM audit_events ORDER BY id"))
        return [dict(row) for row in rows.mappings()]


def readable(place: Place) -> Store:
    """Return the store as a command with the keys reads it."""
    opened = Store.open(place.url, create=False)
    keys = place.keys()
    opened.names = Names(lambda: keys, closed=keys.close)
    return opened


def within(holds: Callable[[], object], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


# -- who stands for whom -------------------------------------------------------------------------------------


def test_a_person_has_one_pseudonym_whoever_asks(place: Place) -> None:
    own = lasting_person(place.keys(), ANN)
    assert PSEUDONYM.fullmatch(own.pseudonym)
    assert lasting_person(place.keys(), ANN).pseudonym == own.pseudonym
    others = [BOB, Subject("other", ANN.principal), Subject("acmea", "nn@example.org")]
    assert len({own.pseudonym, *(lasting_person(place.keys(), who).pseudonym for who in others)}) == 4
    assert place.keys().entered([own.pseudonym])[own.pseudonym].name == ANN.principal
    assert set(place.keys().pseudonyms(ANN.principal)) == {
        own.pseudonym,
        lasting_person(place.keys(), others[1]).pseudonym,
    }
    assert place.keys().pseudonyms(ANN.principal, "acme") == [own.pseudonym]
    assert place.keys().pseudonyms("nobody") == []


def test_gateways_that_share_the_keys_write_the_same_of_people_who_come_to_all_at_once(place: Place) -> None:
    found: list[tuple[str, Any]] = []

    def gateway() -> None:
        keys = place.keys()
        people = Pseudonyms(lambda: keys)
        for number in range(6):
            found.append((f"p{number}", people.find("acme", f"p{number}", ADDRESS)))
        people.close()
        keys.close()

    gateways = [threading.Thread(target=gateway) for _ in range(4)]
    for each in gateways:
        each.start()
    for each in gateways:
        each.join()
    assert len(found) == 24
    assert len(set(found)) == 6
    assert len(rows_of(place, "content_people")) == 6


def test_a_pseudonym_is_made_under_the_persons_key_alone(place: Place) -> None:
    key = place.keys().key_of(ANN)
    own = lasting_person(place.keys(), ANN)
    assert own == person_of(key, ANN)
    place.keys().destroy(ANN, time.time_ns() // 1000, "event-1")
    assert person_of(place.keys().key_of(ANN), ANN).pseudonym != own.pseudonym
    assert lasting_person(place.keys(), ANN).pseudonym != own.pseudonym


def test_no_row_names_a_person_or_a_key_in_clear(place: Place) -> None:
    key = place.keys().key_of(ANN)
    own = lasting_person(place.keys(), ANN)
    (row,) = rows_of(place, "content_people")
    said = repr(row)
    assert row["pseudonym"] == own.pseudonym
    for word in (ANN.principal, key.id, base64.b64encode(ANN.principal.encode()).decode()):
        assert word not in said


def rows_of(place: Place, table: str) -> list[dict[str, Any]]:
    with place.keys()._opened.change() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]


def test_who_is_forgotten_can_be_told_by_nobody(place: Place) -> None:
    own, other = lasting_person(place.keys(), ANN), lasting_person(place.keys(), BOB)
    address = own.seal(ADDRESS)
    assert own.unseal(address) == ADDRESS
    place.keys().destroy(ANN, 7, "event-1")
    assert place.keys().entered([own.pseudonym, other.pseudonym]).keys() == {other.pseudonym}
    assert [row["pseudonym"] for row in rows_of(place, "content_people")] == [other.pseudonym]
    assert other.unseal(address) == ""
    if "://" not in place.url:
        for file in place.folder.glob("content-keys.db*"):
            assert own.pseudonym.encode() not in file.read_bytes(), file.name


def test_a_new_master_key_opens_them_and_the_old_one_is_not_needed(place: Place) -> None:
    own = lasting_person(place.keys(), ANN)
    file = place.folder / "master.key"
    old = file.read_bytes()
    file.write_bytes(base64.b64encode(b"n" * 32) + b"\n" + old)
    assert place.keys().rotate() == 3, "the key, the key of digests and the name"
    file.write_bytes(base64.b64encode(b"n" * 32) + b"\n")
    assert place.keys().entered([own.pseudonym])[own.pseudonym].name == ANN.principal


def test_keys_of_an_earlier_version_get_the_table_with_the_first_name(place: Place) -> None:
    place.keys().key_of(ANN)
    with place.keys()._opened.change() as connection:
        connection.execute(text("DROP TABLE content_people"))
    keys = place.keys()
    assert not keys.names_people()
    assert keys.entered(["person:0"]) == {}
    assert keys.pseudonyms(ANN.principal) == []
    keys.destroy(BOB, 7, "event-1")
    keys.rotate()
    assert lasting_person(keys, ANN).key == keys.key_of(ANN).id
    assert keys.names_people()


def test_no_name_is_added_for_a_key_that_was_destroyed_meanwhile(place: Place) -> None:
    running = place.keys()
    key = running.key_of(ANN)
    place.keys().destroy(ANN, 7, "event-1")
    assert not running.enter(key, [person_of(key, ANN)])
    assert rows_of(place, "content_people") == []


# -- what is written -----------------------------------------------------------------------------------------


async def test_events_hold_pseudonyms_and_who_has_the_keys_reads_names(
    place: Place, log_of: Callable[..., PersonalLog]
) -> None:
    log = log_of(place.keys)
    admitted = event(exchange="e1")
    await log.append(admitted)
    used = admitted.followed_by(EventKind.COMPLETED, usage=Usage(3, 4), usage_source="provider")
    await log.append(used, required=False)
    await log.append(event(exchange="e2", principal=BOB.principal))
    log.append_nowait(
        event(EventKind.CONNECTION_REFUSED, principal="", tenant="", source="", client="10.9.9.9")
    )
    log.append_nowait(
        event(EventKind.REFUSED, "e3", principal="anonymous", tenant="default", source="anonymous")
    )
    acted = event(EventKind.KILL_SWITCH, principal="root", source="operator", client="")
    log.append_nowait(acted)
    assert admitted.principal == ANN.principal, "limits and anomalies go by names"
    assert log.close()

    rows = stored(place)
    assert len(rows) == 6
    said = repr(rows)
    for word in (ANN.principal, BOB.principal, ADDRESS, "10.9.9.9"):
        assert word not in said
    by = {row["exchange"] or row["kind"]: row for row in rows}
    first, second = (row for row in rows if row["exchange"] == "e1")
    assert (first["principal"], first["client"]) == (second["principal"], second["client"])
    assert PSEUDONYM.fullmatch(first["principal"])
    assert first["client"].startswith(SEALED)
    assert by["e2"]["principal"] != first["principal"]
    assert by["e2"]["client"] != first["client"], "one address of two people looks like two"
    assert (
        by["connection_refused"]["principal"],
        bool(PSEUDONYM.fullmatch(by["connection_refused"]["client"])),
    ) == (
        None,
        True,
    )
    assert (by["e3"]["principal"], bool(PSEUDONYM.fullmatch(by["e3"]["client"]))) == ("anonymous", True)
    assert by["kill_switch"]["principal"] == "root"

    reading = readable(place)
    shown = {each.exchange or each.kind.value: (each.principal, each.client) for each in reading.events()}
    assert shown == {
        "e1": (ANN.principal, ADDRESS),
        "e2": (BOB.principal, ADDRESS),
        "e3": ("anonymous", ADDRESS),
        "connection_refused": ("", "10.9.9.9"),
        "kill_switch": ("root", ""),
    }
    now = datetime.now(UTC)
    assert len(reading.events(principal=ANN.principal)) == 2
    assert len(list(reading.between(now - timedelta(hours=1), now + timedelta(hours=1)))) == 6
    assert reading.spend([SpendDimension.PRINCIPAL])[0].by == {"principal": ANN.principal}
    booked = reading.booked(now - timedelta(hours=1), now + timedelta(hours=1))
    assert [(each.principal, each.client) for each in booked] == [(ANN.principal, ADDRESS)]
    reading.close()


async def test_an_event_that_goes_past_the_log_has_the_same_alias(
    place: Place, log_of: Callable[..., PersonalLog]
) -> None:
    away = Away(place.keys())
    log = log_of(away)
    passing = log.alias(event(exchange="e0"))
    away.is_away = False
    within(lambda: place.keys().pseudonyms(ANN.principal), "it is put away")
    assert passing.alias is not None
    assert set(place.keys().pseudonyms(ANN.principal)) > {passing.alias[0]}
    by_log = event(exchange="e1")
    await log.append(by_log)
    assert log.alias(event(exchange="e2")).alias == by_log.alias != passing.alias
    assert log_of(away, wanted=False).alias(event()).alias is None


async def test_a_log_that_named_people_before_is_read_as_one(
    place: Place, log_of: Callable[..., PersonalLog]
) -> None:
    ends = [event(EventKind.COMPLETED, f"e{n}", usage=Usage(1, 1), credential="key_1") for n in range(2)]
    await log_of(place.keys, wanted=False).append(ends[0])
    await log_of(place.keys).append(ends[1])
    assert [row["principal"] == ANN.principal for row in stored(place)] == [True, False]
    reading = readable(place)
    assert len(reading.events(principal=ANN.principal)) == 2
    (spent,) = reading.spend([SpendDimension.PRINCIPAL])
    assert (spent.by, spent.exchanges) == ({"principal": ANN.principal}, 2)
    assert [use.principals for use in reading.key_use()] == [(f"acme/{ANN.principal}",)]
    reading.close()


@pytest.mark.parametrize(
    "name",
    ["person:" + "0" * 32, "sealed:abc", "a\0b", "DOMAIN\\x41", "ü" * 300, "client:10.0.0.1"],
    ids=["pseudonym", "sealed", "nul", "backslash", "long", "client"],
)
async def test_whatever_somebody_is_called_is_sealed_and_comes_back(
    place: Place, log_of: Callable[..., PersonalLog], name: str
) -> None:
    made = event(exchange="e1", principal=name)
    await log_of(place.keys).append(made)
    assert PSEUDONYM.fullmatch(stored(place)[0]["principal"])
    assert stored(place)[0]["principal"] != name
    reading = readable(place)
    assert reading.events()[0].principal == made.principal
    reading.close()


async def test_what_was_left_open_is_closed_under_the_same_pseudonym(
    place: Place, log_of: Callable[..., PersonalLog]
) -> None:
    await log_of(place.keys).append(event(exchange="e1"))
    await log_of(place.keys).append(event(exchange="e2", principal=BOB.principal))
    place.keys().destroy(BOB, 7, "event-1")
    reading = readable(place)
    later = log_of(place.keys)
    for admitted in reading.open_exchanges("gw-1"):
        await later.append(interrupted(admitted), required=False)
    reading.close()
    rows = stored(place)
    assert len(rows) == 4
    assert len({(row["exchange"], row["principal"], row["client"]) for row in rows}) == 2
    assert rows_of(place, "content_people") != [], "ann's"
    assert len(rows_of(place, "content_people")) == 1, "nobody who was forgotten is known again by an end"


async def test_a_spool_holds_pseudonyms(
    place: Place, log_of: Callable[..., PersonalLog], tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", b"k" * 32, lambda: 1 << 20)

    class Sink:
        def write(self, batch: Any) -> None:
            spool.append(batch)

    await log_of(place.keys, sink=Sink()).append(event(exchange="e1"))
    written = b"".join(file.read_bytes() for file in (tmp_path / "spool").iterdir())
    assert b"e1" in written
    assert PREFIX.encode() in written
    assert ANN.principal.encode() not in written
    assert ADDRESS.encode() not in written
    (kept,) = spool.read(1, 0)
    assert PSEUDONYM.fullmatch(kept.principal)


# -- forgotten while a gateway runs ---------------------------------------------------------------------------


async def test_a_running_gateway_lets_go_of_who_is_forgotten_and_an_end_says_what_its_beginning_said(
    place: Place, log_of: Callable[..., PersonalLog]
) -> None:
    log = log_of(place.keys)
    before, other = event(exchange="e1"), event(exchange="e0", principal=BOB.principal)
    await log.append(before)
    await log.append(other)
    place.keys().destroy(ANN, time.time_ns() // 1000, "event-1")
    held = log._people.held  # type: ignore[attr-defined]
    within(lambda: held(ANN.tenant, ANN.principal, ADDRESS) is None, "the person is dropped")
    assert held(BOB.tenant, BOB.principal, ADDRESS) == other.alias
    await log.append(before.followed_by(EventKind.COMPLETED), required=False)
    after = event(exchange="e2")
    await log.append(after)
    one, end, new = (
        next(r for r in stored(place) if (r["exchange"], r["kind"]) == which)
        for which in (("e1", "admitted"), ("e1", "completed"), ("e2", "admitted"))
    )
    assert one["principal"] == end["principal"] != new["principal"]
    reading = readable(place)
    assert {e.exchange: e.principal for e in reading.events()}["e2"] == ANN.principal
    assert {e.exchange: e.principal for e in reading.events()}["e1"] == one["principal"]
    assert [e.exchange for e in reading.events(principal=ANN.principal)] == ["e2"]
    reading.close()


def test_who_is_known_is_in_memory_after_a_start_and_needs_no_look_for_another_address(place: Place) -> None:
    away = Away(place.keys())
    away.is_away = False
    first = Pseudonyms(away)
    written = first.find(ANN.tenant, ANN.principal, ADDRESS)
    first.find("", "client:10.9.9.9", "10.9.9.9")
    away.is_away = True
    passing = first.passing(BOB.tenant, BOB.principal, ADDRESS)
    away.is_away = False
    within(lambda: len(place.keys().pseudonyms(BOB.principal)) == 2, "the passing one is put away")
    lost = place.keys()
    lost.key_of(Subject("acme", "eve"))
    first.close()

    keys = Away(place.keys())
    keys.is_away = False
    again = Pseudonyms(keys)
    again.start()
    within(lambda: again.held(ANN.tenant, ANN.principal, ADDRESS), "it is loaded")
    within(lambda: again.held("", "client:10.9.9.9", "10.9.9.9"), "it is loaded")
    within(lambda: again.held(BOB.tenant, BOB.principal, ADDRESS), "it is loaded")
    keys.is_away = True
    assert again.held(ANN.tenant, ANN.principal, ADDRESS) == written
    elsewhere = again.held(ANN.tenant, ANN.principal, "10.0.0.77")
    assert elsewhere is not None
    assert (elsewhere[0] == written[0], elsewhere[1] == written[1]) == (True, False)
    by_bob = again.held(BOB.tenant, BOB.principal, ADDRESS)
    assert by_bob is not None
    assert by_bob[0] != passing[0], "a passing one is read, and written no more"
    assert again.held("acme", "eve", ADDRESS) is None
    assert again.held("other", ANN.principal, ADDRESS) is None
    keys.is_away = False
    place.keys().destroy(ANN, 7, "event-1")
    within(lambda: again.held(ANN.tenant, ANN.principal, ADDRESS) is None, "it is dropped")
    assert again.held(ANN.tenant, ANN.principal, "10.0.0.77") is None
    assert again.held(BOB.tenant, BOB.principal, ADDRESS) == by_bob
    again.close()


def test_who_is_forgotten_while_being_looked_up_is_not_held(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, real = place.keys(), lasting_person
    people = Pseudonyms(lambda: keys)

    def overtaken(*given: Any) -> Any:
        found = real(*given)
        place.keys().destroy(ANN, time.time_ns() // 1000, "event-1")
        people._drop_erased()
        return found

    monkeypatch.setattr(people_module, "lasting_person", overtaken)
    people.find(ANN.tenant, ANN.principal, ADDRESS)
    assert people.held(ANN.tenant, ANN.principal, ADDRESS) is None
    monkeypatch.setattr(people_module, "lasting_person", real)
    people.find(ANN.tenant, ANN.principal, ADDRESS)
    assert people.held(ANN.tenant, ANN.principal, ADDRESS) is not None
    people.close()


def test_who_reads_on_is_not_told_any_more_of_who_was_forgotten_since(place: Place) -> None:
    own = lasting_person(place.keys(), ANN)
    keys = place.keys()
    names = Names(lambda: keys)
    assert names.name(own.pseudonym) == ANN.principal
    place.keys().destroy(ANN, 7, "event-1")
    time.sleep(0.1)
    names.prepare([own.pseudonym])
    assert names.name(own.pseudonym) == ""


# -- keys away -----------------------------------------------------------------------------------------------


async def test_without_keys_who_is_known_goes_on_and_others_are_refused_where_the_log_is_required(
    place: Place, log_of: Callable[..., PersonalLog]
) -> None:
    away = Away(place.keys())
    away.is_away = False
    log = log_of(away)
    await log.append(event(exchange="e1"))
    away.is_away = True
    await log.append(event(exchange="e2"))
    with pytest.raises(AuditUnavailable, match="people"):
        await log.append(event(exchange="e3", principal=BOB.principal))
    await log.append(event(exchange="e4", principal=BOB.principal), required=False)
    away.is_away = False
    within(lambda: len(stored(place)) == 4, "all is written")
    within(lambda: place.keys().pseudonyms(BOB.principal), "the name is put away")
    assert BOB.principal not in repr(stored(place))
    reading = readable(place)
    shown = {(e.exchange, e.kind): (e.principal, e.detail) for e in reading.events()}
    reading.close()
    assert shown == {
        ("e1", EventKind.ADMITTED): (ANN.principal, ""),
        ("e2", EventKind.ADMITTED): (ANN.principal, ""),
        ("e3", EventKind.REFUSED): (BOB.principal, "audit_unavailable"),
        ("e4", EventKind.ADMITTED): (BOB.principal, ""),
    }


async def test_where_the_log_may_wait_on_a_disk_a_passing_pseudonym_does(
    place: Place, log_of: Callable[..., PersonalLog]
) -> None:
    away = Away(place.keys())
    log = log_of(away, may_pass=True)
    for number in range(3):
        await log.append(event(exchange=f"e{number}"))
    passing = {row["principal"] for row in stored(place)}
    assert len(passing) == 1
    away.is_away = False
    within(
        lambda: len(place.keys().pseudonyms(ANN.principal)) == 2, "the passing one is put away beside the own"
    )
    await log.append(event(exchange="e3"))
    assert len({row["principal"] for row in stored(place)}) == 2
    reading = readable(place)
    assert {e.principal for e in reading.events()} == {ANN.principal}
    assert {e.client for e in reading.events()} == {ADDRESS}
    assert len(reading.events(principal=ANN.principal)) == 4
    reading.close()
    place.keys().destroy(ANN, time.time_ns() // 1000, "event-1")
    reading = readable(place)
    assert not {e.principal for e in reading.events()} & {ANN.principal}
    assert rows_of(place, "content_people") == []
    reading.close()


async def test_a_look_that_takes_too_long_changes_nothing_that_was_written(
    place: Place, store: Store
) -> None:
    go, keys = threading.Event(), place.keys()

    class Slow(Pseudonyms):
        def find(self, *who: str) -> Any:
            go.wait(10)
            return super().find(*who)

    people = Slow(lambda: keys)
    log = PersonalLog(store, people, lambda: True, lambda: True, deadline_s=0.3)
    slow = event(exchange="e1")
    await log.append(slow)
    written = slow.alias
    go.set()
    within(lambda: people.held(ANN.tenant, ANN.principal, ADDRESS), "it came after all")
    assert people.held(ANN.tenant, ANN.principal, ADDRESS) != written == slow.alias
    assert log.close()
    people.close()


def test_who_was_forgotten_meanwhile_is_not_named_afterwards(place: Place) -> None:
    away = Away(place.keys())
    place.keys().key_of(ANN)
    people = Pseudonyms(away)
    with pytest.raises(KeysAway):
        people.find(*(ANN.tenant, ANN.principal, ADDRESS))
    written = people.passing(ANN.tenant, ANN.principal, ADDRESS)
    place.keys().destroy(ANN, time.time_ns() // 1000, "event-1")
    away.is_away = False
    within(lambda: not people._passing, "it is done with")
    people.close()
    assert place.keys().entered([written[0]]) == {}
    assert place.keys().pseudonyms(ANN.principal) == []


def test_a_passing_pseudonym_is_nobodys_until_it_is_put_away() -> None:
    one, other = passing_person(ANN), passing_person(ANN)
    assert PSEUDONYM.fullmatch(one.pseudonym)
    assert one.pseudonym != other.pseudonym
    with pytest.raises(InvalidTag):
        AESSIV(other.secret).decrypt(
            base64.urlsafe_b64decode(one.seal(ADDRESS).removeprefix(SEALED) + "=="),
            [b"sallyport event text 1"],
        )


async def test_a_loop_that_knows_everybody_waits_for_no_thread(
    place: Place, log_of: Callable[..., PersonalLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(place.keys)
    await log.append(event(exchange="e1"))

    def no_thread(*_: object) -> None:
        raise AssertionError("a thread was asked")

    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", no_thread)
    monkeypatch.setattr(log._late, "submit", no_thread)
    await log.append(event(exchange="e2"))
    log.append_nowait(event(EventKind.REFUSED, exchange="e3"))
    assert log.close()
    assert {row["exchange"] for row in stored(place)} == {"e1", "e2", "e3"}


def test_every_event_of_an_exchange_keeps_what_is_written() -> None:
    made = event(exchange="e1")
    object.__setattr__(made, "alias", ("person:1", "sealed:1"))
    for kind in END_KINDS:
        assert made.followed_by(kind).alias == ("person:1", "sealed:1")

"""What is kept is found, bound to its place, swept when its time is over, and lost rather than waited for."""

import threading
import time
from concurrent.futures import TimeoutError as Late
from dataclasses import replace
from pathlib import Path

import pytest

from sallyport.state import background
from sallyport.state.content.sealing import Damaged, Part, Text, normalised, seal, unseal
from sallyport.state.content.store import Asked, Counts, Sealed, content_address
from sallyport.state.content.subjects import Subject
from sallyport.state.content.writing import ContentWriter, Page, sweep
from state.content.conftest import Place

ANN = Subject("acme", "ann")
TEXTS = (Text("/messages/0/content", "user", "Ünïcode \ud83d and \x00"), Text("/a", "system", ""))
DAY_US = 86_400_000_000


def page(exchange: str, part: Part = Part.REQUEST, days: float = 1.0, kind: str = "ordinary") -> Page:
    return Page(exchange, part, ANN, TEXTS, frozenset({"a@b.example"}), kind, "original", days)


def keep(place: Place, *pages: Page) -> None:
    writer = ContentWriter(place.store(), place.keys())
    for each in pages:
        writer.kept(lambda each=each: (each,)).result(30)
    writer.close()


def test_what_is_kept_comes_back_and_a_second_time_changes_nothing(place: Place) -> None:
    keep(place, page("x1", Part.ANSWER), page("x1"), page("x1", kind="refused"), page("x2"))
    found = place.store().find("x1")
    assert [(each.part, each.kind) for each in found] == [
        (Part.REQUEST, "ordinary"),
        (Part.ANSWER, "ordinary"),
    ]
    key = place.keys().open(found[0].key)
    assert unseal(found[0].sealed, key, "x1", Part.REQUEST) == TEXTS
    assert place.store().begins("x") == ("x1", "x2")
    assert place.store().begins("x_") == ()
    assert place.store().having([key.token("a@b.example")]) == ("x1", "x2")


def test_nothing_can_be_moved_to_another_exchange_part_or_person(place: Place) -> None:
    keys = place.keys()
    key, other = keys.key_of(ANN), keys.key_of(Subject("acme", "bob"))
    sealed = seal(TEXTS, key, "x1", Part.REQUEST)
    assert unseal(sealed, key, "x1", Part.REQUEST) == TEXTS
    for moved in ((key, "x2", Part.REQUEST), (key, "x1", Part.ANSWER), (other, "x1", Part.REQUEST)):
        with pytest.raises(Damaged):
            unseal(sealed, *moved)
    for at in range(0, len(sealed), 5):
        with pytest.raises(Damaged):
            unseal(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], key, "x1", Part.REQUEST)
    assert seal(TEXTS, key, "x1", Part.REQUEST) != sealed


def test_each_class_goes_when_its_time_is_over(place: Place) -> None:
    keep(place, page("old", days=1), page("young", days=30, kind="refused"))
    store, now_us = place.store(), time.time_ns() // 1000
    assert store.sweep(now_us) == Counts()
    assert store.sweep(now_us + 2 * DAY_US) == Counts(1, 1)
    assert store.find("old") == ()
    assert store.find("young") != ()
    key = place.keys().key_of(ANN)
    assert store.having([key.token("a@b.example")]) == ("young",)


def test_where_nothing_was_kept_nothing_is_made(tmp_path: Path) -> None:
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    store = place.store()
    assert (store.find("x"), store.begins("x"), store.having([b"x"]), store.asked()) == ((), (), (), ())
    assert store.count(["k"]) == store.sweep(0, ["k"]) == store.remove(["k"]) == Counts()
    assert sweep(store, place.keys()) == 0
    assert list(tmp_path.iterdir()) == []


def test_requests_to_see_are_kept_with_their_reasons(place: Place) -> None:
    store = place.store()
    first = Asked("rv1", "x1", "ann", "why", 5)
    store.ask(first)
    store.ask(Asked("rv2", "x2", "bob", "because", 6))
    store.approve("rv1", "bob", "fine", 99)
    approved = replace(first, approved_by="bob", approved_reason="fine", until_us=99)
    assert store.asked(exchange="x1") == store.asked(id="rv1") == (approved,)
    assert [each.id for each in store.asked()] == ["rv2", "rv1"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann@Example.org", " ann@example.ORG\n"),
        ("1234 5678 9012 3456", "1234-5678-9012-3456"),
        ("+49 (89) 123-456", "4989123456"),
        ("DE44 5001 0517", "de4450010517"),
        ("ann＠example.org", "ann@example.org"),
    ],
)
def test_spellings_of_one_value_are_one(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_other_values_are_others() -> None:
    values = ["a-b@x.example", "ab@x.example", "4111", "4112", "...", "!!!"]
    assert len({normalised(value) for value in values}) == len(values)


def test_a_full_queue_costs_content_and_nobody_waits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ContentWriter(place.store(), place.keys())
    begun, hold = threading.Event(), threading.Event()

    def slow() -> tuple[Page, ...]:
        begun.set()
        hold.wait(60)
        return (page("slow"),)

    writer.put(slow)
    assert begun.wait(60)
    for number in range(background.QUEUED + 3):
        writer.put(lambda number=number: (page(f"q{number}"),))
    assert writer.lost == 3
    writer.kept(lambda: (page("first"),)).result(30)  # who waits is not behind them
    hold.set()
    writer.close(60)
    assert place.store().find("slow") != ()
    assert place.store().find("first") != ()


def test_where_too_many_wait_there_is_no_room_at_once(place: Place) -> None:
    writer = ContentWriter(place.store(), place.keys())
    begun, hold = threading.Event(), threading.Event()

    def slow() -> tuple[Page, ...]:
        begun.set()
        hold.wait(60)
        return ()

    writer.kept(slow)
    assert begun.wait(60)
    waiting = [writer.kept(lambda: ()) for _ in range(background.QUEUED)]
    with pytest.raises(Late):
        writer.kept(lambda: (page("no"),)).result(0)
    assert writer.lost == 1
    hold.set()
    writer.close(60)
    assert all(each.done() for each in waiting)
    assert place.store().find("no") == ()


def test_who_gives_up_waiting_costs_nobody_else(place: Place) -> None:
    writer = ContentWriter(place.store(), place.keys())
    begun, hold = threading.Event(), threading.Event()

    def slow() -> tuple[Page, ...]:
        begun.set()
        hold.wait(60)
        return (page("slow"),)

    writer.kept(slow)
    assert begun.wait(60)
    given_up = [writer.kept(lambda: (page("a"),)), writer.kept(lambda: 1 // 0)]  # type: ignore[arg-type, return-value]
    stays = writer.kept(lambda: (page("b"),))
    assert all(each.cancel() for each in given_up)
    hold.set()
    stays.result(30)
    writer.close()
    assert writer.lost == 1
    assert place.store().begins("b") == ("b",)


def test_what_cannot_be_made_is_told_without_its_words(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    writer = ContentWriter(place.store(), place.keys())

    def fails() -> tuple[Page, ...]:
        raise ValueError("quarrelsome marmalade")

    writer.put(fails)
    done = writer.kept(fails)
    with pytest.raises(RuntimeError, match="ValueError") as raised:
        done.result(30)
    writer.close()
    assert writer.lost == 2
    assert "marmalade" not in caplog.text + str(raised.value)


@pytest.mark.parametrize(
    ("store", "address"),
    [
        ("/a/audit.db", "sqlite:////a/content.db"),
        ("sqlite:////a/b.db?durability=normal", "sqlite:////a/content.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
    ],
)
def test_content_lies_beside_the_audit(store: str, address: str) -> None:
    assert content_address(store) == address


def test_no_representation_shows_a_text() -> None:
    kept = page("x")
    sealed = Sealed("x", Part.REQUEST, "k", "t", 0, 0, "k", "o", b"marmalade", frozenset({b"token"}))
    for each in (kept, sealed, TEXTS[0]):
        assert not any(word in repr(each) for word in ("Ünïcode", "a@b.example", "marmalade", "token"))

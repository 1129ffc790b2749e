"""The ends of the past, from which a gateway learns what is usual."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.audit.ids import first_id, new_id
from sallyport.audit.store import Store


def test_an_id_of_a_time_sorts_before_all_made_from_then_on() -> None:
    before, begun = new_id(), datetime.now(UTC) + timedelta(milliseconds=1)
    while datetime.now(UTC) < begun + timedelta(milliseconds=1):
        pass
    assert before < first_id(begun) < new_id()
    assert first_id(datetime.now(UTC) + timedelta(days=1)) > new_id()
    assert len(first_id(begun)) == len(before)


def test_ends_come_oldest_first_and_of_many_the_latest(url: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(url)
    made = [
        Event(kind=kind, gateway=f"gw-{number % 2}", exchange=f"x{number}-{kind}")
        for number in range(5)
        for kind in EventKind
    ]
    store.write(made)
    ends = [event for event in made if event.kind in END_KINDS]
    ago = datetime.now(UTC) - timedelta(hours=1)
    assert store.ended(ago, 100) == ends
    assert store.ended(ago, 4) == ends[-4:]
    assert store.ended(datetime.now(UTC) + timedelta(hours=1), 100) == []

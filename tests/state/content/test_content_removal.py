"""Much that goes at once goes in parts, and addresses are told from each other by their dots."""

import time

import pytest
from sqlalchemy import event

from sallyport.state.content import store as store_module
from sallyport.state.content.sealing import Part, normalised
from sallyport.state.content.store import ContentStore, Counts, Sealed
from state.content.conftest import Place


def fill(store: ContentStore, until_us: int) -> None:
    for n in range(5):
        for part in Part:
            tokens = frozenset({bytes([n, i]) for i in range(3)})
            store.put(
                [Sealed(f"x{n}", part, f"k{n % 2}", "acme", 1, until_us, "ordinary", "masked", b"s", tokens)]
            )


@pytest.mark.parametrize("ends", [False, True], ids=["forgotten", "over"])
def test_others_can_write_while_much_is_removed(
    place: Place, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(store_module, "_ASKED_AT_ONCE", 2)
    now_us = time.time_ns() // 1000
    store, other = place.store(), place.store()
    fill(store, now_us if ends else now_us * 2)
    left: list[int] = []

    def committed(_: object) -> None:
        left.append(other.count(["k0", "k1"]).records)

    event.listen(store._opened._at.writer, "commit", committed)
    gone = store.sweep(now_us) if ends else store.remove(["k0", "k1"])
    assert gone == Counts(10, 15)
    assert other.count(["k0", "k1"]) == Counts()
    assert len(set(left)) > 2, "it goes in parts"


def test_what_is_not_to_go_stays(place: Place) -> None:
    store = place.store()
    fill(store, 10)
    assert store.remove(["k1"]) == Counts(4, 6)
    assert store.count(["k0"]) == Counts(6, 9)
    assert store.sweep(9) == Counts()
    assert store.sweep(10) == Counts(6, 9)


@pytest.mark.parametrize(
    ("one", "other"), [("10.1.2.3", "101.2.3.0"), ("1.11.1.1", "11.1.1.1"), ("1.1.11.1", "1.1.1.11")]
)
def test_addresses_with_the_same_digits_are_others(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)
    assert normalised(f" {one}\n") == normalised(one)

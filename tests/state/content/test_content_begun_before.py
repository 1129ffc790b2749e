"""What somebody said before being forgotten is not kept under the next key, however late it is written."""

import threading
import time
from pathlib import Path

import pytest

from sallyport.state.captures import CaptureFile, CaptureWriter
from sallyport.state.content import keys as keys_module
from sallyport.state.content.keys import subject_keys_of
from sallyport.state.content.sealing import Part, Text
from sallyport.state.content.subjects import Forgotten, Subject
from sallyport.state.content.writing import ContentWriter, Page
from state.content.conftest import Place

ANN, BOB = Subject("acme", "ann"), Subject("acme", "bob")


def test_the_next_key_is_for_what_is_said_afterwards(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", 0.0)
    gateway = place.keys()
    first = gateway.key_of(ANN, 5)
    gateway.key_of(BOB, 5)
    place.keys().destroy(ANN, 7, "event-1")
    for keys in (gateway, place.keys(), gateway):
        for began_us in (5, 7):
            with pytest.raises(Forgotten):
                keys.key_of(ANN, began_us)
        assert keys.key_of(ANN, 8).id != first.id
        assert keys.key_of(BOB, 5)
    place.keys().destroy(ANN, 9, "event-2")
    with pytest.raises(Forgotten):
        gateway.key_of(ANN, 8)


def page(exchange: str, who: Subject, began_us: int) -> Page:
    texts = (Text("/a", "user", "x"),)
    return Page(
        *(exchange, Part.REQUEST, who, texts, frozenset({"v"}), "ordinary", "original", 1.0),
        began_us=began_us,
    )


def test_what_waits_to_be_written_goes_with_its_person(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", 0.0)
    keys = place.keys()
    keys.key_of(ANN, 4)
    writer = ContentWriter(place.store(), keys)
    begun, hold = threading.Event(), threading.Event()

    def slow() -> tuple[Page, ...]:
        begun.set()
        hold.wait(60)
        return ()

    writer.put(slow)
    assert begun.wait(60)
    writer.put(lambda: (page("before", ANN, 5),))
    writer.put(lambda: (page("bob's", BOB, 5),))
    place.keys().destroy(ANN, 7, "event-1")
    writer.put(lambda: (page("after", ANN, 8),))
    hold.set()
    writer.close(60)
    assert place.store().find("before") == ()
    assert place.store().find("bob's") != ()
    assert place.store().find("after") != ()
    assert writer.lost == 1


def test_of_a_capture_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", 0.0)
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    masters = place.masters()
    masters.make()
    now_us = time.time_ns() // 1000
    subject_keys_of(masters).key_of(ANN)
    place.keys().destroy(ANN, now_us, "event-1")
    captures = CaptureWriter(tmp_path / "captures", "gw", masters)
    for flow, began_us in ((b"before", now_us - 1), (b"after", now_us + 1)):
        captures.put(lambda flow=flow: flow, 0, ANN, began_us)
    captures.close()
    (path,) = (tmp_path / "captures").glob("*.flows")
    assert [flow for _, flow in CaptureFile(path, masters).records()] == [b"after"]
    assert captures.lost == 1

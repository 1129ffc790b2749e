"""What one connection holds of what is kept has a bound, and what is kept of an answer has no hole."""

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.outflows import exchange_of
from sallyport.decision import Verdict
from sallyport.proxy import websocket_keeping
from sallyport.proxy.noted import Noted
from sallyport.proxy.passage import Passage
from sallyport.proxy.recorded import Kept, Over
from sallyport.proxy.websocket_keeping import Keeping
from sallyport.wire.dialects import DIALECTS

DIALECT = DIALECTS["openai_realtime"]


def passage(number: int = 0) -> Passage:
    exchange = exchange_of(DIALECT)
    made = Passage(f"x{number}", None, 0, "h", None, None, DIALECT, exchange)  # type: ignore[arg-type]
    made.verdict, made.over = Verdict(()), Over(None, 0)
    return made


class Contents:
    """Notes everything that begins, and what was handed on in the end."""

    def __init__(self) -> None:
        self.kept: dict[str, list[bytes]] = {}

    def begin(self, passage: Passage, search: Any) -> None:
        passage.noted = Noted(search)

    def end_event(self, passage: Passage) -> None:
        assert passage.noted is not None
        self.kept[passage.id] = list(passage.noted.pieces)


class Captures:
    """Captures originals."""

    def __init__(self) -> None:
        self.kept: dict[str, list[bytes]] = {}

    def begin_event(self, passage: Passage, event: bytes, search: Any) -> None:
        passage.kept = Kept(True, "", "", (), event, search, socket=True)

    def end_event(self, passage: Passage) -> None:
        if passage.kept is not None:
            self.kept[passage.id] = list(passage.kept.pieces)


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_keeping, "MAX_HELD_BYTES", 100)
    monkeypatch.setattr(websocket_keeping, "MAX_LOOSE_BYTES", 20)


def keeping() -> tuple[Any, Contents, Captures, Passage]:
    contents, captures, session = Contents(), Captures(), passage(99)
    session.id = "session"
    kept = Keeping(contents, captures, session)  # type: ignore[arg-type]
    kept.open()
    return kept, contents, captures, session


@pytest.mark.usefixtures("bounds")
def test_one_budget_holds_for_all_answers_of_a_connection_and_comes_back() -> None:
    kept, contents, _, _ = keeping()
    first, second = passage(1), passage(2)
    for each in (first, second):
        kept.begin(each, b"", tuple)
    kept.said(first, [b"a" * 60])
    kept.said(second, [b"b" * 30, b"c" * 30, b"d"])
    kept.end(second)
    assert contents.kept == {"x2": [b"b" * 30]}, "its beginning, with no hole"
    third = passage(3)
    kept.begin(third, b"", tuple)
    kept.said(third, [b"e" * 40])
    kept.end(third)
    kept.end(first)
    assert contents.kept["x3"] == [b"e" * 40]
    assert contents.kept["x1"] == [b"a" * 60]


@pytest.mark.usefixtures("bounds")
def test_an_event_that_does_not_fit_is_not_captured_and_its_answer_neither() -> None:
    kept, _, captures, _ = keeping()
    large, small = passage(1), passage(2)
    kept.begin(large, b"x" * 101, tuple)
    kept.heard(large, b"answer")
    kept.begin(small, b"x" * 90, tuple)
    kept.heard(small, b"y" * 10)
    kept.heard(small, b"z")
    kept.end(large)
    kept.end(small)
    assert captures.kept == {"x2": [b"y" * 10]}


@pytest.mark.usefixtures("bounds")
def test_what_belongs_to_no_answer_has_a_small_bound_of_its_own() -> None:
    kept, contents, _, session = keeping()
    kept.said(None, [b"l" * 20, b"m"])
    asked = passage(1)
    kept.begin(asked, b"", tuple)
    kept.said(asked, [b"a" * 80])
    kept.end(asked)
    kept.end(session)
    assert contents.kept == {"x1": [b"a" * 80], "session": [b"l" * 20]}


def test_a_session_that_says_nothing_beside_its_answers_keeps_nothing_of_itself() -> None:
    kept, contents, _, session = keeping()
    kept.end(session)
    assert contents.kept == {}


def test_what_never_became_an_exchange_is_forgotten() -> None:
    kept, contents, captures, _ = keeping()
    dropped = passage(1)
    dropped.over = None
    kept.begin(dropped, b"event", tuple)
    kept.end(dropped)
    assert (contents.kept, captures.kept, dropped.noted, dropped.kept) == ({}, {}, None, None)


def test_the_real_credential_is_taken_out_before_anything_is_held() -> None:
    kept, contents, captures, session = keeping()
    clean = SimpleNamespace(
        whole=lambda data: data.replace(b"REAL", b"****"), error=lambda data: data.replace(b"RE", b"**")
    )
    session.cleaner = clean  # type: ignore[assignment]
    asked = passage(1)
    kept.begin(asked, b"event", tuple)
    kept.heard(asked, b"key REAL")
    kept.said(asked, [b"key REAL"])
    kept.said(asked, [b"key REA"], error=True)
    kept.end(asked)
    assert captures.kept == {"x1": [b"key ****"]}
    assert contents.kept == {"x1": [b"key ****", b"key **A"]}

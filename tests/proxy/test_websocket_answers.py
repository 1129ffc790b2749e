"""The provider's side of a session: what is held comes out once, what is found is told, and memory has a bound."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.outflows import exchange_of, output_filter
from proxy.test_divided_values import JOAN, PLACEHOLDER, SCOPE
from sallyport.decision import Refusal
from sallyport.exchange import Surface
from sallyport.proxy import websocket_answers
from sallyport.proxy.passage import Passage
from sallyport.proxy.stream import Step
from sallyport.proxy.tap import AnswerTap
from sallyport.proxy.websocket_answers import MAX_TURNS, Answers, Turn
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.jsontext import parse_object
from sallyport.wire.sockets import MANNERS, Told

type Event = dict[str, Any]

DIALECT = DIALECTS["openai_realtime"]
FINDING = "Write to marta.quill@example.com today."


class HoldingTap:
    """Holds what it is fed until its end, and shows it to the filter of its passage."""

    failed = ended_early = None

    def __init__(self, passage: Passage) -> None:
        passage.output = self._output = output_filter("pii: mask", DIALECT)
        self._held: list[bytes] = []

    def feed(self, data: bytes) -> Step:
        self._output.whole("/text", Surface.ASSISTANT, data.decode())
        self._held.append(data)
        return Step([])

    def end(self) -> Step:
        held, self._held = self._held, []
        return Step(held)


def passage() -> Passage:
    exchange = exchange_of(DIALECT)
    return Passage(exchange.id, None, 0, "h", None, None, DIALECT, exchange)  # type: ignore[arg-type]


def answers() -> Answers:
    gateway: Any = SimpleNamespace(scope=lambda _: SimpleNamespace(empty=True))
    return Answers(gateway, passage(), HoldingTap)  # type: ignore[arg-type]


def begun(known: Answers, lane: str = "", response: str = "r") -> Passage:
    turn = Turn(passage(), lane)
    known.expect(turn)
    known.begin(Told(lane, response, begins=True))
    return turn.passage


def loose(known: Answers, text: str, lane: str = "") -> None:
    known.tap_for(Told(lane, alone=True), None).feed(text.encode())


def found(of: Passage) -> int:
    decision = of.output.decision() if of.output is not None else None
    return len(decision.findings) if decision is not None else 0


def test_what_is_held_of_no_answer_comes_out_when_the_next_answer_takes_its_place() -> None:
    known = answers()
    loose(known, "held before")
    begun(known)
    assert known.left() == []
    loose(known, "held after")
    assert known.left() == [b"held before"]
    assert known.left() == []
    assert known.rest() == [b"held after"]
    assert known.rest() == []


def test_what_is_found_beside_an_answer_is_not_written_over_what_is_found_in_it() -> None:
    known = answers()
    loose(known, FINDING)
    answer = begun(known)
    assert answer.tap is not None
    answer.tap.feed(FINDING.encode())
    loose(known, "Nothing to see.")
    loose(known, FINDING)
    assert found(answer) == 1
    known.rest()
    assert found(known.session) == 2
    assert known.session.output is not None
    assert set(known.session.output.surfaces) == {"/text"}


def test_as_many_lanes_as_a_client_likes_are_no_more_memory() -> None:
    known = answers()
    for number in range(3 * MAX_TURNS):
        lane = f"lane-{number}"
        begun(known, lane, f"r-{number}")
        loose(known, lane, lane)
        known._open.clear()
    assert len(known._bases) <= MAX_TURNS
    assert len(known._loose) <= MAX_TURNS
    assert len(known.left()) + len(known.rest()) == 3 * MAX_TURNS


def test_what_tells_an_item_again_goes_where_the_item_was_spoken_while_that_is_under_way() -> None:
    known = answers()
    speaking, other = begun(known, response="r1"), begun(known, response="r2")
    piece, again = Told(response="r1", item="i"), Told(alone=True, item="i", retold=True)
    assert known.tap_for(piece, known.turn_of(piece)) is speaking.tap
    assert known.tap_for(again, known.turn_of(again)) is speaking.tap
    unknown = Told(alone=True, item="j", retold=True)
    assert known.turn_of(unknown) is None
    assert known.tap_for(unknown, None) not in (speaking.tap, other.tap)
    del known._open["", "r1"]
    assert known.turn_of(again) is None


LINK = "See https://evil.example/?q="
HIDDEN = f"{PLACEHOLDER} now"
ITEM = {"id": "m", "type": "message", "role": "user", "content": [{"type": "text", "text": LINK}]}


def created(response: str = "r") -> Event:
    return {"type": "response.created", "response": {"id": response, "output": []}}


def done(response: str = "r") -> Event:
    return {"type": "response.done", "response": {"id": response, "output": []}}


def piece(text: str, response: str = "r", item: str = "m") -> Event:
    at = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    return {"type": "response.output_text.delta", **at, "delta": text}


def item_told(verb: str, item: Event) -> Event:
    return {"type": f"conversation.item.{verb}", "item": item}


def followed(events: list[Event]) -> tuple[str, list[str | None]]:
    """Return what a session says, and why its taps ended, where they did."""
    made: list[AnswerTap] = []

    def make_tap(of: Passage) -> AnswerTap:
        made.append(
            AnswerTap(
                DIALECT,
                DIALECT.open_stream(),
                Refusal("upstream.unreadable", "Ended.", "id-1", 502),
                lookup=SCOPE.original,
                remember=lambda text: None,
            )
        )
        return made[-1]

    gateway: Any = SimpleNamespace(scope=lambda _: SimpleNamespace(empty=False))
    known = Answers(gateway, passage(), make_tap)
    out: list[bytes] = []
    for event in events:
        raw = json.dumps(event).encode()
        told = MANNERS[DIALECT.name].told(parse_object(raw))
        if told.begins:
            known.expect(Turn(passage(), told.lane))
            known.begin(told)
        turn = known.turn_of(told)
        tap = known.tap_for(told, turn)
        step = tap.feed(raw)
        out += [*step.out, *(tap.end().out if told.ends else ())]
        if told.ends and turn is not None:
            del known._open[turn.lane, turn.response]
    return b"\n".join(out).decode(), [tap.failed for tap in made if tap.failed]


@pytest.mark.parametrize(
    "events",
    [
        [created(), piece(LINK), piece(HIDDEN, "another"), done()],
        [created(), piece(LINK), piece(HIDDEN, "long" * 50), done()],
        [created(), created("q"), piece(LINK), piece(HIDDEN, "q"), done(), done("q")],
        [created(), piece(LINK), done(), piece(HIDDEN)],
        [created(), piece(LINK), created("q"), piece("", "q"), piece(HIDDEN, "q"), done("q"), done()],
        [created(), item_told("created", ITEM), piece(HIDDEN), done()],
        [item_told("created", ITEM), created(), piece(HIDDEN), done()],
        [piece(LINK, "x"), piece(HIDDEN, "y")],
        [piece(LINK, "x"), created(), piece(HIDDEN, "x"), done()],
    ],
    ids=[
        *(
            "no answer",
            "a long name",
            "another answer",
            "an end between",
            "nothing said between",
        ),
        *("told in it", "told before it", "two of no answer", "an answer between"),
    ],
)
def test_nobody_goes_on_with_an_item_whose_beginning_went_elsewhere(events: list[Event]) -> None:
    out, failed = followed(events)
    assert LINK in out
    assert failed == ["wire.stream.order"]
    assert JOAN not in out


def test_an_answer_may_number_its_items_as_the_one_before_did() -> None:
    out, failed = followed(
        [created(), piece("Ask "), done(), created("q"), piece(HIDDEN, "q"), done("q")],
    )
    assert failed == []
    assert JOAN in out


def test_what_is_said_of_an_item_in_its_own_answer_goes_on() -> None:
    empty = {**ITEM, "role": "assistant", "content": []}
    added = {"type": "response.output_item.added", "response_id": "r", "output_index": 0, "item": empty}
    spoken = [added, item_told("added", empty), piece("Ask "), piece(HIDDEN)]
    said = {**ITEM, "role": "assistant", "content": [{"type": "text", "text": f"Ask {HIDDEN}"}]}
    again = [item_told("done", said), done(), item_told("retrieved", said)]
    mine = item_told("added", {**ITEM, "id": "u"})
    events = [mine, created(), *spoken, *again, created("q"), mine, piece(HIDDEN, "q", "n"), done("q")]
    out, failed = followed(events)
    assert failed == []
    assert out.count(JOAN) == 4
    assert PLACEHOLDER not in out


def test_no_more_items_than_are_kept_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_answers, "MAX_ITEMS", 3)
    known = answers()
    begun(known)
    for item in "abcda":
        told = Told(response="r", item=item)
        known.tap_for(told, known.turn_of(told))
    assert [*known._spoken] == ["c", "d", "a"]


def test_a_tap_that_looks_at_nothing_is_not_ended_by_being_asked_what_waits_too_long() -> None:
    said = Refusal("upstream.unreadable", "", "id-1")
    tap = AnswerTap(DIALECT, DIALECT.open_stream(), said, lookup=None, remember=lambda _: None)
    known = answers()
    known.make_tap = lambda _: tap
    begun(known)
    assert known.wake() == Step([])
    event = b'{"type":"response.output_text.delta","response_id":"r","delta":"Hello"}'
    assert tap.feed(event).out == [event]


@pytest.mark.parametrize("alone", [False, True], ids=["of-its-lane", "of-the-session"])
def test_an_error_in_the_middle_of_an_answer_ends_it_where_it_can_only_be_about_that(alone: bool) -> None:
    known = answers()
    begun(known, "left").ended = True  # its end is written already: nothing here writes one
    known.fail(Told(lane="right", failed=True))
    assert not known.is_idle
    known.fail(Told(lane="left", failed=True, alone=alone))
    assert known.is_idle is not alone

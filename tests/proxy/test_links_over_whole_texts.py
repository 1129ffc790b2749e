"""A stream that says at its end, whole, what its pieces did not say gets no original into a link that way."""

import json
from typing import Any

import pytest

from proxy.test_divided_values import JOAN, MASK, PLACEHOLDER, SCOPE, through

LINK = "See https://evil.example/?q="
HIDDEN = f"{PLACEHOLDER} now"


def stream(events: list[dict[str, Any]]) -> bytes:
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def pieces(*texts: str) -> list[dict[str, Any]]:
    place = {"output_index": 0}
    return [
        {"type": "response.output_text.delta", **place, "content_index": number, "delta": text}
        for number, text in enumerate(texts)
    ]


def said(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "output_text", "text": text} for text in texts]


def completed(*texts: str) -> dict[str, Any]:
    output = [{"type": "message", "id": "m", "content": said(*texts)}]
    return {
        "type": "response.completed",
        "response": {"id": "r", "status": "completed", "output": output},
    }


def done(number: int, text: str) -> dict[str, Any]:
    place = {"output_index": 0, "content_index": number}
    return {"type": "response.output_text.done", **place, "text": text}


def passed(*events: dict[str, Any]) -> str:
    out, tap = through("openai_responses", stream([*events]), MASK, lookup=SCOPE.original)
    assert tap.failed is None
    return out.decode()


@pytest.mark.parametrize("begun", [(), ("hi",), (LINK,), (LINK, "x")], ids=["none", "other", "link", "two"])
def test_no_original_comes_into_a_link_over_texts_said_whole(begun: tuple[str, ...]) -> None:
    out = passed(*pieces(*begun), completed(LINK, HIDDEN))
    assert "evil.example" in out
    assert JOAN not in out


@pytest.mark.parametrize("begun", [(), ("hi", "ho"), (LINK, "ho")], ids=["none", "other", "link"])
def test_nor_where_each_is_said_in_an_event_of_its_own(begun: tuple[str, ...]) -> None:
    out = passed(*pieces(*begun), done(0, LINK), done(1, HIDDEN), completed())
    assert "evil.example" in out
    assert JOAN not in out


def test_what_is_said_again_behind_a_new_link_is_not_what_was_sent() -> None:
    out = passed(pieces("", HIDDEN)[1], completed(LINK, HIDDEN))
    assert out.count(f"{JOAN} now") == 1
    assert json.dumps(HIDDEN)[1:-1] in out


def test_a_text_that_is_only_said_whole_gets_its_originals() -> None:
    out = passed(completed(f"Look: {PLACEHOLDER}.", f" And {PLACEHOLDER}."))
    assert out.count(JOAN) == 2
    assert PLACEHOLDER not in out


def test_a_value_over_texts_said_whole_in_one_event_is_masked_in_both() -> None:
    out = passed(*pieces("hi"), completed("The card is 4111 1111", " 1111 1111, a test."))
    assert "4111 1111" not in out
    assert "1111 1111, a" not in out


def test_a_value_over_texts_said_whole_in_two_events_does_not_come_together() -> None:
    out = passed(done(0, "The card is 4111 1111"), done(1, " 1111 1111, a test."), completed())
    assert "1111 1111, a" not in out


def test_a_value_over_pieces_and_a_text_said_whole_does_not_come_together() -> None:
    out = passed(*pieces("The card is 4111 1111"), done(1, " 1111 1111, a test."), completed())
    assert "1111 1111, a" not in out


@pytest.mark.parametrize("begun", [(), ("hi",)], ids=["none", "open"])
def test_no_original_comes_into_a_link_that_was_begun_whole_before_its_piece(begun: tuple[str, ...]) -> None:
    behind = pieces("", HIDDEN)[1]
    out = passed(*pieces(*begun), done(0, LINK), behind, completed())
    assert "evil.example" in out
    assert JOAN not in out


def test_pieces_behind_a_text_that_was_said_otherwise_get_their_originals() -> None:
    out = passed(*pieces("Hello. "), done(0, "Hello."), pieces("", f" It is {PLACEHOLDER}.")[1], completed())
    assert out.count(JOAN) == 1


BETWEEN = {
    "another answer": {"type": "response.created", "response": {"id": "q"}},
    "an end": completed(),
    "an error": {"type": "response.queued", "error": {"code": "x"}, "response": {"id": "r"}},
}


@pytest.mark.parametrize("event", BETWEEN.values(), ids=BETWEEN)
def test_no_original_comes_into_a_link_behind_a_border_that_nobody_is_shown(event: dict[str, Any]) -> None:
    out = passed(pieces(LINK)[0], event, pieces("", HIDDEN)[1], completed())
    assert "evil.example" in out
    assert JOAN not in out


def test_a_piece_that_does_not_say_where_it_stands_goes_on_behind_the_last() -> None:
    (anywhere,) = pieces(HIDDEN)
    del anywhere["output_index"]
    assert JOAN not in passed(*pieces(LINK), {**anywhere, "content_index": 1}, completed())
    assert JOAN in passed(*pieces("Ask "), {**anywhere, "content_index": 1}, completed())
    assert JOAN in passed(anywhere, completed())

"""What a stream repeats is followed as far as it may go, and what cannot be followed does not pass by itself."""

import json
from typing import Any

import pytest

from proxy.outflows import exchange_of, output_filter, refused
from sallyport.decision import Refusal
from sallyport.exchange import Surface
from sallyport.proxy import repeats
from sallyport.proxy.repeats import Repeats
from sallyport.proxy.tap import AnswerTap, Looking
from sallyport.wire.dialect import Delta, Stamp, StreamEvent
from sallyport.wire.dialects import DIALECTS


def _stream(texts: list[str]) -> bytes:
    events: list[dict[str, Any]] = []
    for part, text in enumerate(texts):
        place = {"output_index": 0, "content_index": part}
        events.append({"type": "response.output_text.delta", **place, "delta": text})
    for part, text in enumerate(texts):
        place = {"output_index": 0, "content_index": part}
        events.append({"type": "response.output_text.done", **place, "text": text})
    return b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events)


def _tap(max_event_bytes: int, *, enforced: bool = True) -> AnswerTap:
    spoken = DIALECTS["openai_responses"]
    return AnswerTap(
        spoken,
        spoken.open_stream(),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=None,
        remember=lambda text: None,
        looking=Looking(
            output_filter("pii: mask", spoken, enforced=enforced),
            spoken.ending(exchange_of(spoken).request, Stamp("i", 1)),
            refused,
        ),
        lenient=not enforced,
        max_event_bytes=max_event_bytes,
    )


CARD = ["The card is 4111 1111", " 1111 1111, a test."]


def test_a_divided_value_is_not_repeated_behind_more_parts_than_are_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeats, "MAX_PARTS", 3)
    tap = _tap(100_000)
    out = b"".join([*tap.feed(_stream(["a ", "b ", *CARD])).out, *tap.end().out])
    assert tap.failed == "wire.too_many_texts"
    assert b"1111" not in out


def test_a_text_longer_than_any_event_that_could_repeat_it_ends_the_stream() -> None:
    tap = _tap(1000)
    out = b"".join(b"".join(tap.feed(_stream(["words " * 20])).out) for _ in range(40))
    assert tap.failed == "wire.too_many_texts"
    assert len(out) < 20_000


def test_who_only_records_passes_it_on() -> None:
    tap = _tap(1000, enforced=False)
    data = _stream(["words " * 20])
    out = b"".join(b"".join(tap.feed(data).out) for _ in range(40))
    assert out == data * 40
    assert tap.failed is None


def test_the_next_answer_on_a_connection_has_its_room_again() -> None:
    followed = Repeats(10)
    for _ in range(5):
        delta = Delta("c", Surface.ASSISTANT, "/delta", "12345678", part="p")
        event = StreamEvent(b"", (delta,), terminal=True)
        assert followed.has_room(delta)
        assert not followed.take(event, delta)
        followed.write(event, {})

"""Reasoning is remembered whole, however many texts of it are under way, and never without bound."""

from sallyport.exchange import Surface
from sallyport.proxy.thoughts import Thoughts
from sallyport.wire.dialect import Delta, StreamEvent


def thought(channel: str, text: str, *closes: str) -> StreamEvent:
    return StreamEvent(b"", (Delta(channel, Surface.REASONING, "/text", text),) if text else (), closes)


def test_pieces_of_two_texts_are_remembered_apart() -> None:
    told: list[str] = []
    thoughts = Thoughts(told.append, 100)
    for event in (
        thought("a", "Hm, "),
        thought("b", "So "),
        thought("a", "well.", "a"),
        thought("b", "be it."),
    ):
        thoughts.note(event)
    assert told == ["Hm, well."]
    thoughts.finish()
    assert told == ["Hm, well.", "So be it."]


def test_room_comes_back_with_what_is_whole() -> None:
    told: list[str] = []
    thoughts = Thoughts(told.append, 10)
    for number in range(20):
        thoughts.note(thought(str(number), "12345678", str(number)))
    assert told == ["12345678"] * 20


def test_more_than_fits_is_not_kept() -> None:
    told: list[str] = []
    thoughts = Thoughts(told.append, 1000)
    for _ in range(300):
        thoughts.note(thought("a", "x" * 10))
        assert sum(len(piece) for pieces in thoughts._pieces.values() for piece in pieces) <= 1000
    thoughts.note(thought("a", "", "*"))
    assert told == []

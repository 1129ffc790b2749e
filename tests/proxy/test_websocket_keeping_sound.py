"""Sound takes no room from the texts that are kept: nobody keeps it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sallyport.proxy.gateway import Live
from sallyport.proxy.passage import Passage
from sallyport.proxy.stream import Step
from sallyport.proxy.websocket_answers import Turn
from sallyport.proxy.websocket_session import Session
from sallyport.wire.sockets import Told

SOUND = b'{"type":"response.output_audio.delta","response_id":"r","delta":"AAAA"}'
TEXT = b'{"type":"response.output_audio_transcript.delta","response_id":"r","delta":"Hello"}'


class Keeping:
    """Notes what is to be held, whose it is and whether it is an error."""

    def __init__(self) -> None:
        self.held: list[bytes] = []

    def heard(self, passage: Passage, event: bytes) -> None:
        self.held.append(event)

    def said(self, passage: Passage | None, events: list[bytes], *, error: bool = False) -> None:
        self.held += events


@pytest.mark.parametrize("of_an_answer", [True, False], ids=["answer", "loose"])
def test_a_piece_of_sound_goes_on_and_is_not_held_and_what_waited_before_it_is(of_an_answer: bool) -> None:
    passage = cast(Passage, SimpleNamespace(cleaner=None))
    turn = Turn(passage, "") if of_an_answer else None
    tap = SimpleNamespace(feed=lambda event: Step([TEXT, event]), ended_early=None)
    session: Any = object.__new__(Session)
    session.passage, session._keeping = passage, Keeping()
    session._sound_bytes = session._loose_bytes = 0
    session._answers = SimpleNamespace(turn_of=lambda _: turn, tap_for=lambda *_: tap, left=list)
    rules = SimpleNamespace(websocket=SimpleNamespace(audio="allow"), only_observes=False)
    live = cast(Live, SimpleNamespace(policy=rules))
    outcome = session._tapped(live, Told(response="r", sound=True), SOUND)
    assert (outcome.onward, session._sound_bytes) == ([TEXT, SOUND], len(SOUND))
    assert session._keeping.held == [TEXT]

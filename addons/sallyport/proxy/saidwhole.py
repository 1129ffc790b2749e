"""Texts of a stream that come whole and repeat no pieces: clients may show them joined, as those of a buffered answer.

An honest provider says at the end what it said in pieces. One that says something else could begin a link or a value in
one text and go on in the next; so each is looked at by itself and behind all that the answer has said.
"""

from sallyport.exchange import Segment, Surface
from sallyport.proxy.editing import at_borders
from sallyport.proxy.flowing import FlowingText, Lookup, is_json_source, whole
from sallyport.proxy.repeats import Repeats
from sallyport.stages.channel import Stop
from sallyport.stages.output import OutputFilter
from sallyport.stages.restoring import Context, restore_parts
from sallyport.wire.dialect import Delta, StreamEvent

_TAIL_CHARS = 1024
"""Characters of what the answer has said before in which a match may begin."""

_QUOTED = (Surface.USER, Surface.SYSTEM)

_TEXTS = ("/text", "/transcript")
"""Ends of pointers to the texts of parts; other members tell about them."""


class SaidWhole:
    """The whole texts of one stream, event by event. repeats: knows which of them say a second time what pieces said.

    No original goes into a link that one of them began, whether it would come in another or in a piece behind it.
    """

    def __init__(self, output: OutputFilter | None, lookup: Lookup | None, repeats: Repeats) -> None:
        self._output = output
        self._lookup = lookup
        self._repeats = repeats
        self._behind: Context | None = None
        self._quoted = Context()  # parts of what others wrote, which one event tells
        self._tail = ""
        self._again: set[str] = set()
        self._given: dict[str, str] = {}
        self._ends: dict[str, Stop] = {}

    def begin(self, event: StreamEvent) -> None:
        """Look at the texts of an event together, before each is asked for."""
        texts = [delta for delta in event.deltas if delta.whole]
        if not texts and not self._again:
            return
        self._again, self._given, self._ends = set(), {}, {}
        self._quoted = Context()
        is_new = otherwise = False
        for delta in texts:
            is_shown = delta.surface is Surface.ASSISTANT
            if not (is_shown and otherwise) and self._repeats.take(event, delta):
                self._again.add(delta.at)
            elif is_shown:
                is_new = True
                # What is repeated behind it would stand behind something else than what it was sent behind.
                otherwise = otherwise or delta.at.endswith(_TEXTS)
        if not is_new:
            return
        if self._behind is None:
            self._behind = Context()
            for said in self._repeats.said():
                self._say(said)
        if self._output is not None:
            self._look_at_borders([d for d in texts if d.surface is Surface.ASSISTANT], self._output)

    def edited(self, event: StreamEvent, delta: Delta) -> tuple[str, Stop | None] | None:
        """Return a text as it goes out, and whether the answer ends in it; None for what repeats its pieces."""
        behind = self._behind if delta.surface is Surface.ASSISTANT else None
        if behind is not None:
            self._tail = (self._tail + delta.text)[-_TAIL_CHARS:]
        elif delta.surface in _QUOTED and delta.at.endswith(_TEXTS):
            behind = self._quoted
        if delta.at in self._again:
            if behind is not None:
                behind.feed(delta.text)
            return None
        text = self._given.get(delta.at, delta.text)
        text, stop = whole(
            *(delta.at, delta.surface, text, self._output, self._lookup if behind is None else None),
            json=delta.json or is_json_source(delta.surface, text),
            payload=event.payload,
            channel=delta.channel,
        )
        if behind is not None and self._lookup is not None:
            (text,) = restore_parts([text], self._lookup, behind)
        return text, stop or self._ends.get(delta.at)

    def precede(self, flow: FlowingText, surface: Surface) -> None:
        """Let the pieces of a text stand behind what came whole."""
        if self._behind is not None and surface is Surface.ASSISTANT:
            flow.stand_behind(self._behind)

    def end(self) -> None:
        """Begin anew, behind the end of an answer."""
        self._behind, self._tail = None, ""

    def _say(self, text: str) -> None:
        assert self._behind is not None
        self._behind.feed(text)
        self._tail = (self._tail + text)[-_TAIL_CHARS:]

    def _look_at_borders(self, texts: list[Delta], output: OutputFilter) -> None:
        """Find what begins in one text, or in what was said before, and goes on in another."""
        before = Segment("", Surface.ASSISTANT, self._tail)
        run = [before, *(Segment(delta.at, Surface.ASSISTANT, delta.text) for delta in texts)]
        self._given, self._ends = at_borders(run, output, texts[0].at)
        if (stop := self._ends.get(before.at)) is not None:
            self._given[texts[0].at], self._ends[texts[0].at] = "", stop

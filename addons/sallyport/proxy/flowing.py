"""One text of a streamed answer on its way to the client: looked at, edited, and its originals put back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sallyport.exchange import Surface
from sallyport.stages.channel import Channel, Stop
from sallyport.stages.output import OutputFilter
from sallyport.stages.restoring import Context, Restorer, restore

type Lookup = Callable[[str], str | None]


@dataclass(slots=True)
class Originals:
    """What comes back into one answer. lookup: None until that is known, and where nothing does."""

    lookup: Lookup | None = None

    def shown(self, text: str) -> str:
        """Return a text that is JSON as the client reads it."""
        return text if self.lookup is None else restore(text, self.lookup, structured=True)


class FlowingText:
    """A text that comes in pieces.

    channel: looks at what the provider wrote, None where nobody looks. acts: whether it may change or hold
    anything; where it may not, it is only told. restorer: puts originals back behind it, None where there are none.
    """

    def __init__(self, channel: Channel | None, restorer: Restorer | None, *, acts: bool) -> None:
        self._channel = channel
        self._acts = acts
        self._restorer = restorer

    @property
    def held(self) -> bool:
        """Whether some of what was fed has not come out."""
        waits = self._acts and self._channel is not None and self._channel.held
        return waits or (self._restorer is not None and self._restorer.held)

    @property
    def held_chars(self) -> int:
        """Characters of what was fed that have not come out; -1 where a part of what came out of it waits again."""
        if self._restorer is not None and self._restorer.held:
            return -1
        return self._channel.held_chars if self._acts and self._channel is not None else 0

    @property
    def waits_for_end(self) -> bool:
        """Whether it is judged as a whole, so that its last character waits however long it takes."""
        return self._acts and self._channel is not None and self._channel.waits_for_end

    @property
    def stop(self) -> Stop | None:
        """Where the answer ends in this text, None if it goes on."""
        return self._channel.stop if self._acts and self._channel is not None else None

    def follow(self, before: "FlowingText") -> None:
        """Begin where another text has ended, for whoever is shown both joined."""
        if self._restorer is not None and before._restorer is not None:
            self._restorer.follow(before._restorer)

    def stand_behind(self, context: Context) -> None:
        """Go on from a context of texts that it is shown joined to, and carry it on."""
        if self._restorer is not None:
            self._restorer.stand_behind(context)

    def feed(self, text: str) -> str:
        """Take a piece as the provider wrote it; return what may go out now."""
        if self._channel is not None:
            looked_at = self._channel.feed(text)
            text = looked_at if self._acts else text
        return self._restored(text)

    def end(self) -> str:
        """Return what was still held, at the end of the text."""
        text = ""
        if self._channel is not None:
            rest = self._channel.end()
            text = rest if self._acts else ""
        text = self._restored(text)
        return text if self._restorer is None else text + self._restorer.end()

    def let_go(self) -> str:
        """Return what waited for the end of a match for too long."""
        return self._restored(self._channel.let_go()) if self._acts and self._channel is not None else ""

    def _restored(self, text: str) -> str:
        return text if self._restorer is None else self._restorer.feed(text)


def flowing(
    name: str,
    surface: Surface,
    output: OutputFilter | None,
    lookup: Lookup | None,
    *,
    json: bool,
    structured: bool = False,
) -> FlowingText:
    """Return what follows a text. Reasoning is signed: no originals go into it. structured: JSON was asked for."""
    channel = output.channel(name, surface, json=json) if output is not None else None
    restores = lookup is not None and surface is not Surface.REASONING
    return FlowingText(
        channel,
        Restorer(lookup, json=json, structured=structured and surface is Surface.ASSISTANT)
        if restores and lookup is not None
        else None,
        acts=output is not None and output.acts_on(surface),
    )


def whole(
    at: str,
    surface: Surface,
    text: str,
    output: OutputFilter | None,
    lookup: Lookup | None,
    *,
    json: bool,
    payload: Mapping[str, Any] | Sequence[Any] | None = None,
    channel: str = "",
) -> tuple[str, Stop | None]:
    """Return a whole text as it goes out, and whether the answer ends in it.

    payload: what the pointer points into. channel: of the text in a stream.
    """
    stop = None
    if output is not None:
        looked_at, found = output.whole(at, surface, text, json=json, payload=payload, channel=channel)
        if output.acts_on(surface):
            text, stop = looked_at, found
    if lookup is not None and surface is not Surface.REASONING:
        text = restore(text, lookup, json=json)
    return text, stop


def is_json_source(surface: Surface, text: str) -> bool:
    """Say whether a whole tool-call text is JSON in a string, into which values must go escaped."""
    return surface is Surface.TOOL_CALL and text.lstrip()[:1] in ("{", "[")

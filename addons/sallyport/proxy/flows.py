"""The texts of a streamed answer that come in pieces, each followed by its channel."""

from collections.abc import Iterable, Sequence

from sallyport.proxy.flowing import FlowingText, Lookup, flowing, is_json_source
from sallyport.proxy.repeats import Repeats
from sallyport.proxy.saidwhole import SaidWhole
from sallyport.stages.output import OutputFilter
from sallyport.wire.dialect import Delta, StreamEvent
from sallyport.wire.errors import WireError

MAX_CHANNELS = 4096
"""Texts of one answer that are followed at once."""


class Flows:
    """The texts of one stream. output, lookup, structured: what they are looked at with, as AnswerTap has them.

    wholes: what came whole, behind which the pieces stand.
    """

    def __init__(
        self, output: OutputFilter | None, lookup: Lookup | None, wholes: SaidWhole, *, structured: bool
    ) -> None:
        self._output = output
        self._lookup = lookup
        self._structured = structured
        self._wholes = wholes
        self._texts: dict[str, FlowingText] = {}
        self._over: dict[str, None] = {}  # channels whose text has ended, kept while there is room

    def __getitem__(self, channel: str) -> FlowingText:
        return self._texts[channel]

    def get(self, channel: str) -> FlowingText | None:
        return self._texts.get(channel)

    def named(self, closes: Sequence[str]) -> Sequence[str]:
        """Return the channels that an event closes."""
        return [*self._texts] if "*" in closes else closes

    def has_room(self, delta: Delta) -> bool:
        """Say whether a text can be followed without another being forgotten."""
        return delta.channel in self._texts or len(self._texts) < MAX_CHANNELS

    def of(self, delta: Delta) -> FlowingText:
        """Return the text that a piece goes on with. Raises WireError too_many_texts."""
        known = self._texts.get(delta.channel)
        if known is None:
            if not self.has_room(delta):
                self._forget_finished()
            if not self.has_room(delta):
                raise WireError("too_many_texts")
            known = flowing(
                delta.channel,
                delta.surface,
                self._output,
                self._lookup,
                json=delta.json,
                structured=self._structured,
            )
            self._texts[delta.channel] = known
            if delta.behind and (before := self._texts.get(delta.behind)) is not None:
                known.follow(before)
        self._wholes.precede(known, delta.surface)
        self._over.pop(delta.channel, None)
        return known

    def over(self, closes: Iterable[str]) -> None:
        """Note that texts have ended; one may go on all the same."""
        self._over.update(dict.fromkeys(self._texts if "*" in closes else closes))

    def end(self, channels: Iterable[str]) -> None:
        """End texts of which nothing was held, and forget them."""
        for channel in channels:
            if (text := self._texts.pop(channel, None)) is not None:
                text.end()

    def _forget_finished(self) -> None:
        """Make room: a session of hours has more texts than are kept."""
        for channel in self._over:
            self._texts.pop(channel, None)
        self._over.clear()


class Onlooker:
    """Shows the texts of a stream of which no byte changes to those who only record."""

    def __init__(self, output: OutputFilter | None, flows: Flows, repeats: Repeats) -> None:
        self._output = output
        self._flows = flows
        self._repeats = repeats

    def look(self, event: StreamEvent) -> None:
        """Show an event's texts. What an event closes is over before one that it repeats whole."""
        if self._output is None:
            return
        goes_on = {delta.channel for delta in event.deltas if not delta.whole}
        self._flows.end([name for name in self._flows.named(event.closes) if name not in goes_on])
        for delta in event.deltas:
            if self._repeats.take(event, delta):
                continue
            if delta.whole:
                self._whole(event, delta, self._output)
            elif self._flows.has_room(delta):
                self._flows.of(delta).feed(delta.text)
        self._repeats.write(event, {})
        self._flows.end(self._flows.named(event.closes))

    def end(self) -> None:
        """The stream is over, and so is every text of it."""
        self._flows.end(self._flows.named(("*",)))

    def _whole(self, event: StreamEvent, delta: Delta, output: OutputFilter) -> None:
        json = delta.json or is_json_source(delta.surface, delta.text)
        payload, channel = event.payload, delta.channel
        output.whole(delta.at, delta.surface, delta.text, json=json, payload=payload, channel=channel)

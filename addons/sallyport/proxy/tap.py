"""A streamed answer, event by event: originals put back, usage read, everything else untouched.

An event whose text ends in what may be an unfinished placeholder waits for the next event of its channel,
and later events queue behind it; prose passes at once. Never raises: what cannot be read ends the stream in
the dialect's own error event and cancels the upstream.
"""

from collections import deque
from collections.abc import Callable

from sallyport.decision import Refusal
from sallyport.exchange import Surface, Usage
from sallyport.proxy.stream import Step
from sallyport.stages.restoring import Restorer, restore
from sallyport.wire.dialect import Delta, Dialect, StreamEvent, StreamReader, WireError, newer

MAX_QUEUED_BYTES = 32 * 1024
"""Bytes of events that may wait behind a held one before the hold is given up."""


class _Waiting:
    """An event on its way out, with the texts that will replace its own."""

    __slots__ = ("event", "open_channels", "texts")

    def __init__(self, event: StreamEvent) -> None:
        self.event = event
        self.texts: dict[str, str] = {}
        self.open_channels: dict[str, str] = {}


class AnswerTap:
    """One streamed answer.

    lookup: placeholder -> original; None leaves every byte as it is and only reads.
    lenient: what cannot be read is passed on unread instead of ending the stream (observe mode).
    remember: told each finished reasoning text, since it is signed and will come back.
    drops_usage: keep from the client an event that only reports usage, which it did not ask for.
    heard: told every text of the answer as the provider wrote it; reported: told every report of usage, after
    the texts of its event. None where nobody counts.
    """

    def __init__(
        self,
        dialect: Dialect,
        reader: StreamReader,
        refusal: Refusal,
        *,
        lookup: Callable[[str], str | None] | None,
        remember: Callable[[str], None],
        lenient: bool = False,
        drops_usage: bool = False,
        heard: Callable[[str], None] | None = None,
        reported: Callable[[Usage], None] | None = None,
    ) -> None:
        self._dialect = dialect
        self._reader = reader
        self._refusal = refusal
        self._lookup = lookup
        self._remember = remember
        self._lenient = lenient
        self._drops_usage = drops_usage
        self._heard = heard
        self._reported = reported
        self._restorers: dict[str, Restorer] = {}
        self._latest: dict[str, _Waiting] = {}
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._reasoning: dict[str, list[str]] = {}
        self._blind = False
        self._dead = False
        self._stopped = ""
        self.bytes_out = 0
        self.bytes_in = 0
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.id: str | None = None
        self.error: str | None = None
        self.failed: str | None = None

    @property
    def only_reads(self) -> bool:
        """Whether every byte passes as it is, readable or not."""
        return self._lenient and self._lookup is None

    def stop(self, refusal: Refusal) -> None:
        """End the stream with this refusal, in the dialect's own error event, at whatever comes next."""
        self._refusal, self._stopped = refusal, refusal.reason

    # -- what the stream calls -----------------------------------------------------------------------

    def feed(self, data: bytes) -> Step:
        return self._guarded(lambda: self._feed(data))

    def end(self) -> Step:
        return self._guarded(self._end)

    def broken(self) -> Step:
        """The upstream stopped in the middle: nothing held comes out, the client's SDK raises."""
        if self._dead:
            return Step([])
        return self._fail(self._stopped or "upstream.broken")

    # -- inside --------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], list[bytes]]) -> Step:
        if self._dead:
            return Step([], finish=True)
        if self._stopped:
            return self._fail(self._stopped)
        try:
            out = work()
        except WireError as error:
            return self._fail(f"wire.{error.reason}")
        except Exception as error:
            # The border between a filter and the core: an exception there would lose a chunk and go on.
            return self._fail(f"tap.{type(error).__name__.lower()}")
        self.bytes_out += sum(map(len, out))
        return Step(out)

    def _fail(self, reason: str) -> Step:
        self._dead = True
        self.failed = reason
        self._queue.clear()
        try:
            tail = self._dialect.stream_error(self._refusal)
        except Exception:
            tail = b""
        self.bytes_out += len(tail)
        return Step([tail], finish=True)

    def _feed(self, data: bytes) -> list[bytes]:
        self.bytes_in += len(data)
        if self._blind:
            return [data]
        try:
            events = self._reader.feed(data)
        except WireError:
            if self._lookup is None and self._lenient:
                self._blind = True
                return [data]
            raise
        if self._lookup is None:
            for event in events:
                self._account(event)
                self._note_reasoning(event)
            # An unfinished event waits for its end: after half of one, no client could read an error.
            if self._lenient and not self._drops_usage:
                return [data]
            return [b"".join([event.raw for event in events if not self._is_dropped(event)])]
        for event in events:
            self._take(event)
        return self._ready()

    def _end(self) -> list[bytes]:
        if self._blind:
            return []
        try:
            events = self._reader.end()
        except WireError:
            if self._lookup is None and self._lenient:
                return []
            raise
        if self._lookup is None:
            for event in events:
                self._account(event)
                self._note_reasoning(event)
            self._finish_reasoning()
            return [] if self._lenient else [event.raw for event in events if not self._is_dropped(event)]
        for event in events:
            self._take(event)
        self._close(("*",))
        self._finish_reasoning()
        return self._ready()

    def _is_dropped(self, event: StreamEvent) -> bool:
        only_usage = event.usage is not None and not event.deltas and not event.finish_reason
        return self._drops_usage and only_usage and not event.terminal and event.error is None

    def _account(self, event: StreamEvent) -> None:
        if self._heard is not None:
            for delta in event.deltas:
                if not delta.whole:
                    self._heard(delta.text)
        self.usage = newer(self.usage, event.usage)
        if self._reported is not None and event.usage is not None:
            self._reported(event.usage)
        self.finish_reason = event.finish_reason or self.finish_reason
        self.model = event.model or self.model
        self.id = event.id or self.id
        self.error = event.error or self.error

    def _note_reasoning(self, event: StreamEvent) -> None:
        for delta in event.deltas:
            if delta.surface is Surface.REASONING:
                if delta.whole:
                    self._remember(delta.text)
                else:
                    self._reasoning.setdefault(delta.channel, []).append(delta.text)
        for channel in event.closes:
            if channel == "*":
                self._finish_reasoning()
            elif pieces := self._reasoning.pop(channel, None):
                self._remember("".join(pieces))

    def _finish_reasoning(self) -> None:
        for pieces in self._reasoning.values():
            self._remember("".join(pieces))
        self._reasoning.clear()

    def _take(self, event: StreamEvent) -> None:
        self._account(event)
        self._note_reasoning(event)
        waiting = _Waiting(event)
        touched = {d.channel for d in event.deltas}
        self._close(tuple(c for c in event.closes if c == "*" or c not in touched), keep=touched)
        for delta in event.deltas:
            if delta.surface is not Surface.REASONING:
                self._delta(waiting, delta)
        if self._is_dropped(event):
            return
        self._queue.append(waiting)
        self._queued_bytes += len(event.raw)
        if "*" in event.closes:
            self._close(("*",))
        else:
            self._close(tuple(c for c in event.closes if c in touched))

    def _delta(self, waiting: _Waiting, delta: Delta) -> None:
        assert self._lookup is not None
        if delta.whole:
            text = restore(
                delta.text, self._lookup, json=delta.json or is_json_source(delta.surface, delta.text)
            )
        else:
            restorer = self._restorers.get(delta.channel)
            if restorer is None:
                restorer = self._restorers[delta.channel] = Restorer(self._lookup, json=delta.json)
            text = restorer.feed(delta.text)
            earlier = self._latest.pop(delta.channel, None)
            if earlier is not None:
                earlier.open_channels.pop(delta.channel, None)
            if restorer.held:
                waiting.open_channels[delta.channel] = delta.at
                self._latest[delta.channel] = waiting
        if text != delta.text:
            waiting.texts[delta.at] = text

    def _close(self, channels: tuple[str, ...], keep: set[str] | frozenset[str] = frozenset()) -> None:
        """Write what is held for these channels into the last event that carried them."""
        names = [c for c in self._latest if c not in keep] if "*" in channels else channels
        for channel in names:
            waiting = self._latest.pop(channel, None)
            if waiting is None:
                continue
            at = waiting.open_channels.pop(channel)
            own = next(d.text for d in waiting.event.deltas if d.at == at)
            waiting.texts[at] = waiting.texts.get(at, own) + self._restorers[channel].end()

    def _ready(self) -> list[bytes]:
        if self._queued_bytes > MAX_QUEUED_BYTES:
            self._close(("*",))
        out: list[bytes] = []
        while self._queue and not self._queue[0].open_channels:
            waiting = self._queue.popleft()
            self._queued_bytes -= len(waiting.event.raw)
            if waiting.texts:
                out.append(self._reader.rewrite(waiting.event, waiting.texts))
            else:
                out.append(waiting.event.raw)
        return out


def is_json_source(surface: Surface, text: str) -> bool:
    """Say whether a whole tool-call text is JSON in a string, into which values must go escaped."""
    return surface is Surface.TOOL_CALL and text.lstrip()[:1] in ("{", "[")

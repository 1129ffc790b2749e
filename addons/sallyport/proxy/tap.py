"""A streamed answer, event by event: looked at, originals put back, usage read, everything else untouched.

An event whose text ends in what may be an unfinished placeholder or match waits for the next event of its channel,
and later events queue behind it; what goes on then goes on in that event. Never raises: what cannot be read ends
the stream in the dialect's own error event and cancels the upstream.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from sallyport.decision import Refusal
from sallyport.exchange import Attachment, Surface, Usage
from sallyport.policy.output import OutputAction
from sallyport.proxy.flowing import Lookup
from sallyport.proxy.flows import Flows, Onlooker
from sallyport.proxy.moving import Moving
from sallyport.proxy.repeats import Repeats
from sallyport.proxy.saidwhole import SaidWhole
from sallyport.proxy.stream import Step
from sallyport.proxy.thoughts import Thoughts
from sallyport.stages.channel import Stop
from sallyport.stages.output import OutputFilter
from sallyport.wire.dialect import (
    Delta,
    Dialect,
    Enclosing,
    Ending,
    StreamEvent,
    StreamReader,
    Texts,
    newer,
)
from sallyport.wire.echoes import may_echo
from sallyport.wire.echoflow import EchoFlow
from sallyport.wire.errors import WireError

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Bytes of one event, where the policy does not say less."""

MAX_QUEUED_BYTES = 32 * 1024
"""Bytes of events that may wait behind a held one before the hold is given up.

Behind the arguments of a call, of which half cannot be judged, as many may wait as one event may have.
"""

HOLD_S = 2.0
"""Longest that a text waits, where the policy does not say."""

MAX_MEDIA_TYPES = 16
"""Kinds of content that are told of one answer."""

MAX_MADE = 64
"""Ids of what an answer made from which on those of further events are not remembered."""


@dataclass(frozen=True, slots=True)
class Looking:
    """What a streamed answer is looked at with.

    output: what is found in it. ending: ends it before its time, None where the dialect has no way to.
    refuse: what the client is told where the policy refuses. hold_s: the longest that a text waits.
    """

    output: OutputFilter
    ending: Ending | None
    refuse: Callable[[Stop], Refusal]
    hold_s: float = HOLD_S


class _Waiting:
    """An event on its way out, with the texts that will replace its own. since: when it came, by the clock.

    held: by the pointer of a text, how many characters go out later, where any do; as EchoFlow is told.
    """

    __slots__ = ("event", "held", "open_channels", "since", "texts")

    def __init__(self, event: StreamEvent, since: float) -> None:
        self.event = event
        self.since = since
        self.texts: dict[str, str] = {}
        self.open_channels: dict[str, str] = {}
        self.held: dict[str, int] = {}


class AnswerTap:
    """One streamed answer.

    lookup: placeholder -> original; None leaves every byte as it is and only reads.
    lenient: what cannot be read is passed on unread instead of ending the stream (observe mode).
    remember: told each finished reasoning text, since it is signed and will come back.
    drops_usage: keep from the client an event that only reports usage, which it did not ask for.
    heard: told every text of the answer as the provider wrote it; reported: told every report of usage, after
    the texts of its event. None where nobody counts.
    looking: what answers are looked at with, None where they are not. structured: the request asks for JSON.
    max_event_bytes: a longer event, finished or not, ends the stream. clock: seconds, never going back.
    """

    def __init__(
        self,
        dialect: Dialect,
        reader: StreamReader,
        refusal: Refusal,
        *,
        lookup: Lookup | None,
        remember: Callable[[str], None],
        lenient: bool = False,
        drops_usage: bool = False,
        heard: Callable[[str], None] | None = None,
        reported: Callable[[Usage], None] | None = None,
        looking: Looking | None = None,
        structured: bool = False,
        max_event_bytes: int = MAX_EVENT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._looking = looking
        self._output = looking.output if looking is not None else None
        self._hold_s = looking.hold_s if looking is not None else HOLD_S
        self._acts = self._output is not None and self._output.acts
        self._clock = clock
        self._max_event_bytes = max_event_bytes
        self._unfinished_bytes = 0
        self._unsent = bytearray()  # not out, of a stream that is only read, since an event may be dropped
        self._dialect = dialect
        self._reader = reader
        self._refusal = refusal
        self._lookup = lookup
        self._lenient = lenient
        self._drops_usage = drops_usage
        self._heard = heard
        self._reported = reported
        self._repeats = Repeats(max_event_bytes)
        self._wholes = SaidWhole(self._output, lookup, self._repeats)
        self._flows = Flows(self._output, lookup, self._wholes, structured=structured)
        self._onlooker = Onlooker(self._output, self._flows, self._repeats)
        self._echoes = EchoFlow()
        self._moving = Moving(lookup) if lookup is not None else None
        self._latest: dict[str, _Waiting] = {}
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._thoughts = Thoughts(remember, max_event_bytes)
        self._blind = False
        self._dead = False
        self._stopped = ""
        self.bytes_out = 0
        self.bytes_in = 0
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.id: str | None = None
        self.made: tuple[str, ...] = ()
        self.error: str | None = None
        self.failed: str | None = None
        self.unread = False
        """Whether some of it could not be read, whether it went on or ended there."""
        self.ended_early: Stop | None = None
        self._content_bytes: dict[str, int] = {}

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """What of the answer was no text: one for each media type, with the bytes of all its pieces."""
        return tuple(Attachment("", media, size) for media, size in self._content_bytes.items())

    @property
    def only_reads(self) -> bool:
        """Whether every byte passes as it is, readable or not."""
        return self._lenient and self._passes_all

    @property
    def _passes_all(self) -> bool:
        """Whether no text is changed."""
        return self._lookup is None and not self._acts

    def stop(self, refusal: Refusal) -> None:
        """End the stream with this refusal, in the dialect's own error event, at whatever comes next."""
        self._refusal, self._stopped = refusal, refusal.reason

    def misplaced(self) -> None:
        """End the stream at what comes next: it goes on with a text of which this tap has not read the beginning."""
        if not self.only_reads:
            self._stopped = "wire.stream.order"

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

    def wake(self) -> Step:
        """Let go what has waited longer than the policy wants. What is a match as it stands waits on, where nothing of
        another kind waits behind it.
        """
        return self._guarded(self._let_go)

    # -- inside --------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], list[bytes]]) -> Step:
        if self._dead:
            return Step([], finish=True)
        if self._stopped:
            return self._fail(self._stopped)
        try:
            out = work()
        except WireError as error:
            self.unread = True
            return self._fail(f"wire.{error.reason}")
        except Exception as error:
            # The border between a filter and the core: an exception there would lose a chunk and go on.
            return self._fail(f"tap.{type(error).__name__.lower()}")
        if self.ended_early is not None:
            return self._stop(self.ended_early, out)
        self.bytes_out += sum(map(len, out))
        return Step(out, wake_s=self._wake_s())

    def _fail(self, reason: str) -> Step:
        self.failed = reason
        return self._ended(self._refusal)

    def _ended(self, refusal: Refusal) -> Step:
        self._dead = True
        self._queue.clear()
        try:
            tail = self._dialect.stream_error(refusal)
            if isinstance(self._reader, Enclosing):
                tail = self._reader.enclose(tail, begun=self.bytes_out > 0)
        except Exception:
            tail = b""
        self.bytes_out += len(tail)
        return Step([tail], finish=True)

    def _stop(self, stop: Stop, out: list[bytes]) -> Step:
        """End the answer as the policy says: as if the provider had ended it there, or with an error."""
        assert self._looking is not None
        ending = self._looking.ending
        self.bytes_out += sum(map(len, out))
        if stop.action is OutputAction.TRUNCATE and ending is not None:
            try:
                tail = ending.conclude(None if self._drops_usage else self.usage)
            except Exception:
                return self._refuse(stop, out)
            self._dead = True
            self.finish_reason = "filtered"
            self.bytes_out += len(tail)
            return Step([*out, tail], finish=True)
        return self._refuse(stop, out)

    def _refuse(self, stop: Stop, out: list[bytes]) -> Step:
        assert self._looking is not None
        refused = self._ended(self._looking.refuse(stop))
        return Step([*out, *refused.out], finish=True)

    def _wake_s(self) -> float | None:
        """Return in how many seconds something will have waited too long, None where nothing waits."""
        return max(0.001, self._queue[0].since + self._hold_s - self._clock()) if self._queue else None

    def _let_go(self) -> list[bytes]:
        overdue = self._clock() - self._hold_s
        for number, waiting in enumerate(self._queue):
            if waiting.since > overdue:
                break
            for channel, at in [*waiting.open_channels.items()]:
                flowing = self._flows[channel]
                self._write(waiting, at, flowing.let_go())
                waiting.held[at] = flowing.held_chars
                if not flowing.held:
                    del waiting.open_channels[channel], self._latest[channel]
                elif not flowing.waits_for_end and self._keeps_others(number, at):
                    self._close((channel,))
            waiting.since = self._clock()  # what is a match as it stands is asked again
        return self._ready()

    def _keeps_others(self, number: int, at: str) -> bool:
        """Say whether something else than its like waits behind a text, such as sound or what is thought after it."""
        own = next(d.surface for d in self._queue[number].event.deltas if d.at == at)
        behind = [waiting.event for waiting in islice(self._queue, number + 1, None)]
        return any(event.attachments or any(d.surface is not own for d in event.deltas) for event in behind)

    def _feed(self, data: bytes) -> list[bytes]:
        self.bytes_in += len(data)
        if self._blind:
            return [data]
        if self.only_reads and self._drops_usage:
            self._unsent += data
        try:
            events = self._bounded(self._reader.feed(data), len(data))
        except WireError:
            if self.only_reads:
                self._blind = self.unread = True
                return [self._taken_unsent()] if self._drops_usage else [data]
            raise
        if self._passes_all:
            self._only_read(events)
            # An unfinished event waits for its end: after half of one, no client could read an error.
            if self._lenient and not self._drops_usage:
                return [data]
            del self._unsent[: sum(len(event.raw) for event in events)]
            return [b"".join([event.raw for event in events if not self._is_dropped(event)])]
        self._take_all(events)
        return self._ready()

    def _bounded(self, events: list[StreamEvent], fed_bytes: int) -> list[StreamEvent]:
        self._unfinished_bytes += fed_bytes
        longest = 0
        for event in events:
            size = len(event.raw)
            self._unfinished_bytes -= size
            longest = max(longest, size)
        if max(self._unfinished_bytes, longest) > self._max_event_bytes:
            raise WireError("event_too_long")
        return events

    def _taken_unsent(self) -> bytes:
        unsent, self._unsent = bytes(self._unsent), bytearray()
        return unsent

    def _end(self) -> list[bytes]:
        if self._blind:
            return []
        try:
            events = self._reader.end()
        except WireError:
            if self.only_reads:
                self.unread = True
                return [self._taken_unsent()]
            raise
        if self._passes_all:
            self._only_read(events)
            self._thoughts.finish()
            self._onlooker.end()
            if self._lenient and not self._drops_usage:
                return []
            return [event.raw for event in events if not self._is_dropped(event)]
        self._take_all(events)
        if self.ended_early is None:
            self._close(("*",))
        self._thoughts.finish()
        return self._ready()

    def _is_dropped(self, event: StreamEvent) -> bool:
        only_usage = event.usage is not None and not event.deltas and not event.finish_reason
        return self._drops_usage and only_usage and not event.terminal and event.error is None

    def _account(self, event: StreamEvent) -> None:
        if self._heard is not None:
            for delta in event.deltas:
                if not delta.whole:
                    self._heard(delta.text)
        for one in event.attachments:
            if one.media_type in self._content_bytes or len(self._content_bytes) < MAX_MEDIA_TYPES:
                known = self._content_bytes.get(one.media_type, 0)
                self._content_bytes[one.media_type] = known + (one.size or 0)
        self.usage = newer(self.usage, event.usage)
        if self._reported is not None and event.usage is not None:
            self._reported(event.usage)
        self.finish_reason = event.finish_reason or self.finish_reason
        self.model = event.model or self.model
        self.id = event.id or self.id
        if event.made and len(self.made) < MAX_MADE:
            self.made = tuple(dict.fromkeys(self.made + event.made))
        self.error = event.error or self.error

    def _only_read(self, events: list[StreamEvent]) -> None:
        """Read events of which no byte changes."""
        for event in events:
            self._account(event)
            self._thoughts.note(event)
            self._onlooker.look(event)

    def _take_all(self, events: list[StreamEvent]) -> None:
        for event in events:
            if self.ended_early is None:
                self._take(event)

    def _take(self, event: StreamEvent) -> None:
        self._account(event)
        self._thoughts.note(event)
        waiting = _Waiting(event, self._clock())
        touched = {d.channel for d in event.deltas if not d.whole} if event.closes else frozenset[str]()
        if event.closes:
            self._close(tuple(c for c in event.closes if c == "*" or c not in touched), keep=touched)
        if self.ended_early is not None:
            self._close(("*",))
            return  # what would end the answer otherwise does not go out
        self._wholes.begin(event)
        for delta in event.deltas:
            self._delta(waiting, delta)
        if event.terminal:
            self._wholes.end()
        if self.ended_early is not None and _calls(event):
            self._close(("*",))  # no call goes out in part
        elif not self._is_dropped(event):
            self._queue.append(waiting)
            self._queued_bytes += len(event.raw)
            if self.ended_early is not None or "*" in event.closes:
                self._close(("*",))
            elif event.closes:
                self._close(tuple(c for c in event.closes if c in touched))
        if event.closes:
            self._flows.over(event.closes)

    def _delta(self, waiting: _Waiting, delta: Delta) -> None:
        if self.ended_early is not None:
            waiting.texts[delta.at] = ""
            return
        if not self._repeats.has_room(delta):
            raise WireError("too_many_texts")
        self._repeats.note(delta)
        if delta.whole:
            edited = self._wholes.edited(waiting.event, delta)
            if edited is None:
                return
            text, stop = edited
            self._stop_at(stop)
        else:
            flow = self._flows.of(delta)
            text = flow.feed(delta.text)
            earlier = self._latest.pop(delta.channel, None)
            if earlier is not None:
                earlier.open_channels.pop(delta.channel, None)
                waiting.since = earlier.since if not text else waiting.since
            held, stop = flow.held_chars, flow.stop
            if held or stop is not None:
                waiting.open_channels[delta.channel] = delta.at
                waiting.held[delta.at] = held
                self._latest[delta.channel] = waiting
            self._stop_at(stop)
        if text != delta.text:
            waiting.texts[delta.at] = text

    def _stop_at(self, stop: Stop | None) -> None:
        if stop is not None and (self.ended_early is None or stop.action is OutputAction.REFUSE):
            self.ended_early = stop

    def _write(self, waiting: _Waiting, at: str, text: str) -> None:
        """Put a text behind what goes out of an event's own."""
        own = next(d.text for d in waiting.event.deltas if d.at == at)
        waiting.texts[at] = waiting.texts.get(at, own) + text

    def _close(self, channels: tuple[str, ...], keep: set[str] | frozenset[str] = frozenset()) -> None:
        """Write what is held for these channels into the last event that carried them."""
        for channel in self._flows.named(channels):
            flow = self._flows.get(channel)
            if flow is None or channel in keep:
                continue
            rest = flow.end()
            if (waiting := self._latest.pop(channel, None)) is not None:
                at = waiting.open_channels.pop(channel)
                self._write(waiting, at, rest)
                waiting.held[at] = 0
                if flow.stop is not None:
                    self._drop_behind(waiting)
            self._stop_at(flow.stop)

    def _drop_behind(self, last: _Waiting) -> None:
        """Have nothing go out behind an event in which the answer ends: not what was thought or called after it."""
        if any(waiting is last for waiting in self._queue):
            while self._queue[-1] is not last:
                self._queued_bytes -= len(self._queue.pop().event.raw)

    def _ready(self) -> list[bytes]:
        out = self._released()
        # What waits for nothing has gone: a read may bring more events at once than may wait behind a held one.
        if self._queue and (behind := self._queued_bytes - len(self._queue[0].event.raw)) > MAX_QUEUED_BYTES:
            all_of_them = behind > self._max_event_bytes
            self._close(tuple(c for c in self._latest if all_of_them or not self._flows[c].waits_for_end))
            out += self._released()
        return out

    def _released(self) -> list[bytes]:
        """Take out the events that wait for nothing, up to the first that does."""
        out: list[bytes] = []
        while self._queue and not self._queue[0].open_channels:
            waiting = self._queue.popleft()
            self._queued_bytes -= len(waiting.event.raw)
            out.append(self._written(waiting))
            if self._looking is not None and self._looking.ending is not None:
                self._looking.ending.sent(waiting.event, waiting.texts)
        return out

    def _written(self, waiting: _Waiting) -> bytes:
        """Return an event with its new texts, and without log probabilities of what is told otherwise."""
        event, texts = waiting.event, waiting.texts
        texts |= self._repeats.write(event, texts)
        told: Texts = texts
        if self._echoes.begun or may_echo(event.raw):
            told = self._echoes.write(event, texts, waiting.held, strict=self._acts)
        if self._moving is not None and (moved := self._moving.write(event, texts)):
            told = {**told, **moved}
        return self._reader.rewrite(event, told) if told else event.raw


def _calls(event: StreamEvent) -> bool:
    """Say whether an event holds a tool call, or the beginning of one."""
    return any(delta.whole and delta.surface is Surface.TOOL_CALL for delta in event.deltas)

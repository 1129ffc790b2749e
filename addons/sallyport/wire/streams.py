"""A stream is read by two: framing cuts bytes into payloads, an interpreter says what a payload means."""

import json
from collections.abc import Callable
from dataclasses import replace as replaced
from typing import Protocol

from sallyport.wire.dialect import Delta, StreamEvent, Texts
from sallyport.wire.errors import WireError
from sallyport.wire.inline import TEXT_MARK
from sallyport.wire.jsonsplice import replace
from sallyport.wire.jsontext import Json, parse_object
from sallyport.wire.shape import FLOW, SOURCE, Reading
from sallyport.wire.sse import MAX_EVENT_BYTES, SsePiece, SseSplitter, read_piece

DONE = b"[DONE]"

_spelled = json.JSONEncoder(ensure_ascii=False).encode


class Interpreter(Protocol):
    """Says what the payloads of one stream mean, in their order."""

    def event(self, payload: dict[str, Json], raw: bytes) -> StreamEvent: ...


class OpenChannels:
    """The channels of a stream that have had text and have not ended."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def take(self, deltas: tuple[Delta, ...]) -> None:
        """Remember the channels that these deltas continue."""
        for delta in deltas:
            if not delta.whole:
                self._names[delta.channel] = None

    def close(self, prefix: str, keep: str = "") -> tuple[str, ...]:
        """Return, and forget, the open channels of that name or below it; "" closes all. keep: one that goes on."""
        below = prefix if not prefix or prefix.endswith("/") else prefix + "/"
        under = (name for name in self._names if name == prefix or name.startswith(below))
        closed = tuple(name for name in under if name != keep)
        for name in closed:
            del self._names[name]
        return closed


class JoinedBlocks:
    """Blocks of an answer whose texts clients show joined: those of text that follow one another.

    Clients put a text where its block stands, so that one which goes on behind a later block stands elsewhere than it
    was read, perhaps in the middle of a link: it is refused.
    """

    def __init__(self, open_channels: OpenChannels) -> None:
        self._open = open_channels
        self._run: str | None = None
        self._names: dict[int, str] = {}
        self._latest = 0
        self._name = self._behind = ""

    def text(self, index: int) -> None:
        """Note that text comes for a block, begun or not. Raises WireError stream.order behind that of a later one."""
        if index < self._latest:
            raise WireError("stream.order")
        self._latest = index
        if index not in self._names:
            self.begin(index, is_text=True)

    def begin(self, index: int, *, is_text: bool) -> tuple[str, ...]:
        """Note that a block begins; return the channels that end before it."""
        if not is_text:
            return self.over()
        if self._run is None:
            self._run = self._names.get(index, f"content/{index}")
            if self._run != self._name:
                self._behind, self._name = self._name, self._run
        self._names[index] = self._run
        return ()

    def placed(self, found: tuple[Delta, ...], below: str = "") -> tuple[Delta, ...]:
        """Return the texts of an event with what they stand behind. below: the channel of text in one of a block."""
        if not self._behind:
            return found
        name, behind = self._name + below, self._behind + below
        return tuple(replaced(d, behind=behind) if d.channel == name else d for d in found)

    def over(self) -> tuple[str, ...]:
        """No text follows: return the channels that end."""
        run, self._run = self._run, None
        return self._open.close(run) if run is not None else ()

    def channel(self, index: int) -> str:
        """Return the channel of a block."""
        return self._names.get(index, f"content/{index}")

    def goes_on(self, index: int) -> bool:
        """Say whether the channel of a block may go on behind it."""
        return self._run is not None and self._names.get(index) == self._run


def deltas(reading: Reading, channel: Callable[[str], str]) -> tuple[Delta, ...]:
    """Return the texts of a payload as deltas; channel names the channel of a pointer."""
    marks = reading.marks
    found = []
    for segment in reading.segments:
        if segment.at.endswith(TEXT_MARK):
            continue  # a piece of a sound or an image that happens to be text
        bits = marks.get(segment.at, 0)
        found.append(
            Delta(
                channel(segment.at),
                segment.surface,
                segment.at,
                segment.text,
                whole=not bits & FLOW,
                json=bool(bits & SOURCE),
            )
        )
    return tuple(found)


class SseReader:
    """Reads server-sent events whose data is a JSON object, or [DONE]."""

    def __init__(self, interpreter: Interpreter, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._interpreter = interpreter
        self._splitter = SseSplitter(max_event_bytes)

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [self._read(piece) for piece in self._splitter.feed(data)]

    def end(self) -> list[StreamEvent]:
        """Return the last event if it is whole but for its blank line. Raises WireError if it is not."""
        piece = self._splitter.end()
        if piece is None:
            return []
        try:
            return [self._read(piece)]
        except WireError:
            raise WireError("sse.truncated") from None

    def rewrite(self, event: StreamEvent, texts: Texts) -> bytes:
        if not texts:
            return event.raw
        short = _replaced_in_place(event, texts)
        if short is not None:
            return short
        piece = read_piece(event.raw)
        if piece.data is None:
            raise WireError("edit.pointer")
        return piece.with_data(replace(piece.data, texts))

    def _read(self, piece: SsePiece) -> StreamEvent:
        if piece.data is None:
            return StreamEvent(piece.raw)
        if piece.data.strip() == DONE:
            return StreamEvent(piece.raw, closes=("*",), terminal=True)
        return self._interpreter.event(parse_object(piece.data), piece.raw)


def _replaced_in_place(event: StreamEvent, texts: Texts) -> bytes | None:
    """Return the event with its only text replaced, the way most events of an answer are; None where that needs care.

    Without `\\u` and `\\/` every string is spelled as we spell it, so that one which occurs once is the one meant.
    """
    raw = event.raw
    if len(texts) != 1 or len(event.deltas) != 1 or b"\\u" in raw or b"\\/" in raw:
        return None
    ((at, text),) = texts.items()
    delta = event.deltas[0]
    if text is None or delta.at != at:
        return None
    try:
        old, new = _spelled(delta.text).encode(), _spelled(text).encode()
    except UnicodeEncodeError:
        return None
    start = raw.find(old)
    if start < 0 or raw.find(old, start + 1) >= 0:
        return None
    return raw[:start] + new + raw[start + len(old) :]

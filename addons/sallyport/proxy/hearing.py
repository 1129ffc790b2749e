"""The texts of an answer that came in pieces, as they are kept: each once, of one that broke off those that came."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from sallyport.exchange import Segment, Surface
from sallyport.wire.dialect import Dialect, StreamEvent, StreamReader
from sallyport.wire.errors import WireError

_PIECE_BYTES = 4096


def heard(dialect: Dialect, body: bytes, content_type: str) -> list[Segment]:
    """Return the texts of a stream by channel; a text that is repeated whole at its end is kept once."""
    return _by_channel(_events(dialect.open_stream(content_type or "text/event-stream"), body))


def heard_in(dialect: Dialect, events: Iterable[bytes]) -> list[Segment]:
    """Return the texts of events of a WebSocket, the same way; one that cannot be read holds none.

    Realtime repeats a text under three more names when it is over: what is equal is kept once.
    """
    found = _by_channel(_each(dialect.open_stream("application/json"), events))
    return list({(segment.surface, segment.text): segment for segment in reversed(found)}.values())[::-1]


def _by_channel(events: Iterable[StreamEvent]) -> list[Segment]:
    found: dict[str, tuple[Surface, list[str]]] = {}
    parts: set[str] = set()
    for event in events:
        for delta in event.deltas:
            if delta.part:
                parts.add(delta.part)
            elif delta.whole and delta.channel in parts:
                continue
            before = found.get(delta.channel)
            if before is None:
                found[delta.channel] = delta.surface, [delta.text]
            elif not delta.whole:
                before[1].append(delta.text)
    texts = ((channel, surface, "".join(parts)) for channel, (surface, parts) in found.items())
    return [Segment(*each) for each in texts if each[2]]


def _events(reader: StreamReader, body: bytes) -> Iterator[StreamEvent]:
    """Yield the events of a stream, up to where it cannot be read any more."""
    try:
        for start in range(0, len(body), _PIECE_BYTES):
            yield from reader.feed(body[start : start + _PIECE_BYTES])
        yield from reader.end()
    except WireError:
        return


def _each(reader: StreamReader, events: Iterable[bytes]) -> Iterator[StreamEvent]:
    for event in events:
        with suppress(WireError):
            yield from reader.feed(event)

"""Log probabilities of a stream go out with the text they spell, also where text goes out later than it came.

Of each channel what came is held against what goes out. As long as the second is the beginning of the first, nothing of
it was changed, and the tokens that lie in it go into the event in which their last byte goes out. With the first
difference there are none, up to what is known to come out later: there the comparison begins again.
"""

import json
from collections import deque
from collections.abc import Mapping

from sallyport.wire.dialect import Delta, StreamEvent
from sallyport.wire.echoes import Echo, echoes, to_empty, without
from sallyport.wire.jsontext import Json

type Tokens = tuple[tuple[bytes, Json], ...]


MAX_PENDING = 64 * 1024
"""Characters of one text that are remembered; what waits is never more."""


class _Channel:
    """What has come of a text and has not gone out, with its tokens by where they begin and end in it, in UTF-8."""

    __slots__ = ("_changed", "_gone", "_pending", "_tokens")

    def __init__(self) -> None:
        self._pending = ""
        self._tokens: deque[tuple[int, int, Json]] = deque()
        self._gone = 0
        self._changed = False

    def come(self, text: str, tokens: Tokens) -> None:
        end = self._gone + _bytes(self._pending)
        self._pending += text
        for spelled, token in tokens:
            self._tokens.append((end, end + len(spelled), token))
            end += len(spelled)

    def go(self, text: str, held_chars: int) -> list[Json] | None:
        """Return the tokens that go out with a text; None where it is not what came.

        held_chars: how much of what came has not gone out behind it, -1 where nobody knows.
        """
        self._changed = self._changed or not self._pending.startswith(text)
        out: list[Json] | None = None
        if not self._changed:
            self._drop(len(text))
            out = []
            while self._tokens and self._tokens[0][1] <= self._gone:
                out.append(self._tokens.popleft()[2])
        unknown = held_chars < 0
        left = MAX_PENDING if unknown else held_chars
        if self._changed or len(self._pending) > left:
            self._drop(len(self._pending) - left)
            self._changed = unknown
            while self._tokens and self._tokens[0][0] < self._gone:
                self._tokens.popleft()
        return out

    def _drop(self, chars: int) -> None:
        if chars > 0:
            self._gone += _bytes(self._pending[:chars])
            self._pending = self._pending[chars:]


class EchoFlow:
    """The log probabilities of one stream. Events are told in the order in which they go out."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self.begun = False
        """Whether the stream has any: before, no event needs to be told that has none."""

    def write(
        self, event: StreamEvent, texts: Mapping[str, str], held: Mapping[str, int], *, strict: bool
    ) -> dict[str, str | bytes | None]:
        """Return what an event that goes out now is told anew, its texts and its log probabilities.

        texts: its new texts. held: by the pointer of a text, how many characters of its channel go out later, where
        any do; -1 where nobody knows. strict: texts are masked, so that log probabilities that cannot be laid beside
        a text do not go out.
        """
        moved = self._moved(event, texts, held)
        empty = to_empty(event.payload, event.deltas, texts, strict=strict)
        empty = [at for at in empty if not any(place == at or place.startswith(at + "/") for place in moved)]
        return without(texts, [*empty, *moved]) | moved

    def _moved(
        self, event: StreamEvent, texts: Mapping[str, str], held: Mapping[str, int]
    ) -> dict[str, bytes | None]:
        beside = {
            delta.at: echo for echo in echoes(event.payload) if (delta := _spells(echo, event)) is not None
        }
        self.begun = self.begun or bool(beside)
        news: dict[str, bytes | None] = {}
        for delta in event.deltas:
            if delta.whole:
                continue
            channel = self._channels.get(delta.channel)
            if channel is None:
                channel = self._channels[delta.channel] = _Channel()
            echo = beside.get(delta.at)
            at, own = echo.tokens if echo is not None and echo.tokens is not None else ("", ())
            channel.come(delta.text, own)
            out = channel.go(texts.get(delta.at, delta.text), held.get(delta.at, 0))
            if echo is not None and out is not None and not _are(out, own):
                news |= {at: json.dumps(out).encode()} if out else {echo.at: None}
        return news


def _are(out: list[Json], own: Tokens) -> bool:
    return len(out) == len(own) and all(one is token for one, (_, token) in zip(out, own, strict=True))


def _spells(echo: Echo, event: StreamEvent) -> Delta | None:
    """Return the one text beside log probabilities that goes on, if they spell it."""
    if echo.tokens is None:
        return None
    flowing = [d for d in event.deltas if not d.whole and d.at.startswith(echo.beside + "/")]
    spelled = b"".join(part for part, _ in echo.tokens[1])
    said = [delta for delta in flowing if delta.text and _utf8(delta.text) == spelled]
    return said[0] if len(said) == 1 else None


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(_utf8(text))

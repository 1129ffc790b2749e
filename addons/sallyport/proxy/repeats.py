"""Texts that a stream says a second time, whole, once all their pieces have come.

A repetition says what was sent of the pieces, whatever became of them: where the parts of an answer are one text, what
was masked or put back may have gone from one part into the next. A repetition that says something else than the pieces
did is a text of its own.
"""

from collections.abc import Iterator, Mapping
from io import StringIO

from sallyport.wire.dialect import Delta, StreamEvent

MAX_PARTS = 4096
"""Parts of one answer that are followed."""


class _Part:
    """What the provider said of a part, and what the client was sent of it."""

    __slots__ = ("_said", "_said_chars", "_sent")

    def __init__(self) -> None:
        self._said, self._sent = StringIO(), StringIO()
        self._said_chars = 0

    def say(self, text: str) -> None:
        self._said.write(text)
        self._said_chars += len(text)

    def send(self, text: str) -> None:
        self._sent.write(text)

    def says(self, text: str) -> bool:
        return len(text) == self._said_chars and self._said.getvalue() == text

    def said(self) -> str:
        return self._said.getvalue()

    def was_sent(self) -> str:
        return self._sent.getvalue()


class Repeats:
    """The parts of one stream. Events go out in the order in which they came, or not at all.

    max_chars: of all parts together; an event that repeats more is too long to go out.
    """

    def __init__(self, max_chars: int) -> None:
        self._parts: dict[str, _Part] = {}
        self._awaited: dict[int, list[tuple[StreamEvent, str, _Part]]] = {}
        self._max_chars = self._chars_left = max_chars

    def has_room(self, delta: Delta) -> bool:
        """Say whether a text can be followed. A repetition of one that is not would be looked at by itself: the parts
        of a value that is divided are no value in any of them.
        """
        known = delta.part in self._parts or len(self._parts) < MAX_PARTS
        return not delta.part or (known and len(delta.text) <= self._chars_left)

    def note(self, delta: Delta) -> None:
        """Note a piece as it comes, where it can be followed."""
        if delta.part and self.has_room(delta):
            self._chars_left -= len(delta.text)
            self._parts.setdefault(delta.part, _Part()).say(delta.text)

    def take(self, event: StreamEvent, delta: Delta) -> bool:
        """Note a text as it comes; say whether it is a repetition, which needs no look of its own."""
        self.note(delta)
        part = self._parts.get(delta.channel) if delta.whole and self._parts and not delta.part else None
        if part is None or not part.says(delta.text):
            return False
        self._awaited.setdefault(id(event), []).append((event, delta.at, part))
        return True

    def said(self) -> Iterator[str]:
        """Yield what the provider said of each part, in the order in which they began."""
        return (part.said() for part in self._parts.values())

    def write(self, event: StreamEvent, texts: Mapping[str, str]) -> dict[str, str]:
        """Return the repetitions in an event that goes out now, where they differ. texts: its other new texts."""
        if not self._parts and not self._awaited:
            return {}
        again = {at: part.was_sent() for _, at, part in self._awaited.pop(id(event), ())}
        for delta in event.deltas:
            if delta.part and (known := self._parts.get(delta.part)) is not None:
                known.send(texts.get(delta.at, delta.text))
        if event.terminal:
            self._parts.clear()
            self._chars_left = self._max_chars
        return {d.at: again[d.at] for d in event.deltas if again.get(d.at, d.text) != d.text}

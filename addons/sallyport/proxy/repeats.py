"""Texts that a stream says a second time, whole, once all their pieces have come.

A repetition says what was sent of the pieces, whatever became of them: where the parts of an answer are one text, what
was masked or put back may have gone from one part into the next. A repetition that says something else than the pieces
did is a text of its own.
"""

from collections.abc import Mapping

from sallyport.wire.dialect import Delta, StreamEvent

MAX_PARTS = 4096
"""Parts of one answer that are followed; a repetition of any other is looked at by itself."""


class _Part:
    """What the provider said of a part, and what the client was sent of it."""

    __slots__ = ("said", "said_chars", "sent")

    def __init__(self) -> None:
        self.said: list[str] = []
        self.said_chars = 0
        self.sent: list[str] = []

    def says(self, text: str) -> bool:
        if len(text) != self.said_chars:
            return False
        self.said = ["".join(self.said)]
        return self.said[0] == text

    def was_sent(self) -> str:
        self.sent = ["".join(self.sent)]
        return self.sent[0]


class Repeats:
    """The parts of one stream. Events go out in the order in which they came, or not at all."""

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}
        self._awaited: dict[int, list[tuple[StreamEvent, str, _Part]]] = {}

    def take(self, event: StreamEvent, delta: Delta) -> bool:
        """Note a text as it comes; say whether it is a repetition, which needs no look of its own."""
        if delta.part:
            part = self._parts.get(delta.part)
            if part is None and len(self._parts) < MAX_PARTS:
                part = self._parts[delta.part] = _Part()
            if part is not None:
                part.said.append(delta.text)
                part.said_chars += len(delta.text)
            return False
        part = self._parts.get(delta.channel) if delta.whole and self._parts else None
        if part is None or not part.says(delta.text):
            return False
        self._awaited.setdefault(id(event), []).append((event, delta.at, part))
        return True

    def write(self, event: StreamEvent, texts: Mapping[str, str]) -> dict[str, str]:
        """Return the repetitions in an event that goes out now, where they differ. texts: its other new texts."""
        if not self._parts and not self._awaited:
            return {}
        again = {at: part.was_sent() for _, at, part in self._awaited.pop(id(event), ())}
        for delta in event.deltas:
            if delta.part and (known := self._parts.get(delta.part)) is not None:
                known.sent.append(texts.get(delta.at, delta.text))
        if event.terminal:
            self._parts.clear()
        return {d.at: again[d.at] for d in event.deltas if again.get(d.at, d.text) != d.text}

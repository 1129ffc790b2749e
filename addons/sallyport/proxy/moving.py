"""Offsets that an answer tells of its own texts, moved where originals stand in these."""

from collections.abc import Mapping, Sequence
from io import StringIO

from sallyport.exchange import Segment
from sallyport.proxy.flowing import Lookup
from sallyport.stages.shifts import Shifts
from sallyport.wire.dialect import StreamEvent
from sallyport.wire.jsontext import Json
from sallyport.wire.offsets import Offset, may_count, offsets

MAX_CHARS = 256 * 1024
"""Characters of all texts of one stream that are remembered."""

MAX_TEXTS = 1024
"""Texts of one stream that are remembered."""

MAX_LOOKED = 4 * 1024 * 1024
"""Characters of one stream that are laid beside each other, again for every event that tells of a text which has grown.
Beyond any bound offsets are left as they are.
"""


def moved_offsets(
    payload: Json, segments: Sequence[Segment], texts: Mapping[str, str], lookup: Lookup
) -> dict[str, bytes]:
    """Return the offsets of a buffered answer that move, by pointer, as JSON. texts: as they go out, by pointer."""
    known = {s.at: _Text(s.text, texts[s.at]) for s in segments if texts[s.at] != s.text}
    found: dict[str, bytes] = {}
    for one in offsets(payload):
        if one.beside in known:
            found |= known[one.beside].moved(one, lookup)
    return found


class _Text:
    """What has come of a text and what has gone out of it."""

    def __init__(self, said: str = "", sent: str = "") -> None:
        self._said, self._sent = StringIO(), StringIO()
        self._shifts: dict[bool, Shifts] = {}
        self.looked = 0
        self.go(said, sent)

    def go(self, said: str, sent: str) -> None:
        self._said.write(said)
        self._sent.write(sent)
        self._shifts.clear()

    def moved(self, one: Offset, lookup: Lookup) -> dict[str, bytes]:
        """Return an offset by its pointer, nothing where it stays."""
        if one.in_bytes not in self._shifts:
            said, sent = self._said.getvalue(), self._sent.getvalue()
            self.looked += len(said)
            self._shifts[one.in_bytes] = Shifts(said, sent, lookup, in_bytes=one.in_bytes)
        new = self._shifts[one.in_bytes].moved(one.value)
        return {} if new is None else {one.at: str(new).encode()}


class Moving:
    """The offsets of one stream. Events are told in the order in which they go out."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._texts: dict[str, _Text] = {}
        self._chars = 0
        self._looked = 0

    def write(self, event: StreamEvent, texts: Mapping[str, str]) -> dict[str, bytes]:
        """Return the offsets in an event that goes out now, where they move. texts: its new texts."""
        for delta in event.deltas:
            if not delta.whole and self._chars <= MAX_CHARS:
                self._chars += len(delta.text)
                text = self._texts.setdefault(delta.part or delta.channel, _Text())
                text.go(delta.text, texts.get(delta.at, delta.text))
        if self._chars > MAX_CHARS or len(self._texts) > MAX_TEXTS:
            self._texts.clear()
            self._chars = MAX_CHARS + 1
        found: dict[str, bytes] = {}
        if may_count(event.raw) and self._looked < MAX_LOOKED:
            beside = {d.at: _Text(d.text, texts[d.at]) for d in event.deltas if d.whole and d.at in texts}
            whole = {d.at for d in event.deltas if d.whole}
            for one in offsets(event.payload):
                known = beside.get(one.beside) if one.beside in whole else self._texts.get(one.channel)
                if known is not None:
                    before = known.looked
                    found |= known.moved(one, self._lookup)
                    self._looked += known.looked - before
        if event.terminal:
            self._texts.clear()
            self._chars = 0
        return found

"""What stands where segments of one surface meet: a value split over strings or messages shows only there."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sallyport.exchange import Segment, Surface

REACH = 160
"""Characters either side of a place where two segments meet that are read together."""

_BLOCK = 2048
"""Characters after which a run of short segments begins a new ribbon: a conversation grows at its end, and what was
read before it grew is found in the cache."""


@dataclass(frozen=True, slots=True)
class Ribbon:
    """Neighbouring segments joined without anything between; of a long one, only its end or its beginning.

    pieces: (offset in text, segment index, offset in segment), in order.
    """

    text: str
    surface: Surface
    pieces: tuple[tuple[int, int, int], ...]

    def meets(self, start: int, end: int) -> bool:
        """Say whether two segments meet inside text[start:end]."""
        index = bisect_right(self.pieces, (start, len(self.text), 0))
        return index < len(self.pieces) and self.pieces[index][0] < end

    def parts(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return (segment index, start, end) of what text[start:end] covers."""
        found = []
        index = bisect_right(self.pieces, (start, len(self.text), 0)) - 1
        while index < len(self.pieces) and self.pieces[index][0] < end:
            offset, segment, origin = self.pieces[index]
            stop = self.pieces[index + 1][0] if index + 1 < len(self.pieces) else len(self.text)
            low, high = max(start, offset), min(end, stop)
            if low < high:
                found.append((segment, origin + low - offset, origin + high - offset))
            index += 1
        return found


def message(at: str) -> str:
    """Return what a pointer's message is known by: the first two steps, such as /messages/3.

    A string that lies in a plain list or a plain member (/prompt/3, /metadata/note) belongs to all beside it.
    """
    steps = at.split("/", 3)
    return "/".join(steps[:3] if len(steps) > 3 else steps[:-1])


def ribbons(segments: Sequence[Segment]) -> Iterator[Ribbon]:
    """Yield ribbons in which every meeting of two neighbours in the body, of one surface, stands with its REACH.

    Together they are hardly longer than the texts. Names of members meet names, values meet values. Headers and
    queries (their pointers begin with "~") are in none: each begins with its own name.
    """
    surfaces: dict[tuple[Surface, bool], list[int]] = {}
    for index, segment in enumerate(segments):
        if segment.text and not segment.at.startswith("~"):
            surfaces.setdefault((segment.surface, segment.at.endswith("~k")), []).append(index)
    for (surface, _), members in surfaces.items():
        if len(members) > 1:
            yield from _of_surface(segments, surface, members)


def _of_surface(segments: Sequence[Segment], surface: Surface, members: Sequence[int]) -> Iterator[Ribbon]:
    pieces: list[tuple[int, int, str]] = []  # segment index, offset in segment, text
    length = 0
    joined = 0  # segments added since the ribbon began
    for index in members:
        text = segments[index].text
        is_long = len(text) > 2 * REACH
        pieces.append((index, 0, text[:REACH] if is_long else text))
        length += len(pieces[-1][2])
        joined += 1
        if is_long or length > _BLOCK:
            if joined > 1:
                yield _ribbon(surface, pieces)
            pieces = [(index, len(text) - REACH, text[-REACH:])] if is_long else _end_of(pieces)
            length = sum(len(p[2]) for p in pieces)
            joined = 1
    if joined > 1:
        yield _ribbon(surface, pieces)


def _end_of(pieces: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Return the last pieces, twice REACH of text, so that every meeting is whole in one of two ribbons."""
    kept, room = [], 2 * REACH
    for index, origin, text in reversed(pieces):
        kept.append((index, origin + max(0, len(text) - room), text[-room:]))
        room -= len(text)
        if room <= 0:
            break
    return kept[::-1]


def _ribbon(surface: Surface, pieces: Sequence[tuple[int, int, str]]) -> Ribbon:
    places, offset = [], 0
    for index, origin, text in pieces:
        places.append((offset, index, origin))
        offset += len(text)
    return Ribbon("".join(p[2] for p in pieces), surface, tuple(places))

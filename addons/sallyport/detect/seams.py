"""What stands where two segments of one surface meet: a value split over messages shows only there."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sallyport.exchange import Segment, Surface

REACH = 160
"""Characters either side of a seam that are read together."""


@dataclass(frozen=True, slots=True)
class Seam:
    """The end of one run of text and the beginning of the next, joined without anything between.

    middle: offset in text where the two meet. pieces: (offset in text, segment index, offset in segment).
    """

    text: str
    surface: Surface
    middle: int
    pieces: tuple[tuple[int, int, int], ...]

    def parts(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return (segment index, start, end) of what text[start:end] covers."""
        found = []
        offsets = [p[0] for p in self.pieces] + [len(self.text)]
        index = bisect_right(offsets, start) - 1
        while index < len(self.pieces) and offsets[index] < end:
            offset, segment, origin = self.pieces[index]
            low, high = max(start, offset), min(end, offsets[index + 1])
            if low < high:
                found.append((segment, origin + low - offset, origin + high - offset))
            index += 1
        return found


def message(at: str) -> str:
    """Return what a pointer's message is known by: the first two steps, such as /messages/3."""
    return "/".join(at.split("/", 3)[:3])


def seams(segments: Sequence[Segment]) -> Iterator[Seam]:
    """Yield a seam for every two neighbours of the body among the segments of each surface, in order.

    Headers and queries (their pointers begin with "~") have none: each begins with its own name.
    """
    surfaces: dict[Surface, list[int]] = {}
    for index, segment in enumerate(segments):
        if segment.text and not segment.at.startswith("~"):
            surfaces.setdefault(segment.surface, []).append(index)
    for surface, members in surfaces.items():
        for place in range(1, len(members)):
            yield _seam(segments, surface, members, place)


def _seam(segments: Sequence[Segment], surface: Surface, members: Sequence[int], place: int) -> Seam:
    before: list[tuple[int, int, str]] = []
    room = REACH
    for index in reversed(members[:place]):
        text = segments[index].text
        tail = text[-room:]
        before.append((index, len(text) - len(tail), tail))
        room -= len(tail)
        if room <= 0:
            break
    after: list[tuple[int, int, str]] = []
    room = REACH
    for index in members[place:]:
        head = segments[index].text[:room]
        after.append((index, 0, head))
        room -= len(head)
        if room <= 0:
            break
    pieces, offset = [], 0
    for index, origin, text in [*reversed(before), *after]:
        pieces.append((offset, index, origin))
        offset += len(text)
    joined = "".join(t for _, _, t in [*reversed(before), *after])
    return Seam(joined, surface, sum(len(t) for _, _, t in before), tuple(pieces))

"""Long texts in windows that begin and end between words, overlapping, so that every name is whole in one.

Where a window ends depends on the text before that end only: a text that grows keeps its earlier windows, and
what was found in them is still known. Offsets are code points.
"""

import re
from collections.abc import Iterable

from sallyport.detect.cache import Hit

WINDOW = 2000
"""Longest window in characters."""

OVERLAP = 200
"""Characters that a window shares with the one before, at most; a longer name may come back in two."""

_ENDS = (("\n",), (". ", "! ", "? ", "\u3002", "\uff01", "\uff1f"), (" ", "\t", "\r", "\u00a0", "\u3000"))
_SPACE = re.compile(r"\s+")


def cut(text: str) -> list[tuple[int, int]]:
    """Return the windows of a text in order; together they cover it. One for a short text, none for none."""
    windows: list[tuple[int, int]] = []
    start = 0
    while len(text) - start > WINDOW:
        end = _end(text, start + WINDOW // 2, start + WINDOW)
        windows.append((start, end))
        gap = _SPACE.search(text, end - OVERLAP, end)
        start = gap.end() if gap is not None and gap.end() < end else end - OVERLAP
    if len(text) > start:
        windows.append((start, len(text)))
    return windows


def join(windows: Iterable[tuple[int, tuple[Hit, ...]]]) -> list[Hit]:
    """Return the hits of all windows without overlaps; of two that overlap the longer, then the surer one.

    windows: offset of each window in the text, and what was found in it.
    """
    moved = [Hit(h.rule, h.start + offset, h.end + offset, h.score) for offset, hits in windows for h in hits]
    kept: list[Hit] = []
    for hit in sorted(moved, key=lambda h: (h.start, -h.end, -h.score)):
        if not kept or hit.start >= kept[-1].end:
            kept.append(hit)
        elif _weight(hit) > _weight(kept[-1]):
            kept[-1] = hit
    return kept


def readable(text: str) -> str:
    """Return a text as an engine should see it: the line breaks and tabs of JSON inside JSON as white space.

    Every character keeps its place.
    """
    if "\\" not in text:
        return text
    return text.replace("\\n", " \n").replace("\\r", "  ").replace("\\t", "  ")


def _weight(hit: Hit) -> tuple[int, float]:
    return hit.end - hit.start, hit.score


def _end(text: str, low: int, high: int) -> int:
    """Return the last place in [low, high] where a line, else a sentence, else a word ends."""
    for marks in _ENDS:
        last = max(text.rfind(mark, low, high) + len(mark) if mark in text[low:high] else 0 for mark in marks)
        if last > 0:
            return last
    return high

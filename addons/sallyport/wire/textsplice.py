"""Edits spliced into one plain text. Offsets are code points."""

from collections.abc import Sequence

from sallyport.decision import Edit
from sallyport.wire.errors import WireError


def spliced(text: str, edits: Sequence[Edit]) -> str:
    """Return a text with edits applied. Raises WireError edit.range, edit.overlap, edit.surrogate."""
    ordered = sorted(edits, key=lambda e: (e.start, e.end))
    pieces: list[str] = []
    position = 0
    for number, one in enumerate(ordered):
        if not 0 <= one.start <= one.end <= len(text):
            raise WireError("edit.range")
        # Two insertions at one place have no order.
        if one.start < position or (number and one.end == ordered[number - 1].start):
            raise WireError("edit.overlap")
        pieces += (text[position : one.start], one.replacement)
        position = one.end
    result = "".join((*pieces, text[position:]))
    if not result.isascii() and any("\ud800" <= c <= "\udfff" for c in result):
        raise WireError("edit.surrogate")
    return result

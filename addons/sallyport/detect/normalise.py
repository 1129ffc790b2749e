"""A text as the rules see it, and for every place in it the exact place in the original.

One pass, linear, no state. ASCII text without entities, escapes or control characters is its own view.
Folding is per code point (see fold.py); HTML entities and string escapes (\\n, \\u0041) are single pieces.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from html.entities import html5

from sallyport.fold import FOLD

_CONTROLS = bytes([*range(9), 11, 12, *range(14, 32), 127])
_SPECIAL = re.compile(
    r"[^\t\n\r -%'-\[\]-~]"  # skipped over quickly, since all begin with one of these
    r"(?:(?<=&)(?P<entity>(?:amp;){0,3}(?:#[0-9]{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[a-zA-Z][a-zA-Z0-9]{1,31};))"
    r"|(?<=\\)(?P<escape>\\{0,7}(?:u[dD][89abAB][0-9a-fA-F]{2}\\{1,8}u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|u\{[0-9a-fA-F]{1,6}\}|U00[0-9a-fA-F]{6}|[01][0-7]{2}|[nrt\"/,;_]))"
    r"|(?P<control>(?<=\x1b)\[[0-9;]{0,16}[A-Za-z]|(?<=[\x00-\x1f\x7f])[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*)"
    r"|(?<=[^\x00-\x7f])(?P<wide>[^\x00-\x7f]*))"
)
_HEX = re.compile(r"[0-9a-fA-F]{2,8}")


@dataclass(frozen=True, slots=True)
class View:
    """A folded text with its map back; offsets are code points on both sides.

    text: what rules match on.
    starts, lows, highs: pieces in order: text[starts[i]:starts[i+1]] came from [lows[i], highs[i]) of the
        original; highs[i] is -1 where both advance in step. Empty for the identity.
    """

    text: str
    starts: tuple[int, ...] = ()
    lows: tuple[int, ...] = ()
    highs: tuple[int, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the original span of text[start:end]; an empty span maps to an empty one.

        Decoded pieces may stand in another order than in the original: then the span holds both.
        """
        if not self.starts:
            return start, end
        first = bisect_right(self.starts, start) - 1
        low = self.lows[first]
        if self.highs[first] < 0:
            low += start - self.starts[first]
        if end <= start:
            return low, low
        last = bisect_right(self.starts, end - 1) - 1
        high = self.highs[last]
        if high < 0:
            high = self.lows[last] + end - self.starts[last]
        if high <= low:
            return self.span(end - 1, end)[0], self.span(start, start + 1)[1]
        return low, high


class Builder:
    """Collects the pieces of a view, in the order of its text."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._starts: list[int] = []
        self._lows: list[int] = []
        self._highs: list[int] = []
        self._length = 0

    def linear(self, low: int, text: str) -> None:
        """Add text whose characters stand one for one from `low` on in the original."""
        if not text:
            return
        if not (
            self._starts and self._highs[-1] < 0 and self._lows[-1] + self._length - self._starts[-1] == low
        ):
            self._piece(low, -1)
        self._parts.append(text)
        self._length += len(text)

    def block(self, low: int, high: int, text: str) -> None:
        """Add text that stands as a whole for the original's [low, high)."""
        if not text:
            return
        self._piece(low, high)
        self._parts.append(text)
        self._length += len(text)

    def copy(self, view: View, start: int, end: int) -> None:
        """Add view.text[start:end] with the places it came from."""
        if not view.starts:
            self.linear(start, view.text[start:end])
            return
        index = bisect_right(view.starts, start) - 1
        while start < end:
            stop = min(end, view.starts[index + 1]) if index + 1 < len(view.starts) else end
            if view.highs[index] < 0:
                self.linear(view.lows[index] + start - view.starts[index], view.text[start:stop])
            else:
                self.block(view.lows[index], view.highs[index], view.text[start:stop])
            start, index = stop, index + 1

    def view(self) -> View:
        return View("".join(self._parts), tuple(self._starts), tuple(self._lows), tuple(self._highs))

    def _piece(self, low: int, high: int) -> None:
        self._starts.append(self._length)
        self._lows.append(low)
        self._highs.append(high)


def normalise(text: str, check: Callable[[], None] = lambda: None) -> View:
    """Return the view of a text; lone surrogates become U+FFFD.

    check: called for every piece that is not one character for one; it may raise, and nothing else does.
    """
    if text.isascii() and not _has_special_ascii(text):
        return View(text)
    out = Builder()
    begun = done = 0
    step: list[str] = []
    """What stands one for one from `begun` on."""
    for match in _SPECIAL.finditer(text):
        start, end = match.span()
        kind, piece = match.lastgroup, match.group()
        folded = [FOLD[c] for c in piece] if kind == "wide" else []
        joined = folded[0] if len(folded) == 1 else "".join(folded)
        if folded and len(joined) == len(folded) and "" not in folded:
            step += text[done:start], joined
            done = end
            continue
        decoded = _decode(piece) if kind in ("entity", "escape") else ""
        if decoded is None:
            continue
        check()
        out.linear(begun, "".join((*step, text[done:start])))
        step.clear()
        if folded:
            _unequal(out, start, folded, check)
        else:
            out.block(start, end, decoded)
        begun = done = end
    if done == 0:
        return View(text)
    out.linear(begun, "".join((*step, text[done:])))
    return out.view()


def _has_special_ascii(text: str) -> bool:
    if "&" in text or "\\" in text:
        return True
    raw = text.encode("ascii")
    return len(raw.translate(None, _CONTROLS)) != len(raw)


def _unequal(out: Builder, start: int, folded: list[str], check: Callable[[], None]) -> None:
    run = 0
    for index, piece in enumerate(folded):
        if len(piece) == 1:
            continue
        check()
        out.linear(start + run, "".join(folded[run:index]))
        out.block(start + index, start + index + 1, piece)
        run = index + 1
    out.linear(start + run, "".join(folded[run:]))


def _decode(piece: str) -> str | None:
    """Return what an entity or escape stands for, folded; None where it stands for itself."""
    if piece[0] == "&":
        return _entity(piece[1:].rstrip(";").rsplit(";", 1)[-1])
    body = piece.lstrip("\\")
    if body[0] in "nrt":
        return {"n": "\n", "r": "\r", "t": "\t"}[body[0]]
    if body[0] in '"/,;_':
        return body[0]
    if body[0] in "01":
        return FOLD[chr(int(body, 8))]
    codes = [int(code, 16) for code in _HEX.findall(body)] or [int(body.strip("u{}"), 16)]
    if len(codes) == 2:
        codes = [0x10000 + ((codes[0] - 0xD800) << 10) + (codes[1] - 0xDC00)]
    return FOLD[chr(codes[0])] if codes[0] < 0x110000 else None


def _entity(name: str) -> str | None:
    if name[0] != "#":
        char = html5.get(name + ";")
        return None if char is None else "".join(FOLD[c] for c in char)
    code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    return FOLD[chr(code)] if 0 < code < 0x110000 else None

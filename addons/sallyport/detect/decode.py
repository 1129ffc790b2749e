"""Texts hidden inside a text: base64, base32, hex, percent encoding, quoted-printable, rot13, invisible characters.

Each gives a derived view; whatever a rule finds in it maps to the whole encoded run in the original
(percent-encoded text maps exactly). A layer yields no more text than it was given, but for what is inflated, which
has a bound of its own, and there are two layers, so the work is linear.
"""

import re
from collections.abc import Callable, Iterator

from sallyport.detect import linear
from sallyport.detect.encodedruns import Runs
from sallyport.detect.identifiers import IBAN_LENGTHS
from sallyport.detect.normalise import Builder, View, normalise

LAYERS = 2
_PERCENT = linear.pattern(r"(?:%[0-9a-fA-F]{2})+")
_QUOTED = linear.pattern(r"(?:=[0-9a-fA-F]{2}|=\r?\n)+")
_HEADER_WORD = linear.pattern(r"=\?[A-Za-z0-9-]{2,20}\?[Qq]\?([!->@-~]{1,80})\?=")
_ESCAPES = re.compile(r"(?:=[0-9a-fA-F]{2})+")
_PLUSSED = linear.pattern(r"\b[A-Za-z0-9]+(?:\+[A-Za-z0-9]+){2,}\b")
_ROTATION = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "nopqrstuvwxyzabcdefghijklmNOPQRSTUVWXYZABCDEFGHIJKLM",
)
_COUNTRIES = "|".join(IBAN_LENGTHS).translate(_ROTATION)
_ROTATED = linear.pattern(
    r"(?i:\b(?:vtaber|qvfertneq|sbetrg|vafgehpgvba|cnffjbeq|flfgrz)"
    r"|@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:pbz|bet|arg|vb|qr|se|rqh|tbi|px)\b)"
    r"|\b(?:fx|tuc|kbko|uis?|cx)[-_][A-Za-z0-9]"
    rf"|\b(?:{_COUNTRIES})[0-9]{{2}}(?: ?[A-Z0-9]{{4}}){{3}}"
)
_SPACED = linear.pattern(r"\b(?:[A-Za-z0-9@.][ ._*|/-]{1,3}){7,}[A-Za-z0-9]\b")
_ANY = linear.pattern(
    r"[A-Za-z0-9+/_-]{14}|%[0-9a-fA-F]{2}|=[0-9a-fA-F]{2}|=\r?\n|(?:[0-9a-fA-F]{2}[ :,-]{1,2}(?:0x)?){11}"
    r"|\b(?:[0-9a-fA-F]{4} ){5}|\b(?:[0-9a-fA-F]{8} ){2}"
    r"|[A-Za-z0-9]\+[A-Za-z0-9]+\+[A-Za-z0-9]"
    r"|\b(?:[A-Za-z0-9@.][ ._*|/-]{1,3}){7}"
)
_TAGS = re.compile("[\U000e0020-\U000e007f]{4,}")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_INVISIBLE = (b"\xf3\xa0", b"\xef\xb8")
"""How these characters begin in UTF-8, and few others."""

_UNSEEN = linear.pattern(f"{_TAGS.pattern}|{_SELECTORS.pattern}")

_FLAGS = frozenset({"gbeng", "gbsct", "gbwls"})
_APART = re.compile(r"([A-Za-z0-9@.])[ ._*|/-](?=\S)")
_TWO_APART = re.compile(r"[A-Za-z0-9][ ._*|/-](?=[A-Za-z0-9])")
_AT_ONCE = 16_384
"""Characters that are put together in one call, during which no other thread runs."""

_LETTERS = re.compile(r"[A-Za-z]")
_DIGITS = re.compile(r"[0-9]")
_BREAK = re.compile(r"[\r\n]")
_NOT_HEX = re.compile(r"[^0-9a-fA-F]+")
_ROTATED_WITH = 2_000
"""Characters either side of a word in rot13 that are read with it."""

_NEXT_SETTING = re.compile(r"(?:export )?[A-Z][A-Z0-9_]{1,60}=(?![0-9A-Fa-f]{2}|\r?\n|=)")
"""Behind a value that ends in "=" and its line: no soft break. Another escape behind it is no setting."""

_PADDED = re.compile(r"(?:(?<![A-Za-z0-9+/=])|(?<=[A-Za-z_]=))(?:[A-Za-z0-9+/]{4}){4,}[A-Za-z0-9+/]{3}$")
_NAMED_LINE = re.compile(
    r"[ \t]{0,16}[A-Za-z_][\w .-]{0,40}[\"']?(?:[ \t]?=[ \t]|:[ \t]|=(?![0-9A-Fa-f]{2}|\r?\n|=))"
    r"|[ \t]{0,16}[A-Za-z_][\w.@-]{0,40}:[^\s/:]|//[\w.-]{1,60}/[\w./-]{0,40}:[A-Za-z_]{1,30}="
    r"|[ \t]{0,16}[\[#}]|\s*$"
)
"""Behind base64 that is whole with one "=": a line that sets something, one of a user, a heading, or no more."""

_AMOUNT = re.compile(r"\d{2,4}(?:[mu]?s|min|h|d|%|[kKMGT]i?B?)(?![^\s,;\"'])")
"""A number with its unit, which settings have."""

_HEX_VALUE = re.compile(r"(?:[0-9a-f]{16,}|[0-9A-F]{16,})(?![\w=/+-])")
"""A value that is nothing but hex: its first two digits are no escape."""

_NAME_BEFORE = re.compile(r"[A-Za-z_]")
_KINDS = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]"))
_SHORT_GAP = 80
"""Characters between two escapes that are read with them: a line of quoted-printable."""


def views(text: str, check: Callable[[], None]) -> Iterator[tuple[View, str]]:
    """Yield a text as rules see it, each view with its kind: text, hidden, decoded. Raises as derived does."""
    view = normalise(text, check)
    yield view, "text"
    unseen = hidden(text, check)
    if unseen is not None:
        yield unseen, "hidden"
        yield unseen, "decoded"
    for _ in range(LAYERS):
        inner = derived(view, check)
        if inner is None:
            return
        yield inner, "decoded"
        view = inner


def derived(view: View, check: Callable[[], None] = lambda: None) -> View | None:
    """Return one layer of what is encoded in a view, joined by newlines; None where there is nothing.

    check: called for every run; it may raise, which ends this. Raises ScanIncomplete for what inflates too far.
    """
    text = view.text
    subject = linear.Subject(text)
    rotated = _ROTATED.occurs(subject.raw, 0, len(subject.raw))
    escaped = normalise(text, check) if "&" in text or "\\" in text else view
    if not rotated and escaped.text == text and not _ANY.occurs(subject.raw, 0, len(subject.raw)):
        return None
    out = Builder()
    for start, end, decoded in Runs(subject, check):
        low, high = view.span(start, end)
        out.block(low, high, normalise(decoded).text + "\n")
    if "%" in text:
        _escaped(view, subject, out, _PERCENT, check)
    if "=" in text:
        _escaped(view, subject, out, _QUOTED, check)
    if "+" in text:
        _plussed(view, subject, out)
    if "=?" in text:
        _header_words(view, subject, out)
    _spaced(view, subject, out, check)
    if rotated:
        _rotate(view, subject, out)
    if escaped.text != text:
        _again(view, escaped, out)
    result = out.view()
    return result if result.text else None


def hidden(text: str, check: Callable[[], None] = lambda: None) -> View | None:
    """Return letters written in invisible characters, from the original text; None where there are none.

    A run counts from four ASCII letters or six digits on; the flags of England, Scotland and Wales do not.
    check: called for every run; it may raise, which ends this.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if not any(lead in raw for lead in _INVISIBLE) or not _UNSEEN.occurs(raw, 0, len(raw)):
        return None
    out = Builder()
    for match in _TAGS.finditer(text):
        check()
        decoded = "".join(chr(ord(c) - 0xE0000) for c in match.group()).replace("\x7f", "")
        flag = match.start() > 0 and text[match.start() - 1] == "\U0001f3f4" and decoded in _FLAGS
        if not flag and _is_written(decoded):
            out.block(match.start(), match.end(), normalise(decoded).text + "\n")
    for match in _SELECTORS.finditer(text):
        check()
        raw = bytes(_selector_byte(ord(c)) for c in match.group())
        decoded = raw.decode("utf-8", "ignore")
        if _is_written(decoded):
            out.block(match.start(), match.end(), normalise(decoded).text + "\n")
    view = out.view()
    return view if view.text else None


def _selector_byte(code: int) -> int:
    return code - 0xFE00 if code <= 0xFE0F else code - 0xE0100 + 16


def _is_written(decoded: str) -> bool:
    return len(_LETTERS.findall(decoded)) >= 4 or len(_DIGITS.findall(decoded)) >= 6


def _escaped(
    view: View, subject: linear.Subject, out: Builder, escape: linear.Pattern, check: Callable[[], None]
) -> None:
    """Decode the words that hold escapes of two hex digits; every other character keeps its exact place."""
    text = view.text
    done = -1
    for match in escape.finditer(subject):
        check()
        start, end = match.span()
        raw = bytes.fromhex(_NOT_HEX.sub("", text[start:end]))
        if escape is _QUOTED and (
            _is_line_end(text, start, end) if not raw else len(raw) == 1 and _is_assignment(text, start, raw)
        ):
            continue
        if start > done:
            if done >= 0:
                tail = _word_end(text, done)
                if start - tail <= _SHORT_GAP:
                    tail = start
                out.copy(view, done, min(tail, start))
                if tail < start:
                    out.block(*view.span(done, done + 1), "\n")
                    done = -1
            if done < 0:
                out.copy(view, _word_start(text, start), start)
        low, high = view.span(start, end)
        out.block(low, high, normalise(raw.decode("utf-8", "replace")).text)
        done = end
    if done >= 0:
        out.copy(view, done, _word_end(text, done))
        # Two breaks: behind a value that ends in "=", one would be a soft break to the next layer.
        out.block(*view.span(done - 1, done), "\n\n")


def _is_line_end(text: str, start: int, end: int) -> bool:
    """Say whether what looks like soft breaks ends a value: one with padding, which mail would escape, or a setting."""
    if text[start - 1 : start] == "=" or _NEXT_SETTING.match(text, end) is not None:
        return True
    return (
        _NAMED_LINE.match(text, end) is not None
        and (padded := _PADDED.search(text, max(0, start - _SHORT_GAP), start)) is not None
        and all(kind.search(padded.group()) for kind in _KINDS)
    )


def _is_assignment(text: str, start: int, raw: bytes) -> bool:
    """Say whether what looks like one escape of quoted-printable is the beginning of a value: HOST=255.255.255.0.

    Read as an escape, it would make another value of what is left. raw: the byte that it would stand for.
    """
    if raw[0] > 127:
        return True  # no character of UTF-8 by itself
    if raw not in b" =\t\r\n" and _HEX_VALUE.match(text, start + 1) and start and text[start - 1].isalnum():
        return True
    return (
        raw != b" "  # the one escape that mail libraries do put before a number
        and (text[start + 1 : start + 4].isdigit() or _AMOUNT.match(text, start + 1) is not None)
        and _NAME_BEFORE.match(text, start - 1 if start else len(text)) is not None
    )


def _rotate(view: View, subject: linear.Subject, out: Builder) -> None:
    """Read what stands around words in rot13, up to the ends of lines or words, with every letter moved back."""
    text = view.text
    low = high = 0
    for match in _ROTATED.finditer(subject):
        start, end = match.span()
        if start - _ROTATED_WITH > high:
            _rotate_part(view, low, high, out)
            low = _word_start(text, start - _ROTATED_WITH)
        high = max(high, _word_end(text, min(end + _ROTATED_WITH, len(text))))
    _rotate_part(view, low, high, out)


def _rotate_part(view: View, low: int, high: int, out: Builder) -> None:
    if low < high:
        _spelled(view, low, view.text[low:high].translate(_ROTATION), out)
        out.block(*view.span(high - 1, high), "\n")


def _plussed(view: View, subject: linear.Subject, out: Builder) -> None:
    """Read words joined by plus signs as a form would: apart."""
    for match in _PLUSSED.finditer(subject):
        start, end = match.span()
        words = view.text[start:end].replace("+", " ")
        _again(view, View(words, (0,), (start,), (-1,)), out)


def _header_words(view: View, subject: linear.Subject, out: Builder) -> None:
    """Read the words of a mail's header that are written in quoted-printable, where _ is a blank (RFC 2047, 4.2)."""
    for match in _HEADER_WORD.finditer(subject):
        done, end = match.span(1)
        for escape in _ESCAPES.finditer(view.text, done, end):
            low, high = escape.span()
            _spelled(view, done, view.text[done:low].replace("_", " "), out)
            raw = bytes.fromhex(escape.group().replace("=", ""))
            out.block(*view.span(low, high), normalise(raw.decode("utf-8", "replace")).text)
            done = high
        _spelled(view, done, view.text[done:end].replace("_", " "), out)
        out.block(*view.span(end - 1, end), "\n")


def _again(view: View, inner: View, out: Builder) -> None:
    """Add a view of a view's text, with the places of the original, and a line end."""
    starts = (*(inner.starts or (0,)), len(inner.text))
    lows, highs = inner.lows or (0,), inner.highs or (-1,)
    for index, low in enumerate(lows):
        text = inner.text[starts[index] : starts[index + 1]]
        if highs[index] < 0:
            _spelled(view, low, text, out)
        else:
            out.block(*view.span(low, highs[index]), text)
    if view.text:
        out.block(*view.span(len(view.text) - 1, len(view.text)), "\n")


def _spelled(view: View, low: int, text: str, out: Builder) -> None:
    """Add a text whose characters stand one for one from `low` on in a view."""
    places = Builder()
    places.copy(view, low, low + len(text))
    mapped = places.view()
    starts = (*mapped.starts, len(text))
    for index, begin in enumerate(mapped.starts):
        piece = text[begin : starts[index + 1]]
        if mapped.highs[index] < 0:
            out.linear(mapped.lows[index], piece)
        else:
            out.block(mapped.lows[index], mapped.highs[index], piece)


def _word_start(text: str, index: int) -> int:
    breaks = [m.end() for m in _BREAK.finditer(text, max(0, index - _SHORT_GAP), index)]
    return breaks[-1] if breaks else max(0, index - _SHORT_GAP)


def _word_end(text: str, index: int) -> int:
    found = _BREAK.search(text, index, min(len(text), index + _SHORT_GAP))
    return found.start() if found else min(len(text), index + _SHORT_GAP)


def _spaced(view: View, subject: linear.Subject, out: Builder, check: Callable[[], None]) -> None:
    """Join l e t t e r s written apart; a wider gap ends a word."""
    for match in _SPACED.finditer(subject):
        start, end = match.span()
        joined = "".join(_joined(view.text[start:end], check))
        out.block(*view.span(start, end), re.sub(r" {2,}", " ", joined) + "\n")


def _joined(text: str, check: Callable[[], None]) -> Iterator[str]:
    """Yield a text without what parts its letters, cut where a letter, what parts it and another one stand."""
    low = 0
    while (cut := _TWO_APART.search(text, low + _AT_ONCE)) is not None:
        check()
        yield _APART.sub(r"\1", text[low : cut.end() + 1])[:-1]
        low = cut.end()
    yield _APART.sub(r"\1", text[low:])

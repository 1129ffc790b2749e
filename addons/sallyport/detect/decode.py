"""Texts hidden inside a text: base64, base32, hex, percent encoding, quoted-printable, rot13, invisible characters.

Each gives a derived view; whatever a rule finds in it maps to the whole encoded run in the original
(percent-encoded text maps exactly). A layer yields no more text than it was given, but for what is inflated, which
has a bound of its own, and there are two layers, so the work is linear.
"""

import base64
import binascii
import codecs
import re
import zlib
from collections.abc import Callable, Iterator

from sallyport.detect import linear
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.identifiers import IBAN_LENGTHS
from sallyport.detect.normalise import Builder, View, normalise

LAYERS = 2
_MAX_INFLATED = 1 << 20
"""Bytes that the compressed runs of a text may inflate to, all together; of a longer text as many as it has letters."""

_FIRST_DIGITS = 400
"""Digits of a run that are inflated to see whether it is worth more."""

_BASE64 = linear.pattern(
    r"[A-Za-z0-9+/_-]{14,}={0,2}(?:\r?\n[> \t]*(?:[A-Za-z0-9+/_-]{4,}={0,2}|[A-Za-z0-9+/_-]{2,3}=))*"
)
_HEX = linear.pattern(
    r"(?:0x)?(?:[0-9a-fA-F]{2}){12,}(?:\r?\n(?:[0-9a-fA-F]{2}){12,})*(?:\r?\n(?:[0-9a-fA-F]{2}){1,11}\b)?"
    r"|\b(?:[0-9a-fA-F]{4}(?: [0-9a-fA-F]{4}){5,}|[0-9a-fA-F]{8}(?: [0-9a-fA-F]{8}){2,})(?: [0-9a-fA-F]{2,6})?\b"
    r"|\b(?:0x)?[0-9a-fA-F]{2}(?:[ :,-]{1,2}(?:0x)?[0-9a-fA-F]{2}){11,}\b"
)
_BASE32 = linear.pattern(r"\b(?:[A-Z2-7]{16,}|[a-z2-7]{16,})(?:={1,6}|\b)")
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

_FLAGS = frozenset({"gbeng", "gbsct", "gbwls"})
_LETTERS = re.compile(r"[A-Za-z]")
_DIGITS = re.compile(r"[0-9]")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_BREAK = re.compile(r"[\r\n]")
_NOT_HEX = re.compile(r"[^0-9a-fA-F]+")
_ROTATED_WITH = 2_000
"""Characters either side of a word in rot13 that are read with it."""

_NEXT_SETTING = re.compile(r"(?:export )?[A-Z][A-Z0-9_]{1,60}=(?![0-9A-Fa-f]{2}|\r?\n|=)")
"""Behind a value that ends in "=" and its line: no soft break. Another escape behind it is no setting."""

_AMOUNT = re.compile(r"\d{2,4}(?:[mu]?s|min|h|d|%|[kKMGT]i?B?)(?![^\s,;\"'])")
"""A number with its unit, which settings have."""

_NAME_BEFORE = re.compile(r"[A-Za-z_]")
_SHORT_GAP = 80
"""Characters between two escapes that are read with them: a line of quoted-printable."""
_PLAIN = str.maketrans("-_", "+/", "> \t\r\n\v\f=")
"""Of base64 as it may be written: for URLs, in lines, quoted in a mail, padded."""

_LINE = re.compile(r"[A-Za-z0-9+/_-]{14,}={0,2}")
_PART = re.compile(r"[A-Za-z0-9+]{14,}={0,2}")
_HEX_LINE = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{2}){12,}")
_PARTED = re.compile(r"[/_-]")
_PACKED = (b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
"""How what gzip and zlib have packed begins."""

_MOST_STREAMS = 64
"""Compressed streams one behind another in a run: each is cut off from a copy of the rest."""

_LINE_END = re.compile(r"={1,2}(?=\r?\n)|[A-Za-z0-9+/_-](?=\r?\n[> \t]*H4sI)")
"""Padding at the end of a line, or a line behind it that begins as gzip does: what follows is something else."""

_LINE_OF_RUN = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


def derived(view: View, check: Callable[[], None] = lambda: None) -> View | None:
    """Return one layer of what is encoded in a view, joined by newlines; None where there is nothing.

    check: called for every run; it may raise, which ends this. Raises ScanIncomplete for what inflates too far.
    """
    text = view.text
    subject = linear.Subject(text)
    rotated = _ROTATED.occurs(subject.raw, 0, len(subject.raw))
    escaped = normalise(text) if "&" in text or "\\" in text else view
    if not rotated and escaped.text == text and not _ANY.occurs(subject.raw, 0, len(subject.raw)):
        return None
    out = Builder()
    for start, end, decoded in _Runs(subject, check):
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
    _spaced(view, subject, out)
    if rotated:
        _rotate(view, subject, out)
    if escaped.text != text:
        _again(view, escaped, out)
    result = out.view()
    return result if result.text else None


def hidden(text: str) -> View | None:
    """Return letters written in invisible characters, from the original text; None where there are none.

    A run counts from four ASCII letters or six digits on; the flags of England, Scotland and Wales do not.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if not any(lead in raw for lead in _INVISIBLE):
        return None
    out = Builder()
    for match in _TAGS.finditer(text):
        decoded = "".join(chr(ord(c) - 0xE0000) for c in match.group()).replace("\x7f", "")
        flag = match.start() > 0 and text[match.start() - 1] == "\U0001f3f4" and decoded in _FLAGS
        if not flag and _is_written(decoded):
            out.block(match.start(), match.end(), normalise(decoded).text + "\n")
    for match in _SELECTORS.finditer(text):
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


class _Runs:
    """The runs of a text that are base64, hex or base32 of something, as (start, end, decoded)."""

    def __init__(self, subject: linear.Subject, check: Callable[[], None]) -> None:
        self._subject = subject
        self._check = check
        self._room = max(_MAX_INFLATED, len(subject.text))

    def __iter__(self) -> Iterator[tuple[int, int, str]]:
        text = self._subject.text
        for start, end in self._found(_HEX):
            whole = _printable(_unhex(text[start:end]))
            if whole is not None and ("\n" not in text[start:end] or _UNPRINTABLE.search(whole) is None):
                yield start, end, whole
                continue
            for line in _HEX_LINE.finditer(text, start, end):
                decoded = _printable(_unhex(line.group()))
                if decoded is not None:
                    yield *line.span(), decoded
        for start, end in self._found(_BASE64):
            yield from self._base64(text[start:end], start)
        for start, end in self._found(_BASE32):
            decoded = _printable(_unbase32(text[start:end]))
            if decoded is not None:
                yield start, end, decoded

    def _found(self, pattern: linear.Pattern) -> Iterator[tuple[int, int]]:
        for match in pattern.finditer(self._subject):
            self._check()
            yield match.span()

    def _base64(self, run: str, offset: int) -> Iterator[tuple[int, int, str]]:
        """Try lines as one run as far as they are plainly text: a word of the text may stand on the next line."""
        low = 0
        if _is_wrapped(run) and (whole := self._unbase64(run)) is not None:
            yield offset, offset + len(run), whole
            return
        while True:
            self._check()
            end = _lines_of_text(run, low)
            padded = _LINE_END.search(run, low) if end == low else None
            end = end if padded is None else padded.end()
            if not low < end < len(run):
                break
            decoded = self._unbase64(run[low:end])
            if decoded is not None:
                yield offset + low, offset + end, decoded
            elif padded is not None:
                break
            rest = _LINE.search(run, end)
            if rest is None:
                return
            low = rest.start()
        run, offset = run[low:], offset + low
        decoded = self._unbase64(run)
        if decoded is not None:
            yield offset, offset + len(run), decoded
        else:
            yield from self._pieces(run, offset)

    def _pieces(self, run: str, offset: int) -> Iterator[tuple[int, int, str]]:
        """Try a run without its last line, which may be a word of the text, then its lines and their parts."""
        shorter = run.rpartition("\n")[0].rstrip("\r")
        decoded = self._unbase64(shorter) if shorter else None
        if decoded is not None:
            yield offset, offset + len(shorter), decoded
            return
        for line in _LINE.finditer(run):
            written = line.group()
            decoded = self._unbase64(written) if written != run else None
            if decoded is not None:
                yield offset + line.start(), offset + line.end(), decoded
                continue
            if not _PARTED.search(written):
                continue
            for part in _PART.finditer(written):
                decoded = self._unbase64(part.group())
                if decoded is not None:
                    start = offset + line.start() + part.start()
                    yield start, start + len(part.group()), decoded

    def _unbase64(self, run: str) -> str | None:
        body = run.translate(_PLAIN)
        if len(body) % 4 == 1:
            return None
        try:
            raw = _bytes(body[:24])
            packed = raw.startswith(_PACKED)
            if not packed and _printable(raw[:12], cut=True) is None:
                return self._deflated(body) if _may_be_deflated(raw) else None
            raw = _bytes(body)
        except (binascii.Error, ValueError):
            return None
        return _printable(self._inflated(raw)) if packed else _printable(raw) or self._deflated(body)

    def _deflated(self, body: str) -> str | None:
        """Return what a deflate stream without any header holds, if it is whole and is text."""
        engine = zlib.decompressobj(wbits=-15)
        try:
            first = engine.decompress(_bytes(body[:_FIRST_DIGITS]), 512)
            if not first and len(body) > _FIRST_DIGITS:
                return None
            if first and _printable(first, cut=True) is None:
                return None
            engine = zlib.decompressobj(wbits=-15)
            raw = engine.decompress(_bytes(body), self._room + 1)
        except (zlib.error, binascii.Error, ValueError):
            return None
        self._take(len(raw))
        return _printable(raw) if engine.eof else None

    def _inflated(self, raw: bytes) -> bytes:
        """Return what one compressed stream holds, and those that follow it without a gap."""
        inflated = b""
        for _ in range(_MOST_STREAMS):
            if not raw.startswith(_PACKED):
                return inflated
            engine = zlib.decompressobj(wbits=47)
            try:
                more = engine.decompress(raw, self._room + 1)
            except zlib.error:
                return inflated
            self._take(len(more))
            inflated += more
            raw = engine.unused_data
            if raw.startswith(_PACKED[1:]):
                inflated += b"\n"  # members of gzip are parts of one text, streams of zlib are not
        raise ScanIncomplete(f"a run inside a text holds more than {_MOST_STREAMS} compressed streams")

    def _take(self, inflated: int) -> None:
        self._room -= inflated
        if self._room < 0:
            raise ScanIncomplete("the compressed runs inside a text inflate together beyond 1 MiB")


def _is_wrapped(run: str) -> bool:
    """Say whether a run is one that a program has wrapped, and the last line no word: it may hold odd characters."""
    if "\n" not in run or _LINE_END.search(run) is not None:
        return False
    lines = [line.strip("> \t\r") for line in run.split("\n")]
    width = len(lines[0])
    alike = all(len(line) == width for line in lines[:-1]) and len(lines[-1]) <= width
    return alike and (len(lines) > 2 or width >= 60) and _lines_of_text(run, 0) < run.rfind("\n") - 1


def _lines_of_text(run: str, low: int) -> int:
    """Return where the last of the lines ends that are, from `low` on, base64 of text without an odd character.

    All of a run of one line; `low` where the first of several is nothing of that kind.
    """
    if run.find("\n", low) < 0:
        return len(run)
    decoder = codecs.getincrementaldecoder("utf-8")()
    end, kept = low, ""
    for line in _LINE_OF_RUN.finditer(run, low):
        kept += line.group().translate(_PLAIN)
        whole = len(kept) & ~3
        try:
            text = decoder.decode(binascii.a2b_base64(kept[:whole]))
        except (UnicodeDecodeError, binascii.Error):
            return end
        if _UNPRINTABLE.search(text):
            return end
        end, kept = line.end(), kept[whole:]
        if line.group().endswith("="):
            return end
    return end


def _unhex(run: str) -> bytes:
    digits = re.sub(r"0x|[^0-9a-fA-F]", "", run)
    return bytes.fromhex(digits) if len(digits) % 2 == 0 else b""


def _unbase32(run: str) -> bytes:
    body = run.rstrip("=").upper()
    if len(body) % 8 in (1, 3, 6):
        return b""
    return base64.b32decode(body + "=" * (-len(body) % 8))


def _bytes(body: str) -> bytes:
    return binascii.a2b_base64(body + "=" * (-len(body) % 4))


def _may_be_deflated(head: bytes) -> bool:
    """Say whether a deflate stream can begin so (RFC 1951, 3.2.3): most other bytes need not be tried."""
    kind = head[0] >> 1 & 3
    if kind == 0:
        return head[1] ^ head[3] == head[2] ^ head[4] == 0xFF
    return kind == 1 or (kind == 2 and head[0] >> 3 <= 29 and head[1] & 31 <= 29)


def _printable(raw: bytes, *, cut: bool = False) -> str | None:
    """Return bytes as text where they plainly are text: at most one odd character in eight.

    cut: the bytes end anywhere, so that a character may be cut in two there.
    """
    if not raw:
        return None
    charset = "utf-8"
    if len(raw) > 3:
        charset = {(0, 0): "utf-16-le"}.get(
            (raw[1], raw[3]), {(0, 0): "utf-16-be"}.get((raw[0], raw[2]), charset)
        )
    text = raw.decode(charset, "replace")
    if cut:
        text = text.rstrip("\ufffd")
    return text if 8 * len(_UNPRINTABLE.findall(text)) <= len(text) else None


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
    return text[start - 1 : start] == "=" or _NEXT_SETTING.match(text, end) is not None


def _is_assignment(text: str, start: int, raw: bytes) -> bool:
    """Say whether what looks like one escape of quoted-printable is the beginning of a value: HOST=255.255.255.0.

    Read as an escape, it would make another value of what is left. raw: the byte that it would stand for.
    """
    if raw[0] > 127:
        return True  # no character of UTF-8 by itself
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


def _spaced(view: View, subject: linear.Subject, out: Builder) -> None:
    """Join l e t t e r s written apart; a wider gap ends a word."""
    for match in _SPACED.finditer(subject):
        start, end = match.span()
        joined = re.sub(r"([A-Za-z0-9@.])[ ._*|/-](?=\S)", r"\1", view.text[start:end])
        out.block(*view.span(*match.span()), re.sub(r" {2,}", " ", joined) + "\n")

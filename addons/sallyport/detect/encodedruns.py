"""Runs in a text that are base64, hex or base32 of text, compressed or not, and what they hold.

The work is linear in the text and in what is inflated, which has a bound.
"""

import base64
import binascii
import codecs
import re
import zlib
from collections.abc import Callable, Iterator

from sallyport.detect import linear
from sallyport.detect.errors import ScanIncomplete

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
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_PLAIN = bytes.maketrans(b"-_", b"+/")
_NO_DIGITS = b"> \t\r\n\v\f="
"""Of base64 as it may be written: for URLs, in lines, quoted in a mail, padded."""

_LINE = re.compile(rb"[A-Za-z0-9+/_-]{14,}={0,2}")
_PART = re.compile(rb"[A-Za-z0-9+]{14,}={0,2}")
_HEX_LINE = re.compile(rb"(?:0x)?(?:[0-9a-fA-F]{2}){12,}")
_NO_HEX = re.compile(rb"0x|[^0-9a-fA-F]")
_PARTED = re.compile(rb"[/_-]")
_PACKED = (b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
"""How what gzip and zlib have packed begins."""

_MOST_STREAMS = 64
"""Compressed streams one behind another in a run: each is cut off from a copy of the rest."""

_LINE_END = re.compile(rb"={1,2}(?=\r?\n)|[A-Za-z0-9+/_-](?=\r?\n[> \t]*H4sI)")
"""Padding at the end of a line, or a line behind it that begins as gzip does: what follows is something else."""

_LINE_OF_RUN = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")


class Runs:
    """The runs of a text that are base64, hex or base32 of something, as (start, end, decoded)."""

    def __init__(self, subject: linear.Subject, check: Callable[[], None]) -> None:
        self._subject = subject
        self._check = check
        self._room = max(_MAX_INFLATED, len(subject.text))

    def __iter__(self) -> Iterator[tuple[int, int, str]]:
        place = self._subject.place
        for start, end, decoded in self._decoded():
            yield place(start), place(end), decoded

    def _decoded(self) -> Iterator[tuple[int, int, str]]:
        """Yield the same with offsets of bytes: all that a run is made of is ASCII, and most runs are nothing."""
        raw = self._subject.raw
        for start, end in self._found(_HEX):
            whole = _printable(_unhex(raw[start:end]))
            if whole is not None and (b"\n" not in raw[start:end] or _UNPRINTABLE.search(whole) is None):
                yield start, end, whole
                continue
            for line in _HEX_LINE.finditer(raw, start, end):
                decoded = _printable(_unhex(line.group()))
                if decoded is not None:
                    yield *line.span(), decoded
        nothing: set[bytes] = set()  # names, which stand in a text again and again
        for start, end in self._found(_BASE64):
            run = raw[start:end]
            if run in nothing:
                continue
            inner = [*(self._lines(run, start) if b"\n" in run else self._line(run, start))]
            yield from inner
            if not inner:
                nothing.add(run)
        for start, end in self._found(_BASE32):
            decoded = _printable(_unbase32(raw[start:end]))
            if decoded is not None:
                yield start, end, decoded

    def _found(self, pattern: linear.Pattern) -> Iterator[tuple[int, int]]:
        for match in pattern.finditer(self._subject.raw):
            self._check()
            yield match.span()

    def _line(self, run: bytes, offset: int) -> Iterator[tuple[int, int, str]]:
        """Try a run of one line, then the parts of it that may be runs of their own."""
        decoded = self._unbase64(run)
        if decoded is not None:
            yield offset, offset + len(run), decoded
        else:
            yield from self._parts(run, offset)

    def _parts(self, line: bytes, offset: int) -> Iterator[tuple[int, int, str]]:
        if _PARTED.search(line):
            for part in _PART.finditer(line):
                decoded = self._unbase64(part.group())
                if decoded is not None:
                    yield offset + part.start(), offset + part.end(), decoded

    def _lines(self, run: bytes, offset: int) -> Iterator[tuple[int, int, str]]:
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
        elif b"\n" in run:
            yield from self._pieces(run, offset)
        else:
            yield from self._parts(run, offset)

    def _pieces(self, run: bytes, offset: int) -> Iterator[tuple[int, int, str]]:
        """Try a run without its last line, which may be a word of the text, then its lines and their parts."""
        shorter = run.rpartition(b"\n")[0].rstrip(b"\r")
        decoded = self._unbase64(shorter) if shorter else None
        if decoded is not None:
            yield offset, offset + len(shorter), decoded
            return
        for line in _LINE.finditer(run):
            yield from self._line(line.group(), offset + line.start())

    def _unbase64(self, run: bytes) -> str | None:
        body = run.translate(_PLAIN, _NO_DIGITS)
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

    def _deflated(self, body: bytes) -> str | None:
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


def _is_wrapped(run: bytes) -> bool:
    """Say whether lines are a run that a program has wrapped, and the last no word: it may hold odd characters."""
    if _LINE_END.search(run) is not None:
        return False
    lines = [line.strip(b"> \t\r") for line in run.split(b"\n")]
    width = len(lines[0])
    alike = all(len(line) == width for line in lines[:-1]) and len(lines[-1]) <= width
    return alike and (len(lines) > 2 or width >= 60) and _lines_of_text(run, 0) < run.rfind(b"\n") - 1


def _lines_of_text(run: bytes, low: int) -> int:
    """Return where the last of the lines ends that are, from `low` on, base64 of text without an odd character.

    All of a run of one line; `low` where the first of several is nothing of that kind.
    """
    if run.find(b"\n", low) < 0:
        return len(run)
    decoder = codecs.getincrementaldecoder("utf-8")()
    end, kept = low, b""
    for line in _LINE_OF_RUN.finditer(run, low):
        kept += line.group().translate(_PLAIN, _NO_DIGITS)
        whole = len(kept) & ~3
        try:
            text = decoder.decode(binascii.a2b_base64(kept[:whole]))
        except (UnicodeDecodeError, binascii.Error):
            return end
        if _UNPRINTABLE.search(text):
            return end
        end, kept = line.end(), kept[whole:]
        if line.group().endswith(b"="):
            return end
    return end


def _unhex(run: bytes) -> bytes:
    digits = _NO_HEX.sub(b"", run)
    return binascii.unhexlify(digits) if len(digits) % 2 == 0 else b""


def _unbase32(run: bytes) -> bytes:
    body = run.rstrip(b"=").upper()
    if len(body) % 8 in (1, 3, 6):
        return b""
    return base64.b32decode(body + b"=" * (-len(body) % 8))


def _bytes(body: bytes) -> bytes:
    return binascii.a2b_base64(body + b"=" * (-len(body) % 4))


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

"""A file to findings with their lines and columns. Text in UTF-8 or UTF-16, else bytes as Latin-1.

A file of up to WINDOW_CHARS is one text. A longer one is read through windows that overlap, so that memory is
bounded and what is shorter than the overlap is found wherever it lies.
"""

import codecs
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from sallyport.cli.scanning.lines import Scans
from sallyport.decision import Finding
from sallyport.exchange import Surface

WINDOW_CHARS = 2 << 20
OVERLAP_CHARS = 64 << 10

_LOOKED_AT = 8192
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Read(StrEnum):
    """How far a file was scanned."""

    WHOLE = "whole"
    BINARY = "binary"
    UNREADABLE = "unreadable"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Place:
    """A finding in a file. start, end: code points from the beginning; line and column from 1."""

    line: int
    column: int
    start: int
    end: int
    severity: str
    entity: str
    rule: str


@dataclass(frozen=True, slots=True)
class Scanned:
    """What became of one file. why: it was not scanned whole. score: of its worst window."""

    path: Path
    read: Read
    score: float = 0.0
    places: tuple[Place, ...] = ()
    why: str = ""


def scan_file(scanner: Scans, path: Path) -> Scanned:
    """Scan one file; what goes wrong with it is in the answer."""
    try:
        with path.open("rb") as file:
            head = file.peek(_LOOKED_AT)[:_LOOKED_AT]
            encoding = next((name for bom, name in _BOMS if head.startswith(bom)), None)
            if encoding is None and b"\0" in head:
                return Scanned(path, Read.BINARY)
            try:
                return _scan(scanner, path, _text(file, encoding or "utf-8"))
            except UnicodeDecodeError:
                if encoding is not None:
                    return Scanned(path, Read.BINARY)
            if not file.seekable():
                return Scanned(path, Read.INCOMPLETE, why="it is not UTF-8 and cannot be read twice")
            file.seek(0)
            return _scan(scanner, path, _text(file, "latin-1"))
    except OSError as error:
        return Scanned(path, Read.UNREADABLE, why=error.strerror or type(error).__name__)


def _text(file: BinaryIO, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    while data := file.read(1 << 20):
        yield decoder.decode(data)
    yield decoder.decode(b"", True)


def _scan(scanner: Scans, path: Path, pieces: Iterator[str]) -> Scanned:
    found: list[Place] = []
    score, why = 0.0, ""
    for window in _windows(pieces):
        answer = scanner.answer(window.text, Surface.DOCUMENT)
        score = max(score, answer.score)
        why = why or answer.incomplete or ""
        if answer.findings:
            found += window.places(answer.findings)
    return Scanned(path, Read.INCOMPLETE if why else Read.WHOLE, score, tuple(_once(found)), why)


def _once(places: list[Place]) -> Iterator[Place]:
    """Leave out what two windows both saw, and what the end of a window had cut short."""
    reached: dict[str, int] = {}
    for place in sorted(places, key=lambda p: (p.start, -p.end, p.rule)):
        if place.end > reached.get(place.rule, 0):
            reached[place.rule] = place.end
            yield place


@dataclass(frozen=True, slots=True)
class _Window:
    """Part of a file. start: of its text, in code points; line, column: of that place, from 1."""

    text: str
    start: int
    line: int
    column: int

    def places(self, findings: tuple[Finding, ...]) -> Iterator[Place]:
        breaks = [i for i, c in enumerate(self.text) if c == "\n"]
        for f in findings:
            before = bisect_right(breaks, f.start - 1)
            column = f.start - breaks[before - 1] if before else self.column + f.start
            start, end = self.start + f.start, self.start + f.end
            yield Place(self.line + before, column, start, end, f.severity.value, f.entity, f.rule)

    def after(self, offset: int, text: str) -> "_Window":
        """Return the window that begins at an offset of this one."""
        gone = self.text[:offset]
        last = gone.rfind("\n")
        column = offset - last if last >= 0 else self.column + offset
        return _Window(text, self.start + offset, self.line + gone.count("\n"), column)


def _windows(pieces: Iterator[str]) -> Iterator[_Window]:
    """Cut a text into windows; the last one may be shorter. An empty text has one."""
    window = _Window("", 0, 1, 1)
    fresh = ""
    for piece in pieces:
        fresh += piece
        while len(window.text) + len(fresh) > WINDOW_CHARS:
            room = WINDOW_CHARS - len(window.text)
            text, fresh = window.text + fresh[:room], fresh[room:]
            window = _Window(text, window.start, window.line, window.column)
            yield window
            keep = len(text) - OVERLAP_CHARS
            window = window.after(keep, text[keep:])
    yield _Window(window.text + fresh, window.start, window.line, window.column)

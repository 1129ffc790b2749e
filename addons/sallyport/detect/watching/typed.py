"""Personal data and secrets in an answer, found by the engine that searches requests, region by region.

A region is searched with what stands before it, so that words speak for a value; words behind it do not. A region
that can hold no value is not searched at all. What a value has let go by before it was recognised (a street in
front of its number) is not found again: the match begins where the region does. Where much text comes at once, one
look over all of it says which regions are worth a search, and lines with none are not even cut into regions.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Protocol

from sallyport.decision import Finding, Kind, Severity
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.watching.regions import BREAKS, UNSPACED, Region, Regions
from sallyport.detect.watching.watcher import Match
from sallyport.exchange import Segment, Surface

LEFT_CHARS = 400
"""Characters before a region in which words and names of a value are looked for."""

UNSCANNED = "output.scan.incomplete"
"""Rule of a region that could not be searched in its time."""

_CANDIDATE = re.compile(
    r"[\d@%=]|[^\x00-\u1fff\u2010-\u2026\u2190-\u27bf\u2e80-\ud7ff\U0001f000-\U0001faff]|\S{20}|"
    r"-----BEGIN|&#|://|[A-Za-z]\.[A-Za-z]"
)
"""What every value has: a digit of some script, a sign of an address or key, or more letters than words have."""

_MUCH_CHARS = 160
"""From here on a look over all of a piece costs less than a search of each of its regions."""

_BLOCK = 32_768
"""Characters that are looked at together at most."""

_REACH = 24
"""Characters behind a suspect in which a region is searched, too: a pattern sees other bounds there."""

_CUT = re.compile(rf"[^\s{UNSPACED}，！？：；（）](?=[\x0b\x0c\x1c-\x1f{UNSPACED}])")
"""Where a region ends and a pattern sees no end: a letter that is written without spaces, a control that it skips."""

_LABELS = "pass|pwd|secret|token|key|auth|cred|login|kennwort|contrase|senha|mot de|geheim|://"
_LABEL = re.compile(rf"(?i)(?=({_LABELS}))")
_ANY_LABEL = re.compile(_LABELS)
"""Tells of a folded text whether it is worth the look of the other, which costs ten times as much."""

_KEY = "-----BEGIN"
_LONGEST_LABEL = 8
_LABEL_CHARS = 80
"""What stands on the line before a value that looks like a word, and how far before."""


class Scanner(Protocol):
    """Finds everything in texts; raises ScanIncomplete when it could not look at all of it.

    suspects: the spans outside of which a scan finds nothing; None where it cannot tell.
    """

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]: ...
    def suspects(self, text: str, surface: Surface) -> Sequence[tuple[int, int]] | None: ...


class TypedWatcher:
    """Follows one channel for personal data and secrets.

    scanner: thread-safe, shared by all channels. max_held: characters that may wait for the end of a value.
    """

    def __init__(self, scanner: Scanner, max_held: int = 4096) -> None:
        self._scanner = scanner
        self._regions = Regions(max_held)
        self._max_held = max_held
        self._long_line = re.compile(rf"[^\n]{{{max_held}}}")
        self._text = ""
        self._base = 0
        self._labels: list[tuple[int, int]] = []  # in the whole text, in their order

    @property
    def held_from(self) -> int:
        return self._regions.open_from

    def feed(self, text: str) -> list[Match]:
        if len(text) < _MUCH_CHARS:
            return self._taken(text, final=False)
        found: list[Match] = []
        for at in range(0, len(text), _BLOCK):
            found += self._taken(text[at : at + _BLOCK], final=False)
        return found

    def end(self, text: str = "") -> list[Match]:
        last = max(0, len(text) - 1) // _BLOCK * _BLOCK
        return [*self.feed(text[:last]), *self._taken(text[last:], final=True)]

    def _taken(self, text: str, *, final: bool) -> list[Match]:
        known = len(self._text)
        self._text += text
        self._note_labels(known)
        # A small word is a value only where a label stands shortly before it.
        reach = self._regions.open_from - _LABEL_CHARS - _LONGEST_LABEL
        plain = bool(self._labels) and self._labels[-1][1] >= reach
        is_worth_it = len(text) >= _MUCH_CHARS and (" " in text or "\n" in text)
        suspects = self._suspects(known) if is_worth_it else None
        if suspects is None:
            regions = self._regions.feed(text, plain=plain)
        else:
            regions = self._regions_met(known, suspects, plain=plain, final=final)
        if final:
            regions += self._regions.end(plain=plain)
        found: list[Match] = []
        for region in regions:
            start, end = region.start - self._base, region.end - self._base
            is_cut_off = end - start >= self._max_held
            if self._may_hold(start, end) and (
                suspects is None or is_cut_off or _meets(suspects, start, end)
            ):
                found += self._searched(start, end)
        self._forget(final=final)
        return found

    def _regions_met(
        self, at: int, suspects: Sequence[tuple[int, int]], *, plain: bool, final: bool
    ) -> list[Region]:
        """Cut the kept text from here on, but for the lines in which nothing is."""
        regions: list[Region] = []
        while at < len(self._text):
            at = self._skipped(at, suspects, final=final)
            line = self._text.find("\n", at) + 1 or len(self._text)
            regions += self._regions.feed(self._text[at:line], plain=plain)
            at = line
        return regions

    def _suspects(self, known: int) -> list[tuple[int, int]] | None:
        """Return the spans worth a search in the kept text, in order and apart; None where that is not known."""
        low = max(0, min(known, self._regions.open_from - self._base) - LEFT_CHARS)
        spans = self._scanner.suspects(self._text[low:], Surface.ASSISTANT)
        if spans is None:
            return None
        cut = [match.span() for match in _CUT.finditer(self._text, low)]
        apart: list[tuple[int, int]] = []
        for start, end in sorted([*((low + start, low + end + _REACH) for start, end in spans), *cut]):
            if apart and start <= apart[-1][1]:
                start, end = apart[-1][0], max(end, apart.pop()[1])
            apart.append((start, end))
        return apart

    def _skipped(self, at: int, suspects: Sequence[tuple[int, int]], *, final: bool) -> int:
        """Pass over lines of the kept text in which nothing is; return where the first of the others begins.

        At the beginning of a line a region begins, whatever stands before it, unless a key goes on there. A line in
        which a region may be cut off is not passed over: a pattern may match what is left of a value.
        """
        undecided = self._regions.open_from < self._base + at
        if undecided or (at and self._text[at - 1] != "\n"):
            return at
        place = bisect_right(suspects, at, key=lambda span: span[1])
        until = max(at, suspects[place][0]) if place < len(suspects) else len(self._text)
        key = self._text.find(_KEY, at, until)
        until = key if key >= 0 else until
        if until - at >= self._max_held and (long := self._long_line.search(self._text, at, until)):
            until = long.start()
        if not final or until < len(self._text):
            until = max(at, self._text.rfind("\n", at, until) + 1)
        self._regions.skip(until - at)
        return until

    def _forget(self, *, final: bool) -> None:
        keep = max(0, self._regions.open_from - self._base - LEFT_CHARS)
        if keep > 2 * LEFT_CHARS or final:
            self._text = self._text[keep:]
            self._base += keep
            del self._labels[: bisect_left(self._labels, (self._base, 0))]

    def _note_labels(self, known: int) -> None:
        """Find the labels that end behind so many characters of the kept text. Looked for once, not for each word."""
        begin = max(0, known - _LONGEST_LABEL)
        if _ANY_LABEL.search(self._text[begin:].casefold()) is None:
            return
        for match in _LABEL.finditer(self._text, begin):
            if match.end(1) > known:
                self._labels.append((self._base + match.start(1), self._base + match.end(1)))

    def _may_hold(self, start: int, end: int) -> bool:
        if _CANDIDATE.search(self._text, start, end):
            return True
        if not self._labels:
            return False
        if not self._text[start:end].strip(BREAKS):
            return False
        line = self._text.rfind("\n", max(0, start - _LABEL_CHARS), start) + 1
        low, high = self._base + max(line, start - _LABEL_CHARS, 0), self._base + start
        first = bisect_left(self._labels, (low, 0))
        return any(end <= high for _, end in self._labels[first : first + 1 + _LONGEST_LABEL])

    def _searched(self, start: int, end: int) -> list[Match]:
        low = max(0, start - LEFT_CHARS)
        offset = self._base + low
        try:
            findings = self._scanner.scan([Segment("", Surface.ASSISTANT, self._text[low:end])])
        except ScanIncomplete:
            return [
                Match(
                    UNSCANNED, Kind.OUTPUT, "UNSCANNED", Severity.HIGH, self._base + start, self._base + end
                )
            ]
        return [
            Match(
                f.rule,
                f.kind,
                f.entity,
                f.severity,
                max(f.start, start - low) + offset,
                f.end + offset,
                f.score,
            )
            for f in findings
            if f.end > start - low and f.kind is not Kind.INJECTION
        ]


def _meets(spans: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Say whether one of the spans, which are in order and apart, overlaps start to end."""
    place = bisect_left(spans, (end, 0)) - 1
    return place >= 0 and spans[place][1] > start

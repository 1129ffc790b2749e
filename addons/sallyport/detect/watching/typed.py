"""Personal data and secrets in an answer, found by the engine that searches requests, region by region.

A region is searched with what stands before it, so that words speak for a value; words behind it do not. A region
that can hold no value is not searched at all. What a value has let go by before it was recognised (a street in
front of its number) is not found again: the match begins where the region does.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from sallyport.decision import Finding, Kind, Severity
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.watching.regions import Regions
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

_LABEL = re.compile(
    r"(?i)(?=(pass|pwd|secret|token|key|auth|cred|login|kennwort|contrase|senha|mot de|geheim|://))"
)
_LONGEST_LABEL = 8
_LABEL_CHARS = 80
"""What stands on the line before a value that looks like a word, and how far before."""


class Scanner(Protocol):
    """Finds everything in texts; raises ScanIncomplete when it could not look at all of it."""

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]: ...


class TypedWatcher:
    """Follows one channel for personal data and secrets.

    scanner: thread-safe, shared by all channels. max_held: characters that may wait for the end of a value.
    """

    def __init__(self, scanner: Scanner, max_held: int = 4096) -> None:
        self._scanner = scanner
        self._regions = Regions(max_held)
        self._text = ""
        self._base = 0
        self._labels: list[tuple[int, int]] = []  # in the whole text, in their order

    @property
    def held_from(self) -> int:
        return self._regions.open_from

    def feed(self, text: str) -> list[Match]:
        known = len(self._text)
        self._text += text
        self._note_labels(known)
        return self._matches(final=False, piece=text)

    def end(self) -> list[Match]:
        return self._matches(final=True, piece="")

    def _matches(self, *, final: bool, piece: str) -> list[Match]:
        found: list[Match] = []
        plain = bool(self._labels)  # a small word is a value only where a label stands before it
        for region in self._regions.end(plain=plain) if final else self._regions.feed(piece, plain=plain):
            start, end = region.start - self._base, region.end - self._base
            if self._may_hold(start, end):
                found += self._searched(start, end)
        keep = max(0, self._regions.open_from - self._base - LEFT_CHARS)
        if keep > 2 * LEFT_CHARS or final:
            self._text = self._text[keep:]
            self._base += keep
            del self._labels[: bisect_left(self._labels, (self._base, 0))]
        return found

    def _note_labels(self, known: int) -> None:
        """Find the labels that end behind so many characters of the kept text. Looked for once, not for each word."""
        for match in _LABEL.finditer(self._text, max(0, known - _LONGEST_LABEL)):
            if match.end(1) > known:
                self._labels.append((self._base + match.start(1), self._base + match.end(1)))

    def _may_hold(self, start: int, end: int) -> bool:
        if _CANDIDATE.search(self._text, start, end):
            return True
        if not self._labels:
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

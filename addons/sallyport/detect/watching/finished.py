"""What can only be said of a finished text: that it does not fit its schema, that a call is not allowed."""

from collections.abc import Callable, Sequence

from sallyport.decision import Kind, Severity
from sallyport.detect.watching.watcher import Match

MAX_CHARS = 1_000_000
"""Longest text that is judged; what is longer is not called wrong."""

type Problems = Callable[[str], Sequence[str]]
"""Returns the ids of the rules that a finished text breaks."""


class FinishedWatcher:
    """Follows one channel to its end and judges all of it. Only the last character waits.

    A match is that last character: whoever ends the answer there leaves a text that is not finished.
    """

    def __init__(self, problems: Problems, entity: str) -> None:
        self._problems = problems
        self._entity = entity
        self._pieces: list[str] = []
        self._total = 0

    @property
    def held_from(self) -> int:
        return max(0, self._total - 1) if self._pieces else self._total

    def feed(self, text: str) -> list[Match]:
        if text:
            self._total += len(text)
            if self._total <= MAX_CHARS:
                self._pieces.append(text)
            else:
                self._pieces = [""]
        return []

    def end(self, text: str = "") -> list[Match]:
        self.feed(text)
        text, self._pieces = "".join(self._pieces), []
        if not text:
            return []
        start = self._total - 1
        return [
            Match(rule, Kind.OUTPUT, self._entity, Severity.HIGH, start, self._total)
            for rule in self._problems(text)
        ]

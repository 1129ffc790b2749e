"""The contract of whatever follows one text channel of an answer."""

from dataclasses import dataclass
from typing import Protocol

from sallyport.decision import Kind, Severity


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule recognised in a channel. start, end: code points from the channel's first character."""

    rule: str
    kind: Kind
    entity: str
    severity: Severity
    start: int
    end: int
    score: float = 1.0


class Watcher(Protocol):
    """Follows one text channel and finds what its rules look for.

    Laws (tests/detect/watching): the matches depend on the text alone, never on how it was cut; no match
    starts before a `held_from` that was shown earlier; after end() held_from is the length of the text.
    Memory is bounded: a match that stays unfinished over max_held characters is decided as it stands.
    Never raises for any text.
    """

    @property
    def held_from(self) -> int:
        """The first character that must wait because a match may begin there; all that was fed, if none."""
        ...

    def feed(self, text: str) -> list[Match]:
        """Take the next piece; return the matches that are certain now, each of them once."""
        ...

    def end(self, text: str = "") -> list[Match]:
        """The channel is over, with this last piece; return what was still open and what is in it."""
        ...

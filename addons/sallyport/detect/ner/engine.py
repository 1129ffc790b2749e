"""What a named-entity engine gives: spans of text with an entity and a probability."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Span:
    """A name in a text: offsets in code points, entity in Presidio's words (PERSON, LOCATION, ORGANIZATION).

    score: 0 to 1, the engine's own confidence, calibrated where the engine is.
    """

    start: int
    end: int
    entity: str
    score: float


class Engine(Protocol):
    """A loaded engine; lives in a worker process and is called from one thread.

    name: as configured; revision: changes whenever the same text could give other spans.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    def spans(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return the spans of every text, in order, without overlaps within a text."""
        ...

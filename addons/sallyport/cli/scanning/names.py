"""Names and places inside the process that scans: a scan has worker processes of its own already."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import cast

from sallyport.decision import Finding
from sallyport.detect.cache import Hit
from sallyport.detect.errors import ScanLate
from sallyport.detect.ner.engines import load
from sallyport.detect.ner.frames import ENTITIES
from sallyport.detect.ner.merge import merge
from sallyport.detect.ner.pool import Pool
from sallyport.detect.ner.service import LATE, NerScanner, NerSettings
from sallyport.exchange import Segment

_TOGETHER = 8
"""Windows that an engine is given at once; between them the clock is looked at."""

_FORKS_WELL = ("builtin", "spacy")
"""Engines that start no threads, so that a process in which they are loaded may be forked."""


class NamesHere:
    """Adds names to what rules found. Raises OperatorError if the engine cannot be loaded."""

    def __init__(self, settings: NerSettings) -> None:
        # What the service asks of its pool is ask() and revision, and both are here.
        self._scanner = NerScanner(settings, cast(Pool, _Here(settings.engine)))
        self.forks_well = settings.engine.partition(":")[0] in _FORKS_WELL

    def added(self, segment: Segment, found: Sequence[Finding], min_score: float) -> tuple[Finding, ...]:
        """Return findings of rules and names of one text. Raises ScanIncomplete."""
        return merge([segment], found, self._scanner.scan([segment]), min_score)


class _Here:
    """Answers as sallyport.detect.ner.pool does, at once and in this process."""

    def __init__(self, engine: str) -> None:
        self._engine = load(engine)
        self.revision = self._engine.revision

    def ask(
        self, texts: Sequence[str], deadline_s: float, max_queue_chars: int
    ) -> "Future[list[tuple[Hit, ...]]]":
        answer: Future[list[tuple[Hit, ...]]] = Future()
        end = time.monotonic() + deadline_s
        hits: list[tuple[Hit, ...]] = []
        for low in range(0, len(texts), _TOGETHER):
            if time.monotonic() > end:
                answer.set_exception(ScanLate(LATE))
                return answer
            # As on the way to a worker: half a surrogate pair becomes one question mark.
            some = [t.encode("utf-8", "replace").decode() for t in texts[low : low + _TOGETHER]]
            for spans in self._engine.spans(some):
                known = (s for s in spans if s.entity in ENTITIES)
                hits.append(tuple(Hit(ENTITIES.index(s.entity), s.start, s.end, s.score) for s in known))
        answer.set_result(hits)
        return answer

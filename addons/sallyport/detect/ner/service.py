"""Names and places in segments: windows, worker processes, cache, and findings like those of the rules.

    with NerScanner.open(NerSettings("builtin")) as names:
        findings = names.scan(segments)

Findings have the rule id pii.ner.PERSON (or LOCATION, ORGANIZATION, NRP). `merge` joins them with what rules
found (merge.py). Texts are handed to worker processes over a socket; the event loop of a caller is never needed.
"""

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sallyport.decision import Finding, Kind, Severity
from sallyport.detect.cache import Hit
from sallyport.detect.engine import PLACEHOLDER
from sallyport.detect.errors import ScanLate
from sallyport.detect.ner import windows
from sallyport.detect.ner.frames import ENTITIES
from sallyport.detect.ner.merge import bare, breathe, outside
from sallyport.detect.ner.pool import Pool
from sallyport.exchange import Segment, Surface

_RULES = {entity: f"pii.ner.{entity}" for entity in ENTITIES}

LATE = "names were not found in time"

SURFACES = frozenset({*Surface} - {Surface.SYSTEM, Surface.TOOL_DEFINITION})
"""Surfaces that are searched by default: all but the fixed head, which an operator wrote."""


@dataclass(frozen=True, slots=True)
class NerSettings:
    """Which engine looks for what, and how long.

    engine: builtin, spacy:PACKAGE, spacy:/PATH, transformers:/FOLDER or onnx:/FOLDER; paths absolute.
    entities: of PERSON, LOCATION, ORGANIZATION, NRP. min_score: less sure names are not reported.
    workers: processes. deadline_s: for one scan; missed means ScanLate.
    surfaces: whose texts are searched. max_queue_chars: more waiting text means ScanLate at once.
    """

    engine: str
    entities: frozenset[str] = frozenset({"PERSON", "LOCATION"})
    min_score: float = 0.3
    workers: int = 1
    deadline_s: float = 1.5
    surfaces: frozenset[Surface] = SURFACES
    max_queue_chars: int = 1_000_000


class NerScanner:
    """Finds names and places. Thread-safe; works with and without asyncio.

    revision: changes whenever the same segment could give other findings.
    """

    def __init__(self, settings: NerSettings, pool: Pool) -> None:
        self.settings = settings
        self.pool = pool
        self.revision = _revision(settings, pool.revision)

    @property
    def deadline_s(self) -> float:
        return self.settings.deadline_s

    @classmethod
    def open(cls, settings: NerSettings) -> Self:
        """Start workers of its own and wait for them; seconds. Raises OperatorError."""
        pool = Pool(settings.engine, settings.workers)
        pool.start()
        return cls(settings, pool)

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        """Return the names in every segment; blocks for deadline_s at most.

        Ordered by segment, then start; within a segment they do not overlap.
        Raises ScanIncomplete when any segment could not be looked at whole.
        """
        future = self.submit(segments)
        try:
            return future.result(self.settings.deadline_s)
        except FutureTimeout:
            future.cancel()
            raise ScanLate(LATE) from None

    def submit(self, segments: Sequence[Segment]) -> "Future[tuple[Finding, ...]]":
        """Begin what scan does, and return its future. Work here is linear in the texts, and small.

        The caller keeps the deadline: whoever gives up cancels the future, and what was not looked at by then
        never is.
        """
        wanted = [s for s in segments if s.surface in self.settings.surfaces and s.text]
        texts = [windows.readable(s.text) for s in wanted]
        cuts = [windows.cut(text) for text in texts]
        pieces = [text[a:b] for text, places in zip(texts, cuts, strict=True) for a, b in places]
        found: Future[tuple[Finding, ...]] = Future()
        asked = self.pool.ask(pieces, self.settings.deadline_s, self.settings.max_queue_chars)

        def answered(answer: "Future[list[tuple[Hit, ...]]]") -> None:
            if answer.cancelled() or not found.set_running_or_notify_cancel():
                return
            error = answer.exception()
            if error is not None:
                found.set_exception(error)
                return
            found.set_result(self._findings(wanted, cuts, answer.result()))

        def given_up(future: "Future[tuple[Finding, ...]]") -> None:
            if future.cancelled():
                asked.cancel()

        found.add_done_callback(given_up)
        asked.add_done_callback(answered)
        return found

    def close(self) -> None:
        """End the workers; only for a scanner that was opened, not for one that shares its pool."""
        self.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _findings(
        self,
        segments: Sequence[Segment],
        cuts: Sequence[Sequence[tuple[int, int]]],
        answers: Sequence[tuple[Hit, ...]],
    ) -> tuple[Finding, ...]:
        found: list[Finding] = []
        following = iter(answers)
        for segment, places in zip(segments, cuts, strict=True):
            hits = windows.join([(start, next(following)) for start, _ in places])
            shields = [m.span() for m in PLACEHOLDER.finditer(segment.text)] if "<" in segment.text else []
            for hit in hits:
                breathe(len(found))
                entity = ENTITIES[hit.rule]
                if entity not in self.settings.entities or hit.score < self.settings.min_score:
                    continue
                for start, end in outside((hit.start, hit.end), shields):
                    low, high = bare(segment.text, start, end)
                    if low < high:
                        found.append(_finding(segment.at, entity, low, high, hit.score))
        return tuple(found)


class Pools:
    """The workers of the policy in force, kept over reloads that do not change what they run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[object, ...] = ()
        self._pools: list[Pool] = []

    def scanner(self, settings: NerSettings | None) -> NerScanner | None:
        """Return a scanner with warm workers; None for None. Blocks while an engine is loaded.

        Workers of other settings end once they are idle: exchanges that began with them end with them.
        Raises OperatorError, and then nothing has changed.
        """
        with self._lock:
            key = (settings.engine, settings.workers, _stamp(settings.engine)) if settings else ()
            if settings is None or key != self._key:
                replaced = self._pools[-1:]
                if settings is not None:
                    pool = Pool(settings.engine, settings.workers)
                    pool.start()
                    self._pools.append(pool)
                for old in replaced:
                    old.retire()
                self._key = key
            self._pools = [pool for pool in self._pools if not pool.idle_for_good or pool is self._pools[-1]]
            return NerScanner(settings, self._pools[-1]) if settings is not None else None

    def close(self) -> None:
        """Kill all workers."""
        with self._lock:
            pools, self._pools, self._key = self._pools, [], ()
        for pool in pools:
            pool.close()


def _finding(at: str, entity: str, start: int, end: int, score: float) -> Finding:
    return Finding(_RULES[entity], Kind.PII, entity, Severity.MEDIUM, at, start, end, round(score, 3))


def _revision(settings: NerSettings, engine: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{engine} {windows.WINDOW} {windows.OVERLAP} {settings.min_score}\0".encode())
    for names in (settings.entities, settings.surfaces):
        digest.update((" ".join(sorted(names)) + "\0").encode())
    return digest.hexdigest()


def _stamp(engine: str) -> tuple[object, ...]:
    """Return what changes when a model's files do, cheaply: names, sizes and times. Nothing for packages."""
    folder = Path(engine.partition(":")[2] or "/nowhere")
    if not folder.is_absolute() or not folder.is_dir():
        return ()
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return tuple((str(p), (stat := p.stat()).st_size, stat.st_mtime_ns) for p in files)

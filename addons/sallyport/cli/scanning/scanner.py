"""One text to one answer: what is in it, which of that counts, and how sure the whole is.

Without a policy everything counts that reaches its threshold. With one, the policy's own stages say what
counts, so that a scan tells what the gateway would have acted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sallyport.data import rules_dir
from sallyport.decision import Finding, Kind
from sallyport.detect.engine import DetectionSettings, Detector, ScanIncomplete, injection_score
from sallyport.detect.packs import load
from sallyport.exchange import Segment, Surface

if TYPE_CHECKING:
    from sallyport.cli.scanning.names import NamesHere
    from sallyport.detect.ner.service import NerSettings

DEADLINE_S = 60.0
"""Seconds for one text. A scan shares its cores with other scans, so a policy's deadline is not applied."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line asks for.

    paranoia: None takes the policy's levels, or 2 without a policy. threshold: of injection, None likewise
    (1.0 without a policy). min_score: of PII and secrets, None likewise (0.5). names: whether names and
    places are looked for, None likewise (they are, without a policy). policy: name or path, None for none.
    rules: folder of packs in place of those that ship.
    """

    kinds: frozenset[Kind] = frozenset(Kind)
    policy: str | None = None
    paranoia: int | None = None
    threshold: float | None = None
    min_score: float | None = None
    names: bool | None = None
    rules: Path | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What there is to say of one text.

    findings: those that count, by start. score: 0 to 1, the greatest of the kinds asked for, also of what
    does not count. incomplete: why the text could not be scanned whole; it is flagged then.
    """

    flag: bool
    score: float
    findings: tuple[Finding, ...] = ()
    incomplete: str | None = None

    def spans(self) -> list[dict[str, object]]:
        return [{"start": f.start, "end": f.end, "type": f.entity, "rule": f.rule} for f in self.findings]


class Counting(Protocol):
    """Says which findings of a segment count."""

    def counted(self, segment: Segment, findings: Sequence[Finding]) -> tuple[Finding, ...]: ...


class Scanner:
    """A detector with what counts. Build once, then ask from one thread; forks share what is loaded.

    Raises OperatorError for a policy, pack or recogniser file that cannot be used.
    """

    def __init__(self, choice: Choice) -> None:
        settings, self._counting, ner = _chosen(choice)
        settings = replace(settings, kinds=choice.kinds, deadline_s=DEADLINE_S, cache_entries=0)
        self._detector = Detector(settings, load(choice.rules or rules_dir(), choice.kinds))
        self._detector.warm()
        self._min_score = settings.min_score
        self._names: NamesHere | None = None
        if ner is not None and Kind.PII in choice.kinds:
            from sallyport.cli.scanning.names import NamesHere

            self._names = NamesHere(replace(ner, deadline_s=DEADLINE_S))

    @property
    def forks_well(self) -> bool:
        """Whether this process may be forked with what is loaded."""
        return self._names is None or self._names.forks_well

    def answer(self, text: str, surface: Surface) -> Answer:
        """Scan one text. Offsets are code points of the text as given."""
        segment = Segment("/text", surface, text)
        try:
            found = self._detector.scan([segment])
            if self._names is not None:
                found = self._names.added(segment, found, self._min_score)
        except ScanIncomplete as error:
            return Answer(flag=True, score=1.0, incomplete=error.why)
        counted = self._counting.counted(segment, found)
        return Answer(flag=bool(counted), score=_score(found), findings=counted)


def _score(found: Sequence[Finding]) -> float:
    points = sum(injection_score(found).values())
    return round(min(1.0, max([0.0, points, *(f.score for f in found if f.kind is not Kind.INJECTION)])), 3)


@dataclass(frozen=True, slots=True)
class _Thresholds:
    """What counts without a policy: the detector has left out weaker values already."""

    injection: float

    def counted(self, segment: Segment, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        # Floating point: ten times 0.1 must reach 1.0.
        injected = sum(injection_score(findings).values()) >= self.injection - 1e-9
        return tuple(f for f in findings if f.kind is not Kind.INJECTION or injected)


def _chosen(choice: Choice) -> tuple[DetectionSettings, Counting, NerSettings | None]:
    changes: dict[str, Any] = {}
    if choice.paranoia is not None:
        changes = {f"paranoia_{kind}": choice.paranoia for kind in ("secrets", "pii", "injection")}
    if choice.min_score is not None:
        changes["min_score"] = choice.min_score
    counting: Counting
    if choice.policy is None:
        settings, ner = DetectionSettings(), None
        counting = _Thresholds(1.0 if choice.threshold is None else choice.threshold)
        wanted = choice.names is not False
    else:
        from sallyport.cli.scanning.policed import policed

        settings, counting, ner = policed(choice.policy, choice.threshold, choice.min_score)
        wanted = ner is not None if choice.names is None else choice.names
    if not wanted or Kind.PII not in choice.kinds:
        return replace(settings, **changes), counting, None
    return replace(settings, **changes), counting, ner or _all_names(settings.min_score)


def _all_names(min_score: float) -> NerSettings:
    """Return what is asked of names where no policy says it: everything, everywhere."""
    from sallyport.detect.ner.frames import ENTITIES
    from sallyport.detect.ner.service import NerSettings

    return NerSettings("builtin", frozenset(ENTITIES), min_score, surfaces=frozenset(Surface))

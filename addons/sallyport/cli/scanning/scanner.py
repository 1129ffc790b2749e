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
from sallyport.detect.deadline import TOO_MANY
from sallyport.detect.engine import DetectionSettings, Detector, ScanIncomplete, injection_score
from sallyport.detect.packs import KINDS, Packs, load
from sallyport.errors import OperatorError
from sallyport.exchange import Segment, Surface

if TYPE_CHECKING:
    from sallyport.cli.scanning.names import NamesHere
    from sallyport.detect.ner.service import NerSettings

DEADLINE_S = 60.0
"""Seconds for one text. A scan shares its cores with other scans, so a policy's deadline is not applied."""

_NARROWER = 3
"""How often the part of a text that has not too many findings is narrowed down once one is known."""

FALSE_ALARMS = 0.01
"""Share of clean texts that the injection classifier may report where nobody says another."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line asks for; None takes what the policy says, or what stands here without one.

    policy: name or path, None for none. paranoia: levels of all kinds (2). false_alarms: share of clean texts
    that the injection classifier may report, 0 for no classifier (FALSE_ALARMS). threshold: score from which
    a text counts as an injection, in place of that share and of the rules' points. min_score: of PII and
    secrets (0.5), and of names (what they have in a policy that does not say). names: whether names and places
    are looked for (they are). rules: folder of packs in place of those that ship.
    """

    kinds: frozenset[Kind] = frozenset(Kind)
    policy: str | None = None
    paranoia: int | None = None
    false_alarms: float | None = None
    threshold: float | None = None
    min_score: float | None = None
    names: bool | None = None
    rules: Path | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What there is to say of one text.

    findings: those that count, by start. score: 0 to 1, the greatest of the kinds asked for, also where
    nothing counts: of an injection its probability (without the classifier the rules' points), of personal
    data and secrets that of the surest finding. incomplete: why the text could not be scanned whole; it is
    flagged then, and where it holds too many findings those of its first part are given.
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
        # One text is asked about twice where its probability is wanted too: a small cache spares the second.
        settings = replace(
            settings, kinds=choice.kinds, deadline_s=DEADLINE_S, cpu_s=DEADLINE_S, cache_entries=4
        )
        self._detector = Detector(settings, _packs(choice))
        self._detector.warm()
        self._min_score = settings.min_score
        self._threshold = choice.threshold
        self._judges = settings.injection_false_alarms is not None and Kind.INJECTION in choice.kinds
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
        try:
            return self._answer(text, surface)
        except ScanIncomplete as error:
            if error.why != TOO_MANY:
                return Answer(flag=True, score=1.0, incomplete=error.why)
        findings, until = self._first(text, surface)
        why = f"{TOO_MANY}: these are of the first {until} characters"
        return Answer(flag=True, score=1.0, findings=findings, incomplete=why)

    def _first(self, text: str, surface: Surface) -> tuple[tuple[Finding, ...], int]:
        """Return the findings of as long a beginning of a text as has not too many, and how long it is."""
        found: tuple[Finding, ...] = ()
        known, above, left = 0, len(text), _NARROWER
        while left and above - known > 1:
            middle = (known + above) // 2
            cut = text.rfind("\n", known, middle) + 1 or text.rfind(" ", known, middle) + 1 or middle
            try:
                found = self._answer(text[:cut], surface).findings
                known = cut
            except ScanIncomplete:
                above = middle
            left -= known > 0
        return found, known

    def _answer(self, text: str, surface: Surface) -> Answer:
        """Return the answer to a text. Raises ScanIncomplete."""
        segment = Segment("/text", surface, text)
        found = self._detector.scan([segment])
        injected = self._injected(segment, found)
        if self._names is not None:
            found = self._names.added(segment, found, self._min_score)
        counted = self._counting.counted(segment, found)
        flag = bool(counted)
        if self._threshold is not None:
            # Floating point: ten times 0.1 must reach 1.0.
            reached = injected >= self._threshold - 1e-9
            others = {f for f in counted if f.kind is not Kind.INJECTION}
            counted = tuple(f for f in found if f in others or (reached and f.kind is Kind.INJECTION))
            flag = bool(others) or (reached and Kind.INJECTION in self._detector.settings.kinds)
        score = max([injected, *(f.score for f in found if f.kind is not Kind.INJECTION)])
        return Answer(flag=flag, score=round(min(1.0, score), 4), findings=counted)

    def _injected(self, segment: Segment, found: Sequence[Finding]) -> float:
        if self._judges:
            return self._detector.injection_probability(segment)
        return min(1.0, sum(injection_score(found).values(), 0.0))


def _packs(choice: Choice) -> Packs:
    """Return the rules that were asked for. Raises OperatorError for none: a mistyped folder finds nothing, ever."""
    packs = load(choice.rules or rules_dir(), choice.kinds)
    if choice.rules is not None and not packs.rules:
        folders = ", ".join(folder for folder, kind in KINDS.items() if kind in choice.kinds)
        raise OperatorError(
            f"--rules {choice.rules}",
            f"there is no rule below {folders} in it",
            "Give the folder that these are in, with packs that end in .yaml",
        )
    return packs


class _Everything:
    """What counts without a policy: the detector has left out weaker values already."""

    def counted(self, segment: Segment, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        injected = sum(injection_score(findings).values()) >= 1.0 - 1e-9
        return tuple(f for f in findings if f.kind is not Kind.INJECTION or injected)


def _chosen(choice: Choice) -> tuple[DetectionSettings, Counting, NerSettings | None]:
    changes: dict[str, Any] = {}
    if choice.paranoia is not None:
        changes = {f"paranoia_{kind}": choice.paranoia for kind in ("secrets", "pii", "injection")}
    if choice.min_score is not None:
        changes["min_score"] = choice.min_score
    if choice.false_alarms is not None:
        changes["injection_false_alarms"] = choice.false_alarms or None
        changes["injection_second_opinion"] = choice.false_alarms > 0
    counting: Counting
    if choice.policy is None:
        settings = DetectionSettings(injection_false_alarms=FALSE_ALARMS, injection_second_opinion=True)
        ner = None
        counting = _Everything()
        wanted = choice.names is not False
    else:
        from sallyport.cli.scanning.policed import policed

        settings, counting, ner = policed(choice.policy, choice.min_score)
        wanted = ner is not None if choice.names is None else choice.names
    settings = replace(settings, **changes)
    if not wanted or Kind.PII not in choice.kinds:
        return settings, counting, None
    return settings, counting, ner or _all_names(choice.min_score)


def _all_names(min_score: float | None) -> NerSettings:
    """Return what is asked of names where no policy says it: everything, everywhere. None: the usual score."""
    from sallyport.detect.ner.frames import ENTITIES
    from sallyport.detect.ner.service import NerSettings

    settings = NerSettings("builtin", frozenset(ENTITIES), surfaces=frozenset(Surface))
    return settings if min_score is None else replace(settings, min_score=min_score)

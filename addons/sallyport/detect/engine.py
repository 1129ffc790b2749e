"""Text to findings: one pass for all kinds, over every view of a text.

segment -> normalised view and decoded views -> gate -> exact search of the rules that hit -> unless,
validator or recogniser, context -> best of what overlaps. Synchronous, thread-safe, no I/O, no logging.
"""

from __future__ import annotations

import hashlib
import re
import time
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sallyport.data import rules_dir
from sallyport.decision import Finding, Kind, Severity
from sallyport.detect import decode, linear
from sallyport.detect.cache import Cache, Hit
from sallyport.detect.classifier.classifier import SURFACES, Classifier
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.gate import Gate
from sallyport.detect.labels import Label, Labels
from sallyport.detect.normalise import View, normalise
from sallyport.detect.packs import FRAMED, Packs, Rule, Unless, load
from sallyport.detect.presidio import Recognisers, search
from sallyport.detect.seams import Ribbon, message, ribbons
from sallyport.exchange import Segment, Surface

__all__ = ["DetectionSettings", "Detector", "ScanIncomplete", "injection_score"]

CONTEXT_WEIGHT = 0.45
"""What a context word near a candidate adds to its score."""

SURE = 0.9
"""From here on a match needs no words, and no name speaks against it."""

OTHERWISE = 0.5
"""What is left of a score under the name of something that is nobody's."""

_BEFORE, _AFTER = 80, 40
PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{1,50}_(?=[0-9]*[a-z])[a-z0-9]{10}>")
_LOOK_AT_CLOCK = 32

MAX_FOUND = 20_000
"""Findings of one scan: as many originals as the vault keeps for a conversation. Behind the scan that many take
0.4 s of processor time."""

_AFTERWARDS_S = 18e-6
"""Processor time that a finding takes behind the scan: its placeholder, the edit of the body, the record."""

_TOO_MANY = f"the texts hold more than {MAX_FOUND} findings"


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """What to look for and how hard.

    kinds: which kinds at all. paranoia_*: highest level of rules that run, 1 (sure) to 4 (anything odd).
    entities: PII entities to report; None means all. min_score: PII and secrets below it are not reported;
    injection findings always are, for their points are added up (see injection_score).
    deadline_s: for one scan() call; passed means ScanIncomplete. cpu_s: processor time of its thread,
    likewise, for texts of a million characters together; for longer ones in proportion.
    max_chars: of one segment, likewise.
    regions: whose national telephone formats count. recognisers: files in Presidio's recogniser format.
    cache_entries, cache_bytes: bounds of the result cache; 0 entries switches it off.
    injection_false_alarms: share of clean texts the classifier may report; None leaves it out.
    """

    kinds: frozenset[Kind] = frozenset(Kind)
    paranoia_secrets: int = 2
    paranoia_pii: int = 2
    paranoia_injection: int = 2
    entities: frozenset[str] | None = None
    min_score: float = 0.5
    deadline_s: float = 5.0
    cpu_s: float = 0.8
    max_chars: int = 8_000_000
    regions: tuple[str, ...] = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "IN", "BR", "AU")
    recognisers: tuple[Path, ...] = ()
    cache_entries: int = 20_000
    cache_bytes: int = 16_000_000
    injection_false_alarms: float | None = None

    def paranoia(self, kind: Kind) -> int:
        return {
            Kind.SECRET: self.paranoia_secrets,
            Kind.PII: self.paranoia_pii,
            Kind.INJECTION: self.paranoia_injection,
        }[kind]


@dataclass(frozen=True, slots=True)
class _Context:
    """The words of a rule. names: of a value itself; near: anywhere around it, None where only names count."""

    names: linear.Pattern
    near: linear.Pattern | None

    @classmethod
    def of(cls, words: Sequence[str]) -> _Context | None:
        """Return None where a rule has no words; a word that begins with = counts as a name only."""
        names = _words([word.lstrip("=") for word in words])
        return None if names is None else cls(names, _words([w for w in words if w[0] != "="]))


@lru_cache(maxsize=256)
def _own_context(words: tuple[str, ...]) -> _Context | None:
    """Return the context of an operator's recogniser, compiled once."""
    return _Context.of(words)


class _Deadline:
    """What one scan may take: time on the clock, processor time of the thread that makes it, and hits."""

    def __init__(self, seconds: float, cpu_s: float) -> None:
        self._end = time.monotonic() + seconds
        self._cpu_end = time.thread_time() + cpu_s
        self._asked = 0
        self._hits = 0

    @classmethod
    def of(cls, settings: DetectionSettings, chars: int) -> _Deadline:
        """chars: of all texts together."""
        return cls(settings.deadline_s, settings.cpu_s * max(1.0, chars / 1_000_000))

    def check(self) -> None:
        """Look at the clocks now and then. Raises ScanIncomplete when the time is over."""
        self._asked += 1
        if self._asked % _LOOK_AT_CLOCK == 1:
            self.look()

    def count(self) -> None:
        """Count a hit. Raises ScanIncomplete when there are more than anybody could look through."""
        self._hits += 1
        if self._hits > MAX_FOUND:
            raise ScanIncomplete(_TOO_MANY)

    def look(self, set_aside_s: float = 0.0) -> None:
        """Look at both clocks. set_aside_s: processor time still needed. Raises ScanIncomplete."""
        self.left()
        if time.thread_time() + set_aside_s > self._cpu_end:
            raise ScanIncomplete("the scan used up its processor time")

    def left(self) -> float:
        """Return the seconds left on the clock. Raises ScanIncomplete."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise ScanIncomplete("the scan exceeded its deadline")
        return left


class Detector:
    """Findings of all kinds in segments of text.

    Build once, call from any thread; warm() at start spares the first request Presidio's import.
    packs: None loads what ships with Sallyport. Raises OperatorError for a pack that is wrong.
    revision: changes whenever the same text could give other findings.
    """

    def __init__(self, settings: DetectionSettings | None = None, packs: Packs | None = None) -> None:
        self.settings = settings or DetectionSettings()
        packs = packs or load(rules_dir())
        self._rules = tuple(rule for rule in packs.rules if _enabled(rule, self.settings))
        self._contexts = [_Context.of(rule.context) for rule in self._rules]
        named = sorted({w.lstrip("=") for rule in self._rules for w in rule.context if rule.kind is Kind.PII})
        self._named = _words(named)
        self._hints = [_hint(rule, self.settings.min_score) for rule in self._rules]
        self._unless = [_joined(rule) for rule in self._rules]
        self._gate = Gate(self._rules)
        names = [rule.recogniser for rule in self._rules if rule.recogniser]
        self._recognisers = Recognisers(names, self.settings.regions, self.settings.recognisers)
        self._cache = Cache(self.settings.cache_entries, self.settings.cache_bytes)
        judged = self.settings.injection_false_alarms is not None and Kind.INJECTION in self.settings.kinds
        self._classifier: Classifier | None = None
        if judged:
            # Imported here: numpy takes half of the start of a scan that needs none.
            from sallyport.detect.classifier.weights import shipped

            self._classifier = shipped()
        self.revision = _revision(packs, self.settings, self._classifier)
        self._warm = False

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are switched on."""
        return self._rules

    def warm(self) -> None:
        """Import and compile everything now (about four seconds). Raises OperatorError."""
        self._recognisers.warm()
        self._scan(_WARM, Surface.USER, _Deadline(60.0, 60.0))
        self._warm = True

    def _deadline(self, chars: int) -> _Deadline:
        """Return what a scan may take; what is imported and compiled once is no part of it."""
        if not self._warm:
            self.warm()
        return _Deadline.of(self.settings, chars)

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        """Return the findings of every segment, and of what is split over segments of one surface.

        Ordered by segment, then start. Within one segment and kind findings do not overlap. An injection
        rule is reported once per segment. A finding across a seam is reported in both its segments.
        Raises ScanIncomplete when any segment could not be scanned whole.
        """
        deadline = self._deadline(sum([len(s.text) for s in segments]))
        hits = [list(self._cached(s.text, s.surface, deadline)) for s in segments]
        for ribbon in ribbons(segments):
            self._join(ribbon, segments, hits, deadline)
        found = sum(map(len, hits))
        if found > MAX_FOUND:
            raise ScanIncomplete(_TOO_MANY)
        deadline.look(found * _AFTERWARDS_S)
        return tuple(
            self._finding(hit, segment)
            for segment, found in zip(segments, hits, strict=True)
            for hit in found
        )

    def _cached(
        self, text: str, surface: Surface, deadline: _Deadline, *, joined: bool = False
    ) -> tuple[Hit, ...]:
        if len(text) > self.settings.max_chars:
            raise ScanIncomplete(f"a segment is longer than {self.settings.max_chars} characters")
        digest = self._cache.digest(self.revision, "joined" if joined else "", surface.value, text)
        hits = self._cache.get(digest)
        if hits is None:
            hits = self._scan(text, surface, deadline, joined=joined)
            self._cache.put(digest, hits)
        return hits

    def _scan(
        self, text: str, surface: Surface, deadline: _Deadline, *, joined: bool = False
    ) -> tuple[Hit, ...]:
        found: list[tuple[Hit, float]] = []
        views = list(_views(text))
        for view, kind in views:
            deadline.look()
            # What was decoded stands in a run that means nothing else: the longest there is taken out.
            for hit in self._search(view, kind, surface, deadline):
                found.append((hit, hit.score if kind == "text" else 1.0))
        kept = self._resolve(found, once=not joined) if found else ()
        return kept if joined else self._judged(kept, views, surface)

    def injection_probability(self, segment: Segment) -> float:
        """Return the probability that a text holds an injection, from rules and classifier together.

        What the rules alone refuse is at least SURE. 0 where the classifier is off and no rule matches.
        Raises ScanIncomplete.
        """
        hits = self._cached(segment.text, segment.surface, self._deadline(len(segment.text)))
        points = sum(
            h.score for h in hits if h.rule < len(self._rules) and self._kind(h.rule) is Kind.INJECTION
        )
        judged = self.classifier_probability(segment, points)
        return max(judged, SURE + (1.0 - SURE) * judged if points >= 1.0 - 1e-9 else 0.0)

    def classifier_probability(self, segment: Segment, points: float = 0.0) -> float:
        """Return the classifier's probability; points: what the rules found. 0 where it is off."""
        views = list(_views(segment.text)) if self._classifier is not None else []
        return max((j[0] for j in self._judgements(views, segment.surface, points)), default=0.0)

    def injection_threshold(self, surface: Surface) -> float:
        """Return the probability from which the classifier refuses on a surface; above 1: never."""
        rate = self.settings.injection_false_alarms
        return 2.0 if self._classifier is None or rate is None else self._classifier.threshold(surface, rate)

    def _judgements(
        self, views: Sequence[tuple[View, str]], surface: Surface, points: float
    ) -> Iterator[tuple[float, int, int]]:
        """Yield (probability, start, end) for every view, offsets in the original."""
        for view, kind in views:
            if self._classifier is not None and kind != "hidden":
                judged = self._classifier.judge(view.text, surface, points)
                if judged is not None:
                    yield judged.probability, *view.span(judged.start, judged.end)

    def _judged(
        self, kept: tuple[Hit, ...], views: Sequence[tuple[View, str]], surface: Surface
    ) -> tuple[Hit, ...]:
        """Add what the classifier finds where the rules alone are not enough; it takes the place of overlaps."""
        points = sum(h.score for h in kept if self._kind(h.rule) is Kind.INJECTION)
        if self._classifier is None or surface not in SURFACES or points >= 1.0 - 1e-9:
            return kept
        best = max(self._judgements(views, surface, points), default=None)
        if best is None or best[0] < self.injection_threshold(surface):
            return kept
        _, start, end = best
        rest = [
            h for h in kept if self._kind(h.rule) is not Kind.INJECTION or h.end <= start or end <= h.start
        ]
        rest.append(Hit(self._verdict, start, end, 1.0))
        return tuple(sorted(rest, key=lambda h: (h.start, h.end, h.rule)))

    @property
    def _verdict(self) -> int:
        """Index of the classifier among the rules: after all others."""
        return len(self._rules) + len(self._recognisers.custom)

    def _search(self, view: View, kind: str, surface: Surface, deadline: _Deadline) -> Iterator[Hit]:
        text = view.text
        subject = text.encode() if text.isascii() else text
        shields = [m.span() for m in PLACEHOLDER.finditer(text)] if "<" in text else []
        labels = Labels(text)
        for index in self._gate.hits(subject):
            rule = self._rules[index]
            if kind not in rule.views or (rule.surfaces and surface not in rule.surfaces):
                continue
            hint = self._hints[index]
            for match in rule.pattern.finditer(subject):
                deadline.check()
                start, end = match.span(rule.group)
                if start < 0 or start == end:
                    continue
                low, high = max(0, start - _BEFORE - 4), min(len(text), end + _AFTER + 4)
                if hint is not None and not hint.occurs(subject, low, high) and labels.column(start) is None:
                    continue
                if _excused(self._unless[index], surface, text, match.span(), (start, end)):
                    continue
                for low, high, weight in self._confirmed(rule, text, start, end, deadline):
                    score = self._score(index, labels, text, low, high, weight)
                    if rule.kind is not Kind.INJECTION and score < self.settings.min_score:
                        continue
                    if not _within(shields, low, high):
                        deadline.count()
                        yield Hit(index, *view.span(low, high), round(score, 3))
        for number, custom in enumerate(self._recognisers.custom):
            yield from self._custom(number, custom.entity, view, labels, deadline)

    def _confirmed(
        self, rule: Rule, text: str, start: int, end: int, deadline: _Deadline
    ) -> Iterable[tuple[int, int, float]]:
        if rule.recogniser is not None:
            return self._recognisers.confirm(rule.recogniser, text, start, end, deadline.left())
        if rule.validator is not None and not rule.validate(text[start:end]):
            return ()
        return ((start, end, 1.0),)

    def _score(self, index: int, labels: Labels, text: str, start: int, end: int, weight: float) -> float:
        """Return what a match is worth: more where words speak for it, less where it is called something else."""
        rule, words = self._rules[index], self._contexts[index]
        score = rule.score * weight
        if rule.kind is Kind.INJECTION or score >= SURE:
            return min(score, 1.0)
        label = labels.of(start)
        if words is not None and self._spoken_for(words, label, text, start, end):
            return min(score + CONTEXT_WEIGHT, 1.0)
        doubted = words is not None and label is not None and label.other and rule.kind is Kind.PII
        return score * OTHERWISE if doubted else score

    def _spoken_for(self, words: _Context, label: Label | None, text: str, start: int, end: int) -> bool:
        """Say whether the value's own name is a context word; where it has no telling name, any word nearby."""
        if label is not None:
            if words.names.search(label.text):
                return True
            if label.other or label.key or (self._named is not None and self._named.search(label.text)):
                return False
        if words.near is None:
            return False
        near = text[max(0, start - _BEFORE) : start] + "\n" + text[end : end + _AFTER]
        return words.near.search(near.lower()) is not None

    def _custom(
        self, number: int, entity: str, view: View, labels: Labels, deadline: _Deadline
    ) -> Iterator[Hit]:
        if Kind.PII not in self.settings.kinds:
            return
        if self.settings.entities is not None and entity not in self.settings.entities:
            return
        custom = self._recognisers.custom[number]
        words = _own_context(custom.context)
        for start, end, score in search(custom.loaded, view.text, deadline.left()):
            if words is not None and score < 1.0:
                label = labels.of(start)
                if self._spoken_for(words, label, view.text, start, end):
                    score = min(1.0, score + CONTEXT_WEIGHT)
                elif label is not None and label.other and score < SURE:
                    score *= OTHERWISE
            if score >= self.settings.min_score:
                yield Hit(len(self._rules) + number, *view.span(start, end), round(score, 3))

    def _resolve(self, found: list[tuple[Hit, float]], *, once: bool) -> tuple[Hit, ...]:
        """Keep the best of what overlaps within a kind, and each injection rule once if that is asked for.

        found: hits, each with its rank; among equals the longest wins.
        """
        kept: list[Hit] = []
        taken: dict[Kind, list[tuple[int, int]]] = {kind: [] for kind in Kind}
        seen: set[int] = set()
        for hit, _ in sorted(found, key=lambda f: (-f[1], f[0].start - f[0].end, f[0].start, f[0].rule)):
            kind = self._kind(hit.rule)
            if once and kind is Kind.INJECTION and hit.rule in seen:
                continue
            spans = taken[kind]
            place = bisect_left(spans, (hit.start, hit.end))
            before = place > 0 and spans[place - 1][1] > hit.start
            after = place < len(spans) and spans[place][0] < hit.end
            if before or after:
                continue
            spans.insert(place, (hit.start, hit.end))
            seen.add(hit.rule)
            kept.append(hit)
        return tuple(sorted(kept, key=_place))

    def _join(
        self, ribbon: Ribbon, segments: Sequence[Segment], hits: list[list[Hit]], deadline: _Deadline
    ) -> None:
        """Add what only shows when segments are read as one; over messages, what its rule allows."""
        for hit in self._cached(ribbon.text, ribbon.surface, deadline, joined=True):
            if not ribbon.meets(hit.start, hit.end):
                continue
            parts = ribbon.parts(hit.start, hit.end)
            kind = self._kind(hit.rule)
            spread = len({message(segments[index].at) for index, _, _ in parts}) > 1
            if spread and not self._across_messages(hit.rule):
                continue
            if any(
                self._kind(h.rule) is kind and h.start < b and h.end > a
                for index, a, b in parts
                for h in _near(hits[index], a, b)
            ):
                continue
            for index, start, end in parts:
                insort(hits[index], Hit(hit.rule, start, end, hit.score), key=_place)

    def _across_messages(self, rule: int) -> bool:
        return rule >= len(self._rules) or self._rules[rule].across_messages

    def _kind(self, rule: int) -> Kind:
        if rule < len(self._rules):
            return self._rules[rule].kind
        return Kind.INJECTION if rule == self._verdict else Kind.PII

    def _finding(self, hit: Hit, segment: Segment) -> Finding:
        if hit.rule < len(self._rules):
            rule = self._rules[hit.rule]
            rule_id, kind, severity, entity = rule.id, rule.kind, rule.severity, rule.entity
        elif hit.rule == self._verdict:
            rule_id = f"injection.classifier.{SURFACES[segment.surface]}"
            kind, severity, entity = Kind.INJECTION, Severity.HIGH, "INSTRUCTION"
        else:
            entity = self._recognisers.custom[hit.rule - len(self._rules)].entity
            rule_id, kind, severity = f"pii.custom.{entity}", Kind.PII, Severity.MEDIUM
        return Finding(rule_id, kind, entity, severity, segment.at, hit.start, hit.end, hit.score)


def injection_score(findings: Iterable[Finding]) -> dict[str, float]:
    """Return, per segment pointer, the sum of its injection scores; 1.0 and above is a hit by default."""
    totals: dict[str, float] = {}
    for finding in findings:
        if finding.kind is Kind.INJECTION:
            totals[finding.at] = totals.get(finding.at, 0.0) + finding.score
    return totals


def _views(text: str) -> Iterator[tuple[View, str]]:
    view = normalise(text)
    yield view, "text"
    unseen = decode.hidden(text)
    if unseen is not None:
        yield unseen, "hidden"
        yield unseen, "decoded"
    for _ in range(decode.LAYERS):
        inner = decode.derived(view)
        if inner is None:
            return
        yield inner, "decoded"
        view = inner


def _enabled(rule: Rule, settings: DetectionSettings) -> bool:
    if rule.kind not in settings.kinds or rule.paranoia > settings.paranoia(rule.kind):
        return False
    return rule.kind is not Kind.PII or settings.entities is None or rule.entity in settings.entities


def _joined(rule: Rule) -> tuple[Unless, ...]:
    """Return the reasons not to report with those searched in the same place as one pattern."""
    groups: dict[tuple[str, frozenset[Surface]], list[Unless]] = {}
    for unless in rule.unless:
        groups.setdefault((unless.on, unless.surfaces), []).append(unless)
    joined = []
    for (on, surfaces), group in groups.items():
        pattern = group[0].pattern
        if len(group) > 1:
            sources = (f"(?:{u.pattern.pattern})" for u in group)
            pattern = linear.pattern("|".join(sources), case_sensitive=rule.case_sensitive)
        joined.append(Unless(pattern, on, "", surfaces))
    return tuple(joined)


def _excused(
    reasons: Sequence[Unless], surface: Surface, text: str, match: tuple[int, int], value: tuple[int, int]
) -> bool:
    for unless in reasons:
        if unless.surfaces and surface not in unless.surfaces:
            continue
        if unless.on == "value":
            near = text[value[0] : value[1]]
        elif unless.on == "match":
            near = text[match[0] : match[1]]
        elif unless.on == "before":
            near = text[max(0, value[0] - _BEFORE) : value[0]]
        elif unless.on == "after":
            near = text[value[1] : value[1] + _AFTER]
        elif unless.on == "frame":
            near = _frame(text, value)
        else:
            near = _line(text, match)
        if unless.pattern.search(near) is not None:
            return True
    return False


def _line(text: str, match: tuple[int, int]) -> str:
    low, high = _around(text, match)
    return text[low:high]


def _frame(text: str, value: tuple[int, int]) -> str:
    """What stands around a value on its line; the text cannot hold the mark itself."""
    low, high = _around(text, value)
    before, after = (part.replace(FRAMED, " ") for part in (text[low : value[0]], text[value[1] : high]))
    return before + FRAMED + after


def _around(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Return the bounds of a span's line, at most 160 characters from it."""
    first, last = max(0, span[0] - 160), min(len(text), span[1] + 160)
    low = text.rfind("\n", first, span[0])
    high = text.find("\n", span[1], last)
    return first if low < 0 else low + 1, last if high < 0 else high


def _place(hit: Hit) -> tuple[int, int, int]:
    return hit.start, hit.end, hit.rule


def _near(hits: Sequence[Hit], start: int, end: int) -> Sequence[Hit]:
    """Return the hits that may overlap a piece at the beginning or the end of a segment.

    Of one kind they do not overlap, so that one that reaches into the piece is among the last before it.
    """
    first = bisect_left(hits, start, key=lambda h: h.start)
    last = bisect_left(hits, end, key=lambda h: h.start)
    return hits[max(0, first - 2 * len(Kind)) : last]


def _within(spans: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Say whether one of the spans, which are in order and apart, holds all of this one."""
    place = bisect_left(spans, (start + 1, 0)) - 1
    return place >= 0 and end <= spans[place][1]


def _hint(rule: Rule, min_score: float) -> linear.Pattern | None:
    """Return what must stand near a match of a rule that is nothing without words; None for any other.

    Wider than the words themselves: in a key they may be parted by anything, or by nothing.
    """
    if rule.kind is Kind.INJECTION or rule.score >= min_score or not rule.context:
        return None
    words = (re.escape(w.lstrip("=").removesuffix("*")).replace(r"\ ", r"[^a-z]{0,3}") for w in rule.context)
    return linear.pattern("|".join(words), case_sensitive=False)


def _words(words: Sequence[str]) -> linear.Pattern | None:
    """Whole words, with a plural s; a word that ends in * is the beginning of one."""
    if not words:
        return None
    ends = (re.escape(w[:-1]) if w.endswith("*") else re.escape(w) + "s?(?:[^a-z]|$)" for w in words)
    return linear.pattern(r"(?:^|[^a-z])(?:" + "|".join(ends) + ")")


def _revision(packs: Packs, settings: DetectionSettings, classifier: Classifier | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(packs.revision.encode())
    digest.update((classifier.revision if classifier is not None else "").encode())
    for name in sorted(set(settings.__slots__) - {"cache_entries", "cache_bytes", "deadline_s", "cpu_s"}):
        value = getattr(settings, name)
        stable = sorted(str(v) for v in value) if isinstance(value, frozenset) else value
        digest.update(f"{name}={stable}\0".encode())
    for path in settings.recognisers:
        digest.update(path.read_bytes())
    return digest.hexdigest()


_WARM = (
    "Write to ada@example.com or +44 20 7946 0958, DEA BB1388568, 9434765919, https://x.y/?a=%41, "
    "bXkgbmFtZSBpcyBBZGEgTG92ZWxhY2U="
)

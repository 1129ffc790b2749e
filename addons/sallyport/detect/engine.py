"""Text to findings: one pass for all kinds, over every view of a text.

segment -> normalised view and decoded views -> gate -> exact search of the rules that hit -> unless,
validator or recogniser, context -> best of what overlaps. Synchronous, thread-safe, no I/O, no logging.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence

from sallyport.data import rules_dir
from sallyport.decision import Finding, Kind, Severity
from sallyport.detect import decode, opinion, overlap
from sallyport.detect.cache import Cache, Hit
from sallyport.detect.classifier.classifier import SURFACES, Classifier
from sallyport.detect.deadline import MAX_FOUND, TOO_MANY, Deadline
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.gate import Gate
from sallyport.detect.labels import SPEAKERS, Label, Labels, behind
from sallyport.detect.linear import Subject, Windows
from sallyport.detect.normalise import View
from sallyport.detect.packs import Packs, Rule, load
from sallyport.detect.presidio import CREDENTIAL, Reader, Recognisers, search
from sallyport.detect.reach import end_of_secret, is_next_setting
from sallyport.detect.seams import Ribbon, message, ribbons
from sallyport.detect.settings import DetectionSettings, enabled, revision_of
from sallyport.detect.surroundings import AFTER, BEFORE, Context, any_of, excused, hint, joined, own_context
from sallyport.exchange import Segment, Surface

__all__ = ["DetectionSettings", "Detector", "ScanIncomplete", "injection_score"]

CONTEXT_WEIGHT = 0.45
"""What a context word near a candidate adds to its score."""

SURE = 0.9
"""From here on a match needs no words, and no name speaks against it."""

OTHERWISE = 0.5
"""What is left of a score under the name of something that is nobody's."""

PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{1,50}_(?=[0-9]*[a-z])[a-z0-9]{10}>")

_PARTING = re.compile(r'[\s"`{}<>,|]')
"""What a part of a text may end at: a value there may be another than in the whole."""

_AFTERWARDS_S = 18e-6
"""Processor time that a finding takes behind the scan: its placeholder, the edit of the body, the record."""


class Detector:
    """Findings of all kinds in segments of text.

    Build once, call from any thread; warm() at start spares the first request Presidio's import.
    packs: None loads what ships with Sallyport. Raises OperatorError for a pack that is wrong.
    revision: changes whenever the same text could give other findings.
    """

    def __init__(self, settings: DetectionSettings | None = None, packs: Packs | None = None) -> None:
        self.settings = settings or DetectionSettings()
        packs = packs or load(rules_dir())
        self._rules = tuple(rule for rule in packs.rules if enabled(rule, self.settings))
        self._contexts = [Context.of(rule.context) for rule in self._rules]
        named = sorted({w.lstrip("=") for rule in self._rules for w in rule.context if rule.kind is Kind.PII})
        self._named = any_of(named)
        self._hints = [hint(rule, self.settings.min_score) for rule in self._rules]
        self._unless = [joined(rule) for rule in self._rules]
        self._gate = Gate(self._rules)
        names = [rule.recogniser for rule in self._rules if rule.recogniser]
        self._recognisers = Recognisers(names, self.settings.regions, self.settings.recognisers)
        self._cache = Cache(self.settings.cache_entries, self.settings.cache_bytes)
        self._doubtable = frozenset(index for index, rule in enumerate(self._rules) if rule.judged)
        judged = self.settings.injection_false_alarms is not None or self.settings.injection_second_opinion
        judged = judged and Kind.INJECTION in self.settings.kinds
        self._classifier: Classifier | None = None
        if judged:
            # Imported here: numpy takes half of the start of a scan that needs none.
            from sallyport.detect.classifier.weights import shipped

            self._classifier = shipped()
        judges = CREDENTIAL in names
        self.revision = revision_of(packs, self.settings, self._classifier, judges=judges)
        self._warm = False

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are switched on."""
        return self._rules

    def warm(self) -> None:
        """Import and compile everything now (about four seconds). Raises OperatorError."""
        self._recognisers.warm()
        self._scan(_WARM, Surface.USER, Deadline(60.0, 60.0))
        self._warm = True

    def _deadline(self, chars: int) -> Deadline:
        """Return what a scan may take; what is imported and compiled once is no part of it."""
        if not self._warm:
            self.warm()
        return Deadline.of(self.settings, chars)

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
            raise ScanIncomplete(TOO_MANY)
        deadline.look(found * _AFTERWARDS_S)
        return tuple(
            self._finding(hit, segment)
            for segment, found in zip(segments, hits, strict=True)
            for hit in found
        )

    def suspects(self, text: str, surface: Surface) -> list[tuple[int, int]] | None:
        """Return where a rule's pattern matches, with the words it needs: outside of these no scan finds anything.

        That holds on the surfaces of an answer: rules that look far around a match are not for these.
        Costs less than a scan, and much less than many of parts of the text. None where a text must be scanned to
        know, since more than its own characters speak: something encoded in it, or an operator's recogniser.
        """
        found = []
        try:
            deadline = self._deadline(len(text))
            views = list(decode.views(text, deadline.check))
            if len(views) > 1 or self._recognisers.custom:
                return None
            view = views[0][0]
            subject = Subject(view.text)
            labels = Labels(view.text)
            for index, within in self._gate.sought(subject, "text", deadline.check):
                rule = self._rules[index]
                if not rule.surfaces or surface in rule.surfaces:
                    for _, start, end in self._matches(index, within, subject, labels, deadline):
                        if self._is_confirmed(rule, view.text, start, end, deadline):
                            if rule.kind is Kind.SECRET:
                                end = end_of_secret(view.text, start, end)
                            found.append(view.span(start, end))
        except ScanIncomplete:
            return None
        return found

    def _matches(
        self, index: int, within: Windows | None, subject: Subject, labels: Labels, deadline: Deadline
    ) -> Iterator[tuple[tuple[int, int], int, int]]:
        """Yield each match of a rule that has the words near it without which it is nothing, and its value's span."""
        rule, hint = self._rules[index], self._hints[index]
        text = subject.text if subject.wide else subject.raw
        for match in rule.pattern.finditer(subject, within):
            deadline.check()
            start, end = match.span(rule.group)
            if start < 0 or start == end:
                continue
            low, high = max(0, start - BEFORE - 4), min(len(text), end + AFTER + 4)
            if hint is None or hint.occurs(text, low, high) or labels.is_headed(start):
                yield match.span(), start, end

    def _cached(
        self, text: str, surface: Surface, deadline: Deadline, *, joined: bool = False
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
        self, text: str, surface: Surface, deadline: Deadline, *, joined: bool = False
    ) -> tuple[Hit, ...]:
        found: list[tuple[Hit, float]] = []
        views = list(decode.views(text, deadline.check))
        as_it_stands = overlap.AsItStands(self._kind)
        for view, kind in views:
            deadline.look()
            for hit in self._search(view, kind, surface, deadline):
                if kind == "text":
                    as_it_stands.add(hit)
                    found.append((hit, hit.score))
                else:
                    found.append(as_it_stands.ranked(hit))
        kept = overlap.best(found, self._kind, once=not joined) if found else ()
        return (
            kept if joined else self._judged(text, kept, [hit for hit, _ in found], views, surface, deadline)
        )

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
        """Return the classifier's probability; points: what the rules found. 0 where it is not loaded.

        Raises ScanIncomplete.
        """
        deadline = self._deadline(len(segment.text))
        views = list(decode.views(segment.text, deadline.check)) if self._classifier is not None else []
        return max((j[0] for j in self._judgements(views, segment.surface, points, deadline)), default=0.0)

    def injection_threshold(self, surface: Surface) -> float:
        """Return the probability from which the classifier refuses on a surface; above 1: never."""
        rate = self.settings.injection_false_alarms
        return 2.0 if self._classifier is None or rate is None else self._classifier.threshold(surface, rate)

    def _judgements(
        self, views: Sequence[tuple[View, str]], surface: Surface, points: float, deadline: Deadline
    ) -> Iterator[tuple[float, int, int]]:
        """Yield (probability, start, end) for every view, offsets in the original."""
        for view, kind in views:
            if self._classifier is not None and kind != "hidden":
                judged = self._classifier.judge(view.text, surface, points, deadline.look)
                if judged is not None:
                    yield judged.probability, *view.span(judged.start, judged.end)

    def _judged(
        self,
        text: str,
        kept: tuple[Hit, ...],
        all_: Sequence[Hit],
        views: Sequence[tuple[View, str]],
        surface: Surface,
        deadline: Deadline,
    ) -> tuple[Hit, ...]:
        """Add what the classifier finds where the rules alone are not enough; it takes the place of overlaps.

        Where one rule is enough and the classifier finds the text harmless, its match counts for less than is needed.
        """
        found = [h for h in kept if self._kind(h.rule) is Kind.INJECTION]
        points = sum([h.score for h in found])
        refused = points >= 1.0 - 1e-9
        if self._classifier is None or surface not in SURFACES:
            return kept
        below = 0.0
        if refused:
            hidden = any(kind == "hidden" for _, kind in views)  # which the classifier does not read
            if self.settings.injection_second_opinion and not hidden:
                doubt = self._classifier.doubt(surface)
                wide = self._classifier.threshold(surface, opinion.REPORTED)
                matches = [h for h in all_ if self._kind(h.rule) is Kind.INJECTION]
                below = opinion.bound(text, found, matches, self._doubtable, doubt=doubt, wide=wide)
            if not below:
                return kept
        elif self.settings.injection_false_alarms is None:
            return kept
        best = max(self._judgements(views, surface, points, deadline), default=None)
        if best is None:
            return kept
        if refused:
            return opinion.doubted(kept, self._doubtable) if best[0] < below else kept
        if best[0] < self.injection_threshold(surface):
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

    def _search(self, view: View, kind: str, surface: Surface, deadline: Deadline) -> Iterator[Hit]:
        text = view.text
        subject = Subject(text)
        shields = [m.span() for m in PLACEHOLDER.finditer(text)] if "<" in text else []
        labels = Labels(text)
        for index, within in self._gate.sought(subject, kind, deadline.check):
            rule = self._rules[index]
            if rule.surfaces and surface not in rule.surfaces:
                continue
            reader = self._reader(rule, text)
            for whole, start, end in self._matches(index, within, subject, labels, deadline):
                empty = rule.kind is Kind.SECRET and reader is None and is_next_setting(text, start)
                if empty or excused(self._unless[index], surface, text, whole, (start, end)):
                    continue
                for low, high, weight in self._confirmed(rule, reader, text, start, end, deadline):
                    score = self._score(index, labels, text, low, high, weight)
                    if rule.kind is not Kind.INJECTION and score < self.settings.min_score:
                        continue
                    if overlap.around(shields, low, high) is None:
                        deadline.count()
                        if rule.kind is Kind.SECRET:
                            high = end_of_secret(text, low, high)
                        yield Hit(index, *view.span(low, high), round(score, 3))
        for number, custom in enumerate(self._recognisers.custom):
            yield from self._custom(number, custom.entity, view, labels, deadline)

    def _reader(self, rule: Rule, text: str) -> Reader | None:
        return None if rule.recogniser is None else self._recognisers.of_text(rule.recogniser, text)

    def _confirmed(
        self, rule: Rule, reader: Reader | None, text: str, start: int, end: int, deadline: Deadline
    ) -> Iterable[tuple[int, int, float]]:
        if reader is not None:
            return reader(start, end, deadline.left())
        if rule.validator is not None and not rule.validate(text[start:end]):
            return ()
        return ((start, end, 1.0),)

    def _is_confirmed(self, rule: Rule, text: str, start: int, end: int, deadline: Deadline) -> bool:
        """Say whether a match is confirmed; True where it may be another one in a part of the text."""
        if _PARTING.search(text, start, end) or text[end : end + 1].isalnum():
            return True
        reader = self._reader(rule, text)
        return any(True for _ in self._confirmed(rule, reader, text, start, end, deadline))

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

    def _spoken_for(self, words: Context, label: Label | None, text: str, start: int, end: int) -> bool:
        """Say whether the value's own name is a context word; where it has no telling name, any word nearby."""
        if label is not None:
            if words.names.search(label.text):
                return True
            named = self._named is not None and label.text not in SPEAKERS and self._named.search(label.text)
            if label.other or label.key or named:
                return False
        if words.names.search(behind(text, end)):
            return True
        if words.near is None:
            return False
        near = text[max(0, start - BEFORE) : start] + "\n" + text[end : end + AFTER]
        return words.near.search(near.lower()) is not None

    def _custom(
        self, number: int, entity: str, view: View, labels: Labels, deadline: Deadline
    ) -> Iterator[Hit]:
        if Kind.PII not in self.settings.kinds:
            return
        if self.settings.entities is not None and entity not in self.settings.entities:
            return
        custom = self._recognisers.custom[number]
        words = own_context(custom.context)
        for start, end, score in search(custom.loaded, view.text, deadline.left()):
            if words is not None and score < 1.0:
                label = labels.of(start)
                if self._spoken_for(words, label, view.text, start, end):
                    score = min(1.0, score + CONTEXT_WEIGHT)
                elif label is not None and label.other and score < SURE:
                    score *= OTHERWISE
            if score >= self.settings.min_score:
                yield Hit(len(self._rules) + number, *view.span(start, end), round(score, 3))

    def _join(
        self, ribbon: Ribbon, segments: Sequence[Segment], hits: list[list[Hit]], deadline: Deadline
    ) -> None:
        """Add what only shows when segments are read as one; over messages, what its rule allows."""
        for hit in self._cached(ribbon.text, ribbon.surface, deadline, joined=True):
            if not ribbon.meets(hit.start, hit.end) or self._is_of_tokens(hit.rule):
                continue
            parts = ribbon.parts(hit.start, hit.end)
            kind = self._kind(hit.rule)
            spread = len({message(segments[index].at) for index, _, _ in parts}) > 1
            if spread and not self._across_messages(hit.rule):
                continue
            known = [
                (
                    index,
                    [
                        h
                        for h in overlap.near(hits[index], a, b)
                        if self._kind(h.rule) is kind and h.start < b and h.end > a
                    ],
                )
                for index, a, b in parts
            ]
            # What was doubted in a part of what is read here gives way, where it is worth less.
            if any(
                found and (kind is not Kind.INJECTION or sum([h.score for h in found]) >= hit.score)
                for _, found in known
            ):
                continue
            for index, weaker in known:
                hits[index] = [h for h in hits[index] if h not in weaker]
            for index, start, end in parts:
                insort(hits[index], Hit(hit.rule, start, end, hit.score), key=overlap.place)

    def _is_of_tokens(self, rule: int) -> bool:
        """Say whether a rule judges tokens: what stands on both sides of a seam is none."""
        return rule < len(self._rules) and self._rules[rule].recogniser == CREDENTIAL

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


_WARM = (
    "Write to ada@example.com or +44 20 7946 0958, DEA BB1388568, 9434765919, https://x.y/?a=%41, "
    "bXkgbmFtZSBpcyBBZGEgTG92ZWxhY2U="
)

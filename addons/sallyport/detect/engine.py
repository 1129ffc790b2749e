"""Text to findings: one pass for all kinds, over every view of a text.

segment -> normalised view and decoded views -> gate -> exact search of the rules that hit -> unless,
validator or recogniser, context -> best of what overlaps. Synchronous, thread-safe, no I/O, no logging.
"""

import hashlib
import re
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sallyport.data import rules_dir
from sallyport.decision import Finding, Kind, Severity
from sallyport.detect import decode
from sallyport.detect.cache import Cache, Hit
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.gate import Gate
from sallyport.detect.normalise import View, normalise
from sallyport.detect.packs import FRAMED, Packs, Rule, load
from sallyport.detect.presidio import Recognisers, search
from sallyport.detect.seams import Seam, message, seams
from sallyport.exchange import Segment, Surface

__all__ = ["DetectionSettings", "Detector", "ScanIncomplete", "injection_score"]

CONTEXT_WEIGHT = 0.45
"""What a context word near a candidate adds to its score."""

_BEFORE, _AFTER = 80, 40
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{1,50}_(?=[0-9]*[a-z])[a-z0-9]{10}>")
_LOOK_AT_CLOCK = 32


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """What to look for and how hard.

    kinds: which kinds at all. paranoia_*: highest level of rules that run, 1 (sure) to 4 (anything odd).
    entities: PII entities to report; None means all. min_score: PII and secrets below it are not reported;
    injection findings always are, for their points are added up (see injection_score).
    deadline_s: for one scan() call; passed means ScanIncomplete. max_chars: of one segment, likewise.
    regions: whose national telephone formats count. recognisers: files in Presidio's recogniser format.
    cache_entries, cache_bytes: bounds of the result cache; 0 entries switches it off.
    """

    kinds: frozenset[Kind] = frozenset(Kind)
    paranoia_secrets: int = 2
    paranoia_pii: int = 2
    paranoia_injection: int = 2
    entities: frozenset[str] | None = None
    min_score: float = 0.5
    deadline_s: float = 5.0
    max_chars: int = 8_000_000
    regions: tuple[str, ...] = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "IN", "BR", "AU")
    recognisers: tuple[Path, ...] = ()
    cache_entries: int = 20_000
    cache_bytes: int = 16_000_000

    def paranoia(self, kind: Kind) -> int:
        return {
            Kind.SECRET: self.paranoia_secrets,
            Kind.PII: self.paranoia_pii,
            Kind.INJECTION: self.paranoia_injection,
        }[kind]


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._asked = 0

    def check(self) -> None:
        """Look at the clock now and then. Raises ScanIncomplete when the time is over."""
        self._asked += 1
        if self._asked % _LOOK_AT_CLOCK == 1:
            self.left()

    def left(self) -> float:
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
        self._contexts = [_words(rule.context) for rule in self._rules]
        self._gate = Gate(self._rules)
        names = [rule.recogniser for rule in self._rules if rule.recogniser]
        self._recognisers = Recognisers(names, self.settings.regions, self.settings.recognisers)
        self._cache = Cache(self.settings.cache_entries, self.settings.cache_bytes)
        self.revision = _revision(packs, self.settings)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are switched on."""
        return self._rules

    def warm(self) -> None:
        """Import and compile everything now (about four seconds). Raises OperatorError."""
        self._recognisers.warm()
        self._scan(_WARM, Surface.USER, _Deadline(60.0))

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        """Return the findings of every segment, and of what is split over segments of one surface.

        Ordered by segment, then start. Within one segment and kind findings do not overlap. An injection
        rule is reported once per segment. A finding across a seam is reported in both its segments.
        Raises ScanIncomplete when any segment could not be scanned whole.
        """
        deadline = _Deadline(self.settings.deadline_s)
        hits = [list(self._cached(s.text, s.surface, deadline)) for s in segments]
        for seam in seams(segments):
            self._join(seam, segments, hits, deadline)
        return tuple(
            self._finding(hit, segment)
            for segment, found in zip(segments, hits, strict=True)
            for hit in found
        )

    def _cached(self, text: str, surface: Surface, deadline: _Deadline) -> tuple[Hit, ...]:
        if len(text) > self.settings.max_chars:
            raise ScanIncomplete(f"a segment is longer than {self.settings.max_chars} characters")
        digest = self._cache.digest(self.revision, surface.value, text)
        hits = self._cache.get(digest)
        if hits is None:
            hits = self._scan(text, surface, deadline)
            self._cache.put(digest, hits)
        return hits

    def _scan(self, text: str, surface: Surface, deadline: _Deadline) -> tuple[Hit, ...]:
        found: list[Hit] = []
        for view, kind in _views(text):
            deadline.left()
            found += self._search(view, kind, surface, deadline)
        if not found:
            return ()
        return self._resolve(found)

    def _search(self, view: View, kind: str, surface: Surface, deadline: _Deadline) -> Iterator[Hit]:
        text = view.text
        subject = text.encode() if text.isascii() else text
        shields = [m.span() for m in _PLACEHOLDER.finditer(text)] if "<" in text else []
        for index in self._gate.hits(subject):
            rule = self._rules[index]
            if kind not in rule.views or (rule.surfaces and surface not in rule.surfaces):
                continue
            for match in rule.pattern.finditer(subject):
                deadline.check()
                start, end = match.span(rule.group)
                if start < 0 or start == end or _excused(rule, surface, text, match.span(), (start, end)):
                    continue
                for low, high, weight in self._confirmed(rule, text, start, end, deadline):
                    score = self._score(index, text, low, high, weight)
                    if rule.kind is not Kind.INJECTION and score < self.settings.min_score:
                        continue
                    if not any(a <= low and high <= b for a, b in shields):
                        yield Hit(index, *view.span(low, high), score)
        for number, custom in enumerate(self._recognisers.custom):
            yield from self._custom(number, custom.entity, view, deadline)

    def _confirmed(
        self, rule: Rule, text: str, start: int, end: int, deadline: _Deadline
    ) -> Iterable[tuple[int, int, float]]:
        if rule.recogniser is not None:
            return self._recognisers.confirm(rule.recogniser, text, start, end, deadline.left())
        if rule.validator is not None and not rule.validate(text[start:end]):
            return ()
        return ((start, end, 1.0),)

    def _score(self, index: int, text: str, start: int, end: int, weight: float) -> float:
        score = self._rules[index].score * weight
        words = self._contexts[index]
        if words is not None and score < 1.0:
            near = text[max(0, start - _BEFORE) : start] + "\n" + text[end : end + _AFTER]
            if words.search(near.lower()):
                score += CONTEXT_WEIGHT
        return min(score, 1.0)

    def _custom(self, number: int, entity: str, view: View, deadline: _Deadline) -> Iterator[Hit]:
        if Kind.PII not in self.settings.kinds:
            return
        if self.settings.entities is not None and entity not in self.settings.entities:
            return
        custom = self._recognisers.custom[number]
        words = _words(custom.context)
        for start, end, score in search(custom.loaded, view.text, deadline.left()):
            near = view.text[max(0, start - _BEFORE) : start] + "\n" + view.text[end : end + _AFTER]
            if words is not None and words.search(near.lower()):
                score = min(1.0, score + CONTEXT_WEIGHT)
            if score >= self.settings.min_score:
                yield Hit(len(self._rules) + number, *view.span(start, end), score)

    def _resolve(self, found: list[Hit]) -> tuple[Hit, ...]:
        """Keep the best of what overlaps within a kind, and each injection rule once."""
        kept: list[Hit] = []
        taken: dict[Kind, list[tuple[int, int]]] = {kind: [] for kind in Kind}
        once: set[int] = set()
        for hit in sorted(found, key=lambda h: (-h.score, h.start - h.end, h.start, h.rule)):
            kind = self._kind(hit.rule)
            if kind is Kind.INJECTION and hit.rule in once:
                continue
            spans = taken[kind]
            place = bisect_left(spans, (hit.start, hit.end))
            before = place > 0 and spans[place - 1][1] > hit.start
            after = place < len(spans) and spans[place][0] < hit.end
            if before or after:
                continue
            spans.insert(place, (hit.start, hit.end))
            once.add(hit.rule)
            kept.append(hit)
        return tuple(sorted(kept, key=lambda h: (h.start, h.end, h.rule)))

    def _join(
        self, seam: Seam, segments: Sequence[Segment], hits: list[list[Hit]], deadline: _Deadline
    ) -> None:
        """Add what only shows when two segments are read as one; over messages, what its rule allows."""
        for hit in self._cached(seam.text, seam.surface, deadline):
            if not hit.start < seam.middle < hit.end:
                continue
            kind = self._kind(hit.rule)
            parts = seam.parts(hit.start, hit.end)
            spread = len({message(segments[index].at) for index, _, _ in parts}) > 1
            if spread and not self._across_messages(hit.rule):
                continue
            if any(
                self._kind(h.rule) is kind and h.start < b and h.end > a
                for index, a, b in parts
                for h in hits[index]
            ):
                continue
            for index, start, end in parts:
                hits[index].append(Hit(hit.rule, start, end, hit.score))
                hits[index].sort(key=lambda h: (h.start, h.end, h.rule))

    def _across_messages(self, rule: int) -> bool:
        return rule >= len(self._rules) or self._rules[rule].across_messages

    def _kind(self, rule: int) -> Kind:
        return self._rules[rule].kind if rule < len(self._rules) else Kind.PII

    def _finding(self, hit: Hit, segment: Segment) -> Finding:
        if hit.rule >= len(self._rules):
            entity = self._recognisers.custom[hit.rule - len(self._rules)].entity
            rule_id, kind, severity = f"pii.custom.{entity}", Kind.PII, Severity.MEDIUM
        else:
            rule = self._rules[hit.rule]
            rule_id, kind, severity, entity = rule.id, rule.kind, rule.severity, rule.entity
        return Finding(rule_id, kind, entity, severity, segment.at, hit.start, hit.end, round(hit.score, 3))


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


def _excused(rule: Rule, surface: Surface, text: str, match: tuple[int, int], value: tuple[int, int]) -> bool:
    for unless in rule.unless:
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
    low = max(text.rfind("\n", 0, span[0]) + 1, span[0] - 160)
    high = text.find("\n", span[1])
    return low, min(len(text) if high < 0 else high, span[1] + 160)


def _words(words: Sequence[str]) -> re.Pattern[str] | None:
    """Whole words, with a plural s; a word that ends in * is the beginning of one."""
    if not words:
        return None
    ends = (re.escape(w[:-1]) if w.endswith("*") else re.escape(w) + "s?(?![a-z])" for w in words)
    return re.compile(r"(?<![a-z])(?:" + "|".join(ends) + ")")


def _revision(packs: Packs, settings: DetectionSettings) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(packs.revision.encode())
    for name in sorted(set(settings.__slots__) - {"cache_entries", "cache_bytes", "deadline_s"}):
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

"""A value is replaced wherever it stands, not only where the words around it gave it away.

A client sends back what the model answered, with the originals in it: "my SSN is 219-..." was recognised, the
answer's "noted: 219-..." would not be. Unchanged bytes keep the provider's prompt cache warm, so a repetition
is replaced only behind the place where the value was recognised, and never in the fixed head of a conversation.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from sallyport.decision import Edit, Finding, Kind
from sallyport.exchange import Exchange, Segment, Surface
from sallyport.stages.ordinary import ORDINARY
from sallyport.stages.places import in_body

FIXED = frozenset({Surface.SYSTEM, Surface.TOOL_DEFINITION})
"""The head that many conversations share; a provider caches it across them."""

type Replacement = Callable[[str, str, bool], str]
"""(entity, value, shared) -> what takes the value's place."""

_BY_FORM = frozenset({"EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "MAC_ADDRESS", "URL", "CRYPTO"})
"""Entities recognised by their own form anywhere; looking for them again would find nothing new."""

_SHORTEST = 6
"""Characters of the shortest value that is looked for: a shorter one stands for too much else."""

_NAMES = frozenset({"PERSON", "LOCATION", "ORGANIZATION", "NRP"})
"""Entities whose values are words of a language. A repetition has the same capitals, is no part of a longer word
or identifier, and is no ordinary word itself: "Will", once recognised, is not looked for in "Will you?"."""

_SHORTEST_NAME = 4


@dataclass(frozen=True, slots=True)
class _Known:
    """A recognised value. shared: it stands in the fixed head. behind: segment index and offset."""

    entity: str
    shared: bool
    behind: tuple[int, int]


def replace_everywhere(
    exchange: Exchange,
    findings: Sequence[Finding],
    replacement: Replacement,
    *,
    taken: Sequence[Finding] = (),
    untouched: Set[str] = frozenset(),
) -> tuple[Edit, ...]:
    """Return one edit per finding and one per repetition of its value.

    replacement: told the entity of the value's first finding, so that a value has one placeholder.
    taken: findings that others replace; untouched: pointers of segments that are left as they are.
    """
    places = {s.at: (n, s) for n, s in enumerate(exchange.request.segments)}
    known: dict[str, _Known] = {}
    edits: list[Edit] = []
    for finding in sorted(findings, key=lambda f: _order(f, places)):
        index, segment = places[finding.at]
        value = segment.text[finding.start : finding.end]
        shared = segment.surface in FIXED
        one = known.setdefault(value, _Known(finding.entity, shared, (index, finding.end)))
        edits.append(Edit(finding.at, finding.start, finding.end, replacement(one.entity, value, one.shared)))
    sought = {v: k for v, k in known.items() if _is_sought(v, k.entity)}
    if sought:
        spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for at, start, end in ((c.at, c.start, c.end) for c in (*findings, *taken)):
            spans[at].append((start, end))
        repetitions = _Repetitions(sought)
        for index, segment in enumerate(exchange.request.segments):
            if segment.surface in FIXED or segment.at in untouched or not in_body(segment.at):
                continue
            for start, end, one in repetitions.of(segment.text, sorted(spans[segment.at])):
                if one.shared or (index, start) >= one.behind:
                    value = segment.text[start:end]
                    edits.append(Edit(segment.at, start, end, replacement(one.entity, value, one.shared)))
    return tuple(edits)


def repeated(exchange: Exchange, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield what was found once for each other place of the body where its value stands and nothing is found."""
    texts = {s.at: s.text for s in exchange.request.segments if in_body(s.at)}
    first: dict[str, Finding] = {}
    spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for finding in findings:
        if finding.at in texts:
            spans[finding.at].append((finding.start, finding.end))
            if finding.kind in (Kind.PII, Kind.SECRET):
                first.setdefault(texts[finding.at][finding.start : finding.end], finding)
    sought = {v: _Known(f.entity, False, (0, 0)) for v, f in first.items() if _is_sought(v, f.entity)}
    if not sought:
        return
    repetitions = _Repetitions(sought)
    for at, text in texts.items():
        for start, end, _ in repetitions.of(text, sorted(spans[at])):
            yield replace(first[text[start:end]], at=at, start=start, end=end)


def _is_sought(value: str, entity: str) -> bool:
    if entity in _NAMES:
        capital = any(char.isupper() for char in value)
        return capital and len(value) >= _SHORTEST_NAME and value.lower() not in ORDINARY
    return entity not in _BY_FORM and len(value) >= _SHORTEST


def _order(finding: Finding, places: dict[str, tuple[int, Segment]]) -> tuple[bool, int, int]:
    index, segment = places[finding.at]
    return (segment.surface not in FIXED, index, finding.start)


class _Repetitions:
    """Finds many values in a text in one pass: by their first characters, then by the lengths they may have."""

    def __init__(self, sought: Mapping[str, _Known]) -> None:
        self._sought = sought
        self._lengths: defaultdict[str, set[int]] = defaultdict(set)
        for value in sought:
            self._lengths[value[:_SHORTEST_NAME]].add(len(value))
        first = "".join(sorted({re.escape(value[0]) for value in sought}))
        self._starts = re.compile(rf"(?<![^\W_])[{first}]")

    def of(self, text: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, _Known]]:
        """Yield where a value stands as a word of its own, the longest first, outside the sorted spans."""
        behind = 0
        for match in self._starts.finditer(text):
            start = match.start()
            if start < behind:
                continue
            for length in sorted(self._lengths.get(text[start : start + _SHORTEST_NAME], ()), reverse=True):
                end = start + length
                one = self._sought.get(text[start:end])
                if one is not None and _is_word(text, start, end, one.entity) and _free(spans, start, end):
                    yield start, end, one
                    behind = end
                    break


def _is_word(text: str, start: int, end: int, entity: str) -> bool:
    """Say whether a value stands by itself; before it there is no letter or digit."""
    after = text[end : end + 1]
    if entity in _NAMES and "_" in (text[max(0, start - 1) : start], after):
        return False
    return not after.isalnum()


def _free(spans: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    place = bisect_left(spans, (start, end))
    before = place > 0 and spans[place - 1][1] > start
    after = place < len(spans) and spans[place][0] < end
    return not (before or after)

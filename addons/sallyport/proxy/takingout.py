"""Texts with everything that rules found in them taken out, for whoever keeps them: captures and content."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from sallyport.decision import Edit, Finding
from sallyport.exchange import Exchange, Segment
from sallyport.stages.everywhere import repeated
from sallyport.stages.places import in_body
from sallyport.wire.jsontext import token

REPEATED = ""
"""Stands for a rule where none found anything: the value was found elsewhere."""


def by_text(exchange: Exchange, found: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    """Return the findings in the body of a request and all repetitions of their values, by pointer."""
    places: dict[str, list[Finding]] = defaultdict(list)
    for finding in found:
        if in_body(finding.at):
            places[finding.at].append(finding)
    for repetition in repeated(exchange, found):
        places[repetition.at].append(replace(repetition, rule=REPEATED))
    return places


def without(segment: Segment, findings: Sequence[Finding]) -> str:
    """Return a text with a mark in place of each finding."""
    left: list[str] = []
    behind = 0
    for edit in taken_out(segment, findings)[0]:
        left += (segment.text[behind : edit.start], edit.replacement)
        behind = edit.end
    return "".join((*left, segment.text[behind:]))


def renamed(names: Iterable[tuple[str, str]]) -> Callable[[str], str]:
    """Return what writes pointers as they are once names of members have marks in them.

    names: pointer to a name ("~k" behind it), and what stands there instead. Pointers hold the names they lead through.
    """
    marked = {at.removesuffix("~k"): token(text) for at, text in names if at.endswith("~k")}

    def place(at: str) -> str:
        if not marked:
            return at
        parts = at.split("/")
        mark = parts[-1][-2:] if parts[-1].endswith(("~k", "~t")) else ""
        parts[-1] = parts[-1].removesuffix(mark)
        led, written = parts[0], [parts[0]]
        for part in parts[1:]:
            led = f"{led}/{part}"
            written.append(marked.get(led, part))
        return "/".join(written) + mark

    return place


def taken_out(segment: Segment, findings: Sequence[Finding]) -> tuple[list[Edit], list[Finding]]:
    """Return the edits that put a mark in place of each finding, and the findings at the marks.

    Findings that overlap share one mark. A mark is `[ENTITY]`, which no rule finds.
    """
    edits: list[Edit] = []
    moved: list[Finding] = []
    shift = 0
    ordered = deque(sorted(findings, key=lambda f: (f.start, -f.end)))
    while ordered:
        first = ordered[0]
        end = first.end
        together = []
        while ordered and (ordered[0].start < end or ordered[0] is first):
            together.append(ordered.popleft())
            end = max(end, together[-1].end)
        mark = f"[{first.entity}]"
        edits.append(Edit(segment.at, first.start, end, mark))
        start = first.start + shift
        moved += [replace(each, start=start, end=start + len(mark)) for each in together]
        shift += len(mark) - (end - first.start)
    return edits, moved

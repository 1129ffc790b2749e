"""Texts with everything that rules found in them taken out, for whoever keeps them: captures and content."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sallyport.decision import Edit, Finding
from sallyport.exchange import Exchange, Segment
from sallyport.stages.everywhere import repeated
from sallyport.stages.places import in_body

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
    text, shift = segment.text, 0
    for edit in taken_out(segment, findings)[0]:
        text = text[: edit.start + shift] + edit.replacement + text[edit.end + shift :]
        shift += len(edit.replacement) - (edit.end - edit.start)
    return text


def taken_out(segment: Segment, findings: Sequence[Finding]) -> tuple[list[Edit], list[Finding]]:
    """Return the edits that put a mark in place of each finding, and the findings at the marks.

    Findings that overlap share one mark. A mark is `[ENTITY]`, which no rule finds.
    """
    edits: list[Edit] = []
    moved: list[Finding] = []
    shift = 0
    ordered = sorted(findings, key=lambda f: (f.start, -f.end))
    while ordered:
        first = ordered[0]
        end = first.end
        together = []
        while ordered and (ordered[0].start < end or ordered[0] is first):
            together.append(ordered.pop(0))
            end = max(end, together[-1].end)
        mark = f"[{first.entity}]"
        edits.append(Edit(segment.at, first.start, end, mark))
        start = first.start + shift
        moved += [replace(each, start=start, end=start + len(mark)) for each in together]
        shift += len(mark) - (end - first.start)
    return edits, moved

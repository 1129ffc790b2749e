"""A difference on paper: JUnit for a pipeline, one HTML page for people. Both hold no text of any flow."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

from sallyport.audit.paper import Cell, bars, heading, page, paragraph, table
from sallyport.audit.text import printable
from sallyport.proxy.recorded import Ruling
from sallyport.replay.difference import Difference
from sallyport.replay.ruling import Change
from sallyport.replay.samples import Content
from sallyport.replay.thresholds import Threshold, Unread

MOST_ROWS = 50
"""Of one table; the rest is counted in its last row."""

NAMES = {
    Change.SAME: "as before",
    Change.NEWLY_REFUSED: "newly refused",
    Change.NEWLY_ALLOWED: "newly allowed",
    Change.REFUSED_OTHERWISE: "refused for another reason",
    Change.ANSWER_NEWLY_ENDED: "answer newly cut off or refused",
    Change.ANSWER_NEWLY_WHOLE: "answer no longer cut off or refused",
    Change.MASKS_CHANGED: "other values masked",
    Change.ANSWER_CHANGED: "answer changed otherwise",
    Change.WOULD_CHANGE: "would change (observed only)",
}


def junit(found: Difference, thresholds: Sequence[Threshold], unread: Unread) -> str:
    """Return JUnit XML: a case for each threshold, failed where no flow was seen, and one for what was read."""
    failed = [t for t in thresholds if t.is_passed(found) or not found.flows]
    root = Xml.Element("testsuites")
    suite = Xml.SubElement(
        root,
        "testsuite",
        name="sallyport replay",
        tests=str(len(thresholds) + 1),
        failures=str(len(failed) + unread.too_much),
        errors="0",
    )
    for threshold in thresholds:
        case = Xml.SubElement(suite, "testcase", classname="replay", name=f"not {threshold}")
        if threshold in failed:
            count = found.changes[threshold.change]
            failure = Xml.SubElement(case, "failure", message=f"{count} of {found.flows} flows")
            failure.text = "\n".join(
                f"{printable(sample.judged.id)} {printable(sample.judged.host)} {printable(sample.candidate.reason)}"
                for sample in found.samples
                if sample.change is threshold.change
            )
    case = Xml.SubElement(suite, "testcase", classname="replay", name="all was read")
    if unread.too_much:
        Xml.SubElement(case, "failure", message=str(unread))
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def html(
    found: Difference,
    title: str,
    lines: Sequence[str],
    thresholds: Sequence[Threshold],
    contents: Sequence[Content] = (),
) -> str:
    """Return one page that needs nothing beside it. lines: what was compared, shown at the top.

    contents: of the samples, in their order; none to show.
    """
    parts = [
        *map(paragraph, lines),
        *(_verdict(found, t) for t in thresholds),
        heading("What changes"),
        bars((NAMES[change], found.changes[change]) for change in Change),
        heading("Before and after"),
        table(("", "base", "candidate"), _sides(found)),
    ]
    for dimension, values in found.by.items():
        if values:
            parts += [heading(f"By {dimension}"), _counts(dimension, values)]
    if found.samples:
        head = ("began (UTC)", "change", "host", "model", "principal", "base", "candidate", "id")
        parts += [heading("Samples"), table(head, _samples(found))]
    for sample, content in zip(found.samples, contents, strict=False):
        parts += [heading(f"Sample {sample.judged.id}"), paragraph(content.request)]
        parts += [] if content.answer is None else [paragraph("Answer:", "note"), paragraph(content.answer)]
    return page(title, parts)


def _verdict(found: Difference, threshold: Threshold) -> str:
    count = f"({found.changes[threshold.change]} of {found.flows} flows)"
    if not found.flows:
        return paragraph(f"Not known, since no flow was replayed: {threshold}", "no")
    if threshold.is_passed(found):
        return paragraph(f"Too much: {threshold} {count}", "no")
    return paragraph(f"Not {threshold} {count}", "yes")


def _sides(found: Difference) -> Iterable[Sequence[Cell]]:
    yield ("refused", *found.refused)
    yield ("cost, USD", *(f"{spent / 1e6:.2f}" for spent in found.spent))
    yield ("allowed at an unknown price", *found.unpriced)
    yield ("let in after a wait", *(waited.flows for waited in found.waited))
    yield ("seconds waited", *(f"{waited.seconds:.1f}" for waited in found.waited))
    yield ("answers cut off or refused", *found.ended)
    for entity in sorted(found.masked[0].keys() | found.masked[1].keys()):
        yield (f"masked {entity}", found.masked[0][entity], found.masked[1][entity])
    for rule in sorted(found.edited[0].keys() | found.edited[1].keys()):
        yield (f"changed in answers: {rule}", found.edited[0][rule], found.edited[1][rule])


def _counts(dimension: str, values: Mapping[str, Counter[Change]]) -> str:
    ranked = sorted(values.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    shown = [change for change in Change if any(counts[change] for _, counts in ranked)]
    rows: list[Sequence[Cell]] = [
        (value or "(none)", *(counts[change] for change in shown)) for value, counts in ranked[:MOST_ROWS]
    ]
    if len(ranked) > MOST_ROWS:
        rest = [sum(counts[change] for _, counts in ranked[MOST_ROWS:]) for change in shown]
        rows.append((f"{len(ranked) - MOST_ROWS} more", *rest))
    return table((dimension, *(NAMES[change] for change in shown)), rows)


def _samples(found: Difference) -> Iterable[Sequence[Cell]]:
    for sample in found.samples:
        judged = sample.judged
        yield (
            f"{datetime.fromtimestamp(judged.began, UTC):%Y-%m-%d %H:%M:%S}",
            NAMES[sample.change],
            judged.host,
            judged.model,
            judged.principal,
            said(sample.base),
            said(sample.candidate),
            judged.id,
        )


def said(ruling: Ruling) -> str:
    """Return a ruling in a few words."""
    told = f"{ruling.action.name.lower()}: {ruling.reason}" if ruling.reason else ruling.action.name.lower()
    if ruling.answer is not None and ruling.answer.action.alters:
        told += f"; answer {ruling.answer.action}: {ruling.answer.rule}"
    return told

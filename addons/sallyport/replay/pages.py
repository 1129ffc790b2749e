"""A difference on paper: JUnit for a pipeline, one HTML page for people. Both hold no text of any flow."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from xml.etree import ElementTree as Xml

from sallyport.audit.text import printable
from sallyport.replay.difference import Difference, Threshold
from sallyport.replay.ruling import Change, Ruling

MOST_ROWS = 50
"""Of one table; the rest is counted in its last row."""

NAMES = {
    Change.SAME: "as before",
    Change.NEWLY_REFUSED: "newly refused",
    Change.NEWLY_ALLOWED: "newly allowed",
    Change.REFUSED_OTHERWISE: "refused for another reason",
    Change.MASKS_CHANGED: "other values masked",
    Change.WOULD_CHANGE: "would change (observed only)",
}


def junit(found: Difference, thresholds: Sequence[Threshold]) -> str:
    """Return JUnit XML: one case for each threshold."""
    failed = [t for t in thresholds if t.is_passed(found)]
    root = Xml.Element("testsuites")
    suite = Xml.SubElement(
        root,
        "testsuite",
        name="sallyport replay",
        tests=str(len(thresholds)),
        failures=str(len(failed)),
        errors="0",
    )
    for threshold in thresholds:
        case = Xml.SubElement(suite, "testcase", classname="replay", name=f"not {threshold}")
        if threshold in failed:
            count = found.changes[threshold.change]
            failure = Xml.SubElement(case, "failure", message=f"{count} of {found.flows} flows")
            failure.text = "\n".join(
                f"{sample.judged.id} {printable(sample.judged.host)} {printable(sample.candidate.reason)}"
                for sample in found.samples
                if sample.change is threshold.change
            )
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def html(found: Difference, heading: str, lines: Sequence[str], thresholds: Sequence[Threshold]) -> str:
    """Return one page that needs nothing beside it. lines: what was compared, shown at the top."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{_text(heading)}</title><style>{_STYLE}</style><main><h1>{_text(heading)}</h1>",
        *(f"<p>{_text(line)}</p>" for line in lines),
        *(_verdict(found, t) for t in thresholds),
        "<h2>What changes</h2>",
        _bars(found),
        "<h2>Before and after</h2>",
        _table(("", "base", "candidate"), _sides(found)),
    ]
    for dimension, values in found.by.items():
        if values:
            parts += [f"<h2>By {dimension}</h2>", _counts(dimension, values)]
    if found.samples:
        head = ("began (UTC)", "change", "host", "model", "principal", "base", "candidate", "id")
        parts += ["<h2>Samples</h2>", _table(head, _samples(found))]
    return "".join(parts) + "</main></html>\n"


_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:0;color:#1c2530;background:#fff}"
    "main{max-width:70rem;margin:0 auto;padding:1.5rem}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%;font-size:13px;overflow-wrap:anywhere}"
    "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dde3ea;vertical-align:top}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".bar{display:grid;grid-template-columns:15rem 1fr 6rem;gap:.6rem;align-items:center;margin:.25rem 0}"
    ".bar i{display:block;height:.9rem;background:#3b6ea8;border-radius:2px;min-width:1px}"
    ".no{color:#a3231f;font-weight:600}.yes{color:#1d6b3a;font-weight:600}"
    "@media(prefers-color-scheme:dark){body{background:#12171d;color:#dfe6ee}th,td{border-color:#2b3642}"
    ".no{color:#ff8a80}.yes{color:#7fd6a0}}"
)


def _verdict(found: Difference, threshold: Threshold) -> str:
    count = found.changes[threshold.change]
    if threshold.is_passed(found):
        return f"<p class=no>Too much: {_text(str(threshold))} ({count} of {found.flows} flows)</p>"
    return f"<p class=yes>Not {_text(str(threshold))} ({count} of {found.flows} flows)</p>"


def _bars(found: Difference) -> str:
    most = max(found.changes.values(), default=0) or 1
    return "".join(
        f"<div class=bar><span>{NAMES[change]}</span>"
        f"<i style='width:{100 * found.changes[change] / most:.2f}%'></i>"
        f"<span>{found.changes[change]}</span></div>"
        for change in Change
    )


def _sides(found: Difference) -> Iterable[Sequence[object]]:
    yield ("refused", *found.refused)
    yield ("cost, USD", *(f"{spent / 1e6:.2f}" for spent in found.spent))
    yield ("allowed at an unknown price", *found.unpriced)
    for entity in sorted(found.masked[0].keys() | found.masked[1].keys()):
        yield (f"masked {entity}", found.masked[0][entity], found.masked[1][entity])


def _counts(dimension: str, values: Mapping[str, Counter[Change]]) -> str:
    ranked = sorted(values.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    shown = [change for change in Change if any(counts[change] for _, counts in ranked)]
    rows: list[Sequence[object]] = [
        (value or "(none)", *(counts[change] for change in shown)) for value, counts in ranked[:MOST_ROWS]
    ]
    if len(ranked) > MOST_ROWS:
        rest = [sum(counts[change] for _, counts in ranked[MOST_ROWS:]) for change in shown]
        rows.append((f"{len(ranked) - MOST_ROWS} more", *rest))
    return _table((dimension, *(NAMES[change] for change in shown)), rows)


def _samples(found: Difference) -> Iterable[Sequence[object]]:
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
    if ruling.reason:
        return f"{ruling.action.name.lower()}: {ruling.reason}"
    return ruling.action.name.lower()


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{_text(name)}</th>" for name in head) + f"</tr>{body}</table>"


def _cell(value: object) -> str:
    return f"<td class=n>{value}</td>" if isinstance(value, int) else f"<td>{_text(str(value))}</td>"


def _text(text: str) -> str:
    return escape(printable(text))

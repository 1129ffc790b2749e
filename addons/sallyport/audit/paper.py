"""What pages for people are made of: one HTML file that needs nothing beside it and prints as it is shown."""

from collections.abc import Iterable, Sequence
from html import escape

from sallyport.audit.text import printable

type Cell = str | int

_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:0;color:#1c2530;background:#fff}"
    "main{max-width:70rem;margin:0 auto;padding:1.5rem}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%;font-size:13px;overflow-wrap:anywhere}"
    "th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dde3ea;vertical-align:top}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}.note{color:#5a6675;font-size:13px}"
    ".bar{display:grid;grid-template-columns:15rem 1fr 6rem;gap:.6rem;align-items:center;margin:.25rem 0}"
    ".bar i{display:block;height:.9rem;background:#3b6ea8;border-radius:2px;min-width:1px}"
    ".no{color:#a3231f;font-weight:600}.yes{color:#1d6b3a;font-weight:600}svg{width:100%;height:auto}"
    "@media(prefers-color-scheme:dark){body{background:#12171d;color:#dfe6ee}th,td{border-color:#2b3642}"
    ".no{color:#ff8a80}.yes{color:#7fd6a0}.note{color:#94a3b5}}"
    "@media print{body{background:#fff;color:#000}h2{break-after:avoid}tr{break-inside:avoid}"
    ".bar i{print-color-adjust:exact}}"
)


def page(heading: str, parts: Iterable[str]) -> str:
    """Return a whole page. parts: HTML made by the functions below."""
    title = text(heading)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><style>{_STYLE}</style><main><h1>{title}</h1>{''.join(parts)}</main></html>\n"
    )


def text(value: str) -> str:
    """Return a text that shows itself and does nothing."""
    return escape(printable(value))


def heading(value: str) -> str:
    return f"<h2>{text(value)}</h2>"


def paragraph(value: str, kind: str = "") -> str:
    """Return a paragraph. kind: note, yes or no."""
    return f"<p class={kind}>{text(value)}</p>" if kind else f"<p>{text(value)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table; whole numbers stand to the right."""
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{text(name)}</th>" for name in head) + f"</tr>{body}</table>"


def _cell(value: Cell) -> str:
    return f"<td class=n>{value:,}</td>" if isinstance(value, int) else f"<td>{text(value)}</td>"


def bars(counts: Iterable[tuple[str, int]]) -> str:
    """Return one bar for each name."""
    counts = list(counts)
    most = max((count for _, count in counts), default=0) or 1
    return "".join(
        f"<div class=bar><span>{text(name)}</span><i style='width:{100 * count / most:.2f}%'></i>"
        f"<span>{count:,}</span></div>"
        for name, count in counts
    )


def columns(days: Sequence[tuple[str, int, int]], names: tuple[str, str]) -> str:
    """Return stacked columns as SVG: a label, and two counts of the kinds that names names, the first below."""
    most = max((first + second for _, first, second in days), default=0) or 1
    width, height = 900.0, 180.0
    step = width / max(1, len(days))
    parts = []
    for place, (label, first, second) in enumerate(days):
        tall, taller = height * first / most, height * second / most
        left, wide = f"{place * step + step * 0.1:.1f}", f"{step * 0.8:.1f}"
        parts.append(
            f"<g><title>{text(label)}: {first:,} {text(names[0])}, {second:,} {text(names[1])}</title>"
            f"<rect x='{left}' y='{height - tall:.1f}' width='{wide}' height='{tall:.1f}' fill='#3b6ea8'/>"
            f"<rect x='{left}' y='{height - tall - taller:.1f}' width='{wide}' height='{taller:.1f}' "
            "fill='#b3402f'/></g>"
        )
    legend = f"{names[0]} blue, {names[1]} red; the highest column is {most:,}"
    first_last = f"{days[0][0]} to {days[-1][0]}; " if days else ""
    return (
        f"<svg viewBox='0 0 {width:.0f} {height:.0f}' role=img aria-label='{text(legend)}'>{''.join(parts)}</svg>"
        + paragraph(first_last + legend, "note")
    )

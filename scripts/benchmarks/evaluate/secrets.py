"""Secrets: recall by family of rules, false alarms on look-alikes and on benign prompts."""

from collections import defaultdict
from pathlib import Path

from evaluate.data import licences, rows
from evaluate.drive import answers
from evaluate.page import Part, Table
from evaluate.score import Counts, percent
from sallyport.cli.scanning.scanner import Choice
from sallyport.decision import Kind

INTRO = """\
Positives are values drawn from the expressions of another scanner's rules, set into lines of code; clean rows
are that scanner's own look-alikes. A secret counts as found when any finding overlaps it (where it is not
located: when the text is flagged). Nothing is trained on these."""


def part(folder: Path) -> Part:
    """Measure secret detection as `sallyport scan --kind secrets` does it."""
    choice = Choice(frozenset({Kind.SECRET}))
    known = licences(folder)
    families: defaultdict[str, Counts] = defaultdict(Counts)
    sources: defaultdict[str, Counts] = defaultdict(Counts)
    for row, answer in answers(choice, list(rows(folder / "secrets"))):
        found = answer.flag
        if row.bad and row.spans:
            found = any(
                f.start < end and f.end > start for f in answer.findings for start, end, _ in row.spans
            )
        sources[row.source].add(row.bad, found)
        if row.bad:
            families[row.rule.partition("-")[0] or "(none)"].add(True, found)
    benign: defaultdict[str, Counts] = defaultdict(Counts)
    for row, answer in answers(choice, [row for row in rows(folder / "injection") if not row.bad]):
        benign[row.source].add(False, answer.flag)
    return Part("Secrets", INTRO, (_sources(sources, known), _families(families), _benign(benign, known)))


def _sources(sources: dict[str, Counts], known: dict[str, str]) -> Table:
    header = (
        "source",
        "secrets",
        "recall %",
        "clean",
        "false alarms %",
        "precision %",
        "F1 %",
        "F2 %",
        "licence",
    )
    lines = [
        (
            source,
            str(c.right + c.missed),
            percent(c.recall),
            str(c.false + c.clean),
            percent(c.false_alarms),
            percent(c.precision),
            percent(c.f(1)),
            percent(c.f(2)),
            known.get(source, ""),
        )
        for source, c in sorted(sources.items())
    ]
    return Table("By source", "At the default settings (paranoia 2).", header, lines)


def _families(families: dict[str, Counts]) -> Table:
    whole = [name for name, c in families.items() if not c.missed]
    lines = [
        (name, str(c.right + c.missed), percent(c.recall))
        for name, c in sorted(families.items(), key=lambda item: (item[1].recall or 0.0, item[0]))
        if c.missed
    ]
    note = f"Families of which something is missed; of {len(whole)} others all is found."
    return Table("By family of rules", note, ("family", "secrets", "recall %"), lines)


def _benign(benign: dict[str, Counts], known: dict[str, str]) -> Table:
    total = Counts()
    lines = []
    for source, count in sorted(benign.items()):
        total.plus(count)
        texts = count.false + count.clean
        lines.append(
            (source, str(texts), str(count.false), percent(count.false_alarms), known.get(source, ""))
        )
    lines.append(
        ("**all**", str(total.false + total.clean), str(total.false), percent(total.false_alarms), "")
    )
    header = ("source", "texts", "flagged", "false alarms %", "licence")
    note = "Benign prompts and documents. Some hold made-up credentials, which are rightly found."
    return Table("False alarms on benign texts", note, header, lines)

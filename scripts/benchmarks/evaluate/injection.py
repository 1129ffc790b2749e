"""Injection: recall and false alarms per source, surface and language, at the default and at fixed rates."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from evaluate import models
from evaluate.data import Row, licences, rows
from evaluate.drive import answers
from evaluate.page import Part, Table
from evaluate.score import Counts, percent, share_at, threshold_at
from sallyport.cli.scanning.scanner import Answer, Choice
from sallyport.decision import Kind

RATES = (0.001, 0.005, 0.01, 0.02, 0.05)

INTRO = """\
Labels are those of the sources. `deepset_prompt_injections` labels role-play openers as injections, and
`hh_rlhf_redteam_questions` are harmful questions that are no injections; both are left as they are. Most
sources are templates: many rows, few ideas. The texts were there while rules were written, and the shipped classifier
learnt from them: where a table of left-out sources stands below, it alone says what to expect of attacks
nobody has seen; where none stands, nothing here does."""


def part(folder: Path) -> Part:
    """Measure injection detection as `sallyport scan --kind injection` does it."""
    known = licences(folder)
    data = list(rows(folder / "injection"))
    judged = list(answers(Choice(frozenset({Kind.INJECTION})), data))
    left_out = models.left_out("injection")
    tables = (
        _by_source(judged, known),
        _by(judged, "surface", lambda row: "content" if row.surface == "tool_result" else "user"),
        _by(judged, "language", lambda row: row.lang),
        _at_rates(judged),
        *((left_out,) if left_out is not None else ()),
    )
    return Part("Injection", INTRO, tables)


def _by_source(judged: Sequence[tuple[Row, Answer]], known: dict[str, str]) -> Table:
    counts: defaultdict[str, Counts] = defaultdict(Counts)
    for row, answer in judged:
        counts[row.source].add(row.bad, answer.flag)
    total = Counts()
    lines = []
    for source, count in sorted(counts.items()):
        total.plus(count)
        lines.append((source, *_figures(count), known.get(source, "")))
    lines.append(("**all**", *_figures(total), ""))
    note = "At the default threshold. The shipped classifier was trained on all of these."
    header = ("source", "attacks", "recall %", "benign", "false alarms %", "precision %", "F1 %", "F2 %")
    return Table("By source", note, (*header, "licence"), lines)


def _by(judged: Sequence[tuple[Row, Answer]], name: str, key) -> Table:
    counts: defaultdict[str, Counts] = defaultdict(Counts)
    for row, answer in judged:
        counts[key(row)].add(row.bad, answer.flag)
    header = (name, "attacks", "recall %", "benign", "false alarms %", "precision %", "F1 %", "F2 %")
    lines = [(value, *_figures(count)) for value, count in sorted(counts.items())]
    return Table(f"By {name}", "At the default threshold.", header, lines)


def _figures(count: Counts) -> tuple[str, ...]:
    return (
        str(count.right + count.missed),
        percent(count.recall),
        str(count.false + count.clean),
        percent(count.false_alarms),
        percent(count.precision) if count.right + count.missed else "",
        percent(count.f(1)),
        percent(count.f(2)),
    )


def _at_rates(judged: Sequence[tuple[Row, Answer]]) -> Table:
    clean = [answer.score for row, answer in judged if not row.bad]
    groups = {
        "all": [answer.score for row, answer in judged if row.bad],
        "user": [a.score for row, a in judged if row.bad and row.surface == "user"],
        "content": [a.score for row, a in judged if row.bad and row.surface == "tool_result"],
    }
    lines = []
    for rate in RATES:
        threshold = threshold_at(clean, rate)
        at = "not reached" if threshold is None else f"{threshold:.3f}"
        lines.append(
            (f"{100 * rate:g}", at, *(percent(share_at(s, threshold)) for s in (clean, *groups.values())))
        )
    note = (
        "Recall where the threshold is put so that at most this share of all benign texts above is flagged. "
        "Not reached: even the highest score flags more."
    )
    header = ("false alarms at most %", "threshold", "false alarms %", *(f"recall {g} %" for g in groups))
    return Table("At fixed rates of false alarms", note, header, lines)

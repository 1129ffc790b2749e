"""Personal data: names per source and language, identifiers in generated texts, unit tests of Presidio."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from evaluate import models
from evaluate.data import Row, licences, rows
from evaluate.drive import answers
from evaluate.page import Part, Table
from evaluate.score import Counts, percent
from sallyport.cli.scanning.scanner import Answer, Choice, Scanner
from sallyport.decision import Finding, Kind
from sallyport.exchange import Segment

NAMES = ("PERSON", "LOCATION", "ORGANIZATION")
TESTS = "presidio_recognizer_tests"
ROUNDS = 20

INTRO = """\
A name counts as found exactly when type and both ends agree, and as covered when a finding of its type
overlaps half of it or more; for masking the second matters, for the look of the text the first. F2 counts
recall twice as much as precision."""


def part(folder: Path) -> Part:
    """Measure personal data as `sallyport scan --kind pii` does it."""
    known = licences(folder)
    data = list(rows(folder / "pii"))
    choice = Choice(frozenset({Kind.PII}))
    judged = list(answers(choice, data))
    named = [(row, answer) for row, answer in judged if row.source != TESTS]
    tests = [(row, answer) for row, answer in judged if row.source == TESTS]
    return Part("Personal data", INTRO, (_names(named, known), _generated(choice), _tests(tests, known)))


def _names(judged: Sequence[tuple[Row, Answer]], known: dict[str, str]) -> Table:
    exact: defaultdict[tuple[str, str, str], Counts] = defaultdict(Counts)
    covered: defaultdict[tuple[str, str, str], Counts] = defaultdict(Counts)
    for row, answer in judged:
        for entity in NAMES:
            key = (row.source, row.lang, entity)
            wanted = [(start, end) for start, end, type_ in row.spans if type_ == entity]
            found = [(f.start, f.end) for f in answer.findings if f.entity == entity]
            exact[key].plus(_matched(wanted, found, _equal))
            covered[key].plus(_matched(wanted, found, _half))
    lines = []
    for (source, lang, entity), count in sorted(exact.items()):
        wide = covered[source, lang, entity]
        figures = (count.precision, count.recall, count.f(1), wide.recall, wide.f(1), wide.f(2))
        if count.right + count.missed:
            lines.append(
                (
                    *(source, lang, entity, str(count.right + count.missed), *map(percent, figures)),
                    *(models.names_seen(source), known.get(source, "")),
                )
            )
    header = ("source", "language", "type", "names", "exact P %", "exact R %", "exact F1 %")
    more = ("covered R %", "covered F1 %", "covered F2 %", "trained", "licence")
    note = (
        "Trained: whether the shipped engine has seen the source; such rows say how well it remembers, not how "
        "well it will do. The Europeana sources are scanned newspapers of other centuries; Broad Twitter labels "
        "@handles as persons, which the engine leaves alone."
    )
    return Table("Names by source", note, (*header, *more), lines)


def _matched(wanted: list[tuple[int, int]], found: list[tuple[int, int]], same) -> Counts:
    left = list(found)
    counts = Counts()
    for span in wanted:
        match = next((f for f in left if same(span, f)), None)
        if match is None:
            counts.missed += 1
        else:
            left.remove(match)
            counts.right += 1
    counts.false = len(left)
    return counts


def _equal(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a == b


def _half(wanted: tuple[int, int], found: tuple[int, int]) -> bool:
    shared = min(wanted[1], found[1]) - max(wanted[0], found[0])
    return shared * 2 >= wanted[1] - wanted[0]


class _Detector:
    """A scanner as the generator's own measure asks it."""

    def __init__(self, choice: Choice) -> None:
        self._scanner = Scanner(choice)

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        return tuple(f for s in segments for f in self._scanner.answer(s.text, s.surface).findings)


def _generated(choice: Choice) -> Table:
    from quality.measure import Tally, mistakes
    from quality.texts import generate
    from quality.tuned import TUNED

    sets = {"tuned": TUNED}
    try:
        from quality.fresh import FRESH
    except ImportError:
        pass
    else:
        sets["fresh"] = FRESH
    tallies: dict[tuple[str, str], Tally] = {}
    for name, surroundings in sets.items():
        by_entity: dict[str, Tally] = {}
        for _ in mistakes(_Detector(choice), generate(surroundings, 1, ROUNDS, ROUNDS * 5), by_entity):
            pass
        tallies |= {(entity, name): tally for entity, tally in by_entity.items() if entity not in NAMES}
    lines = [
        (
            entity,
            name,
            str(tally.found + tally.missed),
            percent(tally.precision),
            percent(tally.recall),
            percent(tally.f1),
        )
        for (entity, name), tally in sorted(tallies.items())
        if tally.found + tally.missed
    ]
    note = (
        "Values with right checksums and look-alikes with wrong ones, in prose and records of our own "
        "(scripts/benchmarks/quality). Rules were tuned on the set of that name; a fresh set was written "
        "after them and is the one to believe."
    )
    header = ("entity", "set", "values", "precision %", "recall %", "F1 %")
    return Table("Identifiers in generated texts", note, header, lines)


def _tests(judged: Sequence[tuple[Row, Answer]], known: dict[str, str]) -> Table:
    right_type: defaultdict[str, Counts] = defaultdict(Counts)
    any_type: defaultdict[str, Counts] = defaultdict(Counts)
    for row, answer in judged:
        for type_ in sorted(row.types):
            wanted = [(start, end) for start, end, t in row.spans if t == type_]
            found = [(f.start, f.end) for f in answer.findings if f.entity == type_]
            right_type[type_].plus(_matched(wanted, found, _half))
            any_type[type_].plus(_matched(wanted, [(f.start, f.end) for f in answer.findings], _half))
    lines = []
    for type_, count in sorted(right_type.items()):
        if count.right + count.missed:
            wide = any_type[type_]
            lines.append(
                (
                    type_,
                    str(count.right + count.missed),
                    percent(count.recall),
                    percent(wide.recall),
                    str(count.false),
                )
            )
    total, wide_total = _sum(right_type.values()), _sum(any_type.values())
    wanted_total = str(total.right + total.missed)
    lines.append(
        ("**all**", wanted_total, percent(total.recall), percent(wide_total.recall), str(total.false))
    )
    note = (
        f"Literals of Presidio's unit tests ({known.get(TESTS, '')}), most of them a bare value without a word "
        "around it, which our rules need for the weaker patterns: read it as a list of types, not as a rate."
    )
    header = ("type", "values", "recall of the type %", "recall of any type %", "false")
    return Table("Presidio's own recogniser tests", note, header, lines)


def _sum(counts: Iterable[Counts]) -> Counts:
    total = Counts()
    for count in counts:
        total.plus(count)
    return total

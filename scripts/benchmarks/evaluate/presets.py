"""What the presets do to texts nobody meant ill by: the share refused and masked, per source."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from evaluate.data import licences, rows
from evaluate.drive import answers
from evaluate.page import Part, Table
from evaluate.score import percent
from sallyport.cli.scanning.scanner import Answer, Choice
from sallyport.decision import Kind

PRESETS = ("balanced", "strict")
OVERALL_LIMIT = 0.01
SOURCE_LIMIT = 0.03
"""Most benign texts, of all and of any one source, that a preset may refuse for secrets or injection."""

INTRO = f"""\
Benign texts as the one text of a request from an unknown caller, under the policies that ship. A preset may
refuse {OVERALL_LIMIT:.0%} of them for secrets or injection, and {SOURCE_LIMIT:.0%} of any one source;
`scripts/evaluate` ends with exit code 1 where it does not keep to that."""


@dataclass(slots=True)
class Tally:
    """What happened to the texts of one source."""

    texts: int = 0
    secrets: int = 0
    injection: int = 0
    masked: int = 0
    entities: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer) -> None:
        kinds = {finding.kind for finding in answer.findings}
        self.texts += 1
        if Kind.SECRET in kinds:
            self.secrets += 1
        elif Kind.INJECTION in kinds or answer.incomplete:
            self.injection += 1
        elif kinds:
            self.masked += 1
            self.entities.update({f.entity for f in answer.findings})

    def plus(self, other: "Tally") -> None:
        self.texts += other.texts
        self.secrets += other.secrets
        self.injection += other.injection
        self.masked += other.masked
        self.entities.update(other.entities)

    @property
    def refused(self) -> float:
        return (self.secrets + self.injection) / self.texts if self.texts else 0.0


def part(folder: Path) -> tuple[Part, bool]:
    """Measure the presets; the second value says whether they keep within the limits."""
    known = licences(folder)
    benign = [row for row in rows(folder / "injection") if not row.bad]
    tables, within = [], True
    for preset in PRESETS:
        tallies: defaultdict[str, Tally] = defaultdict(Tally)
        for row, answer in answers(Choice(policy=preset), benign):
            tallies[row.source].add(answer)
        total = Tally()
        for tally in tallies.values():
            total.plus(tally)
        within &= total.refused <= OVERALL_LIMIT and all(t.refused <= SOURCE_LIMIT for t in tallies.values())
        tables.append(_table(preset, {**dict(sorted(tallies.items())), "**all**": total}, known))
    return Part("Presets on benign texts", INTRO, tuple(tables)), within


def _table(preset: str, tallies: dict[str, Tally], known: dict[str, str]) -> Table:
    lines = []
    for source, tally in tallies.items():
        entities = ", ".join(
            name for name, _ in sorted(tally.entities.items(), key=lambda e: (-e[1], e[0]))[:4]
        )
        shares = (n / tally.texts for n in (tally.secrets, tally.injection, tally.masked))
        lines.append((source, str(tally.texts), *map(percent, shares), entities, known.get(source, "")))
    header = (
        "source",
        "texts",
        "refused, secrets %",
        "refused, injection %",
        "masked %",
        "entities",
        "licence",
    )
    return Table(preset, "Masked texts leave, with placeholders that come back in the answer.", header, lines)

"""Tables as Markdown; the same figures give the same bytes."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table with what a reader must know. The first column is text, the others are figures."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", self.note, ""]
        lines.append(f"| {' | '.join(self.header)} |")
        lines.append(f"| --- |{' ---: |' * (len(self.header) - 1)}")
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the page: one kind of detection."""

    title: str
    intro: str
    tables: tuple[Table, ...]

    def markdown(self) -> str:
        return f"## {self.title}\n\n{self.intro}\n\n" + "\n".join(t.markdown() for t in self.tables)

"""What the trained models have seen, as their training scripts write it: docs/models/NAME.json.

{"seen": [source, ...], "left_out": [{"source": ..., "measure": value, ...}, ...]}: seen are the sources that
the shipped weights were trained on; left_out are figures of models that were trained without a source (or a
group of sources) and measured on it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from evaluate.page import Table

MODELS = Path(__file__).parents[3] / "docs" / "models"


@dataclass(frozen=True, slots=True)
class Model:
    """What one model says of itself. seen: None where nothing is known."""

    name: str
    seen: frozenset[str] | None
    left_out: tuple[dict[str, object], ...]

    def mark(self, source: str) -> str:
        """Return how a source is to be read: yes, no, or unknown."""
        if self.seen is None:
            return "unknown"
        return "yes" if source in self.seen else "no"

    def table(self) -> Table | None:
        """Return the figures on sources that were left out; None where the training wrote none."""
        if not self.left_out:
            return None
        header = ("source", *sorted({key for row in self.left_out for key in row} - {"source"}))
        rows = [
            (str(row["source"]), *(_shown(row.get(key)) for key in header[1:]))
            for row in sorted(self.left_out, key=lambda row: str(row["source"]))
        ]
        note = (
            "Each row is a model trained without that source and measured on it, as the training wrote it "
            f"(docs/models/{self.name}.json). These are the figures to expect on texts nobody has seen."
        )
        return Table(f"Whole sources left out: {self.name}", note, header, rows)


def read(name: str) -> Model:
    """Return what a model says of itself."""
    path = MODELS / f"{name}.json"
    if not path.is_file():
        return Model(name, None, ())
    given = json.loads(path.read_text("utf-8"))
    return Model(name, frozenset(given["seen"]), tuple(given.get("left_out", ())))


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)

"""What the trained models have seen, as their training says it; and its figures on sources that were left out.

scripts/training is read and not repeated here: which corpora the engine for names learns from stands in
training/ner/recipe.py (TRAINED whole, HISTORIC in part); the injection classifier learns from every source of
injection/. The table of left-out sources is the one that scripts/train_injection prints into docs/models.
"""

import ast
from pathlib import Path

from evaluate.page import Table

ROOT = Path(__file__).parents[3]
TRAINING = ROOT / "scripts" / "training"


def names_seen(source: str) -> str:
    """Say whether the shipped engine for names has seen a source: yes, in part, or no."""
    if source in _constant(TRAINING / "ner" / "recipe.py", "TRAINED"):
        return "yes"
    return "in part" if source in _constant(TRAINING / "ner" / "corpora.py", "HISTORIC") else "no"


def left_out(name: str) -> Table | None:
    """Return the table of left-out sources on a model's page; None where the page or the table is not there."""
    page = ROOT / "docs" / "models" / f"{name}.md"
    lines = page.read_text("utf-8").splitlines() if page.is_file() else []
    rows: list[tuple[str, ...]] = []
    for line in lines:
        cells = tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        if rows and not line.startswith("|"):
            break
        if rows or (line.startswith("|") and "source" in cells):
            rows.append(cells)
    if len(rows) < 3:
        return None
    header, _, *body = rows
    note = (
        "Of each row a model was trained that knows nothing of the source, and measured on it: the figures to "
        f"expect on texts nobody has seen. Copied from docs/models/{name}.md, which says how."
    )
    return Table("Whole sources left out", note, header, [row for row in body if len(row) == len(header)])


def _constant(path: Path, name: str) -> tuple[str, ...]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == name for t in node.targets):
            return tuple(ast.literal_eval(node.value))
    raise ValueError(f"{path.name} has no {name}: say in evaluate/models.py where it stands now")

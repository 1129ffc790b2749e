"""The rows of a data folder, in the order of its files, and the licences that stand beside them.

A folder has injection/, pii/ and secrets/ with JSON lines (.jsonl, .jsonl.gz), and LICENSES.md with a table
row per file. Texts of attacks are data and nothing else.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sallyport.exchange import Surface


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled text. spans: (start, end, type); located: whether the spans are known. bad: label says so.

    types: those that were looked for when the row was labelled; empty means all. generated: made from a shape.
    """

    source: str
    text: str
    label: str
    bad: bool
    surface: Surface
    lang: str
    rule: str
    spans: tuple[tuple[int, int, str], ...]
    located: bool
    types: frozenset[str]
    generated: bool = False


CLEAN = frozenset({"benign", "clean", ""})


def rows(folder: Path) -> Iterator[Row]:
    """Yield the rows of every file of a folder, sorted by the files' names."""
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        raw = path.read_bytes()
        for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines():
            yield _row(json.loads(line), path.name.split(".")[0])


def _row(given: dict, source: str) -> Row:
    label = given.get("label", "")
    spans = given.get("spans")
    return Row(
        source=source,
        text=given["text"],
        label=label,
        bad=label not in CLEAN,
        surface=Surface.TOOL_RESULT if given.get("surface") == "indirect" else Surface.USER,
        lang=given.get("lang", ""),
        rule=given.get("rule") or "",
        spans=tuple((s["start"], s["end"], s["type"]) for s in spans or ()),
        located=spans is not None,
        types=frozenset(given.get("tested_types", ())),
        generated=given.get("generated") is True,
    )


def licences(folder: Path) -> dict[str, str]:
    """Return the licence of every source, from the tables of LICENSES.md."""
    found: dict[str, str] = {}
    for line in (folder / "LICENSES.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 4 and cells[0].startswith("`") and "/" in cells[0]:
            name = cells[0].strip("`").partition("/")[2].split(".")[0]
            found[name] = cells[4]
    return found

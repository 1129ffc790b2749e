"""The page of figures on detection is what the script writes: its words, its parts in their order, and no others."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "benchmarks"))

from evaluate import injection, pii, presets, secrets
from evaluate.main import HEAD

PAGE = (Path(__file__).parents[2] / "docs" / "detection-quality.md").read_text("utf-8")
PARTS = {
    "Personal data": pii.INTRO,
    "Secrets": secrets.INTRO,
    "Injection": injection.INTRO,
    "Presets on benign texts": presets.INTRO,
}


def section(title: str) -> str:
    """Return what stands under a title, up to the next one of its rank or above."""
    marks = title.partition(" ")[0]
    found = re.search(
        rf"^{re.escape(title)}\n(.*?)(?=^#{{1,{len(marks)}}} |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert found is not None, title
    return found[1]


def texts(table: str, column: int) -> dict[str, str]:
    """Return a column of a section's table by the first one, without rows of which it says 0."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line[:1] == "|"
    ]
    return {row[0]: row[column] for row in rows[2:] if row[column] != "0"}


def test_the_parts_are_those_of_the_script_in_its_words() -> None:
    assert PAGE.startswith(HEAD)
    assert re.findall(r"^## (.*)$", PAGE, re.MULTILINE) == [*PARTS]
    for title, intro in PARTS.items():
        assert section(f"## {title}").startswith(f"\n{intro}\n\n### ")


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_all_parts_are_of_the_same_benign_texts(preset: str) -> None:
    benign = texts(section("## Injection").partition("### By surface")[0], 3)
    assert len(benign) > 10
    assert texts(section("### False alarms on benign texts"), 1) == benign
    assert texts(section(f"### {preset}"), 1) == benign


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_the_presets_keep_to_what_the_page_says_they_refuse_at_most(preset: str) -> None:
    secret, injected = texts(section(f"### {preset}"), 2), texts(section(f"### {preset}"), 3)
    for source, share in secret.items():
        limit = presets.OVERALL_LIMIT if source == "**all**" else presets.SOURCE_LIMIT
        assert float(share) + float(injected[source]) <= 100 * limit

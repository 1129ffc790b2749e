"""What data asks of whoever ships weights trained on it goes where the weights go."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTICE = (ROOT / "NOTICE").read_text("utf-8").lower()
MODELS = sorted((ROOT / "docs/models").glob("*.md"))


def rows_to_credit(page: Path) -> list[str]:
    """Return the rows of data under a licence that asks to be named; what is never trained on is in no weights."""
    rows = [row for row in page.read_text("utf-8").splitlines() if re.search(r"CC[ -]BY", row)]
    return [row for row in rows if row.startswith("|") and "never trained on" not in row]


@pytest.mark.parametrize("page", MODELS, ids=lambda page: str(page.stem))
def test_data_that_asks_to_be_named_is_named(page: Path) -> None:
    names = ("broad twitter corpus", "wikigold", "geonames")
    for row in rows_to_credit(page):
        named = [name for name in names if name in row.lower()]
        assert named, f"{page.name}: nothing is said in NOTICE of {row[:60]}"
        assert all(name in NOTICE for name in named)


def test_some_data_asks_for_it() -> None:
    assert sum(len(rows_to_credit(page)) for page in MODELS) >= 4


def test_wheels_and_images_carry_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(project["license-files"]) == {"LICENSE", "NOTICE"}
    image = (ROOT / "deploy/container/Containerfile").read_text("utf-8")
    assert re.search(r"^COPY .*\bNOTICE \./$", image, re.MULTILINE)

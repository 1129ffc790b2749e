"""Links between the pages lead somewhere."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "certs/*.md", "tests/cassettes/*.md")
    for page in ROOT.glob(pattern)
)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)|^\s*\[[^\]\n]+\]:\s*(\S+)", re.MULTILINE)


def links(page: Path) -> list[str]:
    """Return the targets of a page that lie in this repository, without the part after #."""
    found = (a or b for a, b in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))))
    return [unquote(link.partition("#")[0]) for link in found if not re.match(r"[a-z]+:|#", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_something(page: Path) -> None:
    for link in links(page):
        target = page.parent / link
        found = any(target.iterdir()) if target.is_dir() else target.is_file() and target.stat().st_size > 0
        assert found, f"{page.name} links to {link}"


def test_the_pages_link_to_each_other() -> None:
    assert sum(len(links(page)) for page in PAGES) > 10


def test_every_decision_is_listed() -> None:
    listed = set(links(ROOT / "docs/architecture.md"))
    decisions = {f"adr/{page.name}" for page in (ROOT / "docs/adr").glob("*.md")}
    assert decisions <= listed, f"not in docs/architecture.md: {sorted(decisions - listed)}"

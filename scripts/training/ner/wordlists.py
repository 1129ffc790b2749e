"""The word lists written here, lists.txt."""

import re
from functools import cache
from pathlib import Path


@cache
def word_list(name: str) -> tuple[str, ...]:
    """Return a section of lists.txt; KeyError if there is none."""
    return tuple(_sections()[name].split("|"))


@cache
def _sections() -> dict[str, str]:
    sections: dict[str, str] = {}
    section = ""
    for line in Path(__file__).with_name("lists.txt").read_text("utf-8").splitlines():
        if re.fullmatch(r"\[[a-z_.]+\]", line):
            section = line[1:-1]
        elif line and not line.startswith("# "):
            sections[section] = sections.get(section, "") + line
    return sections

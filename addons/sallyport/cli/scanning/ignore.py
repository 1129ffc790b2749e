"""Which files of a folder are worth scanning: not those of version control, caches and installed packages,
nor what the folder's .gitignore files leave out.

The patterns are those of gitignore(5): comments, "!", a trailing "/", "/" that anchors, "*", "?", "[...]",
"**". Git's own configuration (core.excludesFile, .git/info/exclude) is not read.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SKIPPED = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox", ".cache"}
    | {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".eggs"}
)
"""Folders that are never entered, unless they are named themselves."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a .gitignore. path: what it matches, relative to the file's folder."""

    path: re.Pattern[str]
    folders_only: bool
    takes_back: bool


@dataclass(frozen=True, slots=True)
class _Rules:
    """A .gitignore. folder: where it stands, as parts below the folder that is scanned."""

    folder: tuple[str, ...]
    lines: tuple[_Line, ...]

    def says(self, parts: tuple[str, ...], is_folder: bool) -> bool | None:
        """Return whether a path is left out, None where no line matches it. The last match decides."""
        path = "/".join(parts[len(self.folder) :])
        for line in reversed(self.lines):
            if (is_folder or not line.folders_only) and line.path.fullmatch(path):
                return not line.takes_back
        return None


@dataclass(slots=True)
class Left:
    """What a walk has left out. ignored: files and folders by a .gitignore; unreadable: folders."""

    ignored: int = 0
    unreadable: list[Path] | None = None


def walk(root: Path, left: Left, *, ignored_too: bool) -> Iterator[Path]:
    """Yield the regular files below a folder, sorted; links are not followed. Counts into left."""
    yield from _walk(root, (), (), left, ignored_too)


def _walk(
    folder: Path, parts: tuple[str, ...], above: tuple[_Rules, ...], left: Left, ignored_too: bool
) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError:
        left.unreadable = [*(left.unreadable or ()), folder]
        return
    rules = above
    if not ignored_too and any(e.name == ".gitignore" for e in entries):
        rules = (*above, _Rules(parts, _read(folder / ".gitignore")))
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and not entry.is_file(follow_symlinks=False):
            continue
        if is_folder and entry.name in SKIPPED:
            continue
        here = (*parts, entry.name)
        if _left_out(here, is_folder, rules):
            left.ignored += 1
        elif is_folder:
            yield from _walk(Path(entry.path), here, rules, left, ignored_too)
        else:
            yield Path(entry.path)


def _left_out(parts: tuple[str, ...], is_folder: bool, rules: tuple[_Rules, ...]) -> bool:
    for file in reversed(rules):
        says = file.says(parts, is_folder)
        if says is not None:
            return says
    return False


def _read(path: Path) -> tuple[_Line, ...]:
    with suppress(OSError):
        return tuple(
            line for text in path.read_text("utf-8", "replace").splitlines() if (line := _line(text))
        )
    return ()


def _line(text: str) -> _Line | None:
    text = re.sub(r"(?<!\\)\s+$", "", text)
    takes_back = text.startswith("!")
    text = text.removeprefix("!") if takes_back else text
    if not text or text.startswith("#"):
        return None
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    anchored = "/" in text
    text = text.removeprefix("/")
    if not text:
        return None
    with suppress(re.error):
        pattern = re.compile(("" if anchored else "(?:.*/)?") + _expression(text), re.DOTALL)
        return _Line(pattern, folders_only, takes_back)
    return None


_PIECE = re.compile(r"/\*\*/|^\*\*/|/\*\*$|\*+|\?|\[(!?)((?:\]|[^\]\\])[^\]]*)\]|\\(.)|(.)", re.DOTALL)


def _expression(text: str) -> str:
    out = []
    for match in _PIECE.finditer(text):
        piece = match.group()
        if piece == "/**/":
            out.append("/(?:.*/)?")
        elif piece == "**/":
            out.append("(?:.*/)?")
        elif piece == "/**":
            out.append("/.*")
        elif piece[0] == "*":
            out.append("[^/]*")
        elif piece == "?":
            out.append("[^/]")
        elif match[2] is not None:
            members = match[2].replace("\\", r"\\").replace("[", r"\[")
            members = "\\" + members if members[0] in "^]" else members
            out.append(f"(?!/)[{'^' if match[1] else ''}{members}]")
        else:
            out.append(re.escape(match[3] or match[4]))
    return "".join(out)

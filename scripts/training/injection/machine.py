"""Clean texts found in a Python installation: documentation, code and function descriptions of the standard library.

PSF-2.0 (the standard library) and MIT, BSD or Apache (read-me files of installed packages).
"""

import ast
import json
import random
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

_SKIP = frozenset(
    ["test", "tests", "idlelib", "site-packages", "__pycache__", "lib2to3", "turtledemo", "ensurepip"]
)
_FREE = ("MIT", "BSD", "Apache", "ISC")
_TYPES = ("string", "integer", "boolean", "array", "object")


def documents() -> Iterator[str]:
    """Yield the descriptions of modules, classes and functions of the standard library, of 60 to 6000 characters."""
    for path in _modules():
        for node in _nodes(path):
            text = ast.get_docstring(node)
            if text and len(text) >= 60:
                yield text[:6000]


def code(rng: random.Random) -> Iterator[str]:
    """Yield pieces of 8 to 60 lines of the standard library's sources."""
    for path in _modules():
        lines = path.read_text("utf-8", errors="replace").splitlines()
        for _ in range(min(6, len(lines) // 150)):
            at = rng.randrange(len(lines))
            piece = "\n".join(lines[at : at + rng.randint(8, 60)])
            if len(piece) > 150:
                yield piece


def readmes(rng: random.Random) -> Iterator[str]:
    """Yield pieces of the read-me files of installed packages under a free licence."""
    for found in sorted(distributions(), key=lambda d: d.metadata["Name"] or ""):
        about = found.metadata
        licence = f"{about.get('License-Expression', '')} {(about.get('License') or '')[:40]} "
        licence += " ".join(about.get_all("Classifier") or [])
        body = about.get_payload() if hasattr(about, "get_payload") else ""
        if not any(name in licence for name in _FREE) or not isinstance(body, str) or len(body) < 400:
            continue
        lines, at = body.splitlines(), 0
        while at < len(lines):
            size = rng.randint(3, 45)
            piece = "\n".join(lines[at : at + size]).strip()
            at += size
            if len(piece) > 80:
                yield piece


def tools(rng: random.Random) -> Iterator[str]:
    """Yield functions of the standard library as tool descriptions: a name, a text, often a schema."""
    for path in _modules():
        for node in _nodes(path):
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            text = ast.get_docstring(node)
            if not text or len(text) < 25:
                continue
            names = [a.arg for a in node.args.args if a.arg not in ("self", "cls")]
            shape = rng.random()
            if shape < 0.35:
                yield text[:2000]
            elif shape < 0.6:
                yield f"{node.name}: {text[:1500]}"
            else:
                inner = {n: {"type": rng.choice(_TYPES), "description": n.replace("_", " ")} for n in names}
                schema = {"type": "object", "properties": inner, "required": names[:1]}
                whole = {"name": node.name, "description": text[:1500], "parameters": schema}
                yield json.dumps(whole, indent=rng.choice([None, 2]))


def _modules() -> list[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    return [p for p in sorted(root.rglob("*.py")) if not _SKIP & set(p.relative_to(root).parts)]


def _nodes(path: Path) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    try:
        tree = ast.parse(path.read_text("utf-8", errors="replace"))
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node

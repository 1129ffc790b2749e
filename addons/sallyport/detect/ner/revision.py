"""What a model on disk is told by: another revision may find something else."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path


def folder_revision(folder: Path, libraries: Iterable[str]) -> str:
    """Return a digest of every file of a model and of the versions of the libraries that run it."""
    digest = hashlib.blake2b(digest_size=16)
    for library in libraries:
        digest.update(f"{library}={version(library)}\0".encode())
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()

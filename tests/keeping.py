"""What is made of files that ship, kept for the life of a process: rules, tags, providers, compiled patterns, gates.

Parsing and compiling them takes two or three seconds, and every command and every gateway does it once. Immutable
values come back as long as the files have not changed by a byte; what raises is not kept. A gate is made of its rules
alone and learns nothing but its automata, which threads share: one that was made of equal rules answers as a new one.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any


def keep_what_is_read() -> None:
    """Put remembering functions in the place of those that read and compile what ships. Idempotent."""
    import sallyport.detect.engine as engine
    import sallyport.detect.linear as linear
    import sallyport.detect.packs as packs
    import sallyport.detect.watching.rulefile as rulefile
    import sallyport.policy.catalogue as catalogue

    keep(catalogue, "read_providers", lambda folders: [p for f in folders for p in sorted(f.glob("*.yaml"))])
    keep(packs, "read_taxonomy", lambda root: sorted((root / "taxonomy").glob("*.yaml")))
    keep(packs, "read_pack", lambda root, path, taxonomy=None: [path, *path.parent.glob("words.json")])
    keep(rulefile, "read_output_pack", lambda root, path, taxonomy=None: [path])
    if not hasattr(linear.pattern, "cache_info"):
        linear.pattern = lru_cache(maxsize=4096)(linear.pattern)
        engine.Gate = lru_cache(maxsize=16)(engine.Gate)


def keep(module: ModuleType, name: str, files: Callable[..., Iterable[Path]]) -> None:
    """Let a function that reads files return what it returned before, as long as their bytes are the same."""
    read: Callable[..., Any] = getattr(module, name)
    if hasattr(read, "reads"):
        return
    kept: dict[object, Any] = {}

    def remembered(*given: Any) -> Any:
        try:
            key = (given, tuple((path, path.read_bytes()) for path in files(*given)))
        except OSError:
            return read(*given)
        if key not in kept:
            kept[key] = read(*given)
        return kept[key]

    remembered.reads = read  # type: ignore[attr-defined]
    setattr(module, name, remembered)

"""What decisions depend on beside the policy, on this machine: packs, catalogue, weights, code, libraries."""

import hashlib
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import sallyport
from sallyport.data import rules_dir
from sallyport.errors import OperatorError
from sallyport.policy.sections import Policy
from sallyport.state.rulesversions import CODE, Rules

_LIBRARIES = (
    *("google-re2", "presidio-analyzer", "phonenumbers", "numpy", "tiktoken", "genai-prices"),
    *("cel-expr-python", "jsonschema", "mitmproxy", "ruamel.yaml", "pyyaml"),
)
"""Libraries whose tables or grammars decide: another version may find, count or allow something else."""

_ENGINE_LIBRARIES = {
    "spacy": ("spacy",),
    "transformers": ("transformers", "torch", "tokenizers"),
    "onnx": ("onnxruntime", "tokenizers"),
}


_NAMES = "weights/detect/ner/"
"""The weights of the built-in recogniser of names, by which a policy decides that looks for names with it."""


def rules_of(policy: Policy) -> Rules:
    """Return the rules that this process decides by under a policy.

    Code, weights and libraries are those it began with: what lies on the disk since then is not in force. The rest is
    read now. Raises OperatorError.
    """
    return _with_what_it_reads(_loaded, policy)


def rules_there(policy: Policy) -> Rules:
    """Return the rules that a process would decide by if it began now. Raises OperatorError."""
    return _with_what_it_reads(_shipped, policy)


def _with_what_it_reads(installed: Callable[[], dict[str, str]], policy: Policy) -> Rules:
    parts = installed()
    if not policy.uses_names or policy.detection.ner.engine != "builtin":
        parts = {name: digest for name, digest in parts.items() if not name.startswith(_NAMES)}
    try:
        return Rules(parts | _read(policy))
    except OSError as error:
        what = f"a file that decides cannot be read ({error.strerror})"
        raise OperatorError(
            str(error.filename), what, "See who owns it, or install Sallyport again"
        ) from None


@cache
def _loaded() -> dict[str, str]:
    return _shipped()


def _shipped() -> dict[str, str]:
    """Return code as one digest, weights, and libraries."""
    home = Path(sallyport.__file__).parent
    code = hashlib.sha256()
    parts = {}
    for path in sorted(home.rglob("*")):
        if path.suffix in (".py", ".lua"):
            code.update(f"{path.relative_to(home).as_posix()}\0{_digest(path)}\0".encode())
        elif path.suffix == ".npz":
            parts[f"weights/{path.relative_to(home).as_posix()}"] = _digest(path)
    parts[CODE] = code.hexdigest()
    return parts | {f"library/{name}": _version(name) for name in _LIBRARIES}


def _read(policy: Policy) -> dict[str, str]:
    """Return the packs, the catalogue, and what the policy adds."""
    root = rules_dir()
    parts = {
        f"rules/{path.relative_to(root).as_posix()}": _digest(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and (path.suffix == ".yaml" or not path.name.startswith("."))
    }
    for name, path in zip(policy.detection.recognisers, policy.recogniser_files, strict=True):
        parts[f"recognisers/{name}"] = _digest(path)
    return parts | _engine(policy)


def _engine(policy: Policy) -> dict[str, str]:
    """Return the model that finds names, where the policy brings one, and what runs it."""
    kind, _, place = policy.detection.ner.engine.partition(":")
    if not policy.uses_names or kind not in _ENGINE_LIBRARIES:
        return {}
    parts = {f"library/{name}": _version(name) for name in _ENGINE_LIBRARIES[kind]}
    folder = policy.ner_folder
    if folder is None:
        return parts | {f"names/{place}": _version(place)}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"):
        parts[f"names/{path.relative_to(folder).as_posix()}"] = _digest(path)
    return parts


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of(path, stat.st_size, stat.st_ctime_ns, stat.st_ino)


@lru_cache(maxsize=8192)
def _digest_of(path: Path, size: int, changed_ns: int, inode: int) -> str:
    """Return the SHA-256 of a file. size, changed_ns, inode: tell one state of it from another.

    changed_ns: by the kernel; the time of the last write is whatever somebody says it is.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

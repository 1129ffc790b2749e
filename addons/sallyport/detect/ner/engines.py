"""The engines a policy can name. Runs in worker processes; nothing is ever fetched from a network.

builtin | spacy:PACKAGE | spacy:/PATH | transformers:/FOLDER | onnx:/FOLDER, paths absolute.
"""

from collections.abc import Callable
from pathlib import Path

from sallyport.detect.ner.engine import Engine
from sallyport.errors import OperatorError


def load(name: str) -> Engine:
    """Load an engine; seconds. Raises OperatorError if it, or a library it needs, is not there."""
    kind, _, place = name.partition(":")
    loader = _LOADERS.get(kind)
    if loader is None or (kind == "builtin") != (place == ""):
        todo = "Use builtin, spacy:PACKAGE, spacy:/PATH, transformers:/FOLDER or onnx:/FOLDER"
        raise OperatorError(name, "this is no engine", todo)
    return loader(place)


def find(name: str) -> None:
    """Raise OperatorError as load does where an engine or its libraries are not there; loads nothing."""
    from sallyport.detect.ner import spacyengine, tokenclass

    kind, _, place = name.partition(":")
    match kind:
        case "spacy":
            spacyengine.find(place)
        case "onnx":
            tokenclass.find_onnx(Path(place))
        case "transformers":
            tokenclass.find_transformers(Path(place))


def _builtin(_: str) -> Engine:
    try:
        from sallyport.detect.ner import builtin

        return builtin.load()
    except (ImportError, FileNotFoundError):
        what = "the built-in engine or its weights are missing from this installation"
        raise OperatorError("builtin", what, "Reinstall sallyport, or name another engine") from None


def _spacy(place: str) -> Engine:
    from sallyport.detect.ner import spacyengine

    return spacyengine.load(place)


def _transformers(place: str) -> Engine:
    from sallyport.detect.ner import tokenclass

    return tokenclass.load_transformers(Path(place))


def _onnx(place: str) -> Engine:
    from sallyport.detect.ner import tokenclass

    return tokenclass.load_onnx(Path(place))


_LOADERS: dict[str, Callable[[str], Engine]] = {
    "builtin": _builtin,
    "spacy": _spacy,
    "transformers": _transformers,
    "onnx": _onnx,
}

"""Request targets: one spelling per path, templates with typed holes, query values of known shape.

A path that a server might read as another path matches nothing. The bytes that matched are the bytes
that are sent, so that gateway and provider cannot disagree.
"""

import re
from collections.abc import Mapping

_MAX_TARGET_CHARS = 2_048
_CHARS = re.compile(r"[!$%&'()*+,./0-9:;=?@A-Z_a-z~-]+")
_ALLOWED_ESCAPES = re.compile("%(?:3[Aa]|2[Ff])")

HOLES: Mapping[str, str] = {
    "model": r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}",
    "deployment": r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    "project": r"[a-z0-9][a-z0-9:.-]{0,62}",
    "location": r"[a-z]{2,}[a-z0-9-]{0,30}",
    "id": r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    # Of what lies inside what {id} names: a file of a vector store.
    "inner_id": r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    # Google's :predict serves models of every kind: what a call does is told by the model's name alone.
    "embedding_model": r"(?:text-|textembedding-|multimodalembedding|gemini-embedding|embeddinggemma)[a-z0-9@.-]{0,60}",
    "image_model": r"(?:imagen|imagegeneration)[a-z0-9@.-]{0,60}",
    # One segment, percent-encoded as boto3 does it (":" as %3A, the slash of an ARN as %2F).
    "bedrock_model": r"(?:[a-z0-9][a-z0-9.-]{0,99}(?:(?::|%3[Aa])[0-9a-z]{1,10}){0,2}|"
    r"arn%3[Aa]aws[a-z-]{0,10}%3[Aa]bedrock%3[Aa][a-z0-9-]{0,30}%3[Aa][0-9]{0,12}%3[Aa]"
    r"[a-z-]{1,40}%2[Ff][A-Za-z0-9.-]{1,100}(?:%3[Aa][0-9a-z]{1,10}){0,2})",
}
"""What a {hole} of a path template may hold. Anything a hole admits can carry data: keep them short."""

QUERY_SHAPES: Mapping[str, str] = {
    "flag": r"true|false",
    "count": r"[0-9]{1,6}",
    "version": r"v1|preview|latest|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:-preview)?",
    "id": r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
    "credential": r"[A-Za-z0-9_-]{8,200}",
}
"""Shapes of query values, as written on the wire: none admits a percent sign."""

_QUERY = {name: re.compile(shape) for name, shape in QUERY_SHAPES.items()}


class TargetError(ValueError):
    """A target that is not spelt plainly. reason: stable id such as path.dot_segment."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def split_target(target: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return path and query parameters of a target in origin form.

    Raises TargetError for any spelling that another parser may read differently.
    """
    if len(target) > _MAX_TARGET_CHARS:
        raise TargetError("path.length")
    if not target.startswith("/"):
        raise TargetError("path.form")
    if not _CHARS.fullmatch(target):
        raise TargetError("path.charset")
    path, mark, query = target.partition("?")
    if "//" in path:
        raise TargetError("path.double_slash")
    if ";" in path:
        raise TargetError("path.parameters")
    if any(set(segment) == {"."} for segment in path.split("/")):
        raise TargetError("path.dot_segment")
    # The colon and slash of a Bedrock model id come escaped; only the hole bedrock_model admits them.
    if "%" in _ALLOWED_ESCAPES.sub("", path) or "%" in query:
        raise TargetError("path.encoded")
    return path, _parameters(query) if mark else ()


def _parameters(query: str) -> tuple[tuple[str, str], ...]:
    pairs = tuple((name, value) for name, _, value in (p.partition("=") for p in query.split("&")))
    names = [name for name, _ in pairs]
    if "?" in query or len(names) != len(set(names)) or not all(names):
        raise TargetError("unknown_query")
    return pairs


class Template:
    """A path of the catalogue. {hole} stands for a value inside one segment, shaped by HOLES."""

    def __init__(self, path: str) -> None:
        """Raises ValueError for a template that is no plain path or has an unknown hole."""
        plain = re.sub(r"\{[a-z_]+\}", "x", path)
        try:
            if split_target(plain)[0] != plain or "%" in plain or "{" in plain:
                raise ValueError("a path has no query and no escapes")
        except TargetError as error:
            raise ValueError(f"the path is not plain ({error.reason})") from None
        names = re.findall(r"\{([a-z_]+)\}", path)
        for name in names:
            if name not in HOLES:
                raise ValueError(f"there is no hole {{{name}}}")
        if len(names) != len(set(names)):
            raise ValueError("a hole stands twice")
        self.path = path
        self.literal = not names
        parts = re.split(r"\{([a-z_]+)\}", path)
        shape = "".join(
            f"(?P<{part}>{HOLES[part]})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
        )
        self._pattern = re.compile(shape)

    def match(self, path: str) -> dict[str, str] | None:
        """Return the values of the holes, decoded, or None."""
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        return {_NAMES.get(k, k): _decode(v) for k, v in found.groupdict().items()}


_NAMES: Mapping[str, str] = {"bedrock_model": "model", "embedding_model": "model", "image_model": "model"}


def _decode(value: str) -> str:
    """Decode the two escapes that a hole can admit."""
    return re.sub("%2[Ff]", "/", re.sub("%3[Aa]", ":", value))


def read_parameters(
    parameters: tuple[tuple[str, str], ...], allowed: Mapping[str, str | tuple[str, ...]]
) -> dict[str, str] | None:
    """Return query parameters, or None if one is unknown or its value has not the shape asked for.

    allowed: name -> name of a shape, or the literal values.
    """
    for name, value in parameters:
        shape = allowed.get(name)
        if shape is None:
            return None
        fits = value in shape if isinstance(shape, tuple) else _QUERY[shape].fullmatch(value) is not None
        if not fits:
            return None
    return dict(parameters)

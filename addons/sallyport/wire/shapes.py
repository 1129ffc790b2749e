"""Shapes that several dialects share: words, JSON Schema, what providers make themselves."""

from collections.abc import Iterable

from sallyport.exchange import Surface
from sallyport.wire import leaves
from sallyport.wire.shape import FREE, QUIET, Shape

DOCUMENT = FREE[Surface.DOCUMENT]
PLAIN = Shape(Surface.DOCUMENT)  # a known field: a number, a boolean, or a text if it holds one
RANDOM = Shape(Surface.DOCUMENT, names=False)  # a seed: any long integer, and only by chance a card
WORD = Shape(Surface.DOCUMENT, leaf=leaves.word)
MODEL = Shape(Surface.DOCUMENT, leaf=leaves.model)
MEDIA_TYPE = Shape(Surface.DOCUMENT, leaf=leaves.media_type)
OPAQUE = Shape(Surface.DOCUMENT, leaf=leaves.opaque)
BASE64 = Shape(Surface.DOCUMENT, leaf=leaves.base64)
FILE_DATA = Shape(Surface.DOCUMENT, leaf=leaves.file_data)
REFERENCE = Shape(Surface.DOCUMENT, leaf=leaves.reference)

# For answers only: ids, dates, counts and ratings that the provider made, whole branches of them.
MADE = Shape(Surface.DOCUMENT, leaf=leaves.skip, names=False)

CACHE_CONTROL = Shape(Surface.DOCUMENT, {"type": Shape(Surface.DOCUMENT, leaf=leaves.caching), "ttl": PLAIN})


def text(surface: Surface) -> Shape:
    """Return the shape of a known field that holds text."""
    return Shape(surface)


def said(surface: Surface) -> Shape:
    """Return the shape of a branch of an answer: all its strings are texts, its names are not."""
    return QUIET[surface]


def plain(names: str) -> dict[str, Shape]:
    """Return fields that hold numbers or booleans; a string found there is text."""
    return dict.fromkeys(names.split(), PLAIN)


def words(names: str) -> dict[str, Shape]:
    """Return fields that hold words of the protocol."""
    return dict.fromkeys(names.split(), WORD)


def made(names: str) -> dict[str, Shape]:
    """Return fields of an answer that the provider made."""
    return dict.fromkeys(names.split(), MADE)


def snake(name: str) -> str:
    """Return maxOutputTokens as max_output_tokens."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def both_spellings(shapes: Iterable[Shape]) -> None:
    """Give every field of these shapes and of those below its snake_case twin, as protobuf JSON has."""
    seen: set[int] = set()
    waiting = list(shapes)
    while waiting:
        shape = waiting.pop()
        if id(shape) in seen:
            continue
        seen.add(id(shape))
        for name in list(shape.fields):
            shape.fields.setdefault(snake(name), shape.fields[name])
        waiting += [*shape.fields.values(), shape.items, shape.rest]


def schema(surface: Surface) -> Shape:
    """Return the shape of a JSON Schema or of Google's subset of OpenAPI."""
    word = Shape(surface, leaf=leaves.word)
    here = Shape(surface)
    members = Shape(surface, rest=here)
    free = FREE[surface]
    here.fields |= {
        **dict.fromkeys(("type", "format"), word),
        **dict.fromkeys(("description", "title", "pattern", "$ref", "$id", "$schema", "required"), here.rest),
        **dict.fromkeys(("enum", "const", "default", "examples", "example", "propertyOrdering"), free),
        **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions"), members),
        **dict.fromkeys(("items", "prefixItems", "additionalProperties", "propertyNames", "contains"), here),
        **dict.fromkeys(("anyOf", "oneOf", "allOf", "not", "if", "then", "else"), here),
        **plain("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength"),
        **plain("minItems maxItems uniqueItems minProperties maxProperties nullable readOnly deprecated"),
    }
    return here


TOOL_SCHEMA = schema(Surface.TOOL_DEFINITION)
DOCUMENT_SCHEMA = schema(Surface.DOCUMENT)

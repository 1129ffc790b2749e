"""Whether a structured answer fits the JSON schema that its request declared (JSON Schema 2020-12).

The schema comes from a client and the text from a model, so neither may cost more than it should: patterns run
on RE2, references are followed inside the schema only, and the work has an end. What cannot be judged within
that is not called wrong.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError, ValidationError  # type: ignore[import-untyped]
from jsonschema.validators import extend  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable

from sallyport.detect import linear

INVALID = "output.schema.invalid"
NOT_JSON = "output.schema.not_json"

MAX_STEPS = 50_000
"""Keywords that are evaluated for one answer: some 4,000 objects of ten members."""

STEP_CHARS = 500
"""Characters of a value for which a keyword counts once more: the library writes into an error what failed."""

_MAX_SCHEMA_CHARS = 200_000
_MAX_UNIQUE_ITEMS = 200
"""Longest list whose items are compared with one another."""

type Json = Any
type Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class _TooMuchWork(Exception):
    """Validation took more steps than MAX_STEPS."""


class SchemaCheck:
    """Judges finished texts of one exchange. schema: JSON text as Request.schema has it.

    Ask it only of an answer that ended by itself: one that was cut off or refused has no reason to fit. Put
    originals back before: a placeholder may fail a pattern or an enumeration that they fit.
    """

    def __init__(self, schema: str) -> None:
        self._schema = _read_schema(schema)

    def problem(self, text: str) -> str | None:
        """Return NOT_JSON, INVALID, or None where the text fits or cannot be judged."""
        if self._schema is None:
            return None
        try:
            value = json.loads(text, parse_constant=_refuse_constant)
        except RecursionError:
            return None
        except ValueError:
            return NOT_JSON
        steps = _Steps(_sizes(value))
        try:
            fits = _validator(steps)(self._schema, registry=Registry()).is_valid(value)
        except (_TooMuchWork, RecursionError, OverflowError, Unresolvable):
            return None
        return None if fits else INVALID


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity are no JSON, though Python's reader takes them."""
    raise ValueError(name)


@lru_cache(maxsize=64)
def _read_schema(source: str) -> Json:
    """Return a schema; None for one that is too long or no schema."""
    if len(source) > _MAX_SCHEMA_CHARS:
        return None
    try:
        schema = json.loads(source)
        Draft202012Validator.check_schema(schema)
    except (ValueError, RecursionError, SchemaError):
        return None
    return schema


@dataclass(slots=True)
class _Steps:
    """sizes: characters of the lists and objects of an answer, by id; they live as long as it does."""

    sizes: dict[int, int]
    taken: int = 0

    def take(self, instance: Json, times: int) -> None:
        size = len(instance) if type(instance) is str else self.sizes.get(id(instance), 0)
        self.taken += times * (1 + size // STEP_CHARS)
        if self.taken > MAX_STEPS:
            raise _TooMuchWork


def _sizes(value: Json) -> dict[int, int]:
    """Return about how long each list and object is when it is written; those within others count in them."""
    sizes: dict[int, int] = {}
    waiting: list[tuple[Json, bool]] = [(value, False)]
    while waiting:
        one, below_done = waiting.pop()
        if type(one) is not dict and type(one) is not list:
            continue
        below = [*one, *one.values()] if type(one) is dict else one
        if below_done:
            sizes[id(one)] = sum(sizes.get(id(b), 8) if type(b) is not str else len(b) + 4 for b in below)
        else:
            waiting.append((one, True))
            waiting += [(b, False) for b in below]
    return sizes


def _validator(steps: _Steps) -> Any:
    """Return a validator class whose keywords are counted and whose patterns cannot run away."""
    return extend(
        Draft202012Validator, {name: _counted(keyword, steps) for name, keyword in _KEYWORDS.items()}
    )


def _counted(keyword: Keyword, steps: _Steps) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        steps.take(instance, 1 + _refusing(value))
        yield from keyword(validator, value, instance, schema) or ()

    return counted


def _refusing(value: Json) -> int:
    """Return how many schemas of a keyword are `false`: each of them writes an error of its own."""
    below = value.values() if type(value) is dict else value if type(value) is list else ()
    return sum(one is False for one in below)


@lru_cache(maxsize=512)
def _compiled(source: str) -> linear.Pattern | None:
    """Return a schema's pattern on RE2; None for what RE2 has not, which is then not judged."""
    try:
        return linear.pattern(source)
    except linear.SyntaxUnknown:
        return None


def _found(source: str, text: str) -> bool:
    """Say whether a pattern occurs in a text; one that cannot be judged does."""
    compiled = _compiled(source)
    return compiled is None or compiled.search(_encodable(text)) is not None


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _found(pattern, instance):
        yield ValidationError("pattern")


def _pattern_properties(
    validator: Any, patterns: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        if _compiled(pattern) is None:
            continue
        for name, value in instance.items():
            if _found(pattern, name):
                yield from validator.descend(value, subschema)


def _additional_properties(
    validator: Any, additional: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in named or any(_found(pattern, name) for pattern in patterns):
            continue
        if additional is False:
            yield ValidationError("additionalProperties")
        else:
            yield from validator.descend(value, additional)


def _unique_items(
    validator: Any, unique: Any, instance: Any, schema: Any
) -> Iterator[ValidationError] | None:
    if validator.is_type(instance, "array") and len(instance) > _MAX_UNIQUE_ITEMS:
        return None
    found: Iterator[ValidationError] | None = Draft202012Validator.VALIDATORS["uniqueItems"](
        validator, unique, instance, schema
    )
    return found


_NOT_JUDGED = ("unevaluatedProperties", "unevaluatedItems")
"""Keywords left out: the library runs schema patterns on Python's engine for them."""
_OWN: dict[str, Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
    **dict.fromkeys(_NOT_JUDGED, lambda validator, value, instance, schema: None),
}
_KEYWORDS: dict[str, Keyword] = {**Draft202012Validator.VALIDATORS, **_OWN}

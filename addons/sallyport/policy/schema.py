"""The JSON Schema of a policy file and the list of its keys, both from the models that read it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sallyport.policy.sections import Policy


def schema_text() -> str:
    """Return the schema as JSON text, the content of docs/policy.schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Policy.model_json_schema()
    schema["title"] = "Sallyport policy"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a policy file. path: access.rules[].when; allowed, default: as an operator writes them."""

    path: str
    allowed: str
    default: str
    meaning: str


def policy_keys() -> tuple[Key, ...]:
    """Return every key a policy file may hold, in the order of the models."""
    schema = Policy.model_json_schema()
    return tuple(_keys(schema, schema["$defs"], ""))


def _keys(model: dict[str, Any], models: dict[str, Any], prefix: str) -> Iterator[Key]:
    for name, schema in model["properties"].items():
        path = f"{prefix}{name}"
        below = _find_model(schema, models)
        required = name in model.get("required", ())
        default = "required" if required else _shown(schema["default"]) if "default" in schema else "none"
        yield Key(path, _allowed(schema, models), default, schema["description"])
        if below is not None:
            within = "[]" if _is_list(schema) else ".*" if _is_map(schema) else ""
            yield from _keys(below, models, f"{path}{within}.")


def _find_model(schema: dict[str, Any], models: dict[str, Any]) -> dict[str, Any] | None:
    """Return the model that a schema holds, directly, optionally, as list items or under names."""
    options = (schema, *schema.get("anyOf", ()), *schema.get("allOf", ()), schema.get("items", {}))
    for option in (*options, *schema.get("patternProperties", {}).values()):
        if "$ref" in option and "properties" in (found := _resolve(option, models)):
            return found
    return None


def _resolve(schema: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = models[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _is_list(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "array"


def _is_map(schema: dict[str, Any]) -> bool:
    return "patternProperties" in schema


def _allowed(schema: dict[str, Any], models: dict[str, Any]) -> str:
    schema = _resolve(schema, models)
    if "anyOf" in schema:
        return " or ".join(_allowed(option, models) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if _is_list(schema):
        return f"list of {_allowed(schema['items'], models)}"
    if "patternProperties" in schema:
        return f"names to {_allowed(next(iter(schema['patternProperties'].values())), models)}"
    if "properties" in schema:
        return "keys below"
    return _range(schema)


_WORDS = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "null": "`null`"}


def _range(schema: dict[str, Any]) -> str:
    word = {"cel": "CEL", "date": "date", "ipvanynetwork": "CIDR"}.get(schema.get("format", ""))
    word = word or _WORDS.get(schema["type"], "text")
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum")
    if low is None or high is None:
        return word
    return f"{word}, {'above ' if 'exclusiveMinimum' in schema else ''}{low:g} to {high:.12g}"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"`{v}`" for v in value) or "none"
    return f"`{json.dumps(value)}`".replace('"', "") if value is not None else "null"

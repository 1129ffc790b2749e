"""The JSON schema that a request declares for its answer, as JSON text; None where any answer will do.

`{}` stands for JSON of any form. Gemini's subset of OpenAPI is put into the words of JSON Schema; a schema that
cannot be read so is none.
"""

import json

from sallyport.wire import fields
from sallyport.wire.jsontext import Json

_MAX_DEPTH = 64
_ANY_JSON = "{}"
_ANY_OBJECT = '{"type":"object"}'


def of_openai_chat(body: dict[str, Json]) -> str | None:
    """Read response_format; of compatible clouds too, some of which leave `json_schema` out."""
    given = body.get("response_format")
    match fields.string(given, "type"):
        case "json_object":
            return _text(fields.get(given, "schema")) or _ANY_OBJECT
        case "json_schema":
            nested = fields.get(given, "json_schema", "schema")
            return _text(nested if nested is not None else fields.get(given, "schema")) or _ANY_JSON
        case _:
            return None


def of_openai_responses(body: dict[str, Json]) -> str | None:
    """Read text.format."""
    match fields.string(body, "text", "format", "type"):
        case "json_object":
            return _ANY_OBJECT
        case "json_schema":
            return _text(fields.get(body, "text", "format", "schema")) or _ANY_JSON
        case _:
            return None


def of_anthropic(body: dict[str, Json]) -> str | None:
    """Read output_config.format and its older place, output_format."""
    for given in (fields.get(body, "output_config", "format"), body.get("output_format")):
        if fields.string(given, "type") == "json_schema":
            return _text(fields.get(given, "schema")) or _ANY_JSON
    return None


def of_gemini(body: Json) -> str | None:
    """Read generationConfig; an answer of type text/x.enum is a word, not JSON, and has no schema here."""
    config = fields.get(body, "generationConfig") or fields.get(body, "generation_config")
    kind = fields.string(config, "responseMimeType") or fields.string(config, "response_mime_type")
    if kind != "application/json":
        return None
    for name in ("responseJsonSchema", "response_json_schema"):
        if (whole := _text(fields.get(config, name))) is not None:
            return whole
    for name in ("responseSchema", "response_schema"):
        given = fields.get(config, name)
        if type(given) is dict:
            return _text(_from_openapi(given, 0))
    return _ANY_JSON


def of_ollama(body: dict[str, Json]) -> str | None:
    """Read format: the word json, or a schema."""
    given = body.get("format")
    return _ANY_JSON if given == "json" else _text(given)


def of_cohere(body: dict[str, Json]) -> str | None:
    """Read response_format, whose type is json_object with a schema and without."""
    given = body.get("response_format")
    if fields.string(given, "type") != "json_object":
        return None
    for name in ("json_schema", "schema"):
        if (whole := _text(fields.get(given, name))) is not None:
            return whole
    return _ANY_OBJECT


def of_converse(body: Json) -> str | None:
    """Read outputConfig.textFormat, where the schema is a string."""
    given = fields.get(body, "outputConfig", "textFormat")
    if fields.string(given, "type") != "json_schema":
        return None
    return fields.string(given, "structure", "jsonSchema", "schema") or _ANY_JSON


def _text(schema: Json) -> str | None:
    return json.dumps(schema, separators=(",", ":")) if type(schema) is dict else None


def _from_openapi(schema: Json, depth: int) -> Json:
    """Return Google's form in JSON Schema's: types in small letters, nullable as a type, counts as numbers."""
    if type(schema) is not dict or depth > _MAX_DEPTH:
        return {}
    made: dict[str, Json] = {}
    for name, value in schema.items():
        match name:
            case "type":
                made["type"] = value.lower() if type(value) is str else value
            case "properties" if type(value) is dict:
                made["properties"] = {key: _from_openapi(one, depth + 1) for key, one in value.items()}
            case "items":
                made["items"] = _from_openapi(value, depth + 1)
            case "anyOf" | "any_of" if type(value) is list:
                made["anyOf"] = [_from_openapi(one, depth + 1) for one in value]
            case "required" | "enum" | "minimum" | "maximum" | "pattern":
                made[name] = value
            case "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties":
                count = int(value) if type(value) is str and value.isdecimal() else value
                made[name] = count
            case _:
                pass
    if made.get("type") == "type_unspecified":
        del made["type"]
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") is True else made

"""A structured answer fits the declared schema or does not; neither schema nor answer can make it costly."""

import json

import pytest

from sallyport.detect.watching.schema import INVALID, MAX_STEPS, NOT_JSON, SchemaCheck

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z]"},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "uniqueItems": True},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"tag": {"enum": ["a", "b"]}},
}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"name": "Ada", "age": 36, "tags": ["a", "b"]}', None),
        ('{"name": "ada"}', INVALID),
        ('{"age": 3}', INVALID),
        ('{"name": "Ada", "age": -1}', INVALID),
        ('{"name": "Ada", "age": 1.5}', INVALID),
        ('{"name": "Ada", "more": 1}', INVALID),
        ('{"name": "Ada", "tags": ["c"]}', INVALID),
        ('{"name": "Ada", "tags": ["a", "a"]}', INVALID),
        ("[]", INVALID),
        ('Here it is: {"name": "Ada"}', NOT_JSON),
        ('```json\n{"name": "Ada"}\n```', NOT_JSON),
        ('{"name": "Ada"', NOT_JSON),
        ("NaN", NOT_JSON),
        ("", NOT_JSON),
        (' {"name": "\\ud83d A"}', INVALID),
    ],
)
def test_an_answer_is_judged_by_the_schema(text: str, problem: str | None) -> None:
    assert SchemaCheck(json.dumps(PERSON)).problem(text) == problem


@pytest.mark.parametrize(
    "schema",
    [
        '{"type": 5}',
        "{",
        "[]",
        '{"$ref": "https://evil.example/schema.json"}',
        '{"$ref": "#/nowhere"}',
        '{"$ref": "#"}',
        '{"pattern": "(?=x)y"}',
        '{"type": "string", "pattern": "["}',
        '{"description": "' + "x" * 300_000 + '", "type": "number"}',
    ],
    ids=["no-schema", "no-json", "list", "remote", "dangling", "endless", "look-ahead", "broken", "long"],
)
def test_what_cannot_be_judged_is_not_called_wrong(schema: str) -> None:
    assert SchemaCheck(schema).problem('"abc"') is None


def test_a_remote_reference_is_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("socket.socket.connect", lambda *given: asked.append(given))
    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **_: asked.append(given))
    assert SchemaCheck('{"$ref": "http://127.0.0.1:9/s.json"}').problem("1") is None
    assert asked == []


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^(a+)+$"},
        {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
        {"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False},
    ],
    ids=["pattern", "additional", "unevaluated"],
)
def test_a_pattern_that_explodes_elsewhere_does_not_here(schema: dict[str, object]) -> None:
    """Python's own engine would take longer than the test may run."""
    text = json.dumps("a" * 60 + "!") if "pattern" in schema else json.dumps({"a" * 60 + "!": 1})
    assert SchemaCheck(json.dumps(schema)).problem(text) in (INVALID, None)
    assert SchemaCheck('{"pattern": "^(a+)+$"}').problem(json.dumps("a" * 60 + "!")) == INVALID


def test_a_schema_that_doubles_its_work_at_every_step_is_given_up() -> None:
    doubled: dict[str, object] = {"$defs": {"d0": {"type": "string"}}, "$ref": "#/$defs/d40"}
    for step in range(40):
        doubled["$defs"][f"d{step + 1}"] = {"allOf": [{"$ref": f"#/$defs/d{step}"}] * 2}  # type: ignore[index]
    assert SchemaCheck(json.dumps(doubled)).problem('"abc"') is None
    large = json.dumps([1] * (MAX_STEPS + 1))
    assert SchemaCheck('{"items": {"type": "string"}}').problem(large) == INVALID
    assert SchemaCheck('{"items": {"type": "integer"}}').problem(large) is None


def test_deep_answers_and_repeated_use_do_no_harm() -> None:
    check = SchemaCheck('{"type": "array", "items": {"$ref": "#"}}')
    assert check.problem("[" * 100_000 + "]" * 100_000) in (None, NOT_JSON)
    assert check.problem("[[], [[]]]") is None
    assert check.problem("[[], [1]]") == INVALID

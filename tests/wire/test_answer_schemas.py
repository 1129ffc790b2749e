"""Each dialect says what schema the request declares for its answer."""

import json

import pytest

from sallyport.exchange import Operation
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
GOOGLE = {
    "type": "OBJECT",
    "properties": {
        "n": {"type": "INTEGER", "nullable": True},
        "l": {"type": "ARRAY", "minItems": "2", "items": {"type": "STRING"}},
    },
    "required": ["n"],
    "propertyOrdering": ["n"],
}
TRANSLATED = {
    "type": "object",
    "properties": {
        "n": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "l": {"type": "array", "minItems": 2, "items": {"type": "string"}},
    },
    "required": ["n"],
}


def config(**members: object) -> dict[str, object]:
    return {**GEMINI, "generationConfig": members}


CASES = [
    ("openai_chat", {**CHAT, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}, SCHEMA),
    ("openai_chat", {**CHAT, "response_format": {"type": "json_object"}}, {"type": "object"}),
    ("openai_chat", {**CHAT, "response_format": {"type": "json_object", "schema": SCHEMA}}, SCHEMA),
    ("openai_chat", {**CHAT, "response_format": {"type": "text"}}, None),
    ("openai_chat", CHAT, None),
    ("openai_responses", {"model": "m", "input": "hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}, SCHEMA),
    ("openai_responses", {"model": "m", "input": "hi", "text": {"format": {"type": "text"}}}, None),
    ("anthropic_messages", {**CHAT, "max_tokens": 9, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, SCHEMA),
    ("anthropic_messages", {**CHAT, "max_tokens": 9, "output_format": {"type": "json_schema", "schema": SCHEMA}}, SCHEMA),
    ("anthropic_messages", {**CHAT, "max_tokens": 9}, None),
    ("gemini_generate", config(responseMimeType="application/json", responseSchema=GOOGLE), TRANSLATED),
    ("gemini_generate", config(responseMimeType="application/json", responseJsonSchema=SCHEMA), SCHEMA),
    ("gemini_generate", config(responseMimeType="application/json"), {}),
    ("gemini_generate", config(responseMimeType="text/x.enum", responseSchema={"type": "STRING", "enum": ["a"]}), None),
    ("ollama_chat", {**CHAT, "format": SCHEMA}, SCHEMA),
    ("ollama_chat", {**CHAT, "format": "json"}, {}),
    ("ollama_chat", CHAT, None),
    ("cohere_v2", {**CHAT, "response_format": {"type": "json_object", "json_schema": SCHEMA}}, SCHEMA),
    ("cohere_v2", {**CHAT, "response_format": {"type": "json_object"}}, {"type": "object"}),
    ("bedrock_converse", {**CONVERSE, "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"name": "x", "schema": json.dumps(SCHEMA)}}}}}, SCHEMA),
    ("bedrock_invoke", {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": CHAT["messages"], "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, SCHEMA),
]  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "body", "schema"), CASES, ids=[f"{case[0]}-{index}" for index, case in enumerate(CASES)]
)
def test_a_request_carries_the_schema_it_declares(dialect: str, body: object, schema: object) -> None:
    call = Call("p", Operation.CHAT, model="m", stream=False)
    request = DIALECTS[dialect].read_request(json.dumps(body).encode(), call)
    assert (None if request.schema is None else json.loads(request.schema)) == schema


def test_a_schema_that_nests_without_end_is_cut_off() -> None:
    nested: dict[str, object] = {"type": "STRING"}
    for _ in range(100):
        nested = {"type": "ARRAY", "items": nested}
    from sallyport.wire.answerschema import of_gemini

    text = of_gemini(config(responseMimeType="application/json", responseSchema=nested))
    assert text is not None
    assert text.count("array") == 65

"""Answers of many lines, such as the results of a batch, are looked at like any other, with their tool calls."""

import json
from typing import Any

import pytest

from proxy.outflows import output_filter
from sallyport.proxy.editing import edited_answer
from sallyport.wire.dialects import DIALECTS

TOOLS = 'tools: {action: refuse, arguments: [{tool: "send_*", argument: /to, must_not: "@evil"}]}'


def of_openai(to: str) -> dict[str, Any]:
    function = {"name": "send_mail", "arguments": json.dumps({"to": to})}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    return {
        "custom_id": to,
        "response": {"status_code": 200, "body": {"choices": [{"index": 0, "message": message}]}},
    }


def of_anthropic(to: str) -> dict[str, Any]:
    call = {"type": "tool_use", "id": "c", "name": "send_mail", "input": {"to": to}}
    message = {"id": "m", "type": "message", "role": "assistant", "content": [call]}
    return {"custom_id": to, "result": {"type": "succeeded", "message": message}}


@pytest.mark.parametrize(("name", "line"), [("openai_other", of_openai), ("anthropic_other", of_anthropic)])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("bad", [False, True])
def test_a_tool_call_in_a_line_is_judged_with_its_arguments(
    name: str, line: Any, count: int, bad: bool
) -> None:
    dialect = DIALECTS[name]
    told = [line(f"{number}@example.org") for number in range(count - 1)]
    told.append(line("x@evil.example" if bad else "x@example.org"))
    body = b"\n".join(json.dumps(each).encode() for each in told)
    answer = dialect.read_response(body, 200)
    edited = edited_answer(dialect, answer, body, None, output_filter(TOOLS, dialect))
    assert (edited.stop is not None) is bad


def test_an_answer_may_be_longer_than_a_request() -> None:
    function = {"name": "send_mail", "arguments": json.dumps({"to": "x@example.org"})}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    body = json.dumps({"choices": [{"index": 0, "message": message}], "vector": [0.5] * 150_000}).encode()
    dialect = DIALECTS["openai_chat"]
    answer = dialect.read_response(body, 200)
    assert edited_answer(dialect, answer, body, None, output_filter(TOOLS, dialect)).stop is None

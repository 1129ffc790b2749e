"""Streams: channels, repetitions, ends, errors, and rewriting in place."""

import json

import pytest

from sallyport.exchange import Surface
from sallyport.wire.dialect import StreamEvent
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError
from sallyport.wire.jsonarray import JsonArrayReader
from sallyport.wire.openai_chat import ChatEvents
from sallyport.wire.streams import SseReader
from wire.samples import Sample, feed, streams

SSE = "text/event-stream"
CARD = 4111111111111111


def sse(*payloads) -> bytes:
    lines = (p if isinstance(p, str) else json.dumps(p, ensure_ascii=False) for p in payloads)
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def events(name: str, *payloads) -> list[StreamEvent]:
    return feed(DIALECTS[name], SSE, [sse(*payloads)])


@pytest.mark.parametrize("sample", streams(), ids=str)
def test_every_delta_can_be_rewritten_and_nothing_else_changes(sample: Sample):
    reader = sample.dialect.open_stream(sample.content_type)
    found = reader.feed(sample.body)
    found += reader.end()
    assert b"".join(reader.rewrite(e, {}) for e in found) == sample.body
    new = 'Öl "\\\n\u2028 <EMAIL_1>'
    texts = [{d.at: new for d in e.deltas if not d.at.endswith("~k")} for e in found]
    changed = [reader.rewrite(e, t) for e, t in zip(found, texts, strict=True)]
    again = feed(sample.dialect, sample.content_type, [b"".join(changed)])
    assert len(again) == len(found)
    for old, fresh, raw in zip(found, again, changed, strict=True):
        assert fresh.raw == raw
        assert [(d.channel, d.at, d.whole) for d in fresh.deltas] == [
            (d.channel, d.at, d.whole) for d in old.deltas
        ]
        assert all(d.text == new for d in fresh.deltas if not d.at.endswith("~k"))
        assert (fresh.closes, fresh.terminal, fresh.finish_reason) == (
            old.closes,
            old.terminal,
            old.finish_reason,
        )


@pytest.mark.parametrize("sample", streams(), ids=str)
def test_a_stream_cut_short_is_whole_events_or_an_error(sample: Sample):
    whole = feed(sample.dialect, sample.content_type, [sample.body])
    for cut in range(0, len(sample.body), 7):
        try:
            got = feed(sample.dialect, sample.content_type, [sample.body[:cut]])
        except WireError:
            continue
        assert [e.deltas for e in got if e.deltas] == [e.deltas for e in whole if e.deltas][
            : sum(bool(e.deltas) for e in got)
        ]


def test_multi_line_data_is_rewritten_line_by_line():
    reader = DIALECTS["openai_chat"].open_stream()
    raw = b'data: {"choices": [\r\ndata: {"index":0, "delta":{"content":"ab"}}\r\ndata: ]}\r\n\r\n'
    (event,) = reader.feed(raw)
    assert event.deltas[0].text == "ab"
    assert reader.rewrite(event, {event.deltas[0].at: "c"}) == raw.replace(b'"ab"', b'"c"')
    with pytest.raises(WireError):
        reader.rewrite(event, {"/nowhere": "x"})


def test_chat_channels_go_by_index_not_by_place():
    (event,) = events(
        "openai_chat",
        {
            "choices": [
                {
                    "index": 3,
                    "delta": {
                        "content": "a",
                        "reasoning_content": "r",
                        "refusal": "n",
                        "tool_calls": [
                            {"index": 2, "function": {"name": "f", "arguments": "{"}},
                            {"custom": {"input": "i"}},
                        ],
                    },
                },
                {"delta": {"function_call": {"arguments": "}"}, "audio": {"transcript": "t"}}},
            ]
        },
    )
    assert {(d.channel, d.surface, d.text, d.whole, d.json) for d in event.deltas} == {
        ("choices/3/content", Surface.ASSISTANT, "a", False, False),
        ("choices/3/reasoning_content", Surface.REASONING, "r", False, False),
        ("choices/3/refusal", Surface.ASSISTANT, "n", False, False),
        ("choices/3/tool_calls/2/name", Surface.TOOL_CALL, "f", True, False),
        ("choices/3/tool_calls/2/arguments", Surface.TOOL_CALL, "{", False, True),
        ("choices/3/tool_calls/1/input", Surface.TOOL_CALL, "i", False, False),
        ("choices/1/function_call/arguments", Surface.TOOL_CALL, "}", False, True),
        ("choices/1/audio/transcript", Surface.ASSISTANT, "t", False, False),
    }


def test_a_finish_reason_closes_the_channels_of_its_choice_only():
    chunk = {"choices": [{"index": i, "delta": {"content": "x"}} for i in (0, 1)]}
    last = {"choices": [{"index": 1, "delta": {"content": "y"}, "finish_reason": "length"}]}
    one, two, done = events("openai_chat", chunk, last, "[DONE]")
    assert (one.closes, two.closes, two.finish_reason) == ((), ("choices/1/content",), "length")
    assert (done.closes, done.terminal) == (("*",), True)


def test_token_echoes_are_whole_texts():
    (event,) = events(
        "openai_chat",
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "ab"},
                    "logprobs": {
                        "content": [{"token": "ab", "bytes": [97], "top_logprobs": [{"token": "xy"}]}]
                    },
                }
            ]
        },
    )
    assert [(d.text, d.whole) for d in event.deltas] == [("ab", False), ("ab", True), ("xy", True)]


def test_a_message_in_parts_flows_by_kind():
    (event,) = events(
        "openai_chat",
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "content": [
                            {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]},
                            {"type": "text", "text": "a"},
                        ]
                    },
                }
            ]
        },
    )
    assert [(d.channel, d.surface, d.text) for d in event.deltas] == [
        ("choices/0/reasoning", Surface.REASONING, "t"),
        ("choices/0/content", Surface.ASSISTANT, "a"),
    ]


def test_events_after_the_end_are_events_still():
    found = events("openai_chat", "[DONE]", {"choices": [{"index": 0, "delta": {"content": "x"}}]})
    assert [e.terminal for e in found] == [True, False]
    assert found[1].deltas[0].text == "x"


def test_anthropic_counts_add_up_over_the_stream():
    found = events(
        "anthropic_messages",
        {
            "type": "message_start",
            "message": {
                "id": "m",
                "model": "c",
                "usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1},
            },
        },
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 7}},
    )
    assert [(e.usage.input, e.usage.output) for e in found] == [(8, 1), (8, 7)]
    assert (found[0].id, found[0].model, found[1].finish_reason) == ("m", "c", "length")


def test_anthropic_blocks_that_come_whole_are_whole():
    start, cite, unknown = events(
        "anthropic_messages",
        {
            "type": "content_block_start",
            "index": 4,
            "content_block": {
                "type": "tool_use",
                "id": "t",
                "name": "f",
                "input": {"to": "marta", "n": CARD},
            },
        },
        {
            "type": "content_block_delta",
            "index": 4,
            "delta": {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "c"}},
        },
        {"type": "content_block_delta", "index": 4, "delta": {"type": "new_delta", "words": "w"}},
    )
    assert {(d.channel, d.text, d.whole) for d in start.deltas} == {
        ("content/4/name", "f", True),
        ("content/4/input/to~k", "to", True),
        ("content/4/input/n~k", "n", True),
        ("content/4/input/to", "marta", True),
        ("content/4/input/n", str(CARD), True),
    }
    assert [(d.channel, d.text) for d in cite.deltas] == [("content/4/citation/cited_text", "c")]
    assert [(d.text, d.whole) for d in unknown.deltas] == [("w", True)]


def test_gemini_finishes_with_tool_when_a_call_came_before():
    call = {"candidates": [{"content": {"parts": [{"function_call": {"name": "f", "args": {"a": "b"}}}]}}]}
    one, two = events("gemini_generate", call, {"candidates": [{"finish_reason": "STOP"}]})
    assert (one.finish_reason, two.finish_reason) == (None, "tool")
    assert [d.text for d in one.deltas] == ["f", "a", "b"]


@pytest.mark.parametrize(
    "delta", ["text", ["a", ["b"]], {"content": {"x": "y"}}, {"tool_calls": "t"}, 5, None]
)
def test_a_delta_of_an_unknown_form_is_read_all_the_same(delta):
    (event,) = events("openai_chat", {"choices": [{"index": 0, "delta": delta}, "z"]})
    texts = json.dumps(delta) if delta else ""
    assert all(json.dumps(d.text) in texts or d.text == "z" for d in event.deltas)
    assert len(event.deltas) == 1 + texts.count('"') // 2 - texts.count(":")


def test_errors_inside_streams_are_told_by_code_never_by_text():
    for name, payload, code in (
        ("openai_chat", {"error": {"message": "m", "code": 502}, "choices": []}, "502"),
        ("openai_chat", {"error": "some text"}, "http_200"),
        ("openai_responses", {"type": "error", "code": "server_error", "message": "m"}, "server_error"),
        (
            "openai_responses",
            {
                "type": "response.failed",
                "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "m"}},
            },
            "rate_limit_exceeded",
        ),
        ("anthropic_messages", {"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        ("gemini_generate", {"error": {"code": 503, "status": "UNAVAILABLE"}}, "UNAVAILABLE"),
    ):
        (event,) = events(name, payload)
        assert (event.error, event.finish_reason, event.closes) == (code, "error", ("*",)), payload


@pytest.mark.parametrize(
    "data", [b"data: {\n\n", b"data: []\n\n", b"data:\n\n", b'data: "x"\n\n', b"data: {} {}\n\n"]
)
def test_an_event_that_is_no_object_is_an_error(data: bytes):
    for name, dialect in DIALECTS.items():
        if name in ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate"):
            with pytest.raises(WireError):
                dialect.open_stream().feed(data)


def test_comments_and_pings_pass_as_events_without_text():
    found = feed(
        DIALECTS["openai_chat"], SSE, [b": OPENROUTER PROCESSING\n\n", b"event: ping\n\n", b"\r\n\r\n"]
    )
    assert [(e.raw, e.deltas) for e in found] == [
        (b": OPENROUTER PROCESSING\n\n", ()),
        (b"event: ping\n\n", ()),
        (b"\r\n\r\n", ()),
    ]


def test_a_last_event_without_its_blank_line_is_read_if_it_is_whole():
    whole = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}'
    for end in (b"", b"\n", b"\r\n"):
        (event,) = feed(DIALECTS["openai_chat"], SSE, [whole + end])
        assert event.deltas[0].text == "x"
    with pytest.raises(WireError):
        feed(DIALECTS["openai_chat"], SSE, [whole[:-1]])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[{}",
        b"[{},]",
        b"[,{}]",
        b"{}{}",
        b"[1]",
        b"[{}]x",
        b'["a"]',
        b"[{}{}]",
        b"[{]}]",
        b"x",
        b"]",
    ],
)
def test_an_array_stream_that_is_none_is_an_error(body: bytes):
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))]):
        with pytest.raises(WireError):
            feed(DIALECTS["gemini_generate"], "application/json", pieces)


def test_an_array_stream_keeps_brackets_in_texts_apart_and_every_byte():
    body = b' [ {"a":"]}\\\\\\"[{","b":[{}]} ,\r\n{} ]\n'
    found = feed(DIALECTS["gemini_generate"], "application/json; charset=UTF-8", [body])
    assert b"".join(e.raw for e in found) == body
    assert [e.terminal for e in found] == [False, False, True, False]
    (alone,) = feed(DIALECTS["gemini_generate"], "application/json", [b'{"error":{"status":"X"}}'])
    assert alone.error == "X"


def test_an_unfinished_event_is_bounded():
    for reader, head in (
        (SseReader(ChatEvents(), max_event_bytes=1000), b"data: "),
        (JsonArrayReader(ChatEvents(), max_event_bytes=1000), b"[{"),
    ):
        with pytest.raises(WireError):
            list(map(reader.feed, [head + b" " * 20] * 100))

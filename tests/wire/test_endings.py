"""A stream can be ended at any place, and an answer be made up: well-formed, to us and to the real SDKs."""

import json
from dataclasses import replace

import pytest

from sallyport.exchange import Operation, Request, Surface, Usage
from sallyport.wire.dialect import Stamp, StreamEvent
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.endings.invoke import chunked
from wire.samples import Sample, call, feed, samples

STAMP = Stamp("gw-7f3a", 1767261600)
USAGE = Usage(input=212, output=24)
EVENTS = "text/event-stream"
FRAMES = "application/vnd.amazon.eventstream"
LINES = "application/x-ndjson"


def asked(dialect: str, *, model: str = "m", answers: int = 1, **more) -> Request:
    operation = Operation.COMPLETION if dialect == "openai_completions" else Operation.CHAT
    return Request("test", dialect, operation, model, answers=answers, **more)


def recorded() -> list[Sample]:
    found = samples("stream", "stream_error", "block_stream", every=True)
    return [s for s in found if "bad_crc" not in s.name]


def cut(sample: Sample, count: int, request: Request | None = None) -> tuple[list[StreamEvent], bytes]:
    """Return what a client has been sent after so many events, and the bytes that end it there."""
    found = feed(sample.dialect, sample.content_type, [sample.body])[:count]
    request = request or asked(sample.dialect.name, model=_model(sample))
    ending = sample.dialect.ending(request, STAMP, sample.content_type)
    for event in found:
        ending.sent(event, {})
    return found, ending.conclude(USAGE)


def _model(sample: Sample) -> str:
    return "anthropic.claude-opus-5-v1:0" if sample.dialect.name == "bedrock_invoke" else "m"


def is_over(events: list[StreamEvent]) -> bool:
    return any(e.terminal or e.error for e in events) or events[-1].finish_reason is not None


@pytest.mark.parametrize("sample", recorded(), ids=str)
def test_at_every_event_the_stream_can_be_ended(sample: Sample):
    whole = feed(sample.dialect, sample.content_type, [sample.body])
    for count in range(len(whole) + 1):
        sent, tail = cut(sample, count)
        read = feed(sample.dialect, sample.content_type, [b"".join(e.raw for e in sent) + tail])
        assert is_over(read)
        assert [e.raw for e in read][: len(sent)] == [e.raw for e in sent]
        assert sum(e.terminal for e in read) <= 1
        reasons = [e.finish_reason for e in read if e.finish_reason]
        if not any(e.finish_reason or e.error for e in sent):
            assert "filtered" in reasons, count
        started = {d.channel for e in sent for d in e.deltas}
        assert (
            not {
                d.channel
                for e in read[len(sent) :]
                for d in e.deltas
                if d.text and not d.whole and d.text != "{"
            }
            - started
        )


@pytest.mark.parametrize("sample", recorded(), ids=str)
def test_a_stream_that_is_over_gets_no_second_end(sample: Sample):
    whole = feed(sample.dialect, sample.content_type, [sample.body])
    _, tail = cut(sample, len(whole))
    assert tail == b"" or whole[-1].terminal is False
    assert not any(e.finish_reason for e in _read_after(sample, tail))


def _read_after(sample: Sample, tail: bytes) -> list[StreamEvent]:
    if not tail or tail == b"]":
        return []
    return feed(sample.dialect, sample.content_type, [tail])


TOOLS = [s for s in recorded() if "stream_tool" in s.name]


@pytest.mark.parametrize(
    "sample", [s for s in TOOLS if s.dialect.name not in ("gemini_generate", "ollama_chat")], ids=str
)
def test_a_call_that_was_sent_in_part_never_becomes_whole(sample: Sample):
    whole = feed(sample.dialect, sample.content_type, [sample.body])
    met = 0
    for count in range(len(whole) + 1):
        sent, tail = cut(sample, count)
        read = feed(sample.dialect, sample.content_type, [b"".join(e.raw for e in sent) + tail])
        if any(e.finish_reason == "tool" for e in sent):
            continue
        arguments: dict[str, str] = {}
        for event in read:
            for delta in event.deltas:
                if delta.json and not delta.whole:
                    arguments[delta.channel] = arguments.get(delta.channel, "") + delta.text
        complete = {d.channel for e in whole for d in e.deltas if d.json and not d.whole}
        for channel, text in arguments.items():
            full = "".join(d.text for e in whole for d in e.deltas if d.channel == channel and not d.whole)
            if text != full:
                met += 1
                with pytest.raises(ValueError):
                    json.loads(text)
        assert set(arguments) <= complete
    assert met > 1


def test_responses_says_again_only_what_was_sent():
    sample = next(s for s in recorded() if s.name == "openai_responses/stream.sse")
    whole = feed(sample.dialect, sample.content_type, [sample.body])
    for count in range(len(whole)):
        sent, tail = cut(sample, count)
        said: dict[str, str] = {}
        for event in sent:
            for delta in event.deltas:
                if not delta.whole:
                    said[delta.channel] = said.get(delta.channel, "") + delta.text
        for event in feed(sample.dialect, sample.content_type, [tail]) if tail else []:
            for delta in event.deltas:
                if delta.channel in said and delta.text:
                    assert delta.text == said[delta.channel], (count, delta.at)


def test_what_was_rewritten_is_what_is_said_again():
    dialect = DIALECTS["openai_responses"]
    sample = next(s for s in recorded() if s.name == "openai_responses/stream.sse")
    ending = dialect.ending(asked("openai_responses"), STAMP)
    secret = "ll@exam"
    for event in feed(dialect, EVENTS, [sample.body]):
        texts = {d.at: d.text.replace(secret, "[X]") for d in event.deltas if secret in d.text}
        if event.payload["type"] == "response.output_text.done":
            break
        ending.sent(event, texts)
    tail = ending.conclude()
    assert b"[X]" in tail
    assert secret.encode() not in tail


def test_calls_for_the_client_are_never_done_by_an_ending():
    sample = next(s for s in recorded() if s.name == "openai_responses/stream_tool.sse")
    done = 0
    for count in range(12):
        _, tail = cut(sample, count)
        for event in feed(sample.dialect, EVENTS, [tail]) if tail else []:
            payload = event.payload
            assert payload["type"] != "response.function_call_arguments.done"
            assert (
                payload["type"] != "response.output_item.done" or payload["item"]["type"] != "function_call"
            )
            if payload["type"] == "response.incomplete":
                done += 1
                assert all(item["status"] == "completed" for item in payload["response"]["output"])
    assert done > 3


@pytest.mark.parametrize("name", ["openai_chat", "openai_completions", "gemini_generate"])
def test_every_answer_that_was_asked_for_is_finished(name: str):
    dialect = DIALECTS[name]
    tail = dialect.ending(asked(name, answers=3), STAMP).conclude()
    read = feed(dialect, EVENTS, [tail])
    indices = [
        c["index"]
        for e in read
        if e.payload
        for c in e.payload.get("choices", e.payload.get("candidates", []))
    ]
    assert indices == [0, 1, 2]


def test_usage_is_reported_where_the_client_asked_for_it():
    dialect = DIALECTS["openai_chat"]
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}}]}
    for usage, told in (({}, False), ({"usage": None}, True)):
        ending = dialect.ending(asked("openai_chat"), STAMP)
        for event in feed(dialect, EVENTS, [b"data: " + json.dumps({**chunk, **usage}).encode() + b"\n\n"]):
            ending.sent(event, {})
        read = feed(dialect, EVENTS, [ending.conclude(USAGE)])
        assert [e.usage for e in read if e.usage] == ([USAGE] if told else [])
        assert not [e for e in feed(dialect, EVENTS, [ending.conclude()]) if e.usage]


SPEAKERS = {
    "openai_chat": EVENTS,
    "openai_completions": EVENTS,
    "openai_responses": EVENTS,
    "anthropic_messages": EVENTS,
    "gemini_generate": EVENTS,
    "bedrock_converse": FRAMES,
    "cohere_v2": EVENTS,
    "ollama_chat": LINES,
}
TEXT = 'The gateway held back a "key".\nTake it out – decision gw-7f3a.'
INVOKE = (
    "anthropic.claude-opus-5-v1:0",
    "us.amazon.nova-pro-v1:0",
    "amazon.titan-text-express-v1",
    "meta.llama3-70b-instruct-v1:0",
    "mistral.mistral-7b-instruct-v0:2",
    "cohere.command-r-plus-v1:0",
    "openai.gpt-oss-120b-1:0",
)
SAYING = [
    *((name, "m", kind) for name, kind in SPEAKERS.items()),
    *(("bedrock_invoke", m, FRAMES) for m in INVOKE),
]


@pytest.mark.parametrize(("name", "model", "content_type"), SAYING, ids=str)
def test_what_the_gateway_says_is_an_answer_of_the_dialect(name: str, model: str, content_type: str):
    dialect = DIALECTS[name]
    buffered = dialect.say(TEXT, asked(name, model=model), STAMP)
    response = dialect.read_response(buffered.body, buffered.status)
    assert (buffered.status, response.error, response.finish_reason) == (200, None, "stop")
    assert TEXT in [s.text for s in response.segments]
    assert dict(buffered.headers)["content-type"] == "application/json"
    streamed = dialect.say(TEXT, asked(name, model=model, stream=True), STAMP)
    assert dict(streamed.headers)["content-type"] == content_type
    read = feed(dialect, content_type, [streamed.body])
    assert is_over(read)
    assert "stop" in [e.finish_reason for e in read]
    assert "".join(d.text for e in read for d in e.deltas if not d.whole) == TEXT


def test_a_gemini_array_says_it_too():
    dialect = DIALECTS["gemini_generate"]
    answer = dialect.say(TEXT, asked("gemini_generate", stream=True), STAMP, sse=False)
    read = feed(dialect, "application/json", [answer.body])
    assert [d.text for e in read for d in e.deltas] == [TEXT]
    assert json.loads(answer.body)[0]["responseId"] == "gw-7f3a"


@pytest.mark.parametrize("name", ["opaque", "openai_embeddings", "openai_form", "openai_batch"])
def test_where_nobody_speaks_there_is_nothing_to_say(name: str):
    assert DIALECTS[name].say(TEXT, asked(name), STAMP) is None
    assert DIALECTS[name].ending(asked(name), STAMP) is None


ANSWERS = [
    s
    for s in samples("response", "block_refusal", every=True)
    if s.dialect.name not in ("openai_embeddings",) and "count" not in s.name
]


@pytest.mark.parametrize("sample", ANSWERS, ids=str)
def test_a_buffered_answer_ends_where_it_is_cut(sample: Sample):
    whole = sample.dialect.read_response(sample.body, 200)
    cuts = [s for s in whole.segments if s.text and _is_said(s.at)]
    assert cuts
    for segment in cuts:
        for start in {0, 1, len(segment.text) // 2, len(segment.text)}:
            short = sample.dialect.shortened(sample.body, segment.at, start)
            response = sample.dialect.read_response(short, 200)
            assert response.finish_reason in ("filtered", whole.finish_reason)
            assert response.finish_reason == "filtered" or "finish" not in sample.body.decode()
            left = {s.at: s.text for s in response.segments}
            old = {s.at: s.text for s in whole.segments}
            assert left.get(segment.at, "") in ("", segment.text[:start])
            assert all(text in ("", old[at]) for at, text in left.items() if at != segment.at)
            if segment.surface is Surface.ASSISTANT:
                assert left.get(segment.at, "") == segment.text[:start]
                assert not [s for s in response.segments if s.surface is Surface.TOOL_CALL]
            if segment.surface is Surface.TOOL_CALL:
                assert segment.at not in left


def _is_said(at: str) -> bool:
    """Say whether a pointer is the text of an answer, not what a provider tells beside it."""
    names = {
        "text",
        "content",
        "refusal",
        "reasoning_content",
        "thinking",
        "arguments",
        "response",
        "tool_plan",
    }
    names |= {"generation", "outputText"}
    call = "/input/" in at or "/args/" in at or "/arguments/" in at
    beside = "annotations" in at or "citations" in at or at.endswith("~k")
    return (call or at.rpartition("/")[2] in names) and not beside


def test_all_that_is_not_cut_keeps_its_bytes():
    body = b'{ "choices":[{"index" :0,"message":{"role":"assistant","content":"a\\u00e9b","tool_calls":[1, 2]},"finish_reason":"stop"}],"x":1.50 }'
    short = DIALECTS["openai_chat"].shortened(body, "/choices/0/message/content", 2)
    assert short == (
        b'{ "choices":[{"index" :0,"message":{"role":"assistant","content":"a\\u00e9","tool_calls":null},'
        b'"finish_reason":"content_filter"}],"x":1.50 }'
    )


METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 212, "outputTokenCount": 24}}
_NOVA = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 1}}, **METRICS},
]
FAMILIES = {
    "amazon.nova-pro-v1:0": _NOVA,
    "amazon.titan-text-express-v1": [
        {"outputText": "a", "index": 0},
        {"outputText": "b", "index": 0, "completionReason": "FINISH", **METRICS},
    ],
    "meta.llama3-70b-instruct-v1:0": [
        {"generation": "a", "stop_reason": None},
        {"generation": "", "stop_reason": "stop"},
        METRICS,
    ],
    "mistral.mistral-7b-instruct-v0:2": [
        {"outputs": [{"text": "a", "stop_reason": None}]},
        {"outputs": [{"text": "", "stop_reason": "stop"}], **METRICS},
    ],
    "cohere.command-text-v14": [{"generations": [{"text": "a"}]}, METRICS],
    "openai.gpt-oss-120b-1:0": [
        {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}}]},
        {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], **METRICS},
    ],
}


@pytest.mark.parametrize("model", FAMILIES)
def test_every_family_of_invoke_ends_in_its_own_words(model: str):
    dialect, payloads = DIALECTS["bedrock_invoke"], FAMILIES[model]
    whole = feed(dialect, FRAMES, [chunked("", payload) for payload in payloads])
    for count in range(len(whole) + 1):
        ending = dialect.ending(asked("bedrock_invoke", model=model), STAMP)
        for event in whole[:count]:
            ending.sent(event, {})
        tail = ending.conclude(USAGE)
        read = feed(dialect, FRAMES, [b"".join(e.raw for e in whole[:count]) + tail])
        assert [e.terminal for e in read] == [False] * (len(read) - 1) + [True]
        finished = any(e.finish_reason for e in whole[:count])
        reasons = [e.finish_reason for e in read[count:] if e.finish_reason]
        assert reasons == ([] if finished or count == len(whole) else ["filtered"])
        counts = [(e.usage.input, e.usage.output) for e in read if e.usage]
        assert counts[-1] == (1, 1) if count == len(whole) and "nova" in model else counts[-1] == (212, 24)


OWN = "resp_01a1fe12-6041-7971-9e31-a39ab808386b"


@pytest.mark.parametrize(
    ("previous", "linked"),
    [(OWN, False), ("resp_68a1fe1260417971", True), (f"{OWN}x", True), ("conv_1", True)],
)
def test_a_link_to_the_gateways_own_answer_is_not_sent(previous: str, linked: bool):
    dialect = DIALECTS["openai_responses"]
    body = json.dumps({"input": f"I saw {OWN}", "previous_response_id": previous, "model": "m"}).encode()
    assert (dialect.read_request(body, call()).previous == previous) is linked
    assert (dialect.unlinked(body) == body) is linked
    assert json.loads(dialect.unlinked(body)) == {
        **json.loads(body),
        "previous_response_id": previous if linked else None,
    }


def test_a_refusal_in_a_kept_conversation_stands_where_it_stood():
    request = asked("openai_responses", previous="resp_68a1fe1260417971")
    for stream in (False, True):
        answer = DIALECTS["openai_responses"].say(TEXT, replace(request, stream=stream), STAMP)
        assert b'"id":"resp_68a1fe1260417971"' in answer.body
        assert b"resp_gw-7f3a" not in answer.body
    fresh = DIALECTS["openai_responses"].say(TEXT, asked("openai_responses", previous="conv_1"), STAMP)
    assert json.loads(fresh.body)["id"] == "resp_gw-7f3a"

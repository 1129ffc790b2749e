"""Usage of every dialect and variant: equal to a table made by hand, and once per stream however often it is told."""

import base64
import json
from functools import reduce

import pytest

from sallyport.exchange import Operation, Usage
from sallyport.wire.dialect import Call, newer
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.eventstream import json_frame
from wire.samples import feed

CHAT_TEXT = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]
}


def chat(usage: dict, **more) -> dict:
    return {"id": "c1", "object": "chat.completion", "model": "m", **CHAT_TEXT, "usage": usage, **more}


def messages(usage: dict) -> dict:
    content = [{"type": "text", "text": "Hi"}]
    head = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": content}
    return {**head, "stop_reason": "end_turn", "usage": usage}


def responses(usage: dict, output: list | None = None, **more) -> dict:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    head = {"id": "r1", "object": "response", "status": "completed", "model": "m"}
    return {**head, "output": [*(output or []), said], "usage": usage, **more}


def gemini(usage: dict, model: str = "gemini-2.5-flash", **candidate) -> dict:
    content = {"role": "model", "parts": [{"text": "Hi"}]}
    answer = {"index": 0, "content": content, "finishReason": "STOP", **candidate}
    return {"candidates": [answer], "usageMetadata": usage, "modelVersion": model}


def grounded(*queries: str) -> dict:
    return {"groundingMetadata": {"webSearchQueries": list(queries)}}


def converse(usage: dict, **more) -> dict:
    said = {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}
    return {"output": said, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 9}, **more}


def cohere(usage: dict) -> dict:
    said = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    return {"id": "h1", "finish_reason": "COMPLETE", "message": said, "usage": usage}


def search(action: str | None) -> dict:
    call = {"type": "web_search_call", "id": "ws", "status": "completed"}
    return call if action is None else {**call, "action": {"type": action, "url": "https://example.com/"}}


OPENAI_AUDIO = {
    "prompt_tokens": 1200,
    "completion_tokens": 500,
    "total_tokens": 1700,
    "prompt_tokens_details": {
        "cached_tokens": 256,
        "text_tokens": 400,
        "audio_tokens": 800,
        "image_tokens": 0,
    },
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 420,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 7,
    },
}
AUDIO = Usage(1200, 256, 0, 500, 0, audio_input=800, audio_output=420)

ANTHROPIC_HOUR = {
    "input_tokens": 30,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 700,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 600},
    "output_tokens": 90,
    "output_tokens_details": {"thinking_tokens": 50},
    "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
    "service_tier": "standard",
    "speed": "standard",
}
HOUR = Usage(1730, 1000, 700, 90, 50, cache_write_1h=600, searches=3, tier="standard")

COMPACTED = {
    "input_tokens": 23_000,
    "output_tokens": 1_000,
    "iterations": [
        {
            "type": "compaction",
            "input_tokens": 180_000,
            "cache_read_input_tokens": 500,
            "output_tokens": 3_500,
        },
        {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000},
    ],
}

GEMINI_ALL = {
    "promptTokenCount": 900,
    "cachedContentTokenCount": 256,
    "toolUsePromptTokenCount": 150,
    "candidatesTokenCount": 80,
    "thoughtsTokenCount": 40,
    "totalTokenCount": 1170,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 600},
        {"modality": "AUDIO", "tokenCount": 300},
    ],
    "toolUsePromptTokensDetails": [
        {"modality": "AUDIO", "tokenCount": 50},
        {"modality": "TEXT", "tokenCount": 100},
    ],
    "candidatesTokensDetails": [
        {"modality": "AUDIO", "tokenCount": 60},
        {"modality": "TEXT", "tokenCount": 20},
    ],
    "trafficType": "ON_DEMAND",
}
GEMINI_USED = Usage(1050, 256, None, 120, 40, audio_input=350, audio_output=60)
SNAKE = {
    "prompt_token_count": 9,
    "candidates_token_count": 4,
    "thoughts_token_count": 2,
    "prompt_tokens_details": [{"modality": "AUDIO", "token_count": 5}],
}

BEDROCK = {
    "inputTokens": 40,
    "outputTokens": 60,
    "totalTokens": 1600,
    "cacheReadInputTokens": 1000,
    "cacheWriteInputTokens": 500,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 400}, {"ttl": "5m", "inputTokens": 100}],
}
BEDROCK_USED = Usage(1540, 1000, 500, 60, cache_write_1h=400)

GROQ = {
    "queue_time": 0.01,
    "prompt_tokens": 55,
    "prompt_time": 0.002,
    "completion_tokens": 21,
    "total_tokens": 76,
}
DEEPSEEK = {
    "prompt_tokens": 500,
    "completion_tokens": 70,
    "total_tokens": 570,
    "prompt_cache_hit_tokens": 384,
    "prompt_cache_miss_tokens": 116,
    "completion_tokens_details": {"reasoning_tokens": 30},
}
XAI = {
    "prompt_tokens": 10_120,
    "completion_tokens": 1_499,
    "total_tokens": 14_428,
    "prompt_tokens_details": {
        "cached_tokens": 128,
        "text_tokens": 10_120,
        "audio_tokens": 0,
        "image_tokens": 0,
    },
    "completion_tokens_details": {"reasoning_tokens": 2_809, "audio_tokens": 0},
}
PERPLEXITY = {
    "prompt_tokens": 33,
    "completion_tokens": 7163,
    "total_tokens": 7196,
    "citation_tokens": 20016,
    "num_search_queries": 18,
    "reasoning_tokens": 73997,
    "search_context_size": "low",
    "cost": {"total_cost": 0.41},
}
OPENROUTER = {
    "prompt_tokens": 300,
    "completion_tokens": 100,
    "total_tokens": 400,
    "cost": 0.00214,
    "is_byok": False,
    "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 50, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 12, "image_tokens": 0},
    "cost_details": {"upstream_inference_cost": None},
    "server_tool_use": {"web_search_requests": 2},
}
RESPONSES = {
    "input_tokens": 400,
    "input_tokens_details": {"cached_tokens": 128, "cache_write_tokens": 64},
    "output_tokens": 200,
    "output_tokens_details": {"reasoning_tokens": 150},
    "total_tokens": 600,
}
COHERE = {
    "billed_units": {"input_tokens": 61, "output_tokens": 24},
    "tokens": {"input_tokens": 212, "output_tokens": 27},
    "cached_tokens": 128,
}
REALTIME = {
    "total_tokens": 900,
    "input_tokens": 700,
    "output_tokens": 200,
    "input_token_details": {
        "text_tokens": 100,
        "audio_tokens": 600,
        "image_tokens": 0,
        "cached_tokens": 512,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 448, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 50, "audio_tokens": 150},
}

ANSWERS = {
    "chat with audio": ("openai_chat", chat(OPENAI_AUDIO), AUDIO),
    "chat of an ordinary tier": ("openai_chat", chat(GROQ, service_tier="default"), Usage(55, output=21, tier="default")),
    "chat of a tier that is not told yet": ("openai_chat", chat(GROQ, service_tier="auto"), Usage(55, output=21)),
    "chat of tier flex": ("openai_chat", chat(GROQ, service_tier="flex"), Usage(55, output=21, tier="flex")),
    "chat of tier fast": ("openai_chat", chat(GROQ, service_tier="fast"), Usage(55, output=21, tier="fast")),
    "groq": ("openai_chat", {**CHAT_TEXT, "x_groq": {"id": "q", "usage": GROQ}}, Usage(55, output=21)),
    "deepseek": ("openai_chat", chat(DEEPSEEK), Usage(500, 384, None, 70, 30)),
    "xai": ("openai_chat", chat(XAI), Usage(10_120, 128, 0, 4_308, 2_809)),
    "gemini's compatible chat": (
        "openai_chat",
        chat({"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}),
        Usage(20, output=603),
    ),
    "perplexity": ("openai_chat", chat(PERPLEXITY), Usage(20_049, output=81_160, reasoning=73_997, searches=18)),
    "openrouter": ("openai_chat", chat(OPENROUTER), Usage(300, 100, 50, 100, 12, searches=2)),
    "completions": ("openai_completions", {"choices": [{"index": 0, "text": "x"}], "usage": GROQ}, Usage(55, output=21)),
    "embeddings": (
        "openai_embeddings",
        {"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        Usage(8, output=0),
    ),
    "responses": ("openai_responses", responses(RESPONSES), Usage(400, 128, 64, 200, 150)),
    "responses of tier priority": (
        "openai_responses",
        responses(RESPONSES, service_tier="priority"),
        Usage(400, 128, 64, 200, 150, tier="priority"),
    ),
    "responses that search": (
        "openai_responses",
        responses(RESPONSES, [search("search"), search("open_page"), search("find_in_page"), search(None)]),
        Usage(400, 128, 64, 200, 150, searches=2),
    ),
    "anthropic with an hour of cache": ("anthropic_messages", messages(ANTHROPIC_HOUR), HOUR),
    "anthropic of a batch": (
        "anthropic_messages",
        messages({"input_tokens": 5, "output_tokens": 6, "service_tier": "batch"}),
        Usage(5, output=6, tier="batch"),
    ),
    "anthropic at speed": (
        "anthropic_messages",
        messages({"input_tokens": 5, "output_tokens": 6, "speed": "fast", "service_tier": "standard"}),
        Usage(5, output=6, tier="fast"),
    ),
    "anthropic with a compaction": (
        "anthropic_messages",
        messages(COMPACTED),
        Usage(203_500, 500, None, 4_500),
    ),
    "gemini with tools and audio": ("gemini_generate", gemini(GEMINI_ALL), GEMINI_USED),
    "gemini in snake case": ("gemini_generate", gemini(SNAKE), Usage(9, output=6, reasoning=2, audio_input=5)),
    "gemini of tier flex": (
        "gemini_generate",
        gemini({"promptTokenCount": 9, "candidatesTokenCount": 4, "trafficType": "ON_DEMAND_FLEX"}),
        Usage(9, output=4, tier="flex"),
    ),
    "gemini 2 pays for the grounded answer": (
        "gemini_generate",
        gemini({"promptTokenCount": 9, "candidatesTokenCount": 4}, **grounded("a", "b")),
        Usage(9, output=4, searches=1),
    ),
    "gemini 3 pays for each query": (
        "gemini_generate",
        gemini({"promptTokenCount": 9, "candidatesTokenCount": 4}, "gemini-3-pro", **grounded("a", "b")),
        Usage(9, output=4, searches=2),
    ),
    "converse": ("bedrock_converse", converse(BEDROCK), BEDROCK_USED),
    "converse of tier priority": (
        "bedrock_converse",
        converse({"inputTokens": 4, "outputTokens": 6, "totalTokens": 10}, serviceTier={"type": "priority"}),
        Usage(4, output=6, tier="priority"),
    ),
    "invoke of claude": ("bedrock_invoke", messages(ANTHROPIC_HOUR), HOUR),
    "invoke of nova": (
        "bedrock_invoke",
        converse(
            {
                "inputTokens": 40,
                "outputTokens": 60,
                "totalTokens": 100,
                "cacheReadInputTokenCount": 1000,
                "cacheWriteInputTokenCount": 500,
            }
        ),
        Usage(1540, 1000, 500, 60),
    ),
    "invoke of llama": (
        "bedrock_invoke",
        {"generation": "Hi", "prompt_token_count": 12, "generation_token_count": 3, "stop_reason": "stop"},
        Usage(12, output=3),
    ),
    "invoke of titan": (
        "bedrock_invoke",
        {"inputTextTokenCount": 12, "results": [{"tokenCount": 3, "outputText": "Hi", "completionReason": "FINISH"}]},
        Usage(12, output=3),
    ),
    "cohere's tokens, not what it bills": ("cohere_v2", cohere(COHERE), Usage(212, 128, None, 27)),
    "cohere that only bills": (
        "cohere_v2",
        {"id": "e", "embeddings": {"float": [[0.1]]}, "meta": {"billed_units": {"input_tokens": 61}}},
        Usage(61),
    ),
    "ollama": (
        "ollama_chat",
        {"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": True, "prompt_eval_count": 26, "eval_count": 9},
        Usage(26, output=9),
    ),
    "realtime": (
        "openai_realtime",
        {"type": "response.done", "response": {"id": "r", "status": "completed", "output": [], "usage": REALTIME}},
        Usage(700, 512, None, 200, audio_input=600, audio_output=150),
    ),
    "transcription": (
        "openai_form",
        {
            "text": "Hi",
            "usage": {
                "type": "tokens",
                "input_tokens": 14,
                "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
                "output_tokens": 45,
                "total_tokens": 59,
            },
        },
        Usage(14, output=45, audio_input=10),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_reports_its_usage(name: str):
    dialect, body, expected = ANSWERS[name]
    assert DIALECTS[dialect].read_response(json.dumps(body).encode(), 200).usage == expected


def sse(*payloads: dict, named: bool = False, done: bool = False) -> bytes:
    events = [(f"event: {p['type']}\n" if named else "") + f"data: {json.dumps(p)}\n\n" for p in payloads]
    return ("".join(events) + ("data: [DONE]\n\n" if done else "")).encode()


def frames(*events: tuple[str, dict]) -> bytes:
    return b"".join(json_frame("event", kind, json.dumps(payload).encode()) for kind, payload in events)


def chunks(*payloads: dict) -> bytes:
    coded = (base64.b64encode(json.dumps(p).encode()).decode() for p in payloads)
    return frames(*(("chunk", {"bytes": each, "p": "abc"}) for each in coded))


def piece(text: str = "Hi", **more) -> dict:
    return {"id": "c1", "choices": [{"index": 0, "delta": {"content": text}}], **more}


def last(usage: dict, **more) -> dict:
    return {"id": "c1", "choices": [], "usage": usage, **more}


CLAUDE = (
    {
        "type": "message_start",
        "message": {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "usage": {
                **ANTHROPIC_HOUR,
                "output_tokens": 1,
                "output_tokens_details": None,
                "server_tool_use": None,
            },
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {
            "output_tokens": 90,
            "output_tokens_details": {"thinking_tokens": 50},
            "server_tool_use": {"web_search_requests": 3},
        },
    },
)
METRICS = "amazon-bedrock-invocationMetrics"
CONVERSE = (
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
)
GROWING = [
    {"promptTokenCount": 900, "cachedContentTokenCount": 256, "totalTokenCount": 900},
    {"promptTokenCount": 900, "candidatesTokenCount": 10, "thoughtsTokenCount": 40, "totalTokenCount": 950},
    {name: count for name, count in GEMINI_ALL.items() if name != "cachedContentTokenCount"},
]
GEMINI_CHUNKS = [gemini(counts) for counts in GROWING]

STREAMS = {
    "chat with audio": ("openai_chat", sse(piece(usage=None), last(OPENAI_AUDIO), done=True), AUDIO),
    "chat of tier flex": (
        "openai_chat",
        sse(piece(service_tier="flex"), last(GROQ, service_tier="flex"), done=True),
        Usage(55, output=21, tier="flex"),
    ),
    "groq tells it twice": (
        "openai_chat",
        sse(piece(x_groq={"id": "q"}), piece("", x_groq={"id": "q", "usage": GROQ}), last(GROQ), done=True),
        Usage(55, output=21),
    ),
    "deepseek tells it with the last choice": (
        "openai_chat",
        b": keep-alive\n\n" + sse(piece(), piece("", usage=DEEPSEEK), done=True),
        Usage(500, 384, None, 70, 30),
    ),
    "perplexity repeats running totals": (
        "openai_chat",
        sse(
            *(
                piece(usage={**PERPLEXITY, "completion_tokens": n, "total_tokens": 33 + n})
                for n in (1, 50, 3000, 7163)
            )
        ),
        Usage(20_049, output=81_160, reasoning=73_997, searches=18),
    ),
    "openrouter": (
        "openai_chat",
        b": OPENROUTER PROCESSING\n\n" + sse(piece(), piece("", usage=OPENROUTER), done=True),
        Usage(300, 100, 50, 100, 12, searches=2),
    ),
    "vllm repeats running totals": (
        "openai_chat",
        sse(*(piece(usage={"prompt_tokens": 9, "completion_tokens": n, "total_tokens": 9 + n}) for n in (1, 2, 3))),
        Usage(9, output=3),
    ),
    "completions": (
        "openai_completions",
        sse({"choices": [{"index": 0, "text": "x"}]}, last(GROQ), done=True),
        Usage(55, output=21),
    ),
    "responses": (
        "openai_responses",
        sse(
            {"type": "response.created", "response": {**responses(None), "status": "in_progress", "output": []}},
            {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hi"},
            {
                "type": "response.completed",
                "response": responses(RESPONSES, [search("search")], service_tier="flex"),
            },
            named=True,
        ),
        Usage(400, 128, 64, 200, 150, searches=1, tier="flex"),
    ),
    "anthropic": ("anthropic_messages", sse(*CLAUDE, {"type": "message_stop"}, named=True), HOUR),
    "gemini": ("gemini_generate", sse(*GEMINI_CHUNKS), GEMINI_USED),
    "converse": (
        "bedrock_converse",
        frames(*CONVERSE, ("metadata", {"usage": BEDROCK, "metrics": {"latencyMs": 9}, "p": "ab"})),
        BEDROCK_USED,
    ),
    "converse of tier flex": (
        "bedrock_converse",
        frames(*CONVERSE, ("metadata", {"usage": BEDROCK, "serviceTier": {"type": "flex"}})),
        Usage(1540, 1000, 500, 60, cache_write_1h=400, tier="flex"),
    ),
    "invoke of claude": (
        "bedrock_invoke",
        chunks(
            *CLAUDE,
            {"type": "message_stop", METRICS: {"inputTokenCount": 30, "outputTokenCount": 90}},
        ),
        HOUR,
    ),
    "invoke of nova": (
        "bedrock_invoke",
        chunks(
            *({kind: payload} for kind, payload in CONVERSE),
            {
                "metadata": {"usage": {"inputTokens": 40, "outputTokens": 60, "cacheReadInputTokenCount": 9}},
                METRICS: {"inputTokenCount": 40, "outputTokenCount": 60},
            },
        ),
        Usage(49, 9, None, 60),
    ),
    "invoke of a chat model": (
        "bedrock_invoke",
        chunks(piece(), piece("", **{METRICS: {"inputTokenCount": 40, "outputTokenCount": 60}})),
        Usage(40, output=60),
    ),
    "invoke of llama": (
        "bedrock_invoke",
        chunks(
            {"generation": "Hi", "prompt_token_count": 12, "generation_token_count": 1, "stop_reason": None},
            {
                "generation": "",
                "prompt_token_count": None,
                "generation_token_count": 3,
                "stop_reason": "stop",
                METRICS: {"inputTokenCount": 12, "outputTokenCount": 3, "cacheReadInputTokenCount": 5},
            },
        ),
        Usage(17, 5, None, 3),
    ),
    "cohere": (
        "cohere_v2",
        sse(
            {"type": "message-start", "id": "h1", "delta": {"message": {"role": "assistant"}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE}},
            named=True,
        ),
        Usage(212, 128, None, 27),
    ),
    "ollama": (
        "ollama_chat",
        b'{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}\n'
        b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
        b'"prompt_eval_count":26,"eval_count":9}\n',
        Usage(26, output=9),
    ),
    "transcription": (
        "openai_form",
        sse(
            {"type": "transcript.text.delta", "delta": "Hi"},
            {
                "type": "transcript.text.done",
                "text": "Hi",
                "usage": {"input_tokens": 14, "input_token_details": {"audio_tokens": 10}, "output_tokens": 45},
            },
        ),
        Usage(14, output=45, audio_input=10),
    ),
}  # fmt: skip


def told(dialect: str, pieces: list[bytes], content_type: str = "text/event-stream") -> Usage | None:
    """Return what a tap would settle: the reports of a stream, merged."""
    events = feed(DIALECTS[dialect], content_type, pieces)
    return reduce(newer, (event.usage for event in events), None)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_reports_its_usage_once(name: str):
    dialect, body, expected = STREAMS[name]
    assert told(dialect, [body]) == expected
    assert told(dialect, [body[i : i + 1] for i in range(len(body))]) == expected


def test_a_gemini_array_reports_its_last_totals_streamed_or_whole():
    body = json.dumps(GEMINI_CHUNKS).encode()
    assert told("gemini_generate", [body], "application/json") == GEMINI_USED
    assert DIALECTS["gemini_generate"].read_response(body, 200).usage == GEMINI_USED


def test_a_realtime_session_adds_up_its_responses():
    def done(number: int) -> bytes:
        response = {"id": f"r{number}", "status": "completed", "output": [], "usage": REALTIME}
        return json.dumps({"type": "response.done", "response": response}).encode()

    created = b'{"type":"response.created","response":{"id":"r1","status":"in_progress","usage":null}}'
    used = told("openai_realtime", [created, done(1), done(2), done(3)])
    assert used == Usage(2100, 1536, None, 600, audio_input=1800, audio_output=450)


@pytest.mark.parametrize("dialect", sorted({name for name, _, _ in STREAMS.values()}))
def test_a_stream_that_reports_nothing_has_no_usage(dialect: str):
    bodies = {
        "bedrock_converse": frames(*CONVERSE),
        "bedrock_invoke": chunks(piece()),
        "ollama_chat": b'{"done":true}\n',
    }
    body = bodies.get(
        dialect, sse({"type": "ping", "choices": []}, named=dialect.startswith(("anth", "openai_r")))
    )
    assert told(dialect, [body]) is None


@pytest.mark.parametrize(
    ("dialect", "body", "ttl"),
    [
        ("anthropic_messages", {"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "1h"),
        ("anthropic_messages", {"cache_control": {"type": "ephemeral"}}, "5m"),
        ("anthropic_messages", {"cache_control": {"type": "ephemeral", "ttl": "1d"}}, "1h"),
        (
            "anthropic_messages",
            {
                "system": [
                    {"type": "text", "text": "a", "cache_control": {"ttl": "1h", "type": "ephemeral"}},
                    {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
                ]
            },
            "1h",
        ),
        ("anthropic_messages", {"tools": [{"name": "t", "cache_control": {"type": "ephemeral"}}]}, "5m"),
        ("anthropic_messages", {}, ""),
        ("bedrock_converse", {"system": [{"cachePoint": {"type": "default", "ttl": "1h"}}]}, "1h"),
        ("bedrock_converse", {"system": [{"cachePoint": {"type": "default"}}]}, "5m"),
        (
            "openai_chat",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}]},
            "1h",
        ),
    ],
)  # fmt: skip
def test_a_request_tells_how_long_its_prompt_is_to_be_kept(dialect: str, body: dict, ttl: str) -> None:
    content = [{"text": "Hi"}] if dialect == "bedrock_converse" else "Hi"
    whole = {"model": "m", "messages": [{"role": "user", "content": content}], **body}
    call = Call("p", Operation.CHAT, content_type="application/json")
    assert DIALECTS[dialect].read_request(json.dumps(whole).encode(), call).cache_ttl == ttl

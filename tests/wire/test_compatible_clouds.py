"""What OpenAI-compatible clouds do otherwise than OpenAI, and is still read: texts as texts, ends as ends, errors as errors."""

import json
from dataclasses import dataclass, field

import pytest

from sallyport.decision import Edit
from sallyport.exchange import Surface
from sallyport.wire.dialect import Call, StreamEvent
from sallyport.wire.dialects import DIALECTS
from wire.samples import call

CHAT = DIALECTS["openai_chat"]
A, R, C, D, U = Surface.ASSISTANT, Surface.REASONING, Surface.TOOL_CALL, Surface.DOCUMENT, Surface.USER
SSE = "text/event-stream"


def asked() -> Call:
    return call()


def heard(events: list[StreamEvent], surface: Surface) -> str:
    return "".join(d.text for e in events for d in e.deltas if d.surface is surface)


def stream(*pieces: object) -> list[StreamEvent]:
    """Read a stream, whole and byte by byte, which must be the same. A piece of bytes is put in as it is."""
    data = b"".join(
        p if isinstance(p, bytes) else b"data: " + json.dumps(p).encode() + b"\n\n" for p in pieces
    )
    whole, slow = CHAT.open_stream(SSE), CHAT.open_stream(SSE)
    events = [*whole.feed(data), *whole.end()]
    assert [event for byte in data for event in slow.feed(bytes([byte]))] + slow.end() == events
    assert b"".join(event.raw for event in events) == data
    return events


def delta(finish: str | None = None, **members: object) -> dict[str, object]:
    choice = {"index": 0, "delta": members, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


@dataclass(frozen=True)
class Stream:
    """One cloud's stream and what must be read in it."""

    pieces: tuple[object, ...]
    text: str = "Hello there."
    reasoning: str = ""
    finish: str | None = "stop"
    error: str | None = None
    other: dict[Surface, str] = field(default_factory=dict)


DONE = b"data: [DONE]\n\n"
STREAMS = {
    "groq": Stream(
        ({**delta(role="assistant", content=""), "x_groq": {"id": "r"}}, delta(reasoning="I think."), delta(content="Hello "), {**delta("stop", content="there."), "x_groq": {"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}}, DONE),
        reasoning="I think.",
    ),
    "together": Stream(
        (delta(content="Hello ", token_id=7, reasoning_content=None), delta(content="there.", token_id=8), delta("eos", content="", token_id=2), DONE)
    ),
    "deepseek": Stream(
        (b": keep-alive\n\n", b"\n\n", b": keep-alive\n\n", delta(content=None, reasoning_content="Hm. "), delta(content=None, reasoning_content="So."), delta(content="Hello ", reasoning_content=None), delta("stop", content="there."), DONE),
        reasoning="Hm. So.",
    ),
    "openrouter": Stream(
        (
            b": OPENROUTER PROCESSING\n\n",
            {**delta(role="assistant", content="", reasoning="Why", reasoning_details=[{"type": "reasoning.text", "text": "Why", "format": "anthropic-claude-v1", "index": 0}]), "provider": "Anthropic"},
            delta(content="Hello "),
            {**delta("stop", content="there."), "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.1}},
            DONE,
        ),
        reasoning="WhyWhy",
    ),
    "openrouter-error": Stream(
        (delta(content="Hello there."), {**delta("error", content=""), "error": {"code": 502, "message": "Provider disconnected", "metadata": {"provider_name": "x"}}}),
        finish="error",
        error="502",
    ),
    "perplexity": Stream(
        (
            {**delta(content="Hello "), "citations": ["https://a.example/1"], "search_results": [{"title": "A title", "url": "https://a.example/1", "date": "2026-01-01", "snippet": "What it says."}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
            {**delta("stop", content="there."), "usage": {"prompt_tokens": 1, "completion_tokens": 2, "num_search_queries": 1}},
        )
    ),
    "cerebras": Stream((delta(content="Hello "), {**delta("stop", content="there."), "time_info": {"queue_time": 0.1}}, DONE)),
    "mistral": Stream(
        (
            delta(role="assistant", content=""),
            delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}]),
            delta(content=[{"type": "text", "text": "Hello "}]),
            delta("model_length", content="there."),
            DONE,
        ),
        reasoning="Let me see.",
        finish="length",
    ),
    "mistral-failed": Stream((delta(content="Hello there."), delta("error", content=""), DONE), finish="error"),
    "tgi-error": Stream(
        (delta(content="Hello there."), {"error": "Request failed during generation: out of memory", "error_type": "generation"}),
        finish="error",
        error="generation",
    ),
    "vllm": Stream(
        (delta(role="assistant", content="", reasoning_content="Hm."), delta(content="Hello there."), {**delta("stop", content=""), "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop", "stop_reason": None}]}, DONE),
        reasoning="Hm.",
    ),
    "azure": Stream(
        (
            {"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}]},
            delta(content="Hello "),
            {**delta("stop", content="there."), "choices": [{"index": 0, "delta": {"content": "there."}, "finish_reason": "stop", "content_filter_results": {"hate": {"filtered": False}}}]},
            DONE,
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("cloud", STREAMS)
def test_a_clouds_stream_gives_text_reasoning_end_and_error(cloud: str) -> None:
    wanted = STREAMS[cloud]
    events = stream(*wanted.pieces)
    assert heard(events, A).startswith(wanted.text)
    assert heard(events, R) == wanted.reasoning
    assert next((e.finish_reason for e in reversed(events) if e.finish_reason), None) == wanted.finish
    assert next((e.error for e in events if e.error), None) == wanted.error


def test_what_perplexity_quotes_is_read_as_text() -> None:
    (first, *_) = stream(*STREAMS["perplexity"].pieces)
    assert {"A title", "What it says."} <= {d.text for d in first.deltas}


REQUESTS: dict[str, dict[str, object]] = {
    "groq": {"reasoning_format": "parsed", "include_reasoning": True, "search_settings": {"include_domains": ["SEEN.example"]}},
    "openrouter": {"models": ["a/b", "c/d"], "provider": {"order": ["Anthropic"]}, "plugins": [{"id": "web", "search_prompt": "SEEN"}], "session_id": "SEEN"},
    "perplexity": {"search_domain_filter": ["SEEN.example"], "web_search_options": {"user_location": {"city": "SEEN"}}},
    "vllm": {"guided_json": {"type": "object", "properties": {"a": {"description": "SEEN"}}}, "guided_regex": "SEEN", "chat_template": "SEEN", "top_k": 4},
    "xai": {"search_parameters": {"mode": "auto", "sources": [{"type": "web", "allowed_websites": ["SEEN.example"]}]}, "deferred": True},
    "mistral": {"random_seed": 4, "safe_prompt": True, "prompt_mode": "reasoning", "prediction": {"type": "content", "content": "SEEN"}},
    "together": {"repetition_penalty": 1.1, "safety_model": "m", "echo": False, "context_length_exceeded_behavior": "error"},
}  # fmt: skip


@pytest.mark.parametrize("cloud", REQUESTS)
def test_a_text_in_a_member_of_the_clouds_own_is_seen_and_can_be_masked(cloud: str) -> None:
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "hello"}], **REQUESTS[cloud]}
    ).encode()
    request = CHAT.read_request(body, asked())
    seen = [s for s in request.segments if "SEEN" in s.text]
    assert len(seen) == body.count(b"SEEN")
    masked = CHAT.edit(
        body, [Edit(s.at, s.text.index("SEEN"), s.text.index("SEEN") + 4, "gone") for s in seen]
    )
    assert json.loads(masked) == json.loads(body.replace(b"SEEN", b"gone"))


def test_mistrals_own_content_chunks_are_read() -> None:
    content: list[object] = [
        {"type": "text", "text": "one"},
        {"type": "document_url", "document_url": "https://d.example/two.pdf", "document_name": "three"},
        {"type": "image_url", "image_url": "https://i.example/four.png"},
        {"type": "reference", "reference_ids": [1, 2]},
        {"type": "input_audio", "input_audio": "UklGRg=="},
    ]
    history = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "five"}]}],
        "prefix": True,
    }
    calls = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"deep": ["six"]}}}],
    }
    body = {"model": "m", "messages": [{"role": "user", "content": content}, history, calls]}
    request = CHAT.read_request(json.dumps(body).encode(), asked())
    by_text = {s.text: s.surface for s in request.segments}
    assert by_text["one"] is U
    assert by_text["five"] is R
    assert by_text["six"] is C
    everything = " ".join(by_text)
    assert "two.pdf" in everything
    assert "three" in everything
    assert "four.png" in everything


ANSWERS = {
    "groq": ({"reasoning": "Why."}, "Why."),
    "deepseek": ({"reasoning_content": "Why."}, "Why."),
    "openrouter": ({"reasoning": "Why.", "reasoning_details": [{"type": "reasoning.summary", "summary": "Why."}]}, "Why."),
    "mistral": ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Why."}]}, {"type": "text", "text": "Hello."}]}, "Why."),
}  # fmt: skip


@pytest.mark.parametrize("cloud", ANSWERS)
def test_an_answers_reasoning_is_no_text_of_the_assistant(cloud: str) -> None:
    members, reasoning = ANSWERS[cloud]
    message = {"role": "assistant", "content": "Hello.", **members}
    body = {
        "id": "x",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    response = CHAT.read_response(json.dumps(body).encode(), 200)
    assert {s.text for s in response.segments if s.surface is R} == {reasoning}
    assert {s.text for s in response.segments if s.surface is A} == {"Hello."}


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"error": {"code": 402, "message": "No credits", "metadata": {}}, "user_id": "u"}, 402, "402"),
        (
            {"object": "error", "message": "m", "type": "BadRequestError", "param": None, "code": 400},
            400,
            "400",
        ),
        ({"error": "Model too busy", "error_type": "overloaded"}, 503, "overloaded"),
        ({"detail": [{"type": "missing", "loc": ["body"], "msg": "Field required"}]}, 422, "http_422"),
        ({"detail": "Unauthorized"}, 401, "http_401"),
        ({"message": "no Route matched with those values"}, 404, "http_404"),
    ],
    ids=["openrouter", "vllm", "tgi", "mistral-422", "mistral-401", "mistral-404"],
)
def test_an_error_in_a_clouds_own_shape_is_one_and_its_text_is_read(
    body: dict[str, object], status: int, error: str
) -> None:
    response = CHAT.read_response(json.dumps(body).encode(), status)
    assert response.error == error
    assert response.segments

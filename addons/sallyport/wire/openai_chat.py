"""OpenAI chat completions, as OpenAI, Azure and the many compatible clouds speak them.

Unknown members are read as text and passed on: clouds add reasoning, citations, routing and more.
"""

from collections.abc import Callable, Mapping

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Response, Surface, Tool, Usage
from sallyport.wire import answerschema, declared, fields, leaves, openai_common
from sallyport.wire.dialect import Answer, Call, Ending, Stamp, StreamEvent, StreamReader
from sallyport.wire.endings import chat
from sallyport.wire.jsondialect import JsonDialect, dump
from sallyport.wire.jsontext import Json
from sallyport.wire.settings import Settings
from sallyport.wire.shape import FREE, Reading, Shape, by, walk
from sallyport.wire.shapes import (
    BASE64,
    DOCUMENT_SCHEMA,
    MADE,
    MODEL,
    OPAQUE,
    PLAIN,
    RANDOM,
    WORD,
    made,
    plain,
    said,
    text,
    words,
)
from sallyport.wire.streams import OpenChannels, SseReader, deltas

_A = Surface.ASSISTANT
_R = Surface.REASONING
_C = Surface.TOOL_CALL

FINISH = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool",
    "function_call": "tool",
    "content_filter": "filtered",
    "error": "error",
    "insufficient_system_resource": "error",
}


def _calls(names: dict[str, Shape], arguments: Shape, free_text: Shape) -> dict[str, Shape]:
    """Return the members that hold tool calls: the list, and the single call of old."""
    function = Shape(_C, {"name": text(_C), "arguments": arguments})
    custom = Shape(_C, {"name": text(_C), "input": free_text})
    call = {"function": function, "custom": custom, "index": PLAIN, **names}
    return {"tool_calls": Shape(_C, call), "function_call": function}


def _reasoning(leaf: Shape) -> dict[str, Shape]:
    """Return the members in which clouds put reasoning."""
    details = {"text": leaf, "summary": leaf, "data": OPAQUE, "signature": OPAQUE, "index": PLAIN}
    return {
        "reasoning_content": leaf,
        "reasoning": leaf,
        "reasoning_details": Shape(_R, {**details, **words("type format")}),
    }


def _message(surface: Surface) -> Shape:
    source = Shape(_C, leaf=leaves.source)
    own = text(surface)
    return Shape(
        surface,
        {
            "role": WORD,
            "content": openai_common.parts(surface),
            "name": own,
            "refusal": own,
            "audio": Shape(surface, {"id": Shape(surface, leaf=leaves.kept("audio/*"))}),
            "tool_call_id": PLAIN,
            **_reasoning(text(_R)),
            **_calls({"id": PLAIN, "type": WORD}, source, text(_C)),
        },
    )


_ROLES = {
    **dict.fromkeys(("system", "developer"), _message(Surface.SYSTEM)),
    "user": _message(Surface.USER),
    "assistant": _message(_A),
    **dict.fromkeys(("tool", "function"), _message(Surface.TOOL_RESULT)),
}
_TOOL = Shape(
    Surface.TOOL_DEFINITION,
    {"type": WORD, "function": openai_common.FUNCTION, "custom": openai_common.FUNCTION},
)
_FORMAT = Shape(
    Surface.DOCUMENT,
    {
        "type": WORD,
        "json_schema": Shape(
            Surface.DOCUMENT, {"schema": DOCUMENT_SCHEMA, **plain("name description strict")}
        ),
    },
)
REQUEST = Shape(
    Surface.DOCUMENT,
    {
        "model": MODEL,
        "messages": Shape(Surface.USER, choose=by("role", _ROLES, _ROLES["user"])),
        "tools": _TOOL,
        "functions": openai_common.FUNCTION,
        "tool_choice": openai_common.TOOL_CHOICE,
        "function_call": openai_common.TOOL_CHOICE,
        "response_format": _FORMAT,
        "prediction": Shape(
            Surface.DOCUMENT, {"type": WORD, "content": openai_common.parts(Surface.DOCUMENT)}
        ),
        "stream_options": Shape(Surface.DOCUMENT, plain("include_usage include_obfuscation")),
        "audio": Shape(Surface.DOCUMENT, words("voice format")),
        "seed": RANDOM,
        "metadata": FREE[Surface.DOCUMENT],
        "logit_bias": FREE[Surface.DOCUMENT],
        **words("modalities reasoning_effort service_tier verbosity prompt_cache_retention reasoning_format"),
        **plain("stop user safety_identifier prompt_cache_key stream store n temperature top_p top_k"),
        **plain("max_tokens max_completion_tokens frequency_penalty presence_penalty parallel_tool_calls"),
        **plain("logprobs top_logprobs include_reasoning"),
    },
)


def _annotations() -> Shape:
    return Shape(_A, made("type id"), names=False)


_ANSWER_CONTENT = Shape(_A, openai_common.answer_parts(), names=False)
_ANSWER_MESSAGE = Shape(
    _A,
    {
        "role": MADE,
        "content": _ANSWER_CONTENT,
        "audio": Shape(_A, {"id": MADE, "data": BASE64}, names=False),
        "annotations": _annotations(),
        **_reasoning(said(_R)),
        **_calls({"id": MADE, "type": MADE}, Shape(_C, leaf=leaves.source), text(_C)),
    },
    names=False,
)


def _delta() -> Shape:
    flow = Shape(_A, leaf=leaves.flow, names=False)
    thought = Shape(_R, leaf=leaves.flow, names=False)
    thought.fields["type"] = MADE
    part = Shape(_A, leaf=leaves.flow, names=False)
    part.fields |= {"type": MADE, "text": flow, "thinking": thought, "image_url": said(_A)}
    return Shape(
        _A,
        {
            "role": MADE,
            "content": part,
            "refusal": flow,
            "audio": Shape(_A, {"id": MADE, "data": BASE64, "transcript": flow}, names=False),
            "annotations": _annotations(),
            **_reasoning(thought),
            **_calls(
                {"id": MADE, "type": MADE}, Shape(_C, leaf=leaves.source_flow), Shape(_C, leaf=leaves.flow)
            ),
        },
        names=False,
    )


ANSWER = Shape(
    Surface.DOCUMENT,
    {
        "choices": Shape(
            _A,
            {
                "message": _ANSWER_MESSAGE,
                "delta": _delta(),
                "text": text(_A),
                "logprobs": openai_common.LOGPROB,
                **made("index finish_reason native_finish_reason stop_reason content_filter_results"),
            },
            names=False,
        ),
        "error": openai_common.PROBLEM.fields["error"],
        **made("id object created model system_fingerprint service_tier usage prompt_filter_results"),
        **made("provider x_groq time_info"),
    },
    names=False,
)
_FLOWING_TEXT = Shape(_A, leaf=leaves.flow)


def _chunk() -> Shape:
    """Return the shape of a stream chunk: an answer in which choices[].text (old completions) flows."""
    choice = ANSWER.fields["choices"]
    chunk = Shape(_A, {**choice.fields, "text": _FLOWING_TEXT}, names=False)
    return Shape(Surface.DOCUMENT, {**ANSWER.fields, "choices": chunk}, names=False)


CHUNK = _chunk()


_PLACES = {
    "max_output_tokens": "/max_tokens",
    **{name: f"/{name}" for name in ("temperature", "top_p", "n", "seed", "parallel_tool_calls")},
}
_OWN_PLACES = {
    **_PLACES,
    "max_output_tokens": "/max_completion_tokens",
    **{name: f"/{name}" for name in ("store", "service_tier", "reasoning_effort", "verbosity")},
}
"""Compatible clouds know max_tokens, and refuse what OpenAI alone has."""

_OPENAI = frozenset({"openai", "azure_openai"})

_DEEP = {
    ("reasoning", "effort"): "reasoning_effort",
    ("thinking", "type"): "thinking",
    **dict.fromkeys((("thinking", "budget_tokens"), ("reasoning", "max_tokens")), "thinking_budget"),
    **{
        (*google, config, name): normal
        for google in (("google",), ("extra_body", "google"))
        for config in ("thinking_config", "thinkingConfig")
        for name, normal in (
            *(("thinking_budget", "thinking_budget"), ("thinkingBudget", "thinking_budget")),
            *(("thinking_level", "reasoning_effort"), ("thinkingLevel", "reasoning_effort")),
        )
    },
}
"""Anthropic's, OpenRouter's and Gemini's own settings, which their chat completions take as well."""


class OpenAIChat(JsonDialect):
    """POST /chat/completions."""

    name = "openai_chat"
    request = REQUEST
    answer = ANSWER
    problem = openai_common.PROBLEM
    codes = (*JsonDialect.codes, "error_type")
    settings = Settings(deep=_DEEP)
    completions = False
    """Choices of its answers hold a text in place of a message."""

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        fields.require_objects(payload, "messages")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        return openai_common.tool_names(payload.get("tools")) + openai_common.tool_names(
            payload.get("functions")
        )

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        return declared.of_openai(payload)

    def places(self, payload: dict[str, Json], call: Call) -> Mapping[str, str]:
        return _OWN_PLACES if call.provider in _OPENAI else _PLACES

    def limit(self, payload: dict[str, Json]) -> int | None:
        return fields.limit(payload, "max_completion_tokens", "max_tokens")

    def structured(self, payload: dict[str, Json]) -> bool:
        return fields.string(payload, "response_format", "type") in ("json_schema", "json_object")

    def schema(self, payload: dict[str, Json]) -> str | None:
        return answerschema.of_openai_chat(payload)

    def answers(self, payload: dict[str, Json]) -> int:
        return fields.answers(payload, "n")

    def ask_usage(self, body: bytes) -> bytes | None:
        return openai_common.ask_usage(body)

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        return Response(
            status,
            tuple(reading.segments),
            finish_reason=_finish(payload),
            usage=_usage(payload),
            model=fields.string(payload, "model"),
            id=fields.string(payload, "id"),
            error=_error(payload, status),
            made=_spoken(payload, "message"),
        )

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        return SseReader(ChatEvents())

    def ending(self, request: Request, stamp: Stamp, content_type: str = "text/event-stream") -> Ending:
        return chat.ChatEnding(request, stamp, completions=self.completions)

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer:
        return chat.say(text, request, stamp, completions=self.completions)

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        return chat.shortened(body, at, start)

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return openai_common.refusal_body(refusal)

    def stream_error(self, refusal: Refusal) -> bytes:
        return b"data: " + dump(self.error(refusal)) + b"\n\ndata: [DONE]\n\n"


class ChatEvents:
    """Interprets chunks: choices and tool calls go by their index, not by their place."""

    def __init__(self) -> None:
        self._open = OpenChannels()

    def event(self, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        reading = walk(payload, CHUNK)
        found = deltas(reading, _channel(payload))
        self._open.take(found)
        error = _error(payload, 200)
        closes: tuple[str, ...] = ()
        for place, choice in enumerate(fields.objects(payload, "choices")):
            if fields.string(choice, "finish_reason"):
                closes += self._open.close(f"choices/{_index(choice, place)}/")
        return StreamEvent(
            raw,
            found,
            closes=("*",) if error else closes,
            finish_reason=_finish(payload),
            usage=_usage(payload),
            model=fields.string(payload, "model"),
            id=fields.string(payload, "id"),
            error=error,
            payload=payload,
            attachments=tuple(reading.attachments),
            made=_spoken(payload, "delta"),
        )


def _spoken(payload: dict[str, Json], part: str) -> tuple[str, ...]:
    """Return the ids of the sounds of an answer, by which later turns name them."""
    found = (fields.string(choice, part, "audio", "id") for choice in fields.objects(payload, "choices"))
    return tuple(id for id in found if id)


def _index(item: Json, place: int) -> int:
    index = fields.count(item, "index")
    return place if index is None else index


def _channel(payload: dict[str, Json]) -> Callable[[str], str]:
    """Return the names of channels: choices/0/content, choices/0/tool_calls/1/arguments."""
    choices = payload.get("choices")

    def channel(at: str) -> str:
        path = at.split("/")[1:]
        if path[0] != "choices" or len(path) < 3 or type(choices) is not list:
            return at[1:]
        place = int(path[1])
        choice = choices[place]
        name = ["choices", str(_index(choice, place)), *path[2:]]
        if path[2] != "delta" or len(path) < 4:
            return "/".join(name)
        del name[2]
        if name[2] == "tool_calls" and len(path) > 5:
            calls = fields.get(choice, "delta", "tool_calls")
            number = int(path[4]) if type(calls) is list else 0
            call = calls[number] if type(calls) is list else None
            name[3:5] = [str(_index(call, number))]  # drops "function" or "custom"
        elif name[2] == "content" and len(name) > 3:
            name[2:] = ["reasoning" if "thinking" in name else "content"]
        return "/".join(name)

    return channel


def _finish(payload: dict[str, Json]) -> str | None:
    """Return the first choice's reason in normal form; a reason of a cloud's own counts as stop."""
    for choice in fields.objects(payload, "choices"):
        reason = fields.string(choice, "finish_reason")
        if reason:
            return FINISH.get(reason, "stop")
    return "error" if payload.get("error") else None


def _usage(payload: dict[str, Json]) -> Usage | None:
    tier = openai_common.tier(payload)
    return openai_common.usage(payload.get("usage"), tier) or openai_common.usage(
        fields.get(payload, "x_groq", "usage"), tier
    )


def _error(payload: dict[str, Json], status: int) -> str | None:
    if not payload.get("error"):
        return None
    return fields.error_code(payload, status, *OpenAIChat.codes)

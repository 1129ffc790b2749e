"""Bedrock InvokeModel carries the body of the model's own family; which one, the body itself says.

Every shape reads every string of a request, so that a wrong guess costs precision and hides nothing.
Families with a format of another dialect (Claude, Nova, the chat-completion ones) are read by its
shapes; all others by the members the field shares: prompt, inputText, generation, outputText.

Source: AWS Bedrock user guide, "Inference request parameters", by family; not tried against AWS.
"""

from collections.abc import Mapping
from dataclasses import replace

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Response, Surface, Tool, Usage
from sallyport.wire import (
    answerschema,
    anthropic_blocks,
    anthropic_messages,
    bedrock_common,
    bedrock_converse,
    declared,
    fields,
    leaves,
    openai_chat,
)
from sallyport.wire.dialect import Answer, Call, Ending, Stamp, StreamEvent, StreamReader
from sallyport.wire.endings import invoke
from sallyport.wire.framestream import FrameStream
from sallyport.wire.jsondialect import JsonDialect
from sallyport.wire.jsontext import Json
from sallyport.wire.openai_common import tool_names
from sallyport.wire.settings import Settings
from sallyport.wire.shape import FREE, Reading, Shape, by, walk
from sallyport.wire.shapes import FILE_DATA, MADE, MODEL, PLAIN, WORD, made, text
from sallyport.wire.streams import OpenChannels, deltas

_A = Surface.ASSISTANT
_D = Surface.DOCUMENT
_U = Surface.USER

METRICS = "amazon-bedrock-invocationMetrics"
FINISH = {
    "stop": "stop",
    "complete": "stop",
    "finish": "stop",
    "finished": "stop",
    "end_turn": "stop",
    "endoftext": "stop",
    "stop_sequence": "stop",
    "stop_criteria_met": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool",
    "tool_use": "tool",
    "content_filtered": "filtered",
    "content_filter": "filtered",
    "rag_query_when_rag_disabled": "error",
    "error": "error",
    "error_toxic": "filtered",
}
_REASONS = ("stop_reason", "stopReason", "finish_reason", "finishReason", "completionReason")
_LISTS = ("results", "outputs", "generations", "completions", "choices")
_LIMITS = ("max_tokens", "max_completion_tokens", "max_gen_len", "max_tokens_to_sample", "maxTokens")
_CONFIGS = {"textGenerationConfig": ("maxTokenCount",), "inferenceConfig": ("maxTokens", "max_new_tokens")}

_COHERE_ROLES = {"SYSTEM": Surface.SYSTEM, "CHATBOT": _A, "TOOL": Surface.TOOL_RESULT}
_TURN = by(
    "role",
    {name: Shape(s, {"role": WORD, "message": text(s)}) for name, s in _COHERE_ROLES.items()},
    Shape(_U, {"role": WORD, "message": text(_U)}),
)
_PROMPT = Shape(_U, tokens=True)
_OTHER_REQUEST = Shape(
    _D,
    {
        **dict.fromkeys(("prompt", "inputText", "message", "texts", "input", "text", "query"), _PROMPT),
        **dict.fromkeys(("system", "preamble", "system_prompt"), text(Surface.SYSTEM)),
        **dict.fromkeys(
            ("image", "images", "init_image", "mask_image", "inputImage", "maskImage"), FILE_DATA
        ),
        "text_prompts": Shape(_U, {"text": text(_U), "weight": PLAIN}),
        "chat_history": Shape(_U, choose=_TURN),
        "tools": FREE[Surface.TOOL_DEFINITION],
        "tool_results": FREE[Surface.TOOL_RESULT],
        "model": MODEL,
        "input_type": WORD,
    },
)
_CLAUDE_REQUEST = Shape(_D, {**anthropic_blocks.REQUEST.fields, "anthropic_beta": PLAIN})


def _request(members: Mapping[str, Json]) -> Shape:
    if "anthropic_version" in members:
        return _CLAUDE_REQUEST
    if "messages" not in members:
        return _OTHER_REQUEST
    nova = "schemaVersion" in members or "inferenceConfig" in members or "toolConfig" in members
    return bedrock_converse.REQUEST if nova else openai_chat.REQUEST


# Ids, states and counts that the families put beside their texts.
_BESIDE = made(
    f"id generation_id index event_type is_finished model token_id token_count tokenCount {METRICS} "
    f"inputTextTokenCount totalOutputTextTokenCount prompt_token_count generation_token_count "
    f"{' '.join(_REASONS)}"
)
_OTHER_ANSWER = Shape(_A, {**_BESIDE, "logprobs": MADE, "embedding": MADE, "embeddings": MADE}, names=False)
_OTHER_CHUNK = Shape(_A, _BESIDE, leaf=leaves.flow, names=False)
for _shape in (_OTHER_ANSWER, _OTHER_CHUNK):
    _shape.rest = _shape  # the same members stand below, in results[] and outputs[]


_CLAUDE = anthropic_messages.AnthropicMessages()
_NOVA = bedrock_converse.BedrockConverse()
_CHAT = openai_chat.OpenAIChat()


def _speaker(members: Mapping[str, Json]) -> JsonDialect | None:
    """Return the dialect an answer is written in; None if it is a family's own."""
    if members.get("type") == "message":
        return _CLAUDE
    if "output" in members:
        return _NOVA
    return _CHAT if _is_chat(members) else None


def _answer(members: Mapping[str, Json]) -> Shape:
    dialect = _speaker(members)
    return dialect.answer if dialect else _OTHER_ANSWER


def _is_chat(members: Mapping[str, Json]) -> bool:
    """Say whether an answer or a chunk is that of a chat completion; ai21 has choices of its own."""
    found = fields.objects(members.get("choices"))
    return bool(found) and ("message" in found[0] or "delta" in found[0])


class BedrockInvoke(JsonDialect):
    """POST /model/{modelId}/invoke and /invoke-with-response-stream."""

    name = "bedrock_invoke"
    request = Shape(_D, choose=_request)
    answer = Shape(_A, choose=_answer)
    problem = bedrock_common.PROBLEM
    codes = bedrock_common.CODES
    settings = Settings(
        holders=((), *((name,) for name in _CONFIGS)),
        deep={("thinking", "type"): "thinking", ("thinking", "budget_tokens"): "thinking_budget"},
    )

    def read_request(self, body: bytes, call: Call) -> Request:
        # AWS's SDKs send no label where their caller gives none; InvokeModel then takes the body for JSON.
        labelled = call if call.content_type else replace(call, content_type="application/json")
        return super().read_request(body, labelled)

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        if "messages" in payload:
            fields.require_objects(payload, "messages")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        return tool_names(payload.get("tools")) or bedrock_converse.tool_names(payload)

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        if "anthropic_version" in payload:
            return declared.of_anthropic(payload)
        return declared.of_openai(payload) + declared.of_converse(payload)

    def schema(self, payload: dict[str, Json]) -> str | None:
        return (
            answerschema.of_anthropic(payload)
            or answerschema.of_openai_chat(payload)
            or answerschema.of_converse(payload)
        )

    def limit(self, payload: dict[str, Json]) -> int | None:
        found = [fields.limit(payload, *_LIMITS)]
        for name, limits in _CONFIGS.items():
            config = payload.get(name)
            if type(config) is dict:
                found.append(fields.limit(config, *limits))
        return max((limit for limit in found if limit), default=None)

    def answers(self, payload: dict[str, Json]) -> int:
        return fields.answers(payload, "n", "num_generations")

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        dialect = _speaker(payload)
        if dialect:
            return dialect.read_answer(payload, reading, status)
        segments = tuple(reading.segments)
        return Response(status, segments, finish_reason=_finish(payload), usage=_usage(payload))

    def open_stream(self, content_type: str = "application/vnd.amazon.eventstream") -> StreamReader:
        return FrameStream(InvokeEvents())

    def ending(
        self, request: Request, stamp: Stamp, content_type: str = "application/vnd.amazon.eventstream"
    ) -> Ending:
        return invoke.InvokeEnding(request, stamp)

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer:
        return invoke.say(text, request, stamp)

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        return invoke.shortened(body, at, start)

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        return bedrock_common.refuse(refusal)

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return bedrock_common.error(refusal)

    def stream_error(self, refusal: Refusal) -> bytes:
        return bedrock_common.stream_error(refusal)


class InvokeEvents:
    """Interprets the model's own events, unwrapped from their chunks."""

    def __init__(self) -> None:
        self._claude = anthropic_messages.AnthropicEvents()
        self._chat = openai_chat.ChatEvents()
        self._nova = bedrock_converse.ConverseEvents()
        self._open = OpenChannels()

    def event(self, kind: str, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        type_ = fields.string(payload, "type") or ""
        if type_.startswith(("message_", "content_block_")) or type_ in ("ping", "error"):
            return self._claude.event(payload, raw)
        if _is_chat(payload):
            event = self._chat.event(payload, raw)
            return event if event.usage else replace(event, usage=_usage(payload))
        member = next(iter(payload), "")
        inner = payload.get(member)
        if payload.keys() <= {member, METRICS} and type(inner) is dict and member in bedrock_converse.EVENTS:
            event = self._nova.event(member, inner, raw)
            moved = tuple(replace(d, at=f"/{member}{d.at}") for d in event.deltas)
            return replace(event, deltas=moved, payload=payload)
        return self._other(payload, raw)

    def _other(self, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        reading = walk(payload, _OTHER_CHUNK)
        found = deltas(reading, lambda at: at[1:])
        self._open.take(found)
        finish = _finish(payload)
        last = METRICS in payload
        return StreamEvent(
            raw,
            found,
            closes=self._open.close("") if finish or last else (),
            finish_reason=finish,
            usage=_usage(payload),
            terminal=last,
            payload=payload,
            attachments=tuple(reading.attachments),
        )


def _finish(payload: dict[str, Json]) -> str | None:
    """Return the first reason an answer gives in normal form; one not known yet counts as stop."""
    for holder in (payload, *(item for name in _LISTS for item in fields.objects(payload, name))):
        for name in _REASONS:
            reason = fields.string(holder, name)
            if reason:
                return FINISH.get(reason.lower(), "stop")
    return None


def _usage(payload: dict[str, Json]) -> Usage | None:
    """Return the counts in whichever of the families' spellings they come."""
    metrics = payload.get(METRICS)
    if type(metrics) is dict and fields.count(metrics, "inputTokenCount") is not None:
        read = fields.count(metrics, "cacheReadInputTokenCount")
        written = fields.count(metrics, "cacheWriteInputTokenCount")
        return Usage(
            input=fields.total(fields.count(metrics, "inputTokenCount"), read, written),
            cache_read=read,
            cache_write=written,
            output=fields.count(metrics, "outputTokenCount"),
        )
    pairs = (
        (fields.count(payload, "prompt_token_count"), fields.count(payload, "generation_token_count")),
        (fields.count(payload, "inputTextTokenCount"), _titan_output(payload)),
    )
    return next((Usage(input=i, output=o) for i, o in pairs if (i, o) != (None, None)), None)


def _titan_output(payload: dict[str, Json]) -> int | None:
    counted = fields.count(payload, "totalOutputTextTokenCount")
    if counted is not None:
        return counted
    return fields.total(*(fields.count(item, "tokenCount") for item in fields.objects(payload, "results")))

"""Bedrock Converse and ConverseStream: one body for all models, streams in AWS event-stream frames.

Source: AWS service model bedrock-runtime 2023-09-30 (botocore 1.44.5). Model and streaming stand in the
path. A block is a union: an object with one member, whose name says what it is.
"""

from collections.abc import Mapping

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Response, Surface, Tool, Usage
from sallyport.wire import answerschema, bedrock_common, declared, fields, leaves
from sallyport.wire.dialect import Answer, Call, Ending, Stamp, StreamEvent, StreamReader
from sallyport.wire.endings import converse
from sallyport.wire.errors import WireError
from sallyport.wire.framestream import FrameStream
from sallyport.wire.jsondialect import JsonDialect
from sallyport.wire.jsontext import Json
from sallyport.wire.settings import Settings
from sallyport.wire.shape import FREE, Leaf, Reading, Shape, by, walk
from sallyport.wire.shapes import (
    BASE64,
    CACHE_CONTROL,
    MADE,
    OPAQUE,
    PLAIN,
    TOOL_SCHEMA,
    WORD,
    made,
    plain,
    said,
    text,
)
from sallyport.wire.streams import JoinedBlocks, OpenChannels, deltas

_A = Surface.ASSISTANT
_R = Surface.REASONING
_C = Surface.TOOL_CALL
_D = Surface.DOCUMENT
_T = Surface.TOOL_DEFINITION

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
EVENTS = frozenset(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]
)
_MEDIA = {
    "image": {name: f"image/{name}" for name in ("png", "jpeg", "gif", "webp")},
    "document": {
        "pdf": "application/pdf",
        "csv": "text/csv",
        "html": "text/html",
        "txt": "text/plain",
        "md": "text/markdown",
        "doc": "application/msword",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls": "application/vnd.ms-excel",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    },
    "video": {
        name: f"video/{name}"
        for name in ("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp")
    },
    "audio": {
        name: f"audio/{name}" for name in ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "webm")
    },
}


def _inline(media_type: str) -> Leaf:
    """Return a leaf for base64 whose media type stands one level above it."""

    def leaf(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
        leaves.base64(reading, at, text, {"media_type": media_type}, surface)

    return leaf


def _media(kind: str, surface: Surface) -> Shape:
    """Return the shape of an image, document, video or sound; its format names the media type."""

    def shape(media_type: str) -> Shape:
        place = Shape(_D, {"uri": Shape(_D, leaf=leaves.url(media_type)), "bucketOwner": PLAIN})
        source = {"bytes": Shape(_D, leaf=_inline(media_type)), "s3Location": place}
        source |= {"text": text(_D), "content": Shape(_D, {"text": text(_D)})}
        own = {
            "format": WORD,
            "name": text(_D),
            "context": text(_D),
            "source": Shape(_D, source),
            "error": text(_D),
        }
        return Shape(surface, {**own, "citations": Shape(_D, plain("enabled"))})

    known = {name: shape(media_type) for name, media_type in _MEDIA[kind].items()}
    other = shape(leaves.OCTETS)

    def choose(members: Mapping[str, Json]) -> Shape:
        name = members.get("format")
        return known.get(name, other) if type(name) is str else other

    return Shape(surface, choose=choose)


_CACHE_POINT = CACHE_CONTROL


def _block(surface: Surface) -> Shape:
    """Return the shape of a content block that a caller of this role sends."""
    own = text(surface)
    media = {kind: _media(kind, surface) for kind in _MEDIA}
    thought = Shape(_R, {"text": text(_R), "signature": OPAQUE})
    found = Shape(_D, {"text": text(_D), "title": text(_D), "source": text(_D)})
    found.fields |= {"content": Shape(_D, {"text": text(_D)}), "citations": Shape(_D, plain("enabled"))}
    told = {"text": text(Surface.TOOL_RESULT), "json": FREE[Surface.TOOL_RESULT], "searchResult": found}
    result = Shape(Surface.TOOL_RESULT, {**media, **told})
    return Shape(
        surface,
        {
            **media,
            "text": own,
            "toolUse": Shape(_C, {"toolUseId": PLAIN, "name": text(_C), "type": WORD, "input": FREE[_C]}),
            "toolResult": Shape(
                Surface.TOOL_RESULT, {"toolUseId": PLAIN, "content": result, "status": WORD, "type": WORD}
            ),
            "reasoningContent": Shape(_R, {"reasoningText": thought, "redactedContent": OPAQUE}),
            "guardContent": Shape(
                surface,
                {"text": Shape(surface, {"text": own, "qualifiers": WORD}), "image": media["image"]},
            ),
            "citationsContent": Shape(
                surface, {"content": Shape(surface, {"text": own}), "citations": FREE[_D]}
            ),
            "searchResult": found,
            "cachePoint": _CACHE_POINT,
        },
    )


def _message(surface: Surface) -> Shape:
    return Shape(surface, {"role": WORD, "content": _block(surface)})


_TOOL = Shape(
    _T,
    {
        "name": text(_T),
        "description": text(_T),
        "inputSchema": Shape(_T, {"json": TOOL_SCHEMA}),
        "strict": PLAIN,
    },
)
_ROLES = {
    "system": _message(Surface.SYSTEM),
    "user": _message(Surface.USER),
    "assistant": _message(_A),
}
_CONVERSE = {
    "messages": Shape(Surface.USER, choose=by("role", _ROLES, _ROLES["user"])),
    "system": _block(Surface.SYSTEM),
    "toolConfig": Shape(
        _T,
        {
            "tools": Shape(_T, {"toolSpec": _TOOL, "systemTool": _TOOL, "cachePoint": _CACHE_POINT}),
            "toolChoice": Shape(_T, {"auto": text(_T), "any": text(_T), "tool": _TOOL}),
        },
    ),
    "inferenceConfig": Shape(_D, plain("maxTokens temperature topP stopSequences")),
    "guardrailConfig": Shape(_D, plain("guardrailIdentifier guardrailVersion trace streamProcessingMode")),
    "performanceConfig": Shape(_D, {"latency": WORD}),
    "serviceTier": Shape(_D, {"type": WORD}),
    "promptVariables": FREE[Surface.USER],
    **dict.fromkeys(("additionalModelRequestFields", "requestMetadata", "outputConfig"), FREE[_D]),
    "additionalModelResponseFieldPaths": PLAIN,
}
# CountTokens wraps the body it counts.
REQUEST = Shape(_D, {**_CONVERSE, "input": Shape(_D, {"converse": Shape(_D, _CONVERSE)})})

_ANSWER_BLOCK = Shape(
    _A,
    {
        "toolUse": Shape(
            _C, {"toolUseId": MADE, "type": MADE, "name": text(_C), "input": FREE[_C]}, names=False
        ),
        "toolResult": Shape(Surface.TOOL_RESULT, made("toolUseId status type"), names=False),
        "reasoningContent": Shape(
            _R,
            {"reasoningText": Shape(_R, {"signature": MADE}, names=False), "redactedContent": MADE},
            names=False,
        ),
        "image": Shape(
            _A, {"format": MADE, "source": Shape(_A, {"bytes": BASE64}, names=False)}, names=False
        ),
    },
    names=False,
)
# The trace quotes what a guardrail saw: text, not just what the provider made.
_ENDING = {"trace": said(_A), **made("stopReason usage metrics performanceConfig serviceTier p")}
ANSWER = Shape(
    _A,
    {
        **_ENDING,
        "output": Shape(
            _A,
            {"message": Shape(_A, {"role": MADE, "content": _ANSWER_BLOCK}, names=False)},
            names=False,
        ),
    },
    names=False,
)


def _flow(surface: Surface) -> Shape:
    return Shape(surface, leaf=leaves.flow)


_DELTA = Shape(
    _A,
    {
        **_ANSWER_BLOCK.fields,
        "text": _flow(_A),
        "toolUse": Shape(_C, {"input": Shape(_C, leaf=leaves.source_flow)}, names=False),
        "toolResult": Shape(Surface.TOOL_RESULT, {"text": _flow(Surface.TOOL_RESULT)}, names=False),
        "reasoningContent": Shape(_R, {"text": _flow(_R), **made("signature redactedContent")}, names=False),
    },
    names=False,
)
CHUNK = Shape(
    _A,
    {**_ENDING, **made("role contentBlockIndex"), "start": _ANSWER_BLOCK, "delta": _DELTA},
    names=False,
)


_COUNTED = ("input", "converse")
_WRAPPERS: tuple[tuple[str, ...], ...] = ((), _COUNTED)
_DEEP = {
    ("serviceTier", "type"): "service_tier",
    ("performanceConfig", "latency"): "latency",
    ("outputConfig", "effort"): "reasoning_effort",
    ("additionalModelRequestFields", "thinking", "type"): "thinking",
    ("additionalModelRequestFields", "thinking", "budget_tokens"): "thinking_budget",
}
_SETTINGS = Settings(
    holders=tuple(
        (*wrapper, *holder)
        for wrapper in _WRAPPERS
        for holder in ((), ("inferenceConfig",), ("additionalModelRequestFields",))
    ),
    deep={(*wrapper, *path): name for wrapper in _WRAPPERS for path, name in _DEEP.items()},
)
_PLACES = {
    "max_output_tokens": "/inferenceConfig/maxTokens",
    "temperature": "/inferenceConfig/temperature",
    "top_p": "/inferenceConfig/topP",
    "service_tier": "/serviceTier/type",
}


class BedrockConverse(JsonDialect):
    """POST /model/{modelId}/converse and /converse-stream, and /count-tokens for such a body."""

    name = "bedrock_converse"
    request = REQUEST
    answer = ANSWER
    problem = bedrock_common.PROBLEM
    codes = bedrock_common.CODES
    settings = _SETTINGS

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        # A prompt resource in the path brings its own messages, so they may be absent.
        if "messages" in payload:
            fields.require_objects(payload, "messages")
        if fields.get(payload, "input", "invokeModel") is not None:
            raise WireError("bedrock.encoded_body", "/input/invokeModel")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        return tool_names(payload)

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        return declared.of_converse(fields.get(payload, *_COUNTED) or payload)

    def schema(self, payload: dict[str, Json]) -> str | None:
        return answerschema.of_converse(payload)

    def places(self, payload: dict[str, Json], call: Call) -> Mapping[str, str]:
        return _PLACES

    def limit(self, payload: dict[str, Json]) -> int | None:
        configs = (payload.get("inferenceConfig"), payload.get("additionalModelRequestFields"))
        limits = (fields.limit(c, "maxTokens", "max_tokens") for c in configs if type(c) is dict)
        return max((limit for limit in limits if limit), default=None)

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        return Response(
            status,
            tuple(reading.segments),
            finish_reason=finish(payload),
            usage=usage(payload),
        )

    def open_stream(self, content_type: str = "application/vnd.amazon.eventstream") -> StreamReader:
        return FrameStream(ConverseEvents())

    def ending(
        self, request: Request, stamp: Stamp, content_type: str = "application/vnd.amazon.eventstream"
    ) -> Ending:
        return converse.ConverseEnding()

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer:
        return converse.say(text, request, stamp)

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        return converse.shortened(body, at, start)

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        return bedrock_common.refuse(refusal)

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return bedrock_common.error(refusal)

    def stream_error(self, refusal: Refusal) -> bytes:
        return bedrock_common.stream_error(refusal)


class ConverseEvents:
    """Interprets frames by what is in them; metadata is the last one. Blocks of text between two calls are one
    channel.
    """

    def __init__(self) -> None:
        self._open = OpenChannels()
        self._joined = JoinedBlocks(self._open)

    def event(self, kind: str, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        index = fields.count(payload, "contentBlockIndex") or 0
        before: tuple[str, ...] = ()
        delta = payload.get("delta")
        if type(delta) is dict and not delta.keys() & {"citation", "reasoningContent"}:
            if delta.get("text"):
                self._joined.text(index)
            before = self._joined.begin(index, is_text="text" in delta)
        elif kind == "contentBlockStart":
            before = self._joined.over()
        block = self._joined.channel(index) + "/"
        reading = walk(payload, CHUNK)
        found = deltas(reading, lambda at: block + _CHANNELS.get(_place(at), at[1:]))
        found = self._joined.placed(found, "/text")
        self._open.take(found)
        stopped = {"contentBlockStop": block, "messageStop": ""}.get(kind)
        if kind == "contentBlockStop" and self._joined.goes_on(index):
            stopped = None
        return StreamEvent(
            raw,
            found,
            closes=(*before, *(() if stopped is None else self._open.close(stopped))),
            finish_reason=finish(payload),
            usage=usage(payload),
            terminal=kind == "metadata",
            payload={kind: payload},
            attachments=tuple(reading.attachments),
        )


_CHANNELS = {
    "/delta/text": "text",
    "/delta/toolUse/input": "input",
    "/delta/reasoningContent/text": "reasoning",
    "/delta/toolResult/text": "result",
}


def tool_names(payload: dict[str, Json]) -> tuple[str, ...]:
    """Return the names of the tools a body declares."""
    counted = fields.get(payload, "input", "converse")
    declared = fields.objects(counted or payload, "toolConfig", "tools")
    names = (fields.string(t, "toolSpec", "name") or fields.string(t, "systemTool", "name") for t in declared)
    return tuple(name for name in names if name)


def _place(at: str) -> str:
    """Return a pointer without the places in lists: /delta/toolResult/0/text is one channel."""
    return "/".join(part for part in at.split("/") if not part.isdigit())


def finish(payload: dict[str, Json]) -> str | None:
    """Return stopReason in normal form; a reason not known yet counts as stop."""
    reason = fields.string(payload, "stopReason")
    return FINISH.get(reason, "stop") if reason else None


def usage(payload: dict[str, Json]) -> Usage | None:
    """Normalise token counts: inputTokens leaves out what the cache read and wrote.

    InvokeModel with a Nova model spells the counts of the cache differently.
    """
    counts = payload.get("usage")
    if type(counts) is not dict:
        return None
    read, written = (
        fields.total(fields.count(counts, f"{name}s"), fields.count(counts, f"{name}Count"))
        for name in ("cacheReadInputToken", "cacheWriteInputToken")
    )
    by_ttl = fields.objects(counts, "cacheDetails")
    hour = (fields.count(d, "inputTokens") if d.get("ttl") == "1h" else 0 for d in by_ttl)
    tier = fields.string(payload, "serviceTier", "type")
    return Usage(
        input=fields.total(fields.count(counts, "inputTokens"), read, written),
        cache_read=read,
        cache_write=written,
        output=fields.count(counts, "outputTokens"),
        cache_write_1h=fields.total(*hour),
        tier=tier if tier in ("flex", "priority", "default") else "",
    )

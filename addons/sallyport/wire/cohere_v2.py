"""Cohere v2: chat with documents and a tool plan, embed, rerank; streams in named server-sent events.

Source: Cohere API reference v2 and the cohere 7.3.1 SDK. The v1 request members are read too; the
v1 stream is not.
"""

from collections.abc import Mapping
from dataclasses import replace

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Response, Surface, Tool, Usage
from sallyport.wire import answerschema, declared, fields, leaves, openai_common
from sallyport.wire.dialect import Answer, Call, Ending, Stamp, StreamEvent, StreamReader
from sallyport.wire.endings import cohere
from sallyport.wire.errors import WireError
from sallyport.wire.jsondialect import JsonDialect, dump, headers, message
from sallyport.wire.jsontext import Json
from sallyport.wire.settings import Settings
from sallyport.wire.shape import FREE, Reading, Shape, by, walk
from sallyport.wire.shapes import (
    DOCUMENT_SCHEMA,
    FILE_DATA,
    MADE,
    MODEL,
    PLAIN,
    TOOL_SCHEMA,
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
_D = Surface.DOCUMENT
_T = Surface.TOOL_DEFINITION
_RESULT = Surface.TOOL_RESULT

FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool",
    "ERROR": "error",
    "ERROR_TOXIC": "filtered",
    "TIMEOUT": "error",
}
# The SDK retries these whatever the headers say: such a refusal goes out as 403.
_RETRIED = (408, 409, 429)


def _message(surface: Surface) -> Shape:
    own = text(surface)
    quoted = FREE[_RESULT if surface is _RESULT else _D]
    url = Shape(surface, leaf=leaves.url("image/*"))
    part = Shape(surface, {"type": WORD, "text": own, "thinking": text(_R), "document": quoted})
    part.fields["image_url"] = Shape(surface, {"url": url, "detail": WORD}, leaf=leaves.url("image/*"))
    function = Shape(_C, {"name": text(_C), "arguments": Shape(_C, leaf=leaves.source)})
    return Shape(
        surface,
        {
            "role": WORD,
            "content": part,
            "message": own,
            "tool_plan": text(_R),
            "tool_calls": Shape(_C, {"id": PLAIN, "type": WORD, "function": function}),
            "tool_call_id": PLAIN,
            "citations": FREE[surface],
        },
    )


_SURFACES = {
    "system": Surface.SYSTEM,
    "developer": Surface.SYSTEM,
    "user": Surface.USER,
    "assistant": _A,
    "chatbot": _A,
    "tool": _RESULT,
}
_ROLES = {spelled: _message(s) for role, s in _SURFACES.items() for spelled in (role, role.upper())}
_TURN = Shape(Surface.USER, choose=by("role", _ROLES, _ROLES["user"]))
_FUNCTION = Shape(_T, {"name": text(_T), "description": text(_T), "parameters": TOOL_SCHEMA})
_FORMAT = Shape(_D, {"type": WORD, "json_schema": DOCUMENT_SCHEMA, "schema": DOCUMENT_SCHEMA})
REQUEST = Shape(
    _D,
    {
        "model": MODEL,
        "messages": _TURN,
        "chat_history": _TURN,
        "preamble": text(Surface.SYSTEM),
        **dict.fromkeys(("message", "prompt", "query", "texts"), text(Surface.USER)),
        "inputs": _ROLES["user"],
        "images": FILE_DATA,
        "documents": FREE[_D],
        "tool_results": FREE[_RESULT],
        "tools": Shape(
            _T,
            {
                "type": WORD,
                "function": _FUNCTION,
                "name": text(_T),
                "description": text(_T),
                "parameter_definitions": TOOL_SCHEMA,
            },
        ),
        "response_format": _FORMAT,
        "thinking": Shape(_D, {"type": WORD, "token_budget": PLAIN}),
        "citation_options": Shape(_D, {"mode": WORD}),
        **words("safety_mode tool_choice input_type embedding_types truncate"),
        **plain("stop_sequences stream k p seed temperature max_tokens frequency_penalty presence_penalty"),
        **plain("logprobs strict_tools top_n max_tokens_per_doc output_dimension return_documents"),
    },
)

_SOURCE = Shape(
    _D, {"tool_output": said(_RESULT), "document": said(_D), "type": MADE, "id": MADE}, names=False
)
_CITATION = Shape(_A, {"sources": _SOURCE, **made("type content_index start end")}, names=False)
_LOGPROBS = Shape(_A, made("token_ids"), names=False)


def _said(flowing: bool) -> Shape:
    """Return the shape of an answer's message, or of the pieces of it that a stream brings."""
    own = Shape(_A, leaf=leaves.flow) if flowing else text(_A)
    thought = Shape(_R, leaf=leaves.flow) if flowing else text(_R)
    arguments = Shape(_C, leaf=leaves.source_flow if flowing else leaves.source)
    function = Shape(_C, {"name": text(_C), "arguments": arguments}, names=False)
    return Shape(
        _A,
        {
            "role": MADE,
            "content": Shape(_A, {"type": MADE, "text": own, "thinking": thought}, names=False),
            "tool_plan": thought,
            "tool_calls": Shape(_C, {"id": MADE, "type": MADE, "function": function}, names=False),
            "citations": _CITATION,
        },
        names=False,
    )


_COUNTS = made("id type finish_reason usage meta generation_id response_id index response_type api_version")
ANSWER = Shape(
    _A,
    {**_COUNTS, "message": _said(False), "logprobs": _LOGPROBS, "citations": _CITATION, "embeddings": MADE},
    names=False,
)
_DELTA = Shape(_A, {**_COUNTS, "message": _said(True), "logprobs": _LOGPROBS}, names=False)
CHUNK = Shape(_A, {**_COUNTS, "delta": _DELTA, "logprobs": _LOGPROBS}, names=False)
PROBLEM = Shape(_D, made("id"), names=False)


_SETTINGS = Settings(
    deep={("thinking", "type"): "thinking", ("thinking", "token_budget"): "thinking_budget"},
    aliases={"p": "top_p", "k": "top_k"},
)
_PLACES = {
    "max_output_tokens": "/max_tokens",
    "top_p": "/p",
    "top_k": "/k",
    **{name: f"/{name}" for name in ("temperature", "seed", "safety_mode")},
}


class CohereV2(JsonDialect):
    """POST /v2/chat, /v2/embed, /v2/rerank."""

    name = "cohere_v2"
    request = REQUEST
    answer = ANSWER
    problem = PROBLEM
    codes = ("code", "type")
    settings = _SETTINGS

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        if "messages" in payload:
            fields.require_objects(payload, "messages")
        elif operation is Operation.CHAT and type(payload.get("message")) is not str:
            raise WireError("json.type", "/messages")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        return openai_common.tool_names(payload.get("tools"))

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        return declared.of_openai(payload)

    def schema(self, payload: dict[str, Json]) -> str | None:
        return answerschema.of_cohere(payload)

    def places(self, payload: dict[str, Json], call: Call) -> Mapping[str, str]:
        return _PLACES

    def limit(self, payload: dict[str, Json]) -> int | None:
        return fields.limit(payload, "max_tokens")

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        reason = fields.string(payload, "finish_reason")
        return Response(
            status,
            tuple(reading.segments),
            finish_reason=_finish(reason),
            usage=_usage(payload),
            id=fields.string(payload, "id"),
            error=_error(reason),
        )

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        return SseReader(CohereEvents())

    def ending(self, request: Request, stamp: Stamp, content_type: str = "text/event-stream") -> Ending:
        return cohere.CohereEnding(stamp)

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer:
        return cohere.say(text, request, stamp)

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        return cohere.shortened(body, at, start)

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        retried = refusal.status in _RETRIED or refusal.status >= 500
        status = 403 if retried and not refusal.failed else refusal.status
        return Answer(status, headers(replace(refusal, retry_after_s=None)), dump(self.error(refusal)))

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return {"id": refusal.decision_id, "message": message(refusal)}

    def stream_error(self, refusal: Refusal) -> bytes:
        """End the message as an error: the SDK has no error event, its callers read finish_reason."""
        delta: dict[str, Json] = {"error": message(refusal), "finish_reason": "ERROR"}
        return b"event: message-end\ndata: " + dump({"type": "message-end", "delta": delta}) + b"\n\n"


_TEXT = "content/text"


class CohereEvents:
    """Interprets events; channels are content/text, content/<index>/..., tool_calls/<index>/..., tool_plan.

    The texts of all contents are one channel: clients show them joined, as those of a whole answer, in which calls lie
    elsewhere. They put a text where its content stands, so that one which goes on behind a later content stands
    elsewhere than it was read, perhaps in the middle of a link: event() raises WireError stream.order.
    """

    def __init__(self) -> None:
        self._open = OpenChannels()
        self._latest = 0

    def event(self, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        kind = fields.string(payload, "type") or ""
        index = fields.count(payload, "index") or 0

        def channel(at: str) -> str:
            path = at.removeprefix("/delta/message/").split("/")
            if path[0] == "content" and path[-1] == "text":
                return _TEXT
            if path[0] in ("content", "tool_calls"):
                return f"{path[0]}/{index}/{path[-1]}"
            return "/".join(path).lstrip("/")

        found = deltas(walk(payload, CHUNK), channel)
        if any(delta.channel == _TEXT and delta.text and not delta.whole for delta in found):
            if index < self._latest:
                raise WireError("stream.order")
            self._latest = index
        self._open.take(found)
        delta = payload.get("delta")
        reason = fields.string(delta, "finish_reason")
        return StreamEvent(
            raw,
            found,
            closes=self._closes(kind, index),
            finish_reason=_finish(reason),
            usage=_usage(delta),
            id=fields.string(payload, "id"),
            error=_error(reason),
            terminal=kind == "message-end",
            payload=payload,
        )

    def _closes(self, kind: str, index: int) -> tuple[str, ...]:
        match kind:
            case "message-end":
                return ("*",)
            case "content-end":
                return self._open.close(f"content/{index}/")
            case "tool-call-end":
                return self._open.close(f"tool_calls/{index}/")
            case "content-start" | "tool-call-start":
                return self._open.close("tool_plan")
        return ()


def _finish(reason: str | None) -> str | None:
    return FINISH.get(reason, "stop") if reason else None


def _error(reason: str | None) -> str | None:
    return reason if reason is not None and _finish(reason) == "error" else None


def _usage(payload: Json) -> Usage | None:
    """Return the tokens that were really used; embed and rerank only say what is billed."""
    counts = fields.get(payload, "usage", "tokens") or fields.get(payload, "meta", "tokens")
    counts = counts or fields.get(payload, "meta", "billed_units")
    found = Usage(
        input=fields.count(counts, "input_tokens"),
        cache_read=fields.count(payload, "usage", "cached_tokens"),
        output=fields.count(counts, "output_tokens"),
    )
    return None if found == Usage() else found

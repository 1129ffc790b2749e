"""Ollama's native API: chat, generate, embed; streams are JSON lines, and streaming is the default.

Source: ollama docs/api.md and the ollama 0.6.3 client, read 2026-11.
"""

from collections.abc import Mapping
from dataclasses import replace

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Response, Surface, Tool, Usage
from sallyport.wire import answerschema, declared, fields, leaves, openai_common
from sallyport.wire.dialect import Answer, Call, Ending, Stamp, StreamEvent, StreamReader
from sallyport.wire.endings import ollama
from sallyport.wire.errors import WireError
from sallyport.wire.jsondialect import JsonDialect, dump, message
from sallyport.wire.jsontext import Json, parse_object
from sallyport.wire.ndjson import LineReader
from sallyport.wire.settings import Settings
from sallyport.wire.shape import FREE, Reading, Shape, by, walk
from sallyport.wire.shapes import BASE64, DOCUMENT_SCHEMA, MADE, MODEL, PLAIN, WORD, made, plain, text
from sallyport.wire.streams import OpenChannels, deltas

_A = Surface.ASSISTANT
_R = Surface.REASONING
_C = Surface.TOOL_CALL
_D = Surface.DOCUMENT
_U = Surface.USER

FINISH = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop", "content_filter": "filtered"}
_STREAMING = (Operation.CHAT, Operation.COMPLETION)


def _message(surface: Surface) -> Shape:
    function = Shape(_C, {"name": text(_C), "arguments": FREE[_C], "index": PLAIN, "description": text(_C)})
    return Shape(
        surface,
        {
            "role": WORD,
            "content": text(surface),
            "thinking": text(_R),
            "images": BASE64,
            "tool_calls": Shape(_C, {"id": PLAIN, "type": WORD, "function": function}),
            **dict.fromkeys(("tool_name", "name", "tool_call_id"), text(surface)),
        },
    )


_ROLES = {
    "system": _message(Surface.SYSTEM),
    "user": _message(_U),
    "assistant": _message(_A),
    "tool": _message(Surface.TOOL_RESULT),
}
_FORMAT = Shape(_D, DOCUMENT_SCHEMA.fields, leaf=leaves.word)
REQUEST = Shape(
    _D,
    {
        "model": MODEL,
        "messages": Shape(_U, choose=by("role", _ROLES, _ROLES["user"])),
        "tools": Shape(Surface.TOOL_DEFINITION, {"type": WORD, "function": openai_common.FUNCTION}),
        "format": _FORMAT,
        "system": text(Surface.SYSTEM),
        "template": text(Surface.SYSTEM),
        **dict.fromkeys(("prompt", "suffix", "input"), text(_U)),
        "images": BASE64,
        "context": Shape(_U, tokens=True),
        "options": Shape(
            _D,
            {
                **plain("num_predict num_ctx temperature stop seed top_k top_p min_p repeat_penalty"),
                **plain("repeat_last_n presence_penalty frequency_penalty num_gpu num_thread num_keep"),
            },
        ),
        "think": WORD,
        **plain("stream keep_alive raw truncate dimensions logprobs top_logprobs shift"),
    },
)

_MADE = made("model created_at done_reason remote_model remote_host role id index")


def _said(own: Shape, thought: Shape) -> Shape:
    """Return the shape of an answer or of one of its lines: they differ in whether text flows."""
    function = Shape(_C, {"name": text(_C), "index": MADE, "arguments": FREE[_C]}, names=False)
    calls = Shape(_C, {"id": MADE, "type": MADE, "function": function}, names=False)
    inner = {"content": own, "thinking": thought, "tool_calls": calls, "images": BASE64}
    logprobs = Shape(_A, made("bytes logprob"), names=False)
    return Shape(
        _A,
        {
            **_MADE,
            "message": Shape(_A, {**_MADE, **inner}, names=False),
            "response": own,
            "thinking": thought,
            "tool_calls": calls,
            "logprobs": logprobs,
            "error": text(_D),
        },
        names=False,
    )


ANSWER = _said(text(_A), text(_R))
LINE = _said(Shape(_A, leaf=leaves.flow), Shape(_R, leaf=leaves.flow))
PROBLEM = Shape(_D, {}, names=False)


_PLACES = {
    "max_output_tokens": "/options/num_predict",
    **{name: f"/options/{name}" for name in ("temperature", "top_p", "top_k", "seed")},
}


class OllamaChat(JsonDialect):
    """POST /api/chat, /api/generate, /api/embed, /api/embeddings."""

    name = "ollama_chat"
    request = REQUEST
    answer = ANSWER
    problem = PROBLEM
    codes = ("code", "type")
    settings = Settings(holders=((), ("options",)))

    def read_request(self, body: bytes, call: Call) -> Request:
        request = super().read_request(body, call)
        if request.stream or call.stream is not None or call.operation not in _STREAMING:
            return request
        # Absent and null both mean that the answer is streamed.
        return replace(request, stream=parse_object(body).get("stream") is None)

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        if "messages" in payload or operation is Operation.CHAT:
            fields.require_objects(payload, "messages")
        if type(payload.get("prompt") or "") is not str:
            raise WireError("json.type", "/prompt")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        return openai_common.tool_names(payload.get("tools"))

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        return declared.of_openai(payload)

    def schema(self, payload: dict[str, Json]) -> str | None:
        return answerschema.of_ollama(payload)

    def places(self, payload: dict[str, Json], call: Call) -> Mapping[str, str]:
        return _PLACES

    def limit(self, payload: dict[str, Json]) -> int | None:
        """Return num_predict; -1 and -2 mean no limit."""
        return fields.count(payload, "options", "num_predict")

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        return Response(
            status,
            tuple(reading.segments),
            finish_reason=_finish(payload, _calls(payload)),
            usage=_usage(payload),
            model=fields.string(payload, "model"),
            error=_error(payload),
        )

    def open_stream(self, content_type: str = "application/x-ndjson") -> StreamReader:
        return LineReader(OllamaLines())

    def ending(self, request: Request, stamp: Stamp, content_type: str = "application/x-ndjson") -> Ending:
        return ollama.OllamaEnding(request, stamp)

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer:
        return ollama.say(text, request, stamp)

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        return ollama.shortened(body, at, start)

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return {"error": message(refusal)}

    def stream_error(self, refusal: Refusal) -> bytes:
        return dump(self.error(refusal)) + b"\n"


class OllamaLines:
    """Interprets lines; the channels are content, thinking and response."""

    def __init__(self) -> None:
        self._open = OpenChannels()
        self._called = False

    def event(self, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        reading = walk(payload, LINE)
        found = deltas(reading, lambda at: at[1:].removeprefix("message/"))
        self._open.take(found)
        self._called = self._called or _calls(payload)
        error = _error(payload)
        done = payload.get("done") is True
        closes: tuple[str, ...] = ()
        if done or error:
            closes = ("*",)
        elif any(d.channel in ("content", "response") for d in found):
            closes = self._open.close("thinking")
        return StreamEvent(
            raw,
            found,
            closes,
            finish_reason=_finish(payload, self._called),
            usage=_usage(payload),
            model=fields.string(payload, "model"),
            error=error,
            terminal=done or error is not None,
            payload=payload,
            attachments=tuple(reading.attachments),
        )


def _calls(payload: dict[str, Json]) -> bool:
    return bool(fields.objects(payload, "message", "tool_calls") or fields.objects(payload, "tool_calls"))


def _finish(payload: dict[str, Json], called: bool) -> str | None:
    """Normalise done_reason; Ollama says "stop" after a tool call too."""
    if payload.get("error"):
        return "error"
    reason = fields.string(payload, "done_reason")
    if reason is None:
        return None
    found = FINISH.get(reason, "stop")
    return "tool" if called and found == "stop" else found


def _usage(payload: dict[str, Json]) -> Usage | None:
    found = Usage(
        input=fields.count(payload, "prompt_eval_count"), output=fields.count(payload, "eval_count")
    )
    return None if found == Usage() else found


def _error(payload: dict[str, Json]) -> str | None:
    """Return a word for an error: Ollama gives it a sentence only, which is content."""
    return "ollama_error" if payload.get("error") else None

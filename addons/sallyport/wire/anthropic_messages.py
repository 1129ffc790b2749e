"""Anthropic Messages: typed blocks in requests, answers and streams; counts that exclude the cache."""

from collections.abc import Mapping
from dataclasses import replace

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Response, Tool, Usage
from sallyport.wire import answerschema, declared, fields
from sallyport.wire.anthropic_blocks import ANSWER, EVENT, PROBLEM, REQUEST
from sallyport.wire.dialect import Answer, Call, Ending, Stamp, StreamEvent, StreamReader
from sallyport.wire.endings import messages
from sallyport.wire.errors import WireError
from sallyport.wire.jsondialect import JsonDialect, dump, message
from sallyport.wire.jsontext import Json
from sallyport.wire.settings import Settings
from sallyport.wire.shape import Reading, walk
from sallyport.wire.streams import JoinedBlocks, OpenChannels, SseReader, deltas

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "refusal": "filtered",
    "pause_turn": "pause",
}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_RUNNING = {"text", "thinking", "partial_json", "content"}
_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


_SETTINGS = Settings(
    deep={
        ("thinking", "type"): "thinking",
        ("thinking", "budget_tokens"): "thinking_budget",
        ("output_config", "effort"): "reasoning_effort",
        ("tool_choice", "disable_parallel_tool_use"): "disable_parallel_tool_use",
    }
)
_PLACES = {
    **{name: f"/{name}" for name in ("temperature", "top_p", "top_k", "service_tier", "inference_geo")},
    "max_output_tokens": "/max_tokens",
}


class AnthropicMessages(JsonDialect):
    """POST /v1/messages and /v1/messages/count_tokens."""

    name = "anthropic_messages"
    request = REQUEST
    answer = ANSWER
    problem = PROBLEM
    codes = ("type", "code")
    settings = _SETTINGS

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        fields.require_objects(payload, "messages")
        if type(payload.get("system") or "") not in (str, list):
            raise WireError("json.type", "/system")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        found = (
            fields.string(tool, "name") or fields.string(tool, "type")
            for tool in fields.objects(payload, "tools")
        )
        return tuple(name for name in found if name)

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        return declared.of_anthropic(payload)

    def places(self, payload: dict[str, Json], call: Call) -> Mapping[str, str]:
        return _PLACES

    def limit(self, payload: dict[str, Json]) -> int | None:
        return fields.limit(payload, "max_tokens")

    def structured(self, payload: dict[str, Json]) -> bool:
        formats = (fields.get(payload, "output_config", "format"), payload.get("output_format"))
        return any(type(one) is dict for one in formats)

    def schema(self, payload: dict[str, Json]) -> str | None:
        return answerschema.of_anthropic(payload)

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        return Response(
            status,
            tuple(reading.segments),
            finish_reason=_finish(payload.get("stop_reason")),
            usage=_answer_usage(payload),
            model=fields.string(payload, "model"),
            id=fields.string(payload, "id"),
            error=fields.error_code(payload, status, *self.codes) if payload.get("error") else None,
            made=_container(payload),
        )

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        return SseReader(AnthropicEvents())

    def ending(self, request: Request, stamp: Stamp, content_type: str = "text/event-stream") -> Ending:
        return messages.MessagesEnding(request, stamp)

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer:
        return messages.say(text, request, stamp)

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        return messages.shortened(body, at, start)

    def error(self, refusal: Refusal) -> dict[str, Json]:
        kind = _ERRORS.get(refusal.status, "api_error" if refusal.status >= 500 else "permission_error")
        return {
            "type": "error",
            "error": {"type": kind, "message": message(refusal)},
            "request_id": refusal.decision_id,
        }

    def stream_error(self, refusal: Refusal) -> bytes:
        return b"event: error\ndata: " + dump(self.error(refusal)) + b"\n\n"


_THOUGHTS = ("thinking", "redacted_thinking")


class AnthropicEvents:
    """Interprets events; the channel of a block is content/<index>. Counts are totals so far.

    Blocks of text that follow one another are one channel, named by the first, whatever is thought between them: a text
    with citations comes in many, and clients show them joined.
    """

    def __init__(self) -> None:
        self._open = OpenChannels()
        self._joined = JoinedBlocks(self._open)
        self._counts: dict[str, Json] = {}

    def event(self, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        kind = fields.string(payload, "type") or ""
        index = fields.count(payload, "index") or 0
        before: tuple[str, ...] = ()
        begun = fields.string(payload, "content_block", "type")
        if kind == "content_block_start" and begun not in _THOUGHTS:
            before = self._joined.begin(index, is_text=begun == "text")
        elif kind == "message_delta":
            before = self._joined.over()
        if fields.string(payload, "delta", "text") or fields.string(payload, "content_block", "text"):
            self._joined.text(index)
        block = self._joined.channel(index)

        def channel(at: str) -> str:
            part, _, name = at[1:].partition("/")
            if part == "content_block" or (part == "delta" and kind == "content_block_delta"):
                return block if name in _RUNNING else f"{block}/{name}"
            return at[1:]

        reading = walk(payload, EVENT)
        found = self._joined.placed(deltas(reading, channel))
        self._open.take(found)
        error = None
        closes: tuple[str, ...] = ()
        if kind == "error" or payload.get("error"):
            error = fields.error_code(payload, 200, *AnthropicMessages.codes)
            closes = ("*",)
        elif kind == "message_stop":
            closes = ("*",)
        elif kind == "content_block_stop" and not self._joined.goes_on(index):
            closes = self._open.close(block) if fields.count(payload, "index") is not None else ()
        started = payload.get("message")
        reason = fields.get(payload, "delta", "stop_reason") or fields.get(started, "stop_reason")
        return StreamEvent(
            raw,
            found,
            (*before, *closes),
            finish_reason="error" if error else _finish(reason),
            usage=self._usage(fields.get(started, "usage"), payload.get("usage")),
            model=fields.string(started, "model"),
            id=fields.string(started, "id"),
            error=error,
            terminal=kind in ("message_stop", "error"),
            payload=payload,
            attachments=tuple(reading.attachments),
            made=_container(started) + _container(payload.get("delta")),
        )

    def _usage(self, *reports: Json) -> Usage | None:
        """Return the counts so far: the end of a stream need not repeat what its start said."""
        news = [report for report in reports if type(report) is dict]
        if not news:
            return None
        for report in news:
            for name, value in report.items():
                if value is not None:
                    self._counts[name] = value
        return _usage(self._counts)


def _container(holder: Json) -> tuple[str, ...]:
    """Return the id of the container that tools of the provider ran in, by which later turns name it."""
    found = fields.string(holder, "container", "id")
    return (found,) if found else ()


def _finish(reason: Json) -> str | None:
    return FINISH.get(reason, "stop") if type(reason) is str and reason else None


def _answer_usage(payload: dict[str, Json]) -> Usage | None:
    if type(payload.get("usage")) is dict:
        return _usage(payload["usage"])
    # count_tokens answers with a bare count.
    bare = fields.count(payload, "input_tokens")
    return None if bare is None else Usage(input=bare, output=0)


def _usage(counts: Json) -> Usage | None:
    """Normalise token counts: input_tokens leaves out the cache, and all of them what a compaction used."""
    whole = [counts, *(i for i in fields.objects(counts, "iterations") if i.get("type") == "compaction")]
    fresh, read, written, output = (fields.total(*(fields.count(c, name) for c in whole)) for name in _COUNTS)
    found = Usage(
        input=fields.total(fresh, read, written),
        cache_read=read,
        cache_write=written,
        output=output,
        reasoning=fields.count(counts, "output_tokens_details", "thinking_tokens"),
        cache_write_1h=fields.total(
            *(fields.count(c, "cache_creation", "ephemeral_1h_input_tokens") for c in whole)
        ),
        searches=fields.some(counts, "server_tool_use", "web_search_requests"),
    )
    return None if found == Usage() else replace(found, tier=_tier(counts))


def _tier(counts: Json) -> str:
    """Return the speed, or the tier, that an answer was served with, where that changes the price."""
    speed = fields.string(counts, "speed")
    if speed in ("fast", "standard"):
        return speed
    found = fields.string(counts, "service_tier")
    return found if found in ("priority", "batch") else ""

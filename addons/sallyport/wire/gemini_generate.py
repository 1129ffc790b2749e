"""Google's generateContent family, on the Gemini API and on Vertex; the model stands in the path."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Response, Tool, Usage
from sallyport.wire import answerschema, declared, fields
from sallyport.wire.dialect import Answer, Call, Ending, Stamp, StreamEvent, StreamReader, newer
from sallyport.wire.endings import gemini
from sallyport.wire.errors import WireError
from sallyport.wire.gemini_parts import ANSWER, CHUNK, PROBLEM, REQUEST
from sallyport.wire.jsonarray import JsonArrayReader
from sallyport.wire.jsondialect import JsonDialect, dump, message
from sallyport.wire.jsontext import MAX_ANSWER_NODES, Json, parse
from sallyport.wire.settings import Settings
from sallyport.wire.shape import Reading, walk
from sallyport.wire.shapes import snake
from sallyport.wire.streams import OpenChannels, SseReader, deltas

FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(("SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION"), "filtered"),
    **dict.fromkeys(("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR", "LANGUAGE"), "filtered"),
    **dict.fromkeys(("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL"), "error"),
    **dict.fromkeys(("TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "OTHER"), "error"),
}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_INPUTS = (
    "contents",
    "content",
    "requests",
    "generateContentRequest",
    "embedContentRequest",
    "instances",
    "batch",
)


_WRAPPERS: tuple[tuple[str, ...], ...] = ((), ("generateContentRequest",), ("generate_content_request",))
_CONFIGS = ("generationConfig", "generation_config")
_THINKING = {
    (config, thinking, name): normal
    for config in _CONFIGS
    for thinking in ("thinkingConfig", "thinking_config")
    for name, normal in (
        *(("thinkingBudget", "thinking_budget"), ("thinking_budget", "thinking_budget")),
        *(("thinkingLevel", "reasoning_effort"), ("thinking_level", "reasoning_effort")),
    )
}
_SETTINGS = Settings(
    holders=tuple(
        (*wrapper, *holder) for wrapper in _WRAPPERS for holder in ((), *((name,) for name in _CONFIGS))
    ),
    deep={(*wrapper, *path): normal for wrapper in _WRAPPERS for path, normal in _THINKING.items()},
    digits=True,
)
_PLACES = {
    "max_output_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
}
_BY_SPELLING = {
    "generationConfig": {name: f"/generationConfig/{own}" for name, own in _PLACES.items()},
    "generation_config": {name: f"/generation_config/{snake(own)}" for name, own in _PLACES.items()},
}
"""A second spelling of an object that is there would give the provider two of it."""


class GeminiGenerate(JsonDialect):
    """POST .../models/{model}:{generateContent, streamGenerateContent, countTokens, embedContent ...}."""

    name = "gemini_generate"
    request = REQUEST
    answer = ANSWER
    problem = PROBLEM
    codes = ("status", "code")
    settings = _SETTINGS

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        if operation is Operation.CHAT or "contents" in payload:
            fields.require_objects(payload, "contents")
        elif all(_get(payload, name) is None for name in _INPUTS):
            raise WireError("json.type", "/contents")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        """Return the declared functions; a built-in tool goes by its member name."""
        names: list[str] = []
        for tool in fields.objects(_inner(payload), "tools"):
            for name, value in tool.items():
                if name in ("functionDeclarations", "function_declarations"):
                    names += (n for d in fields.objects(value) if (n := fields.string(d, "name")))
                else:
                    names.append(name)
        return tuple(names)

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        return declared.of_gemini(_inner(payload))

    def schema(self, payload: dict[str, Json]) -> str | None:
        return answerschema.of_gemini(_inner(payload))

    def places(self, payload: dict[str, Json], call: Call) -> Mapping[str, str]:
        return _BY_SPELLING["generation_config" if "generation_config" in payload else "generationConfig"]

    def limit(self, payload: dict[str, Json]) -> int | None:
        return _largest(payload, "maxOutputTokens") or None

    def answers(self, payload: dict[str, Json]) -> int:
        return max(1, _largest(payload, "candidateCount"))

    def previous(self, payload: dict[str, Json]) -> str | None:
        """Return the cached content the request builds on: earlier text that is not in this body."""
        cached = _get(_inner(payload), "cachedContent")
        return cached if type(cached) is str and cached else None

    def read_response(self, body: bytes, status: int) -> Response:
        """Read an answer, or a whole array of stream chunks, whose last word on finish and usage counts."""
        payload = parse(body, MAX_ANSWER_NODES)
        if status >= 400 or type(payload) is not list:
            return super().read_response(body, status)
        answers = [self.read_answer(part, Reading(), status) for part in payload if type(part) is dict]
        last: dict[str, Any] = {
            name: next((v for a in reversed(answers) if (v := getattr(a, name)) is not None), None)
            for name in ("finish_reason", "model", "id", "error")
        }
        usage = reduce(newer, (answer.usage for answer in answers), None)
        reading = walk(payload, ANSWER)
        kept = tuple(reading.attachments)
        return Response(status, tuple(reading.segments), usage=usage, attachments=kept, **last)

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        return Response(
            status,
            tuple(reading.segments),
            finish_reason=_finish(payload, _has_call(payload)),
            usage=_usage(payload),
            model=_string(payload, "modelVersion"),
            id=_string(payload, "responseId"),
            error=fields.error_code(payload, status, *self.codes) if payload.get("error") else None,
        )

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        """Without alt=sse a stream is one JSON array."""
        if _is_array(content_type):
            return JsonArrayReader(GeminiEvents())
        return SseReader(GeminiEvents())

    def ending(self, request: Request, stamp: Stamp, content_type: str = "text/event-stream") -> Ending:
        return gemini.GeminiEnding(request, stamp, array=_is_array(content_type))

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer:
        return gemini.say(text, request, stamp, sse=sse)

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        return gemini.shortened(body, at, start)

    def error(self, refusal: Refusal) -> dict[str, Json]:
        info: dict[str, Json] = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": re.sub(r"[^A-Z0-9]+", "_", refusal.reason.upper()).strip("_"),
            "domain": "sallyport",
            "metadata": {"decision": refusal.decision_id, "reason": refusal.reason},
        }
        other = "INTERNAL" if refusal.status >= 500 else "PERMISSION_DENIED"
        return {
            "error": {
                "code": refusal.status,
                "message": message(refusal),
                "status": _STATUSES.get(refusal.status, other),
                "details": [info],
            }
        }

    def stream_error(self, refusal: Refusal) -> bytes:
        # The SDK looks for an `error` that is the first member, and knows data lines only.
        return b"data: " + dump(self.error(refusal)) + b"\r\n\r\n"


class GeminiEvents:
    """Interprets chunks. Text of a candidate is one channel and its thoughts another, over all parts."""

    def __init__(self) -> None:
        self._open = OpenChannels()
        self._called: set[int] = set()

    def event(self, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        candidates = payload.get("candidates")

        def channel(at: str) -> str:
            path = at.split("/")
            if len(path) < 4 or path[1] != "candidates" or type(candidates) is not list:
                return at[1:]
            place = int(path[2])
            head = f"candidates/{_index(candidates[place], place)}"
            if len(path) == 7 and path[4] == "parts" and path[6] == "text":
                parts = fields.get(candidates[place], "content", "parts")
                thought = type(parts) is list and fields.get(parts[int(path[5])], "thought") is True
                return f"{head}/thought" if thought else f"{head}/text"
            return "/".join((head, *path[3:]))

        reading = walk(payload, CHUNK)
        found = deltas(reading, channel)
        self._open.take(found)
        error = fields.error_code(payload, 200, *GeminiGenerate.codes) if payload.get("error") else None
        closes: tuple[str, ...] = ()
        called = False
        for place, candidate in enumerate(fields.objects(candidates)):
            index = _index(candidate, place)
            if _calls(candidate):
                self._called.add(index)
            if _string(candidate, "finishReason"):
                closes += self._open.close(f"candidates/{index}/")
                called = called or index in self._called
        return StreamEvent(
            raw,
            found,
            ("*",) if error else closes,
            finish_reason="error" if error else _finish(payload, called),
            usage=_usage(payload),
            model=_string(payload, "modelVersion"),
            id=_string(payload, "responseId"),
            error=error,
            payload=payload,
            attachments=tuple(reading.attachments),
        )


def _is_array(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _get(value: Json, name: str) -> Json:
    """Return a member by its camelCase name or its snake_case twin."""
    found = fields.get(value, name)
    return fields.get(value, snake(name)) if found is None else found


def _string(value: Json, name: str) -> str | None:
    found = _get(value, name)
    return found if type(found) is str and found else None


def _inner(payload: dict[str, Json]) -> Json:
    """Return the generate request that a token count wraps, else the request itself."""
    return _get(payload, "generateContentRequest") or payload


def _largest(payload: dict[str, Json], name: str) -> int:
    """Return a number of the configuration, in whichever of the spellings it is largest; 0 if it is in none."""
    inner = _inner(payload)
    configs = [fields.get(inner, spelling) for spelling in ("generationConfig", "generation_config")]
    return max(_whole(fields.get(config, spelling)) for config in configs for spelling in (name, snake(name)))


def _whole(value: Json) -> int:
    """Return a number, 0 if absent; protobuf JSON also writes integers as strings. Raises WireError for others."""
    if type(value) is str and re.fullmatch(r"[0-9]{1,15}", value):
        return int(value)
    return fields.whole(value, "generationConfig")


def _index(candidate: Json, place: int) -> int:
    index = fields.count(candidate, "index")
    return place if index is None else index


def _calls(candidate: Json) -> bool:
    return any(
        _get(part, "functionCall") is not None for part in fields.objects(candidate, "content", "parts")
    )


def _has_call(payload: dict[str, Json]) -> bool:
    return any(_calls(candidate) for candidate in fields.objects(payload, "candidates"))


def _finish(payload: dict[str, Json], called: bool) -> str | None:
    """Normalise the first reason given; STOP after a function call is "tool", a blocked prompt "filtered"."""
    for candidate in fields.objects(payload, "candidates"):
        reason = _string(candidate, "finishReason")
        if reason:
            finish = FINISH.get(reason, "stop")
            return "tool" if called and finish == "stop" else finish
    if _get(_get(payload, "promptFeedback"), "blockReason"):
        return "filtered"
    return "error" if payload.get("error") else None


def _usage(payload: dict[str, Json]) -> Usage | None:
    counts = _get(payload, "usageMetadata")
    if type(counts) is not dict:
        # countTokens answers with a bare total.
        bare = fields.count(_get(payload, "totalTokens"))
        return None if bare is None else Usage(input=bare, output=0)
    thoughts = fields.count(_get(counts, "thoughtsTokenCount"))
    asked, answered = _get(counts, "promptTokensDetails"), _get(counts, "candidatesTokensDetails")
    found = Usage(
        input=fields.total(
            fields.count(_get(counts, "promptTokenCount")),
            fields.count(_get(counts, "toolUsePromptTokenCount")),
        ),
        cache_read=fields.count(_get(counts, "cachedContentTokenCount")),
        output=fields.total(fields.count(_get(counts, "candidatesTokenCount")), thoughts),
        reasoning=thoughts,
        audio_input=_audio(asked, _get(counts, "toolUsePromptTokensDetails")),
        audio_output=_audio(answered),
        searches=_searches(payload),
    )
    traffic = _string(counts, "trafficType") or ""
    return None if found == Usage() else replace(found, tier=_TIERS.get(traffic, ""))


_TIERS = {"ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}


def _audio(*details: Json) -> int | None:
    heard = (d for each in details for d in fields.objects(each) if _get(d, "modality") == "AUDIO")
    return fields.total(*(fields.count(_get(d, "tokenCount")) for d in heard)) or None


def _searches(payload: dict[str, Json]) -> int | None:
    """Return the searches that are charged: each query, before Gemini 3 the grounded answer."""
    made = 0
    for candidate in fields.objects(payload, "candidates"):
        queries = _get(_get(candidate, "groundingMetadata"), "webSearchQueries")
        made += sum(type(query) is str and bool(query) for query in queries) if type(queries) is list else 0
    by_answer = (_string(payload, "modelVersion") or "").startswith(("gemini-1", "gemini-2"))
    return (1 if by_answer and made else made) or None

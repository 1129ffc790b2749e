"""Bedrock InvokeModel: the events of the model's own family, each wrapped into a chunk frame.

The family is told by what was sent; before the first event by the model's name. Families without a format of
their own here have one text and a reason beside it.
"""

import base64
from collections.abc import Mapping

from sallyport.exchange import Request, Usage
from sallyport.wire import fields
from sallyport.wire.dialect import Answer, Ending, Stamp, StreamEvent
from sallyport.wire.endings import chat, converse, messages
from sallyport.wire.endings.cutting import cut_text, put
from sallyport.wire.endings.writing import answer, input_tokens, output_tokens
from sallyport.wire.eventstream import json_frame
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json, parse_object

METRICS = "amazon-bedrock-invocationMetrics"

_TEXT = ("generation", "outputText", "completion", "outputs", "text")
"""Members in which the other families put their text: Llama, Titan, Claude of old, Mistral, Cohere of old."""

_FAMILIES = (
    ("anthropic.claude-v", "completion"),
    ("anthropic.claude-instant", "completion"),
    ("anthropic.", "messages"),
    ("amazon.nova", "converse"),
    ("amazon.titan", "outputText"),
    ("meta.llama", "generation"),
    ("mistral.mistral-7b", "outputs"),
    ("mistral.mixtral", "outputs"),
    ("mistral.mistral-large-2402", "outputs"),
    ("mistral.mistral-small", "outputs"),
    ("cohere.command-r", "text"),
    ("cohere.command", "generations"),
)


def chunked(name: str, payload: dict[str, Json]) -> bytes:
    """Write a chunk frame around a payload."""
    return json_frame("event", "chunk", dump({"bytes": base64.b64encode(dump(payload)).decode()}))


def in_chunk(name: str, payload: dict[str, Json]) -> bytes:
    """Write a chunk frame around an event that goes by its name inside, as Nova's do."""
    inner: dict[str, Json] = {name: payload}
    if name == "metadata":
        read, said = (fields.count(payload, "usage", kind) for kind in ("inputTokens", "outputTokens"))
        inner |= metrics(Usage(input=read, output=said))
    return chunked("", inner)


def metrics(usage: Usage | None) -> dict[str, Json]:
    """Return the counts that the last event of a stream has beside it."""
    counts: dict[str, Json] = {
        "inputTokenCount": input_tokens(usage),
        "outputTokenCount": output_tokens(usage),
    }
    return {METRICS: {**counts, "invocationLatency": 0, "firstByteLatency": 0}}


def _chat(request: Request, stamp: Stamp) -> chat.ChatEnding:
    def done(usage: Usage | None) -> bytes:
        return chunked("", {"choices": [], **metrics(usage)})

    return chat.ChatEnding(request, stamp, write=chunked, done=done)


class InvokeEnding:
    """Ends a stream of chunk frames in the family's way."""

    def __init__(self, request: Request, stamp: Stamp) -> None:
        self._request = request
        self._stamp = stamp
        self._family = family(request)
        self._inner: Ending | None = None
        self._finished = self._over = False

    def sent(self, event: StreamEvent, texts: Mapping[str, str]) -> None:
        self._over = self._over or (event.terminal and event.payload is None) or event.error is not None
        payload = event.payload
        if payload is None:
            return
        if METRICS in payload:
            self._over = True
        if self._inner is None:
            self._family = _spoken(payload) or self._family
            self._inner = self._ending()
        if self._inner is not None:
            self._inner.sent(event, texts)
        elif _reason(payload):
            self._finished = True

    def _ending(self) -> Ending | None:
        match self._family:
            case "messages":
                return messages.MessagesEnding(self._request, self._stamp, write=chunked, last=metrics)
            case "converse":
                return converse.ConverseEnding(write=in_chunk)
            case "chat":
                return _chat(self._request, self._stamp)
            case _:
                return None

    def conclude(self, usage: Usage | None = None) -> bytes:
        if self._over:
            return b""
        inner = self._inner or self._ending()
        if inner is not None:
            return inner.conclude(usage)
        if self._finished:
            return chunked("", metrics(usage))
        return chunked("", {**_own(self._family, "", filtered=True), **metrics(usage)})


def family(request: Request) -> str:
    """Return the family of a model by its name, a prefix for a region left out; an unknown one speaks chat."""
    name = (request.model or "").rpartition("/")[2].lower()
    found = (kind for prefix, kind in _FAMILIES if name.startswith(prefix) or f".{prefix}" in name)
    return next(found, "chat")


def _spoken(payload: dict[str, Json]) -> str | None:
    """Return the family in whose words a payload is written."""
    if (fields.string(payload, "type") or "").startswith(("message_", "content_block_", "ping")):
        return "messages"
    if any(name in payload for name in ("messageStart", "contentBlockStart", "contentBlockDelta")):
        return "converse"
    choices = fields.objects(payload, "choices")
    if choices and ("delta" in choices[0] or "message" in choices[0]):
        return "chat"
    return next((name for name in (*_TEXT, "generations") if name in payload), None)


def _reason(payload: dict[str, Json]) -> bool:
    names = ("stop_reason", "finish_reason", "completionReason")
    inner = fields.objects(payload.get("outputs")) + fields.objects(payload.get("results"))
    return any(holder.get(name) for holder in (payload, *inner) for name in names)


def _own(kind: str, text: str, *, filtered: bool) -> dict[str, Json]:
    """Return one event, or a whole answer, of a family with a format of its own."""
    match kind:
        case "generation":
            counts: dict[str, Json] = {"prompt_token_count": 0, "generation_token_count": 0}
            return {"generation": text, **counts, "stop_reason": "content_filter" if filtered else "stop"}
        case "outputText":
            reason = "CONTENT_FILTERED" if filtered else "FINISH"
            return {"outputText": text, "index": 0, "inputTextTokenCount": 0, "completionReason": reason}
        case "outputs":
            return {"outputs": [{"text": text, "stop_reason": "content_filter" if filtered else "stop"}]}
        case "completion":
            return {
                "completion": text,
                "stop_reason": "content_filter" if filtered else "stop_sequence",
                "stop": None,
            }
        case "generations":
            return {
                "generations": [{"text": text, "finish_reason": "ERROR_TOXIC" if filtered else "COMPLETE"}]
            }
        case _:
            return {
                "text": text,
                "is_finished": True,
                "finish_reason": "ERROR_TOXIC" if filtered else "COMPLETE",
            }


def say(text: str, request: Request, stamp: Stamp) -> Answer:
    """Return a finished answer in the words of the model's family."""
    kind = family(request)
    if request.stream:
        return answer(_stream(kind, text, request, stamp), stamp, converse.STREAM)
    return answer(dump(_whole(kind, text, request, stamp)), stamp, "application/json")


def _stream(kind: str, text: str, request: Request, stamp: Stamp) -> bytes:
    match kind:
        case "messages":
            return messages.MessagesEnding(request, stamp, write=chunked, last=metrics).say(text)
        case "converse":
            return converse.ConverseEnding(write=in_chunk).say(text)
        case "chat":
            return _chat(request, stamp).say(text, request.structured)
        case _:
            return chunked("", {**_own(kind, text, filtered=False), **metrics(None)})


def _whole(kind: str, text: str, request: Request, stamp: Stamp) -> dict[str, Json]:
    match kind:
        case "messages":
            return messages.whole(text, request, stamp)
        case "converse":
            return converse.whole(text)
        case "chat":
            return chat.whole(text, request, stamp)
        case "outputText":
            result: dict[str, Json] = {"outputText": text, "tokenCount": 0, "completionReason": "FINISH"}
            return {"inputTextTokenCount": 0, "results": [result]}
        case _:
            return _own(kind, text, filtered=False)


def shortened(body: bytes, at: str, start: int) -> bytes:
    """Return an answer that ends at a place of its text. Raises WireError."""
    payload = parse_object(body)
    if payload.get("type") == "message":
        return messages.shortened(body, at, start)
    if "output" in payload:
        return converse.shortened(body, at, start)
    holder = at.rpartition("/")[0]
    if holder.startswith("/choices/"):
        return chat.shortened(body, at, start)
    for place in dict.fromkeys((holder, "")):
        for name, word in (
            ("stop_reason", b'"content_filter"'),
            ("finish_reason", b'"ERROR_TOXIC"'),
            ("completionReason", b'"CONTENT_FILTERED"'),
        ):
            body = put(body, f"{place}/{name}", word)
    return cut_text(body, at, start)

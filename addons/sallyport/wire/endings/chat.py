"""OpenAI chat completions, and the old text completions: chunks by choice, then [DONE].

A call that was sent in part keeps arguments that no JSON parser takes: a strict beginning of an object is
never JSON, and where nothing was sent yet a lone brace is. The free text of a custom tool has no such mark;
there the finish reason alone tells.
"""

from collections.abc import Callable, Iterator, Mapping

from sallyport.exchange import Request, Usage
from sallyport.wire import fields
from sallyport.wire.dialect import Answer, Stamp, StreamEvent
from sallyport.wire.endings.cutting import cut_list, cut_text, put
from sallyport.wire.endings.writing import (
    MAX_CHOICES,
    UNFINISHED,
    Write,
    answer,
    input_tokens,
    model_of,
    output_tokens,
    unnamed,
)
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json

FILTERED = "content_filter"


def _done(usage: Usage | None) -> bytes:
    return b"data: [DONE]\n\n"


_HEAD = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


class _Choice:
    """What has been sent of one choice. calls: by index, whether any of the arguments was."""

    __slots__ = ("calls", "finished", "latest")

    def __init__(self) -> None:
        self.finished = False
        self.calls: dict[int, bool] = {}
        self.latest: int | None = None

    def take(self, delta: dict[str, Json]) -> None:
        for place, call in enumerate(fields.objects(delta, "tool_calls")):
            index = fields.count(call, "index")
            self._call(place if index is None else index, call)
        single = delta.get("function_call")
        if type(single) is dict:
            self._call(-1, {"function": single})

    def _call(self, index: int, call: dict[str, Json]) -> None:
        said = fields.string(call, "function", "arguments") or fields.string(call, "custom", "input")
        custom = type(call.get("custom")) is dict
        self.calls[index] = self.calls.get(index, False) or bool(said) or custom
        self.latest = index

    def rest(self) -> dict[str, Json]:
        """Return the last delta: it spoils a call of which nothing but the name was sent."""
        if self.latest is None or self.calls[self.latest]:
            return {}
        if self.latest < 0:
            return {"function_call": {"arguments": UNFINISHED}}
        return {"tool_calls": [{"index": self.latest, "function": {"arguments": UNFINISHED}}]}


class ChatEnding:
    """Ends a stream of chunks.

    completions: choices hold text, not deltas. done: what follows the last chunk.
    """

    def __init__(
        self,
        request: Request,
        stamp: Stamp,
        *,
        completions: bool = False,
        write: Write = unnamed,
        done: Callable[[Usage | None], bytes] = _done,
    ) -> None:
        self._head = _head(request, stamp, "text_completion" if completions else "chat.completion.chunk")
        self._answers = min(request.answers, MAX_CHOICES)
        self._completions = completions
        self._write = write
        self._done = done
        self._choices: dict[int, _Choice] = {}
        self._reports = self._reported = self._failed = self._over = False

    def sent(self, event: StreamEvent, texts: Mapping[str, str]) -> None:
        self._over = self._over or event.terminal
        self._failed = self._failed or event.error is not None
        payload = event.payload
        if payload is None:
            return
        for name in _HEAD:
            if value := payload.get(name):
                self._head[name] = value
        self._reports = self._reports or "usage" in payload
        self._reported = self._reported or bool(payload.get("usage"))
        for place, choice in enumerate(fields.objects(payload, "choices")):
            index = fields.count(choice, "index")
            if index is None:
                index = place
            known = self._choices.get(index)
            if known is None:
                known = self._choices[index] = _Choice()
            delta = choice.get("delta")
            if type(delta) is dict:
                if "tool_calls" in delta or "function_call" in delta:
                    known.take(delta)
                self._completions = False  # Mistral streams a completion (FIM) in the shape of a chat
            known.finished = known.finished or bool(choice.get("finish_reason"))

    def conclude(self, usage: Usage | None = None) -> bytes:
        if self._over:
            return b""
        chunks = [] if self._failed else list(self._last(FILTERED))
        if usage is not None and self._reports and not self._reported and not self._failed:
            chunks.append({**self._head, "choices": [], "usage": _counts(usage)})
        return b"".join(self._write("", chunk) for chunk in chunks) + self._done(usage)

    def _last(self, reason: str) -> Iterator[dict[str, Json]]:
        """Yield a chunk that finishes each choice that is not."""
        indices = set(self._choices)
        if len(indices) < self._answers:
            indices |= set(range(self._answers))
        for index in sorted(indices):
            known = self._choices.get(index)
            if known is None:
                yield self._chunk(index, {"role": "assistant", "content": ""}, "", reason)
            elif not known.finished:
                yield self._chunk(index, known.rest(), "", reason)

    def _chunk(self, index: int, delta: dict[str, Json], text: str, reason: str | None) -> dict[str, Json]:
        what: dict[str, Json] = {"text": text} if self._completions else {"delta": delta}
        choice: dict[str, Json] = {"index": index, **what, "logprobs": None, "finish_reason": reason}
        usage: dict[str, Json] = {"usage": None} if self._reports else {}
        return {**self._head, "choices": [choice], **usage}

    def say(self, text: str, structured: bool) -> bytes:
        """Return a whole stream in which every choice says this. structured: as a refusal, not as content."""
        chunks: list[dict[str, Json]] = []
        for index in range(self._answers):
            if not self._completions:
                chunks.append(
                    self._chunk(index, {"role": "assistant", "content": None if structured else ""}, "", None)
                )
            chunks.append(self._chunk(index, {"refusal" if structured else "content": text}, text, None))
            last = self._chunk(index, {}, "", "stop")
            chunks.append({**last, "usage": _counts(None)} if index == self._answers - 1 else last)
        return b"".join(self._write("", chunk) for chunk in chunks) + self._done(None)


def say(text: str, request: Request, stamp: Stamp, *, completions: bool = False) -> Answer:
    """Return a finished answer. One that had to be JSON of a schema says it as a refusal, which SDKs do not parse."""
    structured = request.structured and not completions
    if request.stream:
        body = ChatEnding(request, stamp, completions=completions).say(text, structured)
        return answer(body, stamp, "text/event-stream")
    return answer(dump(whole(text, request, stamp, completions=completions)), stamp, "application/json")


def whole(text: str, request: Request, stamp: Stamp, *, completions: bool = False) -> dict[str, Json]:
    """Return a buffered answer that says this in every choice."""
    structured = request.structured and not completions
    message: dict[str, Json] = {
        "role": "assistant",
        "content": None if structured else text,
        "refusal": text if structured else None,
    }
    what: dict[str, Json] = {"text": text} if completions else {"message": message}
    choices: list[Json] = [
        {"index": index, **what, "logprobs": None, "finish_reason": "stop"}
        for index in range(min(request.answers, MAX_CHOICES))
    ]
    head = _head(request, stamp, "text_completion" if completions else "chat.completion")
    return {**head, "choices": choices, "usage": _counts(None)}


def shortened(body: bytes, at: str, start: int) -> bytes:
    """Return an answer whose choice ends at a place of one of its texts. Raises WireError."""
    path = at.split("/")
    choice, message = "/".join(path[:3]), "/".join(path[:4])
    body = put(body, f"{choice}/finish_reason", b'"content_filter"')
    if path[3:4] != ["message"] or len(path) < 5:
        return cut_text(body, at, start)
    place = path[4]
    if place == "tool_calls":
        return cut_list(body, f"{message}/tool_calls", int(path[5]))
    for name in ("tool_calls", "function_call"):
        body = put(body, f"{message}/{name}", b"null")
    if place == "function_call":
        return body
    if place == "content" and len(path) > 5:
        body = cut_list(body, f"{message}/content", int(path[5]) + 1)
    if place.startswith("reasoning"):
        for name in ("content", "refusal"):  # what is thought comes before what is said
            body = put(body, f"{message}/{name}", b"null")
    return cut_text(body, at, start)


def _head(request: Request, stamp: Stamp, kind: str) -> dict[str, Json]:
    return {
        "id": f"chatcmpl-{stamp.id}",
        "object": kind,
        "created": stamp.created_s,
        "model": model_of(request),
    }


def _counts(usage: Usage | None) -> dict[str, Json]:
    asked, said = input_tokens(usage), output_tokens(usage)
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}

"""Google's generateContent: a last chunk with a finish reason, and in an array its closing bracket.

Function calls come whole in one chunk, so that none is ever cut. Where a stream of an array has one object
alone, it is over.
"""

from collections.abc import Mapping

from sallyport.exchange import Request, Usage
from sallyport.wire import fields
from sallyport.wire.dialect import Answer, Stamp, StreamEvent
from sallyport.wire.endings.cutting import cut_list, cut_text, put
from sallyport.wire.endings.writing import (
    MAX_CHOICES,
    answer,
    input_tokens,
    model_of,
    output_tokens,
    unnamed,
)
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json

FILTERED = "SAFETY"
_HEAD = {"modelVersion": "model_version", "responseId": "response_id"}


class GeminiEnding:
    """Ends a stream of chunks; array: it is one JSON array, not server-sent events."""

    def __init__(self, request: Request, stamp: Stamp, *, array: bool = False) -> None:
        self._head: dict[str, Json] = {"modelVersion": model_of(request), "responseId": stamp.id}
        self._answers = min(request.answers, MAX_CHOICES)
        self._array = array
        self._written = self._over = False
        self._finished: dict[int, bool] = {}

    def sent(self, event: StreamEvent, texts: Mapping[str, str]) -> None:
        self._over = self._over or event.terminal or event.error is not None
        payload = event.payload
        if payload is None:
            return
        if self._array and not self._written:
            self._over = self._over or not event.raw.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
        self._written = True
        for name, snake in _HEAD.items():
            if found := payload.get(name) or payload.get(snake):
                self._head[name] = found
        for place, candidate in enumerate(fields.objects(payload, "candidates")):
            index = fields.count(candidate, "index")
            index = place if index is None else index
            done = bool(candidate.get("finishReason") or candidate.get("finish_reason"))
            self._finished[index] = self._finished.get(index, False) or done
        if payload.get("promptFeedback") and not self._finished:
            self._finished[0] = True  # the prompt was refused: there will be no candidate

    def conclude(self, usage: Usage | None = None) -> bytes:
        if self._over:
            return b""
        known = set(self._finished)
        indices = known if len(known) >= self._answers else known | set(range(self._answers))
        candidates = [_candidate(i, "", FILTERED) for i in sorted(indices) if not self._finished.get(i)]
        last = b"" if not candidates else self._chunk(candidates, usage)
        return last + (b"]" if self._array else b"")

    def say(self, text: str) -> bytes:
        """Return a whole stream that says this."""
        candidates = [_candidate(index, text, "STOP") for index in range(self._answers)]
        return self._chunk(candidates, None) + (b"]" if self._array else b"")

    def _chunk(self, candidates: list[Json], usage: Usage | None) -> bytes:
        payload: dict[str, Json] = {"candidates": candidates, "usageMetadata": _counts(usage), **self._head}
        if not self._array:
            return unnamed("", payload)
        return (b"," if self._written else b"[") + dump(payload)


def say(text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer:
    """Return a finished answer. sse: what the client asked a stream to be."""
    if request.stream:
        body = GeminiEnding(request, stamp, array=not sse).say(text)
        return answer(body, stamp, "text/event-stream" if sse else "application/json")
    candidates = [_candidate(index, text, "STOP") for index in range(min(request.answers, MAX_CHOICES))]
    head: dict[str, Json] = {"modelVersion": model_of(request), "responseId": stamp.id}
    whole: dict[str, Json] = {"candidates": candidates, "usageMetadata": _counts(None), **head}
    return answer(dump(whole), stamp, "application/json")


def shortened(body: bytes, at: str, start: int) -> bytes:
    """Return an answer, or an array of chunks, that ends at a place of one of its parts. Raises WireError."""
    path = at.split("/")
    chunk = ""
    if path[1].isdecimal():
        chunk = f"/{path[1]}"
        body = cut_list(body, "", int(path[1]) + 1)
        path = ["", *path[2:]]
    candidate = f"{chunk}/candidates/{path[2]}"
    body = put(body, f"{candidate}/finishReason", b'"SAFETY"')
    if len(path) != 7 or path[4] != "parts" or path[6] != "text":
        return cut_list(body, f"{candidate}/content/parts", int(path[5])) if path[4:5] == ["parts"] else body
    body = cut_list(body, f"{candidate}/content/parts", int(path[5]) + 1)
    return cut_text(body, at, start)


def _candidate(index: int, text: str, reason: str) -> Json:
    content: dict[str, Json] = {"role": "model", "parts": [{"text": text}]}
    return {"content": content, "finishReason": reason, "index": index}


def _counts(usage: Usage | None) -> dict[str, Json]:
    asked, said = input_tokens(usage), output_tokens(usage)
    return {"promptTokenCount": asked, "candidatesTokenCount": said, "totalTokenCount": asked + said}

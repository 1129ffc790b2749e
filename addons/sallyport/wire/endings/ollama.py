"""Ollama: one last line with done. It has no word for filtered contents; ours is OpenAI's.

Tool calls come whole in one line, so that none is ever cut.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from sallyport.exchange import Operation, Request, Usage
from sallyport.wire.dialect import Answer, Stamp, StreamEvent
from sallyport.wire.endings.cutting import cut_list, cut_text, put
from sallyport.wire.endings.writing import answer, input_tokens, line, model_of, output_tokens
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json

FILTERED = "content_filter"
_HEAD = ("model", "created_at", "remote_model", "remote_host")


class OllamaEnding:
    """Ends a stream of lines, of /api/chat or of /api/generate."""

    def __init__(self, request: Request, stamp: Stamp) -> None:
        self._head = _head(request, stamp)
        self._generates = request.operation is Operation.COMPLETION
        self._over = False

    def sent(self, event: StreamEvent, texts: Mapping[str, str]) -> None:
        self._over = self._over or event.terminal
        if event.payload is None:
            return
        self._head.update({name: event.payload[name] for name in _HEAD if event.payload.get(name)})
        if "response" in event.payload or "message" in event.payload:
            self._generates = "response" in event.payload

    def conclude(self, usage: Usage | None = None) -> bytes:
        if self._over:
            return b""
        return line("", {**self._head, **_said("", self._generates), **_done(FILTERED, usage)})


def say(text: str, request: Request, stamp: Stamp) -> Answer:
    """Return a finished answer."""
    head, generates = _head(request, stamp), request.operation is Operation.COMPLETION
    last = _done("stop", None)
    if not request.stream:
        return answer(dump({**head, **_said(text, generates), **last}), stamp, "application/json")
    body = line("", {**head, **_said(text, generates), "done": False})
    return answer(body + line("", {**head, **_said("", generates), **last}), stamp, "application/x-ndjson")


def shortened(body: bytes, at: str, start: int) -> bytes:
    """Return an answer that ends at a place of its text. Raises WireError."""
    body = put(body, "/done_reason", b'"content_filter"')
    for holder in ("", "/message"):
        calls = f"{holder}/tool_calls"
        if at.startswith(f"{calls}/"):
            return cut_list(body, calls, int(at.removeprefix(f"{calls}/").partition("/")[0]))
        body = cut_list(body, calls, 0)
    if at.endswith("/thinking"):  # what is thought comes before what is said
        for place in ("/message/content", "/response"):
            body = put(body, place, b'""')
    return cut_text(body, at, start)


def _head(request: Request, stamp: Stamp) -> dict[str, Json]:
    created = datetime.fromtimestamp(stamp.created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"model": model_of(request), "created_at": created}


def _said(text: str, generates: bool) -> dict[str, Json]:
    return {"response": text} if generates else {"message": {"role": "assistant", "content": text}}


def _done(reason: str, usage: Usage | None) -> dict[str, Json]:
    durations: dict[str, Json] = dict.fromkeys(
        ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"), 0
    )
    counts: dict[str, Json] = {
        "prompt_eval_count": input_tokens(usage),
        "eval_count": output_tokens(usage),
    }
    return {"done": True, "done_reason": reason, **durations, **counts}

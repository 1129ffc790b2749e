"""OpenAI Responses: texts, parts and items are done, the response is incomplete for its contents.

What a client has been sent is said again in full, as the format does: an ending keeps the texts of the items
that are still open, and the finished items. A call for the client's own tools that was sent in part gets no
done event and is not among the items of the incomplete response: agents run what is done.
"""

import re
from collections.abc import Iterator, Mapping

from sallyport.exchange import Request, Usage
from sallyport.wire import fields, jsonsplice
from sallyport.wire.dialect import Answer, Stamp, StreamEvent
from sallyport.wire.endings.cutting import cut_list, cut_text, put
from sallyport.wire.endings.writing import answer, as_sent, input_tokens, model_of, named, output_tokens
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json

CLIENT_CALLS = frozenset(
    {
        "function_call",
        "custom_tool_call",
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "mcp_approval_request",
    }
)
"""Items that ask the client to run something."""

_LISTS = {"content": "content_index", "summary": "summary_index"}
_WORDS = {
    "output_text": ("content", "text"),
    "refusal": ("content", "refusal"),
    "reasoning_text": ("content", "text"),
    "reasoning_summary_text": ("summary", "text"),
}
"""Texts of parts by the type of their events: the list the part is in, the member that holds the text."""

_PARTS = {"content_part": "content", "reasoning_summary_part": "summary"}


_OWN = re.compile(rb'"resp_[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"')


class _Part:
    """A part of an open item. said: its text is done; done: so is it."""

    __slots__ = ("done", "pieces", "said", "value")

    def __init__(self, value: dict[str, Json]) -> None:
        self.value = value
        self.pieces: list[str] = []
        self.said = self.done = False

    def whole(self) -> dict[str, Json]:
        name = "refusal" if self.value.get("type") == "refusal" else "text"
        return {**self.value, name: "".join(self.pieces)} if self.pieces else self.value


class _Item:
    """An item of the answer. done: its done event was sent, and value is what that said."""

    __slots__ = ("done", "parts", "value")

    def __init__(self, value: dict[str, Json]) -> None:
        self.value = value
        self.done = False
        self.parts: dict[tuple[str, int], _Part] = {}

    def whole(self) -> dict[str, Json]:
        """Return the item as far as it was sent."""
        if self.done:
            return self.value
        lists: dict[str, Json] = {}
        for name in _LISTS:
            parts: list[Json] = [self.parts[key].whole() for key in sorted(self.parts) if key[0] == name]
            if parts:
                lists[name] = parts
        return {**self.value, "status": "incomplete", **lists}


class ResponsesEnding:
    """Ends a stream of response events."""

    def __init__(self, request: Request, stamp: Stamp) -> None:
        self._response = _response(request, stamp, "in_progress", [])
        self._items: dict[int, _Item] = {}
        self._number = -1
        self._created = self._over = False

    def sent(self, event: StreamEvent, texts: Mapping[str, str]) -> None:
        self._over = self._over or event.terminal or event.error is not None
        if event.payload is None or self._over:
            return
        payload = as_sent(event.payload, texts)
        number = fields.count(payload, "sequence_number")
        self._number = self._number + 1 if number is None else number
        kind = (fields.string(payload, "type") or "").removeprefix("response.")
        response = payload.get("response")
        if type(response) is dict:
            self._response, self._created = response, True
            return
        index = fields.count(payload, "output_index") or 0
        value = payload.get("item")
        if kind in ("output_item.added", "output_item.done") and type(value) is dict:
            item = self._items[index] = _Item(value)
            item.done = kind == "output_item.done"
            return
        known = self._items.get(index)
        if known is not None and not known.done:
            _take(known, kind, payload)

    def conclude(self, usage: Usage | None = None) -> bytes:
        if self._over:
            return b""
        events: list[dict[str, Json]] = []
        if not self._created:
            events.append({"type": "response.created", "response": self._response})
        for index, item in sorted(self._items.items()):
            if not item.done and item.value.get("type") not in CLIENT_CALLS:
                events += _closed(index, item)
        output: list[Json] = [
            item.whole()
            for _, item in sorted(self._items.items())
            if item.done or item.value.get("type") not in CLIENT_CALLS
        ]
        ended: dict[str, Json] = {
            **self._response,
            "status": "incomplete",
            "incomplete_details": {"reason": "content_filter"},
            "output": output,
            "usage": _counts(usage),
        }
        events.append({"type": "response.incomplete", "response": ended})
        return self._written(events)

    def _written(self, events: list[dict[str, Json]]) -> bytes:
        numbered = enumerate(events, self._number + 1)
        return b"".join(
            named(str(event["type"]), {**event, "sequence_number": number}) for number, event in numbered
        )


def _take(item: _Item, kind: str, payload: dict[str, Json]) -> None:
    """Note what an event tells of an open item. A done text takes the place of its pieces."""
    stem, _, what = kind.rpartition(".")
    if stem in _PARTS:
        value = payload.get("part")
        if type(value) is dict:
            part = item.parts[_key(_PARTS[stem], payload)] = _Part(value)
            part.said = part.done = what == "done"
        return
    if stem == "output_text.annotation":
        part = _part(item, "content", payload)
        annotations = part.value.get("annotations")
        listed = annotations if type(annotations) is list else []
        part.value = {**part.value, "annotations": [*listed, payload.get("annotation")]}
        return
    if stem not in _WORDS:
        return
    holder, member = _WORDS[stem]
    part = _part(item, holder, payload)
    if what == "delta":
        part.pieces.append(fields.string(payload, "delta") or "")
    elif what == "done":
        part.pieces, part.said = [fields.string(payload, member) or ""], True


def _key(holder: str, payload: dict[str, Json]) -> tuple[str, int]:
    return holder, fields.count(payload, _LISTS[holder]) or 0


def _part(item: _Item, holder: str, payload: dict[str, Json]) -> _Part:
    return item.parts.setdefault(_key(holder, payload), _Part({"type": "output_text", "text": ""}))


def _closed(index: int, item: _Item) -> Iterator[dict[str, Json]]:
    """Yield the events that close an open item: its texts, its parts, itself."""
    here: dict[str, Json] = {"item_id": item.value.get("id"), "output_index": index}
    for (holder, number), part in sorted(item.parts.items()):
        if part.done:
            continue
        place: dict[str, Json] = {**here, _LISTS[holder]: number}
        whole = part.whole()
        stem = {
            ("summary", "summary_text"): "reasoning_summary_text",
            ("content", "reasoning_text"): "reasoning_text",
            ("content", "refusal"): "refusal",
            ("content", "output_text"): "output_text",
        }.get((holder, str(whole.get("type"))))
        if stem is not None and not part.said:
            member = _WORDS[stem][1]
            done: dict[str, Json] = {"type": f"response.{stem}.done", **place, member: whole.get(member, "")}
            yield {**done, "logprobs": []} if stem == "output_text" else done
        kind = "reasoning_summary_part" if holder == "summary" else "content_part"
        yield {"type": f"response.{kind}.done", **place, "part": whole}
    yield {"type": "response.output_item.done", "output_index": index, "item": item.whole()}


def say(text: str, request: Request, stamp: Stamp) -> Answer:
    """Return a finished answer. One that had to be JSON says it as a refusal, which SDKs do not parse."""
    part: dict[str, Json] = {"type": "refusal", "refusal": text}
    if not request.structured:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item: dict[str, Json] = {
        "id": f"msg_{stamp.id}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }
    whole = _response(request, stamp, "completed", [item])
    whole["id"] = _standing(request) or whole["id"]
    if not request.stream:
        return answer(dump(whole), stamp, "application/json")
    stem, member = ("refusal", "refusal") if request.structured else ("output_text", "text")
    place: dict[str, Json] = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    logged: dict[str, Json] = {} if request.structured else {"logprobs": []}
    started = {**_response(request, stamp, "in_progress", []), "id": whole["id"]}
    opened: dict[str, Json] = {**item, "status": "in_progress", "content": []}
    events: list[dict[str, Json]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        {"type": "response.content_part.added", **place, "part": {**part, member: ""}},
        {"type": f"response.{stem}.delta", **place, "delta": text, **logged},
        {"type": f"response.{stem}.done", **place, member: text, **logged},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    body = b"".join(
        named(str(event["type"]), {**event, "sequence_number": number}) for number, event in enumerate(events)
    )
    return answer(body, stamp, "text/event-stream")


def shortened(body: bytes, at: str, start: int) -> bytes:
    """Return an answer that ends at a place of one of its items. Raises WireError."""
    path = at.split("/")
    body = put(body, "/status", b'"incomplete"')
    body = put(body, "/incomplete_details", b'{"reason":"content_filter"}')
    if path[1] != "output":
        return body
    in_part = len(path) == 6 and path[3] in _LISTS and path[5] in ("text", "refusal")
    if not in_part:
        return cut_list(body, "/output", int(path[2]))
    item = f"/output/{path[2]}"
    body = cut_list(body, "/output", int(path[2]) + 1)
    body = put(body, f"{item}/status", b'"incomplete"')
    if path[3] == "summary":
        body = cut_list(body, f"{item}/content", 0)
    return cut_text(cut_list(body, f"{item}/{path[3]}", int(path[4]) + 1), at, start)


def _response(request: Request, stamp: Stamp, status: str, output: list[Json]) -> dict[str, Json]:
    return {
        "id": f"resp_{stamp.id}",
        "object": "response",
        "created_at": stamp.created_s,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": model_of(request),
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": request.previous,
        "store": False,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": _counts(None) if status == "completed" else None,
    }


def is_own(id: str) -> bool:
    """Say whether a response was the gateway's own: its id is made of a decision's, which no provider writes so."""
    return _OWN.fullmatch(f'"{id}"'.encode()) is not None


def unlinked(body: bytes) -> bytes:
    """Return a request's body that continues nothing where it would continue an answer of the gateway's own."""
    if _OWN.search(body) is None:
        return body
    span = jsonsplice.value_span(body, "/previous_response_id")
    if span is None or _OWN.fullmatch(body[slice(*span)]) is None:
        return body
    return put(body, "/previous_response_id", b"null")


def _standing(request: Request) -> str | None:
    """Return the response that a conversation kept by the provider stands at.

    A client continues from the id of the last answer it got, and the provider knows none of ours.
    """
    previous = request.previous
    return previous if previous is not None and previous.startswith("resp") else None


def _counts(usage: Usage | None) -> dict[str, Json]:
    asked, said = input_tokens(usage), output_tokens(usage)
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": (usage.cache_read if usage else None) or 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": (usage.reasoning if usage else None) or 0},
        "total_tokens": asked + said,
    }

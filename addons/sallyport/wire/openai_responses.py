"""OpenAI Responses: input items, output items, and a stream that says every text two to four times."""

from collections.abc import Mapping
from dataclasses import replace

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Response, Tool, Usage
from sallyport.wire import answerschema, declared, fields, openai_common
from sallyport.wire.dialect import Answer, Call, Delta, Ending, Stamp, StreamEvent, StreamReader
from sallyport.wire.endings import responses
from sallyport.wire.errors import WireError
from sallyport.wire.joinedparts import SHOWN_ON, JoinedParts
from sallyport.wire.jsondialect import JsonDialect, dump
from sallyport.wire.jsontext import Json
from sallyport.wire.openai_items import ANSWER, EVENT, REQUEST
from sallyport.wire.settings import Settings
from sallyport.wire.shape import Reading, walk
from sallyport.wire.streams import OpenChannels, SseReader, deltas

_ENDS = {"response.completed", "response.incomplete", "response.failed", "error"}

# What the text of an event belongs to, by the type without "response." and ".delta" or ".done".
_PLACES = {
    "output_text": "content/{content_index}/text",
    "refusal": "content/{content_index}/refusal",
    "reasoning_text": "content/{content_index}/text",
    "reasoning_summary_text": "summary/{summary_index}/text",
    "content_part": "content/{content_index}",
    "reasoning_summary_part": "summary/{summary_index}",
    "function_call_arguments": "arguments",
    "mcp_call_arguments": "arguments",
    "custom_tool_call_input": "input",
    "code_interpreter_call_code": "code",
    "shell_call_command": "action/commands/{command_index}",
    "audio.transcript": "transcript",
}


# Members of an event that hold (a piece of) its item's text, and members that tell more of the item.
_RUNNING = {"delta", "text", "refusal", "arguments", "input", "code", "transcript", "command"}
_IN_ITEM = ("/delta", "/annotation", "/logprobs", "/name")


_SETTINGS = Settings(deep={("reasoning", "effort"): "reasoning_effort", ("text", "verbosity"): "verbosity"})
_HERE = "max_output_tokens temperature top_p store background service_tier truncation parallel_tool_calls"
SETTABLE = {
    **{name: f"/{name}" for name in (*_HERE.split(), "max_tool_calls")},
    "reasoning_effort": "/reasoning/effort",
    "verbosity": "/text/verbosity",
}


class OpenAIResponses(JsonDialect):
    """POST /responses and its count and compact companions."""

    name = "openai_responses"
    request = REQUEST
    answer = ANSWER
    problem = openai_common.PROBLEM
    settings = _SETTINGS

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        # The input may be missing: a stored prompt or conversation can stand in for it.
        if type(payload.get("input", "")) not in (str, list):
            raise WireError("json.type", "/input")
        if type(payload.get("instructions") or "") not in (str, list):
            raise WireError("json.type", "/instructions")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        names = openai_common.tool_names(payload.get("tools"))
        for item in fields.objects(payload, "input"):
            names += openai_common.tool_names(item.get("tools"))
        return names

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        return declared.of_openai(payload)

    def places(self, payload: dict[str, Json], call: Call) -> Mapping[str, str]:
        return SETTABLE

    def limit(self, payload: dict[str, Json]) -> int | None:
        return fields.limit(payload, "max_output_tokens")

    def structured(self, payload: dict[str, Json]) -> bool:
        return fields.string(payload, "text", "format", "type") in ("json_schema", "json_object")

    def schema(self, payload: dict[str, Json]) -> str | None:
        return answerschema.of_openai_responses(payload)

    def previous(self, payload: dict[str, Json]) -> str | None:
        found = fields.previous(payload, "previous_response_id", "conversation")
        return None if found is None or responses.is_own(found) else found

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        return Response(
            status,
            tuple(reading.segments),
            finish_reason=_finish(payload),
            usage=_usage(payload),
            model=fields.string(payload, "model"),
            id=fields.string(payload, "id"),
            error=_error(payload, status),
        )

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        return SseReader(ResponsesEvents())

    def ending(
        self, request: Request, stamp: Stamp, content_type: str = "text/event-stream"
    ) -> Ending | None:
        return responses.ResponsesEnding(request, stamp)

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer | None:
        return responses.say(text, request, stamp)

    def unlinked(self, body: bytes) -> bytes:
        return responses.unlinked(body)

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        return responses.shortened(body, at, start)

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return openai_common.refusal_body(refusal)

    def stream_error(self, refusal: Refusal) -> bytes:
        # Without a top-level `error` the SDK only yields the event; it raises on this one.
        return b"event: error\ndata: " + dump({"type": "error", **self.error(refusal)}) + b"\n\n"


class ResponsesEvents:
    """Interprets events; channels are named like pointers into the finished response (output/0/...).

    Parts of text that clients show joined are one channel; event() raises WireError stream.order, as JoinedParts does.
    """

    def __init__(self) -> None:
        self._open = OpenChannels()
        self._joined = JoinedParts()

    def event(self, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        kind = fields.string(payload, "type") or ""
        item = _item(payload)
        place = _place(kind, payload)
        here = item + (f"/{place}" if place else "")

        def channel(at: str) -> str:
            if at.startswith("/response/output/"):
                return at[len("/response/") :]
            if at.startswith("/item/"):
                return item + at[len("/item") :]
            if at.startswith("/part/"):
                return here + at[len("/part") :]
            if at[1:] in _RUNNING:
                return here if place else f"{item}/{kind.removeprefix('response.')}"
            return f"{item}{at}" if at.startswith(_IN_ITEM) else at[1:]

        reading = walk(payload, EVENT)
        found = deltas(reading, channel)
        before: tuple[str, ...] = ()
        if kind == "response.created":
            before = self._open.close(self._joined.run) if self._joined.run else ()
            self._joined = self._joined.anew()
        elif kind == "response.output_text.delta":
            name = self._run(here, payload)
            found = tuple(
                d if d.whole else Delta(name, d.surface, d.at, d.text, part=here, behind=self._joined.behind)
                for d in found
            )
        elif kind == "response.output_item.added" and fields.string(payload, "item", "type") not in SHOWN_ON:
            run = self._joined.over()
            before = self._open.close(run) if run else ()
        elif kind.endswith(".done"):
            self._joined.done(here)
        self._open.take(found)
        response = payload.get("response")
        whole = response if type(response) is dict else {}
        ends = kind in _ENDS
        error = _error(payload if kind == "error" else whole, 200) if ends or payload.get("error") else None
        if ends or payload.get("error"):
            closes: tuple[str, ...] = ("*",)
            self._joined = self._joined.anew()
        elif kind == "response.output_item.done":
            closes = self._open.close(f"{item}/", keep=self._joined.run)
        elif kind.endswith(".done") and place:
            closes = self._open.close(here, keep=self._joined.run)
        else:
            closes = ()
        return StreamEvent(
            raw,
            found,
            (*before, *closes),
            finish_reason=("error" if error else _finish(whole)) if ends else None,
            usage=_usage(whole),
            model=fields.string(whole, "model"),
            id=fields.string(whole, "id"),
            error=error or (_error(payload, 200) if payload.get("error") else None),
            terminal=ends,
            payload=payload,
            attachments=tuple(reading.attachments),
        )

    def _run(self, own: str, payload: dict[str, Json]) -> str:
        """Return the channel of a piece of text."""
        index = fields.count(payload, "output_index")
        if index is None:
            return self._joined.goes_on(own)
        return self._joined.channel(own, index, fields.count(payload, "content_index") or 0)


def _item(payload: dict[str, Json]) -> str:
    index = fields.count(payload, "output_index")
    if index is not None:
        return f"output/{index}"
    return f"output/{fields.string(payload, 'item_id') or 0}"


def _place(kind: str, payload: dict[str, Json]) -> str:
    """Return where in its item the text of an event stands; "" if its type says nothing of it."""
    stem = kind.removeprefix("response.").removesuffix(".delta").removesuffix(".done").removesuffix(".added")
    place = _PLACES.get(stem, "")
    if "{" not in place:
        return place
    names = ("content_index", "summary_index", "command_index")
    return place.format(**{name: fields.count(payload, name) or 0 for name in names})


def _finish(response: dict[str, Json]) -> str | None:
    """Normalise a status. A call for the client's tools is "tool", a refusal part is "filtered"."""
    match response.get("status"):
        case "completed":
            output = fields.objects(response, "output")
            if any(
                part.get("type") == "refusal" for item in output for part in fields.objects(item, "content")
            ):
                return "filtered"
            calls = any(fields.string(item, "type") in responses.CLIENT_CALLS for item in output)
            return "tool" if calls else "stop"
        case "incomplete":
            reason = fields.get(response, "incomplete_details", "reason")
            return {"content_filter": "filtered", "max_output_tokens": "length"}.get(str(reason), "stop")
        case "failed" | "cancelled":
            return "error"
        case "in_progress" | "queued":
            return "pending"
    return None


def _usage(response: dict[str, Json]) -> Usage | None:
    counts = response.get("usage")
    if type(counts) is not dict:
        # POST /responses/input_tokens answers with a bare count.
        bare = fields.count(response, "input_tokens")
        return None if bare is None else Usage(input=bare, output=0)
    found = Usage(
        input=fields.count(counts, "input_tokens"),
        cache_read=fields.count(counts, "input_tokens_details", "cached_tokens"),
        cache_write=openai_common.cache_write(counts.get("input_tokens_details")),
        output=fields.count(counts, "output_tokens"),
        reasoning=fields.count(counts, "output_tokens_details", "reasoning_tokens"),
        searches=sum(map(_is_search, fields.objects(response, "output"))) or None,
    )
    return None if found == Usage() else replace(found, tier=openai_common.tier(response))


def _is_search(item: dict[str, Json]) -> bool:
    """Say whether an item is a web search; to open a page it found, or to look into one, costs nothing more."""
    return (
        item.get("type") == "web_search_call"
        and (fields.string(item, "action", "type") or "search") == "search"
    )


def _error(payload: dict[str, Json], status: int) -> str | None:
    """Return the code of an error event, a failed response, or a body with an `error` member."""
    if payload.get("error") or payload.get("type") == "error":
        return fields.error_code(payload, status, *OpenAIResponses.codes)
    return None

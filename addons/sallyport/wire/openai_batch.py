"""OpenAI's batch and fine-tuning files: JSON lines, each with a whole request or a whole answer inside.

Source: OpenAI Batch API reference; one model per file is OpenAI's own rule.
"""

from collections.abc import Mapping, Sequence

from sallyport.decision import Change, Edit, Refusal
from sallyport.exchange import Operation, Parameter, Request, Response, Surface, Tool
from sallyport.wire import (
    declared,
    fields,
    openai_chat,
    openai_common,
    openai_completions,
    openai_embeddings,
    openai_items,
)
from sallyport.wire.dialect import Answer, Call, StreamReader
from sallyport.wire.endings.mute import Mute
from sallyport.wire.errors import WireError
from sallyport.wire.jsondialect import dump, headers
from sallyport.wire.jsonlines import change_lines, edit_lines, read_lines, walk_lines
from sallyport.wire.jsontext import Json
from sallyport.wire.ndjson import LineReader
from sallyport.wire.openai_chat import ChatEvents
from sallyport.wire.settings import Settings
from sallyport.wire.shape import Shape
from sallyport.wire.shapes import PLAIN, WORD, made, text

_A = Surface.ASSISTANT
_D = Surface.DOCUMENT

_BODIES = {
    "/v1/chat/completions": openai_chat.REQUEST,
    "/v1/completions": openai_completions.REQUEST,
    "/v1/responses": openai_items.REQUEST,
    "/v1/embeddings": openai_embeddings.REQUEST,
    "/v1/moderations": openai_embeddings.REQUEST,
}


def _input(body: Shape) -> Shape:
    return Shape(_D, {"custom_id": PLAIN, "method": WORD, "url": text(_D), "body": body})


_INPUTS = {url: _input(body) for url, body in _BODIES.items()}
# Of an endpoint that goes by another name, such as Azure's "/chat/completions": whatever may be content is.
ANY_BODY = Shape(_D, {**openai_items.REQUEST.fields, **openai_chat.REQUEST.fields})
_OTHER_INPUT = _input(ANY_BODY)
# A line of a training file: a chat, a preference between two answers, or a prompt and its completion.
_TRAINING = Shape(
    _D,
    {
        **openai_chat.REQUEST.fields,
        "input": openai_chat.REQUEST,
        **dict.fromkeys(("preferred_output", "non_preferred_output"), openai_chat.REQUEST.fields["messages"]),
        "prompt": text(Surface.USER),
        "completion": text(_A),
    },
)


def _line(members: Mapping[str, Json]) -> Shape:
    if "body" not in members:
        return _TRAINING
    url = members.get("url")
    return _INPUTS.get(url, _OTHER_INPUT) if type(url) is str else _OTHER_INPUT


LINE = Shape(_D, choose=_line)


def _answer_body(members: Mapping[str, Json]) -> Shape:
    if "output" in members:
        return openai_items.ANSWER
    return openai_embeddings.ANSWER if "data" in members else openai_chat.ANSWER


RESULT = Shape(
    _D,
    {
        **made("id custom_id"),
        "error": openai_common.PROBLEM.fields["error"],
        "response": Shape(
            _D, {**made("status_code request_id"), "body": Shape(_A, choose=_answer_body)}, names=False
        ),
    },
    names=False,
)


_SETTINGS = Settings(deep={("reasoning", "effort"): "reasoning_effort", ("text", "verbosity"): "verbosity"})


class OpenAIBatch(Mute):
    """A batch file by itself: sent as JSON lines, or fetched from GET /files/{id}/content."""

    name = "openai_batch"

    def read_request(self, body: bytes, call: Call) -> Request:
        """Read a whole file. Raises WireError batch.models if its lines name more than one model."""
        lines = read_lines(body)
        reading = walk_lines(lines, LINE)
        return Request(
            provider=call.provider,
            dialect=self.name,
            operation=Operation.BATCH,
            model=model_of(lines) or call.model,
            segments=tuple(reading.segments),
            attachments=tuple(reading.attachments),
            tools=tools_of(lines),
            answers=max(1, len(lines)),
            declared=declared_in(lines),
            parameters=settings_in(lines),
        )

    def read_response(self, body: bytes, status: int) -> Response:
        reading = walk_lines(read_lines(body), RESULT)
        return Response(
            status,
            tuple(reading.segments),
            error=f"http_{status}" if status >= 400 else None,
            attachments=tuple(reading.attachments),
        )

    def open_stream(self, content_type: str = "application/jsonl") -> StreamReader:
        return LineReader(ChatEvents())

    def edit(self, body: bytes, edits: Sequence[Edit]) -> bytes:
        return edit_lines(body, edits)

    def change(self, body: bytes, changes: Sequence[Change]) -> bytes:
        return change_lines(body, changes)

    def ask_usage(self, body: bytes) -> bytes | None:
        return None

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        return Answer(refusal.status, headers(refusal), dump(openai_common.refusal_body(refusal)))

    def stream_error(self, refusal: Refusal) -> bytes:
        return dump(openai_common.refusal_body(refusal)) + b"\n"


def model_of(lines: Sequence[tuple[int, dict[str, Json]]]) -> str | None:
    """Return the one model that the lines name. Raises WireError batch.models if there are several."""
    found: str | None = None
    for number, line in lines:
        model = fields.string(line, "body", "model")
        if found and model and model != found:
            raise WireError("batch.models", f"/{number}")
        found = found or model
    return found


def tools_of(lines: Sequence[tuple[int, dict[str, Json]]]) -> tuple[str, ...]:
    """Return the names of all tools that the lines declare, each once."""
    names: dict[str, None] = {}
    for _, line in lines:
        holder = line.get("body", line)
        names |= dict.fromkeys(openai_common.tool_names(fields.get(holder, "tools")))
    return tuple(names)


def declared_in(lines: Sequence[tuple[int, dict[str, Json]]]) -> tuple[Tool, ...]:
    """Return all tools that the lines declare, each once."""
    found: dict[Tool, None] = {}
    for _, line in lines:
        body = line.get("body", line)
        found |= dict.fromkeys(declared.of_openai(body) if type(body) is dict else ())
    return tuple(found)


def settings_in(lines: Sequence[tuple[int, dict[str, Json]]], prefix: str = "") -> tuple[Parameter, ...]:
    """Return the settings of every line's request. prefix: of the pointers."""
    found: list[Parameter] = []
    for number, line in lines:
        body = line.get("body")
        if type(body) is dict:
            found += _SETTINGS.read(body, f"{prefix}/{number}/body")
    return tuple(found)

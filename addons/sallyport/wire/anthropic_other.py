"""Anthropic's message batches and files: whole Messages requests inside one body, their answers as JSON lines.

Source: Anthropic API reference, anthropic-python 2.11, November 2026. One model per batch is a rule of ours, as
OpenAI has it: a policy that judges by models then judges all of it.
"""

from dataclasses import replace

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Parameter, Request, Surface, Tool
from sallyport.wire import anthropic_blocks, fields
from sallyport.wire.anthropic_messages import AnthropicMessages
from sallyport.wire.dialect import Answer, Call, StreamReader
from sallyport.wire.errors import WireError
from sallyport.wire.filing import Filing
from sallyport.wire.jsondialect import dump, headers
from sallyport.wire.jsontext import Json
from sallyport.wire.ndjson import LineReader
from sallyport.wire.openai_chat import ChatEvents
from sallyport.wire.openai_form import OpenAIForm
from sallyport.wire.shape import Shape
from sallyport.wire.shapes import PLAIN, made

_D = Surface.DOCUMENT
_MESSAGES = AnthropicMessages()

REQUEST = Shape(_D, {"requests": Shape(_D, {"custom_id": PLAIN, "params": anthropic_blocks.REQUEST})})
_MADE = made(
    "id type processing_status request_counts created_at ended_at expires_at archived_at cancel_initiated_at "
    "results_url size_bytes mime_type downloadable has_more first_id last_id"
)
ANSWER = Shape(_D, _MADE, names=False)
ANSWER.rest = ANSWER
_RESULT = Shape(
    _D, {**made("type"), "message": anthropic_blocks.ANSWER, "error": anthropic_blocks.PROBLEM}, names=False
)
LINE = Shape(_D, {"custom_id": PLAIN, "result": _RESULT}, names=False)


class AnthropicOther(Filing):
    """POST and GET of /v1/messages/batches, and /v1/files but for the upload."""

    name = "anthropic_other"
    request = REQUEST
    answer = ANSWER
    line = LINE
    problem = anthropic_blocks.PROBLEM
    codes = ("type", "code")

    def read_body(self, payload: dict[str, Json], call: Call) -> Request:
        """Read a batch. Raises WireError batch.models if its requests name more than one model."""
        request = super().read_body(payload, call)
        if call.operation is not Operation.BATCH:
            return request
        fields.require_objects(payload, "requests")
        inside = [_params(each, number) for number, each in enumerate(fields.objects(payload, "requests"))]
        models = {found for params in inside if (found := fields.string(params, "model"))}
        if len(models) > 1:
            raise WireError("batch.models")
        tools: dict[str, None] = {}
        declared: dict[Tool, None] = {}
        parameters: tuple[Parameter, ...] = ()
        for number, params in enumerate(inside):
            tools |= dict.fromkeys(_MESSAGES.tools(params))
            declared |= dict.fromkeys(_MESSAGES.declared(params))
            parameters += _MESSAGES.settings.read(params, f"/requests/{number}/params")
        return replace(
            request,
            model=next(iter(models), None),
            tools=tuple(tools),
            declared=tuple(declared),
            answers=len(inside),
            max_output_tokens=sum(_MESSAGES.limit(params) or 0 for params in inside) or None,
            parameters=parameters,
        )

    def open_stream(self, content_type: str = "application/x-jsonl") -> StreamReader:
        return LineReader(ChatEvents())

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return _MESSAGES.error(refusal)


class AnthropicForm(OpenAIForm):
    """POST /v1/files: a form, refused in Anthropic's words."""

    name = "anthropic_form"

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        return Answer(refusal.status, headers(refusal), dump(_MESSAGES.error(refusal)))

    def stream_error(self, refusal: Refusal) -> bytes:
        return _MESSAGES.stream_error(refusal)


def _params(each: dict[str, Json], number: int) -> dict[str, Json]:
    """Return the Messages request of one entry. Raises WireError if there is none."""
    found = each.get("params")
    if type(found) is not dict:
        raise WireError("json.type", f"/requests/{number}/params")
    _MESSAGES.check(found, Operation.CHAT)
    return found

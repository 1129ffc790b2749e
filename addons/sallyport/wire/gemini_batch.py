"""Gemini's batches: generate requests inside one body, answers inside the operation that is asked for later.

Source: google-genai 3.4, November 2026. Requests that lie in a file are content by reference, for the policy to judge.
"""

from dataclasses import replace

from sallyport.exchange import Attachment, Operation, Parameter, Request, Response, Tool
from sallyport.wire import fields
from sallyport.wire.dialect import Call
from sallyport.wire.errors import WireError
from sallyport.wire.gemini_generate import GeminiGenerate
from sallyport.wire.gemini_parts import BATCH_ANSWER
from sallyport.wire.jsontext import MAX_ANSWER_NODES, Json, parse, parse_object
from sallyport.wire.leaves import FILE_REFERENCE
from sallyport.wire.shapes import snake


class GeminiBatch(GeminiGenerate):
    """POST models/{model}:batchGenerateContent, GET of batches, and GET, POST of batches/{id}."""

    name = "gemini_batch"
    answer = BATCH_ANSWER

    def read_request(self, body: bytes, call: Call) -> Request:
        """Read a batch. Raises WireError batch.models if a request in it names another model than the path."""
        if not body:
            return Request(call.provider, self.name, call.operation, call.model)
        request = super().read_request(body, call)
        payload = parse_object(body)
        inside = _inside(payload)
        for holder in (fields.get(payload, "batch"), *(each for _, each in inside)):
            _check_model(fields.get(holder, "model"), call)
        parameters: tuple[Parameter, ...] = request.parameters
        for at, each in inside:
            parameters += self.settings.read(each, at)
        reference = _input(payload)[1]
        by_file = _member(reference, "fileName")[1]
        attachments = request.attachments
        if by_file is not None:
            attachments += (Attachment("/batch", FILE_REFERENCE, None),)
        return replace(
            request,
            parameters=parameters,
            attachments=attachments,
            max_output_tokens=sum(super(GeminiBatch, self).limit(each) or 0 for _, each in inside) or None,
            answers=max(1, sum(super(GeminiBatch, self).answers(each) for _, each in inside)),
        )

    def read_response(self, body: bytes, status: int) -> Response:
        """Read an answer; a batch goes by the end of its name, as the path of later calls has it.

        One that is deleted or cancelled may be answered with nothing, as those of other providers.
        """
        if not body:
            return Response(status, error=f"http_{status}" if status >= 400 else None)
        answer = super().read_response(body, status)
        name = fields.string(parse(body, MAX_ANSWER_NODES), "name") if status < 400 else None
        return replace(answer, id=name.rpartition("/")[2]) if name else answer

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        if _input(payload)[1] is None:
            raise WireError("json.type", "/batch")
        for _, each in _inside(payload):
            super().check(each, Operation.CHAT)

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        return tuple(name for _, each in _inside(payload) for name in super(GeminiBatch, self).tools(each))

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        return tuple(tool for _, each in _inside(payload) for tool in super(GeminiBatch, self).declared(each))


def _member(value: Json, name: str) -> tuple[str, Json]:
    """Return a member with the name it goes by, camelCase or snake_case. Raises WireError if it goes by both."""
    there = [spelt for spelt in (name, snake(name)) if fields.get(value, spelt) is not None]
    if len(set(there)) > 1:
        raise WireError("json.type", f"/batch/{name}")
    spelt = there[0] if there else name
    return spelt, fields.get(value, spelt)


def _check_model(named: Json, call: Call) -> None:
    """Raise WireError batch.models for a model that is not the one of the path, which policy judges."""
    if named is None:
        return
    if type(named) is not str or named.removeprefix("models/") != (call.model or "").removeprefix("models/"):
        raise WireError("batch.models")


def _input(payload: dict[str, Json]) -> tuple[str, Json]:
    """Return where a batch has its requests, and what stands there."""
    spelt, found = _member(payload.get("batch"), "inputConfig")
    return f"/batch/{spelt}", found


def _inside(payload: dict[str, Json]) -> list[tuple[str, dict[str, Json]]]:
    """Return the generate requests of a batch, with their pointers."""
    at, found = _input(payload)
    requests = fields.get(found, "requests", "requests")
    held = []
    for number, each in enumerate(requests if type(requests) is list else ()):
        request = fields.get(each, "request")
        if type(request) is dict:
            held.append((f"{at}/requests/requests/{number}/request", request))
    return held

"""Requests whose text stands in `input`: OpenAI's embeddings and moderations."""

from dataclasses import replace

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Response, Surface
from sallyport.wire import fields, openai_common
from sallyport.wire.dialect import StreamReader
from sallyport.wire.errors import WireError
from sallyport.wire.jsondialect import JsonDialect, dump
from sallyport.wire.jsontext import Json
from sallyport.wire.openai_chat import ChatEvents
from sallyport.wire.shape import Reading, Shape
from sallyport.wire.shapes import MODEL, made, plain, words
from sallyport.wire.streams import SseReader

_INPUT = openai_common.parts(Surface.DOCUMENT)
_INPUT.tokens = True

REQUEST = Shape(
    Surface.DOCUMENT,
    {"model": MODEL, "input": _INPUT, **words("encoding_format"), **plain("dimensions user stream")},
)
_DATUM = Shape(Surface.DOCUMENT, made("embedding object index"), names=False)
ANSWER = Shape(
    Surface.DOCUMENT, {"data": _DATUM, **made("id object model usage created results")}, names=False
)


class OpenAIEmbeddings(JsonDialect):
    """POST /embeddings and /moderations."""

    name = "openai_embeddings"
    request = REQUEST
    answer = ANSWER
    problem = openai_common.PROBLEM

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        if type(payload.get("input")) not in (str, list):
            raise WireError("json.type", "/input")

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        usage = openai_common.usage(payload.get("usage"))
        return Response(
            status,
            tuple(reading.segments),
            # An embedding has no output tokens; providers leave the count out or repeat the input.
            usage=replace(usage, output=usage.output or 0) if usage else None,
            model=fields.string(payload, "model"),
            id=fields.string(payload, "id"),
        )

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        return SseReader(ChatEvents())

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return openai_common.refusal_body(refusal)

    def stream_error(self, refusal: Refusal) -> bytes:
        return b"data: " + dump(self.error(refusal)) + b"\n\n"

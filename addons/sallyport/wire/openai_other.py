"""OpenAI's calls beside conversations: images, speech, files, batches, vector stores, and the contents of files.

A batch of Mistral's may hold its requests itself: they are read as the lines of a batch file are.

Source: OpenAI API reference, openai-python 3.52, mistralai 3.7, November 2026.
"""

from dataclasses import replace

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Surface
from sallyport.wire import fields, leaves, openai_common
from sallyport.wire.dialect import Call, StreamReader
from sallyport.wire.errors import WireError
from sallyport.wire.filing import Filing
from sallyport.wire.jsontext import Json
from sallyport.wire.openai_batch import ANY_BODY, RESULT, declared_in, model_of, settings_in, tools_of
from sallyport.wire.openai_form import FormEvents
from sallyport.wire.shape import Shape
from sallyport.wire.shapes import BASE64, MODEL, PLAIN, REFERENCE, made, plain, text, words
from sallyport.wire.streams import SseReader

_D = Surface.DOCUMENT

_REFERENCES = Shape(_D, leaf=leaves.reference)
_INSIDE = Shape(_D, {"file_id": REFERENCE})
REQUEST = Shape(
    _D,
    {
        "model": MODEL,
        **dict.fromkeys(("prompt", "input", "query"), text(Surface.USER)),
        "instructions": text(Surface.SYSTEM),
        **words("quality style size background moderation output_format response_format stream_format voice"),
        **words("input_fidelity completion_window purpose"),
        **plain("n output_compression partial_images speed stream max_num_results rewrite_query"),
        **dict.fromkeys(("input_file_id", "file_id"), REFERENCE),
        **dict.fromkeys(("file_ids", "input_files"), _REFERENCES),
        "files": _INSIDE,
        "requests": Shape(_D, {"custom_id": PLAIN, "body": ANY_BODY}),
    },
)
_MADE = made(
    "id object created created_at status bytes purpose deleted has_more first_id last_id quality size background "
    "output_format expires_at input_file_id output_file_id error_file_id endpoint completion_window usage "
    "request_counts in_progress_at finalizing_at completed_at"
)
ANSWER = Shape(Surface.ASSISTANT, {**_MADE, "b64_json": BASE64}, names=False)
ANSWER.rest = ANSWER


class OpenAIOther(Filing):
    """/images/generations, /audio/speech, /files, /batches, /vector_stores, and what their compatible clouds have."""

    name = "openai_other"
    request = REQUEST
    answer = ANSWER
    line = RESULT
    problem = openai_common.PROBLEM
    continues = ("input_file_id",)
    makes = ("output_file_id", "error_file_id", "output_file", "error_file")

    def read_body(self, payload: dict[str, Json], call: Call) -> Request:
        """Read a request. Raises WireError batch.models if a batch names more than one model."""
        request = super().read_body(payload, call)
        if call.operation is not Operation.BATCH or payload.get("requests") is None:
            return request
        fields.require_objects(payload, "requests")
        lines = list(enumerate(fields.objects(payload, "requests")))
        for number, line in lines:
            if type(line.get("body")) is not dict:
                raise WireError("json.type", f"/requests/{number}/body")
        asked = model_of(lines)
        if request.model and asked and asked != request.model:
            raise WireError("batch.models")
        return replace(
            request,
            model=request.model or asked,
            tools=tools_of(lines),
            declared=declared_in(lines),
            answers=max(1, len(lines)),
            parameters=request.parameters + settings_in(lines, "/requests"),
        )

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        return SseReader(FormEvents())

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return openai_common.refusal_body(refusal)

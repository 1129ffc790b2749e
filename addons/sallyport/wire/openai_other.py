"""OpenAI's calls beside conversations: images, speech, files, batches, vector stores, and the contents of files.

Source: OpenAI API reference, openai-python 3.52, November 2026.
"""

from sallyport.decision import Refusal
from sallyport.exchange import Surface
from sallyport.wire import leaves, openai_common
from sallyport.wire.dialect import StreamReader
from sallyport.wire.filing import Filing
from sallyport.wire.jsontext import Json
from sallyport.wire.openai_batch import RESULT
from sallyport.wire.openai_form import FormEvents
from sallyport.wire.shape import Shape
from sallyport.wire.shapes import BASE64, MODEL, REFERENCE, made, plain, text, words
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

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        return SseReader(FormEvents())

    def error(self, refusal: Refusal) -> dict[str, Json]:
        return openai_common.refusal_body(refusal)

"""OpenAI's uploads: multipart forms with a prompt, a file to hear or see, or JSON lines to run.

Pointers: /<part>/name, /<part>/filename, /<part>/content; below the content of a file of JSON lines,
/<part>/content/<line>/... . A part that is valid UTF-8 is read as text, whatever it says it is.

Source: OpenAI API reference: files, uploads, audio, image edits.
"""

import re
from collections.abc import Sequence

from sallyport.decision import Change, Edit, Refusal
from sallyport.exchange import Attachment, Parameter, Request, Response, Scalar, Segment, Surface, Usage
from sallyport.wire import fields, jsonsplice, leaves, openai_common
from sallyport.wire.dialect import Answer, Call, StreamEvent, StreamReader
from sallyport.wire.endings.mute import Mute
from sallyport.wire.errors import WireError
from sallyport.wire.formsplice import decoded, edit_form, set_fields
from sallyport.wire.inline import is_whole, text_of
from sallyport.wire.jsondialect import dump, headers
from sallyport.wire.jsonlines import add_under, read_lines, walk_lines
from sallyport.wire.jsontext import Json, parse
from sallyport.wire.multipart import Part, boundary_of, read_parts
from sallyport.wire.openai_batch import LINE, declared_in, model_of, settings_in, tools_of
from sallyport.wire.settings import ALIASES, KNOWN
from sallyport.wire.shape import Reading, Shape, walk
from sallyport.wire.shapes import BASE64, made
from sallyport.wire.streams import SseReader, deltas
from sallyport.wire.textsplice import spliced

_A = Surface.ASSISTANT
_D = Surface.DOCUMENT

_JSON_LINES = (
    "application/jsonl",
    "application/x-jsonlines",
    "application/x-ndjson",
    "application/json-lines",
)
_LINE_PURPOSES = ("batch", "fine-tune")
CODES = ("code", "type")
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_YES, _NO = ("true", "1"), ("false", "0", "")

_PIECES = {
    **made(
        "id object type usage task language duration created tokens background size quality output_format"
    ),
    "b64_json": BASE64,
    "logprobs": openai_common.LOGPROB,
    "error": openai_common.PROBLEM.fields["error"],
}
ANSWER = Shape(_A, {**_PIECES, **made("purpose status bytes created_at")}, names=False)
CHUNK = Shape(_A, {**_PIECES, "delta": Shape(_A, leaf=leaves.flow)}, names=False)
for _shape in (ANSWER, CHUNK):
    _shape.rest = _shape  # the same members stand below, in data[] and segments[]


class OpenAIForm(Mute):
    """POST of multipart/form-data: /files, /uploads/{id}/parts, /audio/..., /images/edits."""

    name = "openai_form"

    def read_request(self, body: bytes, call: Call) -> Request:
        """Read a form.

        Raises WireError as read_parts and read_lines do, form.duplicate for a repeated name that is no list,
        form.binary for a field that is no file and no text, batch.models where a field names another model than
        the lines of a file.
        """
        parts = read_parts(body, boundary_of(call.content_type))
        values = _values(parts, body)
        reading = Reading()
        lines: list[tuple[int, dict[str, Json]]] = []
        parameters = _settings(parts, body)
        for number, part in enumerate(parts):
            _read_names(reading, f"/{number}", part)
            found = _read_content(reading, f"/{number}/content", part, body, values.get("purpose", ""))
            parameters += settings_in(found, f"/{number}/content")
            lines += found
        named, asked = values.get("model"), model_of(lines)
        if named and asked and named != asked:
            raise WireError("batch.models")
        return Request(
            provider=call.provider,
            dialect=self.name,
            operation=call.operation,
            model=named or asked or call.model,
            segments=tuple(reading.segments),
            attachments=tuple(reading.attachments),
            tools=tools_of(lines),
            stream=_stream(values.get("stream", ""), call),
            answers=max(1, len(lines)),
            declared=declared_in(lines),
            parameters=tuple(parameters),
        )

    def read_response(self, body: bytes, status: int) -> Response:
        """Read an answer; subtitles and plain transcripts are one text at the pointer ""."""
        if status < 400 and not body.lstrip().startswith((b"{", b"[")):
            return Response(status, (Segment("", _A, decoded(body)),) if body else ())
        payload = parse(body)
        if status >= 400:
            reading = walk(payload, openai_common.PROBLEM)
            return Response(status, tuple(reading.segments), error=fields.error_code(payload, status, *CODES))
        reading = walk(payload, ANSWER)
        return Response(
            status,
            tuple(reading.segments),
            usage=_usage(payload),
            id=fields.string(payload, "id"),
            attachments=tuple(reading.attachments),
        )

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        return SseReader(FormEvents())

    def edit(self, body: bytes, edits: Sequence[Edit]) -> bytes:
        """Edit a form, or an answer of either kind."""
        if not edits:
            return body
        if all(one.at == "" for one in edits):
            return spliced(decoded(body), edits).encode()
        if body.lstrip().startswith((b"{", b"[")):
            return jsonsplice.edit(body, edits)
        return edit_form(body, edits)

    def change(self, body: bytes, changes: Sequence[Change]) -> bytes:
        """Set fields of a form. A line of a file in it cannot be changed: raises WireError change.pointer."""
        return set_fields(body, changes) if changes else body

    def ask_usage(self, body: bytes) -> bytes | None:
        return None

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        return Answer(refusal.status, headers(refusal), dump(openai_common.refusal_body(refusal)))

    def stream_error(self, refusal: Refusal) -> bytes:
        return b"data: " + dump(openai_common.refusal_body(refusal)) + b"\n\n"


class FormEvents:
    """Interprets transcript.text.* and image events; there is one channel, delta."""

    def event(self, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        kind = fields.string(payload, "type") or ""
        error = fields.error_code(payload, 200, *CODES) if payload.get("error") else None
        done = kind.endswith((".done", ".completed"))
        reading = walk(payload, CHUNK)
        return StreamEvent(
            raw,
            deltas(reading, lambda at: at[1:]),
            closes=("*",) if done or error else (),
            finish_reason="error" if error else "stop" if done else None,
            usage=_usage(payload),
            error=error,
            payload=payload,
            attachments=tuple(reading.attachments),
        )


def _values(parts: Sequence[Part], body: bytes) -> dict[str, str]:
    """Return the texts of the fields that are no files. Servers differ on which of two equals wins."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for number, part in enumerate(parts):
        if part.name in seen and not part.name.endswith("[]"):
            raise WireError("form.duplicate", f"/{number}")
        seen.add(part.name)
        if part.filename is None:
            try:
                found[part.name] = body[slice(*part.content_span)].decode()
            except UnicodeDecodeError:
                if part.media_type is None:
                    raise WireError("form.binary", f"/{number}/content") from None
    return found


def _settings(parts: Sequence[Part], body: bytes) -> list[Parameter]:
    """Return the fields that are settings; a form writes numbers and booleans as texts."""
    found = []
    for number, part in enumerate(parts):
        name = ALIASES.get(part.name, part.name)
        if part.filename is None and name in KNOWN:
            found.append(Parameter(name, _scalar(body[slice(*part.content_span)]), f"/{number}/content"))
    return found


def _scalar(content: bytes) -> Scalar:
    text = content.decode("latin-1")
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def _read_names(reading: Reading, at: str, part: Part) -> None:
    if not leaves.is_word(part.name.removesuffix("[]")):
        reading.text(f"{at}/name", _D, part.name)
    reading.text(f"{at}/filename", _D, part.filename or "")


def _read_content(
    reading: Reading, at: str, part: Part, body: bytes, purpose: str
) -> list[tuple[int, dict[str, Json]]]:
    """Read one content; return its lines if it is JSON lines."""
    data = body[slice(*part.content_span)]
    essence = part.media_type.essence if part.media_type else ""
    if part.filename is not None and _is_lines(part.filename, essence, purpose):
        lines = read_lines(data)
        add_under(reading, walk_lines(lines, LINE), at)
        return lines
    content = text_of(data)
    is_field = part.filename is None and essence.partition("/")[0] in ("", "text")
    if content is None or not (is_field or is_whole(content, essence or leaves.OCTETS)):
        media_type = essence if leaves.is_media(essence) else leaves.OCTETS
        reading.attachments.append(Attachment(at, media_type, len(data)))
    if content is None and is_field:
        content = decoded(data)  # a field is a text, whatever is in it
    if content is None:
        return []
    if part.name != "model" or not leaves.is_model(content):
        reading.text(at, Surface.USER if part.name in ("prompt", "input") else _D, content)
    return []


def _is_lines(filename: str, essence: str, purpose: str) -> bool:
    named = filename.lower().endswith((".jsonl", ".ndjson"))
    return named or essence in _JSON_LINES or purpose in _LINE_PURPOSES


def _stream(value: str, call: Call) -> bool:
    if value.lower() not in (*_YES, *_NO):
        raise WireError("multipart.type", "/stream")
    return value.lower() in _YES or bool(call.stream)


def _usage(payload: Json) -> Usage | None:
    counts = fields.get(payload, "usage")
    found = Usage(
        input=fields.count(counts, "input_tokens"),
        output=fields.count(counts, "output_tokens"),
        audio_input=fields.some(counts, "input_token_details", "audio_tokens"),
    )
    return None if found == Usage() else found

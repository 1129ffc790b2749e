"""Calls about files and jobs: a request without a body or one JSON object, an answer of any kind.

An answer is JSON, JSON lines, another text, or bytes that nobody reads. What it names as made (files, jobs) belongs to
the conversation of the call that made it, so that what comes of it later finds its originals again.
"""

from collections.abc import Sequence

from sallyport.decision import Change, Edit, Refusal
from sallyport.exchange import Attachment, Operation, Request, Response, Segment, Surface
from sallyport.wire import fields, jsonset, jsonsplice, leaves
from sallyport.wire.dialect import Answer, Call
from sallyport.wire.endings.mute import Mute
from sallyport.wire.errors import WireError
from sallyport.wire.inline import text_of
from sallyport.wire.jsondialect import dump, headers
from sallyport.wire.jsonlines import edit_lines, read_lines, walk_lines
from sallyport.wire.jsontext import MAX_ANSWER_NODES, Json, parse, parse_object
from sallyport.wire.mediatype import require_json
from sallyport.wire.settings import Settings
from sallyport.wire.shape import Shape, walk
from sallyport.wire.textsplice import spliced


class Filing(Mute):
    """What dialects of files and jobs do alike.

    request, answer, line, problem: shapes of a request, of a JSON answer, of a line of JSON lines, of an error.
    continues: members of a request that name a file of an earlier call. makes: members of an answer that name files.
    """

    name: str
    request: Shape
    answer: Shape
    line: Shape
    problem: Shape
    codes: tuple[str, ...] = ("code", "type", "status")
    settings: Settings = Settings()
    continues: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()

    def read_request(self, body: bytes, call: Call) -> Request:
        """Read a request. Raises WireError as the parsers do, content_type.other for a body that is no JSON."""
        if not body:
            return Request(call.provider, self.name, call.operation, call.model, stream=bool(call.stream))
        require_json(call.content_type)
        payload = parse_object(body)
        return self.read_body(payload, call)

    def read_body(self, payload: dict[str, Json], call: Call) -> Request:
        """Return the request of a body."""
        reading = walk(payload, self.request)
        return Request(
            provider=call.provider,
            dialect=self.name,
            operation=call.operation,
            model=fields.model(payload, call),
            segments=tuple(reading.segments),
            attachments=tuple(reading.attachments),
            stream=fields.stream(payload, call),
            previous=fields.previous(payload, *self.continues),
            answers=fields.answers(payload, "n") if call.operation is Operation.IMAGE else 1,
            parameters=self.settings.read(payload),
            cache_ttl=reading.cache_ttl,
        )

    def read_response(self, body: bytes, status: int) -> Response:
        if not body:
            return Response(status, error=f"http_{status}" if status >= 400 else None)
        match _kind(body):
            case "lines":
                lines = walk_lines(read_lines(body), self.line)
                return Response(status, tuple(lines.segments), attachments=tuple(lines.attachments))
            case "bytes":
                return Response(status, attachments=(Attachment("", leaves.OCTETS, len(body)),))
            case "text":
                return Response(status, (Segment("", Surface.DOCUMENT, body.decode()),))
        payload = parse(body, MAX_ANSWER_NODES)
        if status >= 400:
            found = walk(payload, self.problem)
            return Response(
                status, tuple(found.segments), error=fields.error_code(payload, status, *self.codes)
            )
        is_line = type(payload) is dict and "custom_id" in payload  # a file of one line
        reading = walk(payload, self.line if is_line else self.answer)
        return Response(
            status,
            tuple(reading.segments),
            attachments=tuple(reading.attachments),
            id=fields.string(payload, "id"),
            made=tuple(id for name in self.makes if (id := fields.string(payload, name))),
        )

    def edit(self, body: bytes, edits: Sequence[Edit]) -> bytes:
        if not edits:
            return body
        match _kind(body):
            case "lines":
                return edit_lines(body, edits)
            case "json":
                return jsonsplice.edit(body, edits)
            case "text" if all(one.at == "" for one in edits):
                return spliced(body.decode(), edits).encode()
        raise WireError("edit.pointer")

    def change(self, body: bytes, changes: Sequence[Change]) -> bytes:
        return jsonset.change(body, changes)

    def ask_usage(self, body: bytes) -> bytes | None:
        return None

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        return Answer(refusal.status, headers(refusal), dump(self.error(refusal)))

    def stream_error(self, refusal: Refusal) -> bytes:
        return b"event: error\ndata: " + dump(self.error(refusal)) + b"\n\n"

    def error(self, refusal: Refusal) -> dict[str, Json]:
        """Return the body of a refusal."""
        raise NotImplementedError


def _kind(body: bytes) -> str:
    """Return what an answer is: json, lines (of JSON objects), text or bytes."""
    first = body.lstrip()[:1]
    if first in (b"{", b"["):
        try:
            parse(body, MAX_ANSWER_NODES)
        except WireError as error:
            if first == b"{" and error.reason == "json.trailing_data":
                return "lines"
            if text_of(body) is None:
                raise
            return "text"
        return "json"
    return "bytes" if text_of(body) is None else "text"

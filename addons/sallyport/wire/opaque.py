"""Calls whose bodies nobody here reads: listings without one, content that policy judges unseen."""

from collections.abc import Sequence

from sallyport.decision import Change, Edit, Refusal
from sallyport.exchange import Attachment, Request, Response
from sallyport.wire.dialect import Answer, Call, StreamEvent, StreamReader, Texts
from sallyport.wire.endings.mute import Mute
from sallyport.wire.errors import WireError
from sallyport.wire.jsondialect import dump, headers, message
from sallyport.wire.leaves import OCTETS, is_media


class Opaque(Mute):
    """Any endpoint without a dialect of its own: a request body is one attachment, an answer passes."""

    name = "opaque"

    def read_request(self, body: bytes, call: Call) -> Request:
        media_type = call.content_type.partition(";")[0].strip().lower()
        content = Attachment("", media_type if is_media(media_type) else OCTETS, len(body))
        return Request(
            provider=call.provider,
            dialect=self.name,
            operation=call.operation,
            model=call.model,
            attachments=(content,) if body else (),
            stream=bool(call.stream),
        )

    def read_response(self, body: bytes, status: int) -> Response:
        return Response(status, error=f"http_{status}" if status >= 400 else None)

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader:
        return Bytes()

    def edit(self, body: bytes, edits: Sequence[Edit]) -> bytes:
        """Return the body: it has no text. Raises WireError (edit.pointer) for any edit."""
        if edits:
            raise WireError("edit.pointer")
        return body

    def change(self, body: bytes, changes: Sequence[Change]) -> bytes:
        """Return the body: it has no settings. Raises WireError (change.pointer) for any change."""
        if changes:
            raise WireError("change.pointer")
        return body

    def ask_usage(self, body: bytes) -> bytes | None:
        return None

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        """Answer with an error object in which every provider's SDK finds its message."""
        return Answer(refusal.status, headers(refusal), self._error(refusal))

    def stream_error(self, refusal: Refusal) -> bytes:
        return b"event: error\ndata: " + self._error(refusal) + b"\n\n"

    def _error(self, refusal: Refusal) -> bytes:
        error = {
            "type": "permission_error",
            "message": message(refusal),
            "param": None,
            "code": refusal.reason,
        }
        return dump({"type": "error", "error": {**error}})


class Bytes:
    """Passes bytes on as they come; each piece is an event without text. media_type: what they are, if it is told."""

    def __init__(self, media_type: str = "") -> None:
        self._media_type = media_type

    def feed(self, data: bytes) -> list[StreamEvent]:
        if not data:
            return []
        content = (Attachment("", self._media_type, len(data)),) if self._media_type else ()
        return [StreamEvent(data, attachments=content)]

    def end(self) -> list[StreamEvent]:
        return []

    def rewrite(self, event: StreamEvent, texts: Texts) -> bytes:
        if texts:
            raise WireError("edit.pointer")
        return event.raw

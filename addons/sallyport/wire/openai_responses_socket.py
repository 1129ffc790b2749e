"""OpenAI Responses over WebSocket: every text message is one JSON event, with the fields of the HTTP body.

A client's event is read as a request; a provider's event is what a stream would have as its data. A reader follows
one lane (`stream_id`): the WebSocket layer keeps one for each.

Source: openai-python 3.52, responses_client_event and responses_server_event; Codex sends response.processed.
"""

from collections.abc import Mapping

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Request, Surface
from sallyport.wire import jsonsplice
from sallyport.wire.dialect import Answer, Ending, Stamp, StreamEvent, StreamReader, Texts
from sallyport.wire.errors import WireError
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json, parse_object
from sallyport.wire.openai_items import REQUEST
from sallyport.wire.openai_responses import OpenAIResponses, ResponsesEvents
from sallyport.wire.shape import Reading, Shape
from sallyport.wire.shapes import PLAIN

_KNOWN_TYPES = frozenset({"response.create", "response.steer", "response.cancel", "response.processed"})


def _type(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    if text not in _KNOWN_TYPES:
        reading.text(at, surface, text)


EVENT = Shape(
    Surface.DOCUMENT,
    {
        **REQUEST.fields,
        "type": Shape(Surface.DOCUMENT, leaf=_type),
        **dict.fromkeys(("stream_id", "response_id", "event_id", "generate"), PLAIN),
    },
)


class OpenAIResponsesSocket(OpenAIResponses):
    """wss /v1/responses. read_request reads one client event; a stream reader takes one event per feed."""

    name = "openai_responses_socket"
    request = EVENT

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        if type(payload.get("type")) is not str:
            raise WireError("json.type", "/type")
        super().check(payload, operation)

    def open_stream(self, content_type: str = "application/json") -> StreamReader:
        return MessageReader()

    def stream_error(self, refusal: Refusal) -> bytes:
        """Return one error event. SDKs only yield it: close after it, on that they raise."""
        return dump({"type": "error", "status": refusal.status, **self.error(refusal)})

    def ending(
        self, request: Request, stamp: Stamp, content_type: str = "text/event-stream"
    ) -> Ending | None:
        """An event that ends an answer does not end the session, in which the provider would go on."""
        return None

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer | None:
        """An upgrade is answered with an error; answers to events are in socket_answers.py."""
        return None

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        """Raises WireError: nothing here is buffered."""
        raise WireError("shorten.dialect")


class MessageReader:
    """Reads the provider's messages of one lane: what is fed is one whole message."""

    def __init__(self) -> None:
        self._events = ResponsesEvents()

    def feed(self, data: bytes) -> list[StreamEvent]:
        return [self._events.event(parse_object(data), data)] if data else []

    def end(self) -> list[StreamEvent]:
        return []

    def rewrite(self, event: StreamEvent, texts: Texts) -> bytes:
        return jsonsplice.replace(event.raw, texts)

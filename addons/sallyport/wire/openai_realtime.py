"""OpenAI Realtime: every WebSocket text frame is one JSON event, read and written back by itself.

A client's event is read as a request, a server's event as a stream event. The WebSocket layer joins
the fragments of a message, hands in whole text frames, and refuses binary ones: none are specified.

Source: OpenAI Realtime API reference, client and server events; event names of the beta are read too.
"""

from collections.abc import Mapping

from sallyport.decision import Refusal
from sallyport.exchange import Operation, Response, Surface, Tool
from sallyport.wire import declared, fields, leaves, openai_common, openai_items
from sallyport.wire.dialect import StreamReader
from sallyport.wire.errors import WireError
from sallyport.wire.jsondialect import JsonDialect, dump
from sallyport.wire.jsontext import Json
from sallyport.wire.realtime_events import EVENT, FrameByFrame, error_of, usage_of
from sallyport.wire.settings import Settings
from sallyport.wire.shape import FREE, Reading, Shape, by
from sallyport.wire.shapes import BASE64, MODEL, PLAIN, WORD, plain, text, words

_A = Surface.ASSISTANT
_D = Surface.DOCUMENT
_S = Surface.SYSTEM

_KNOWN = {"type": WORD, "object": WORD, "status": WORD, **plain("id call_id")}


def _message(surface: Surface) -> Shape:
    own = text(surface)
    image = Shape(surface, leaf=leaves.url("image/*"))
    part = {"type": WORD, "text": own, "transcript": own, "audio": BASE64, "image_url": image, "detail": WORD}
    return Shape(surface, {**_KNOWN, "role": WORD, "content": Shape(surface, part)})


_ROLES = {"system": _message(_S), "user": _message(Surface.USER), "assistant": _message(_A)}
_message_shape = by("role", _ROLES, _ROLES["user"])
_items = openai_items.REQUEST.fields["input"]


def _item(members: Mapping[str, Json]) -> Shape:
    """Choose by type: messages have their own parts here, the other items are those of Responses."""
    if members.get("type") in (None, "message") or _items.choose is None:
        return _message_shape(members)
    return _items.choose(members)


_ITEM = Shape(Surface.USER, choose=_item)
_AUDIO = Shape(
    _D,
    {
        **words("voice noise_reduction type eagerness"),
        **plain("speed language delay rate threshold prefix_padding_ms silence_duration_ms idle_timeout_ms"),
        **plain("create_response interrupt_response"),
        "model": MODEL,
        "prompt": text(_S),
    },
    leaf=leaves.word,
)
for _name in ("input", "output", "format", "transcription", "turn_detection", "noise_reduction"):
    _AUDIO.fields[_name] = _AUDIO
_SETTINGS = {
    "type": WORD,
    "object": WORD,
    "model": MODEL,
    "instructions": text(_S),
    "prompt": Shape(_D, {"id": PLAIN, "version": PLAIN, "variables": FREE[Surface.USER]}),
    "tools": openai_items.REQUEST.fields["tools"],
    "tool_choice": openai_common.TOOL_CHOICE,
    "input": _ITEM,
    **dict.fromkeys(("audio", "input_audio_transcription", "turn_detection"), _AUDIO),
    **words("output_modalities modalities conversation voice input_audio_format output_audio_format"),
    **plain("temperature max_output_tokens max_response_output_tokens include parallel_tool_calls"),
}
_CLIENT_EVENTS = {
    *("session.update", "transcription_session.update", "response.create", "response.cancel"),
    *(f"conversation.item.{verb}" for verb in ("create", "delete", "retrieve", "truncate")),
    *(f"input_audio_buffer.{verb}" for verb in ("append", "commit", "clear")),
    "output_audio_buffer.clear",
}


def _client_event(
    reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface
) -> None:
    if text not in _CLIENT_EVENTS:
        reading.text(at, surface, text)


REQUEST = Shape(
    _D,
    {
        "type": Shape(_D, leaf=_client_event),
        "item": _ITEM,
        "session": Shape(_D, _SETTINGS),
        "response": Shape(_D, _SETTINGS),
        "audio": BASE64,
        **plain("event_id previous_item_id item_id response_id content_index audio_end_ms"),
    },
)


class OpenAIRealtime(JsonDialect):
    """wss /v1/realtime. read_request reads one client frame; a stream reader takes one frame per feed."""

    name = "openai_realtime"
    request = REQUEST
    answer = EVENT
    problem = openai_common.PROBLEM
    settings = Settings(holders=(("session",), ("response",)))

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        if type(payload.get("type")) is not str:
            raise WireError("json.type", "/type")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        settings = payload.get("session") or payload.get("response")
        return openai_common.tool_names(fields.get(settings, "tools"))

    def declared(self, payload: dict[str, Json]) -> tuple[Tool, ...]:
        holders = (payload.get("session"), payload.get("response"))
        return tuple(tool for each in holders if type(each) is dict for tool in declared.of_openai(each))

    def limit(self, payload: dict[str, Json]) -> int | None:
        settings = payload.get("session") or payload.get("response")
        return fields.count(settings, "max_output_tokens")

    def read_answer(self, payload: dict[str, Json], reading: Reading, status: int) -> Response:
        return Response(status, tuple(reading.segments), usage=usage_of(payload), error=error_of(payload))

    def open_stream(self, content_type: str = "application/json") -> StreamReader:
        return FrameByFrame()

    def error(self, refusal: Refusal) -> dict[str, Json]:
        """Return the body that answers the upgrade request."""
        return openai_common.refusal_body(refusal)

    def stream_error(self, refusal: Refusal) -> bytes:
        """Return one error frame. SDKs only yield it: close with 1008 after it, on that they raise."""
        return dump({"type": "error", "event_id": refusal.decision_id, **self.error(refusal)})

"""What the events on a WebSocket are there for: to ask for an answer, to add to the conversation, to steer it.

A dialect reads the texts of an event; this says what the event does, so that each answer has its own verdict,
its own tap and its own usage. Nothing here raises for a payload that is a JSON object.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sallyport.decision import Refusal
from sallyport.exchange import Request
from sallyport.wire import fields, jsonsplice, openai_common
from sallyport.wire.dialect import Stamp
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json, token
from sallyport.wire.socket_answers import realtime_answer, responses_answer

MAX_ID_CHARS = fields.MAX_NAME_CHARS


class Purpose(StrEnum):
    """What a client's event is for.

    TURN asks for an answer. CONTEXT adds what the next answer will build on. SOUND carries audio and nothing else.
    CONTROL is about what is there already. UNKNOWN: no event the dialect has.
    """

    TURN = "turn"
    CONTEXT = "context"
    SOUND = "sound"
    CONTROL = "control"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Asked:
    """A client's event. lane: the stream of answers it belongs to; id: the client's own name for it, "" for none.

    type: of the event where the dialect knows it, else "unknown": a client can write anything there.
    """

    purpose: Purpose
    type: str
    lane: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A provider's event. response: id of the answer it belongs to, "" where it does not say.

    begins, ends: of an answer. failed: the provider refused a client's event; cause: the client's name for that.
    sound: a piece of audio. alone: it belongs to no answer; else one that names none belongs to its lane's.
    item: of the conversation, that it is of or that it tells, "" for none. says: some of what the item says. retold:
    it tells it for whichever answer spoke it.
    """

    lane: str = ""
    response: str = ""
    begins: bool = False
    ends: bool = False
    failed: bool = False
    cause: str = ""
    sound: bool = False
    alone: bool = False
    item: str = ""
    says: bool = False
    retold: bool = False


class Manners(Protocol):
    """How one dialect converses."""

    def asked(self, payload: dict[str, Json]) -> Asked: ...

    def told(self, payload: dict[str, Json]) -> Told: ...

    def refusal(self, refusal: Refusal, asked: Asked | None) -> bytes:
        """Return the provider's own error event. asked: the event that is refused, None for the session itself."""
        ...

    def say(self, text: str, asked: Asked, request: Request, stamp: Stamp) -> list[bytes]:
        """Return the events of an answer in which the assistant says this and nothing else."""
        ...


_REALTIME = {
    "session.update": Purpose.CONTEXT,
    "transcription_session.update": Purpose.CONTEXT,
    "conversation.item.create": Purpose.CONTEXT,
    "conversation.item.delete": Purpose.CONTROL,
    "conversation.item.retrieve": Purpose.CONTROL,
    "conversation.item.truncate": Purpose.CONTROL,
    "response.create": Purpose.TURN,
    "response.cancel": Purpose.CONTROL,
    "input_audio_buffer.append": Purpose.SOUND,
    "input_audio_buffer.commit": Purpose.CONTROL,
    "input_audio_buffer.clear": Purpose.CONTROL,
    "output_audio_buffer.clear": Purpose.CONTROL,
}
_REALTIME_SOUND = frozenset({"response.output_audio.delta", "response.audio.delta"})
_HEARD = "conversation.item.input_audio_transcription."
_REALTIME_TEXTS = ("delta", "text", "transcript", "arguments")


class RealtimeManners:
    """OpenAI Realtime: one conversation at the provider, answers told apart by their ids."""

    def asked(self, payload: dict[str, Json]) -> Asked:
        kind = fields.string(payload, "type") or ""
        purpose = _REALTIME.get(kind)
        return Asked(
            purpose or Purpose.UNKNOWN, kind if purpose else "unknown", id=_id(payload.get("event_id"))
        )

    def told(self, payload: dict[str, Json]) -> Told:
        kind = fields.string(payload, "type") or ""
        found = fields.string(payload, "response_id") or fields.string(payload, "response", "id")
        of_answer = kind.startswith("response.")
        of_item = of_answer or kind.startswith(_HEARD)
        return Told(
            response=fields.name(found),
            begins=kind == "response.created",
            ends=kind == "response.done",
            failed=kind == "error",
            cause=_id(fields.get(payload, "error", "event_id")),
            sound=kind in _REALTIME_SOUND,
            alone=not found and not of_answer,
            item=fields.name(
                (payload.get("item_id") if of_item else None) or fields.get(payload, "item", "id")
            ),
            says=kind not in _REALTIME_SOUND and _says(payload),
            retold=not of_answer,
        )

    def refusal(self, refusal: Refusal, asked: Asked | None) -> bytes:
        error = openai_common.refusal_body(refusal)["error"]
        assert type(error) is dict
        cause = (asked.id or None) if asked is not None else None
        return dump({"type": "error", "event_id": refusal.decision_id, "error": {**error, "event_id": cause}})

    def say(self, text: str, asked: Asked, request: Request, stamp: Stamp) -> list[bytes]:
        return realtime_answer(text, stamp)


_RESPONSES = {
    "response.create": Purpose.TURN,
    "response.steer": Purpose.CONTEXT,
    "response.cancel": Purpose.CONTROL,
    "response.processed": Purpose.CONTROL,
}
_RESPONSES_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponsesManners:
    """OpenAI Responses over WebSocket: answers one after the other in each lane (`stream_id`)."""

    def asked(self, payload: dict[str, Json]) -> Asked:
        kind = fields.string(payload, "type") or ""
        purpose = _RESPONSES.get(kind)
        lane = fields.name(payload.get("stream_id"))
        return Asked(purpose or Purpose.UNKNOWN, kind if purpose else "unknown", lane)

    def told(self, payload: dict[str, Json]) -> Told:
        kind = fields.string(payload, "type") or ""
        return Told(
            lane=fields.name(payload.get("stream_id")),
            response=_id(fields.get(payload, "response", "id")),
            begins=kind == "response.created",
            ends=kind in _RESPONSES_ENDS,
            failed=kind == "error",
            sound=kind == "response.audio.delta",
        )

    def refusal(self, refusal: Refusal, asked: Asked | None) -> bytes:
        lane: dict[str, Json] = {"stream_id": asked.lane} if asked is not None and asked.lane else {}
        body = openai_common.refusal_body(refusal)
        return dump({"type": "error", "status": refusal.status, **body, **lane})

    def say(self, text: str, asked: Asked, request: Request, stamp: Stamp) -> list[bytes]:
        return responses_answer(text, request, stamp, asked.lane)


MANNERS: Mapping[str, Manners] = {
    "openai_realtime": RealtimeManners(),
    "openai_responses_socket": ResponsesManners(),
}
"""By the name of the dialect that reads the events."""


def without_sound(event: bytes, payload: dict[str, Json]) -> bytes:
    """Return a provider's event with an empty text in place of every sound; the event as it is where it has none.

    Finished items repeat what came in pieces: parts with `audio`, or with `data` where their type says audio.
    """
    if b"audio" not in event:
        return event
    return jsonsplice.replace(event, dict.fromkeys(_sounds(payload, ""), ""))


def _sounds(value: Json, at: str) -> Iterator[str]:
    if type(value) is list:
        for number, one in enumerate(value):
            yield from _sounds(one, f"{at}/{number}")
    elif type(value) is dict:
        kind = value.get("type")
        of_sound = type(kind) is str and "audio" in kind
        for name, one in value.items():
            if type(one) is str and one and (name == "audio" or (name == "data" and of_sound)):
                yield f"{at}/{token(name)}"
            elif type(one) is dict or type(one) is list:
                yield from _sounds(one, f"{at}/{token(name)}")


def _says(payload: dict[str, Json]) -> bool:
    """Say whether an event of Realtime holds a text of an item, whole or a piece."""
    item = payload.get("item")
    holders = (payload, payload.get("part"), item, *fields.objects(item, "content"))
    return any(fields.string(holder, name) for holder in holders for name in _REALTIME_TEXTS)


def _id(value: Json) -> str:
    """Return a name that client or provider gave; a longer one than any of theirs tells nothing apart."""
    return value if type(value) is str and len(value) <= MAX_ID_CHARS else ""

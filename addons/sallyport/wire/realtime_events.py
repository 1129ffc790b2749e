"""The events of a Realtime server: what texts they hold, and which of them go on where others ended.

Source: OpenAI Realtime API reference, server events; event names of the beta are read too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sallyport.exchange import Surface, Usage
from sallyport.wire import fields, jsonsplice, leaves
from sallyport.wire.dialect import Delta, StreamEvent, Texts
from sallyport.wire.errors import WireError
from sallyport.wire.joinedparts import SHOWN_ON, JoinedParts
from sallyport.wire.jsontext import Json, parse_object
from sallyport.wire.shape import Leaf, Shape, by, walk
from sallyport.wire.shapes import BASE64, made, said, text
from sallyport.wire.streams import OpenChannels, deltas

MAX_FRAME_BYTES = 16 * 1024 * 1024

MAX_KNOWN = 4096
"""Items and parts of one stream of answers of which the order is followed."""

_A = Surface.ASSISTANT
_C = Surface.TOOL_CALL
_D = Surface.DOCUMENT
_S = Surface.SYSTEM

_IDS = made(
    "type event_id object id item_id response_id call_id previous_item_id conversation_id status role phase "
    "obfuscation usage rate_limits status_details metadata"
)
_PART = Shape(_A, {**_IDS, "audio": BASE64}, names=False)
_SAID = Shape(_A, {**_IDS, "content": _PART, "output": said(Surface.TOOL_RESULT)}, names=False)
_SAID.fields["arguments"] = Shape(_C, leaf=leaves.source)
_SAID.fields["name"] = text(_C)


def _repeated(surface: Surface) -> Shape:
    """Return the shape of an item that the client wrote, which the provider repeats."""
    part = Shape(surface, {**_IDS, "audio": BASE64}, names=False)
    return Shape(surface, {**_SAID.fields, "content": part}, names=False)


_ITEM_TOLD = Shape(
    _A, choose=by("role", {"user": _repeated(Surface.USER), "system": _repeated(_S)}, _SAID), names=False
)
_SESSION = Shape(
    _D,
    {
        **_IDS,
        "instructions": text(_S),
        "tools": said(Surface.TOOL_DEFINITION),
        **made("model output_modalities modalities audio voice turn_detection client_secret tool_choice"),
        **made("input_audio_format output_audio_format truncation tracing expires_at"),
    },
    names=False,
)


def _event(surface: Surface, piece: Leaf | None, whole: Leaf | None = None) -> Shape:
    """Return a server event whose `delta` is read by one leaf and whose whole texts by another."""
    own = Shape(surface, leaf=whole)
    return Shape(
        surface,
        {
            **_IDS,
            "delta": Shape(surface, leaf=piece),
            **dict.fromkeys(("text", "transcript", "arguments"), own),
            "name": text(surface),
            "part": _PART,
            "item": _ITEM_TOLD,
            "response": Shape(_A, {**_IDS, "output": _SAID}, names=False),
            "session": _SESSION,
            "error": Shape(_D, made("type code event_id param"), names=False),
        },
        names=False,
    )


_TEXT = _event(_A, leaves.flow)
_HEARD = _event(Surface.USER, leaves.flow)
_ARGUMENTS = _event(_C, leaves.source_flow, leaves.source)
_SOUND = _event(_A, leaves.base64)
_CALLS = ("function_call_arguments", "mcp_call_arguments")
_STEMS = {
    "response.function_call_arguments": _ARGUMENTS,
    "response.mcp_call_arguments": _ARGUMENTS,
    "response.output_audio": _SOUND,
    "response.audio": _SOUND,
    "conversation.item.input_audio_transcription": _HEARD,
}


def _server(members: Mapping[str, Json]) -> Shape:
    kind = members.get("type")
    return _STEMS.get(kind.rpartition(".")[0], _TEXT) if type(kind) is str else _TEXT


EVENT = Shape(_A, choose=_server, names=False)
_MEMBERS = {
    "output_text": "text",
    "text": "text",
    "output_audio_transcript": "transcript",
    "audio_transcript": "transcript",
}
"""What a part says of a text that comes in events of these types."""


class _Order:
    """Items and parts that have had text, the latest that are remembered."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._latest: tuple[str, ...] = ()

    def take(self, *names: str) -> None:
        """Note what a piece belongs to. Raises WireError stream.order where something else came since it began."""
        for name in names:
            if name in self._known and name not in self._latest:
                raise WireError("stream.order")
            self._known[name] = None
        self._latest = names
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an event belongs: names of its answer and its item, numbers of the item and its part."""

    answer: str
    item: str
    index: int
    part: int


class FrameByFrame:
    """Reads the server's frames: what is fed is one whole frame, since frames have borders of their own.

    Channels are output/<response>/<item>/<part>/text or transcript for what is shown, where parts that clients show
    joined are that of the first; output/<response>/<item>/<event>/ for arguments, .../<item>/<part>/<event>/ for all
    else; heard/<item>/... for what the user said. What goes on behind what has come later is refused, since clients put
    it elsewhere.
    """

    def __init__(self) -> None:
        self._open = OpenChannels()
        self._joined = JoinedParts()
        self._order = _Order()
        self._answer = ""
        self._used: Usage | None = None

    def feed(self, data: bytes) -> list[StreamEvent]:
        if len(data) > MAX_FRAME_BYTES:
            raise WireError("realtime.frame_too_long")
        return [self._event(parse_object(data), data)] if data else []

    def end(self) -> list[StreamEvent]:
        return []

    def rewrite(self, event: StreamEvent, texts: Texts) -> bytes:
        return jsonsplice.replace(event.raw, texts)

    def _event(self, payload: dict[str, Json], raw: bytes) -> StreamEvent:
        kind = fields.string(payload, "type") or ""
        named = fields.name(payload.get("response_id")) or fields.name(fields.get(payload, "response", "id"))
        closes: tuple[str, ...] = ()
        if named and named != self._answer:
            closes = self._open.close(self._joined.run) if self._joined.run else ()
            self._answer, self._joined = named, self._joined.anew()
        place = _place(payload, self._answer)
        here = _here(kind, payload, place)
        reading = walk(payload, EVENT)
        found = deltas(reading, lambda at: _channel(at, here, payload, place))
        if any(_is_shown(delta) for delta in found) and here.startswith("output/"):
            found = self._in_run(found, here, place, said_again=kind.startswith("response."))
        elif kind == "response.output_item.added" and fields.string(payload, "item", "type") not in SHOWN_ON:
            run = self._joined.over()
            closes += self._open.close(run) if run else ()
        self._open.take(found)
        error = error_of(payload)
        ends = kind == "response.done"
        if ends:
            closes += self._open.close("output/")
            self._joined = JoinedParts()
        elif kind.endswith((".done", ".completed", ".failed")):
            self._joined.done(here.rstrip("/"))
            closes += self._open.close(here, keep=self._joined.run)
        return StreamEvent(
            raw,
            found,
            closes,
            finish_reason=_finish(payload) if ends else None,
            usage=self._total(payload) if ends else None,
            model=fields.string(payload, "session", "model"),
            id=fields.string(payload, "response", "id"),
            error=error,
            terminal=ends,
            payload=payload,
            attachments=tuple(reading.attachments),
        )

    def _in_run(
        self, found: tuple[Delta, ...], own: str, place: _Place, *, said_again: bool
    ) -> tuple[Delta, ...]:
        """Return the texts of an event, a piece in the channel of its run. Raises WireError stream.order."""
        self._order.take(place.item, own)
        name = self._joined.channel(own, place.index, place.part)
        part, behind = own if said_again else "", self._joined.behind
        return tuple(replace(d, channel=name, part=part, behind=behind) if _is_shown(d) else d for d in found)

    def _total(self, payload: dict[str, Json]) -> Usage | None:
        """Return what the session used so far: every response reports for itself alone."""
        own = usage_of(payload)
        if own is not None:
            old = self._used or Usage()
            sums: dict[str, Any] = {n: fields.total(getattr(old, n), getattr(own, n)) for n in _SUMMED}
            self._used = Usage(**sums)
        return self._used


_SUMMED = ("input", "cache_read", "output", "audio_input", "audio_output")


def _is_shown(delta: Delta) -> bool:
    return delta.surface is _A and not delta.whole


def _place(payload: dict[str, Json], answer: str) -> _Place:
    """Return where an event of an answer belongs."""
    index = fields.count(payload, "output_index") or 0
    item = fields.name(payload.get("item_id")) or fields.name(fields.get(payload, "item", "id")) or str(index)
    holder = f"output/{answer}"
    return _Place(holder, f"{holder}/{item}", index, fields.count(payload, "content_index") or 0)


def _here(kind: str, payload: dict[str, Json], place: _Place) -> str:
    """Return the channel of an event's own text, or what those of its texts have in common."""
    if kind.startswith("conversation.") and type(payload.get("item")) is not dict:
        return f"heard/{fields.name(payload.get('item_id')) or 0}/{place.part}/"
    stem, _, _ = kind.removeprefix("response.").rpartition(".")
    if stem in ("output_item", "conversation.item"):
        return place.item
    if stem == "content_part":
        return f"{place.item}/{place.part}"
    if stem in _MEMBERS:
        return f"{place.item}/{place.part}/{_MEMBERS[stem]}"
    if stem in _CALLS:
        return f"{place.item}/{stem}/"  # whichever part it says that they are of
    return f"{place.item}/{place.part}/{stem}/"


def _channel(at: str, here: str, payload: dict[str, Json], place: _Place) -> str:
    """Return the channel of a text by its pointer: what says a part again bears the part's name."""
    match at.split("/")[1:]:
        case [_]:
            return here
        case ["part", "text" | "transcript" as member]:
            return f"{here}/{member}"
        case ["item", "content", part, "text" | "transcript" as member]:
            return f"{here}/{part}/{member}"
        case ["response", "output", number, "content", part, "text" | "transcript" as member]:
            items = fields.get(payload, "response", "output")
            named = fields.get(items[int(number)], "id") if type(items) is list else None
            return f"{place.answer}/{fields.name(named) or number}/{part}/{member}"
    return f"{here}{at}"


def _finish(payload: dict[str, Json]) -> str:
    """Normalise the status of a finished response."""
    response = payload.get("response")
    match fields.string(response, "status"):
        case "failed":
            return "error"
        case "incomplete":
            reason = fields.string(response, "status_details", "reason")
            return {"max_output_tokens": "length", "content_filter": "filtered"}.get(reason or "", "stop")
    calls = (item.get("type") == "function_call" for item in fields.objects(response, "output"))
    return "tool" if any(calls) else "stop"


def usage_of(payload: dict[str, Json]) -> Usage | None:
    """Return what an event reports of its answer's usage."""
    counts = fields.get(payload, "response", "usage")
    found = Usage(
        input=fields.count(counts, "input_tokens"),
        cache_read=fields.count(counts, "input_token_details", "cached_tokens"),
        output=fields.count(counts, "output_tokens"),
        audio_input=fields.some(counts, "input_token_details", "audio_tokens"),
        audio_output=fields.some(counts, "output_token_details", "audio_tokens"),
    )
    return None if found == Usage() else found


def error_of(payload: dict[str, Json]) -> str | None:
    """Return the code of the error that an event tells, None where it tells none."""
    if not payload.get("error"):
        return None
    return fields.error_code(payload, 200, "code", "type")

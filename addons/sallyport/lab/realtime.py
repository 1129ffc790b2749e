"""OpenAI's two WebSocket APIs as a client sees them: Realtime, and Responses over WebSocket.

Pure: a client's event in, the provider's events out. A model's name makes a stand-in misbehave: `binary` answers
with a binary message, `garbage` with no JSON, `silent` begins an answer and never ends it, `loud` speaks as well.
"""

import json
from collections.abc import Iterator

from sallyport.lab import openai
from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.mind import Heard, Said, count_tokens, deltas, say, tool
from sallyport.lab.values import Incoming, Json, content_text, dumps, object_at, objects, string_at, strings

_USERS = frozenset({"text", "input_text"})


class Realtime:
    """One session of wss /v1/realtime."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._session: Json = {"type": "realtime", "object": "realtime.session", "model": model}
        self._items: list[Json] = []
        self._count = 0

    def greet(self) -> Iterator[str | bytes]:
        yield self._event("session.created", session={**self._session, "id": "sess_lab"})

    def hear(self, data: str) -> Iterator[str | bytes]:
        """Answer a client's event."""
        event = _object(data)
        match event.get("type"):
            case "session.update":
                self._session = {**self._session, **object_at(event, "session")}
                yield self._event("session.updated", session=self._session)
            case "conversation.item.create":
                item = {
                    "id": f"item_{len(self._items)}",
                    "object": "realtime.item",
                    **object_at(event, "item"),
                }
                self._items.append(item)
                yield self._event("conversation.item.added", previous_item_id=None, item=item)
                yield self._event("conversation.item.done", previous_item_id=None, item=item)
            case "response.create":
                yield from self._respond(object_at(event, "response"))
            case "input_audio_buffer.commit":
                # What detection of speech does: an answer that nobody asked for.
                yield self._event("input_audio_buffer.committed", item_id="item_sound")
                yield from self._respond({})
            case "input_audio_buffer.append" | "response.cancel":
                pass
            case _:
                error = {
                    "type": "invalid_request_error",
                    "code": "invalid_value",
                    "message": "Unknown event.",
                }
                yield self._event(
                    "error", error={**error, "param": "type", "event_id": event.get("event_id")}
                )

    def _respond(self, settings: Json) -> Iterator[str | bytes]:
        if status := behaviour_of(self._model).error:
            refused: Json = json.loads(openai.error(status).pieces[0])
            yield self._event("error", error={**object_at(refused, "error"), "event_id": None})
            return
        own = [*objects(settings.get("input"))] or self._items
        users = [content_text(item.get("content"), _USERS) for item in own if item.get("role") == "user"]
        results = [string_at(item, "output") for item in own if item.get("type") == "function_call_output"]
        texts = (*strings(self._session.get("instructions")), *strings([*own]))
        declared = [*objects(self._session.get("tools")), *objects(settings.get("tools"))]
        tools = tuple(tool(string_at(t, "name"), object_at(t, "parameters")) for t in declared)
        heard = Heard(
            self._model,
            users[-1] if users else "",
            texts,
            tools,
            results[-1] if results else None,
            stream=True,
        )
        said = say(heard)
        self._count += 1
        response = {"id": f"resp_lab_{self._count}", "object": "realtime.response", "output": []}
        yield self._event("response.created", response={**response, "status": "in_progress"})
        if "silent" in self._model:
            return
        yield from self._say(response["id"], said)
        usage = {
            "total_tokens": heard.tokens + said.tokens,
            "input_tokens": heard.tokens,
            "output_tokens": said.tokens,
            "input_token_details": {"text_tokens": heard.tokens, "audio_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": said.tokens, "audio_tokens": 0},
        }
        done = {**response, "status": "completed", "output": [self._item(said)], "usage": usage}
        yield self._event("response.done", response=done)

    def _say(self, response: object, said: Said) -> Iterator[str | bytes]:
        if "binary" in self._model:
            yield said.text.encode()
            return
        if "garbage" in self._model:
            yield '{"type":"response.output_text.delta","delta":'
            return
        item = self._item(said)
        at: Json = {"response_id": response, "item_id": item["id"], "output_index": 0}
        part: Json = {**at, "content_index": 0}
        yield self._event(
            "response.output_item.added", response_id=response, output_index=0, item={**item, **_empty(item)}
        )
        if said.call:
            for piece in deltas(said.call.json):
                yield self._event(
                    "response.function_call_arguments.delta", **at, call_id="call_lab", delta=piece
                )
            yield self._event(
                "response.function_call_arguments.done", **at, call_id="call_lab", arguments=said.call.json
            )
        else:
            yield self._event("response.content_part.added", **part, part={"type": "text", "text": ""})
            for piece in deltas(said.text):
                yield self._event("response.output_text.delta", **part, delta=piece)
                if "loud" in self._model:
                    yield self._event("response.output_audio.delta", **part, delta="AAAA")
            yield self._event("response.output_text.done", **part, text=said.text)
            yield self._event("response.content_part.done", **part, part={"type": "text", "text": said.text})
        yield self._event("response.output_item.done", response_id=response, output_index=0, item=item)

    def _item(self, said: Said) -> dict[str, object]:
        item = _item(said)
        if "loud" in self._model and not said.call:
            item["content"] = [{"type": "output_audio", "transcript": said.text, "audio": "AAAA"}]
        return item

    def _event(self, kind: str, **members: object) -> str:
        self._count += 1
        return dumps({"type": kind, "event_id": f"event_{self._count}", **members})


class Responses:
    """One session of wss /v1/responses: each response.create is answered as the HTTP call would be."""

    def greet(self) -> Iterator[str | bytes]:
        return iter(())

    def hear(self, data: str) -> Iterator[str | bytes]:
        event = _object(data)
        lane = {"stream_id": event["stream_id"]} if "stream_id" in event else {}
        if event.get("type") != "response.create":
            error = {"code": "invalid_value", "message": "Unknown event.", "type": "invalid_request_error"}
            yield dumps({"type": "error", "status": 400, "error": error, **lane})
            return
        body = dumps({**event, "stream": True}).encode()
        reply = openai.answer(
            Incoming("api.openai.com", "POST", "/v1/responses", "", {"authorization": "Bearer lab"}, body)
        )
        if reply.status != 200:
            yield dumps({"type": "error", "status": reply.status, **json.loads(reply.pieces[0]), **lane})
            return
        for number, piece in enumerate(reply.pieces):
            if "garbage" in string_at(event, "model") and number == len(reply.pieces) // 2:
                yield '{"type":"response.output_text.delta","delta":'
                return
            for line in piece.decode().splitlines():
                if line.startswith("data: {"):
                    yield dumps({**json.loads(line[6:]), **lane})


def session_of(path: str, model: str) -> Realtime | Responses:
    """Return the stand-in for an upgrade of this path."""
    return Responses() if path.endswith("/responses") else Realtime(model)


def model_in(data: str) -> str:
    """Return the model that a client's event names, "" where it names none."""
    return string_at(_object(data), "model")


def _item(said: Said) -> dict[str, object]:
    known = {"id": f"item_said_{count_tokens(said.text)}", "object": "realtime.item", "status": "completed"}
    if said.call:
        call = {"type": "function_call", "call_id": "call_lab", "name": said.call.tool}
        return {**known, **call, "arguments": said.call.json}
    content = [{"type": "output_text", "text": said.text}]
    return {**known, "type": "message", "role": "assistant", "content": content}


def _empty(item: Json) -> Json:
    return {"arguments": ""} if "arguments" in item else {"content": []}


def _object(data: str) -> Json:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
